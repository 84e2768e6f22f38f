//! The SQLite store: one writer thread with group commit, a pool of readers, a lock file.

mod backup;
mod check;
mod conn;
mod failpoint;
mod incidents;
mod lock;
mod moving;
mod open;
mod options;
mod readers;
mod regrow;
mod salvage;
mod store;
mod template;
mod writer;

pub use moving::SqliteSite;
pub use options::SqliteOptions;
pub use store::SqliteStore;
