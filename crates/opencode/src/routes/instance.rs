//! The server, its directories and projects.

use axum::extract::State;
use serde_json::{Value, json};

use crate::extract::{self, Reply, Selected};
use crate::state::App;

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

/// Lists of what there is none of: language servers, formatters, skills, slash commands
/// (an agent's own are typed into the prompt), workspaces.
pub(crate) async fn none_listed(_: Selected) -> Reply {
    extract::json(&[(); 0])
}

/// Maps of what there is none of: MCP servers and resources of the server, log-ins.
pub(crate) async fn none_mapped(_: Selected) -> Reply {
    extract::json(&json!({}))
}

/// Drops what is only remembered of a directory. Sessions, and agents that work, go on.
pub(crate) async fn dispose(State(app): State<App>, at: Selected) -> Reply {
    app.engine.drop_directory(at.directory.as_deref()).await?;
    extract::json(&true)
}

/// The same for all directories.
pub(crate) async fn dispose_all(State(app): State<App>) -> Reply {
    app.engine.drop_directories();
    extract::json(&true)
}
