//! The surfaces, and how each of them says no.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    /// `/opencode/*`, and OpenCode's health at the origin root.
    OpenCode = 0,
    /// `/opencode/api/*`, OpenCode's second API, with error shapes of its own.
    OpenCodeV2 = 1,
    /// `/v1/*`.
    Core = 2,
    /// Probes, and what is nowhere.
    Root = 3,
    /// `/s/*`: shared sessions.
    Share = 4,
}

/// Where shared sessions are; what follows is a secret.
const SHARES: &str = "/s/";

impl Surface {
    pub(crate) const ALL: [Self; 5] = [
        Self::OpenCode,
        Self::OpenCodeV2,
        Self::Core,
        Self::Root,
        Self::Share,
    ];

    pub(crate) fn of(path: &str) -> Self {
        let below = |prefix: &str| {
            path.strip_prefix(prefix)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if below("/opencode") {
            if below("/opencode/api") {
                Self::OpenCodeV2
            } else {
                Self::OpenCode
            }
        } else if below("/v1") {
            Self::Core
        } else if path.starts_with(SHARES) {
            Self::Share
        } else if path == "/global/health" {
            Self::OpenCode
        } else {
            Self::Root
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OpenCode => "opencode",
            Self::OpenCodeV2 => "opencode_v2",
            Self::Core => "v1",
            Self::Root => "root",
            Self::Share => "share",
        }
    }

    /// The path as it may be logged.
    pub(crate) fn loggable(self, path: &str) -> &str {
        match self {
            Self::Share => SHARES,
            _ => path,
        }
    }

    pub(crate) fn is_opencode(self) -> bool {
        matches!(self, Self::OpenCode | Self::OpenCodeV2)
    }
}

/// Why a request is answered before (or instead of) its handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No token, or a wrong one.
    Unauthorized,
    /// Called by a name that is not ours.
    Host,
    /// Called from a page of an origin that is not ours.
    Origin,
    /// The body is too large.
    TooLarge { limit: u64 },
    /// Too much at once.
    Overloaded,
    /// It took too long.
    TooSlow { seconds: u64 },
    /// The handler panicked.
    Panic { reference: String },
    /// The node that has the session can't be reached.
    NodeAway { node: String },
    /// Nothing is here.
    Nowhere,
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Host => StatusCode::MISDIRECTED_REQUEST,
            Self::Origin => StatusCode::FORBIDDEN,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Overloaded | Self::TooSlow { .. } | Self::NodeAway { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Panic { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Nowhere => StatusCode::NOT_FOUND,
        }
    }

    /// The name of this problem: OpenCode's `name` or `_tag`, `/v1`'s `code`.
    fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Unauthorized => ("UnauthorizedError", "unauthorized"),
            Self::Host => ("MisdirectedRequest", "unknown_host"),
            Self::Origin => ("ForbiddenError", "foreign_origin"),
            Self::TooLarge { .. } => ("PayloadTooLarge", "too_large"),
            Self::Overloaded => ("ServiceUnavailableError", "overloaded"),
            Self::TooSlow { .. } => ("ServiceUnavailableError", "timeout"),
            Self::NodeAway { .. } => ("ServiceUnavailableError", "node_away"),
            Self::Panic { .. } => ("UnknownError", "internal"),
            Self::Nowhere => ("NotFoundError", "not_found"),
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Unauthorized => "Authentication required".into(),
            Self::Host => "This server does not go by the name in the Host header; \
                 add it to `allowed_hosts` in sessiond.toml if it should"
                .into(),
            Self::Origin => "Pages of this origin may not call this server; \
                 add it to `allowed_origins` in sessiond.toml if they should"
                .into(),
            Self::TooLarge { limit } => {
                format!("The request body is larger than {limit} bytes (`limits.request_size`)")
            }
            Self::Overloaded => "Too many requests at once; try again in a second".into(),
            Self::TooSlow { seconds } => {
                format!("No answer within {seconds} s (`limits.request_timeout`); try again")
            }
            Self::NodeAway { node } => format!(
                "Node {node}, which holds the session, does not answer; another takes over when its lease has ended"
            ),
            Self::Panic { .. } => "Unexpected server error. Check server logs for details.".into(),
            Self::Nowhere => "Nothing is here: OpenCode clients use /opencode, others /v1".into(),
        }
    }

    fn body(&self, surface: Surface) -> Option<Value> {
        let (name, code) = self.names();
        let message = self.message();
        let mut body = match surface {
            // The real server's answer has no body here.
            Surface::OpenCode if *self == Self::Unauthorized => return None,
            Surface::OpenCode => json!({"name": name, "data": {"message": message}}),
            Surface::OpenCodeV2 => json!({"_tag": name, "message": message}),
            Surface::Core | Surface::Root | Surface::Share => json!({
                "type": "about:blank",
                "title": self.status().canonical_reason(),
                "status": self.status().as_u16(),
                "code": code,
                "detail": message,
            }),
        };
        if let Self::Panic { reference } = self {
            let place = if surface == Surface::OpenCode {
                &mut body["data"]
            } else {
                &mut body
            };
            place["ref"] = reference.as_str().into();
        }
        Some(body)
    }

    pub(crate) fn into_response(self, surface: Surface) -> Response<Body> {
        let body = self.body(surface);
        let mut response = Response::new(match &body {
            Some(body) => Body::from(body.to_string()),
            None => Body::empty(),
        });
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        if body.is_some() {
            let kind = if surface.is_opencode() {
                "application/json"
            } else {
                "application/problem+json"
            };
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        match self {
            Self::Unauthorized => {
                let challenge = if surface.is_opencode() {
                    r#"Basic realm="Secure Area""#
                } else {
                    r#"Bearer realm="sessiond""#
                };
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            Self::Overloaded | Self::TooSlow { .. } | Self::NodeAway { .. } => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surfaces() {
        for (path, surface) in [
            ("/opencode", Surface::OpenCode),
            ("/opencode/session", Surface::OpenCode),
            ("/opencode/api/session", Surface::OpenCodeV2),
            ("/opencode/apis", Surface::OpenCode),
            ("/opencodex", Surface::Root),
            ("/global/health", Surface::OpenCode),
            ("/v1/sessions", Surface::Core),
            ("/v10", Surface::Root),
            ("/metrics", Surface::Root),
            ("/s/token", Surface::Share),
            ("/s/token/events", Surface::Share),
            ("/s", Surface::Root),
            ("/session", Surface::Root),
            ("//s/token", Surface::Root),
        ] {
            assert_eq!(Surface::of(path), surface, "{path}");
        }
    }

    #[test]
    fn each_surface_refuses_in_its_own_shape() {
        let panic = Refusal::Panic {
            reference: "err_1".into(),
        };
        assert_eq!(
            panic.body(Surface::OpenCode).unwrap()["data"]["ref"],
            "err_1"
        );
        assert_eq!(panic.body(Surface::OpenCodeV2).unwrap()["ref"], "err_1");
        assert_eq!(panic.body(Surface::Core).unwrap()["status"], 500);
        assert_eq!(Refusal::Unauthorized.body(Surface::OpenCode), None);
        assert_eq!(
            Refusal::Unauthorized.body(Surface::OpenCodeV2).unwrap(),
            json!({"_tag": "UnauthorizedError", "message": "Authentication required"})
        );
        let response = Refusal::Overloaded.into_response(Surface::Core);
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
    }
}
