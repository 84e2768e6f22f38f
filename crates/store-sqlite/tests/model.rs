//! Random operations against the in-memory store and the SQLite store; after each, every read
//! of the two must agree.
#![expect(clippy::unwrap_used, reason = "test code outside of test functions")]

mod common;

use std::fmt::Debug;
use std::sync::Arc;

use common::options;
use proptest::prelude::*;
use proptest::sample::select;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use sessiond_model::{
    AgentBinding, Change, Commit, IdStamp, MessageError, PermissionOutcome, Project, ProjectId,
    QuestionOutcome, Require, Seq, Session, SessionId, SessionPatch, Status, StatusKind, Timestamp,
    Turn,
};
use sessiond_store::contract::Recorder;
use sessiond_store::contract::fixtures as fx;
use sessiond_store::rules::LARGE_BODY;
use sessiond_store::{
    AskQuery, EventQuery, MemoryStore, MessageCursor, MessageQuery, Scope, SessionQuery,
    ShareQuery, Store, TurnQuery,
};
use sessiond_store_sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const SESSIONS: [&str; 4] = ["a", "b", "c", "d"];
const NAMES: [&str; 5] = ["1", "2", "3", "4", "5"];
const DIRECTORIES: [&str; 2] = ["/srv/x", "/srv/y"];

#[derive(Clone, Debug)]
enum Step {
    Commit(Commit),
    Reopen,
}

/// Where the reads after a step look.
#[derive(Clone, Debug)]
struct Probe {
    after: u64,
    limit: u32,
    before: u64,
}

/// The generator needs no state: names are few, so that they meet by chance.
#[derive(Clone, Debug)]
struct Script;

impl ReferenceStateMachine for Script {
    type State = ();
    type Transition = (Step, Probe);

    fn init_state() -> BoxedStrategy<()> {
        Just(()).boxed()
    }

    fn transitions((): &()) -> BoxedStrategy<(Step, Probe)> {
        let probe = (0..60u64, 1..7u32, 0..12u64).prop_map(|(after, limit, before)| Probe {
            after,
            limit,
            before,
        });
        let step = prop_oneof![
            20 => commit().prop_map(Step::Commit),
            1 => creation().prop_map(Step::Commit),
            1 => Just(Step::Reopen),
        ];
        (step, probe).boxed()
    }

    fn apply((): (), _: &(Step, Probe)) {}
}

fn name() -> impl Strategy<Value = &'static str> + Clone {
    select(&NAMES[..])
}

fn creation() -> impl Strategy<Value = Commit> {
    let parent = proptest::option::of(select(&SESSIONS[..]));
    let key = proptest::option::of(name());
    let place = (select(&DIRECTORIES[..]), select(&["p", "q"][..]), 0..4i64);
    (select(&SESSIONS[..]), parent, key, place, Just(2u64)).prop_map(
        |(name, parent, key, (directory, project, updated), fence)| {
            let session = Session {
                parent_id: parent.map(fx::sid),
                directory: directory.into(),
                path: Some(directory.trim_start_matches('/').into()),
                project_id: ProjectId::new(project),
                updated_at: Timestamp(updated),
                ..fx::session(name)
            };
            Commit {
                session_id: session.id.clone(),
                fence,
                at: Timestamp(updated),
                require: Vec::new(),
                changes: vec![Change::CreateSession {
                    session: Box::new(session),
                    idempotency: key.map(|k| (k.to_owned(), "digest".to_owned())),
                }],
            }
        },
    )
}

fn commit() -> impl Strategy<Value = Commit> {
    select(&SESSIONS[..]).prop_flat_map(|session| {
        let id = fx::sid(session);
        let changes = proptest::collection::vec(change(&id), 0..4);
        let require = proptest::option::weighted(0.2, require());
        (Just(id), changes, require, 0..20u64, 0..5_000i64).prop_map(
            |(session_id, changes, require, fence, at)| Commit {
                session_id,
                fence: if fence == 0 { 1 } else { 2 },
                at: Timestamp(at),
                require: require.into_iter().collect(),
                changes,
            },
        )
    })
}

fn require() -> impl Strategy<Value = Require> {
    prop_oneof![
        (1..4u64).prop_map(Require::Revision),
        name().prop_map(|n| Require::MessageAbsent(fx::mid(n))),
        name().prop_map(|n| Require::MessagePresent(fx::mid(n))),
        Just(Require::NotDeleted),
    ]
}

fn change(id: &SessionId) -> BoxedStrategy<Change> {
    prop_oneof![
        6 => transcript(id),
        3 => about_session(),
        3 => about_turns(id),
        3 => about_asks(id),
        2 => about_agents(id),
    ]
    .boxed()
}

fn transcript(id: &SessionId) -> BoxedStrategy<Change> {
    let (a, b, c) = (id.clone(), id.clone(), id.clone());
    let part =
        (name(), name(), 0..5usize, 0..5u64).prop_map(move |(message, part, kind, n)| match kind {
            0 => fx::step(&a, message, part, n as f64 * 0.25, n),
            1 => fx::open_text(&a, message, part, &"grows ".repeat(n as usize)),
            2 => fx::text(
                &a,
                message,
                part,
                &"large ".repeat(LARGE_BODY / 5 + n as usize % 2),
            ),
            _ => fx::text(&a, message, part, &format!("text {n} é\u{1f600}")),
        });
    prop_oneof![
        4 => (name(), 0..3_000i64).prop_map(move |(n, at)| Change::PutMessage(fx::user(&b, n, at))),
        2 => (name(), name(), 0..3_000i64)
            .prop_map(move |(n, p, at)| Change::PutMessage(fx::assistant(&c, n, p, at))),
        5 => part.clone().prop_map(Change::PutPart),
        2 => part.prop_map(Change::CheckpointPart),
        1 => name().prop_map(|n| Change::RemoveMessage(fx::mid(n))),
        1 => (name(), name()).prop_map(|(m, p)| Change::RemovePart {
            message_id: fx::mid(m),
            part_id: fx::pid(p),
        }),
        1 => (0..1u64 << 48).prop_map(|bits| Change::RaiseIdFloor(IdStamp::from_bits(bits))),
    ]
    .boxed()
}

fn about_session() -> BoxedStrategy<Change> {
    let patch = (proptest::option::of(name()), 0..4u8).prop_map(|(title, kind)| SessionPatch {
        title: title.map(|t| format!("Title %_{t}")),
        archived_at: match kind {
            0 => Some(Some(Timestamp(5))),
            1 => Some(None),
            _ => None,
        },
        revert: (kind == 2).then(|| fx::full_session("x").revert),
        touch: kind % 2 == 1,
        ..SessionPatch::default()
    });
    let kinds = [StatusKind::Idle, StatusKind::Busy, StatusKind::Error];
    let status = (select(kinds.to_vec()), 0..9i64).prop_map(|(kind, since)| Status {
        kind,
        since: Timestamp(since),
        message: (kind == StatusKind::Error).then(|| "broke".to_owned()),
    });
    prop_oneof![
        3 => patch.prop_map(Change::UpdateSession),
        2 => status.prop_map(Change::SetStatus),
        1 => Just(Change::TrashSession),
        1 => Just(Change::RestoreSession),
        1 => name().prop_map(|n| Change::SetTodos { todos: vec![fx::todo(n)], turn_id: None }),
        1 => name().prop_map(|n| Change::SetShare(Some(Box::new(fx::share(n))))),
        1 => Just(Change::SetShare(None)),
        1 => (0..5_000i64).prop_map(|at| Change::NoteShareAccess(Timestamp(at))),
        1 => name().prop_map(|n| Change::ReportError(MessageError::Aborted { message: n.into() })),
    ]
    .boxed()
}

fn about_turns(id: &SessionId) -> BoxedStrategy<Change> {
    let id = id.clone();
    let key = proptest::option::weighted(0.3, name());
    let turn = (name(), name(), key, any::<bool>()).prop_map(move |(n, message, key, ended)| {
        let turn = Turn {
            idempotency_key: key.map(str::to_owned),
            ..fx::turn(&id, n, message)
        };
        if ended { fx::completed(&turn) } else { turn }
    });
    prop_oneof![
        4 => turn.prop_map(Change::PutTurn),
        1 => (name(), name()).prop_map(|(turn, file)| Change::SetFileChanges {
            turn_id: fx::tid(turn),
            files: vec![fx::file(file)],
        }),
        1 => (name(), 0..9u32)
            .prop_map(|(turn, n)| Change::RecordUsage(fx::usage(turn, f64::from(n) * 0.25))),
    ]
    .boxed()
}

fn about_asks(id: &SessionId) -> BoxedStrategy<Change> {
    let (a, b, c, d) = (id.clone(), id.clone(), id.clone(), id.clone());
    let at = Timestamp(7);
    prop_oneof![
        name().prop_map(move |n| Change::AskPermission(fx::permission(&a, n))),
        name().prop_map(move |n| Change::AskQuestion(fx::question(&b, n))),
        name().prop_map(move |n| Change::ResolvePermission {
            id: fx::permission(&c, n).id,
            outcome: PermissionOutcome::Expired {
                reason: "over".into(),
                at
            },
        }),
        name().prop_map(move |n| Change::ResolveQuestion {
            id: fx::question(&d, n).id,
            outcome: QuestionOutcome::Rejected { at },
        }),
    ]
    .boxed()
}

fn about_agents(id: &SessionId) -> BoxedStrategy<Change> {
    let id = id.clone();
    let pid = proptest::option::of(1..9u32);
    prop_oneof![
        pid.prop_map(move |pid| Change::BindAgent(AgentBinding {
            pid,
            ..fx::binding(&id)
        })),
        name().prop_map(|n| Change::PutProfile(fx::profile(n))),
        (name(), proptest::option::of(name())).prop_map(|(id, name)| {
            let name = name.map(str::to_owned);
            Change::PutProject(Project {
                name,
                ..fx::project(id)
            })
        }),
    ]
    .boxed()
}

/// Both stores, side by side.
struct Pair {
    dir: TempDir,
    runtime: Runtime,
    model: MemoryStore,
    store: Option<SqliteStore>,
    model_heard: Arc<Recorder>,
    store_heard: Arc<Recorder>,
}

struct Comparison;

impl StateMachineTest for Comparison {
    type SystemUnderTest = Pair;
    type Reference = Script;

    fn init_test((): &()) -> Pair {
        let dir = tempfile::tempdir().unwrap();
        let (model_heard, store_heard) = <(Arc<Recorder>, Arc<Recorder>)>::default();
        let pair = Pair {
            runtime: Runtime::new().unwrap(),
            model: MemoryStore::new(model_heard.clone(), 1),
            store: Some(SqliteStore::open(&options(dir.path(), store_heard.clone())).unwrap()),
            dir,
            model_heard,
            store_heard,
        };
        // Something to work on; the last session is left to be created, or not to be there.
        for (n, name) in SESSIONS[..3].iter().enumerate() {
            let session = Session {
                directory: DIRECTORIES[n % 2].into(),
                ..fx::session(name)
            };
            let id = session.id.clone();
            let mut changes = vec![fx::create(session)];
            if n < 2 {
                let first = fx::user(&id, NAMES[n], 100);
                changes.push(Change::PutMessage(first));
            }
            let commit = Commit {
                session_id: id,
                fence: 2,
                at: Timestamp(1_000),
                require: Vec::new(),
                changes,
            };
            pair.runtime
                .block_on(pair.model.commit(commit.clone()))
                .unwrap();
            let store = pair.store.as_ref().unwrap();
            pair.runtime.block_on(store.commit(commit)).unwrap();
        }
        pair
    }

    fn apply(mut pair: Pair, (): &(), (step, probe): (Step, Probe)) -> Pair {
        match step {
            Step::Reopen => {
                drop(pair.store.take());
                let heard = pair.store_heard.clone();
                let options = options(pair.dir.path(), heard);
                pair.store = Some(SqliteStore::open(&options).unwrap());
            }
            Step::Commit(commit) => {
                let model = pair.model.commit(commit.clone());
                let store = pair.store.as_ref().unwrap().commit(commit);
                let (model, store) = pair.runtime.block_on(async { (model.await, store.await) });
                assert_eq!(format!("{model:?}"), format!("{store:?}"));
            }
        }
        let store = pair.store.as_ref().unwrap();
        let (model, store) = pair.runtime.block_on(async {
            (
                observe(&pair.model, &probe).await,
                observe(store, &probe).await,
            )
        });
        for (model, store) in model.iter().zip(&store) {
            assert_eq!(model, store);
        }
        assert_eq!(pair.model_heard.heard(), pair.store_heard.heard());
        pair
    }
}

/// What every read says, as text.
async fn observe(store: &dyn Store, probe: &Probe) -> Vec<String> {
    let mut seen = Vec::new();
    let mut note = |what: &str, answer: &dyn Debug| seen.push(format!("{what}: {answer:?}"));
    note("last", &store.last_seq().await);
    note("unfinished", &store.unfinished_sessions().await);
    note("live", &store.live_bindings().await);
    note("profiles", &store.profiles().await);
    note("projects", &store.projects().await);
    note("count", &store.health().await.unwrap().sessions);
    for query in session_queries(probe) {
        note("sessions", &(&query, store.sessions(&query).await));
    }
    for directory in [None, Some(DIRECTORIES[0].to_owned())] {
        for session_id in [None, Some(fx::sid("a"))] {
            let query = AskQuery {
                session_id,
                directory: directory.clone(),
            };
            note("permissions", &store.pending_permissions(&query).await);
            note("questions", &store.pending_questions(&query).await);
        }
    }
    for name in NAMES {
        note("turn", &store.turn(&fx::tid(name)).await);
        note("files", &store.file_changes(&fx::tid(name)).await);
        note("owner", &store.message_owner(&fx::mid(name)).await);
        note("key", &store.session_by_key(name).await);
        note("project", &store.project(&ProjectId::new(name)).await);
        let ask = fx::permission(&fx::sid("a"), name).id;
        note("permission", &store.permission(&ask).await);
        let ask = fx::question(&fx::sid("a"), name).id;
        note("question", &store.question(&ask).await);
    }
    for id in SESSIONS.map(fx::sid) {
        note("session", &store.session(&id).await);
        note("head", &store.session_head(&id).await);
        note("todos", &store.todos(&id).await);
        note("changes", &store.session_changes(&id).await);
        note("binding", &store.binding(&id).await);
        note("usage", &store.usage(&id).await);
        note("share", &store.share(&id).await);
        let after = Some(id.clone());
        let shares = ShareQuery { after, limit: None };
        note("shares", &store.shares(&shares).await);
        for open_only in [false, true] {
            for limit in [None, Some(probe.limit)] {
                let query = TurnQuery { open_only, limit };
                note("turns", &store.turns(&id, &query).await);
            }
        }
        let before = Some(MessageCursor(probe.before));
        for query in [
            MessageQuery::default(),
            MessageQuery {
                before,
                limit: Some(probe.limit),
            },
        ] {
            note("messages", &store.messages(&id, &query).await);
        }
        for name in NAMES {
            note("message", &store.message(&id, &fx::mid(name)).await);
            note("turn by key", &store.turn_by_key(&id, name).await);
            note(
                "turn of message",
                &store.turn_of_message(&id, &fx::mid(name)).await,
            );
        }
    }
    let scopes = [
        Scope::All,
        Scope::Session(fx::sid("b")),
        Scope::Directory(DIRECTORIES[1].to_owned()),
    ];
    for scope in scopes {
        let mut query = EventQuery {
            after: Seq(probe.after),
            until: None,
            scope,
            limit: probe.limit * 3,
        };
        // Pages may be cut differently; what they hold together may not.
        let mut events = Vec::new();
        loop {
            let page = store.events(&query).await.unwrap();
            events.extend(page.events);
            if !page.more {
                break;
            }
            query.after = page.next;
        }
        note("events", &events);
    }
    seen
}

fn session_queries(probe: &Probe) -> Vec<SessionQuery> {
    let q = SessionQuery::default;
    vec![
        q(),
        SessionQuery {
            limit: Some(probe.limit),
            ..q()
        },
        SessionQuery {
            trashed: true,
            ..q()
        },
        SessionQuery {
            project_id: Some(ProjectId::new("p")),
            limit: Some(1),
            ..q()
        },
        SessionQuery {
            directory: Some(DIRECTORIES[0].into()),
            ..q()
        },
        SessionQuery {
            parent_id: Some(fx::sid("a")),
            ..q()
        },
        SessionQuery {
            roots: true,
            archived: Some(false),
            ..q()
        },
        SessionQuery {
            archived: Some(true),
            ..q()
        },
        SessionQuery {
            search: Some("%_1".into()),
            ..q()
        },
        SessionQuery {
            path_prefix: Some("srv".into()),
            ..q()
        },
        SessionQuery {
            updated_since: Some(Timestamp(2)),
            ..q()
        },
        SessionQuery {
            status: Some(vec![StatusKind::Busy, StatusKind::Error]),
            ..q()
        },
    ]
}

/// Few by default, because each compares every read after every step.
fn cases() -> u32 {
    let wanted = std::env::var("PROPTEST_CASES").ok();
    wanted.and_then(|n| n.parse().ok()).unwrap_or(24)
}

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        failure_persistence: None,
        max_shrink_iters: 300,
        ..ProptestConfig::default()
    })]

    #[test]
    fn both_stores_agree(sequential 20..100 => Comparison);
}
