use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Deserialize;
use sessiond_store::{SessionCursor, SessionQuery};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{page, tagged};
use crate::cursor::Cursor as _;
use crate::docs::{Always, Clash, Missing};
use crate::dto::{DeleteReply, EmptiedReply, PurgeReply, SessionDto, TrashPage, Trashed};
use crate::extract::{At, NoQuery, Params, SessionPath};
use crate::problem::Problem;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(delete_session))
        .routes(routes!(restore_session))
        .routes(routes!(list_trash, empty_trash))
        .routes(routes!(purge_session))
}

/// Delete a session
///
/// Moves it and all its descendants to the trash; running turns are aborted first, shares stop
/// to work. With `trash_days = 0` in the configuration they are purged at once.
#[utoipa::path(delete, path = "/sessions/{session_id}", tag = "sessions", params(SessionPath), responses(
    (status = 200, description = "What was moved to the trash", body = DeleteReply), Always, Missing, Clash,
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
/// With the descendants that were deleted with it. Its parent must not be in the trash.
#[utoipa::path(post, path = "/sessions/{session_id}/restore", tag = "trash", params(SessionPath), responses(
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

/// Which part of the trash to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListTrash {
    /// `next_cursor` of an earlier page.
    cursor: Option<String>,
    /// Number of sessions on the page, 1 to 1,000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// List the trash
///
/// Newest change first, with the time at which each session is purged.
#[utoipa::path(get, path = "/trash", tag = "trash", params(ListTrash), responses(
    (status = 200, description = "A page of the trash", body = TrashPage), Always,
))]
async fn list_trash(
    State(state): State<ApiState>,
    Params(params): Params<ListTrash>,
) -> Result<Json<TrashPage>, Problem> {
    let after = params.cursor.as_deref().map(SessionCursor::decode);
    let query = SessionQuery {
        trashed: true,
        after: after.transpose()?,
        limit: Some(page(params.limit)?),
        ..SessionQuery::default()
    };
    let term = state.engine.config().trash_term;
    let page = state.engine.sessions(&query).await?;
    let sessions = page.sessions.into_iter();
    Ok(Json(TrashPage {
        sessions: sessions.map(|s| Trashed::new(s, term)).collect(),
        next_cursor: page.next.map(|c| c.encode()),
    }))
}

/// Empty the trash
///
/// Purges all sessions in it: nothing of them can be restored, and not a byte stays.
#[utoipa::path(delete, path = "/trash", tag = "trash", responses(
    (status = 200, description = "How many sessions were purged", body = EmptiedReply), Always,
))]
async fn empty_trash(
    State(state): State<ApiState>,
    _: NoQuery,
) -> Result<Json<EmptiedReply>, Problem> {
    let purged = state.engine.empty_trash().await?;
    Ok(Json(EmptiedReply { purged }))
}

/// Purge a session
///
/// Removes everything of a session in the trash, and of its descendants there, for good.
#[utoipa::path(delete, path = "/trash/{session_id}", tag = "trash", params(SessionPath), responses(
    (status = 200, description = "What was purged", body = PurgeReply), Always, Missing,
))]
async fn purge_session(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
) -> Result<Json<PurgeReply>, Problem> {
    let purged = state.engine.purge_session(&at.session_id).await?;
    Ok(Json(PurgeReply {
        purged: purged.iter().map(ToString::to_string).collect(),
    }))
}
