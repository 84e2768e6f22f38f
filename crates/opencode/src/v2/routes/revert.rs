//! `/api/session/{id}/revert/*`.

use axum::extract::State;
use serde_json::json;

use super::session::done;
use crate::decode::v2 as decode;
use crate::state::App;
use crate::v2::error::Error;
use crate::v2::extract::{self, Body, InSession, Reply};
use crate::v2::wire::RevertDto;

/// The files follow at once.
pub(crate) async fn stage(State(app): State<App>, InSession(id): InSession, body: Body) -> Reply {
    let options = decode::stage(body.0)?;
    let reverted = app.engine.revert(&id, options).await;
    let session = reverted.map_err(Error::within(&id))?.session;
    extract::json(&json!({"data": session.revert.as_ref().map(RevertDto::of)}))
}

pub(crate) async fn clear(State(app): State<App>, InSession(id): InSession) -> Reply {
    app.engine.unrevert(&id).await?;
    done()
}

/// What is hidden is removed.
pub(crate) async fn commit(State(app): State<App>, InSession(id): InSession) -> Reply {
    app.engine.commit_revert(&id).await?;
    done()
}
