use axum::extract::FromRequestParts;
use axum::http::header::{ACCEPT, HeaderMap, IF_MATCH, IF_NONE_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue};
use sessiond_model::Seq;

use crate::limits::KEY_MAX;
use crate::problem::Problem;

/// A revision that no session reaches, for entity tags that are not ours: they never match.
const NO_REVISION: u64 = i64::MAX as u64;

/// The entity tag of a revision.
pub(crate) fn etag(revision: u64) -> HeaderValue {
    let mut tag = String::with_capacity(22);
    tag.push('"');
    tag.push_str(&revision.to_string());
    tag.push('"');
    HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"0\""))
}

/// `If-Match`: the revision that must hold, when one is asked for.
#[derive(Debug)]
pub(crate) struct IfMatch(pub(crate) Option<u64>);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match tags(&parts.headers, &IF_MATCH)? {
            None | Some(Tags::Any) => Ok(Self(None)),
            // A weak tag never matches strongly (RFC 9110, 13.1.1).
            Some(Tags::Listed(list)) => match list.as_slice() {
                [one] => Ok(Self(Some(
                    one.revision.filter(|_| !one.weak).unwrap_or(NO_REVISION),
                ))),
                _ => Err(Problem::invalid(
                    "If-Match",
                    "Expected one entity tag, e.g. \"3\", or *",
                )),
            },
        }
    }
}

/// `If-None-Match`: the revisions that the client has already.
#[derive(Debug)]
pub(crate) struct IfNoneMatch(Option<Tags>);

impl IfNoneMatch {
    /// Whether the client has this revision.
    pub(crate) fn has(&self, revision: u64) -> bool {
        match &self.0 {
            None => false,
            Some(Tags::Any) => true,
            Some(Tags::Listed(list)) => list.iter().any(|t| t.revision == Some(revision)),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IfNoneMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        tags(&parts.headers, &IF_NONE_MATCH).map(Self)
    }
}

#[derive(Debug)]
enum Tags {
    Any,
    Listed(Vec<Tag>),
}

#[derive(Debug)]
struct Tag {
    weak: bool,
    /// Absent in tags that are well-formed, but not ours.
    revision: Option<u64>,
}

fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let malformed = || {
        Problem::invalid(
            title(name),
            "Expected an entity tag in double quotes, e.g. \"3\", or *",
        )
    };
    let mut list = Vec::new();
    for value in headers.get_all(name) {
        let text = value.to_str().map_err(|_| malformed())?.trim();
        if text == "*" {
            return Ok(Some(Tags::Any));
        }
        for tag in text.split(',') {
            list.push(tag_of(tag.trim()).ok_or_else(malformed)?);
        }
    }
    Ok((!list.is_empty()).then_some(Tags::Listed(list)))
}

fn tag_of(text: &str) -> Option<Tag> {
    let (weak, quoted) = text
        .strip_prefix("W/")
        .map_or((false, text), |rest| (true, rest));
    let opaque = quoted.strip_prefix('"')?.strip_suffix('"')?;
    if opaque.contains(|c: char| c == '"' || !c.is_ascii_graphic()) {
        return None;
    }
    // Only the canonical form is ours: "3", never "03" or "+3".
    let revision = opaque
        .parse::<u64>()
        .ok()
        .filter(|n| n.to_string() == opaque && *n < NO_REVISION);
    Some(Tag { weak, revision })
}

/// The name as documentation spells it; header names are kept in lower case.
fn title(name: &HeaderName) -> &'static str {
    if *name == IF_MATCH {
        "If-Match"
    } else {
        "If-None-Match"
    }
}

/// `Idempotency-Key`.
#[derive(Debug)]
pub(crate) struct IdempotencyKey(Option<String>);

impl IdempotencyKey {
    /// The key, when there is one, with the digest of the request it came with.
    pub(crate) fn with(self, digest: impl FnOnce() -> String) -> Option<(String, String)> {
        self.0.map(|key| (key, digest()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else {
            return Ok(Self(None));
        };
        let key = value.to_str().ok().filter(|k| {
            (1..=KEY_MAX).contains(&k.len())
                && k.bytes().all(|b| b.is_ascii_graphic())
                && values.next().is_none()
        });
        key.map(|k| Self(Some(k.to_owned()))).ok_or_else(|| {
            Problem::invalid(
                "Idempotency-Key",
                format!("Expected one key of 1 to {KEY_MAX} visible ASCII characters"),
            )
        })
    }
}

/// `Last-Event-ID`: the position to continue after.
#[derive(Debug)]
pub(crate) struct LastEventId(pub(crate) Option<Seq>);

impl<S: Send + Sync> FromRequestParts<S> for LastEventId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get("last-event-id") else {
            return Ok(Self(None));
        };
        let seq = value
            .to_str()
            .ok()
            .and_then(|t| t.trim().parse::<u64>().ok());
        seq.filter(|n| i64::try_from(*n).is_ok())
            .map(|n| Self(Some(Seq(n))))
            .ok_or_else(|| {
                Problem::invalid(
                    "Last-Event-ID",
                    "Expected the `id` of an earlier event, a whole number",
                )
            })
    }
}

/// Whether `Accept` asks for a live stream.
#[derive(Debug)]
pub(crate) struct WantsStream(pub(crate) bool);

impl<S: Send + Sync> FromRequestParts<S> for WantsStream {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let wants = parts
            .headers
            .get_all(ACCEPT)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .any(|v| {
                v.split(',').any(|media| {
                    media
                        .split(';')
                        .next()
                        .is_some_and(|m| m.trim().eq_ignore_ascii_case("text/event-stream"))
                })
            });
        Ok(Self(wants))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    async fn extract<T: FromRequestParts<()>>(name: &str, value: &str) -> Result<T, T::Rejection> {
        let request = Request::builder().header(name, value).body(()).unwrap();
        T::from_request_parts(&mut request.into_parts().0, &()).await
    }

    #[tokio::test]
    async fn if_match_takes_one_strong_tag() {
        for (value, revision) in [
            ("\"3\"", Some(3)),
            ("*", None),
            ("W/\"3\"", Some(NO_REVISION)),
            ("\"abc\"", Some(NO_REVISION)),
        ] {
            assert_eq!(
                extract::<IfMatch>("if-match", value).await.unwrap().0,
                revision,
                "{value}"
            );
        }
        for bad in ["3", "\"3", "\"1\", \"2\"", "", "\"a b\""] {
            let problem = extract::<IfMatch>("if-match", bad).await.unwrap_err();
            assert_eq!(
                (problem.status, problem.field.as_deref()),
                (400, Some("If-Match")),
                "{bad}"
            );
        }
    }

    #[tokio::test]
    async fn if_none_match_takes_a_list_of_any_tags() {
        let has = extract::<IfNoneMatch>("if-none-match", "\"x\", W/\"3\"")
            .await
            .unwrap();
        assert!(has.has(3) && !has.has(4));
        assert!(
            extract::<IfNoneMatch>("if-none-match", "*")
                .await
                .unwrap()
                .has(9)
        );
        assert!(extract::<IfNoneMatch>("if-none-match", "3").await.is_err());
    }

    #[tokio::test]
    async fn idempotency_keys_are_visible_ascii() {
        let longest = "k".repeat(KEY_MAX);
        assert!(
            extract::<IdempotencyKey>("idempotency-key", &longest)
                .await
                .is_ok()
        );
        for bad in ["", "a b", "ä", &"k".repeat(KEY_MAX + 1)] {
            assert!(
                extract::<IdempotencyKey>("idempotency-key", bad)
                    .await
                    .is_err(),
                "{bad}"
            );
        }
    }

    #[tokio::test]
    async fn streams_are_asked_for_by_media_type() {
        assert!(
            extract::<WantsStream>("accept", "text/html, Text/Event-Stream;q=0.9")
                .await
                .unwrap()
                .0
        );
        assert!(
            !extract::<WantsStream>("accept", "application/json")
                .await
                .unwrap()
                .0
        );
    }

    #[tokio::test]
    async fn positions_are_whole_numbers() {
        assert_eq!(
            extract::<LastEventId>("last-event-id", "12")
                .await
                .unwrap()
                .0,
            Some(Seq(12))
        );
        for bad in ["x", "-1", "", "18446744073709551615"] {
            assert!(
                extract::<LastEventId>("last-event-id", bad).await.is_err(),
                "{bad}"
            );
        }
    }
}
