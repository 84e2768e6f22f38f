use axum::Json;
use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::docs::Always;
use crate::dto::{NodeDto, NodeList};
use crate::extract::NoQuery;
use crate::problem::Problem;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_nodes))
}

/// List the nodes that share the store
///
/// Living nodes, and of each name that has none the newest of the last day, by name. Empty where one
/// process keeps the store for itself (SQLite).
#[utoipa::path(get, path = "/nodes", tag = "nodes", responses(
    (status = 200, description = "The nodes", body = NodeList), Always,
))]
async fn list_nodes(State(state): State<ApiState>, _: NoQuery) -> Result<Json<NodeList>, Problem> {
    let me = state.engine.node().map(|node| node.number);
    let mut nodes = state.engine.nodes().await?;
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let nodes = nodes.into_iter();
    Ok(Json(NodeList {
        nodes: nodes.map(|node| NodeDto::new(node, me)).collect(),
    }))
}
