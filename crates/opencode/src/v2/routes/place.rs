//! What there is at a place: `{location, data}`.

use axum::extract::{Path, State};
use serde_json::{Value, json};

use crate::state::App;
use crate::v2::error::Error;
use crate::v2::extract::{self, Place, Reply};
use crate::v2::wire::{self, Located, LocationDto};

pub(crate) async fn health() -> Reply {
    extract::json(&json!({"healthy": true}))
}

pub(crate) async fn location(place: Place) -> Reply {
    extract::json(&LocationDto::of(&place.0))
}

pub(crate) async fn agents(State(app): State<App>, place: Place) -> Reply {
    let known = app.engine.agents().await?;
    extract::json(&Located::new(&place.0, wire::agents(&known)))
}

pub(crate) async fn models(State(app): State<App>, place: Place) -> Reply {
    let known = app.engine.agents().await?;
    extract::json(&Located::new(&place.0, wire::models(&known)))
}

pub(crate) async fn providers(State(app): State<App>, place: Place) -> Reply {
    let known = app.engine.agents().await?;
    extract::json(&Located::new(&place.0, wire::providers(&known)))
}

pub(crate) async fn provider(
    State(app): State<App>,
    Path(id): Path<String>,
    place: Place,
) -> Reply {
    let known = app.engine.agents().await?;
    let found = wire::provider(&known, &id).ok_or(Error::Provider(id))?;
    extract::json(&Located::new(&place.0, found))
}

pub(crate) async fn commands(State(app): State<App>, place: Place) -> Reply {
    let offered = app.engine.commands().await?;
    extract::json(&Located::new(&place.0, wire::commands(&offered)))
}

/// Lists of what there is none of: skills and references are the coding agents' own, and so are
/// the log-ins that integrations stand for.
pub(crate) async fn none_listed(place: Place) -> Reply {
    extract::json(&Located::new(&place.0, json!([])))
}

/// There is no integration; OpenCode says so with `null`.
pub(crate) async fn no_integration(place: Place) -> Reply {
    extract::json(&Located::new(&place.0, Value::Null))
}
