use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{page, tagged};
use crate::cursor::{Cursor as _, ShareCursor};
use crate::docs::{Always, BadBody, Missing, Off};
use crate::dto::{SessionDto, ShareBody, ShareDto, SharePageDto, SharePreviewDto};
use crate::extract::{At, NoQuery, OptionalBody, Params, SessionPath};
use crate::problem::Problem;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_shares))
        .routes(routes!(share_session, get_share, end_share))
        .routes(routes!(preview_share))
}

/// Which shares to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListShares {
    /// `next_cursor` of an earlier page.
    cursor: Option<String>,
    /// Number of shares on the page, 1 to 1,000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// List shares
///
/// The newest session first; sessions in the trash are left out, expired shares are not.
#[utoipa::path(get, path = "/shares", tag = "shares", params(ListShares), responses(
    (status = 200, description = "A page of shares", body = SharePageDto), Always,
))]
async fn list_shares(
    State(state): State<ApiState>,
    Params(params): Params<ListShares>,
) -> Result<Json<SharePageDto>, Problem> {
    let limit = page(params.limit)?;
    let after = params.cursor.as_deref().map(ShareCursor::decode);
    let after = after.transpose()?.map(|ShareCursor(id)| id);
    let (shares, more) = state.engine.shares(after, limit).await?;
    let last = shares.last().filter(|_| more);
    Ok(Json(SharePageDto {
        next_cursor: last.map(|s| ShareCursor(s.session.id.clone()).encode()),
        shares: shares.into_iter().map(Into::into).collect(),
    }))
}

/// Share a session
///
/// Makes a link that shows the session, without secrets as far as they are recognised, to
/// whoever has it. A session that is shared keeps its link; what the body says is changed.
#[utoipa::path(post, path = "/sessions/{session_id}/share", tag = "shares", params(SessionPath),
    request_body(content = ShareBody, description = "May be left out: live, and without an end"), responses(
    (status = 200, description = "The share", body = ShareDto), Always, BadBody, Missing, Off,
))]
async fn share_session(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
    OptionalBody(body): OptionalBody<ShareBody>,
) -> Result<Json<ShareDto>, Problem> {
    let options = body.value.checked()?;
    let shared = state.engine.share(&at.session_id, &options).await?;
    Ok(Json(shared.into()))
}

/// Get the share of a session
#[utoipa::path(get, path = "/sessions/{session_id}/share", tag = "shares", params(SessionPath), responses(
    (status = 200, description = "The share", body = ShareDto), Always, Missing,
))]
async fn get_share(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
) -> Result<Json<ShareDto>, Problem> {
    Ok(Json(state.engine.share_of(&at.session_id).await?.into()))
}

/// End the share of a session
///
/// Its link leads nowhere from now on. A session that is not shared stays so.
#[utoipa::path(delete, path = "/sessions/{session_id}/share", tag = "shares", params(SessionPath), responses(
    (status = 200, description = "The session after it", body = SessionDto,
        headers(("ETag" = String, description = "Its revision"))),
    Always, Missing,
))]
async fn end_share(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
) -> Result<impl IntoResponse, Problem> {
    let session = state.engine.unshare(&at.session_id).await?;
    Ok((
        tagged(session.revision),
        Json(SessionDto::from(Arc::unwrap_or_clone(session))),
    ))
}

/// Preview what a share takes out
///
/// Reads the whole session and tells which home directories, keys, tokens and passwords would
/// not be shown. What is not in this list is shown.
#[utoipa::path(get, path = "/sessions/{session_id}/share/preview", tag = "shares", params(SessionPath), responses(
    (status = 200, description = "What would be taken out", body = SharePreviewDto), Always, Missing,
))]
async fn preview_share(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
) -> Result<Json<SharePreviewDto>, Problem> {
    Ok(Json(
        state.engine.share_preview(&at.session_id).await?.into(),
    ))
}
