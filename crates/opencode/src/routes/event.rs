//! `/event` and `/global/event`.

use axum::extract::State;
use axum::http::HeaderMap;
use sessiond_store::Scope;

use crate::events::{self, Surface};
use crate::extract::{Reply, Selected};
use crate::state::App;

/// The events of one directory.
pub(crate) async fn directory(State(app): State<App>, at: Selected, headers: HeaderMap) -> Reply {
    let workspace = app.engine.workspace(at.directory.as_deref()).await?;
    let scope = Scope::Directory(workspace.directory.clone());
    events::stream(&app, Surface::Directory, scope, &headers).await
}

/// All events.
pub(crate) async fn global(State(app): State<App>, headers: HeaderMap) -> Reply {
    events::stream(&app, Surface::Global, Scope::All, &headers).await
}
