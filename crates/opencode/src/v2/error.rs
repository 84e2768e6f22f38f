//! Refusals of `/api/*`: `{"_tag": …, "message": …}`.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sessiond_engine::EngineError;
use sessiond_model::{MessageId, SessionId};
use sessiond_store::EntityKind;
use sessiond_workspace::WorkspaceError;

use crate::decode::{Kind, Reject};
use crate::error::{ApiError, elsewhere, invalid, unavailable, unexpected};

/// Why a request of this family is not answered as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// As in the first family.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Something of a session is missing or wrong.
    #[error("{1}")]
    Within(SessionId, EngineError),
    /// The id in the path can be no session's.
    #[error("Invalid session ID")]
    SessionId,
    /// A cursor that is none of ours.
    #[error("{0}")]
    Cursor(&'static str),
    /// No coding agent of this name can be used.
    #[error("Provider not found: {0}")]
    Provider(String),
    /// A prompt that was only to be stored is to be run now.
    #[error("Prompt {0} was admitted with resume: false; it goes along with the next prompt")]
    Admitted(MessageId),
    /// It could not be done.
    #[error("{message}")]
    NotDone {
        /// What.
        service: &'static str,
        /// Why, in a sentence.
        message: String,
    },
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Self {
        Self::Api(error.into())
    }
}

impl From<Reject> for Error {
    fn from(reject: Reject) -> Self {
        Self::Api(reject.into())
    }
}

impl Error {
    /// For `map_err`: says of which session something is missing.
    pub(crate) fn within(session: &SessionId) -> impl FnOnce(EngineError) -> Self + use<> {
        let session = session.clone();
        move |error| Self::Within(session, error)
    }
}

/// Whether files could not be looked at for a reason that is not the client's.
fn fault(error: &WorkspaceError) -> bool {
    matches!(error, WorkspaceError::TimedOut(_) | WorkspaceError::Git(_))
}

fn tagged(tag: &str, message: impl Into<String>) -> Value {
    json!({"_tag": tag, "message": message.into()})
}

fn bad(reject: &Reject) -> (StatusCode, Value) {
    let mut body = tagged("InvalidRequestError", reject.to_string());
    body["kind"] = reject.kind.as_str().into();
    (StatusCode::BAD_REQUEST, body)
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let message = self.to_string();
        let (status, body) = match self {
            Self::Api(ApiError::Rejected(reject) | ApiError::RejectedRaw(reject)) => bad(&reject),
            Self::Api(ApiError::NoWorkspace(_)) => {
                let mut body = tagged("InvalidRequestError", message);
                body["field"] = "location".into();
                (StatusCode::BAD_REQUEST, body)
            }
            Self::Api(ApiError::MediaType(_)) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                tagged("InvalidRequestError", message),
            ),
            Self::Api(ApiError::Body { status, .. }) => {
                (status, tagged("InvalidRequestError", message))
            }
            Self::Api(ApiError::Engine(error)) => return of_engine(None, &error),
            Self::Api(ApiError::Files { error, field }) if !fault(&error) => {
                bad(&Reject::new(Kind::Query, error.to_string()).at(field))
            }
            Self::Api(other) => return other.into_response(),
            Self::Within(session, error) => return of_engine(Some(&session), &error),
            Self::SessionId => {
                let mut body = tagged("InvalidRequestError", message);
                body["field"] = "sessionID".into();
                (StatusCode::BAD_REQUEST, body)
            }
            Self::Cursor(_) => (
                StatusCode::BAD_REQUEST,
                tagged("InvalidCursorError", message),
            ),
            Self::Provider(id) => {
                let mut body = tagged("ProviderNotFoundError", message);
                body["providerID"] = id.into();
                (StatusCode::NOT_FOUND, body)
            }
            Self::Admitted(id) => {
                let mut body = tagged("ConflictError", message);
                body["resource"] = id.as_str().into();
                (StatusCode::CONFLICT, body)
            }
            Self::NotDone { service, .. } => {
                let mut body = tagged("ServiceUnavailableError", message);
                body["service"] = service.into();
                (StatusCode::SERVICE_UNAVAILABLE, body)
            }
        };
        (status, Json(body)).into_response()
    }
}

fn of_engine(session: Option<&SessionId>, error: &EngineError) -> Response {
    let (status, body) = match error {
        EngineError::NotFound { kind, id } => (StatusCode::NOT_FOUND, missing(session, *kind, id)),
        // A second answer: the request is not pending any more.
        EngineError::Conflict {
            kind: kind @ (EntityKind::Permission | EntityKind::Question),
            id,
            ..
        } => (StatusCode::NOT_FOUND, missing(session, *kind, id)),
        EngineError::Conflict {
            kind: EntityKind::Message,
            id,
            ..
        } => {
            let message =
                format!("Prompt message ID conflicts with an existing durable record: {id}");
            let body = json!({"_tag": "ConflictError", "message": message, "resource": id});
            (StatusCode::CONFLICT, body)
        }
        EngineError::Conflict { id, .. } => {
            let mut body = tagged("ConflictError", error.to_string());
            body["resource"] = id.as_str().into();
            (StatusCode::CONFLICT, body)
        }
        EngineError::Busy(id) => {
            let mut body = tagged("ConflictError", error.to_string());
            body["resource"] = id.as_str().into();
            (StatusCode::CONFLICT, body)
        }
        EngineError::Changed { .. }
        | EngineError::NotCaptured { .. }
        | EngineError::NoNode { .. } => (
            StatusCode::CONFLICT,
            tagged("ConflictError", error.to_string()),
        ),
        EngineError::Disabled { .. } => (
            StatusCode::FORBIDDEN,
            tagged("ForbiddenError", error.to_string()),
        ),
        EngineError::Invalid { field, reason } => bad(&invalid(field, reason)),
        EngineError::Unavailable {
            reason,
            retry_after,
        } => return unavailable(reason, retry_after.as_secs().max(1)),
        EngineError::Elsewhere(node) => return elsewhere(node, &error.to_string()),
        EngineError::Internal(_) => return unexpected(error),
    };
    (status, Json(body)).into_response()
}

fn missing(session: Option<&SessionId>, kind: EntityKind, id: &str) -> Value {
    let message = format!("{kind} not found: {id}");
    let (tag, key) = match kind {
        EntityKind::Session => ("SessionNotFoundError", "sessionID"),
        EntityKind::Message => ("MessageNotFoundError", "messageID"),
        EntityKind::Permission => ("PermissionNotFoundError", "requestID"),
        EntityKind::Question => ("QuestionNotFoundError", "requestID"),
        _ => return tagged("NotFoundError", message),
    };
    let mut body = tagged(tag, message);
    if let Some(session) = session.filter(|_| kind == EntityKind::Message) {
        body["sessionID"] = session.as_str().into();
    }
    body[key] = id.into();
    body
}
