use std::path::PathBuf;

use sessiond_model::{Require, SessionId};
use thiserror::Error;

/// Why a store could not do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Something that the commit needs is not there.
    #[error("{kind} not found: {id}")]
    NotFound {
        /// What kind of thing.
        kind: EntityKind,
        /// Its id.
        id: String,
    },
    /// The id is taken, or the thing is in a state that forbids the change.
    #[error("{kind} {id}: {reason}")]
    Conflict {
        /// What kind of thing.
        kind: EntityKind,
        /// Its id.
        id: String,
        /// The session it belongs to, when that is another one.
        owner: Option<SessionId>,
        /// One clause, e.g. `has ended before`.
        reason: &'static str,
    },
    /// A precondition of the commit does not hold.
    #[error("precondition failed: {0:?}")]
    Precondition(Require),
    /// The session was written under a higher epoch: this writer has lost it.
    #[error("the session was taken over: epoch {held} is newer than {offered}")]
    Fenced {
        /// The epoch in the store.
        held: u64,
        /// The writer's.
        offered: u64,
    },
    /// The store can't write (or read) now; nothing was changed.
    #[error("the store is not available: {reason}")]
    Unavailable {
        /// Why.
        reason: UnavailableReason,
    },
    /// Another process owns the data directory.
    #[error("{} is in use by process {pid}{}", path.display(), url.as_ref().map(|u| format!(" ({u})")).unwrap_or_default())]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// The holder's process id.
        pid: u32,
        /// The holder's address, when it has told it.
        url: Option<String>,
    },
    /// A move from another store into this one was not finished.
    #[error(
        "{} holds only a part of what `sessiond migrate` is to bring: run that again, it goes on where it was cut off",
        path.display()
    )]
    HalfMoved {
        /// The database.
        path: PathBuf,
    },
    /// The database was written by a newer sessiond.
    #[error(
        "the database {} needs sessiond {needed} or newer: this one reads schema {supported}, it has {found}",
        path.display()
    )]
    TooNew {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema this program knows.
        supported: i64,
        /// The version that wrote it.
        needed: String,
    },
    /// The database is damaged beyond what could be salvaged.
    #[error("the database {} is damaged: {detail}", path.display())]
    Corrupt {
        /// The database.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A fault of the store itself.
    #[error("store fault in {operation}: {source}")]
    Internal {
        /// The operation.
        operation: &'static str,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Why a store is not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UnavailableReason {
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// The database or its disk is read-only.
    #[error("the database is read-only")]
    ReadOnly,
    /// Too many writes are waiting.
    #[error("too many writes are waiting")]
    Overloaded,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// Another program holds the database.
    #[error("the database is locked by another program")]
    Busy,
    /// The disk reported an error.
    #[error("the disk reported an error")]
    Io,
    /// The database server can't be reached, or does not answer in time.
    #[error("the database can't be reached")]
    Unreachable,
    /// The lease of this node has ended; it registers anew.
    #[error("the lease of this node has ended")]
    LeaseEnded,
}

/// Kinds of things in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntityKind {
    /// A session.
    Session,
    /// A message.
    Message,
    /// A part.
    Part,
    /// A turn.
    Turn,
    /// A permission request.
    Permission,
    /// A question.
    Question,
    /// A share.
    Share,
    /// A project.
    Project,
    /// An idempotency key.
    IdempotencyKey,
}

impl std::fmt::Display for EntityKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Session => "Session",
            Self::Message => "Message",
            Self::Part => "Part",
            Self::Turn => "Turn",
            Self::Permission => "Permission request",
            Self::Question => "Question request",
            Self::Share => "Share",
            Self::Project => "Project",
            Self::IdempotencyKey => "Idempotency key",
        })
    }
}
