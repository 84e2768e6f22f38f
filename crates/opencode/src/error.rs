//! Every refusal and its HTTP form, in one place.

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sessiond_engine::{Elsewhere, EngineError};
use sessiond_store::EntityKind;
use sessiond_workspace::WorkspaceError;
use thiserror::Error;

use crate::decode::{Kind, Reject};
use crate::routes::vcs;

/// Why a request is not answered as asked.
#[derive(Debug, Error)]
pub(crate) enum ApiError {
    /// A value of the request is wrong.
    #[error("{0}")]
    Rejected(Reject),
    /// The same, at the endpoints where OpenCode says no more than `_tag`.
    #[error("{0}")]
    RejectedRaw(Reject),
    /// The body is not JSON by its content type.
    #[error("Unsupported content-type: {0}")]
    MediaType(String),
    /// The body could not be read.
    #[error("{reason}")]
    Body {
        /// 413, 408 or 400.
        status: StatusCode,
        /// A sentence.
        reason: String,
    },
    /// There are no workspaces here.
    #[error("Workspace not found: {0}")]
    NoWorkspace(String),
    /// The turn ended before it had an answer.
    #[error("The prompt has no answer: its turn was {0}")]
    NoAnswer(&'static str),
    /// The turn failed where only its success is an answer.
    #[error("{0}")]
    TurnFailed(String),
    /// The path is none of ours.
    #[error("No such endpoint: {0} {1}")]
    NoEndpoint(Method, String),
    /// The path does not take this method.
    #[error("{1} does not take {0}")]
    NoMethod(Method, String),
    /// OpenCode has it, sessiond does not offer it.
    #[error("sessiond does not offer {0} {1}")]
    NotOffered(Method, String),
    /// What was asked of files; the parameter that asked for it.
    #[error("{error}")]
    Files {
        /// Why not.
        error: WorkspaceError,
        /// As in the query or the body.
        field: &'static str,
    },
    /// The engine's own.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<Reject> for ApiError {
    fn from(reject: Reject) -> Self {
        Self::Rejected(reject)
    }
}

impl ApiError {
    /// A refusal by the files, because of this parameter.
    pub(crate) fn files(field: &'static str) -> impl FnOnce(WorkspaceError) -> Self {
        move |error| Self::Files { error, field }
    }

    pub(crate) fn not_offered(method: Method, uri: &Uri) -> Self {
        Self::NotOffered(method, uri.path().to_owned())
    }
}

/// `{"name": …, "data": {"message": …}}`
fn named(name: &str, message: impl Into<String>) -> Value {
    let message: String = message.into();
    json!({"name": name, "data": {"message": message}})
}

fn bad_request(reject: &Reject) -> Value {
    json!({"name": "BadRequest",
        "data": {"message": reject.to_string(), "kind": reject.kind.as_str()}})
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let message = self.to_string();
        let (status, body) = match self {
            Self::Rejected(reject) => (StatusCode::BAD_REQUEST, bad_request(&reject)),
            Self::RejectedRaw(reject) => {
                let mut body = bad_request(&reject);
                body["_tag"] = "BadRequest".into();
                (StatusCode::BAD_REQUEST, body)
            }
            Self::MediaType(_) => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                named("UnsupportedMediaType", message),
            ),
            Self::Body { status, .. } => (status, named("BadRequest", message)),
            Self::NoWorkspace(_) | Self::NoEndpoint(..) => {
                (StatusCode::NOT_FOUND, named("NotFoundError", message))
            }
            Self::NoAnswer(_) => (StatusCode::CONFLICT, named("MessageAbortedError", message)),
            // Not our fault, nor the client's alone: what this depends on failed.
            Self::TurnFailed(_) => (
                StatusCode::FAILED_DEPENDENCY,
                named("UnknownError", message),
            ),
            Self::NoMethod(..) => (
                StatusCode::METHOD_NOT_ALLOWED,
                named("MethodNotAllowedError", message),
            ),
            Self::NotOffered(..) => (
                StatusCode::NOT_IMPLEMENTED,
                named("NotImplementedError", message),
            ),
            Self::Files { error, field } => return files_error(&error, field),
            Self::Engine(error) => return engine_error(&error),
        };
        (status, Json(body)).into_response()
    }
}

fn files_error(error: &WorkspaceError, field: &'static str) -> Response {
    let (status, body) = match error {
        WorkspaceError::NotClean(_) => (
            StatusCode::BAD_REQUEST,
            vcs::apply_error(error, "not-clean"),
        ),
        WorkspaceError::NoRepository => {
            (StatusCode::BAD_REQUEST, vcs::apply_error(error, "non-git"))
        }
        WorkspaceError::TimedOut(_) => return unavailable(&error.to_string(), 5),
        // Not our fault, nor the client's alone.
        WorkspaceError::Git(_) => (
            StatusCode::FAILED_DEPENDENCY,
            named("UnknownError", error.to_string()),
        ),
        // The client asked for something else than there is.
        error => (
            StatusCode::BAD_REQUEST,
            bad_request(&Reject::new(Kind::Query, error.to_string()).at(field)),
        ),
    };
    (status, Json(body)).into_response()
}

fn engine_error(error: &EngineError) -> Response {
    let (status, body) = match error {
        EngineError::NotFound { kind, id } => (StatusCode::NOT_FOUND, not_found(*kind, id)),
        // A second answer: OpenCode has forgotten the request by then, and says so.
        EngineError::Conflict {
            kind: kind @ (EntityKind::Permission | EntityKind::Question),
            id,
            ..
        } => (StatusCode::NOT_FOUND, not_found(*kind, id)),
        EngineError::Invalid { field, reason } => (
            StatusCode::BAD_REQUEST,
            bad_request(&invalid(field, reason)),
        ),
        EngineError::Busy(id) => (
            StatusCode::CONFLICT,
            json!({"_tag": "SessionBusyError", "sessionID": id, "message": error.to_string()}),
        ),
        EngineError::Conflict { id, .. } => (
            StatusCode::CONFLICT,
            json!({"_tag": "ConflictError", "message": error.to_string(), "resource": id}),
        ),
        EngineError::Changed { .. }
        | EngineError::NotCaptured { .. }
        | EngineError::NoNode { .. } => (
            StatusCode::CONFLICT,
            json!({"_tag": "ConflictError", "message": error.to_string()}),
        ),
        EngineError::Disabled { .. } => (
            StatusCode::FORBIDDEN,
            named("ForbiddenError", error.to_string()),
        ),
        EngineError::Unavailable {
            reason,
            retry_after,
        } => return unavailable(reason, retry_after.as_secs().max(1)),
        EngineError::Elsewhere(node) => return elsewhere(node, &error.to_string()),
        EngineError::Internal(_) => return unexpected(error),
    };
    (status, Json(body)).into_response()
}

fn not_found(kind: EntityKind, id: &str) -> Value {
    let message = format!("{kind} not found: {id}");
    let tag = match kind {
        EntityKind::Permission => "PermissionNotFoundError",
        EntityKind::Question => "QuestionNotFoundError",
        EntityKind::Project => {
            return json!({"_tag": "ProjectNotFoundError", "projectID": id, "message": message});
        }
        _ => return named("NotFoundError", message),
    };
    json!({"_tag": tag, "requestID": id, "message": message})
}

/// The engine names fields as `model.providerID` or `parts[0].url`.
pub(crate) fn invalid(field: &str, reason: &str) -> Reject {
    let kind = if field == "directory" {
        Kind::Query
    } else {
        Kind::Payload
    };
    let mut reject = Reject::new(kind, reason);
    for name in field.split(['.', '[', ']']).filter(|n| !n.is_empty()) {
        reject = match name {
            index if index.bytes().all(|b| b.is_ascii_digit()) => {
                reject.place.push_str(&format!("[{index}]"));
                reject
            }
            "parent_id" => reject.at("parentID"),
            name => reject.at(name),
        };
    }
    reject
}

pub(crate) fn unavailable(reason: &str, seconds: u64) -> Response {
    let body = json!({"_tag": "ServiceUnavailableError", "message": reason,
        "service": "sessiond"});
    let mut response = (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// For the server, which passes the request on; a client sees it when nobody can reach the node.
pub(crate) fn elsewhere(node: &Elsewhere, message: &str) -> Response {
    let mut response = unavailable(message, 2);
    response.extensions_mut().insert(node.clone());
    response
}

/// A fault of ours: the client gets a reference into the log, nothing else.
pub(crate) fn unexpected(error: &dyn std::error::Error) -> Response {
    // Unique enough to find a line of the log; no secret.
    let reference = format!("err_{:08x}", reference());
    tracing::error!(reference, error = %error, "request failed");
    let body = json!({"name": "UnknownError", "data": {
        "message": "Unexpected server error. Check server logs for details.",
        "ref": reference}});
    (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response()
}

fn reference() -> u32 {
    use std::hash::{BuildHasher as _, RandomState};
    // A fresh hasher is seeded at random.
    (RandomState::new().hash_one(0u8) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sessiond_model::SessionId;

    use super::*;

    async fn form(error: impl Into<ApiError>) -> (u16, Value) {
        let response = error.into().into_response();
        let status = response.status().as_u16();
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let bytes = axum::body::to_bytes(response.into_body(), 10_000)
            .await
            .unwrap();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    fn missing(kind: EntityKind, id: &str) -> EngineError {
        EngineError::NotFound {
            kind,
            id: id.into(),
        }
    }

    fn conflict(kind: EntityKind, id: &str) -> EngineError {
        EngineError::Conflict {
            kind,
            id: id.into(),
            owner: None,
            reason: "is taken".into(),
        }
    }

    #[tokio::test]
    async fn bodies_are_those_of_opencode() {
        assert_eq!(
            form(missing(EntityKind::Session, "ses_unknown")).await,
            (
                404,
                json!({"name": "NotFoundError",
                    "data": {"message": "Session not found: ses_unknown"}})
            )
        );
        assert_eq!(
            form(missing(EntityKind::Permission, "per_nope")).await,
            (
                404,
                json!({"_tag": "PermissionNotFoundError", "requestID": "per_nope",
                    "message": "Permission request not found: per_nope"})
            )
        );
        assert_eq!(
            form(conflict(EntityKind::Question, "que_x")).await,
            (
                404,
                json!({"_tag": "QuestionNotFoundError", "requestID": "que_x",
                    "message": "Question request not found: que_x"})
            )
        );
        assert_eq!(
            form(EngineError::Busy(SessionId::trusted("ses_1"))).await,
            (
                409,
                json!({"_tag": "SessionBusyError", "sessionID": "ses_1",
                    "message": "Session is busy: ses_1"})
            )
        );
        let (status, body) = form(conflict(EntityKind::Message, "msg_1")).await;
        assert_eq!((status, &body["_tag"]), (409, &json!("ConflictError")));
    }

    #[tokio::test]
    async fn the_place_of_a_wrong_value_is_named() {
        let error = EngineError::Invalid {
            field: "parts[0].url".into(),
            reason: "Expected a URL".into(),
        };
        assert_eq!(
            form(error).await,
            (
                400,
                json!({"name": "BadRequest", "data": {"kind": "Payload",
                    "message": "Expected a URL\n  at [\"parts\"][0][\"url\"]"}})
            )
        );
        let (_, raw) = form(ApiError::RejectedRaw(Reject::new(Kind::Payload, "no"))).await;
        assert_eq!(raw["_tag"], "BadRequest");
        assert_eq!(raw["data"]["message"], "no");
    }

    #[tokio::test]
    async fn faults_of_ours_do_not_leak() {
        let (status, body) = form(EngineError::Internal("secret".into())).await;
        assert_eq!(status, 500);
        assert!(!body.to_string().contains("secret"));
        let reference = body["data"]["ref"].as_str().unwrap();
        assert!(reference.starts_with("err_") && reference.len() == 12);
    }

    #[tokio::test]
    async fn try_again_later_says_when() {
        let error = ApiError::Engine(EngineError::Unavailable {
            reason: "the disk is full".into(),
            retry_after: Duration::from_millis(10),
        });
        let response = error.into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    }
}
