use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sessiond_model::{ProjectId, SessionId, StatusKind, Timestamp};
use sessiond_store::{SessionCursor, SessionOrder, SessionQuery};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{located, page, tagged};
use crate::cursor::Cursor as _;
use crate::docs::{Always, BadBody, Clash, Missing, Reused, Stale};
use crate::dto::{CreateSession, PatchSession, SessionDto, SessionList, SessionPageDto};
use crate::extract::{
    At, Body, IdempotencyKey, IfMatch, IfNoneMatch, NoQuery, OptionalBody, Params, SessionPath,
    text,
};
use crate::limits::SEARCH_MAX;
use crate::problem::Problem;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_sessions, create_session))
        .routes(routes!(get_session, update_session))
        .routes(routes!(list_children))
}

/// Which sessions to list; all filters must hold.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListSessions {
    /// Only of this project.
    project_id: Option<String>,
    /// Only in exactly this directory.
    directory: Option<String>,
    /// Only with this `path` or one below it.
    path: Option<String>,
    /// Only children of this session.
    #[param(value_type = Option<String>, pattern = "^ses[A-Za-z0-9_.:-]*$", max_length = 128)]
    parent_id: Option<SessionId>,
    /// Only forks of this session, not forks of its forks.
    #[param(value_type = Option<String>, pattern = "^ses[A-Za-z0-9_.:-]*$", max_length = 128)]
    fork_of: Option<SessionId>,
    /// `true`: only sessions without a parent.
    roots: Option<bool>,
    /// Only sessions that changed at or after this time. Integer milliseconds since the Unix epoch, UTC.
    updated_since: Option<i64>,
    /// Only sessions whose title contains this text, letter case ignored; at most 1,000 characters.
    #[param(max_length = 1000)]
    search: Option<String>,
    /// `true`: only archived sessions; `false`: only others.
    archived: Option<bool>,
    /// Only sessions in one of these states: `idle`, `busy`, `error`, separated by commas.
    #[param(example = "busy,error")]
    status: Option<String>,
    /// `true`: the sessions in the trash instead of the others.
    trashed: Option<bool>,
    /// `next_cursor` of an earlier page.
    cursor: Option<String>,
    /// Number of sessions on the page, 1 to 1,000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

impl ListSessions {
    /// The query; `directory` still as it was written.
    fn checked(self) -> Result<SessionQuery, Problem> {
        text(
            "search",
            self.search.as_deref().unwrap_or_default(),
            SEARCH_MAX,
        )?;
        Ok(SessionQuery {
            project_id: self.project_id.as_deref().map(ProjectId::new),
            directory: self.directory,
            path_prefix: self.path,
            parent_id: self.parent_id,
            fork_of: self.fork_of,
            roots: self.roots.unwrap_or(false),
            updated_since: self.updated_since.map(Timestamp),
            search: self.search,
            archived: self.archived,
            status: self.status.as_deref().map(states).transpose()?,
            trashed: self.trashed.unwrap_or(false),
            after: self
                .cursor
                .as_deref()
                .map(SessionCursor::decode)
                .transpose()?,
            limit: Some(page(self.limit)?),
            order: SessionOrder::Changed,
        })
    }
}

fn states(names: &str) -> Result<Vec<StatusKind>, Problem> {
    let state = |name: &str| {
        StatusKind::from_name(name).ok_or_else(|| {
            Problem::invalid(
                "status",
                format!("Expected idle, busy or error, got {name:?}"),
            )
        })
    };
    names.split(',').map(state).collect()
}

/// List sessions
///
/// Newest change first.
#[utoipa::path(get, path = "/sessions", tag = "sessions", params(ListSessions), responses(
    (status = 200, description = "A page of sessions", body = SessionPageDto), Always,
))]
async fn list_sessions(
    State(state): State<ApiState>,
    Params(params): Params<ListSessions>,
) -> Result<Json<SessionPageDto>, Problem> {
    let mut query = params.checked()?;
    if let Some(directory) = &query.directory {
        query.directory = Some(
            state
                .engine
                .workspace(Some(directory))
                .await?
                .directory
                .clone(),
        );
    }
    let page = state.engine.sessions(&query).await?;
    Ok(Json(SessionPageDto {
        sessions: page.sessions.into_iter().map(Into::into).collect(),
        next_cursor: page.next.map(|c| c.encode()),
    }))
}

/// Create a session
///
/// With an `Idempotency-Key` a repeated request answers the session that the first one made.
#[utoipa::path(post, path = "/sessions", tag = "sessions", params(
    ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, unique per request",
        min_length = 1, max_length = 255, pattern = "^[!-~]+$"),
), request_body(content = CreateSession, description = "May be left out: a session with defaults"), responses(
    (status = 201, description = "It is created, or was by an earlier request with this key", body = SessionDto,
        headers(("Location" = String, description = "Address of the session"),
            ("ETag" = String, description = "Its revision"),
            ("Idempotency-Replayed" = String, description = "`true` when an earlier request made it"))),
    Always, BadBody, Missing, Clash, Reused,
))]
async fn create_session(
    State(state): State<ApiState>,
    _: NoQuery,
    key: IdempotencyKey,
    OptionalBody(body): OptionalBody<CreateSession>,
) -> Result<impl IntoResponse, Problem> {
    let idempotency = key.with(|| body.digest());
    let created = state
        .engine
        .create_session(body.value.checked(idempotency)?)
        .await?;
    let session: SessionDto = Arc::unwrap_or_clone(created.session).into();
    let headers = located(&format!("/sessions/{}", session.id), created.replayed);
    Ok((
        StatusCode::CREATED,
        headers,
        tagged(session.revision),
        Json(session),
    ))
}

/// Get a session
#[utoipa::path(get, path = "/sessions/{session_id}", tag = "sessions", params(
    SessionPath,
    ("If-None-Match" = Option<String>, Header, description = "Entity tags that the client has", example = "\"7\""),
), responses(
    (status = 200, description = "The session", body = SessionDto,
        headers(("ETag" = String, description = "Its revision"))),
    (status = 304, description = "The client has it already",
        headers(("ETag" = String, description = "Its revision"))),
    Always, Missing,
))]
async fn get_session(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
    known: IfNoneMatch,
) -> Result<Response, Problem> {
    let session = state.engine.session(&at.session_id).await?;
    if known.has(session.revision) {
        return Ok((StatusCode::NOT_MODIFIED, tagged(session.revision)).into_response());
    }
    Ok((tagged(session.revision), Json(SessionDto::from(session))).into_response())
}

/// Update a session
///
/// Fields that are left out stay as they are. With `If-Match` only when nothing has changed
/// since the client read it.
#[utoipa::path(patch, path = "/sessions/{session_id}", tag = "sessions", params(
    SessionPath,
    ("If-Match" = Option<String>, Header, description = "The `ETag` that must still hold, or `*`", example = "\"7\""),
), request_body = PatchSession, responses(
    (status = 200, description = "The session after it", body = SessionDto,
        headers(("ETag" = String, description = "Its revision"))),
    Always, BadBody, Missing, Clash, Stale,
))]
async fn update_session(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
    IfMatch(revision): IfMatch,
    body: Body<PatchSession>,
) -> Result<impl IntoResponse, Problem> {
    let session = state
        .engine
        .update_session(&at.session_id, body.value.checked(revision)?)
        .await?;
    Ok((
        tagged(session.revision),
        Json(SessionDto::from(Arc::unwrap_or_clone(session))),
    ))
}

/// List the sub-tasks of a session
///
/// Oldest first.
#[utoipa::path(get, path = "/sessions/{session_id}/children", tag = "sessions", params(SessionPath), responses(
    (status = 200, description = "Its children", body = SessionList), Always, Missing,
))]
async fn list_children(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
) -> Result<Json<SessionList>, Problem> {
    let sessions = state.engine.children(&at.session_id).await?;
    Ok(Json(SessionList {
        sessions: sessions.into_iter().map(Into::into).collect(),
    }))
}
