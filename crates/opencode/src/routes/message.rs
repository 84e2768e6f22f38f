//! `/session/{id}/message`: the transcript.

use axum::extract::{OriginalUri, State};
use axum::http::header::{ACCESS_CONTROL_EXPOSE_HEADERS, HOST, LINK};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sessiond_engine::Rendered;
use sessiond_store::{MessageCursor, MessageQuery};

use crate::decode::{self, Kind, Reject};
use crate::error::ApiError;
use crate::extract::{self, InMessage, InPart, InSession, Pairs, Payload, Reply};
use crate::state::App;
use crate::wire::{self, PartDto};

/// The last position that a store can hold.
const MAX_POSITION: u64 = i64::MAX as u64;
const NEXT_CURSOR: &str = "x-next-cursor";

pub(crate) async fn list(
    State(app): State<App>,
    InSession(id): InSession,
    query: Pairs,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Reply {
    let asked = page_query(&query)?;
    let key = format!("page {id} {asked:?}");
    let render = async {
        let page = app.engine.messages(&id, &asked).await?;
        let body = wire::page(&page.messages).into();
        Ok::<_, ApiError>(Rendered {
            body,
            older: page.older,
        })
    };
    let page = app.engine.replies().get(Some(&id), key, render).await?;
    let older = page.older;
    let mut response = extract::kept(page)?;
    if let Some(older) = older {
        let next = encode(older);
        let link = next_url(&headers, &uri, &query, &next);
        announce(&mut response, &next, &link);
    }
    Ok(response)
}

/// `limit` and `before`.
fn page_query(query: &Pairs) -> Result<MessageQuery, ApiError> {
    let limit = match query.get("limit") {
        None => None,
        Some(text) => limit(text)?,
    };
    let before = match query.get("before") {
        None => None,
        Some(_) if limit.is_none() => return Err(raw("before", "Expected a limit too")),
        Some(text) => Some(decode_cursor(text).ok_or_else(|| raw("before", "Invalid cursor"))?),
    };
    Ok(MessageQuery { before, limit })
}

fn raw(field: &str, reason: &str) -> ApiError {
    ApiError::RejectedRaw(Reject::new(Kind::Query, reason).at(field))
}

/// 0 and nothing mean all.
fn limit(text: &str) -> Result<Option<u32>, Reject> {
    let wrong = |reason: String| Reject::new(Kind::Query, reason).at("limit");
    if text.is_empty() {
        return Ok(None);
    }
    let number = text
        .parse::<f64>()
        .ok()
        .filter(|n| n.is_finite())
        .ok_or_else(|| wrong("Expected an integer, got NaN".into()))?;
    if number.fract() != 0.0 {
        return Err(wrong(format!("Expected an integer, got {number}")));
    }
    if number < 0.0 {
        return Err(wrong(format!(
            "Expected a value greater than or equal to 0, got {number}"
        )));
    }
    #[expect(clippy::cast_possible_truncation, reason = "saturates")]
    #[expect(clippy::cast_sign_loss, reason = "checked above")]
    Ok(Some(number as u32).filter(|n| *n > 0))
}

fn encode(cursor: MessageCursor) -> String {
    URL_SAFE_NO_PAD.encode(format!("{{\"position\":{}}}", cursor.0))
}

fn decode_cursor(text: &str) -> Option<MessageCursor> {
    let json = URL_SAFE_NO_PAD.decode(text).ok()?;
    let value: serde_json::Value = serde_json::from_slice(&json).ok()?;
    let position = value.get("position")?.as_u64()?;
    (position <= MAX_POSITION).then_some(MessageCursor(position))
}

/// This request's address, one page on.
fn next_url(headers: &HeaderMap, uri: &Uri, query: &Pairs, next: &str) -> String {
    let text = |name| {
        headers
            .get(name)
            .and_then(|v: &HeaderValue| v.to_str().ok())
    };
    let host = text(HOST.as_str()).unwrap_or("localhost");
    let scheme = match text("x-forwarded-proto") {
        Some("https") => "https",
        _ => "http",
    };
    let kept = query
        .0
        .iter()
        .filter(|(name, _)| name != "before")
        .map(|(name, value)| {
            format!(
                "{}={}&",
                urlencoding::encode(name),
                urlencoding::encode(value)
            )
        });
    let path = uri.path();
    format!(
        "{scheme}://{host}{path}?{}before={next}",
        kept.collect::<String>()
    )
}

fn announce(response: &mut Response, next: &str, link: &str) {
    let headers = response.headers_mut();
    if let Ok(link) = HeaderValue::from_str(&format!("<{link}>; rel=\"next\"")) {
        headers.insert(LINK, link);
    }
    if let Ok(next) = HeaderValue::from_str(next) {
        headers.insert(NEXT_CURSOR, next);
    }
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Link, X-Next-Cursor"),
    );
}

pub(crate) async fn get(State(app): State<App>, InMessage(id, message): InMessage) -> Reply {
    let doc = app.engine.message(&id, &message).await?;
    Ok(extract::json_bytes(wire::message_with_parts(&doc)))
}

pub(crate) async fn delete(State(app): State<App>, InMessage(id, message): InMessage) -> Reply {
    app.engine.delete_message(&id, &message).await?;
    extract::json(&true)
}

pub(crate) async fn put_part(
    State(app): State<App>,
    InPart(id, message, part): InPart,
    body: Payload,
) -> Reply {
    let given = decode::part(body.0)?;
    if given.session_id != id || given.message_id != message || given.id != part {
        let reason = "Expected the ids of the path";
        return Err(ApiError::RejectedRaw(Reject::new(Kind::Payload, reason)));
    }
    let part = app.engine.put_part(given).await?;
    extract::json(&PartDto::of(&part))
}

pub(crate) async fn delete_part(
    State(app): State<App>,
    InPart(id, message, part): InPart,
) -> Reply {
    app.engine.delete_part(&id, &message, &part).await?;
    extract::json(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Pairs {
        Pairs(
            pairs
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
        )
    }

    #[test]
    fn cursors_are_opaque_and_checked() {
        let next = encode(MessageCursor(12));
        assert!(!next.contains(['=', '+', '/', '{']));
        assert_eq!(decode_cursor(&next), Some(MessageCursor(12)));
        let far = encode(MessageCursor(u64::MAX));
        for bad in [
            far.as_str(),
            "",
            "!!",
            "e30",
            "eyJpZCI6Im1zZ18xIiwidGltZSI6MX0",
        ] {
            assert_eq!(decode_cursor(bad), None);
        }
    }

    #[test]
    fn limits_are_refused_in_the_words_of_opencode() {
        let refusal = |text| limit(text).unwrap_err().to_string();
        assert_eq!(
            refusal("abc"),
            "Expected an integer, got NaN\n  at [\"limit\"]"
        );
        assert_eq!(
            refusal("1.5"),
            "Expected an integer, got 1.5\n  at [\"limit\"]"
        );
        assert_eq!(
            refusal("-1"),
            "Expected a value greater than or equal to 0, got -1\n  at [\"limit\"]"
        );
        assert_eq!(limit("0"), Ok(None));
        assert_eq!(limit(""), Ok(None));
        assert_eq!(limit("20"), Ok(Some(20)));
        assert!(page_query(&pairs(&[("before", "x")])).is_err());
    }

    #[test]
    fn the_link_is_absolute_and_keeps_the_rest_of_the_query() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("127.0.0.1:4096"));
        let uri = "/opencode/session/ses_1/message?limit=2&directory=%2Fa%20b&before=old"
            .parse()
            .unwrap();
        let query = pairs(&[("limit", "2"), ("directory", "/a b"), ("before", "old")]);
        assert_eq!(
            next_url(&headers, &uri, &query, "abc"),
            "http://127.0.0.1:4096/opencode/session/ses_1/message?limit=2&directory=%2Fa%20b&before=abc"
        );
    }
}
