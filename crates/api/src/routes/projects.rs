use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::docs::{Always, Missing};
use crate::dto::{ProjectDto, ProjectList};
use crate::extract::{At, NoQuery, ProjectPath};
use crate::problem::Problem;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_projects))
        .routes(routes!(get_project))
}

/// List projects
///
/// Those that have sessions, by id.
#[utoipa::path(get, path = "/projects", tag = "projects", responses(
    (status = 200, description = "The projects", body = ProjectList), Always,
))]
async fn list_projects(
    State(state): State<ApiState>,
    _: NoQuery,
) -> Result<Json<ProjectList>, Problem> {
    let projects = state.engine.projects().await?;
    Ok(Json(ProjectList {
        projects: projects.into_iter().map(Into::into).collect(),
    }))
}

/// Get a project
#[utoipa::path(get, path = "/projects/{project_id}", tag = "projects", params(ProjectPath), responses(
    (status = 200, description = "The project", body = ProjectDto), Always, Missing,
))]
async fn get_project(
    State(state): State<ApiState>,
    At(at): At<ProjectPath>,
    _: NoQuery,
) -> Result<Json<ProjectDto>, Problem> {
    Ok(Json(state.engine.project(&at.project_id).await?.into()))
}
