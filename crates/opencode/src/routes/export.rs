//! `/session/{id}/export`: a session to take elsewhere. OpenCode has it as a command only.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::IntoResponse as _;
use axum::routing::get;

use crate::extract::{InSession, Reply};
use crate::state::App;

pub(crate) fn router() -> Router<App> {
    Router::new().route("/session/{sessionID}/export", get(export))
}

/// Rendered as it is read: memory does not grow with the session.
async fn export(State(app): State<App>, InSession(id): InSession) -> Reply {
    let found = app.engine.export(&id).await?;
    let text = sessiond_port::export(&found.session, &found.todos, found.pages);
    let mut response = Body::from_stream(text).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // Ids have only characters that a header may have.
    if let Ok(name) = HeaderValue::try_from(sessiond_port::disposition(&id)) {
        headers.insert(CONTENT_DISPOSITION, name);
    }
    Ok(response)
}
