use serde::{Deserialize, Serialize};
use sessiond_engine::{AbortOptions, QueuePolicy};
use sessiond_model as model;
use sessiond_model::Timestamp;
use utoipa::ToSchema;

use super::command::TurnKindDto;
use super::revert::TurnWorktreeDto;
use super::session::{ModelDto, SessionDto, TokensDto};

/// A turn: one accepted prompt and all that it causes. It ends in exactly one of `completed`,
/// `failed`, `aborted` and `interrupted`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Turn, example = json!({
    "id": "trn_0123456789abExampleTurn00", "session_id": "ses_0123456789abExampleSession", "state": "completed",
    "kind": {"type": "command", "name": "review", "arguments": "the login page"},
    "user_message_id": "msg_0123456789abExampleMessag", "assistant_message_id": "msg_0123456789acExampleAnswer",
    "agent": "claude", "mode": "build", "model": {"provider_id": "claude", "id": "sonnet", "variant": null},
    "queued_at": 1_795_364_893_636_i64, "started_at": 1_795_364_893_700_i64, "ended_at": 1_795_364_899_000_i64,
    "restore": "live", "worktree": {"coverage": "full", "reason": null}, "failure": null,
}))]
pub(crate) struct TurnDto {
    /// Its id.
    pub(crate) id: String,
    /// Its session.
    pub(crate) session_id: String,
    /// Its state.
    pub(crate) state: TurnStateDto,
    /// What it does.
    pub(crate) kind: TurnKindDto,
    /// The prompt.
    pub(crate) user_message_id: String,
    /// The answer, once the turn has begun.
    pub(crate) assistant_message_id: Option<String>,
    /// The coding agent.
    pub(crate) agent: String,
    /// Its mode, when one was asked for.
    pub(crate) mode: Option<String>,
    /// The model.
    pub(crate) model: ModelDto,
    /// When the prompt was accepted. Integer milliseconds since the Unix epoch, UTC.
    pub(crate) queued_at: i64,
    /// When the agent got it. Integer milliseconds since the Unix epoch, UTC.
    pub(crate) started_at: Option<i64>,
    /// When it ended. Integer milliseconds since the Unix epoch, UTC.
    pub(crate) ended_at: Option<i64>,
    /// How the agent got its memory for this turn.
    pub(crate) restore: Option<RungDto>,
    /// What was captured of the worktree; `null` until the turn has ended.
    pub(crate) worktree: Option<TurnWorktreeDto>,
    /// Why it did not complete.
    pub(crate) failure: Option<FailureDto>,
}

impl From<model::Turn> for TurnDto {
    fn from(t: model::Turn) -> Self {
        Self {
            id: t.id.to_string(),
            session_id: t.session_id.to_string(),
            state: t.state.into(),
            kind: t.kind.into(),
            user_message_id: t.user_message_id.to_string(),
            assistant_message_id: t.assistant_message_id.map(|id| id.to_string()),
            agent: t.options.agent,
            mode: t.options.mode,
            model: t.options.model.into(),
            queued_at: t.queued_at.millis(),
            started_at: t.started_at.map(Timestamp::millis),
            ended_at: t.ended_at.map(Timestamp::millis),
            restore: t.restore.map(Into::into),
            worktree: t.worktree.filter(|_| t.state.is_terminal()).map(Into::into),
            failure: t.failure.map(|f| FailureDto {
                code: f.code,
                message: f.message,
            }),
        }
    }
}

/// The states of a turn.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TurnState)]
pub(crate) enum TurnStateDto {
    /// Accepted and durable, waits for its turn.
    Queued,
    /// The agent works on it.
    Running,
    /// Answered.
    Completed,
    /// The agent or its model failed.
    Failed,
    /// Stopped by a person.
    Aborted,
    /// Cut off by a crash or shutdown.
    Interrupted,
}

impl From<model::TurnState> for TurnStateDto {
    fn from(s: model::TurnState) -> Self {
        match s {
            model::TurnState::Queued => Self::Queued,
            model::TurnState::Running => Self::Running,
            model::TurnState::Completed => Self::Completed,
            model::TurnState::Failed => Self::Failed,
            model::TurnState::Aborted => Self::Aborted,
            model::TurnState::Interrupted => Self::Interrupted,
        }
    }
}

/// Why a turn did not complete.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = TurnFailure)]
pub(crate) struct FailureDto {
    /// Machine-readable cause, e.g. `agent_exited`, `timeout`, `restart`.
    code: String,
    /// A sentence.
    message: String,
}

/// How an agent got its memory of a session back.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RestoreRung)]
pub(crate) enum RungDto {
    /// Nothing to restore: the session was new.
    New,
    /// The live agent process went on.
    Live,
    /// The agent resumed its own session.
    Resumed,
    /// The agent loaded its own session.
    Loaded,
    /// The agent forked its own session of the one that this one was forked from.
    Forked,
    /// A new agent session, told our transcript.
    Rebuilt,
}

impl From<model::RestoreRung> for RungDto {
    fn from(r: model::RestoreRung) -> Self {
        match r {
            model::RestoreRung::New => Self::New,
            model::RestoreRung::Live => Self::Live,
            model::RestoreRung::Resumed => Self::Resumed,
            model::RestoreRung::Loaded => Self::Loaded,
            model::RestoreRung::Forked => Self::Forked,
            model::RestoreRung::Rebuilt => Self::Rebuilt,
        }
    }
}

/// Turns of a session, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TurnList {
    /// The turns.
    pub(crate) turns: Vec<TurnDto>,
}

/// How to abort.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({"queue": "keep"}))]
pub(crate) struct AbortBody {
    /// What happens to waiting turns; `drop` when absent.
    #[schema(default = "drop")]
    queue: QueueDto,
}

impl From<AbortBody> for AbortOptions {
    fn from(b: AbortBody) -> Self {
        let queue = match b.queue {
            QueueDto::Drop => QueuePolicy::Drop,
            QueueDto::Keep => QueuePolicy::Keep,
        };
        Self { queue }
    }
}

/// What happens to waiting turns on an abort.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = QueuePolicy)]
pub(crate) enum QueueDto {
    /// They end as `aborted` too.
    #[default]
    Drop,
    /// They run.
    Keep,
}

/// What an abort did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AbortReply {
    /// Whether anything ran that was stopped.
    pub(crate) aborted: bool,
    /// The session after it.
    pub(crate) session: SessionDto,
}

/// What one turn cost.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Usage)]
pub(crate) struct UsageDto {
    /// The turn.
    turn_id: String,
    /// The assistant message it is shown on.
    message_id: String,
    /// The model used.
    model: ModelDto,
    /// Tokens used.
    tokens: TokensDto,
    /// Cost in US dollars.
    cost: f64,
    /// When it was booked. Integer milliseconds since the Unix epoch, UTC.
    booked_at: i64,
}

impl From<model::Usage> for UsageDto {
    fn from(u: model::Usage) -> Self {
        Self {
            turn_id: u.turn_id.to_string(),
            message_id: u.message_id.to_string(),
            model: u.model.into(),
            tokens: u.tokens.into(),
            cost: u.cost,
            booked_at: u.at.millis(),
        }
    }
}

/// The usage ledger of a session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageList {
    /// One line per turn that used something, oldest first. Lines stay when messages are
    /// removed, so their sum may be above the session's own totals.
    pub(crate) usage: Vec<UsageDto>,
}
