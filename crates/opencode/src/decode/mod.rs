//! Request bodies, read value by value, so that every refusal names the place and the
//! reason in the words of OpenCode: `Expected string, got 5\n  at ["title"]`.

mod around;
mod ask;
mod config;
mod part;
mod prompt;
mod replay;
mod revert;
mod session;
pub(crate) mod tui;
mod turn;
pub(crate) mod v2;

use std::fmt;

use serde_json::{Map, Value};
use sessiond_model::{IdError, Timestamp};

pub(crate) use around::{Level, LogLine, known_events, log_line, patch, project_update, steal};
pub(crate) use ask::{answers, permission_reply, permission_reply_v2};
pub(crate) use config::config_patch;
pub(crate) use part::part;
pub(crate) use prompt::prompt;
pub(crate) use replay::replay;
pub(crate) use revert::revert;
pub(crate) use session::{fork, new_session, session_update};
pub(crate) use turn::{command, init, shell, summarize};

/// Longest rendering of a refused value.
const SHOWN: usize = 200;
/// The largest integer that a JSON client can tell from its neighbours.
const MAX_SAFE_INTEGER: f64 = 9_007_199_254_740_991.0;

/// Which part of a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The body.
    Payload,
    /// The query.
    Query,
    /// The path.
    Params,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Payload => "Payload",
            Self::Query => "Query",
            Self::Params => "Params",
        }
    }
}

/// Why a value was refused, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reject {
    pub(crate) kind: Kind,
    pub(crate) reason: String,
    /// `["a"][0]`, or nothing for the whole.
    pub(crate) place: String,
}

impl Reject {
    pub(crate) fn new(kind: Kind, reason: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.into(),
            place: String::new(),
        }
    }

    pub(crate) fn at(mut self, field: &str) -> Self {
        self.place = step(&self.place, field);
        self
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        if !self.place.is_empty() {
            write!(f, "\n  at {}", self.place)?;
        }
        Ok(())
    }
}

pub(crate) type Decoded<T> = Result<T, Reject>;

/// The place of a field within a place.
fn step(place: &str, field: &str) -> String {
    format!("{place}[{}]", Value::from(field))
}

/// A value of a body and the place where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    /// `None`: the key is not there.
    value: Option<Value>,
    place: String,
    nullable: bool,
}

impl Node {
    /// A whole body; `None` when there is none.
    pub(crate) fn root(value: Option<Value>) -> Self {
        Self {
            value,
            place: String::new(),
            nullable: false,
        }
    }

    fn refuse(&self, reason: String) -> Reject {
        Reject {
            kind: Kind::Payload,
            reason,
            place: self.place.clone(),
        }
    }

    /// The refusal of a value that is not what was expected.
    fn expected(&self, what: &str) -> Reject {
        let Some(value) = &self.value else {
            return self.refuse(if self.place.is_empty() {
                format!("Expected {what}, got undefined")
            } else {
                "Missing key".to_owned()
            });
        };
        let mut got = value.to_string();
        if let Some((cut, _)) = got.char_indices().nth(SHOWN) {
            got.truncate(cut);
            got.push('…');
        }
        let or_null = if self.nullable { " | null" } else { "" };
        self.refuse(format!("Expected {what}{or_null}, got {got}"))
    }

    /// `None` for a key that is not there or is `null`.
    pub(crate) fn optional<T>(
        mut self,
        read: impl FnOnce(Self) -> Decoded<T>,
    ) -> Decoded<Option<T>> {
        match self.value {
            None | Some(Value::Null) => Ok(None),
            Some(_) => {
                self.nullable = true;
                read(self).map(Some)
            }
        }
    }

    /// Refusals don't offer `null`, although it is taken.
    pub(crate) fn plain(mut self) -> Self {
        self.nullable = false;
        self
    }

    pub(crate) fn string(self) -> Decoded<String> {
        match self.value {
            Some(Value::String(text)) => Ok(text),
            _ => Err(self.expected("string")),
        }
    }

    pub(crate) fn boolean(self) -> Decoded<bool> {
        match self.value {
            Some(Value::Bool(b)) => Ok(b),
            _ => Err(self.expected("boolean")),
        }
    }

    pub(crate) fn number(self) -> Decoded<f64> {
        match self.value.as_ref().and_then(Value::as_f64) {
            Some(number) => Ok(number),
            None => Err(self.expected("number")),
        }
    }

    /// A point in time: whole milliseconds, not before 1970.
    pub(crate) fn time(self) -> Decoded<Timestamp> {
        let number = match self.value.as_ref().and_then(Value::as_f64) {
            Some(number) => number,
            None => return Err(self.expected("number")),
        };
        if number.fract() != 0.0 || number > MAX_SAFE_INTEGER {
            return Err(self.expected("an integer"));
        }
        if number < 0.0 {
            return Err(self.expected("a value greater than or equal to 0"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "checked above")]
        Ok(Timestamp(number as i64))
    }

    /// A whole number, not below 0.
    pub(crate) fn count(self) -> Decoded<u64> {
        let number = match self.value.as_ref().and_then(Value::as_f64) {
            Some(number) => number,
            None => return Err(self.expected("number")),
        };
        if number.fract() != 0.0 || !(0.0..=MAX_SAFE_INTEGER).contains(&number) {
            return Err(self.expected("an integer that is not negative"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "checked above")]
        #[expect(clippy::cast_sign_loss, reason = "checked above")]
        Ok(number as u64)
    }

    pub(crate) fn map(self, what: &str) -> Decoded<Map<String, Value>> {
        match self.value {
            Some(Value::Object(map)) => Ok(map),
            _ => Err(self.expected(what)),
        }
    }

    pub(crate) fn object(self) -> Decoded<Fields> {
        self.object_of("object")
    }

    /// An object that has a name.
    pub(crate) fn object_of(self, what: &str) -> Decoded<Fields> {
        let place = self.place.clone();
        self.map(what).map(|map| Fields { map, place })
    }

    pub(crate) fn list<T>(
        self,
        what: &str,
        mut read: impl FnMut(Self) -> Decoded<T>,
    ) -> Decoded<Vec<T>> {
        match self.value {
            Some(Value::Array(items)) => items
                .into_iter()
                .enumerate()
                .map(|(i, item)| {
                    read(Self {
                        value: Some(item),
                        place: format!("{}[{i}]", self.place),
                        nullable: false,
                    })
                })
                .collect(),
            _ => Err(self.expected(what)),
        }
    }

    /// One of several words.
    pub(crate) fn word<T: Copy>(self, what: &str, words: &[(&str, T)]) -> Decoded<T> {
        let text = self.value.as_ref().and_then(Value::as_str);
        match text.and_then(|t| words.iter().find(|(word, _)| *word == t)) {
            Some((_, meaning)) => Ok(*meaning),
            None => Err(self.expected(what)),
        }
    }

    pub(crate) fn id<T>(self, parse: fn(&str) -> Result<T, IdError>) -> Decoded<T> {
        match &self.value {
            Some(Value::String(text)) => parse(text).map_err(|e| self.refuse(e.to_string())),
            _ => Err(self.expected("string")),
        }
    }
}

/// The fields of an object, taken one by one; those that nobody takes are ignored.
#[derive(Debug)]
pub(crate) struct Fields {
    map: Map<String, Value>,
    place: String,
}

impl Fields {
    pub(crate) fn take(&mut self, key: &str) -> Node {
        Node {
            value: self.map.remove(key),
            place: step(&self.place, key),
            nullable: false,
        }
    }

    /// Whether the key is there, be it `null`.
    fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.map.get(key).and_then(Value::as_str)
    }

    fn entries(self) -> impl Iterator<Item = (String, Node)> {
        let place = self.place;
        self.map.into_iter().map(move |(key, value)| {
            let node = Node {
                value: Some(value),
                place: step(&place, &key),
                nullable: false,
            };
            (key, node)
        })
    }

    /// The whole again, as a node: for a refusal of it.
    fn whole(self) -> Node {
        Node {
            value: Some(Value::Object(self.map)),
            place: self.place,
            nullable: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        Node::root(Some(value)).object().unwrap()
    }

    #[test]
    fn refusals_name_place_and_reason() {
        let mut f = fields(json!({"title": 5, "list": ["a", 7]}));
        assert_eq!(
            f.take("title")
                .optional(Node::string)
                .unwrap_err()
                .to_string(),
            "Expected string | null, got 5\n  at [\"title\"]"
        );
        assert_eq!(
            f.take("list")
                .list("array", Node::string)
                .unwrap_err()
                .to_string(),
            "Expected string, got 7\n  at [\"list\"][1]"
        );
        assert_eq!(
            f.take("parts").string().unwrap_err().to_string(),
            "Missing key\n  at [\"parts\"]"
        );
        assert_eq!(
            Node::root(None).object().unwrap_err().to_string(),
            "Expected object, got undefined"
        );
        assert_eq!(
            Node::root(Some(json!([])))
                .object()
                .unwrap_err()
                .to_string(),
            "Expected object, got []"
        );
    }

    #[test]
    fn null_is_absent_only_where_optional() {
        let mut f = fields(json!({"a": null, "b": null}));
        assert_eq!(f.take("a").optional(Node::string).unwrap(), None);
        assert!(f.take("b").string().is_err());
    }

    #[test]
    fn a_large_value_is_not_echoed_whole() {
        let error = Node::root(Some(json!({"a": "é".repeat(100_000)})))
            .list("array", Node::string)
            .unwrap_err();
        assert!(error.reason.len() < 1000);
    }

    #[test]
    fn times_are_whole_and_not_negative() {
        let time = |v| Node::root(Some(v)).time();
        assert_eq!(time(json!(5)).unwrap(), Timestamp(5));
        assert_eq!(time(json!(5.0)).unwrap(), Timestamp(5));
        for bad in [json!(1.5), json!(-1), json!("5"), json!(1e300)] {
            assert!(time(bad).is_err());
        }
    }
}
