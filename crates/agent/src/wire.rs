//! JSON-RPC 2.0 as agents speak it: one message a line, in both directions.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The JSON-RPC code for a method we don't offer.
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
/// The JSON-RPC code agents use for "log in first".
pub(crate) const AUTH_REQUIRED: i64 = -32000;

/// An agent's id of one of its own requests: a number (0 too) or a text. It says nothing
/// about our requests, which are numbered apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub(crate) Value);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A JSON-RPC error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RpcError {
    /// Its code.
    #[serde(default)]
    pub code: i64,
    /// A sentence.
    #[serde(default)]
    pub message: String,
    /// More, as the agent likes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl RpcError {
    pub(crate) fn from_value(value: &Value) -> Self {
        Self {
            code: value.get("code").and_then(Value::as_i64).unwrap_or(0),
            message: match value.get("message") {
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
                None => value.to_string(),
            },
            data: value.get("data").filter(|d| !d.is_null()).cloned(),
        }
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.message, self.code)
    }
}

impl std::error::Error for RpcError {}

/// One line of an agent, sorted by what it is.
#[derive(Debug)]
pub(crate) enum Message {
    Request {
        id: RequestId,
        method: String,
        params: Value,
    },
    Notification {
        method: String,
        params: Value,
        raw: Value,
    },
    Response {
        id: Value,
        result: Result<Value, RpcError>,
    },
    /// JSON, but not JSON-RPC.
    Strange(Value),
}

impl Message {
    /// Sorts a parsed line. Takes the parts out instead of copying them.
    pub(crate) fn sort(mut raw: Value) -> Self {
        let method = raw.get("method").and_then(Value::as_str).map(str::to_owned);
        let id = raw.get("id").filter(|id| !id.is_null()).cloned();
        match (method, id) {
            (Some(method), Some(id)) => Self::Request {
                id: RequestId(id),
                method,
                params: raw["params"].take(),
            },
            (Some(method), None) => Self::Notification {
                params: raw.get("params").cloned().unwrap_or_default(),
                method,
                raw,
            },
            (None, Some(id)) => match raw.get("error") {
                Some(error) => Self::Response {
                    id,
                    result: Err(RpcError::from_value(error)),
                },
                None => Self::Response {
                    id,
                    result: Ok(raw["result"].take()),
                },
            },
            (None, None) => Self::Strange(raw),
        }
    }
}

fn line(message: &Value) -> Vec<u8> {
    let mut line = message.to_string().into_bytes();
    line.push(b'\n');
    line
}

pub(crate) fn request(id: u64, method: &str, params: &Value) -> Vec<u8> {
    line(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
}

pub(crate) fn notification(method: &str, params: &Value) -> Vec<u8> {
    line(&json!({"jsonrpc": "2.0", "method": method, "params": params}))
}

pub(crate) fn success(id: &RequestId, result: &Value) -> Vec<u8> {
    line(&json!({"jsonrpc": "2.0", "id": id.0, "result": result}))
}

pub(crate) fn error(id: &RequestId, error: &RpcError) -> Vec<u8> {
    line(&json!({"jsonrpc": "2.0", "id": id.0, "error": error}))
}

/// Parses a line. JavaScript programs that cut a text in the middle of a character write
/// half of it as a lone `\uD83D`, which JSON allows and Rust's strings can't hold: it
/// becomes the replacement character, so that the rest of the line is not lost.
pub(crate) fn parse(line: &[u8]) -> Result<Value, serde_json::Error> {
    serde_json::from_slice(line).or_else(|error| {
        let text = String::from_utf8_lossy(line);
        let mended = mend_surrogates(&text);
        serde_json::from_str(&mended).map_err(|_| error)
    })
}

/// Replaces the `\uXXXX` escapes of surrogates that have no partner.
fn mend_surrogates(text: &str) -> String {
    let unit = |at: usize| -> Option<u16> {
        let hex = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(hex, 16).ok()
    };
    let mut mended = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = text[at..].find('\\') {
        let escape = at + found;
        mended.push_str(&text[at..escape]);
        let (keep, length) = match (unit(escape), unit(escape + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (true, 12),
            (Some(0xD800..=0xDFFF), _) => (false, 6),
            (Some(_), _) => (true, 6),
            // `\n`, `\\`, …: two bytes, of which the second is ASCII in valid JSON.
            (None, _) => (true, 2),
        };
        let end = (escape + length).min(text.len());
        match text.get(escape..end) {
            Some(escaped) if keep => mended.push_str(escaped),
            Some(_) => mended.push_str("\\ufffd"),
            None => return text.to_owned(),
        }
        at = end;
    }
    mended.push_str(&text[at..]);
    mended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_character_does_not_lose_the_line() {
        let value = parse(br#"{"a":"x\ud83d","b":"\ud83d\ude00 \\ud83d \udc00\n"}"#).unwrap();
        assert_eq!(value["a"], "x\u{fffd}");
        assert_eq!(value["b"], "\u{1f600} \\ud83d \u{fffd}\n");
        assert!(parse(b"Debugger listening on ws://").is_err());
    }

    #[test]
    fn messages_are_sorted_by_direction_and_id() {
        let sort = |text: &str| Message::sort(serde_json::from_str(text).unwrap());
        assert!(matches!(
            sort(r#"{"id":0,"method":"session/request_permission","params":{}}"#),
            Message::Request {
                id: RequestId(Value::Number(_)),
                ..
            }
        ));
        assert!(matches!(
            sort(r#"{"id":"9f-uuid","method":"fs/read_text_file"}"#),
            Message::Request {
                id: RequestId(Value::String(_)),
                params: Value::Null,
                ..
            }
        ));
        assert!(matches!(
            sort(r#"{"id":0,"result":null}"#),
            Message::Response { result: Ok(_), .. }
        ));
        assert!(matches!(
            sort(r#"{"id":3,"error":{"code":400,"message":"bad"}}"#),
            Message::Response {
                result: Err(RpcError { code: 400, .. }),
                ..
            }
        ));
        assert!(matches!(
            sort(r#"{"method":"x","id":null}"#),
            Message::Notification { .. }
        ));
        assert!(matches!(sort("[1]"), Message::Strange(_)));
    }
}
