//! Turns: one accepted prompt and all that it causes.

use serde::{Deserialize, Serialize};

use crate::{MessageId, ModelRef, RestoreRung, SessionId, Timestamp, TurnId};

/// One accepted prompt and its fate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Its id.
    pub id: TurnId,
    /// Its session.
    pub session_id: SessionId,
    /// Its state.
    pub state: TurnState,
    /// The prompt.
    pub user_message_id: MessageId,
    /// The answer, once the turn has begun.
    pub assistant_message_id: Option<MessageId>,
    /// What the prompt asked for.
    pub options: TurnOptions,
    /// What it does.
    #[serde(default)]
    pub kind: TurnKind,
    /// What was captured of the worktree.
    #[serde(default)]
    pub worktree: Option<TurnWorktree>,
    /// When the prompt was accepted.
    pub queued_at: Timestamp,
    /// When the agent got it.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How the agent got its memory for this turn.
    pub restore: Option<RestoreRung>,
    /// Why it did not complete.
    pub failure: Option<TurnFailure>,
    /// The client's idempotency key, unique in its session.
    pub idempotency_key: Option<String>,
    /// Digest of the request that carried the key, to tell a retry from a misuse.
    pub idempotency_digest: Option<String>,
}

/// What a turn does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TurnKind {
    /// The agent answers the prompt.
    #[default]
    Prompt,
    /// A slash command: the agent answers its text.
    Command {
        /// Its name, without the slash.
        name: String,
        /// What was typed after it.
        arguments: String,
    },
    /// A shell command of a person; no agent is asked.
    Shell {
        /// The command line.
        command: String,
    },
    /// The agent writes a summary that stands for the conversation so far.
    Compaction,
}

/// What was captured of the worktree around a turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnWorktree {
    /// Snapshot before the turn.
    pub before: Option<String>,
    /// Snapshot after it.
    pub after: Option<String>,
    /// How much was captured.
    pub coverage: Coverage,
    /// Why not all, in a sentence.
    pub reason: Option<String>,
    /// Whether anything ran that may have written files.
    #[serde(default)]
    pub may_have_written: bool,
}

/// How much of a worktree a capture has.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Coverage {
    /// Nothing.
    #[default]
    None,
    /// Not every file.
    Partial,
    /// Every file that is not ignored.
    Full,
}

/// Who and what is to answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnOptions {
    /// The coding agent.
    pub agent: String,
    /// Its mode, when one was asked for.
    pub mode: Option<String>,
    /// The model (provider = coding agent).
    pub model: ModelRef,
}

/// The states of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TurnState {
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
    /// Cut off by a crash or shutdown of sessiond or its agent.
    Interrupted,
}

impl TurnState {
    /// All states.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Aborted,
        Self::Interrupted,
    ];

    /// The name used in the API and the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::Interrupted => "interrupted",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == name)
    }

    /// Whether the turn has ended.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// Whether a turn may go from `self` to `next`. A queued turn may end without running
    /// (aborted, or failed because no agent could be started); an ended one never changes.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Queued => next != Self::Completed && next != Self::Queued,
            Self::Running => next.is_terminal(),
            _ => false,
        }
    }
}

/// Why a turn did not complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnFailure {
    /// Machine-readable cause, e.g. `agent_exited`, `agent_error`, `timeout`, `restart`.
    pub code: String,
    /// A sentence.
    pub message: String,
}

/// How a turn ended: the engine's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnEnd {
    /// Answered; the reason the model stopped.
    Completed {
        /// `stop`, `length`, `tool-calls`, `content-filter`.
        finish: String,
    },
    /// The agent or its model failed.
    Failed(TurnFailure),
    /// Stopped by a person.
    Aborted,
    /// Cut off.
    Interrupted(TurnFailure),
}

impl TurnEnd {
    /// The state a turn of this end is in.
    #[must_use]
    pub fn state(&self) -> TurnState {
        match self {
            Self::Completed { .. } => TurnState::Completed,
            Self::Failed(_) => TurnState::Failed,
            Self::Aborted => TurnState::Aborted,
            Self::Interrupted(_) => TurnState::Interrupted,
        }
    }
}
