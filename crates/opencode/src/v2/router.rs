use axum::Router;
use axum::routing::{any, delete, get, patch, post};

use super::routes::{ask, event, fs, message, place, prompt, revert, session};
use crate::routes::offered;
use crate::state::App;

/// `/api/*`, without the parts of it that have a module of their own.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .merge(sessions())
        .merge(asks())
        .merge(places())
        .merge(not_offered())
        .route("/api/event", get(event::all))
}

fn sessions() -> Router<App> {
    Router::new()
        .route("/api/session", get(session::list).post(session::create))
        .route("/api/session/active", get(session::active))
        .route("/api/session/{sessionID}", get(session::get))
        .route("/api/session/{sessionID}/agent", post(session::agent))
        .route("/api/session/{sessionID}/model", post(session::model))
        .route("/api/session/{sessionID}/prompt", post(prompt::prompt))
        .route(
            "/api/session/{sessionID}/interrupt",
            post(session::interrupt),
        )
        .route("/api/session/{sessionID}/wait", post(session::wait))
        .route("/api/session/{sessionID}/compact", post(session::compact))
        .route("/api/session/{sessionID}/message", get(message::list))
        .route(
            "/api/session/{sessionID}/message/{messageID}",
            get(message::get),
        )
        .route("/api/session/{sessionID}/context", get(message::context))
        .route("/api/session/{sessionID}/history", get(message::history))
        .route("/api/session/{sessionID}/event", get(event::of_session))
        .route("/api/session/{sessionID}/revert/stage", post(revert::stage))
        .route("/api/session/{sessionID}/revert/clear", post(revert::clear))
        .route(
            "/api/session/{sessionID}/revert/commit",
            post(revert::commit),
        )
}

fn asks() -> Router<App> {
    let permission = "/api/session/{sessionID}/permission/{requestID}";
    let question = "/api/session/{sessionID}/question/{requestID}";
    Router::new()
        .route("/api/permission/request", get(ask::permissions_here))
        .route("/api/permission/saved", get(ask::saved_permissions))
        .route(
            "/api/session/{sessionID}/permission",
            get(ask::permissions).post(offered::not_offered),
        )
        .route(permission, get(ask::permission))
        .route(&format!("{permission}/reply"), post(ask::reply_permission))
        .route("/api/question/request", get(ask::questions_here))
        .route("/api/session/{sessionID}/question", get(ask::questions))
        .route(&format!("{question}/reply"), post(ask::reply_question))
        .route(&format!("{question}/reject"), post(ask::reject_question))
}

fn places() -> Router<App> {
    Router::new()
        .route("/api/health", get(place::health))
        .route("/api/location", get(place::location))
        .route("/api/agent", get(place::agents))
        .route("/api/model", get(place::models))
        .route("/api/provider", get(place::providers))
        .route("/api/provider/{providerID}", get(place::provider))
        .route("/api/command", get(place::commands))
        .route("/api/skill", get(place::none_listed))
        .route("/api/reference", get(place::none_listed))
        .route("/api/fs/find", get(fs::find))
        .route("/api/fs/list", get(fs::list))
        .route("/api/fs/read/{*path}", get(fs::read))
        .route("/api/integration", get(place::none_listed))
        .route(
            "/api/integration/{integrationID}",
            get(place::no_integration),
        )
}

/// What of OpenCode sessiond has not.
fn not_offered() -> Router<App> {
    let integration = "/api/integration/{integrationID}";
    Router::new()
        .route("/api/permission/saved/{id}", delete(offered::not_offered))
        .route(
            &format!("{integration}/connect/{{method}}"),
            post(offered::not_offered),
        )
        .route(
            "/api/integration/attempt/{*rest}",
            any(offered::not_offered),
        )
        .route(
            "/api/credential/{credentialID}",
            patch(offered::not_offered).delete(offered::not_offered),
        )
        .route("/api/pty", any(offered::not_offered))
        .route("/api/pty/{*rest}", any(offered::not_offered))
}
