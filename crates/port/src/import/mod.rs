//! Reading what OpenCode wrote: its sessions and messages as ours, tolerantly. Older versions left
//! out what newer ones write, newer ones write what we don't know, and JavaScript writes whole
//! numbers as fractions; none of this is a reason to lose a message.

mod message;
mod part;
mod session;

use serde_json::{Map, Value};

pub use message::{ReadMessage, message};
pub use session::{ReadSession, session};
use thiserror::Error;

/// Why something can't be imported.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{what}: {reason}")]
pub struct Unreadable {
    /// What, with its id as far as known: `message msg_1`.
    pub what: String,
    /// Why.
    pub reason: String,
}

impl Unreadable {
    /// Says that `what` can't be read, and why.
    pub fn new(what: impl Into<String>, reason: &impl ToString) -> Self {
        Self {
            what: what.into(),
            reason: reason.to_string(),
        }
    }
}

/// The text of a field, when it has some.
fn text<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    map.get(key).and_then(Value::as_str)
}

/// A whole number from a JavaScript one: fractions are cut, what is below zero is zero.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float saturates"
)]
fn whole(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_f64().map(|number| number as u64))
}

/// Makes all numbers of an object whole, at any depth; `null` is taken away.
fn make_whole(value: &mut Value) {
    match value {
        Value::Number(_) => {
            if let Some(number) = whole(value) {
                *value = number.into();
            }
        }
        Value::Object(map) => {
            drop_nulls(map);
            map.values_mut().for_each(make_whole);
        }
        _ => {}
    }
}

/// `null` is what older versions wrote for nothing.
fn drop_nulls(map: &mut Map<String, Value>) {
    map.retain(|_, value| !value.is_null());
}

/// Puts a value where there is none.
fn or_insert(map: &mut Map<String, Value>, key: &str, value: impl FnOnce() -> Value) {
    map.entry(key).or_insert_with(value);
}

/// Fields of `given` that `kept` does not have any more.
fn lost(kind: &str, given: &Map<String, Value>, kept: &Value) -> Vec<String> {
    given
        .iter()
        .filter(|(key, _)| kept.get(key.as_str()).is_none())
        .map(|(key, _)| format!("{kind}.{key}"))
        .collect()
}

/// No tokens.
fn no_tokens() -> Value {
    serde_json::json!({"input": 0, "output": 0, "reasoning": 0, "cache": {"read": 0, "write": 0}})
}
