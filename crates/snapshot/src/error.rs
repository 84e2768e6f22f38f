use std::{io, path::PathBuf, time::Duration};

/// Why a directory is not captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is `/`.
    Root,
    /// It is the home directory.
    Home,
    /// The home directory is somewhere below it.
    AboveHome,
    /// It is inside the directory where the captures are kept.
    Snapshots,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Root => "it is the root of the file system",
            Self::Home => "it is the home directory",
            Self::AboveHome => "it contains the home directory",
            Self::Snapshots => "it is where captures are kept",
        })
    }
}

/// What can go wrong with a capture.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The directory is never captured.
    #[error("{} is not captured: {reason}", directory.display())]
    Refused {
        /// What was asked for.
        directory: PathBuf,
        /// Why not.
        reason: Refusal,
    },
    /// There is no such directory.
    #[error("the directory {} does not exist", directory.display())]
    Missing {
        /// What was asked for.
        directory: PathBuf,
    },
    /// The git program is not there.
    #[error("git is not on PATH")]
    GitMissing,
    /// A git program failed.
    #[error("git {command} failed ({status}): {stderr}")]
    Git {
        /// Its subcommand.
        command: &'static str,
        /// How it ended.
        status: String,
        /// The end of what it said.
        stderr: String,
    },
    /// The operating system refused.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// An object or index could not be read or written.
    #[error("could not {action}: {message}")]
    Objects {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        message: String,
    },
    /// An object is in no store.
    #[error("object {oid} is not kept")]
    NotKept {
        /// Its id.
        oid: String,
    },
    /// It took too long.
    #[error("it took longer than {} s", limit.as_secs_f32())]
    Deadline {
        /// How long it may take.
        limit: Duration,
    },
    /// The project's captures are as large as they may be.
    #[error("the captures of this project take {used} of {limit} bytes")]
    Quota {
        /// Bytes on disk.
        used: u64,
        /// Bytes they may take.
        limit: u64,
    },
    /// A file is larger than is kept.
    #[error("{} has {size} bytes, more than {limit}", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        size: u64,
        /// The most that is kept.
        limit: u64,
    },
    /// A path is not one of the worktree's files.
    #[error("{} is not a file that belongs to {}", path.display(), directory.display())]
    Outside {
        /// The path.
        path: PathBuf,
        /// The worktree.
        directory: PathBuf,
    },
}

impl SnapshotError {
    /// For `map_err`: an I/O failure with its facts.
    pub(crate) fn io<'a>(
        action: &'static str,
        path: &'a std::path::Path,
    ) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// For `map_err`: a failure of the object database.
    pub(crate) fn objects<E: std::fmt::Display>(action: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Objects {
            action,
            message: error.to_string(),
        }
    }
}
