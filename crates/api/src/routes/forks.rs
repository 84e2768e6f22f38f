use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{located, tagged};
use crate::docs::{Always, BadBody, Clash, Missing, Reused};
use crate::dto::{ForkBody, SessionDto, TreeReply};
use crate::extract::{At, IdempotencyKey, NoQuery, OptionalBody, SessionPath};
use crate::problem::Problem;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(fork_session))
        .routes(routes!(session_tree))
}

/// Fork a session
///
/// A new session with copies of the messages before `before_message_id`, of all when that is
/// left out, and of the turns behind them. Of a busy session it takes what has ended, of a
/// reverted one what can be seen. Its agent remembers what was copied and nothing after it.
/// With an `Idempotency-Key` a repeated request answers the fork that the first one made.
#[utoipa::path(post, path = "/sessions/{session_id}/fork", tag = "sessions", params(
    SessionPath,
    ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, unique per request",
        min_length = 1, max_length = 255, pattern = "^[!-~]+$"),
), request_body(content = ForkBody, description = "May be left out: a fork of all"), responses(
    (status = 201, description = "The fork, made now or by an earlier request with this key", body = SessionDto,
        headers(("Location" = String, description = "Address of the fork"),
            ("ETag" = String, description = "Its revision"),
            ("Idempotency-Replayed" = String, description = "`true` when an earlier request made it"))),
    Always, BadBody, Missing, Clash, Reused,
))]
async fn fork_session(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
    key: IdempotencyKey,
    OptionalBody(body): OptionalBody<ForkBody>,
) -> Result<impl IntoResponse, Problem> {
    // The same body forks every session: the key is for this one.
    let idempotency = key.with(|| format!("{}:{}", at.session_id, body.digest()));
    let options = body.value.checked(idempotency)?;
    let forked = state.engine.fork_session(&at.session_id, options).await?;
    let session: SessionDto = Arc::unwrap_or_clone(forked.session).into();
    let headers = located(&format!("/sessions/{}", session.id), forked.replayed);
    Ok((
        StatusCode::CREATED,
        headers,
        tagged(session.revision),
        Json(session),
    ))
}

/// Get the tree of a session
///
/// From its topmost ancestor on: all sub-tasks and forks, depth first, the oldest first; at
/// most 1,000. Sessions in the trash are not in it.
#[utoipa::path(get, path = "/sessions/{session_id}/tree", tag = "sessions", params(SessionPath), responses(
    (status = 200, description = "Its tree", body = TreeReply), Always, Missing,
))]
async fn session_tree(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
) -> Result<Json<TreeReply>, Problem> {
    Ok(Json(
        state.engine.session_tree(&at.session_id).await?.into(),
    ))
}
