//! The SQL of a session store: its text, its operations and its row mapping, written once
//! for every SQL database.
//!
//! A driver implements [`Tx`] (run one statement) and [`Dialect`]; everything a store does is
//! an [`Op`] over it. Statements are written with `$1`, `$2`, …: a driver of a database with
//! other placeholders translates them (in SQLite `$1` is a *name*, so `$1` must become `?1`).

pub mod ahead;
mod commit;
pub mod moving;
mod op;
mod read;
mod row;
mod schema;
mod sql;

pub use commit::{CommitOp, MarkDegraded};
pub use op::{Arg, Op, Row, Tx, Value, without_nul};
pub use read::{
    BindingOf, Counters, EndedPermissions, EndedQuestions, EventsAfter, FileChangesOf, LastFork,
    LiveBindings, MessageById, MessageOwner, MessagesOf, PendingPermissions, PendingQuestions,
    PendingRestores, PermissionById, Profiles, ProjectById, Projects, QuestionById, RestoreOf,
    SessionById, SessionByKey, SessionChanges, SessionHeadById, Sessions, ShareByToken, ShareOf,
    Shares, TodoVersionsOf, TodosOf, TrashedUntil, TurnById, TurnByKey, TurnOfMessage, TurnsOf,
    Unfinished, UsageOf,
};
pub use schema::{
    Dialect, META_CLEAN, META_EPOCH, META_MIN_READER, META_MIN_WRITER, META_MOVING,
    META_WRITTEN_BY, MIGRATIONS, Migration, SCHEMA, TABLES,
};

/// Statements whose cost must not grow with the store, for a driver's test of its query plans.
#[must_use]
pub fn indexed_statements() -> &'static [&'static str] {
    sql::INDEXED
}
