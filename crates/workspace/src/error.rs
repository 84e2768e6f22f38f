use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a directory's files can't be told of.
#[derive(Debug, Error)]
pub enum WorkspaceError {
    /// The root is no directory, or not there.
    #[error("{} is not a directory", .0.display())]
    NoRoot(PathBuf),
    /// A path that is not within the root.
    #[error("{0:?} is outside of the directory")]
    Outside(String),
    /// Nothing is there.
    #[error("{0:?} does not exist")]
    Missing(String),
    /// A directory was asked for.
    #[error("{0:?} is not a directory")]
    NotADirectory(String),
    /// A file was asked for; devices and pipes are none.
    #[error("{0:?} is not a file")]
    NotAFile(String),
    /// A file that is larger than what is shown.
    #[error("{path:?} has {size} bytes; at most {limit} are shown")]
    TooLarge {
        /// The path, as it was asked for.
        path: String,
        /// In bytes.
        size: u64,
        /// In bytes.
        limit: u64,
    },
    /// A pattern that is no regular expression.
    #[error("{0}")]
    Pattern(String),
    /// The directory is in no git repository.
    #[error("the directory is not in a git repository")]
    NoRepository,
    /// A patch that does not fit.
    #[error("the patch can't be applied: {0}")]
    NotClean(String),
    /// It took too long, or too much is going on.
    #[error("this took longer than {0} s")]
    TimedOut(u64),
    /// A difference that is larger than what is told.
    #[error("the difference is larger than {0} bytes")]
    LargeDiff(u64),
    /// More new files than are told.
    #[error("more than {0} files are new")]
    ManyNew(usize),
    /// The git program failed, or is not there.
    #[error("git: {0}")]
    Git(String),
    /// The operating system refused.
    #[error("{path:?}: {error}")]
    Io {
        /// The path, as it was asked for.
        path: String,
        /// What it said.
        error: io::Error,
    },
}

impl WorkspaceError {
    pub(crate) fn io(path: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |error| match error.kind() {
            io::ErrorKind::NotFound => Self::Missing(path),
            io::ErrorKind::NotADirectory => Self::NotADirectory(path),
            _ => Self::Io { path, error },
        }
    }
}
