//! The server, its directories and projects.

use axum::extract::State;
use serde_json::{Value, json};

use crate::extract::{self, Reply, Selected};
use crate::state::App;
use crate::wire::ProjectDto;

pub(crate) async fn health(State(app): State<App>) -> Reply {
    extract::json(&health_body(&app.version))
}

pub(crate) fn health_body(version: &str) -> Value {
    json!({"healthy": true, "version": version})
}

pub(crate) async fn path(State(app): State<App>, at: Selected) -> Reply {
    let workspace = app.engine.workspace(at.directory.as_deref()).await?;
    extract::json(&json!({
        "home": app.paths.home, "state": app.paths.state, "config": app.paths.config,
        "worktree": workspace.worktree, "directory": workspace.directory,
    }))
}

pub(crate) async fn vcs(State(app): State<App>, at: Selected) -> Reply {
    let workspace = app.engine.workspace(at.directory.as_deref()).await?;
    extract::json(&match &workspace.branch {
        Some(branch) => json!({"branch": branch}),
        None => json!({}),
    })
}

pub(crate) async fn projects(State(app): State<App>) -> Reply {
    let projects = app.engine.projects().await?;
    extract::json(&projects.iter().map(ProjectDto::of).collect::<Vec<_>>())
}

pub(crate) async fn current_project(State(app): State<App>, at: Selected) -> Reply {
    let workspace = app.engine.workspace(at.directory.as_deref()).await?;
    extract::json(&ProjectDto::of(&workspace.project))
}

/// Linked copies that OpenCode made of a project: sessiond makes none.
pub(crate) async fn project_directories() -> Reply {
    extract::json(&[(); 0])
}

/// Lists of what there is none of: language servers, formatters, skills, slash commands
/// (an agent's own are typed into the prompt), workspaces.
pub(crate) async fn none_listed(_: Selected) -> Reply {
    extract::json(&[(); 0])
}

/// Maps of what there is none of: MCP servers and resources of the server, log-ins.
pub(crate) async fn none_mapped(_: Selected) -> Reply {
    extract::json(&json!({}))
}

pub(crate) async fn capabilities() -> Reply {
    extract::json(&json!({"backgroundSubagents": false}))
}

pub(crate) async fn console() -> Reply {
    extract::json(&json!({"consoleManagedProviders": [], "switchableOrgCount": 0}))
}
