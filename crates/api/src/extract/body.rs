use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::reading::unreadable;
use crate::problem::{Problem, ProblemKind};

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Body<T> {
    /// What it says.
    pub(crate) value: T,
    /// Its bytes, for [`digest`](Body::digest).
    bytes: Bytes,
}

impl<T> Body<T> {
    /// SHA-256 of the body as it came: tells a repeated request from another one.
    pub(crate) fn digest(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha256::digest(&self.bytes))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let json = is_json(request.headers());
        let bytes = read(request, state).await?;
        if !json {
            return Err(Problem::new(
                ProblemKind::UnsupportedMediaType,
                "Expected Content-Type: application/json",
            )
            .at_field("Content-Type"));
        }
        Ok(Self {
            value: parse(&bytes)?,
            bytes,
        })
    }
}

/// A JSON body, or none at all, which is the same as `{}`.
#[derive(Debug)]
pub(crate) struct OptionalBody<T>(pub(crate) Body<T>);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read(Request::from_parts(parts.clone(), body), state).await?;
        if bytes.is_empty() {
            return Ok(Self(Body {
                value: parse(b"{}")?,
                bytes,
            }));
        }
        Body::from_request(Request::from_parts(parts, bytes.into()), state)
            .await
            .map(Self)
    }
}

async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    Bytes::from_request(request, state)
        .await
        .map_err(|e| match e.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Problem::new(
                ProblemKind::PayloadTooLarge,
                "The body is larger than allowed",
            ),
            _ => Problem::invalid("body", "The body could not be read to its end"),
        })
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()) else {
        return false;
    };
    let media = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"))
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|e| {
        let path = e.path().to_string();
        refusal(&path, e.inner())
    })?;
    json.end().map_err(|e| refusal(".", &e))?;
    Ok(value)
}

fn refusal(path: &str, error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    let text = error.to_string();
    let message = text
        .strip_suffix(&format!(" at line {line} column {column}"))
        .unwrap_or(&text);
    let problem = if error.is_data() {
        unreadable("body", path, message)
    } else {
        let detail =
            format!("The body is not valid JSON: {message} at line {line} column {column}");
        Problem::new(ProblemKind::MalformedJson, detail).at_field("body")
    };
    // Errors of a buffered value have no place of their own.
    let number = |n: usize| u32::try_from(n).ok().filter(|_| line > 0);
    Problem {
        line: number(line),
        column: number(column),
        ..problem
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[expect(dead_code, reason = "only read")]
        title: String,
    }

    #[test]
    fn syntax_errors_name_line_and_column() {
        let p = parse::<Sample>(b"{\n  \"title\": }").unwrap_err();
        assert_eq!((p.line, p.column), (Some(2), Some(12)), "{p:?}");
        assert!(
            p.kind.ends_with("malformed-json") && p.detail.contains("line 2 column 12"),
            "{p:?}"
        );
        assert!(
            parse::<Sample>(b"{\"title\": \"a\"} x")
                .unwrap_err()
                .kind
                .ends_with("malformed-json")
        );
        assert!(
            parse::<Sample>(b"")
                .unwrap_err()
                .kind
                .ends_with("malformed-json")
        );
    }

    #[test]
    fn wrong_fields_are_named() {
        for (body, field) in [
            (&b"{\"titel\": \"a\"}"[..], "titel"),
            (b"{\"title\": 1}", "title"),
            (b"{\"title\": \"a\", \"title\": \"b\"}", "title"),
            (b"{}", "title"),
            (b"[]", "body"),
        ] {
            assert_eq!(
                parse::<Sample>(body).unwrap_err().field.as_deref(),
                Some(field)
            );
        }
    }

    #[test]
    fn json_media_types_are_told_from_others() {
        let is = |text: &str| {
            is_json(&HeaderMap::from_iter([(
                CONTENT_TYPE,
                text.parse().unwrap(),
            )]))
        };
        assert!(is("application/json") && is("Application/JSON; charset=utf-8"));
        assert!(is("application/merge-patch+json"));
        assert!(!is("text/plain") && !is("application/jsonp") && !is(""));
    }
}
