use sessiond_model::{
    Change, Conflict, FileState, Restore, RestoreFile, RestorePhase, SessionPatch, Status,
    Timestamp, TurnState,
};

use super::Bench;
use super::fixtures::{self as fx, mid, sid, tid};
use crate::{AskQuery, EntityKind, MessageQuery, SessionQuery, StoreError, TurnQuery};

pub async fn turns_are_kept_in_order(bench: &mut Bench) {
    let id = bench.session("a").await;
    let other = bench.session("b").await;
    for name in ["c", "a", "b"] {
        let turn = fx::turn(&id, name, &format!("m{name}"));
        bench.commit(&id, 1_100, vec![Change::PutTurn(turn)]).await;
    }
    let foreign = fx::turn(&other, "x", "mx");
    bench
        .commit(&other, 1_100, vec![Change::PutTurn(foreign)])
        .await;
    let running = sessiond_model::Turn {
        state: TurnState::Running,
        assistant_message_id: Some(mid("answer")),
        started_at: Some(Timestamp(1_150)),
        ..fx::turn(&id, "c", "mc")
    };
    bench
        .commit(&id, 1_150, vec![Change::PutTurn(running.clone())])
        .await;
    assert_eq!(bench.store().turn(&tid("c")).await.unwrap(), Some(running));
    assert_eq!(bench.store().turn(&tid("none")).await.unwrap(), None);
    let done = fx::completed(&fx::turn(&id, "a", "ma"));
    bench.commit(&id, 1_200, vec![Change::PutTurn(done)]).await;

    let names = async |query: TurnQuery| {
        let turns = bench.store().turns(&id, &query).await.unwrap();
        turns
            .iter()
            .map(|t| t.id.as_str()[4..].to_owned())
            .collect::<String>()
    };
    let query = |open_only, limit| TurnQuery {
        open_only,
        limit,
        before: None,
    };
    let before = |name: &str, query| TurnQuery {
        before: Some(tid(name)),
        ..query
    };
    assert_eq!(names(query(false, None)).await, "cab");
    assert_eq!(names(query(true, None)).await, "cb");
    assert_eq!(names(query(false, Some(2))).await, "ab");
    assert_eq!(names(query(true, Some(1))).await, "b");
    assert_eq!(names(before("b", query(false, None))).await, "ca");
    assert_eq!(names(before("b", query(false, Some(1)))).await, "a");
    assert_eq!(names(before("b", query(true, None))).await, "c");
    assert_eq!(names(before("c", query(false, None))).await, "");
    assert_eq!(names(before("none", query(false, None))).await, "");
    let none = bench.store().turns(&sid("none"), &query(false, None)).await;
    assert!(none.unwrap().is_empty());
}

pub async fn an_ended_turn_does_not_change(bench: &mut Bench) {
    let id = bench.session("a").await;
    let turn = fx::turn(&id, "t", "m");
    let done = fx::completed(&turn);
    bench
        .commit(&id, 1_100, vec![Change::PutTurn(turn.clone())])
        .await;
    bench
        .commit(&id, 1_200, vec![Change::PutTurn(done.clone())])
        .await;
    bench
        .refused(&id, vec![Change::PutTurn(turn)], |e| {
            matches!(e, StoreError::Conflict { kind: EntityKind::Turn, reason, .. }
                if *reason == "has ended before")
        })
        .await;
    // The same once more is no change.
    let committed = bench
        .commit(&id, 1_300, vec![Change::PutTurn(done.clone())])
        .await;
    assert_eq!(committed.events.len(), 1);
    assert_eq!(bench.store().turn(&tid("t")).await.unwrap(), Some(done));
}

pub async fn a_turn_belongs_to_one_session(bench: &mut Bench) {
    let a = bench.session("a").await;
    let b = bench.session("b").await;
    bench
        .commit(&a, 1_100, vec![Change::PutTurn(fx::turn(&a, "t", "m"))])
        .await;
    bench
        .refused(&b, vec![Change::PutTurn(fx::turn(&b, "t", "m"))], |e| {
            matches!(e, StoreError::Conflict { kind: EntityKind::Turn, owner, .. }
                if *owner == Some(sid("a")))
        })
        .await;
}

pub async fn a_turn_key_is_unique_in_its_session(bench: &mut Bench) {
    let a = bench.session("a").await;
    let b = bench.session("b").await;
    let keyed = |session: &sessiond_model::SessionId, name: &str| sessiond_model::Turn {
        idempotency_key: Some("key".into()),
        idempotency_digest: Some("digest".into()),
        kind: sessiond_model::TurnKind::Prompt,
        worktree: None,
        ..fx::turn(session, name, "m")
    };
    let first = keyed(&a, "t");
    bench
        .commit(&a, 1_100, vec![Change::PutTurn(first.clone())])
        .await;
    bench
        .commit(&a, 1_200, vec![Change::PutTurn(fx::completed(&first))])
        .await;
    bench
        .refused(&a, vec![Change::PutTurn(keyed(&a, "u"))], |e| {
            matches!(e, StoreError::Conflict { kind: EntityKind::IdempotencyKey, id, .. }
                if id == "key")
        })
        .await;
    bench
        .commit(&b, 1_300, vec![Change::PutTurn(keyed(&b, "v"))])
        .await;
    let store = bench.store();
    let found = store.turn_by_key(&a, "key").await.unwrap();
    assert_eq!(found, Some(fx::completed(&first)));
    let found = store.turn_by_key(&b, "key").await.unwrap();
    assert_eq!(found.map(|t| t.id), Some(tid("v")));
    assert_eq!(store.turn_by_key(&b, "other").await.unwrap(), None);
}

pub async fn a_turn_is_found_by_its_message(bench: &mut Bench) {
    let id = bench.session("a").await;
    let other = bench.session("b").await;
    for (name, message) in [("t", "m"), ("u", "n"), ("v", "m")] {
        let turn = Change::PutTurn(fx::turn(&id, name, message));
        bench.commit(&id, 1_100, vec![turn]).await;
    }
    let store = bench.store();
    let found = store.turn_of_message(&id, &mid("m")).await.unwrap();
    assert_eq!(found.map(|t| t.id), Some(tid("v")), "the newest");
    assert_eq!(
        store.turn_of_message(&id, &mid("none")).await.unwrap(),
        None
    );
    assert_eq!(
        store.turn_of_message(&other, &mid("m")).await.unwrap(),
        None
    );
}

pub async fn todos_are_replaced(bench: &mut Bench) {
    let id = bench.session("a").await;
    assert!(bench.store().todos(&id).await.unwrap().is_empty());
    for list in [
        vec![fx::todo("x"), fx::todo("y")],
        vec![fx::todo("z")],
        vec![],
    ] {
        let change = Change::SetTodos {
            todos: list.clone(),
            turn_id: Some(tid("t")),
        };
        let committed = bench.commit(&id, 1_100, vec![change]).await;
        assert_eq!(committed.session.unwrap().revision, 1);
        assert_eq!(bench.store().todos(&id).await.unwrap(), list);
    }
}

pub async fn todos_are_kept_by_turn(bench: &mut Bench) {
    let id = bench.session("a").await;
    let other = bench.session("b").await;
    let set = |name: &str, turn: Option<&str>| Change::SetTodos {
        todos: vec![fx::todo(name)],
        turn_id: turn.map(tid),
    };
    let turns = ["one", "two", "none"].map(|t| Change::PutTurn(fx::turn(&id, t, "m")));
    bench.commit(&id, 1_100, turns.into()).await;
    let elsewhere = Change::PutTurn(fx::turn(&other, "elsewhere", "m"));
    bench.commit(&other, 1_100, vec![elsewhere]).await;
    let lists = vec![
        set("w", Some("two")),
        set("x", Some("one")),
        set("y", Some("one")),
        // A list of nobody, and of a turn that is not this session's, are no versions.
        set("z", None),
        set("z", Some("elsewhere")),
    ];
    bench.commit(&id, 1_200, lists).await;
    let store = bench.store();
    assert_eq!(store.todos(&id).await.unwrap(), [fx::todo("z")]);
    assert_eq!(
        store.todo_versions(&id).await.unwrap(),
        [
            (tid("one"), vec![fx::todo("y")]),
            (tid("two"), vec![fx::todo("w")])
        ]
    );
    assert!(store.todo_versions(&other).await.unwrap().is_empty());
    assert!(store.todo_versions(&sid("no")).await.unwrap().is_empty());
}

pub async fn bindings_are_replaced(bench: &mut Bench) {
    let mut live = Vec::new();
    for name in ["b", "a"] {
        let id = bench.session(name).await;
        assert_eq!(bench.store().binding(&id).await.unwrap(), None);
        let idle = fx::binding(&id);
        bench
            .commit(&id, 1_100, vec![Change::BindAgent(idle.clone())])
            .await;
        assert_eq!(
            bench.store().binding(&id).await.unwrap(),
            Some(idle.clone())
        );
        let running = sessiond_model::AgentBinding {
            pid: Some(u32::MAX),
            pid_started: Some(u64::MAX),
            spawn_id: Some("spawn".into()),
            ..idle
        };
        bench
            .commit(&id, 1_200, vec![Change::BindAgent(running.clone())])
            .await;
        live.push(running);
    }
    live.reverse();
    assert_eq!(bench.store().live_bindings().await.unwrap(), live);
    // A process of a session in the trash is still a process.
    bench
        .commit(&sid("a"), 1_300, vec![Change::TrashSession])
        .await;
    assert_eq!(bench.store().live_bindings().await.unwrap(), live);
    let ended = fx::binding(&sid("a"));
    bench
        .commit(&sid("a"), 1_400, vec![Change::BindAgent(ended)])
        .await;
    assert_eq!(bench.store().live_bindings().await.unwrap(), live[1..]);
}

pub async fn profiles_and_projects_are_kept(bench: &mut Bench) {
    let id = bench.session("a").await;
    for name in ["b", "a"] {
        let changes = vec![
            Change::PutProfile(fx::profile(name)),
            Change::PutProject(fx::project(name)),
        ];
        bench.commit(&id, 1_100, changes).await;
    }
    let mut newer = fx::profile("b");
    newer.current_mode = Some("plan".into());
    bench
        .commit(&id, 1_200, vec![Change::PutProfile(newer.clone())])
        .await;
    let store = bench.store();
    assert_eq!(store.profiles().await.unwrap(), [fx::profile("a"), newer]);
    assert_eq!(
        store.projects().await.unwrap(),
        [fx::project("a"), fx::project("b")]
    );
    let b = fx::project("b");
    assert_eq!(store.project(&b.id).await.unwrap(), Some(b));
    let none = sessiond_model::ProjectId::new("none");
    assert_eq!(store.project(&none).await.unwrap(), None);
}

pub async fn an_unchanged_project_gives_no_event(bench: &mut Bench) {
    let a = bench.session("a").await;
    let b = bench.session("b").await;
    let put = |name: Option<&str>| {
        let name = name.map(str::to_owned);
        vec![Change::PutProject(sessiond_model::Project {
            name,
            ..fx::project("p")
        })]
    };
    assert_eq!(bench.commit(&a, 1_100, put(None)).await.events.len(), 1);
    assert_eq!(bench.commit(&b, 1_200, put(None)).await.events.len(), 0);
    assert_eq!(
        bench.commit(&b, 1_300, put(Some("x"))).await.events.len(),
        1
    );
    let mut twice = put(Some("y"));
    twice.extend(put(Some("y")));
    assert_eq!(bench.commit(&a, 1_400, twice).await.events.len(), 1);
}

pub async fn usage_is_booked_in_order(bench: &mut Bench) {
    let id = bench.session("a").await;
    let lines = [
        fx::usage("t", 0.5),
        fx::usage("u", 0.25),
        fx::usage("t", 1.0),
    ];
    for line in &lines {
        bench
            .commit(&id, 1_100, vec![Change::RecordUsage(line.clone())])
            .await;
    }
    assert_eq!(bench.store().usage(&id).await.unwrap(), lines);
    let stored = bench.read(&id).await;
    assert_eq!(stored.cost, 0.0, "totals come from step-finish parts");
}

pub async fn file_changes_need_their_turn(bench: &mut Bench) {
    let a = bench.session("a").await;
    let b = bench.session("b").await;
    let set = |files: &[&str]| {
        let files = files.iter().map(|f| fx::file(f)).collect();
        vec![Change::SetFileChanges {
            turn_id: tid("t"),
            files,
        }]
    };
    bench
        .commit(&b, 1_100, vec![Change::PutTurn(fx::turn(&b, "t", "m"))])
        .await;
    bench
        .refused(&a, set(&["/x"]), |e| {
            matches!(
                e,
                StoreError::NotFound {
                    kind: EntityKind::Turn,
                    ..
                }
            )
        })
        .await;
    bench.commit(&b, 1_200, set(&["/x", "/y"])).await;
    let files = bench.store().file_changes(&tid("t")).await.unwrap();
    assert_eq!(files, [fx::file("/x"), fx::file("/y")]);
    bench.commit(&b, 1_300, set(&["/z"])).await;
    let files = bench.store().file_changes(&tid("t")).await.unwrap();
    assert_eq!(files, [fx::file("/z")]);
    assert!(
        bench
            .store()
            .file_changes(&tid("none"))
            .await
            .unwrap()
            .is_empty()
    );
}

pub async fn all_file_changes_of_a_session(bench: &mut Bench) {
    let a = bench.session("a").await;
    let b = bench.session("b").await;
    for (session, turn, file) in [(&a, "u", "/x"), (&b, "v", "/y"), (&a, "t", "/z")] {
        let changes = vec![
            Change::PutTurn(fx::turn(session, turn, turn)),
            Change::SetFileChanges {
                turn_id: tid(turn),
                files: vec![fx::file(file)],
            },
        ];
        bench.commit(session, 1_100, changes).await;
    }
    let changes = bench.store().session_changes(&a).await.unwrap();
    let expected = [
        (tid("u"), vec![fx::file("/x")]),
        (tid("t"), vec![fx::file("/z")]),
    ];
    assert_eq!(changes, expected);
}

pub async fn an_ended_turn_is_removed_with_its_changes(bench: &mut Bench) {
    let id = bench.session("a").await;
    let turn = fx::turn(&id, "t", "m");
    let changes = vec![
        Change::PutTurn(turn.clone()),
        Change::SetFileChanges {
            turn_id: tid("t"),
            files: vec![fx::file("/x")],
        },
    ];
    bench.commit(&id, 1_100, changes).await;
    let remove = || vec![Change::RemoveTurn(tid("t"))];
    bench
        .refused(&id, remove(), |e| matches!(e, StoreError::Conflict { .. }))
        .await;
    let ended = sessiond_model::Turn {
        state: TurnState::Aborted,
        ..turn
    };
    bench.commit(&id, 1_200, vec![Change::PutTurn(ended)]).await;
    bench.commit(&id, 1_300, remove()).await;
    let store = bench.store();
    assert_eq!(store.turn(&tid("t")).await.unwrap(), None);
    assert!(store.session_changes(&id).await.unwrap().is_empty());
    assert!(store.file_changes(&tid("t")).await.unwrap().is_empty());
    // Its events stay in the log, and a reader gets past them.
    let query = crate::EventQuery {
        after: sessiond_model::Seq(0),
        until: None,
        scope: crate::Scope::Session(id.clone()),
        limit: 100,
    };
    let last = store.last_seq().await.unwrap();
    assert_eq!(store.events(&query).await.unwrap().next, last);
    // Once more is no fault.
    bench.commit(&id, 1_400, remove()).await;
}

pub async fn a_restore_is_pending_until_it_is_done(bench: &mut Bench) {
    let a = bench.session("a").await;
    let b = bench.session("b").await;
    let restore = |phase| {
        Box::new(Restore {
            phase,
            files: vec![RestoreFile {
                file: "/x".into(),
                raw_path: Some("2f78ff".into()),
                safety: Some(FileState {
                    mode: "100644".into(),
                    oid: "0123".into(),
                }),
                expected: None,
                target: None,
                applied: false,
                conflict: Some(Conflict::Changed),
            }],
            revert: None,
            force: false,
        })
    };
    let pending = restore(RestorePhase::Pending);
    for id in [&a, &b] {
        let change = Change::SetRestore(Some(pending.clone()));
        bench.commit(id, 1_100, vec![change]).await;
    }
    assert_eq!(
        bench.store().restore(&a).await.unwrap(),
        Some(*pending.clone())
    );
    let mut both = bench.store().pending_restores().await.unwrap();
    both.sort();
    assert_eq!(both, [a.clone(), b.clone()]);
    let done = restore(RestorePhase::Done);
    bench
        .commit(&a, 1_200, vec![Change::SetRestore(Some(done.clone()))])
        .await;
    bench
        .commit(&b, 1_200, vec![Change::SetRestore(None)])
        .await;
    assert_eq!(bench.store().restore(&a).await.unwrap(), Some(*done));
    assert_eq!(bench.store().restore(&b).await.unwrap(), None);
    assert!(bench.store().pending_restores().await.unwrap().is_empty());
}

pub async fn health_counts_sessions(bench: &mut Bench) {
    assert_eq!(bench.store().health().await.unwrap().sessions, 0);
    bench.session("a").await;
    let b = bench.session("b").await;
    bench.commit(&b, 1_100, vec![Change::TrashSession]).await;
    let health = bench.store().health().await.unwrap();
    assert_eq!(health.sessions, 2);
    assert!(health.writable && health.incidents.is_empty() && !health.backend.is_empty());
}

pub async fn all_is_there_after_a_restart(bench: &mut Bench) {
    if !bench.is_durable() {
        return;
    }
    let id = bench.session("a").await;
    let changes = vec![
        Change::UpdateSession(SessionPatch {
            title: Some("kept".into()),
            ..Default::default()
        }),
        Change::SetStatus(Status::busy(Timestamp(1_100))),
        Change::PutMessage(fx::user(&id, "m", 1_100)),
        Change::PutPart(fx::text(&id, "m", "p", &"x".repeat(100_000))),
        Change::PutTurn(fx::turn(&id, "t", "m")),
        Change::AskPermission(fx::permission(&id, "p")),
        Change::SetTodos {
            todos: vec![fx::todo("x")],
            turn_id: None,
        },
    ];
    bench.commit(&id, 1_100, changes).await;
    let before = everything(bench).await;
    let epoch = bench.store().epoch();
    bench.reopen().await;
    assert_eq!(everything(bench).await, before);
    assert!(
        bench.store().epoch() > epoch,
        "each opening has an epoch of its own"
    );
    bench
        .commit(
            &id,
            1_200,
            vec![Change::SetStatus(Status::idle(Timestamp(1_200)))],
        )
        .await;
}

async fn everything(bench: &Bench) -> String {
    let store = bench.store();
    let id = sid("a");
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        store.sessions(&SessionQuery::default()).await.unwrap(),
        store.session_head(&id).await.unwrap(),
        store.messages(&id, &MessageQuery::default()).await.unwrap(),
        store.turns(&id, &TurnQuery::default()).await.unwrap(),
        store
            .pending_permissions(&AskQuery::default())
            .await
            .unwrap(),
        store.todos(&id).await.unwrap(),
        store.unfinished_sessions().await.unwrap(),
        store.last_seq().await.unwrap(),
        store.events(&super::replay::from_start()).await.unwrap(),
    )
}
