//! `/api/event` and `/api/session/{id}/event`.

use axum::extract::State;
use axum::http::HeaderMap;

use super::message::after;
use crate::state::App;
use crate::v2::events;
use crate::v2::extract::{InSession, Query, Reply};

pub(crate) async fn all(State(app): State<App>, headers: HeaderMap) -> Reply {
    events::everything(&app, &headers).await
}

pub(crate) async fn of_session(
    State(app): State<App>,
    InSession(id): InSession,
    Query(query): Query,
    headers: HeaderMap,
) -> Reply {
    let after = after(&query)?;
    events::of_session(&app, id, after, &headers).await
}
