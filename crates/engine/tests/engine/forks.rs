//! Forks: what they copy, and what their agents remember.

use std::collections::HashMap;

use crate::support::{World, prompt};
use sessiond_engine::{EngineError, ForkOptions, NewSession, PromptInput, Relation};
use sessiond_model::{
    AssistantInfo, Change, Commit, FileChange, MessageDoc, MessageId, MessageInfo, PartBody,
    RestoreRung, Revert, Session, SessionId, SessionPatch, Timestamp, Todo, Turn, TurnState,
};
use sessiond_store::{EntityKind, MessageQuery, TurnQuery};

async fn fork(w: &World, id: &SessionId, before: Option<&MessageId>) -> Session {
    let options = ForkOptions {
        before: before.cloned(),
        ..ForkOptions::default()
    };
    let created = w.engine.fork_session(id, options).await.unwrap();
    assert!(!created.replayed);
    Session::clone(&created.session)
}

async fn docs(w: &World, id: &SessionId) -> Vec<MessageDoc> {
    let query = MessageQuery::default();
    w.engine.messages(id, &query).await.unwrap().messages
}

async fn turns(w: &World, id: &SessionId) -> Vec<Turn> {
    w.engine.turns(id, &TurnQuery::default()).await.unwrap()
}

async fn commit(w: &World, id: &SessionId, changes: Vec<Change>) {
    let commit = Commit {
        session_id: id.clone(),
        fence: w.store.epoch(),
        at: Timestamp(1),
        require: Vec::new(),
        changes,
    };
    w.store.commit(commit).await.unwrap();
}

fn said(docs: &[MessageDoc]) -> Vec<String> {
    let text = |doc: &MessageDoc| crate::support::texts(&doc.typed_parts());
    docs.iter().map(text).collect()
}

/// Nothing in a session points to what is not in it.
async fn assert_whole(w: &World, id: &SessionId) {
    let docs = docs(w, id).await;
    let has = |message: &MessageId| docs.iter().any(|d| d.id == *message);
    for doc in &docs {
        assert_eq!(doc.session_id, *id);
        match doc.message().unwrap().info {
            MessageInfo::User(_) => {}
            MessageInfo::Assistant(info) => {
                let AssistantInfo {
                    parent_id, time, ..
                } = *info;
                assert!(has(&parent_id), "{parent_id}");
                assert!(time.completed.is_some());
            }
        }
        for part in doc.typed_parts() {
            assert!(!part.body.is_open(), "{part:?}");
            if let PartBody::Compaction {
                tail_start_id: Some(tail),
                ..
            } = part.body
            {
                assert!(has(&tail));
            }
        }
    }
    for turn in turns(w, id).await {
        assert_eq!(turn.session_id, *id);
        assert!(turn.state.is_terminal(), "{turn:?}");
        assert!(has(&turn.user_message_id), "{turn:?}");
        assert!(turn.assistant_message_id.iter().all(has), "{turn:?}");
        assert_eq!(turn.idempotency_key, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_remembers_what_it_copied_and_nothing_after() {
    let w = World::new().await;
    let s = w.session().await;
    for text in ["alpha", "beta", "gamma"] {
        w.ask(&s.id, text).await;
    }
    let before = docs(&w, &s.id).await;
    let f = fork(&w, &s.id, Some(&before[2].id)).await;
    assert_whole(&w, &f.id).await;
    assert_eq!(said(&docs(&w, &f.id).await), said(&before[..2]));
    let turn = w.ask(&f.id, "/history").await;
    let told = w.answer_text(&turn).await;
    assert!(told.contains("alpha"), "{told}");
    assert!(!told.contains("beta") && !told.contains("gamma"), "{told}");
    // Nor does the origin hear of it.
    let turn = w.ask(&s.id, "/history").await;
    let told = w.answer_text(&turn).await;
    assert!(
        told.contains("gamma") && told.matches("/history").count() <= 1,
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_forks_its_own_session_while_nothing_followed() {
    let w = World::new().await;
    let s = w.session().await;
    w.ask(&s.id, "alpha").await;
    let note = PromptInput {
        no_reply: true,
        ..prompt("a note")
    };
    let (one, two) = (fork(&w, &s.id, None).await, fork(&w, &s.id, None).await);
    w.engine.prompt(&s.id, note).await.unwrap();
    let noted = fork(&w, &s.id, None).await;
    let turn = w.ask(&one.id, "/history").await;
    assert_eq!(turn.restore, Some(RestoreRung::Forked), "{turn:?}");
    assert!(w.answer_text(&turn).await.contains("alpha"));
    let binding = async |id| w.engine.binding(id).await.unwrap().unwrap();
    let (ours, origin) = (binding(&one.id).await, binding(&s.id).await);
    assert_ne!(ours.agent_session_id, origin.agent_session_id);
    // What the agent has not heard is told.
    let turn = w.ask(&noted.id, "/history").await;
    assert_eq!(turn.restore, Some(RestoreRung::Forked));
    let told = w.answer_text(&turn).await;
    assert!(told.contains("alpha") && told.contains("a note"), "{told}");
    // The origin goes on, and on: then its agent knows more than the fork may.
    w.ask(&s.id, "beta").await;
    let turn = w.ask(&two.id, "/history").await;
    assert_eq!(turn.restore, Some(RestoreRung::Rebuilt));
    let told = w.answer_text(&turn).await;
    assert!(told.contains("alpha") && !told.contains("beta"), "{told}");
    let notes = binding(&two.id).await.rung_notes;
    assert!(notes.iter().any(|n| n.starts_with("fork: ")), "{notes:?}");
    // The agent has lost it: our transcript is enough.
    let three = fork(&w, &s.id, None).await;
    w.forget_agent_memory();
    let turn = w.ask(&three.id, "/history").await;
    assert_eq!(turn.restore, Some(RestoreRung::Rebuilt));
    assert!(w.answer_text(&turn).await.contains("beta"));
    // A fork of a fork, whose agent still has its own.
    let four = fork(&w, &three.id, None).await;
    let turn = w.ask(&four.id, "/history").await;
    assert_eq!(turn.restore, Some(RestoreRung::Forked));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_copies_turns_with_files_and_todos() {
    let w = World::new().await;
    let s = w.session().await;
    let permission = vec![sessiond_model::PermissionRule {
        permission: "*".into(),
        pattern: "*".into(),
        action: sessiond_model::PermissionAction::Allow,
    }];
    let update = sessiond_engine::SessionUpdate {
        permission: Some(permission),
        metadata: Some(serde_json::Map::from_iter([("k".into(), 1.into())])),
        ..Default::default()
    };
    w.engine.update_session(&s.id, update).await.unwrap();
    w.ask(&s.id, "/write a.txt one").await;
    w.ask(&s.id, "/plan").await;
    let planned = w.engine.todos(&s.id).await.unwrap();
    assert!(!planned.is_empty());
    let last = w.ask(&s.id, "/write b.txt two").await;
    let other = Todo {
        content: "another plan".into(),
        ..planned[0].clone()
    };
    let set = Change::SetTodos {
        todos: vec![other.clone()],
        turn_id: Some(last.id.clone()),
    };
    commit(&w, &s.id, vec![set]).await;

    let s = w.engine.session(&s.id).await.unwrap();
    let f = fork(&w, &s.id, Some(&last.user_message_id)).await;
    assert_whole(&w, &f.id).await;
    assert_eq!((&f.metadata, &f.permission), (&s.metadata, &s.permission));
    assert_eq!((&f.agent, &f.model), (&s.agent, &s.model));
    assert_eq!(w.engine.todos(&f.id).await.unwrap(), planned);
    let (old, new) = (turns(&w, &s.id).await, turns(&w, &f.id).await);
    assert_eq!(new.len(), 2);
    for (old, new) in old.iter().zip(&new) {
        assert_ne!(old.id, new.id);
        assert_eq!(old.state, new.state);
        assert_eq!((&old.kind, &old.worktree), (&new.kind, &new.worktree));
        assert_eq!((old.queued_at, old.restore), (new.queued_at, new.restore));
        let files = async |id| w.engine.file_changes(id).await.unwrap();
        assert_eq!(files(&old.id).await, files(&new.id).await);
    }
    let files: Vec<FileChange> = w.engine.file_changes(&new[0].id).await.unwrap();
    assert!(files[0].diff.file.ends_with("a.txt"));
    // Its own list is its own.
    let all = fork(&w, &s.id, None).await;
    assert_eq!(w.engine.todos(&all.id).await.unwrap(), [other]);
    assert_eq!(all.summary, s.summary);
    assert_eq!((all.cost, all.tokens), (s.cost, s.tokens));
    assert!(w.engine.usage(&all.id).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_session_is_forked_with_what_has_ended() {
    let w = World::new().await;
    let s = w.session().await;
    w.ask(&s.id, "first").await;
    let note = PromptInput {
        no_reply: true,
        ..prompt("a note")
    };
    w.engine.prompt(&s.id, note).await.unwrap();
    let running = w.say(&s.id, "/slow 1000 50").await;
    crate::support::until("the turn to run", || async {
        let turn = w.engine.turn(&s.id, &running.id).await.unwrap();
        (turn.state == TurnState::Running).then_some(())
    })
    .await;
    let queued = w.say(&s.id, "later").await;
    let f = fork(&w, &s.id, None).await;
    assert_whole(&w, &f.id).await;
    let copies = said(&docs(&w, &f.id).await);
    assert_eq!(copies.len(), 3, "{copies:?}");
    assert_eq!((&*copies[0], &*copies[2]), ("first", "a note"));
    let origin = f.fork.clone().unwrap();
    assert_eq!(origin.message_id, Some(running.user_message_id.clone()));
    assert_eq!(f.status.kind, sessiond_model::StatusKind::Idle);
    // It works at once, beside the busy one.
    let turn = w.ask(&f.id, "/history").await;
    let told = w.answer_text(&turn).await;
    assert!(told.contains("first") && !told.contains("/slow"), "{told}");
    w.engine.abort(&s.id, Default::default()).await.unwrap();
    w.end(&queued).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reverted_session_is_forked_as_it_is_seen() {
    let w = World::new().await;
    let s = w.session().await;
    let mut ended = Vec::new();
    for text in ["/plan", "two", "three"] {
        ended.push(w.ask(&s.id, text).await);
    }
    let planned = w.engine.todos(&s.id).await.unwrap();
    let set = Change::SetTodos {
        todos: Vec::new(),
        turn_id: Some(ended[1].id.clone()),
    };
    let marker = |message: &MessageId, part: Option<&MessageDoc>| {
        Change::UpdateSession(SessionPatch {
            revert: Some(Some(Revert {
                message_id: message.clone(),
                part_id: part.map(|doc| doc.parts[1].id.clone()),
                snapshot: None,
                diff: None,
            })),
            ..SessionPatch::default()
        })
    };
    let all = docs(&w, &s.id).await;
    commit(&w, &s.id, vec![set, marker(&all[2].id, None)]).await;
    assert_eq!(w.engine.todos(&s.id).await.unwrap(), planned);
    let f = fork(&w, &s.id, None).await;
    assert_whole(&w, &f.id).await;
    assert_eq!(said(&docs(&w, &f.id).await), said(&all[..2]));
    assert_eq!(f.revert, None);
    assert_eq!(f.fork.unwrap().message_id, Some(all[2].id.clone()));
    assert_eq!(w.engine.todos(&f.id).await.unwrap(), planned);
    // In the middle of an answer: its first part is seen.
    commit(&w, &s.id, vec![marker(&all[3].id, Some(&all[3]))]).await;
    assert!(w.engine.todos(&s.id).await.unwrap().is_empty());
    let f = fork(&w, &s.id, None).await;
    assert_whole(&w, &f.id).await;
    let copies = docs(&w, &f.id).await;
    assert_eq!(copies.len(), 4);
    assert_eq!(copies[3].parts.len(), 1);
    // A hidden message is a good end, too: what is before it and seen.
    let f = fork(&w, &s.id, Some(&all[5].id)).await;
    assert_eq!(docs(&w, &f.id).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn forks_of_a_family_are_numbered_even_at_once() {
    let w = World::new().await;
    let new = NewSession {
        title: Some("Fix it".into()),
        ..NewSession::default()
    };
    let s = w.engine.create_session(new).await.unwrap().session;
    let first = fork(&w, &s.id, None).await;
    let forks = (0..8).map(|n| fork(&w, if n % 2 == 0 { &s.id } else { &first.id }, None));
    let forks = futures::future::join_all(forks).await;
    let mut titles: Vec<_> = forks.iter().map(|f| f.title.clone()).collect();
    titles.sort();
    let wanted: Vec<_> = (2..10).map(|n| format!("Fix it (fork #{n})")).collect();
    assert_eq!(titles, wanted);
    let named = ForkOptions {
        title: Some("mine".into()),
        ..ForkOptions::default()
    };
    let named = w.engine.fork_session(&s.id, named).await.unwrap().session;
    assert_eq!(named.title, "mine");
    assert_eq!(fork(&w, &named.id, None).await.title, "mine (fork #11)");

    let new = NewSession {
        parent_id: Some(first.id.clone()),
        ..NewSession::default()
    };
    let child = w.engine.create_session(new).await.unwrap().session;
    for at in [&s.id, &child.id, &named.id] {
        let tree = w.engine.session_tree(at).await.unwrap();
        assert!(!tree.truncated);
        assert_eq!(tree.sessions.len(), 13);
        assert_eq!(tree.sessions[0].session.id, s.id);
        let known: HashMap<_, _> = tree
            .sessions
            .iter()
            .enumerate()
            .map(|(at, r)| (r.session.id.clone(), (at, r.depth)))
            .collect();
        for (at, related) in tree.sessions.iter().enumerate() {
            let session = &related.session;
            let above = match related.relation {
                Relation::Root => continue,
                Relation::Child => session.parent_id.clone().unwrap(),
                Relation::Fork => session.fork.clone().unwrap().session_id,
            };
            let (place, depth) = known[&above];
            assert!(place < at && related.depth == depth + 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_is_made_once_for_a_key() {
    let w = World::new().await;
    let s = w.session().await;
    let keyed = |digest: &str| ForkOptions {
        idempotency: Some(("key".into(), digest.into())),
        ..ForkOptions::default()
    };
    let calls = (0..4).map(|_| w.engine.fork_session(&s.id, keyed("d")));
    let made = futures::future::join_all(calls).await;
    let made: Vec<_> = made.into_iter().map(Result::unwrap).collect();
    assert_eq!(made.iter().filter(|c| !c.replayed).count(), 1);
    assert!(made.iter().all(|c| c.session.id == made[0].session.id));
    let misused = w.engine.fork_session(&s.id, keyed("other")).await;
    assert!(
        matches!(misused, Err(EngineError::Conflict { .. })),
        "{misused:?}"
    );
    let nothing = ForkOptions {
        before: Some(MessageId::parse("msg_none").unwrap()),
        ..ForkOptions::default()
    };
    let refused = w.engine.fork_session(&s.id, nothing).await;
    assert!(
        matches!(
            &refused,
            Err(EngineError::NotFound {
                kind: EntityKind::Message,
                ..
            })
        ),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_outlives_a_restart_and_its_origin() {
    let mut w = World::new().await;
    let s = w.session().await;
    w.ask(&s.id, "alpha").await;
    let f = fork(&w, &s.id, None).await;
    w.engine.delete_session(&s.id).await.unwrap();
    w.engine.shutdown(crate::support::PATIENCE).await;
    w.restart().await;
    assert_whole(&w, &f.id).await;
    let turn = w.ask(&f.id, "/history").await;
    assert!(w.answer_text(&turn).await.contains("alpha"));
}
