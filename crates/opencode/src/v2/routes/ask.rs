//! Permission requests and questions.

use axum::extract::State;
use serde_json::json;
use sessiond_engine::EngineError;
use sessiond_model::{Permission, PermissionId, Question, QuestionId, SessionId};
use sessiond_store::{AskQuery, EntityKind};

use super::session::done;
use crate::decode;
use crate::state::App;
use crate::v2::error::Error;
use crate::v2::extract::{self, Body, InPermission, InQuestion, InSession, Place, Reply};
use crate::v2::wire::{Located, PermissionDto};
use crate::wire::QuestionDto;

fn here(place: &Place) -> AskQuery {
    AskQuery {
        directory: Some(place.0.directory.clone()),
        ..AskQuery::default()
    }
}

async fn of_session(app: &App, id: &SessionId) -> Result<AskQuery, Error> {
    app.engine.session(id).await?;
    Ok(AskQuery {
        session_id: Some(id.clone()),
        ..AskQuery::default()
    })
}

fn permission_dtos(all: &[Permission]) -> Vec<PermissionDto<'_>> {
    all.iter().map(PermissionDto::of).collect()
}

fn question_dtos(all: &[Question]) -> Vec<QuestionDto<'_>> {
    all.iter().map(QuestionDto::of).collect()
}

pub(crate) async fn permissions_here(State(app): State<App>, place: Place) -> Reply {
    let all = app.engine.permissions(&here(&place)).await?;
    extract::json(&Located::new(&place.0, permission_dtos(&all)))
}

/// Grants for good: coding agents keep them themselves.
pub(crate) async fn saved_permissions() -> Reply {
    extract::json(&json!({"data": []}))
}

pub(crate) async fn permissions(State(app): State<App>, InSession(id): InSession) -> Reply {
    let query = of_session(&app, &id).await?;
    let all = app.engine.permissions(&query).await?;
    extract::json(&json!({"data": permission_dtos(&all)}))
}

/// One that is pending in this session.
async fn pending(app: &App, session: &SessionId, id: &PermissionId) -> Result<Permission, Error> {
    let query = of_session(app, session).await?;
    let all = app.engine.permissions(&query).await?;
    let found = all.into_iter().find(|p| p.id == *id);
    Ok(found.ok_or_else(|| EngineError::NotFound {
        kind: EntityKind::Permission,
        id: id.to_string(),
    })?)
}

pub(crate) async fn permission(
    State(app): State<App>,
    InPermission(session, id): InPermission,
) -> Reply {
    let permission = pending(&app, &session, &id).await?;
    extract::json(&json!({"data": PermissionDto::of(&permission)}))
}

pub(crate) async fn reply_permission(
    State(app): State<App>,
    InPermission(session, id): InPermission,
    body: Body,
) -> Reply {
    let (reply, message) = decode::permission_reply_v2(body.0)?;
    pending(&app, &session, &id).await?;
    app.engine.reply_permission(&id, reply, message).await?;
    done()
}

pub(crate) async fn questions_here(State(app): State<App>, place: Place) -> Reply {
    let all = app.engine.questions(&here(&place)).await?;
    extract::json(&Located::new(&place.0, question_dtos(&all)))
}

pub(crate) async fn questions(State(app): State<App>, InSession(id): InSession) -> Reply {
    let query = of_session(&app, &id).await?;
    let all = app.engine.questions(&query).await?;
    extract::json(&json!({"data": question_dtos(&all)}))
}

async fn asked(app: &App, session: &SessionId, id: &QuestionId) -> Result<(), Error> {
    let query = of_session(app, session).await?;
    let all = app.engine.questions(&query).await?;
    if all.iter().any(|q| q.id == *id) {
        return Ok(());
    }
    Err(EngineError::NotFound {
        kind: EntityKind::Question,
        id: id.to_string(),
    }
    .into())
}

pub(crate) async fn reply_question(
    State(app): State<App>,
    InQuestion(session, id): InQuestion,
    body: Body,
) -> Reply {
    let answers = decode::answers(body.0)?;
    asked(&app, &session, &id).await?;
    app.engine.reply_question(&id, answers).await?;
    done()
}

pub(crate) async fn reject_question(
    State(app): State<App>,
    InQuestion(session, id): InQuestion,
) -> Reply {
    asked(&app, &session, &id).await?;
    app.engine.reject_question(&id).await?;
    done()
}
