//! `POST /session/{id}/message` and `prompt_async`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use serde::Serialize;
use sessiond_engine::Accepted;
use sessiond_model::{Message, Turn};

use crate::decode;
use crate::error::ApiError;
use crate::extract::{self, InSession, Payload, Reply};
use crate::state::App;
use crate::wire::{self, PartDto};

#[derive(Serialize)]
struct UserMessage<'a> {
    info: &'a Message,
    parts: Vec<PartDto<'a>>,
}

/// Answers when the prompt's own turn has ended, with that turn's message.
pub(crate) async fn prompt(
    State(app): State<App>,
    InSession(id): InSession,
    body: Payload,
) -> Reply {
    let accepted = app.engine.prompt(&id, decode::prompt(body.0)?).await?;
    match &accepted.turn {
        None => stored(&accepted),
        Some(turn) => answer(&app, turn).await,
    }
}

fn stored(accepted: &Accepted) -> Reply {
    extract::json(&UserMessage {
        info: &accepted.message,
        parts: accepted.parts.iter().map(PartDto::of).collect(),
    })
}

/// The turn once it has ended, and the streams have told so.
pub(super) async fn ended(app: &App, turn: &Turn) -> Result<Turn, ApiError> {
    let turn = app.engine.wait_turn(&turn.id, None).await?;
    app.engine.told().await;
    Ok(turn)
}

/// The message of the turn once it has ended.
pub(super) async fn answer(app: &App, turn: &Turn) -> Reply {
    let turn = ended(app, turn).await?;
    let Some(message) = &turn.assistant_message_id else {
        return Err(ApiError::NoAnswer(turn.state.as_str()));
    };
    let doc = app.engine.message(&turn.session_id, message).await?;
    Ok(extract::json_bytes(wire::message_with_parts(&doc)))
}

pub(crate) async fn prompt_async(
    State(app): State<App>,
    InSession(id): InSession,
    body: Payload,
) -> Reply {
    app.engine.prompt(&id, decode::prompt(body.0)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
