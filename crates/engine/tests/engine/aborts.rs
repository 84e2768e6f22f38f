//! Aborts over a tree, and what a deleted session leaves.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::{PATIENCE, World, prompt, tools, until};
use sessiond_engine::{AbortOptions, EngineError, NewSession, QueuePolicy};
use sessiond_model::{
    Change, Commit, EventBody, PermissionOutcome, Question, QuestionId, QuestionInfo,
    QuestionOutcome, Seq, Session, SessionId, StatusKind, ToolState, Turn, TurnState,
};
use sessiond_store::{AskQuery, EventQuery, Scope, SessionQuery, TurnQuery};

async fn child(w: &World, parent: &SessionId) -> Session {
    let new = NewSession {
        parent_id: Some(parent.clone()),
        directory: Some(w.project().to_string_lossy().into_owned()),
        ..NewSession::default()
    };
    Session::clone(&w.engine.create_session(new).await.unwrap().session)
}

async fn running(w: &World, turn: &Turn) {
    until("the turn to run", || async {
        let turn = w.engine.turn(&turn.session_id, &turn.id).await.unwrap();
        (turn.state == TurnState::Running).then_some(())
    })
    .await;
}

/// Text or a tool of the answer is there.
async fn at_work(w: &World, turn: &Turn) {
    until("the agent to be at work", || async {
        let parts = w.parts(&turn.session_id).await;
        let busy = parts.iter().any(|p| p.body.is_open());
        busy.then_some(())
    })
    .await;
}

async fn bodies(w: &World, id: &SessionId) -> Vec<EventBody> {
    let query = EventQuery {
        after: Seq(0),
        until: None,
        scope: Scope::Session(id.clone()),
        limit: 10_000,
    };
    let events = w.engine.events(&query).await.unwrap().events;
    events.into_iter().map(|e| e.body).collect()
}

/// How often the session was said to be idle.
async fn idles(w: &World, id: &SessionId) -> usize {
    let events = bodies(w, id).await;
    events
        .iter()
        .filter(|b| {
            matches!(b, EventBody::StatusChanged(_))
                || matches!(
                    b,
                    EventBody::Superseded(sessiond_model::EventKind::StatusChanged)
                )
        })
        .count()
}

/// Processes with this text in their command line.
fn processes(marker: &str) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains(marker) {
            found.insert(pid);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_stops_the_whole_tree() {
    let w = World::new().await;
    let s = w.session().await;
    let below = [child(&w, &s.id).await, child(&w, &s.id).await];
    let deepest = child(&w, &below[0].id).await;
    let apart = w.session().await;
    let mut turns = Vec::new();
    for id in [&s.id, &below[1].id, &deepest.id, &apart.id] {
        turns.push(w.say(id, "/slow 2000 50").await);
    }
    for turn in &turns {
        at_work(&w, turn).await;
    }
    let queued = w.say(&deepest.id, "later").await;
    assert!(
        w.engine
            .abort(&s.id, AbortOptions::default())
            .await
            .unwrap()
    );
    // All of it has stopped when the answer comes.
    for turn in &turns[..3] {
        let turn = w.engine.turn(&turn.session_id, &turn.id).await.unwrap();
        assert_eq!(turn.state, TurnState::Aborted);
    }
    let queued = w.engine.turn(&deepest.id, &queued.id).await.unwrap();
    assert_eq!(queued.state, TurnState::Aborted);
    for id in [&s.id, &below[0].id, &below[1].id, &deepest.id] {
        let session = w.engine.session(id).await.unwrap();
        assert_eq!(session.status.kind, StatusKind::Idle);
    }
    let apart = w.engine.session(&apart.id).await.unwrap();
    assert_eq!(apart.status.kind, StatusKind::Busy);
    assert!(
        !w.engine
            .abort(&s.id, AbortOptions::default())
            .await
            .unwrap()
    );
    assert!(
        w.engine
            .abort(&apart.id, AbortOptions::default())
            .await
            .unwrap()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_of_a_parent_without_work_stops_its_children() {
    let w = World::new().await;
    let s = w.session().await;
    let c = child(&w, &s.id).await;
    let turn = w.say(&c.id, "/slow 2000 50").await;
    running(&w, &turn).await;
    assert!(
        w.engine
            .abort(&s.id, AbortOptions::default())
            .await
            .unwrap()
    );
    assert_eq!(w.end(&turn).await.state, TurnState::Aborted);
    // But not the other way round.
    let turn = w.say(&s.id, "/slow 2000 50").await;
    at_work(&w, &turn).await;
    assert!(
        !w.engine
            .abort(&c.id, AbortOptions::default())
            .await
            .unwrap()
    );
    let still = w.engine.turn(&s.id, &turn.id).await.unwrap();
    assert_eq!(still.state, TurnState::Running);
    w.engine
        .abort(&s.id, AbortOptions::default())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_works_at_any_moment_and_a_prompt_follows_at_once() {
    let w = World::new().await;
    let s = w.session().await;
    for round in 0..12 {
        let turn = w.say(&s.id, "/slow 2000 20").await;
        match round % 3 {
            0 => {}
            1 => running(&w, &turn).await,
            _ => at_work(&w, &turn).await,
        }
        let before = idles(&w, &s.id).await;
        let options = AbortOptions::default();
        // Twice, and the second one may come at any time of the first.
        let aborts = futures::future::join(
            w.engine.abort(&s.id, options),
            w.engine.abort(&s.id, options),
        );
        let (one, two) = aborts.await;
        assert!(one.unwrap() || two.unwrap());
        let ended = w.engine.turn(&s.id, &turn.id).await.unwrap();
        assert_eq!(ended.state, TurnState::Aborted, "round {round}");
        assert_eq!(idles(&w, &s.id).await, before + 1, "one idle");
        // The aborts were for what came before them.
        let next = w.ask(&s.id, "go on").await;
        assert_eq!(next.state, TurnState::Completed, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_turns_are_dropped_when_one_of_two_aborts_says_so() {
    let w = World::new().await;
    let s = w.session().await;
    let slow = w.say(&s.id, "/hang").await;
    running(&w, &slow).await;
    let waiting = w.say(&s.id, "later").await;
    let keep = AbortOptions {
        queue: QueuePolicy::Keep,
    };
    let (one, two) = futures::future::join(
        w.engine.abort(&s.id, keep),
        w.engine.abort(&s.id, AbortOptions::default()),
    )
    .await;
    assert!(one.unwrap() && two.unwrap());
    let waiting = w.engine.turn(&s.id, &waiting.id).await.unwrap();
    assert_eq!(waiting.state, TurnState::Aborted);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_takes_back_what_was_asked_of_people() {
    let w = World::new().await;
    let s = w.session().await;
    let turn = w.say(&s.id, "/ask write a.txt one").await;
    let query = AskQuery::default();
    let asked = until("the request", || async {
        w.engine
            .permissions(&query)
            .await
            .unwrap()
            .into_iter()
            .next()
    })
    .await;
    let question = Question {
        id: QuestionId::parse("que_one").unwrap(),
        session_id: s.id.clone(),
        turn_id: turn.id.clone(),
        questions: vec![QuestionInfo {
            question: "Which?".into(),
            header: "Which".into(),
            options: Vec::new(),
            multiple: None,
            custom: None,
        }],
        tool: None,
        asked_at: w.engine.clock().now(),
        outcome: None,
    };
    let commit = Commit {
        session_id: s.id.clone(),
        fence: w.store.epoch(),
        at: w.engine.clock().now(),
        require: Vec::new(),
        changes: vec![Change::AskQuestion(question)],
    };
    w.store.commit(commit).await.unwrap();
    w.engine
        .abort(&s.id, AbortOptions::default())
        .await
        .unwrap();
    assert!(w.engine.permissions(&query).await.unwrap().is_empty());
    assert!(w.engine.questions(&query).await.unwrap().is_empty());
    let events = bodies(&w, &s.id).await;
    assert!(
        events
            .iter()
            .any(|b| matches!(b, EventBody::PermissionResolved(p)
        if p.id == asked.id && matches!(p.outcome, Some(PermissionOutcome::Expired { .. }))))
    );
    assert!(
        events
            .iter()
            .any(|b| matches!(b, EventBody::QuestionResolved(q)
        if matches!(q.outcome, Some(QuestionOutcome::Expired { .. }))))
    );
    let late = w
        .engine
        .reply_permission(&asked.id, sessiond_model::PermissionReply::Once, None)
        .await;
    assert!(
        matches!(late, Err(EngineError::Conflict { .. })),
        "{late:?}"
    );
    let parts = w.parts(&s.id).await;
    assert!(
        matches!(tools(&parts)[..], [ToolState::Error { .. }]),
        "{parts:?}"
    );
    assert!(!w.project().join("a.txt").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ignores_everything_is_gone_within_the_bound() {
    let w = World::new().await;
    let s = w.session().await;
    let c = child(&w, &s.id).await;
    let marker = format!("stubborn-{}", std::process::id());
    let mut turns = Vec::new();
    for (n, id) in [&s.id, &c.id].into_iter().enumerate() {
        // A command that ignores signals, with a child that left the process group.
        let script = format!(
            "/stubborn trap '' TERM INT HUP; (setsid sh -c 'trap \"\" TERM INT HUP; while :; do sleep 1; : {marker}-{n}; done' &) ; \
             while :; do sleep 1; : {marker}-{n}; done"
        );
        turns.push(w.say(id, &script).await);
    }
    until("all commands to run", || async {
        let all = (0..2).all(|n| processes(&format!("{marker}-{n}")).len() >= 2);
        all.then_some(())
    })
    .await;
    let since = Instant::now();
    assert!(
        w.engine
            .abort(&s.id, AbortOptions::default())
            .await
            .unwrap()
    );
    // Both at the same time, so one bound for all.
    assert!(
        since.elapsed() < Duration::from_secs(12),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(processes(&marker), BTreeSet::new());
    for turn in &turns {
        assert_eq!(w.end(turn).await.state, TurnState::Aborted);
    }
    assert_eq!(w.ask(&s.id, "again").await.state, TurnState::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_ends_the_work_first_and_a_restore_brings_the_tree_back() {
    let w = World::new().await;
    let s = w.session().await;
    let (c, early) = (child(&w, &s.id).await, child(&w, &s.id).await);
    let deepest = child(&w, &c.id).await;
    w.engine.delete_session(&early.id).await.unwrap();
    let marker = format!("deleted-{}", std::process::id());
    let turn = w
        .say(
            &c.id,
            &format!("/stubborn while :; do sleep 1; : {marker}; done"),
        )
        .await;
    until("the command to run", || async {
        (!processes(&marker).is_empty()).then_some(())
    })
    .await;
    let deleted = w.engine.delete_session(&s.id).await.unwrap();
    assert_eq!(deleted, [&deepest.id, &c.id, &s.id].map(Clone::clone));
    assert_eq!(processes(&marker), BTreeSet::new());
    let turn = w.store.turn(&turn.id).await.unwrap().unwrap();
    assert_eq!(turn.state, TurnState::Aborted);
    // The end of the turn comes before that of the session; no error is told.
    let events = bodies(&w, &c.id).await;
    assert!(
        matches!(events.last(), Some(EventBody::SessionDeleted(_))),
        "{events:?}"
    );
    for id in [&s.id, &c.id, &deepest.id] {
        assert!(matches!(
            w.engine.session(id).await,
            Err(EngineError::NotFound { .. })
        ));
        assert!(matches!(
            w.engine.prompt(id, prompt("x")).await,
            Err(EngineError::NotFound { .. })
        ));
        let stored = w.store.session(id).await.unwrap().unwrap();
        assert_eq!(
            (stored.share_url, stored.status.kind),
            (None, StatusKind::Idle)
        );
    }
    assert!(
        w.engine.delete_session(&s.id).await.is_err(),
        "it is not there"
    );

    let alone = w.engine.restore_session(&deepest.id).await;
    assert!(
        matches!(alone, Err(EngineError::Conflict { .. })),
        "{alone:?}"
    );
    let restored = w.engine.restore_session(&s.id).await.unwrap();
    assert_eq!(restored.deleted_at, None);
    for id in [&s.id, &c.id, &deepest.id] {
        w.engine.session(id).await.unwrap();
    }
    assert!(
        w.engine.session(&early.id).await.is_err(),
        "it was deleted before"
    );
    w.engine.restore_session(&early.id).await.unwrap();
    assert_eq!(w.ask(&c.id, "again").await.state, TurnState::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_prompted_all_the_time_is_deleted_without_open_turns() {
    let w = World::new().await;
    for _ in 0..5 {
        let s = w.session().await;
        let prompts = async {
            loop {
                match w.engine.prompt(&s.id, prompt("hello")).await {
                    Ok(_) | Err(EngineError::Unavailable { .. }) => {
                        tokio::task::yield_now().await;
                    }
                    Err(EngineError::NotFound { .. }) => return,
                    Err(e) => panic!("{e:?}"),
                }
            }
        };
        let delete = async {
            until("some work", || async {
                let turns = w.store.turns(&s.id, &TurnQuery::default()).await.unwrap();
                (!turns.is_empty()).then_some(())
            })
            .await;
            w.engine.delete_session(&s.id).await.unwrap()
        };
        let ((), deleted) = futures::future::join(prompts, delete).await;
        assert_eq!(deleted, std::slice::from_ref(&s.id));
        let open = TurnQuery {
            open_only: true,
            ..TurnQuery::default()
        };
        assert!(w.store.turns(&s.id, &open).await.unwrap().is_empty());
        w.engine.restore_session(&s.id).await.unwrap();
        assert_eq!(w.ask(&s.id, "again").await.state, TurnState::Completed);
        let after = w.engine.session(&s.id).await.unwrap();
        assert_eq!(after.status.kind, StatusKind::Idle);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_takes_the_tree_and_only_from_the_trash() {
    let w = World::new().await;
    let s = w.session().await;
    let c = child(&w, &s.id).await;
    w.ask(&c.id, "hello").await;
    let other = w.session().await;
    let refused = w.engine.purge_session(&s.id).await;
    assert!(
        matches!(refused, Err(EngineError::NotFound { .. })),
        "{refused:?}"
    );
    w.engine.delete_session(&s.id).await.unwrap();
    let purged = w.engine.purge_session(&s.id).await.unwrap();
    assert_eq!(purged, [c.id.clone(), s.id.clone()]);
    for id in [&s.id, &c.id] {
        assert!(w.store.session(id).await.unwrap().is_none());
        assert!(bodies(&w, id).await.is_empty());
        let gone = w.engine.restore_session(id).await;
        assert!(matches!(gone, Err(EngineError::NotFound { .. })));
    }
    w.engine.session(&other.id).await.unwrap();
    for _ in 0..3 {
        let s = w.session().await;
        w.engine.delete_session(&s.id).await.unwrap();
    }
    assert_eq!(w.engine.empty_trash().await.unwrap(), 3);
    assert_eq!(w.engine.empty_trash().await.unwrap(), 0);
    let trashed = SessionQuery {
        trashed: true,
        ..SessionQuery::default()
    };
    let page = w.engine.sessions(&trashed).await.unwrap();
    assert!(page.sessions.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_term_a_deletion_is_a_purge() {
    let w = World::with(|c| c.trash_term = Duration::ZERO).await;
    let s = w.session().await;
    let c = child(&w, &s.id).await;
    w.ask(&s.id, "hello").await;
    let deleted = w.engine.delete_session(&s.id).await.unwrap();
    assert_eq!(deleted, [c.id.clone(), s.id.clone()]);
    for id in [&s.id, &c.id] {
        assert!(w.store.session(id).await.unwrap().is_none());
    }
    // The agent's end does not bring anything back.
    w.engine.shutdown(PATIENCE).await;
    assert!(w.store.binding(&s.id).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trash_is_purged_when_its_time_has_come() {
    let mut w = World::new().await;
    let (old, young) = (w.session().await, w.session().await);
    let trash = async |id: &SessionId, days: i64| {
        let now = w.engine.clock().now();
        let commit = Commit {
            session_id: id.clone(),
            fence: w.store.epoch(),
            at: sessiond_model::Timestamp(now.millis() - days * 24 * 3600 * 1000),
            require: Vec::new(),
            changes: vec![Change::TrashSession],
        };
        w.store.commit(commit).await.unwrap();
    };
    trash(&old.id, 31).await;
    trash(&young.id, 29).await;
    w.engine.shutdown(PATIENCE).await;
    w.restart().await;
    until("the old one to be purged", || async {
        let gone = w.store.session(&old.id).await.unwrap();
        gone.is_none().then_some(())
    })
    .await;
    assert!(w.store.session(&young.id).await.unwrap().is_some());
}
