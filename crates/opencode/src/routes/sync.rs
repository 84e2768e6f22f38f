//! `/sync/*`: the events that OpenCode keeps, for those who keep a copy of them.

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use serde_json::json;

use super::offered;
use crate::decode::{self, Kind, Reject};
use crate::error::ApiError;
use crate::events;
use crate::extract::{self, Payload, Reply, Selected};
use crate::state::App;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/sync/history", post(history))
        .route("/sync/replay", post(replay))
        .route("/sync/steal", post(steal))
        .route("/sync/start", post(offered::not_offered))
}

async fn history(State(app): State<App>, _: Selected, body: Payload) -> Reply {
    events::history(&app, decode::known_events(body.0)?).await
}

/// Applies events of a session that was kept elsewhere.
async fn replay(State(app): State<App>, _: Selected, body: Payload) -> Reply {
    let replay = decode::replay(body.0)?;
    let session = replay.session_id.clone();
    app.engine.replay(replay).await?;
    extract::json(&json!({"sessionID": session}))
}

/// Takes a session over into the workspace of the request: there are no workspaces.
async fn steal(_: Selected, body: Payload) -> Result<(), ApiError> {
    decode::steal(body.0)?;
    let reason = "Expected a workspace: sessiond has none";
    Err(ApiError::RejectedRaw(Reject::new(Kind::Payload, reason)))
}
