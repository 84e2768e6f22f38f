//! The file of an export: `{"info": …, "messages": [{"info": …, "parts": […]}, …]}`, and from
//! sessiond also `"todos"`. It is read twice, and never held whole.

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{EachMessage, Outlined, SourceError};

/// The file of an export, looked through once.
#[derive(Debug)]
pub struct ExportFile {
    path: PathBuf,
    /// What it says of the session.
    pub info: Value,
    /// The todo list, when it has one.
    pub todos: Vec<Value>,
    /// Ids and times of its messages, in their order.
    pub outline: Vec<Outlined>,
}

/// As much of a message as an outline needs.
#[derive(Deserialize)]
struct Brief {
    #[serde(default)]
    info: BriefInfo,
}

#[derive(Default, Deserialize)]
struct BriefInfo {
    #[serde(default)]
    id: String,
    #[serde(default)]
    time: Value,
}

impl ExportFile {
    /// Looks through a file.
    ///
    /// # Errors
    /// When it can't be read to its end, or is no export.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let mut out = Self {
            path: path.to_owned(),
            info: Value::Null,
            todos: Vec::new(),
            outline: Vec::new(),
        };
        let mut outline = Vec::new();
        let mut each = |message: Brief| {
            let created = message.info.time.get("created").and_then(Value::as_f64);
            #[expect(clippy::cast_possible_truncation, reason = "saturates")]
            outline.push((message.info.id, created.unwrap_or_default() as i64));
            true
        };
        let rest = read(path, &mut each)?;
        out.info = rest.info.ok_or_else(|| SourceError::NotAnExport {
            path: path.to_owned(),
            reason: "it has no `info`".into(),
        })?;
        out.todos = rest.todos;
        out.outline = outline;
        Ok(out)
    }

    /// Its messages from `first` on. One is in memory at a time.
    ///
    /// # Errors
    /// When it can't be read (any more).
    pub fn messages(&self, first: usize, each: &mut EachMessage<'_>) -> Result<(), SourceError> {
        let mut index = 0;
        let mut go_on = true;
        let mut skipping = |message: Value| {
            let wanted = index >= first;
            index += 1;
            if go_on && wanted {
                go_on = each(Ok(message));
            }
            go_on
        };
        read(&self.path, &mut skipping).map(drop)
    }
}

/// What stands beside the messages.
#[derive(Default)]
struct Rest {
    info: Option<Value>,
    todos: Vec<Value>,
}

fn read<T: for<'de> Deserialize<'de>>(
    path: &Path,
    each: &mut dyn FnMut(T) -> bool,
) -> Result<Rest, SourceError> {
    let file = File::open(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => SourceError::Missing {
            path: path.to_owned(),
        },
        _ => SourceError::Io {
            what: "read",
            path: path.to_owned(),
            source,
        },
    })?;
    let mut reader = serde_json::Deserializer::from_reader(BufReader::new(file));
    let wrong = |e: serde_json::Error| SourceError::NotAnExport {
        path: path.to_owned(),
        reason: e.to_string(),
    };
    let rest = Whole { each }.deserialize(&mut reader).map_err(wrong)?;
    reader.end().map_err(wrong)?;
    Ok(rest)
}

struct Whole<'a, T> {
    each: &'a mut dyn FnMut(T) -> bool,
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Whole<'_, T> {
    type Value = Rest;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Rest, D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Whole<'_, T> {
    type Value = Rest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with `info` and `messages`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rest, A::Error> {
        let mut rest = Rest::default();
        let mut messages = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "info" => rest.info = Some(map.next_value()?),
                "todos" => rest.todos = map.next_value()?,
                "messages" => {
                    messages = true;
                    map.next_value_seed(Messages { each: self.each })?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        if !messages {
            return Err(serde::de::Error::missing_field("messages"));
        }
        Ok(rest)
    }
}

struct Messages<'a, T> {
    each: &'a mut dyn FnMut(T) -> bool,
}

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Messages<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Messages<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut wanted = true;
        while wanted {
            match seq.next_element::<T>()? {
                Some(message) => wanted = (self.each)(message),
                None => return Ok(()),
            }
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}
