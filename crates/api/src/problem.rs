//! Errors as RFC 9457 `application/problem+json`.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sessiond_engine::{Elsewhere, EngineError};
use sessiond_store::EntityKind;
use utoipa::ToSchema;

/// Media type of a problem.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// The kinds of problems. Each has one `type` URI, one title and one status, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// A value of the request is wrong; `field` names it.
    InvalidRequest,
    /// The body is not JSON.
    MalformedJson,
    /// No valid token.
    Unauthorized,
    /// The request's `Host` or `Origin` is not allowed.
    Forbidden,
    /// Switched off by the server's configuration.
    Disabled,
    /// There is no such thing (any more).
    NotFound,
    /// There is no such address.
    UnknownRoute,
    /// The address exists, but not with this method.
    MethodNotAllowed,
    /// The request took too long to arrive.
    RequestTimeout,
    /// The thing is in a state that forbids it, or the id is taken.
    Conflict,
    /// The session has open turns.
    Busy,
    /// Files that were not captured would have to be brought back.
    NotCaptured,
    /// `If-Match` does not hold.
    PreconditionFailed,
    /// The body is too large.
    PayloadTooLarge,
    /// The body is not of a type that is understood here.
    UnsupportedMediaType,
    /// The `Idempotency-Key` was used for another request.
    IdempotencyKeyReused,
    /// A fault of the server.
    Internal,
    /// Not now; try again after `Retry-After` seconds.
    Unavailable,
}

impl ProblemKind {
    fn facts(self) -> (&'static str, &'static str, StatusCode) {
        use ProblemKind as K;
        match self {
            K::InvalidRequest => (
                "urn:sessiond:problem:invalid-request",
                "The request is not valid",
                StatusCode::BAD_REQUEST,
            ),
            K::MalformedJson => (
                "urn:sessiond:problem:malformed-json",
                "The body is not valid JSON",
                StatusCode::BAD_REQUEST,
            ),
            K::Unauthorized => (
                "urn:sessiond:problem:unauthorized",
                "A valid token is required",
                StatusCode::UNAUTHORIZED,
            ),
            K::Forbidden => (
                "urn:sessiond:problem:forbidden",
                "Not allowed from there",
                StatusCode::FORBIDDEN,
            ),
            K::Disabled => (
                "urn:sessiond:problem:disabled",
                "Switched off here",
                StatusCode::FORBIDDEN,
            ),
            K::NotFound => (
                "urn:sessiond:problem:not-found",
                "Not found",
                StatusCode::NOT_FOUND,
            ),
            K::UnknownRoute => (
                "urn:sessiond:problem:unknown-route",
                "No such address",
                StatusCode::NOT_FOUND,
            ),
            K::MethodNotAllowed => (
                "urn:sessiond:problem:method-not-allowed",
                "No such method here",
                StatusCode::METHOD_NOT_ALLOWED,
            ),
            K::RequestTimeout => (
                "urn:sessiond:problem:request-timeout",
                "The request took too long",
                StatusCode::REQUEST_TIMEOUT,
            ),
            K::Conflict => (
                "urn:sessiond:problem:conflict",
                "In conflict with the present state",
                StatusCode::CONFLICT,
            ),
            K::Busy => (
                "urn:sessiond:problem:busy",
                "The session is busy",
                StatusCode::CONFLICT,
            ),
            K::NotCaptured => (
                "urn:sessiond:problem:not-captured",
                "Files can't be brought back",
                StatusCode::CONFLICT,
            ),
            K::PreconditionFailed => (
                "urn:sessiond:problem:precondition-failed",
                "It has changed",
                StatusCode::PRECONDITION_FAILED,
            ),
            K::PayloadTooLarge => (
                "urn:sessiond:problem:payload-too-large",
                "The body is too large",
                StatusCode::PAYLOAD_TOO_LARGE,
            ),
            K::UnsupportedMediaType => (
                "urn:sessiond:problem:unsupported-media-type",
                "Not a supported media type",
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ),
            K::IdempotencyKeyReused => (
                "urn:sessiond:problem:idempotency-key-reused",
                "The key was used for another request",
                StatusCode::UNPROCESSABLE_ENTITY,
            ),
            K::Internal => (
                "urn:sessiond:problem:internal",
                "A fault of the server",
                StatusCode::INTERNAL_SERVER_ERROR,
            ),
            K::Unavailable => (
                "urn:sessiond:problem:unavailable",
                "Not available now",
                StatusCode::SERVICE_UNAVAILABLE,
            ),
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.facts().2
    }
}

/// A problem: what is wrong with a request, or with the server (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// URI of the kind of problem; stable, made for programs.
    #[serde(rename = "type")]
    #[schema(
        example = "urn:sessiond:problem:not-found",
        pattern = "^urn:sessiond:problem:[a-z-]+$"
    )]
    pub kind: &'static str,
    /// The kind in words.
    #[schema(example = "Not found")]
    pub title: &'static str,
    /// The HTTP status, again.
    #[schema(example = 404, minimum = 400, maximum = 599)]
    pub status: u16,
    /// What is wrong this time, and what would be right.
    #[schema(example = "Session not found: ses_mine")]
    pub detail: String,
    /// The field, query parameter, path parameter or header that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub field: Option<String>,
    /// Line of the body where reading failed, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub line: Option<u32>,
    /// Column of that line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub column: Option<u32>,
    /// Seconds after which to try again: the value of `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub retry_after: Option<u32>,
    /// The node to ask instead: for the server, not for clients.
    #[serde(skip)]
    pub elsewhere: Option<Box<Elsewhere>>,
}

/// Seconds until a session may be held by a node that can be reached.
const ELSEWHERE_RETRY: u32 = 2;

impl Problem {
    /// A problem of that kind.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let (kind, title, status) = kind.facts();
        Self {
            kind,
            title,
            status: status.as_u16(),
            detail: detail.into(),
            field: None,
            line: None,
            column: None,
            retry_after: None,
            elsewhere: None,
        }
    }

    /// A wrong value; the detail is "field: reason".
    #[must_use]
    pub fn invalid(field: impl Into<String>, reason: impl AsRef<str>) -> Self {
        let field = field.into();
        Self::new(
            ProblemKind::InvalidRequest,
            format!("{field}: {}", reason.as_ref()),
        )
        .at_field(field)
    }

    /// The same with the name of the wrong field.
    #[must_use]
    pub fn at_field(self, field: impl Into<String>) -> Self {
        Self {
            field: Some(field.into()),
            ..self
        }
    }
}

/// The engine names fields as OpenCode does; these are the same in our words.
fn own_name(field: &str) -> &str {
    match field {
        "model.providerID" => "model.provider_id",
        "model.modelID" => "model.id",
        "messageID" => "message_id",
        "parentID" => "parent_id",
        other => other,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, axum::Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(elsewhere) = self.elsewhere {
            response.extensions_mut().insert(*elsewhere);
        }
        response
    }
}

impl From<EngineError> for Problem {
    fn from(e: EngineError) -> Self {
        let detail = e.to_string();
        match e {
            EngineError::NotFound { .. } => Self::new(ProblemKind::NotFound, detail),
            EngineError::Invalid { field, reason } => Self::invalid(own_name(&field), reason),
            EngineError::Conflict {
                kind: EntityKind::IdempotencyKey,
                reason,
                ..
            } => Self::new(
                ProblemKind::IdempotencyKeyReused,
                format!("Idempotency-Key: {reason}"),
            )
            .at_field("Idempotency-Key"),
            EngineError::Conflict {
                owner: Some(owner), ..
            } => Self::new(
                ProblemKind::Conflict,
                format!("{detail} (it belongs to session {owner})"),
            ),
            EngineError::Conflict { .. } => Self::new(ProblemKind::Conflict, detail),
            EngineError::Busy(_) => Self::new(ProblemKind::Busy, detail),
            EngineError::NotCaptured { .. } => Self::new(ProblemKind::NotCaptured, detail),
            EngineError::NoNode { .. } => Self::new(ProblemKind::Conflict, detail),
            EngineError::Elsewhere(elsewhere) => Self {
                retry_after: Some(ELSEWHERE_RETRY),
                elsewhere: Some(Box::new(elsewhere)),
                ..Self::new(ProblemKind::Unavailable, detail)
            },
            EngineError::Changed { .. } => {
                Self::new(ProblemKind::PreconditionFailed, detail).at_field("If-Match")
            }
            EngineError::Disabled { .. } => Self::new(ProblemKind::Disabled, detail),
            EngineError::Unavailable { retry_after, .. } => {
                let seconds = retry_after.as_millis().div_ceil(1_000).max(1);
                let retry_after = Some(u32::try_from(seconds).unwrap_or(u32::MAX));
                Self {
                    retry_after,
                    ..Self::new(ProblemKind::Unavailable, detail)
                }
            }
            // What went wrong inside is for the log, not for clients.
            EngineError::Internal(_) => {
                tracing::error!(error = %detail, "request failed");
                Self::new(ProblemKind::Internal, "The server failed; its log says why")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn conflict(kind: EntityKind) -> EngineError {
        EngineError::Conflict {
            kind,
            id: "x".into(),
            owner: None,
            reason: "taken".into(),
        }
    }

    #[test]
    fn engine_errors_become_the_right_status() {
        let table = [
            (
                EngineError::NotFound {
                    kind: EntityKind::Session,
                    id: "ses_1".into(),
                },
                404,
                None,
            ),
            (
                EngineError::Invalid {
                    field: "title".into(),
                    reason: "no".into(),
                },
                400,
                Some("title"),
            ),
            (
                EngineError::Invalid {
                    field: "model.providerID".into(),
                    reason: "no".into(),
                },
                400,
                Some("model.provider_id"),
            ),
            (conflict(EntityKind::Session), 409, None),
            (
                conflict(EntityKind::IdempotencyKey),
                422,
                Some("Idempotency-Key"),
            ),
            (EngineError::Changed { expected: 3 }, 412, Some("If-Match")),
            (EngineError::Internal("secret".into()), 500, None),
            (
                EngineError::Disabled {
                    what: "sharing",
                    by: "`share.enabled` in sessiond.toml",
                },
                403,
                None,
            ),
        ];
        for (error, status, field) in table {
            let problem = Problem::from(error);
            assert_eq!(
                (problem.status, problem.field.as_deref()),
                (status, field),
                "{problem:?}"
            );
            assert!(!problem.detail.contains("secret"), "{problem:?}");
        }
    }

    #[test]
    fn retry_after_is_rounded_up_to_whole_seconds() {
        let error = EngineError::Unavailable {
            reason: "full".into(),
            retry_after: Duration::from_millis(1_001),
        };
        let response = Problem::from(error).into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
    }
}
