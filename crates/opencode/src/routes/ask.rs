//! Permission requests and questions.

use axum::extract::State;
use sessiond_store::AskQuery;

use crate::decode;
use crate::extract::{
    self, InPermission, InQuestion, InSessionPermission, Payload, Reply, Selected,
};
use crate::state::App;
use crate::wire::{PermissionDto, QuestionDto};

async fn of_directory(app: &App, at: &Selected) -> Result<AskQuery, crate::error::ApiError> {
    let workspace = app.engine.workspace(at.directory.as_deref()).await?;
    Ok(AskQuery {
        directory: Some(workspace.directory.clone()),
        ..AskQuery::default()
    })
}

pub(crate) async fn permissions(State(app): State<App>, at: Selected) -> Reply {
    let pending = app
        .engine
        .permissions(&of_directory(&app, &at).await?)
        .await?;
    extract::json(&pending.iter().map(PermissionDto::of).collect::<Vec<_>>())
}

pub(crate) async fn reply_permission(
    State(app): State<App>,
    InPermission(id): InPermission,
    body: Payload,
) -> Reply {
    let (reply, message) = decode::permission_reply(body.0, "reply")?;
    app.engine.reply_permission(&id, reply, message).await?;
    extract::json(&true)
}

/// The older route. As on OpenCode the session must exist, but the request may be another's:
/// clients answer for child sessions through the parent.
pub(crate) async fn respond_permission(
    State(app): State<App>,
    InSessionPermission(session, id): InSessionPermission,
    body: Payload,
) -> Reply {
    let (reply, message) = decode::permission_reply(body.0, "response")?;
    app.engine.session(&session).await?;
    app.engine.reply_permission(&id, reply, message).await?;
    extract::json(&true)
}

pub(crate) async fn questions(State(app): State<App>, at: Selected) -> Reply {
    let pending = app
        .engine
        .questions(&of_directory(&app, &at).await?)
        .await?;
    extract::json(&pending.iter().map(QuestionDto::of).collect::<Vec<_>>())
}

pub(crate) async fn reply_question(
    State(app): State<App>,
    InQuestion(id): InQuestion,
    body: Payload,
) -> Reply {
    let answers = decode::answers(body.0)?;
    app.engine.reply_question(&id, answers).await?;
    extract::json(&true)
}

pub(crate) async fn reject_question(State(app): State<App>, InQuestion(id): InQuestion) -> Reply {
    app.engine.reject_question(&id).await?;
    extract::json(&true)
}
