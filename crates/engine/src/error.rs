use std::time::Duration;

use sessiond_model::{IdError, Require, SessionId};
use sessiond_store::{EntityKind, StoreError};
use thiserror::Error;

/// Why the engine did not do what it was asked. Nothing was changed, unless said otherwise.
#[derive(Debug, Error)]
pub enum EngineError {
    /// There is no such thing (any more).
    #[error("{kind} not found: {id}")]
    NotFound {
        /// What kind of thing.
        kind: EntityKind,
        /// Its id.
        id: String,
    },
    /// A value of the request is wrong.
    #[error("{field}: {reason}")]
    Invalid {
        /// Which field, e.g. `model.providerID`.
        field: String,
        /// What is wrong with it and what would be right.
        reason: String,
    },
    /// The id is taken, or the thing is in a state that forbids it.
    #[error("{kind} {id}: {reason}")]
    Conflict {
        /// What kind of thing.
        kind: EntityKind,
        /// Its id.
        id: String,
        /// The session it belongs to, when that is another one.
        owner: Option<SessionId>,
        /// One clause.
        reason: String,
    },
    /// The session has open turns.
    #[error("Session is busy: {0}")]
    Busy(SessionId),
    /// Files that the turns may have written were not captured, so that they can't be brought
    /// back; nothing was done.
    #[error("{}", sentence(reasons))]
    NotCaptured {
        /// The session.
        session: SessionId,
        /// One clause for each turn, its id first.
        reasons: Vec<String>,
    },
    /// `If-Match` does not hold.
    #[error("the session has changed: its revision is not {expected}")]
    Changed {
        /// The revision that was asked for.
        expected: u64,
    },
    /// Switched off by the configuration.
    #[error("{what} is switched off here ({by})")]
    Disabled {
        /// What.
        what: &'static str,
        /// The setting, and where it is.
        by: &'static str,
    },
    /// Not now; try again.
    #[error("{reason}")]
    Unavailable {
        /// Why, in a sentence.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// Another node has the session: it is to be asked.
    #[error("{} is held by node {}", .0.session, .0.node)]
    Elsewhere(Elsewhere),
    /// The session's directory is on no living node.
    #[error("{}", nowhere(directory, nodes))]
    NoNode {
        /// The directory.
        directory: String,
        /// The names of the nodes that are known to have it.
        nodes: Vec<String>,
    },
    /// A fault of ours; the log has more.
    #[error("internal fault: {0}")]
    Internal(String),
}

/// The node that a request is for. The HTTP rooms put it into the extensions of their answer, so
/// that the server passes the request on instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// The session.
    pub session: SessionId,
    /// The name of the node.
    pub node: String,
    /// Where it is reached, without `/` at the end; `None` when nobody can.
    pub url: Option<String>,
}

impl EngineError {
    pub(crate) fn not_found(kind: EntityKind, id: &(impl ToString + ?Sized)) -> Self {
        Self::NotFound {
            kind,
            id: id.to_string(),
        }
    }

    pub(crate) fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid {
            field: field.into(),
            reason: reason.into(),
        }
    }
}

impl From<StoreError> for EngineError {
    fn from(e: StoreError) -> Self {
        match e {
            StoreError::NotFound { kind, id } => Self::NotFound { kind, id },
            StoreError::Conflict {
                kind,
                id,
                owner,
                reason,
            } => Self::Conflict {
                kind,
                id,
                owner,
                reason: reason.into(),
            },
            StoreError::Precondition(Require::Revision(expected)) => Self::Changed { expected },
            StoreError::Precondition(Require::MessagePresent(id)) => {
                Self::not_found(EntityKind::Message, &id)
            }
            StoreError::Precondition(Require::MessageAbsent(id)) => Self::Conflict {
                kind: EntityKind::Message,
                id: id.to_string(),
                owner: None,
                reason: "this id is taken".into(),
            },
            StoreError::Precondition(Require::NotDeleted) => Self::Conflict {
                kind: EntityKind::Session,
                id: String::new(),
                owner: None,
                reason: "the session is in the trash".into(),
            },
            e @ (StoreError::Unavailable { .. }
            | StoreError::Fenced { .. }
            | StoreError::Locked { .. }) => Self::Unavailable {
                reason: e.to_string(),
                retry_after: Duration::from_secs(1),
            },
            e => Self::Internal(e.to_string()),
        }
    }
}

impl From<(&'static str, IdError)> for EngineError {
    fn from((field, e): (&'static str, IdError)) -> Self {
        Self::invalid(field, e.to_string())
    }
}

fn nowhere(directory: &str, nodes: &[String]) -> String {
    if nodes.is_empty() {
        return format!(
            "the directory {directory} is not on this node, and no other is known to have it"
        );
    }
    format!(
        "the directory {directory} is not on this node; start one of those that have it: {}",
        nodes.join(", ")
    )
}

fn sentence(reasons: &[String]) -> String {
    format!(
        "the files of {} of the turns can't be brought back ({}); with `force` the messages are \
         reverted all the same",
        reasons.len(),
        reasons.join("; ")
    )
}
