//! The operations, one file per group.

mod agents;
mod asks;
mod commands;
mod document;
mod events;
mod forks;
mod messages;
mod nodes;
mod port;
mod projects;
mod revert;
mod sessions;
mod shares;
mod trash;
mod turns;

use axum::Json;
use axum::http::header::{ETAG, LOCATION};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sessiond_engine::Accepted;
use sessiond_model::SessionId;
use utoipa_axum::router::OpenApiRouter;

use crate::docs::BASE;
use crate::dto::PromptReply;
use crate::extract::{etag, in_range};
use crate::limits::{PAGE_DEFAULT, PAGE_MAX};
use crate::problem::Problem;
use crate::state::ApiState;

/// Says that the answer is that of an earlier request with the same key or id.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// All operations with their documentation.
pub(crate) fn all() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .merge(sessions::routes())
        .merge(forks::routes())
        .merge(shares::routes())
        .merge(port::routes())
        .merge(trash::routes())
        .merge(revert::routes())
        .merge(messages::routes())
        .merge(turns::routes())
        .merge(commands::routes())
        .merge(asks::routes())
        .merge(events::routes())
        .merge(agents::routes())
        .merge(nodes::routes())
        .merge(projects::routes())
        .merge(document::routes())
}

/// The number of items that a page is asked for.
fn page(limit: Option<u32>) -> Result<u32, Problem> {
    in_range("limit", limit.unwrap_or(PAGE_DEFAULT), 1, PAGE_MAX)
}

fn tagged(revision: u64) -> [(HeaderName, HeaderValue); 1] {
    [(ETAG, etag(revision))]
}

/// `Location` of something new, and whether it is new at all.
fn located(path: &str, replayed: bool) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // Ids have only characters that a header may have.
    if let Ok(location) = HeaderValue::try_from(format!("{BASE}{path}")) {
        headers.insert(LOCATION, location);
    }
    if replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    headers
}

/// The answer to a request for a turn.
fn accepted(session: &SessionId, of: Accepted) -> (StatusCode, HeaderMap, Json<PromptReply>) {
    let what = match &of.turn {
        Some(turn) => format!("turns/{}", turn.id),
        None => format!("messages/{}", of.message.id),
    };
    let headers = located(&format!("/sessions/{session}/{what}"), of.replayed);
    (StatusCode::ACCEPTED, headers, Json(PromptReply::from(of)))
}
