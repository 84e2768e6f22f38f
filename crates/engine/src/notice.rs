//! Notices: what is worth telling whoever listens now. Never stored, never replayed; all that
//! lasts is told by durable events too.

use std::sync::Arc;

use sessiond_model::{FileDiff, MessageId, ModelRef, ProjectId, SessionId, Timestamp};

/// A passing word, on a session or on what is around sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The session that it is about, when it is about one.
    pub session_id: Option<SessionId>,
    /// The directory that it concerns, for routing; none concerns all.
    pub directory: Option<Arc<str>>,
    /// Its project, for routing.
    pub project_id: Option<ProjectId>,
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
    /// Prompts that name no agent or model get this one from now on.
    Switched {
        /// OpenCode agent (mode).
        agent: Option<String>,
        /// Model.
        model: Option<ModelRef>,
    },
    /// The conversation was summarised.
    Compacted,
    /// A sentence for people.
    Toast {
        /// In a few words.
        title: Option<String>,
        /// The sentence.
        message: String,
        /// How it is meant.
        variant: ToastVariant,
        /// How long it is to be seen, in milliseconds.
        duration: Option<u64>,
    },
    /// For a user interface: this is to be put into its prompt.
    PromptAppended(String),
    /// For a user interface: it is to do this, in its own words (`session.list`).
    InterfaceCommand(String),
    /// For a user interface: it is to show this session.
    SessionSelected(SessionId),
    /// This branch is checked out in the directory now; none when its HEAD is detached.
    BranchChanged(Option<String>),
    /// An agent offers other models, modes or commands than before.
    OffersChanged {
        /// Its name in the catalogue.
        agent: String,
    },
    /// What was known of a directory was dropped: it is to be asked for anew.
    DirectoryDropped,
    /// The same for all directories.
    AllDropped,
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
