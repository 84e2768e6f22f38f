use serde::Serialize;
use sessiond_model as model;
use utoipa::ToSchema;

/// A project: a git repository with all its worktrees, or everything outside of git.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Project, example = json!({
    "id": "4b825dc642cb6eb9a060e54bf8d69288fbee4904", "worktree": "/home/me/project", "vcs": "git", "name": null,
    "sandboxes": [], "created_at": 1_795_364_893_636_i64, "updated_at": 1_795_364_893_636_i64,
}))]
pub(crate) struct ProjectDto {
    /// The repository's root commit, or `global`.
    id: String,
    /// Absolute path of its (first seen) worktree; `/` for `global`.
    worktree: String,
    /// `git`, or `null`.
    vcs: Option<String>,
    /// Name for people.
    name: Option<String>,
    /// Other directories it was seen in.
    sandboxes: Vec<String>,
    /// When it was first seen. Integer milliseconds since the Unix epoch, UTC.
    created_at: i64,
    /// When it last changed. Integer milliseconds since the Unix epoch, UTC.
    updated_at: i64,
}

impl From<model::Project> for ProjectDto {
    fn from(p: model::Project) -> Self {
        Self {
            id: p.id.to_string(),
            worktree: p.worktree,
            vcs: p.vcs,
            name: p.name,
            sandboxes: p.sandboxes,
            created_at: p.created_at.millis(),
            updated_at: p.updated_at.millis(),
        }
    }
}

/// Known projects.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProjectList {
    /// The projects, by id.
    pub(crate) projects: Vec<ProjectDto>,
}
