//! Random operations on few names, so that they meet by chance.

use proptest::prelude::*;
use proptest::sample::select;
use proptest_state_machine::ReferenceStateMachine;
use sessiond_model::{
    AgentBinding, Change, Commit, IdStamp, MessageError, PermissionOutcome, Project, ProjectId,
    QuestionOutcome, Require, Session, SessionId, SessionPatch, Status, StatusKind, Timestamp,
    Turn,
};

use super::{DIRECTORIES, NAMES, SESSIONS};
use crate::contract::fixtures as fx;
use crate::rules::LARGE_BODY;

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Step {
    /// Commits, all asked for before the first is answered.
    Commits(Vec<Commit>),
    /// The store is closed and opened again.
    Reopen,
}

/// Where the reads after a step look.
#[derive(Clone, Debug)]
pub struct Probe {
    pub(super) after: u64,
    pub(super) limit: u32,
    pub(super) before: u64,
}

/// The generator needs no state: names are few, so that they meet by chance.
#[derive(Clone, Debug)]
pub struct Script;

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
            15 => commit().prop_map(|commit| Step::Commits(vec![commit])),
            5 => proptest::collection::vec(commit(), 2..12).prop_map(Step::Commits),
            1 => creation().prop_map(|commit| Step::Commits(vec![commit])),
            1 => (commit(), creation(), commit(), commit())
                .prop_map(|(a, b, c, d)| Step::Commits(vec![a, b, c, d])),
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
