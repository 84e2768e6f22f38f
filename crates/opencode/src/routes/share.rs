//! `/session/{id}/share`

use axum::extract::State;
use sessiond_engine::ShareOptions;

use crate::extract::{self, InSession, Reply};
use crate::state::App;
use crate::wire::SessionDto;

/// Shares the session; one that is shared keeps its address.
pub(crate) async fn share(State(app): State<App>, InSession(id): InSession) -> Reply {
    let shared = app.engine.share(&id, &ShareOptions::default()).await?;
    extract::json(&SessionDto::of(&shared.session))
}

/// Ends the share, also of a session that is not shared.
pub(crate) async fn unshare(State(app): State<App>, InSession(id): InSession) -> Reply {
    let session = app.engine.unshare(&id).await?;
    extract::json(&SessionDto::of(&session))
}
