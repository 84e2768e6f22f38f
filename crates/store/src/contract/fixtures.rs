//! Small valid rows for tests.

use serde_json::json;
use sessiond_model::{
    AgentBinding, AgentProfile, AssistantInfo, Change, DiffStatus, DiffSummary, FileChange,
    FileDiff, ForkOrigin, Health, Message, MessageId, MessageInfo, MessageModel, MessagePath,
    MessageTime, ModelRef, Part, PartBody, PartId, PartTime, Permission, PermissionAction,
    PermissionId, PermissionOption, PermissionRule, Project, ProjectCommands, ProjectIcon,
    ProjectId, Question, QuestionId, QuestionInfo, QuestionOption, RestoreRung, Revert, Session,
    SessionId, Share, ShareMode, Status, Timestamp, Todo, TokenCache, Tokens, ToolRef, Turn,
    TurnId, TurnOptions, TurnState, Usage, UserInfo,
};

/// A session id made of a name.
#[must_use]
pub fn sid(name: &str) -> SessionId {
    SessionId::parse(&format!("ses_{name}")).unwrap()
}

/// A message id made of a name.
#[must_use]
pub fn mid(name: &str) -> MessageId {
    MessageId::parse(&format!("msg_{name}")).unwrap()
}

/// A part id made of a name.
#[must_use]
pub fn pid(name: &str) -> PartId {
    PartId::parse(&format!("prt_{name}")).unwrap()
}

/// A turn id made of a name.
#[must_use]
pub fn tid(name: &str) -> TurnId {
    TurnId::parse(&format!("trn_{name}")).unwrap()
}

/// A plain session.
#[must_use]
pub fn session(name: &str) -> Session {
    Session {
        id: sid(name),
        slug: "quiet-river".into(),
        project_id: ProjectId::global(),
        directory: "/srv/dir".into(),
        path: Some("srv/dir".into()),
        parent_id: None,
        fork: None,
        title: format!("Session {name}"),
        version: "0.1.0".into(),
        agent: None,
        model: None,
        metadata: None,
        permission: None,
        revert: None,
        summary: None,
        share_url: None,
        created_at: Timestamp(1_000),
        updated_at: Timestamp(1_000),
        archived_at: None,
        deleted_at: None,
        status: Status::idle(Timestamp(1_000)),
        cost: 0.0,
        tokens: Tokens::default(),
        health: Health::Ok,
        revision: 1,
    }
}

/// A session with every field set.
#[must_use]
pub fn full_session(name: &str) -> Session {
    Session {
        fork: Some(ForkOrigin {
            session_id: sid("origin"),
            message_id: Some(mid("cut")),
            root: Some(sid("root")),
            number: 3,
            turn_id: Some(tid("newest")),
        }),
        agent: Some("build".into()),
        model: Some(model()),
        metadata: json!({"a": {"b": [1, 2.5, null, "ü"]}})
            .as_object()
            .cloned(),
        permission: Some(vec![PermissionRule {
            permission: "bash".into(),
            pattern: "git *".into(),
            action: PermissionAction::Allow,
        }]),
        revert: Some(Revert {
            message_id: mid("cut"),
            part_id: Some(pid("cut")),
            snapshot: Some("abc".into()),
            diff: Some("-a\n+b\n".into()),
        }),
        summary: Some(DiffSummary {
            additions: 3,
            deletions: 2,
            files: 1,
        }),
        share_url: Some("https://example.org/s/x".into()),
        archived_at: Some(Timestamp(-5)),
        status: Status::error(Timestamp(900), "the agent stopped".into()),
        cost: 0.25,
        tokens: tokens(1),
        revision: 7,
        ..session(name)
    }
}

/// The change that creates a session.
#[must_use]
pub fn create(session: Session) -> Change {
    Change::CreateSession {
        session: Box::new(session),
        idempotency: None,
    }
}

/// A model.
#[must_use]
pub fn model() -> ModelRef {
    ModelRef {
        provider_id: "demo".into(),
        id: "large".into(),
        variant: Some("high".into()),
    }
}

/// Some tokens.
#[must_use]
pub fn tokens(n: u64) -> Tokens {
    Tokens {
        total: None,
        input: 10 * n,
        output: 5 * n,
        reasoning: 2 * n,
        cache: TokenCache { read: n, write: n },
    }
}

/// A user message.
#[must_use]
pub fn user(session: &SessionId, name: &str, created: i64) -> Message {
    Message {
        id: mid(name),
        session_id: session.clone(),
        info: MessageInfo::User(Box::new(UserInfo {
            time: MessageTime {
                created: Timestamp(created),
                completed: None,
            },
            agent: "build".into(),
            model: MessageModel {
                provider_id: "demo".into(),
                model_id: "large".into(),
                variant: None,
            },
            summary: None,
            system: None,
            tools: None,
            format: None,
        })),
    }
}

/// An assistant message.
#[must_use]
pub fn assistant(session: &SessionId, name: &str, parent: &str, created: i64) -> Message {
    Message {
        id: mid(name),
        session_id: session.clone(),
        info: MessageInfo::Assistant(Box::new(AssistantInfo {
            time: MessageTime {
                created: Timestamp(created),
                completed: None,
            },
            parent_id: mid(parent),
            model_id: "large".into(),
            provider_id: "demo".into(),
            mode: "build".into(),
            agent: "build".into(),
            path: MessagePath {
                cwd: "/srv/dir".into(),
                root: "/srv".into(),
            },
            summary: None,
            cost: 0.5,
            tokens: tokens(1),
            variant: None,
            finish: None,
            error: None,
            structured: None,
        })),
    }
}

/// A part of a message.
#[must_use]
pub fn part(session: &SessionId, message: &str, name: &str, body: PartBody) -> Part {
    Part {
        id: pid(name),
        session_id: session.clone(),
        message_id: mid(message),
        body,
    }
}

/// A text part.
#[must_use]
pub fn text(session: &SessionId, message: &str, name: &str, text: &str) -> Part {
    part(session, message, name, PartBody::text(text))
}

/// A text part that still grows.
#[must_use]
pub fn open_text(session: &SessionId, message: &str, name: &str, text: &str) -> Part {
    let body = PartBody::Text {
        text: text.into(),
        synthetic: None,
        ignored: None,
        time: Some(PartTime {
            start: Timestamp(1_500),
            end: None,
        }),
        metadata: None,
    };
    part(session, message, name, body)
}

/// A step-finish part.
#[must_use]
pub fn step(session: &SessionId, message: &str, name: &str, cost: f64, n: u64) -> Part {
    let body = PartBody::StepFinish {
        reason: "stop".into(),
        snapshot: None,
        cost,
        tokens: tokens(n),
    };
    part(session, message, name, body)
}

/// A queued turn.
#[must_use]
pub fn turn(session: &SessionId, name: &str, message: &str) -> Turn {
    Turn {
        id: tid(name),
        session_id: session.clone(),
        state: TurnState::Queued,
        user_message_id: mid(message),
        assistant_message_id: None,
        options: TurnOptions {
            agent: "demo".into(),
            mode: None,
            model: model(),
        },
        queued_at: Timestamp(1_100),
        started_at: None,
        ended_at: None,
        restore: Some(RestoreRung::New),
        failure: None,
        idempotency_key: None,
        idempotency_digest: None,
        kind: sessiond_model::TurnKind::Prompt,
        worktree: None,
    }
}

/// The same turn, completed.
#[must_use]
pub fn completed(turn: &Turn) -> Turn {
    Turn {
        state: TurnState::Completed,
        started_at: Some(Timestamp(1_200)),
        ended_at: Some(Timestamp(1_300)),
        ..turn.clone()
    }
}

/// A pending permission request.
#[must_use]
pub fn permission(session: &SessionId, name: &str) -> Permission {
    Permission {
        id: PermissionId::parse(&format!("per_{name}")).unwrap(),
        session_id: session.clone(),
        turn_id: tid("t"),
        permission: "bash".into(),
        patterns: vec!["ls *".into()],
        metadata: json!({"command": "ls"}).as_object().cloned().unwrap(),
        always: vec!["ls *".into()],
        tool: Some(ToolRef {
            message_id: mid("m"),
            call_id: "call".into(),
        }),
        options: vec![PermissionOption {
            id: "1".into(),
            name: "Yes".into(),
            kind: "allow_once".into(),
        }],
        asked_at: Timestamp(1_200),
        outcome: None,
    }
}

/// A pending question.
#[must_use]
pub fn question(session: &SessionId, name: &str) -> Question {
    Question {
        id: QuestionId::parse(&format!("que_{name}")).unwrap(),
        session_id: session.clone(),
        turn_id: tid("t"),
        questions: vec![QuestionInfo {
            question: "Which?".into(),
            header: "Choice".into(),
            options: vec![QuestionOption {
                label: "A".into(),
                description: "the first".into(),
            }],
            multiple: Some(false),
            custom: None,
        }],
        tool: None,
        asked_at: Timestamp(1_200),
        outcome: None,
    }
}

/// A todo item.
#[must_use]
pub fn todo(content: &str) -> Todo {
    Todo {
        content: content.into(),
        status: "pending".into(),
        priority: "high".into(),
    }
}

/// A binding without a process.
#[must_use]
pub fn binding(session: &SessionId) -> AgentBinding {
    AgentBinding {
        session_id: session.clone(),
        agent: "demo".into(),
        agent_session_id: Some("abc".into()),
        rung: RestoreRung::Loaded,
        rung_notes: vec!["resume is not offered".into()],
        pid: None,
        pid_started: None,
        spawn_id: None,
        bound_at: Timestamp(1_200),
    }
}

/// What is known of an agent.
#[must_use]
pub fn profile(name: &str) -> AgentProfile {
    AgentProfile {
        name: name.into(),
        version: Some("1.2".into()),
        abilities: vec!["load".into()],
        ..AgentProfile::default()
    }
}

/// A project.
#[must_use]
pub fn project(id: &str) -> Project {
    Project {
        id: ProjectId::new(id),
        worktree: "/srv".into(),
        vcs: Some("git".into()),
        name: None,
        icon: Some(ProjectIcon {
            color: Some("blue".into()),
            ..ProjectIcon::default()
        }),
        commands: Some(ProjectCommands {
            start: Some("make".into()),
        }),
        sandboxes: vec!["/srv/other".into()],
        created_at: Timestamp(500),
        updated_at: Timestamp(600),
    }
}

/// A line of the usage ledger.
#[must_use]
pub fn usage(turn: &str, cost: f64) -> Usage {
    Usage {
        turn_id: tid(turn),
        message_id: mid("m"),
        model: model(),
        tokens: tokens(2),
        cost,
        at: Timestamp(1_400),
    }
}

/// A changed file.
#[must_use]
pub fn file(path: &str) -> FileChange {
    FileChange::reported(FileDiff {
        file: path.into(),
        patch: Some("@@ -1 +1 @@\n-a\n+b\n".into()),
        additions: 1,
        deletions: 1,
        status: DiffStatus::Modified,
    })
}

/// A share.
#[must_use]
pub fn share(token_hash: &str) -> Share {
    Share {
        token_hash: token_hash.into(),
        created_at: Timestamp(1_500),
        expires_at: Some(Timestamp(9_500)),
        mode: ShareMode::Frozen { position: 3 },
        accessed_at: None,
    }
}
