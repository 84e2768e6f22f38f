use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, delete, get, patch, post, put};

use crate::extract;
use crate::routes::{
    ask, catalog, command, event, experimental, export, file, instance, log, message, offered,
    project, prompt, revert, session, share, sync, tui, vcs,
};
use crate::state::{App, OpenCodeState};

/// The answer to `GET /global/health` at the root of the server: clients that probe for
/// OpenCode drop the prefix from the address they were given.
#[must_use]
pub fn root_health(version: &str) -> Response {
    extract::json(&instance::health_body(version)).into_response()
}

/// All endpoints, without the prefix. Authentication, CORS, compression, timeouts and the
/// limit on bodies are the server's.
pub fn router(state: OpenCodeState) -> Router {
    Router::new()
        .merge(sessions())
        .merge(asks())
        .merge(export::router())
        .merge(surroundings())
        .merge(project::router())
        .merge(tui::router())
        .merge(sync::router())
        .merge(experimental::router())
        .merge(file::router())
        .merge(vcs::router())
        .merge(crate::v2::router())
        .merge(not_offered())
        .fallback(offered::no_endpoint)
        .method_not_allowed_fallback(offered::no_method)
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::new(state))
}

fn sessions() -> Router<App> {
    let part = "/session/{sessionID}/message/{messageID}/part/{partID}";
    Router::new()
        .route("/session", get(session::list).post(session::create))
        .route("/session/status", get(session::status))
        .route(
            "/session/{sessionID}",
            get(session::get)
                .patch(session::update)
                .delete(session::delete),
        )
        .route("/session/{sessionID}/children", get(session::children))
        .route("/session/{sessionID}/todo", get(session::todo))
        .route("/session/{sessionID}/diff", get(revert::diff))
        .route("/session/{sessionID}/revert", post(revert::revert))
        .route("/session/{sessionID}/unrevert", post(revert::unrevert))
        .route("/session/{sessionID}/abort", post(session::abort))
        .route("/session/{sessionID}/fork", post(session::fork))
        .route(
            "/session/{sessionID}/share",
            post(share::share).delete(share::unshare),
        )
        .route(
            "/session/{sessionID}/message",
            get(message::list).post(prompt::prompt),
        )
        .route(
            "/session/{sessionID}/prompt_async",
            post(prompt::prompt_async),
        )
        .route("/session/{sessionID}/command", post(command::command))
        .route("/session/{sessionID}/init", post(command::init))
        .route("/session/{sessionID}/shell", post(command::shell))
        .route("/session/{sessionID}/summarize", post(command::summarize))
        .route(
            "/session/{sessionID}/message/{messageID}",
            get(message::get).delete(message::delete),
        )
        .route(part, patch(message::put_part).delete(message::delete_part))
}

fn asks() -> Router<App> {
    Router::new()
        .route("/permission", get(ask::permissions))
        .route("/permission/{requestID}/reply", post(ask::reply_permission))
        .route(
            "/session/{sessionID}/permissions/{permissionID}",
            post(ask::respond_permission),
        )
        .route("/question", get(ask::questions))
        .route("/question/{requestID}/reply", post(ask::reply_question))
        .route("/question/{requestID}/reject", post(ask::reject_question))
}

fn surroundings() -> Router<App> {
    Router::new()
        .route("/instance/dispose", post(instance::dispose))
        .route("/global/dispose", post(instance::dispose_all))
        .route("/log", post(log::write))
        .route("/event", get(event::directory))
        .route("/global/event", get(event::global))
        .route("/global/health", get(instance::health))
        .route(
            "/global/config",
            get(catalog::config).patch(catalog::change_config),
        )
        .route(
            "/config",
            get(catalog::config).patch(catalog::change_config),
        )
        .route("/config/providers", get(catalog::config_providers))
        .route("/provider", get(catalog::providers))
        .route("/provider/auth", get(instance::none_mapped))
        .route("/agent", get(catalog::agents))
        .route("/path", get(instance::path))
        .route("/command", get(command::list))
        .route("/skill", get(instance::none_listed))
        .route("/lsp", get(instance::none_listed))
        .route("/formatter", get(instance::none_listed))
        .route(
            "/mcp",
            get(instance::none_mapped).post(offered::not_offered),
        )
}

/// Endpoints of OpenCode that sessiond has not.
fn not_offered() -> Router<App> {
    let posts = [
        "/experimental/control-plane/move-session",
        "/experimental/console/switch",
        "/experimental/worktree/reset",
        "/experimental/workspace/sync-list",
        "/experimental/workspace/warp",
        "/global/upgrade",
        "/provider/{providerID}/oauth/authorize",
        "/provider/{providerID}/oauth/callback",
    ];
    let gets = ["/doc", "/experimental/tool", "/experimental/tool/ids"];
    let trees = [
        "/experimental/project/{*rest}",
        "/mcp/{*rest}",
        "/pty/{*rest}",
    ];
    let router = Router::new()
        .route(
            "/auth/{providerID}",
            put(offered::not_offered).delete(offered::not_offered),
        )
        .route("/pty", get(offered::not_offered).post(offered::not_offered))
        .route("/experimental/workspace/{id}", delete(offered::not_offered));
    let router = posts
        .into_iter()
        .fold(router, |r, path| r.route(path, post(offered::not_offered)));
    let router = gets
        .into_iter()
        .fold(router, |r, path| r.route(path, get(offered::not_offered)));
    trees
        .into_iter()
        .fold(router, |r, path| r.route(path, any(offered::not_offered)))
}
