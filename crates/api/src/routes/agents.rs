use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::docs::{Always, Missing};
use crate::dto::{AgentList, BindingReply};
use crate::extract::{At, NoQuery, SessionPath};
use crate::problem::Problem;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_agents))
        .routes(routes!(get_binding))
}

/// List the coding agents
///
/// All agents of the catalogue, the default one first, with the reason where one can't be used.
#[utoipa::path(get, path = "/agents", tag = "agents", responses(
    (status = 200, description = "The agents", body = AgentList), Always,
))]
async fn list_agents(
    State(state): State<ApiState>,
    _: NoQuery,
) -> Result<Json<AgentList>, Problem> {
    let agents = state.engine.agents().await?;
    Ok(Json(AgentList {
        agents: agents.into_iter().map(Into::into).collect(),
    }))
}

/// Get the agent binding of a session
///
/// Which live agent session serves it, how the agent got its memory, and why not in a better way.
#[utoipa::path(get, path = "/sessions/{session_id}/binding", tag = "agents", params(SessionPath), responses(
    (status = 200, description = "The binding, `null` before the first turn", body = BindingReply), Always, Missing,
))]
async fn get_binding(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
) -> Result<Json<BindingReply>, Problem> {
    let binding = state.engine.binding(&at.session_id).await?;
    Ok(Json(BindingReply {
        binding: binding.map(Into::into),
    }))
}
