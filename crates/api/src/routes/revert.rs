use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Deserialize;
use sessiond_model::MessageId;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::tagged;
use crate::docs::{Always, BadBody, Clash, Missing};
use crate::dto::{ChangeList, RevertBody, RevertReply};
use crate::extract::{At, Body, NoQuery, Params, SessionPath};
use crate::problem::Problem;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(revert))
        .routes(routes!(unrevert))
        .routes(routes!(session_diff))
}

/// Revert a session
///
/// Goes back to before a message. Its files go back too: each that only this session wrote since
/// becomes what it was; one that somebody else changed is left alone and reported. The messages
/// stay until the next prompt, which removes them; until then `unrevert` takes all of it back.
/// 409 with type `not-captured` when files may have been written that were not captured: nothing
/// was done then; `force` reverts all the same.
#[utoipa::path(post, path = "/sessions/{session_id}/revert", tag = "sessions", params(SessionPath),
    request_body = RevertBody, responses(
    (status = 200, description = "What was done", body = RevertReply,
        headers(("ETag" = String, description = "The session's revision"))),
    Always, BadBody, Missing, Clash,
))]
async fn revert(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
    body: Body<RevertBody>,
) -> Result<impl IntoResponse, Problem> {
    let reverted = state
        .engine
        .revert(&at.session_id, body.value.into())
        .await?;
    let tag = tagged(reverted.session.revision);
    Ok((tag, Json(RevertReply::from(reverted))))
}

/// Take a revert back
///
/// The messages are visible again, and the files are, byte for byte, what they were before the
/// revert, but for those that somebody wrote to since. Of a session that is not reverted nothing
/// changes.
#[utoipa::path(post, path = "/sessions/{session_id}/unrevert", tag = "sessions", params(SessionPath), responses(
    (status = 200, description = "What was done", body = RevertReply,
        headers(("ETag" = String, description = "The session's revision"))),
    Always, Missing, Clash,
))]
async fn unrevert(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
) -> Result<impl IntoResponse, Problem> {
    let reverted = state.engine.unrevert(&at.session_id).await?;
    let tag = tagged(reverted.session.revision);
    Ok((tag, Json(RevertReply::from(reverted))))
}

/// Which changes.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DiffParams {
    /// Only those of the turn that this prompt started.
    #[param(value_type = Option<String>, pattern = "^msg[A-Za-z0-9_.:-]*$", max_length = 128)]
    message_id: Option<MessageId>,
}

/// Get what a session changed
///
/// Each file once, from before its first turn to after its last. What a revert hides is left out,
/// and so is what people or other sessions wrote meanwhile.
#[utoipa::path(get, path = "/sessions/{session_id}/diff", tag = "sessions", params(SessionPath, DiffParams), responses(
    (status = 200, description = "The changed files", body = ChangeList), Always, Missing,
))]
async fn session_diff(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    Params(params): Params<DiffParams>,
) -> Result<Json<ChangeList>, Problem> {
    let message = params.message_id.as_ref();
    let changes = state.engine.diff(&at.session_id, message).await?;
    Ok(Json(ChangeList {
        changes: changes.into_iter().map(Into::into).collect(),
    }))
}
