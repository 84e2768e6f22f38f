use sessiond_model::{Change, Restore, RestorePhase, Seq, SessionId, Timestamp};

use super::Bench;
use super::fixtures::{self as fx, mid, sid, tid};
use crate::{
    AskQuery, EntityKind, EventQuery, MessageQuery, Scope, SessionQuery, StoreError, TurnQuery,
};

/// A session that has a row in every table, created with an idempotency key; its names begin
/// with `name`.
async fn full(bench: &mut Bench, name: &str) -> SessionId {
    let id = sid(name);
    let named = |what: &str| format!("{name}{what}");
    let create = Change::CreateSession {
        session: Box::new(fx::session(name)),
        idempotency: Some((named("key"), "digest".into())),
    };
    let changes = vec![
        create,
        Change::PutMessage(fx::user(&id, &named("m"), 1_100)),
        Change::PutPart(fx::text(&id, &named("m"), &named("small"), "small")),
        // The same large content in every session.
        Change::PutPart(fx::text(
            &id,
            &named("m"),
            &named("large"),
            &"x".repeat(100_000),
        )),
        Change::PutTurn(fx::turn(&id, &named("t"), &named("m"))),
        Change::SetFileChanges {
            turn_id: tid(&named("t")),
            files: vec![fx::file("/a")],
        },
        Change::SetTodos {
            todos: vec![fx::todo("x")],
            turn_id: Some(tid(&named("t"))),
        },
        Change::AskPermission(fx::permission(&id, &named("p"))),
        Change::AskQuestion(fx::question(&id, &named("q"))),
        Change::BindAgent(sessiond_model::AgentBinding {
            spawn_id: Some("spawn".into()),
            ..fx::binding(&id)
        }),
        Change::RecordUsage(fx::usage(&named("t"), 1.0)),
        Change::SetRestore(Some(Box::new(pending()))),
        Change::SetShare(Some(Box::new(fx::share(&named("hash"))))),
        Change::RemoveMessage(mid("none")),
    ];
    bench.commit(&id, 1_100, changes).await;
    id
}

fn pending() -> Restore {
    Restore {
        phase: RestorePhase::Pending,
        files: Vec::new(),
        revert: None,
        force: false,
    }
}

pub async fn only_the_trash_is_purged(bench: &mut Bench) {
    let id = full(bench, "a").await;
    bench
        .refused(&id, vec![Change::PurgeSession], |e| {
            matches!(e, StoreError::Conflict { kind: EntityKind::Session, id, .. } if id == "ses_a")
        })
        .await;
    bench
        .refused(&sid("none"), vec![Change::PurgeSession], |e| {
            matches!(
                e,
                StoreError::NotFound {
                    kind: EntityKind::Session,
                    ..
                }
            )
        })
        .await;
    assert!(bench.store().session(&id).await.unwrap().is_some());
}

pub async fn a_purge_is_alone_in_its_commit(bench: &mut Bench) {
    let id = full(bench, "a").await;
    bench.commit(&id, 1_200, vec![Change::TrashSession]).await;
    let both = vec![
        Change::PurgeSession,
        Change::PutMessage(fx::user(&id, "n", 1_300)),
    ];
    bench
        .refused(&id, both, |e| {
            matches!(
                e,
                StoreError::Conflict {
                    kind: EntityKind::Session,
                    ..
                }
            )
        })
        .await;
}

pub async fn a_purge_leaves_nothing(bench: &mut Bench) {
    let id = full(bench, "a").await;
    bench.commit(&id, 1_200, vec![Change::TrashSession]).await;
    let last = bench.store().last_seq().await.unwrap();
    let heard = bench.recorder.heard().len();
    let committed = bench.commit(&id, 1_300, vec![Change::PurgeSession]).await;
    assert!(committed.events.is_empty());
    assert_eq!(committed.session.unwrap().id, id);
    assert_eq!(bench.recorder.heard().len(), heard);

    let store = bench.store();
    let trashed = SessionQuery {
        trashed: true,
        ..SessionQuery::default()
    };
    assert!(store.session(&id).await.unwrap().is_none());
    assert!(store.session_head(&id).await.unwrap().is_none());
    assert!(store.sessions(&trashed).await.unwrap().sessions.is_empty());
    assert!(store.session_by_key("akey").await.unwrap().is_none());
    let page = store.messages(&id, &MessageQuery::default()).await.unwrap();
    assert!(page.messages.is_empty());
    assert!(store.message_owner(&mid("am")).await.unwrap().is_none());
    assert!(store.turn(&tid("at")).await.unwrap().is_none());
    let turns = store.turns(&id, &TurnQuery::default()).await.unwrap();
    assert!(turns.is_empty());
    assert!(store.file_changes(&tid("at")).await.unwrap().is_empty());
    assert!(store.todos(&id).await.unwrap().is_empty());
    assert!(store.todo_versions(&id).await.unwrap().is_empty());
    let permission = fx::permission(&id, "ap").id;
    assert!(store.permission(&permission).await.unwrap().is_none());
    let question = fx::question(&id, "aq").id;
    assert!(store.question(&question).await.unwrap().is_none());
    assert!(store.binding(&id).await.unwrap().is_none());
    assert!(store.live_bindings().await.unwrap().is_empty());
    assert!(store.usage(&id).await.unwrap().is_empty());
    assert!(store.restore(&id).await.unwrap().is_none());
    assert!(store.pending_restores().await.unwrap().is_empty());
    assert!(store.share(&id).await.unwrap().is_none());
    assert!(store.unfinished_sessions().await.unwrap().is_empty());
    let until = store.trashed_until(Timestamp(i64::MAX), 9).await.unwrap();
    assert!(until.is_empty());
    assert_eq!(store.health().await.unwrap().sessions, 0);
    let all = store.events(&super::replay::from_start()).await.unwrap();
    assert!(all.events.is_empty(), "{all:?}");
    // Numbers are never given twice.
    assert_eq!(store.last_seq().await.unwrap(), last);
    bench.step().await;
    assert_eq!(bench.store().last_seq().await.unwrap(), last);
    // Every id and key is free again.
    let id = full(bench, "a").await;
    let query = MessageQuery::default();
    let page = bench.store().messages(&id, &query).await.unwrap();
    assert_eq!(page.messages.len(), 1);
    let query = EventQuery {
        after: Seq(last.0),
        until: None,
        scope: Scope::Session(id.clone()),
        limit: 100,
    };
    let events = bench.store().events(&query).await.unwrap().events;
    assert_eq!(events[0].seq, Seq(last.0 + 1));
    assert_eq!(events[0].session_seq.0, 1);
}

pub async fn a_purge_touches_no_other_session(bench: &mut Bench) {
    let a = full(bench, "a").await;
    let b = full(bench, "b").await;
    let before = everything(bench, &b).await;
    bench.commit(&a, 1_200, vec![Change::TrashSession]).await;
    bench.commit(&a, 1_300, vec![Change::PurgeSession]).await;
    assert_eq!(everything(bench, &b).await, before);
    assert_eq!(bench.store().health().await.unwrap().sessions, 1);
    let large = bench.message(&b, "bm").await.parts;
    assert!(large.iter().any(|p| p.body.len() > 100_000));
}

async fn everything(bench: &Bench, id: &SessionId) -> String {
    let store = bench.store();
    let events = EventQuery {
        scope: Scope::Session(id.clone()),
        ..super::replay::from_start()
    };
    let asks = AskQuery {
        session_id: Some(id.clone()),
        directory: None,
    };
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        store.session_head(id).await.unwrap(),
        store.session_by_key("bkey").await.unwrap(),
        store.messages(id, &MessageQuery::default()).await.unwrap(),
        store.turns(id, &TurnQuery::default()).await.unwrap(),
        store.file_changes(&tid("bt")).await.unwrap(),
        store.todo_versions(id).await.unwrap(),
        store.pending_permissions(&asks).await.unwrap(),
        store.pending_questions(&asks).await.unwrap(),
        store.binding(id).await.unwrap(),
        store.usage(id).await.unwrap(),
        (
            store.restore(id).await.unwrap(),
            store.share(id).await.unwrap()
        ),
        store.events(&events).await.unwrap().events,
    )
}
