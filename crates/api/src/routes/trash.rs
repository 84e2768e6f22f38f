use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::tagged;
use crate::docs::{Always, Clash, Missing};
use crate::dto::{DeleteReply, SessionDto};
use crate::extract::{At, NoQuery, SessionPath};
use crate::problem::Problem;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(delete_session))
        .routes(routes!(restore_session))
}

/// Delete a session
///
/// Moves it and all its descendants to the trash; running turns are aborted first.
#[utoipa::path(delete, path = "/sessions/{session_id}", tag = "sessions", params(SessionPath), responses(
    (status = 200, description = "What was moved to the trash", body = DeleteReply), Always, Missing,
))]
async fn delete_session(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
) -> Result<Json<DeleteReply>, Problem> {
    let deleted = state.engine.delete_session(&at.session_id).await?;
    Ok(Json(DeleteReply {
        deleted: deleted.iter().map(ToString::to_string).collect(),
    }))
}

/// Take a session out of the trash
///
/// Only the session itself; its children stay there until they are restored too.
#[utoipa::path(post, path = "/sessions/{session_id}/restore", tag = "sessions", params(SessionPath), responses(
    (status = 200, description = "The session", body = SessionDto,
        headers(("ETag" = String, description = "Its revision"))),
    Always, Missing, Clash,
))]
async fn restore_session(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
) -> Result<impl IntoResponse, Problem> {
    let session = state.engine.restore_session(&at.session_id).await?;
    Ok((
        tagged(session.revision),
        Json(SessionDto::from(Arc::unwrap_or_clone(session))),
    ))
}
