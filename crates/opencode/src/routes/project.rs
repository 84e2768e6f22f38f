//! `/project`: projects and what people say of them.

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, patch, post};
use serde_json::json;
use sessiond_model::ProjectId;

use crate::decode;
use crate::extract::{self, Payload, Reply, Selected};
use crate::state::App;
use crate::wire::ProjectDto;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/project", get(list))
        .route("/project/current", get(current))
        .route("/project/git/init", post(init_git))
        .route("/project/{projectID}", patch(update))
        .route("/project/{projectID}/directories", get(directories))
}

async fn list(State(app): State<App>) -> Reply {
    let projects = app.engine.projects().await?;
    extract::json(&projects.iter().map(ProjectDto::of).collect::<Vec<_>>())
}

async fn current(State(app): State<App>, at: Selected) -> Reply {
    let project = app.engine.project_of(at.directory.as_deref()).await?;
    extract::json(&ProjectDto::of(&project))
}

async fn update(State(app): State<App>, Path(id): Path<String>, body: Payload) -> Reply {
    let update = decode::project_update(body.0)?;
    let project = app
        .engine
        .update_project(&ProjectId::new(&id), update)
        .await?;
    extract::json(&ProjectDto::of(&project))
}

/// The worktrees that the project was seen in beside its first one; none for one that is not
/// known, as in OpenCode.
async fn directories(State(app): State<App>, Path(id): Path<String>) -> Reply {
    let known = app.engine.projects().await?;
    let project = known.iter().find(|p| p.id.as_str() == id);
    let directories: Vec<_> = project
        .into_iter()
        .flat_map(|p| &p.sandboxes)
        .map(|directory| json!({"directory": directory}))
        .collect();
    extract::json(&directories)
}

async fn init_git(State(app): State<App>, at: Selected) -> Reply {
    let project = app.engine.init_git(at.directory.as_deref()).await?;
    extract::json(&ProjectDto::of(&project))
}
