//! What handlers of `/api/*` read from a request.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::request::Parts;
use axum::response::Response;
use serde_json::Value;
use sessiond_engine::Workspace;
use sessiond_model::{IdError, MessageId, PermissionId, QuestionId, SessionId};

use super::error::Error;
use crate::decode::{Kind, Reject};
use crate::error::ApiError;
use crate::extract::{Pairs, Payload, Selected};
use crate::state::App;

/// What handlers answer.
pub(crate) type Reply = Result<Response, Error>;

/// A JSON answer.
pub(crate) fn json(value: &impl serde::Serialize) -> Reply {
    Ok(crate::extract::json(value)?)
}

/// The query.
pub(crate) struct Query(pub(crate) Pairs);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        Ok(Self(Pairs::from_request_parts(parts, state).await?))
    }
}

/// A JSON body; `None` when there is none.
pub(crate) struct Body(pub(crate) Option<Value>);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self, Error> {
        Ok(Self(Payload::from_request(request, state).await?.0))
    }
}

/// The place that a request is for: `location[directory]`, else as in the first family.
pub(crate) struct Place(pub(crate) Arc<Workspace>);

impl FromRequestParts<App> for Place {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let query = Pairs::from_request_parts(parts, app).await?;
        if let Some(workspace) = query.filled("location[workspace]") {
            return Err(ApiError::NoWorkspace(workspace.to_owned()).into());
        }
        let selected = Selected::from_request_parts(parts, app).await?;
        let directory = query
            .filled("location[directory]")
            .or(selected.directory.as_deref());
        Ok(Self(app.engine.workspace(directory).await?))
    }
}

/// `/api/session/{sessionID}…`
pub(crate) struct InSession(pub(crate) SessionId);
/// `…/message/{messageID}`
pub(crate) struct InMessage(pub(crate) SessionId, pub(crate) MessageId);
/// `…/permission/{requestID}…`
pub(crate) struct InPermission(pub(crate) SessionId, pub(crate) PermissionId);
/// `…/question/{requestID}…`
pub(crate) struct InQuestion(pub(crate) SessionId, pub(crate) QuestionId);

async fn param<S: Send + Sync>(parts: &mut Parts, state: &S, name: &str) -> Result<String, Error> {
    let params = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|e| Reject::new(Kind::Params, e.body_text()))?;
    let found = params.iter().find(|(key, _)| *key == name);
    Ok(found.map_or_else(String::new, |(_, value)| value.to_owned()))
}

async fn id<T, S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    name: &str,
    parse: fn(&str) -> Result<T, IdError>,
) -> Result<T, Error> {
    let text = param(parts, state, name).await?;
    Ok(parse(&text).map_err(|e| Reject::new(Kind::Params, e.to_string()).at(name))?)
}

impl<S: Send + Sync> FromRequestParts<S> for InSession {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let text = param(parts, state, "sessionID").await?;
        Ok(Self(SessionId::parse(&text).map_err(|_| Error::SessionId)?))
    }
}

macro_rules! within_session {
    ($name:ident, $param:literal, $id:ident) => {
        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = Error;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
                let InSession(session) = InSession::from_request_parts(parts, state).await?;
                Ok(Self(session, id(parts, state, $param, $id::parse).await?))
            }
        }
    };
}

within_session!(InMessage, "messageID", MessageId);
within_session!(InPermission, "requestID", PermissionId);
within_session!(InQuestion, "requestID", QuestionId);
