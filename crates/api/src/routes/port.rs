use axum::Json;
use axum::body::Body as Bytes;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sessiond_port as port;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::docs::{Always, BadBody, Clash, Missing};
use crate::dto::{ImportBody, ImportOutline, ImportPlan, ImportReply, PortFormat};
use crate::extract::{At, Body, NoQuery, Params, SessionPath};
use crate::problem::Problem;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(export_session))
        .routes(routes!(plan_import))
        .routes(routes!(import_session))
}

/// How to export.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExportParams {
    /// The form: that of `opencode export`, which `opencode import` reads.
    #[serde(default)]
    #[param(inline, default = "opencode")]
    format: PortFormat,
}

/// Export a session
///
/// All of it, the oldest messages first, as it is read: memory does not grow with its size. An
/// answer that is cut off is not valid JSON. Sub-tasks are sessions of their own.
#[utoipa::path(get, path = "/sessions/{session_id}/export", tag = "sessions", params(SessionPath, ExportParams),
    responses(
    (status = 200, description = "`info`, `messages` and `todos`", body = Object,
        headers(("Content-Disposition" = String, description = "A name for the file"))),
    Always, Missing,
))]
async fn export_session(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    Params(params): Params<ExportParams>,
) -> Result<Response, Problem> {
    let PortFormat::Opencode = params.format;
    let found = state.engine.export(&at.session_id).await?;
    let text = port::export(&found.session, &found.todos, found.pages);
    let mut response = Bytes::from_stream(text).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Ids have only characters that a header may have.
    if let Ok(name) = HeaderValue::try_from(port::disposition(&at.session_id)) {
        headers.insert(CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// Plan an import
///
/// Says what to send of a session that comes from elsewhere. Nothing is changed. What went on here
/// since it was imported is never overwritten: where it went on in both places, it is refused.
#[utoipa::path(post, path = "/imports/plan", tag = "sessions", request_body = ImportOutline, responses(
    (status = 200, description = "What to do", body = ImportPlan), Always, BadBody,
))]
async fn plan_import(
    State(state): State<ApiState>,
    _: NoQuery,
    body: Body<ImportOutline>,
) -> Result<Json<ImportPlan>, Problem> {
    let (session, outline) = body.value.checked();
    let plan = state.engine.import_plan(&session, &outline).await?;
    Ok(Json(ImportPlan::of(plan, outline.len())))
}

/// Import a session
///
/// Whole, or a batch of it: ask for a plan first, then send the messages from `first` on in their
/// order, with `more` on every batch but the last. Ids, order and times stay as they are; what is here
/// already is left as it is, so that a batch may be sent again. What was not finished is closed.
#[utoipa::path(post, path = "/imports", tag = "sessions", request_body = ImportBody, responses(
    (status = 200, description = "What it did, on disk", body = ImportReply), Always, BadBody, Clash,
))]
async fn import_session(
    State(state): State<ApiState>,
    _: NoQuery,
    body: Body<ImportBody>,
) -> Result<Json<ImportReply>, Problem> {
    let (batch, reply) = body.value.read()?.split();
    let done = state.engine.import(batch).await?;
    Ok(Json(ImportReply::of(reply, done)))
}
