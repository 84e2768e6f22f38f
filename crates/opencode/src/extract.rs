//! What handlers read from a request.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use sessiond_model::{IdError, MessageId, PartId, PermissionId, QuestionId, SessionId};

use crate::decode::{Kind, Reject};
use crate::error::ApiError;

/// What handlers answer.
pub(crate) type Reply = Result<Response, ApiError>;

/// A JSON answer.
pub(crate) fn json(value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(bytes) => Ok(json_bytes(bytes)),
        Err(e) => Ok(crate::error::unexpected(&e)),
    }
}

/// A JSON answer with a list of which a bound of ours may have left something out.
pub(crate) fn json_cut(value: &impl Serialize, is_cut: bool) -> Reply {
    let mut response = json(value)?;
    if is_cut {
        let says = axum::http::HeaderValue::from_static("true");
        response.headers_mut().insert("x-sessiond-cut", says);
    }
    Ok(response)
}

/// A JSON answer from its text.
pub(crate) fn json_bytes(bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], bytes).into_response()
}

/// An answer rendered before.
pub(crate) fn kept(rendered: sessiond_engine::Rendered) -> Reply {
    Ok(([(header::CONTENT_TYPE, "application/json")], rendered.body).into_response())
}

/// The query, as pairs in order.
#[derive(Debug, Default)]
pub(crate) struct Pairs(pub(crate) Vec<(String, String)>);

impl Pairs {
    /// The first value of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The same; empty counts as absent.
    pub(crate) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    fn of(parts: &Parts) -> Result<Self, ApiError> {
        let Query(pairs) =
            Query::try_from_uri(&parts.uri).map_err(|e| Reject::new(Kind::Query, e.body_text()))?;
        Ok(Self(pairs))
    }
}

impl<S: Sync> FromRequestParts<S> for Pairs {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::of(parts)
    }
}

/// The directory that a request outside of a session is for.
#[derive(Debug, Default)]
pub(crate) struct Selected {
    /// By query, else by header; `None` means the default one.
    pub(crate) directory: Option<String>,
    /// Whether the query named it.
    pub(crate) by_query: bool,
}

/// Clients encode the value once more than the place asks for.
fn decoded(value: &str) -> String {
    urlencoding::decode(value).map_or_else(|_| value.to_owned(), |v| v.into_owned())
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get(name)
        .and_then(|v| v.to_str().ok())
        .filter(|v| !v.is_empty())
}

impl<S: Sync> FromRequestParts<S> for Selected {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let query = Pairs::of(parts)?;
        let workspace = query
            .filled("workspace")
            .or_else(|| header_text(&parts.headers, "x-opencode-workspace"));
        if let Some(workspace) = workspace {
            return Err(ApiError::NoWorkspace(workspace.to_owned()));
        }
        let named = query.filled("directory").map(decoded);
        let by_query = named.is_some();
        let directory =
            named.or_else(|| header_text(&parts.headers, "x-opencode-directory").map(decoded));
        Ok(Self {
            directory,
            by_query,
        })
    }
}

/// The ids in a path, read in the order of the path.
struct PathIds(Vec<(String, String)>);

impl PathIds {
    async fn of<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let params = RawPathParams::from_request_parts(parts, state)
            .await
            .map_err(|e| Reject::new(Kind::Params, e.body_text()))?;
        Ok(Self(
            params
                .iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        ))
    }

    fn id<T>(&self, name: &str, parse: fn(&str) -> Result<T, IdError>) -> Result<T, Reject> {
        let text = self
            .0
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value.as_str());
        parse(text).map_err(|e| Reject::new(Kind::Params, e.to_string()).at(name))
    }
}

macro_rules! path_ids {
    ($(#[$doc:meta])* $name:ident { $($param:literal: $id:ident),+ }) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name($(pub(crate) $id),+);

        impl<S: Send + Sync> FromRequestParts<S> for $name {
            type Rejection = ApiError;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
                let ids = PathIds::of(parts, state).await?;
                Ok(Self($(ids.id($param, $id::parse)?),+))
            }
        }
    };
}

path_ids!(
    /// `/session/{sessionID}…`
    InSession { "sessionID": SessionId }
);
path_ids!(
    /// `/session/{sessionID}/message/{messageID}…`
    InMessage { "sessionID": SessionId, "messageID": MessageId }
);
path_ids!(
    /// `/session/{sessionID}/message/{messageID}/part/{partID}`
    InPart { "sessionID": SessionId, "messageID": MessageId, "partID": PartId }
);
path_ids!(
    /// `/session/{sessionID}/permissions/{permissionID}`
    InSessionPermission { "sessionID": SessionId, "permissionID": PermissionId }
);
path_ids!(
    /// `/permission/{requestID}/…`
    InPermission { "requestID": PermissionId }
);
path_ids!(
    /// `/question/{requestID}/…`
    InQuestion { "requestID": QuestionId }
);

/// A JSON body; `None` when there is none.
#[derive(Debug)]
pub(crate) struct Payload(pub(crate) Option<Value>);

/// The same, of any content type and with the refusals of the endpoints that OpenCode
/// reads raw.
#[derive(Debug)]
pub(crate) struct RawPayload(pub(crate) Option<Value>);

impl<S: Send + Sync> FromRequest<S> for Payload {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if let Some(value) = request.headers().get(header::CONTENT_TYPE) {
            let value = value.to_str().unwrap_or("?");
            let media = value.split(';').next().unwrap_or_default().trim();
            if !media.is_empty() && !media.eq_ignore_ascii_case("application/json") {
                return Err(ApiError::MediaType(media.to_owned()));
            }
        }
        Ok(Self(parsed(request, state).await??))
    }
}

impl<S: Send + Sync> FromRequest<S> for RawPayload {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let body = parsed(request, state).await?;
        Ok(Self(body.map_err(ApiError::RejectedRaw)?))
    }
}

async fn parsed<S: Send + Sync>(
    request: Request,
    state: &S,
) -> Result<Result<Option<Value>, Reject>, ApiError> {
    let bytes = Bytes::from_request(request, state)
        .await
        .map_err(|e| ApiError::Body {
            status: e.status(),
            reason: e.body_text(),
        })?;
    if bytes.is_empty() {
        return Ok(Ok(None));
    }
    Ok(serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| Reject::new(Kind::Payload, format!("Malformed JSON: {e}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn selected(uri: &str, header: Option<&str>) -> Result<Selected, ApiError> {
        let mut request = Request::builder().uri(uri);
        if let Some(value) = header {
            request = request.header("x-opencode-directory", value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        Selected::from_request_parts(&mut parts, &()).await
    }

    #[tokio::test]
    async fn the_query_beats_the_header_and_both_are_decoded() {
        let s = selected("/x?directory=%2Fa%2520b", Some("%2Fc"))
            .await
            .unwrap();
        assert_eq!((s.directory.as_deref(), s.by_query), (Some("/a b"), true));
        let s = selected("/x?directory=/a+b", None).await.unwrap();
        assert_eq!(s.directory.as_deref(), Some("/a b"));
        let s = selected("/x?directory=", Some("%2Fc%20d")).await.unwrap();
        assert_eq!((s.directory.as_deref(), s.by_query), (Some("/c d"), false));
        let s = selected("/x", None).await.unwrap();
        assert_eq!(s.directory, None);
        let s = selected("/x", Some("%zz%ff")).await.unwrap();
        assert_eq!(
            s.directory.as_deref(),
            Some("%zz%ff"),
            "undecodable: as it is"
        );
    }

    #[tokio::test]
    async fn there_are_no_workspaces() {
        let error = selected("/x?workspace=wrk_1", None).await.unwrap_err();
        assert_eq!(error.to_string(), "Workspace not found: wrk_1");
        assert!(selected("/x?workspace=", None).await.is_ok());
    }
}
