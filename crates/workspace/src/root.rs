use std::io;
use std::path::{Component, Path, PathBuf};

use crate::{Result, WorkspaceError};

/// Longest path that is looked up, in bytes.
const MAX_PATH: usize = 4096;

/// A directory that nothing leads out of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(PathBuf);

impl Root {
    /// # Errors
    /// `NoRoot` when there is no such directory.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref();
        match directory.canonicalize() {
            Ok(path) if path.is_dir() => Ok(Self(path)),
            _ => Err(WorkspaceError::NoRoot(directory.to_owned())),
        }
    }

    /// The directory, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The real place of a path: relative to the root, or absolute and within.
    ///
    /// # Errors
    /// `Outside` or `Missing`.
    pub(crate) fn resolve(&self, path: &str) -> Result<PathBuf> {
        if path.len() > MAX_PATH || path.contains('\0') {
            return Err(WorkspaceError::Missing(path.chars().take(80).collect()));
        }
        let joined = self.0.join(path);
        match joined.canonicalize() {
            Ok(real) if real.starts_with(&self.0) => Ok(real),
            Ok(_) => Err(WorkspaceError::Outside(path.into())),
            // What is not there must not tell more than what is: first where it would be.
            Err(_) if !self.would_be_within(&joined) => Err(WorkspaceError::Outside(path.into())),
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => {
                Err(WorkspaceError::Missing(path.into()))
            }
            Err(e) => Err(WorkspaceError::io(path)(e)),
        }
    }

    /// Whether a path that can't be resolved is within: by its nearest ancestor that can.
    fn would_be_within(&self, joined: &Path) -> bool {
        let climbs = joined
            .strip_prefix(&self.0)
            .is_ok_and(|rest| rest.components().any(|c| c == Component::ParentDir));
        !climbs
            && joined
                .ancestors()
                .find_map(|a| a.canonicalize().ok())
                .is_some_and(|real| real.starts_with(&self.0))
    }

    /// A path within, relative to the root.
    pub(crate) fn relative(&self, path: &Path) -> String {
        path.strip_prefix(&self.0)
            .unwrap_or(path)
            .to_string_lossy()
            .into_owned()
    }
}
