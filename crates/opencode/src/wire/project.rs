use serde::Serialize;
use sessiond_model::{Project, ProjectCommands, ProjectIcon, Session, Timestamp};

use super::SessionDto;

/// A project.
#[derive(Debug, Serialize)]
pub(crate) struct ProjectDto<'a> {
    id: &'a str,
    worktree: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vcs: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon: Option<&'a ProjectIcon>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commands: Option<&'a ProjectCommands>,
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
            icon: p.icon.as_ref(),
            commands: p.commands.as_ref(),
            time: Times {
                created: p.created_at,
                updated: p.updated_at,
            },
            sandboxes: &p.sandboxes,
        }
    }
}

/// A session with its project, as lists over all projects have it.
#[derive(Debug, Serialize)]
pub(crate) struct GlobalSessionDto<'a> {
    #[serde(flatten)]
    session: SessionDto<'a>,
    project: Option<ProjectSummary<'a>>,
}

#[derive(Debug, Serialize)]
struct ProjectSummary<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    worktree: &'a str,
}

impl<'a> GlobalSessionDto<'a> {
    pub(crate) fn of(session: &'a Session, project: Option<&'a Project>) -> Self {
        Self {
            session: SessionDto::of(session),
            project: project.map(|p| ProjectSummary {
                id: p.id.as_str(),
                name: p.name.as_deref(),
                worktree: &p.worktree,
            }),
        }
    }
}
