//! What sessions are read from: a database of OpenCode, or the file of an export.

mod copy;
mod database;
mod file;

use std::io;
use std::path::PathBuf;

use serde_json::Value;
use thiserror::Error;

pub use database::{Database, Listed, default_path};
pub use file::ExportFile;

/// Why a source can't be read.
#[derive(Debug, Error)]
pub enum SourceError {
    /// There is nothing.
    #[error("there is no file {path}")]
    Missing {
        /// Where.
        path: PathBuf,
    },
    /// The file system says no.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody changed the database all the time while it was copied.
    #[error("{path} is written all the time; try again when OpenCode has less to do")]
    Busy {
        /// Where.
        path: PathBuf,
    },
    /// It is no database of OpenCode.
    #[error(
        "{path} has no table {table:?}: it is not a database of OpenCode 1.2 or newer (older versions kept files; \
         let a newer OpenCode read them first)"
    )]
    NotOpenCode {
        /// Where.
        path: PathBuf,
        /// The table that is missing.
        table: &'static str,
    },
    /// The database can't be read.
    #[error("cannot read {what}: {source}")]
    Database {
        /// What was read.
        what: String,
        /// Why not.
        source: rusqlite::Error,
    },
    /// The file is no export.
    #[error("{path} is not the file of an export: {reason}")]
    NotAnExport {
        /// Where.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A message of a source: id and time of creation (milliseconds since the Unix epoch) as written.
pub type Outlined = (String, i64);

/// Told of each message, in order; `false` ends the reading. One that can't be read comes as an
/// error with its name.
pub type EachMessage<'a> = dyn FnMut(Result<Value, crate::Unreadable>) -> bool + 'a;
