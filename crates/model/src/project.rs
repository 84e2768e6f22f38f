//! Projects: bodies of work with an identity of their own.

use serde::{Deserialize, Serialize};

use crate::{ProjectId, Timestamp};

/// A body of work: a git repository with all its worktrees, or everything outside of git.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// The repository's root commit, or `global`.
    pub id: ProjectId,
    /// Absolute path of its (first seen) worktree; `/` for `global`.
    pub worktree: String,
    /// `git`, or nothing.
    pub vcs: Option<String>,
    /// Name for people.
    pub name: Option<String>,
    /// Other directories it was seen in.
    pub sandboxes: Vec<String>,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}
