//! Notices: what is worth telling whoever listens now. Never stored, never replayed; all that
//! lasts is told by durable events too.

use std::sync::Arc;

use sessiond_model::{FileDiff, MessageId, ProjectId, SessionId, Timestamp};

/// A passing word on a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The session.
    pub session_id: SessionId,
    /// Its directory, for routing.
    pub directory: Arc<str>,
    /// Its project, for routing.
    pub project_id: ProjectId,
    /// When.
    pub at: Timestamp,
    /// Tells notices of one millisecond apart.
    pub number: u64,
    /// What.
    pub body: NoticeBody,
}

/// What a notice says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeBody {
    /// The visible file changes of the session are these now (paths relative to the worktree).
    DiffChanged(Arc<[FileDiff]>),
    /// The turn of a slash command is over.
    CommandExecuted {
        /// The command, without its slash.
        name: String,
        /// What was typed after it.
        arguments: String,
        /// The answer.
        message_id: MessageId,
    },
    /// The conversation was summarised.
    Compacted,
    /// A sentence for people.
    Toast {
        /// In a few words.
        title: String,
        /// The sentence.
        message: String,
        /// How it is meant.
        variant: ToastVariant,
    },
}

/// How a toast is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToastVariant {
    /// For information.
    Info,
    /// It is done.
    Success,
    /// Not all went as asked.
    Warning,
    /// It failed.
    Error,
}

impl ToastVariant {
    /// The name that OpenCode clients know.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}
