//! Turns over the real ACP code path, with the demo agent as a child process.

use crate::support::{World, demo_model, prompt, prompt_with_id, texts, tools, until};
use sessiond_engine::{AbortOptions, EngineError, NewSession, PromptInput, QueuePolicy};
use sessiond_model::{
    EventBody, MessageError, MessageInfo, PermissionReply, RestoreRung, Seq, StatusKind, ToolState,
    TurnState, rules,
};
use sessiond_store::{AskQuery, EventQuery, MessageQuery, Scope, TurnQuery};

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_is_answered_and_everything_is_closed() {
    let w = World::new().await;
    let s = w.session().await;
    assert!(rules::is_default_title(&s.title));
    let turn = w.ask(&s.id, "hello there").await;
    assert_eq!(turn.state, TurnState::Completed, "{turn:?}");
    assert_eq!(turn.restore, Some(RestoreRung::New));
    let parts = w.answer(&turn).await;
    assert!(!texts(&parts).is_empty());
    assert!(parts.iter().all(|p| !p.body.is_open()), "{parts:?}");
    let after = w.engine.session(&s.id).await.unwrap();
    assert_eq!(after.status.kind, StatusKind::Idle);
    assert!(!rules::is_default_title(&after.title));
    let page = w
        .engine
        .messages(&s.id, &MessageQuery::default())
        .await
        .unwrap();
    assert_eq!(page.messages.len(), 2);
    let ids: Vec<_> = page.messages.iter().map(|m| m.id.clone()).collect();
    assert!(ids.is_sorted(), "clients sort by id: {ids:?}");
    let MessageInfo::Assistant(info) = page.messages[1].message().unwrap().info else {
        panic!()
    };
    assert!(info.time.completed.is_some());
    assert_eq!(info.finish.as_deref(), Some("stop"));
    assert_eq!(info.error, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_prompts_at_once_each_get_their_own_answer_in_order() {
    let w = World::new().await;
    let s = w.session().await;
    let mut turns = Vec::new();
    for i in 0..10 {
        turns.push(w.say(&s.id, &format!("question number {i}")).await);
    }
    let mut started = Vec::new();
    for (i, turn) in turns.iter().enumerate() {
        let turn = w.end(turn).await;
        assert_eq!(turn.state, TurnState::Completed);
        let text = w.answer_text(&turn).await;
        assert!(
            text.contains(&format!("question number {i}")),
            "{i}: {text}"
        );
        started.push(turn.started_at);
    }
    assert!(started.is_sorted());
    let session = w.engine.session(&s.id).await.unwrap();
    assert_eq!(session.status.kind, StatusKind::Idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_id_is_the_same_prompt() {
    let w = World::new().await;
    let s = w.session().await;
    let id = "msg_204163custom";
    let calls = (0..3).map(|_| w.engine.prompt(&s.id, prompt_with_id("once", id)));
    let answers = futures::future::join_all(calls).await;
    let turns: std::collections::BTreeSet<_> = answers
        .into_iter()
        .map(|a| a.unwrap().turn.unwrap().id.to_string())
        .collect();
    assert_eq!(turns.len(), 1);
    assert_eq!(
        w.engine
            .turns(&s.id, &TurnQuery::default())
            .await
            .unwrap()
            .len(),
        1
    );
    let other = w
        .engine
        .prompt(&s.id, prompt_with_id("something else", id))
        .await;
    assert!(
        matches!(other, Err(EngineError::Conflict { owner: None, .. })),
        "{other:?}"
    );
    let elsewhere = w.session().await;
    let stolen = w
        .engine
        .prompt(&elsewhere.id, prompt_with_id("once", id))
        .await;
    let Err(EngineError::Conflict {
        owner: Some(owner), ..
    }) = stolen
    else {
        panic!("{stolen:?}")
    };
    assert_eq!(owner, s.id);
    assert!(w.parts(&elsewhere.id).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_agents_and_models_are_refused_before_anything_is_stored() {
    let w = World::new().await;
    let s = w.session().await;
    w.ask(&s.id, "hello").await;
    let count = w.parts(&s.id).await.len();
    for (model, field) in [
        (
            sessiond_model::ModelRef {
                provider_id: "nobody".into(),
                ..demo_model("x")
            },
            "model.providerID",
        ),
        (demo_model("no-such-model"), "model.modelID"),
    ] {
        let input = PromptInput {
            model: Some(model),
            ..prompt("x")
        };
        let refused = w.engine.prompt(&s.id, input).await;
        let Err(EngineError::Invalid { field: named, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!(named, field);
    }
    let input = PromptInput {
        agent: Some("no-such-mode".into()),
        ..prompt("x")
    };
    assert!(matches!(
        w.engine.prompt(&s.id, input).await,
        Err(EngineError::Invalid { .. })
    ));
    assert_eq!(w.parts(&s.id).await.len(), count);
    assert_eq!(w.ask(&s.id, "still fine").await.state, TurnState::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn abort_stops_a_slow_answer_and_keeps_its_text() {
    let w = World::new().await;
    let s = w.session().await;
    let turn = w.say(&s.id, "/slow 500 50").await;
    until("text", || async {
        (!texts(&w.parts(&s.id).await)
            .replace("/slow 500 50", "")
            .is_empty())
        .then_some(())
    })
    .await;
    assert!(
        w.engine
            .abort(&s.id, AbortOptions::default())
            .await
            .unwrap()
    );
    let session = w.engine.session(&s.id).await.unwrap();
    assert_eq!(
        session.status.kind,
        StatusKind::Idle,
        "idle when abort answers"
    );
    let turn = w.end(&turn).await;
    assert_eq!(turn.state, TurnState::Aborted);
    let doc = w
        .engine
        .message(&s.id, turn.assistant_message_id.as_ref().unwrap())
        .await
        .unwrap();
    let MessageInfo::Assistant(info) = doc.message().unwrap().info else {
        panic!()
    };
    assert!(
        matches!(info.error, Some(MessageError::Aborted { .. })),
        "{info:?}"
    );
    assert!(info.time.completed.is_some());
    assert!(!texts(&doc.typed_parts()).is_empty());
    assert!(
        !w.engine
            .abort(&s.id, AbortOptions::default())
            .await
            .unwrap(),
        "nothing runs"
    );
    assert_eq!(idle_events(&w, &s.id).await, 1);
    assert_eq!(w.ask(&s.id, "next").await.state, TurnState::Completed);
}

async fn idle_events(w: &World, id: &sessiond_model::SessionId) -> usize {
    let query = EventQuery {
        after: Seq(0),
        until: None,
        scope: Scope::Session(id.clone()),
        limit: 10_000,
    };
    let page = w.engine.events(&query).await.unwrap();
    for (i, e) in page.events.iter().enumerate() {
        assert_eq!(e.session_seq.0, i as u64 + 1, "gapless");
    }
    page.events
        .iter()
        .filter(|e| matches!(&e.body, EventBody::StatusChanged(s) if s.kind == StatusKind::Idle))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn abort_ends_an_agent_that_does_not_listen_and_all_its_children() {
    let w = World::with(|c| {
        c.cancel_grace = std::time::Duration::from_millis(300);
        c.term_grace = std::time::Duration::from_millis(500);
    })
    .await;
    let s = w.session().await;
    let mark = w.project().join("alive");
    let command = format!("while :; do date > {}; sleep 0.05; done", mark.display());
    let turn = w.say(&s.id, &format!("/stubborn {command}")).await;
    until("the child", || async {
        for p in w.engine.permissions(&AskQuery::default()).await.unwrap() {
            let _ = w
                .engine
                .reply_permission(&p.id, PermissionReply::Once, None)
                .await;
        }
        mark.exists().then_some(())
    })
    .await;
    let spawn_id = w
        .engine
        .binding(&s.id)
        .await
        .unwrap()
        .unwrap()
        .spawn_id
        .unwrap();
    w.engine
        .abort(&s.id, AbortOptions::default())
        .await
        .unwrap();
    assert_eq!(w.end(&turn).await.state, TurnState::Aborted);
    assert_eq!(processes_with(&spawn_id), 0, "all gone when abort answers");
    assert_eq!(w.ask(&s.id, "next").await.state, TurnState::Completed);
}

fn processes_with(spawn_id: &str) -> usize {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return 0;
    };
    entries
        .flatten()
        .filter(|e| {
            let environ = std::fs::read(e.path().join("environ")).unwrap_or_default();
            let stat = std::fs::read_to_string(e.path().join("stat")).unwrap_or_default();
            let zombie = stat
                .rsplit(')')
                .next()
                .is_some_and(|s| s.trim_start().starts_with('Z'));
            !zombie && String::from_utf8_lossy(&environ).contains(spawn_id)
        })
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn abort_drops_or_keeps_the_queue_as_asked() {
    let w = World::new().await;
    for (policy, last) in [
        (QueuePolicy::Drop, TurnState::Aborted),
        (QueuePolicy::Keep, TurnState::Completed),
    ] {
        let s = w.session().await;
        let first = w.say(&s.id, "/slow 500 50").await;
        let second = w.say(&s.id, "second").await;
        until("the start", || async {
            (w.engine.turn(&s.id, &first.id).await.unwrap().state == TurnState::Running)
                .then_some(())
        })
        .await;
        w.engine
            .abort(&s.id, AbortOptions { queue: policy })
            .await
            .unwrap();
        assert_eq!(w.end(&first).await.state, TurnState::Aborted);
        let second = w.end(&second).await;
        assert_eq!(second.state, last, "{policy:?}");
        assert!(
            second.assistant_message_id.is_some(),
            "every prompt has an answer"
        );
        until("idle", || async {
            (w.engine.session(&s.id).await.unwrap().status.kind == StatusKind::Idle).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_is_asked_answered_once_and_carried_out() {
    let w = World::new().await;
    let s = w.session().await;
    let file = w.project().join("a.txt");
    let turn = w
        .say(&s.id, &format!("/write {} some text", file.display()))
        .await;
    let ask = until("a request", || async {
        w.engine
            .permissions(&AskQuery {
                session_id: Some(s.id.clone()),
                directory: None,
            })
            .await
            .unwrap()
            .pop()
    })
    .await;
    assert_eq!(ask.turn_id, turn.id);
    assert!(ask.tool.is_some());
    assert!(!file.exists());
    let replies = (0..4).map(|_| {
        w.engine
            .reply_permission(&ask.id, PermissionReply::Once, None)
    });
    let replies = futures::future::join_all(replies).await;
    assert_eq!(
        replies.iter().filter(|r| r.is_ok()).count(),
        1,
        "one answer wins"
    );
    let turn = w.end(&turn).await;
    assert_eq!(turn.state, TurnState::Completed);
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .contains("some text")
    );
    assert!(
        w.engine
            .permissions(&AskQuery::default())
            .await
            .unwrap()
            .is_empty()
    );
    let late = w
        .engine
        .reply_permission(&ask.id, PermissionReply::Reject, None)
        .await;
    assert!(
        matches!(late, Err(EngineError::Conflict { .. })),
        "{late:?}"
    );
    let files = w.engine.file_changes(&turn.id).await.unwrap();
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(files[0].diff.file, file.to_string_lossy());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_expires_what_was_asked() {
    let w = World::new().await;
    let s = w.session().await;
    let file = w.project().join("never.txt");
    let turn = w.say(&s.id, &format!("/write {} x", file.display())).await;
    let ask = until("a request", || async {
        w.engine
            .permissions(&AskQuery::default())
            .await
            .unwrap()
            .pop()
    })
    .await;
    w.engine
        .abort(&s.id, AbortOptions::default())
        .await
        .unwrap();
    assert_eq!(w.end(&turn).await.state, TurnState::Aborted);
    assert!(
        w.engine
            .permissions(&AskQuery::default())
            .await
            .unwrap()
            .is_empty()
    );
    let late = w
        .engine
        .reply_permission(&ask.id, PermissionReply::Once, None)
        .await;
    assert!(
        matches!(late, Err(EngineError::Conflict { .. })),
        "{late:?}"
    );
    assert!(!file.exists());
    assert!(w.parts(&s.id).await.iter().all(|p| !p.body.is_open()));
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_the_session_answer_without_a_person() {
    use sessiond_model::{PermissionAction, PermissionRule};
    let w = World::new().await;
    for (action, exists) in [
        (PermissionAction::Allow, true),
        (PermissionAction::Deny, false),
    ] {
        let rule = PermissionRule {
            permission: "*".into(),
            pattern: "*".into(),
            action,
        };
        let new = NewSession {
            directory: Some(w.project().to_string_lossy().into_owned()),
            permission: Some(vec![rule]),
            ..NewSession::default()
        };
        let s = w.engine.create_session(new).await.unwrap().session;
        let file = w.project().join(format!("{action:?}.txt"));
        let turn = w.ask(&s.id, &format!("/write {} x", file.display())).await;
        assert!(turn.state.is_terminal());
        assert_eq!(file.exists(), exists, "{action:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_dies_fails_its_turn_and_comes_back_with_its_memory() {
    let w = World::new().await;
    let s = w.session().await;
    w.ask(&s.id, "the canary is blue").await;
    let turn = w.ask(&s.id, "/crash").await;
    assert!(
        matches!(turn.state, TurnState::Failed | TurnState::Interrupted),
        "{turn:?}"
    );
    assert!(turn.failure.is_some());
    let turn = w.ask(&s.id, "/history").await;
    assert_eq!(turn.state, TurnState::Completed);
    assert_eq!(
        turn.restore,
        Some(RestoreRung::Resumed),
        "{:?}",
        w.engine.binding(&s.id).await
    );
    let text = w.answer_text(&turn).await;
    assert!(text.contains("the canary is blue"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_shown_where_clients_look() {
    let w = World::new().await;
    let s = w.session().await;
    for (command, auth) in [("/fail", false), ("/fail-auth", true)] {
        let turn = w.ask(&s.id, command).await;
        assert_eq!(turn.state, TurnState::Failed, "{command}: {turn:?}");
        let doc = w
            .engine
            .message(&s.id, turn.assistant_message_id.as_ref().unwrap())
            .await
            .unwrap();
        let MessageInfo::Assistant(info) = doc.message().unwrap().info else {
            panic!()
        };
        assert_eq!(
            matches!(info.error, Some(MessageError::Auth { .. })),
            auth,
            "{:?}",
            info.error
        );
        assert!(info.error.is_some());
        assert_eq!(
            w.engine.session(&s.id).await.unwrap().status.kind,
            StatusKind::Error
        );
    }
    assert_eq!(w.ask(&s.id, "again").await.state, TurnState::Completed);
    assert_eq!(
        w.engine.session(&s.id).await.unwrap().status.kind,
        StatusKind::Idle
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_agent_memory_is_rebuilt_from_the_transcript() {
    let mut w = World::new().await;
    let s = w.session().await;
    w.ask(&s.id, "the canary is green").await;
    w.engine.shutdown(std::time::Duration::from_secs(10)).await;
    w.forget_agent_memory();
    w.restart().await;
    let turn = w.ask(&s.id, "/history").await;
    assert_eq!(turn.state, TurnState::Completed);
    assert_eq!(turn.restore, Some(RestoreRung::Rebuilt));
    let binding = w.engine.binding(&s.id).await.unwrap().unwrap();
    assert!(
        binding.rung_notes.iter().any(|n| n.starts_with("resume:")),
        "{binding:?}"
    );
    let text = w.answer_text(&turn).await;
    assert!(text.contains("the canary is green"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_without_a_reply_are_told_with_the_next_prompt() {
    let w = World::new().await;
    let s = w.session().await;
    w.ask(&s.id, "hello").await;
    let silent = PromptInput {
        no_reply: true,
        ..prompt("remember the word xylophone")
    };
    let accepted = w.engine.prompt(&s.id, silent).await.unwrap();
    assert!(accepted.turn.is_none());
    assert_eq!(
        w.engine.session(&s.id).await.unwrap().status.kind,
        StatusKind::Idle
    );
    let turn = w.ask(&s.id, "/history").await;
    assert!(w.answer_text(&turn).await.contains("xylophone"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_interrupts_the_turn_and_the_queue_goes_on_after_it() {
    let mut w = World::new().await;
    let s = w.session().await;
    let first = w.say(&s.id, "/slow 500 50").await;
    let second = w.say(&s.id, "second in the queue").await;
    until("the start", || async {
        (w.engine.turn(&s.id, &first.id).await.unwrap().state == TurnState::Running).then_some(())
    })
    .await;
    w.engine.shutdown(std::time::Duration::from_secs(10)).await;
    assert!(matches!(
        w.engine.prompt(&s.id, prompt("x")).await,
        Err(EngineError::Unavailable { .. })
    ));
    let first = w.store.turn(&first.id).await.unwrap().unwrap();
    assert_eq!(first.state, TurnState::Interrupted);
    assert_eq!(
        w.store.turn(&second.id).await.unwrap().unwrap().state,
        TurnState::Queued
    );
    w.restart().await;
    let second = w.end(&second).await;
    assert_eq!(second.state, TurnState::Completed);
    assert!(w.answer_text(&second).await.contains("second in the queue"));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_busy_parent_ends_its_work_and_hides_the_tree() {
    let w = World::new().await;
    let parent = w.session().await;
    let new = NewSession {
        parent_id: Some(parent.id.clone()),
        ..NewSession::default()
    };
    let child = w.engine.create_session(new).await.unwrap().session;
    let turn = w.say(&parent.id, "/slow 500 50").await;
    let deleted = w.engine.delete_session(&parent.id).await.unwrap();
    assert_eq!(
        deleted,
        [child.id.clone(), parent.id.clone()],
        "children first"
    );
    assert!(
        w.store
            .turn(&turn.id)
            .await
            .unwrap()
            .unwrap()
            .state
            .is_terminal()
    );
    assert!(matches!(
        w.engine.session(&parent.id).await,
        Err(EngineError::NotFound { .. })
    ));
    assert!(matches!(
        w.engine.prompt(&child.id, prompt("x")).await,
        Err(EngineError::NotFound { .. })
    ));
    w.engine.restore_session(&parent.id).await.unwrap();
    assert_eq!(
        w.ask(&parent.id, "back again").await.state,
        TurnState::Completed
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_become_todos_and_silent_tools_are_closed() {
    let w = World::new().await;
    let s = w.session().await;
    w.ask(&s.id, "/plan").await;
    assert!(!w.engine.todos(&s.id).await.unwrap().is_empty());
    let turn = w.ask(&s.id, "/silent-tool").await;
    let parts = w.answer(&turn).await;
    let states = tools(&parts);
    assert!(
        states.iter().any(|s| matches!(s, ToolState::Error { .. })),
        "{states:?}"
    );
}
