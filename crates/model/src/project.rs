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
    /// How it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub icon: Option<ProjectIcon>,
    /// What people run in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commands: Option<ProjectCommands>,
    /// Other directories it was seen in.
    pub sandboxes: Vec<String>,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// The icon of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectIcon {
    /// Address of the image, or the image itself as a data URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The same, as a person chose it.
    #[serde(default, rename = "override", skip_serializing_if = "Option::is_none")]
    pub replacement: Option<String>,
    /// Name of its colour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub color: Option<String>,
}

/// Commands of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectCommands {
    /// Run by people when they have made a new copy of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
}
