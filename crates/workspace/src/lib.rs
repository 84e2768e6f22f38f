//! What clients may see and search of the files of one directory, and what git says of them.
//!
//! Everything is confined to a [`Root`]: a path that leads out of it, by `..`, as an absolute
//! path or through a symbolic link, is refused. Nothing here knows sessions or HTTP. All
//! functions are bounded in time, results and concurrency, and stop when their future is
//! dropped.

mod bounded;
mod content;
mod error;
mod find;
mod git;
mod list;
mod patch;
mod root;
mod search;
mod vcs;
mod work;

pub use bounded::Bounded;
pub use content::{Content, MAX_CONTENT, RawFile, content, raw_file};
pub use error::WorkspaceError;
pub use find::{Found, Kinds, MAX_FOUND, find};
pub use list::{Entry, Kind, list};
pub use patch::{FileChange, FileStatus};
pub use root::Root;
pub use search::{Hit, Submatch, search};
pub use vcs::{Branches, Since, apply, branches, changes, raw_diff};

/// The result of everything here.
pub type Result<T> = std::result::Result<T, WorkspaceError>;
