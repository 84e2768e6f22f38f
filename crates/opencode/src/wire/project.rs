use serde::Serialize;
use sessiond_model::{Project, Timestamp};

/// A project.
#[derive(Debug, Serialize)]
pub(crate) struct ProjectDto<'a> {
    id: &'a str,
    worktree: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vcs: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    time: Times,
    sandboxes: &'a [String],
}

#[derive(Debug, Serialize)]
struct Times {
    created: Timestamp,
    updated: Timestamp,
}

impl<'a> ProjectDto<'a> {
    pub(crate) fn of(p: &'a Project) -> Self {
        Self {
            id: p.id.as_str(),
            worktree: &p.worktree,
            vcs: p.vcs.as_deref(),
            name: p.name.as_deref(),
            time: Times {
                created: p.created_at,
                updated: p.updated_at,
            },
            sandboxes: &p.sandboxes,
        }
    }
}
