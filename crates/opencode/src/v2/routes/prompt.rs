//! `POST /api/session/{id}/prompt`.

use axum::extract::State;
use serde::Serialize;
use sessiond_model::{MessageId, SessionId, Timestamp};

use crate::decode::v2 as decode;
use crate::state::App;
use crate::v2::error::Error;
use crate::v2::events::position;
use crate::v2::extract::{self, Body, InSession, Reply};
use crate::v2::wire::{self, PromptDto};

#[derive(Serialize)]
struct Admitted<'a> {
    #[serde(rename = "admittedSeq")]
    admitted: u64,
    id: &'a MessageId,
    #[serde(rename = "sessionID")]
    session_id: &'a SessionId,
    prompt: PromptDto,
    delivery: &'static str,
    #[serde(rename = "timeCreated")]
    created: Timestamp,
    #[serde(rename = "promotedSeq", skip_serializing_if = "Option::is_none")]
    promoted: Option<u64>,
}

/// Answers as soon as the prompt is durable. The same id with the same prompt is answered as the
/// first one.
pub(crate) async fn prompt(State(app): State<App>, InSession(id): InSession, body: Body) -> Reply {
    let asked = decode::prompt(body.0)?;
    let to_run = !asked.input.no_reply;
    let prompt = app.engine.prompt(&id, asked.input);
    let accepted = prompt.await.map_err(Error::within(&id))?;
    if to_run && accepted.turn.is_none() {
        // It was stored without a turn, and can't be given one behind what came since.
        return Err(Error::Admitted(accepted.message.id));
    }
    let doc = app.engine.message(&id, &accepted.message.id).await;
    let doc = doc.map_err(Error::within(&id))?;
    let admitted = Admitted {
        admitted: position(doc.created, 0),
        id: &accepted.message.id,
        session_id: &id,
        prompt: wire::prompt(&accepted.parts),
        delivery: asked.delivery,
        created: accepted.message.info.created(),
        promoted: (accepted.replayed && accepted.turn.is_some()).then(|| position(doc.created, 1)),
    };
    extract::json(&serde_json::json!({"data": admitted}))
}
