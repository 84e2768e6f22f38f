//! What else a session can be told to do: slash commands, `init`, shell commands, `summarize`.

use axum::extract::State;
use sessiond_engine::Accepted;
use sessiond_model::TurnState;

use super::prompt::{answer, ended};
use crate::decode;
use crate::error::ApiError;
use crate::extract::{self, InSession, Payload, Reply, Selected};
use crate::state::App;
use crate::wire;

/// `GET /command`: they are the same in every directory.
pub(crate) async fn list(State(app): State<App>, _: Selected) -> Reply {
    let commands = app.engine.commands().await?;
    extract::json(&wire::commands(&commands))
}

/// Answers as a prompt does.
pub(crate) async fn command(
    State(app): State<App>,
    InSession(id): InSession,
    body: Payload,
) -> Reply {
    let accepted = app.engine.command(&id, decode::command(body.0)?).await?;
    answered(&app, &accepted).await
}

/// Answers when the command has ended, with its output.
pub(crate) async fn shell(
    State(app): State<App>,
    InSession(id): InSession,
    body: Payload,
) -> Reply {
    let accepted = app.engine.shell(&id, decode::shell(body.0)?).await?;
    answered(&app, &accepted).await
}

/// `true` once AGENTS.md is written.
pub(crate) async fn init(State(app): State<App>, InSession(id): InSession, body: Payload) -> Reply {
    let accepted = app.engine.init(&id, decode::init(body.0)?).await?;
    done(&app, &accepted).await
}

/// `true` once the summary is written.
pub(crate) async fn summarize(
    State(app): State<App>,
    InSession(id): InSession,
    body: Payload,
) -> Reply {
    let accepted = app
        .engine
        .summarize(&id, decode::summarize(body.0)?)
        .await?;
    done(&app, &accepted).await
}

async fn answered(app: &App, accepted: &Accepted) -> Reply {
    match &accepted.turn {
        Some(turn) => answer(app, turn).await,
        None => Err(ApiError::NoAnswer("not started")),
    }
}

async fn done(app: &App, accepted: &Accepted) -> Reply {
    let Some(turn) = &accepted.turn else {
        return Err(ApiError::NoAnswer("not started"));
    };
    let turn = ended(app, turn).await?;
    match turn.state {
        TurnState::Completed => extract::json(&true),
        TurnState::Failed => Err(ApiError::TurnFailed(
            turn.failure.map(|f| f.message).unwrap_or_default(),
        )),
        state => Err(ApiError::NoAnswer(state.as_str())),
    }
}
