//! What a client makes of a stream.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use crate::http::Client;
use crate::killloop::verify::json_of;

/// Which stream, and so which shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Surface {
    /// `/v1/events`.
    Core,
    /// `/opencode/event`.
    Opencode,
    /// `/opencode/global/event`.
    OpencodeGlobal,
}

impl Surface {
    /// The address of the stream.
    pub(super) fn stream(self) -> &'static str {
        match self {
            Self::Core => "/v1/events?after=0",
            Self::Opencode => "/opencode/event",
            Self::OpencodeGlobal => "/opencode/global/event",
        }
    }
}

#[derive(Debug, Default)]
struct Message {
    info: Value,
    parts: BTreeMap<String, Value>,
}

/// Sessions, messages and parts as the stream told of them.
#[derive(Debug)]
pub(super) struct Fold {
    surface: Surface,
    sessions: BTreeMap<String, Value>,
    messages: BTreeMap<String, BTreeMap<String, Message>>,
    /// What came last, to be shown when something is wrong.
    recent: VecDeque<String>,
}

/// Messages of the stream that are remembered for that.
const RECENT: usize = 20_000;

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

impl Fold {
    pub(super) fn new(surface: Surface) -> Self {
        Self {
            surface,
            sessions: BTreeMap::new(),
            messages: BTreeMap::new(),
            recent: VecDeque::new(),
        }
    }

    /// Notes a new connection, for [`Fold::about`].
    pub(super) fn connected(&mut self, last_id: Option<&str>) {
        self.recent
            .push_back(format!("-- connected after {last_id:?}"));
    }

    /// The last messages of the stream that name this id.
    fn about(&self, id: &str) -> String {
        let lines = self
            .recent
            .iter()
            .filter(|l| l.contains(id) || l.starts_with("--"));
        let lines: Vec<&str> = lines.map(String::as_str).collect();
        let first = lines.iter().position(|l| l.contains(id)).unwrap_or(0);
        lines[first.saturating_sub(1)..].join("\n")
    }

    /// Whether a session of that title was seen.
    pub(super) fn has_title(&self, title: &str) -> bool {
        self.sessions.values().any(|s| s["title"] == title)
    }

    /// Takes one message of the stream.
    pub(super) fn take(&mut self, event: &Value) -> Result<(), String> {
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(event.to_string());
        match self.surface {
            Surface::Core => self.take_core(event),
            Surface::Opencode => self.take_opencode(event),
            Surface::OpencodeGlobal => self.take_opencode(&event["payload"]),
        }
    }

    fn message(&mut self, session: &str, message: &str) -> &mut Message {
        let messages = self.messages.entry(session.to_owned()).or_default();
        messages.entry(message.to_owned()).or_default()
    }

    fn forget(&mut self, session: &str) {
        self.sessions.remove(session);
        self.messages.remove(session);
    }

    fn append(
        &mut self,
        at: [&str; 3],
        field: &str,
        delta: &str,
        offset: Option<u64>,
    ) -> Result<(), String> {
        let [session, message, part] = at;
        let Some(value) = self.message(session, message).parts.get_mut(part) else {
            return Err(format!(
                "a delta for {part}, which is unknown\n{}",
                self.about(part)
            ));
        };
        let so_far = value[field].as_str().unwrap_or_default();
        let length = u64::try_from(so_far.len()).unwrap_or(u64::MAX);
        if offset.is_none_or(|o| o == length) {
            value[field] = Value::String(format!("{so_far}{delta}"));
            return Ok(());
        }
        let about = self.about(part);
        Err(format!(
            "a delta for {part} at {offset:?}, its text has {length} bytes\n{about}"
        ))
    }

    fn take_core(&mut self, event: &Value) -> Result<(), String> {
        let data = &event["data"];
        let session = text(event, "/session_id");
        match text(event, "/type") {
            "session.created" | "session.updated" => {
                self.sessions.insert(session.to_owned(), data.clone());
            }
            "session.deleted" => self.forget(session),
            "message.updated" => self.message(session, text(data, "/id")).info = data.clone(),
            "message.removed" => {
                let id = text(data, "/message_id");
                self.messages
                    .entry(session.to_owned())
                    .or_default()
                    .remove(id);
            }
            "part.updated" => {
                let message = self.message(session, text(data, "/message_id"));
                message
                    .parts
                    .insert(text(data, "/id").to_owned(), data.clone());
            }
            "part.removed" => {
                let message = self.message(session, text(data, "/message_id"));
                message.parts.remove(text(data, "/part_id"));
            }
            "part.delta" => {
                let at = [session, text(data, "/message_id"), text(data, "/part_id")];
                let offset = data["offset"].as_u64();
                self.append(at, text(data, "/field"), text(data, "/delta"), offset)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn take_opencode(&mut self, event: &Value) -> Result<(), String> {
        let data = &event["properties"];
        match text(event, "/type") {
            "session.created" | "session.updated" => {
                let info = &data["info"];
                self.sessions
                    .insert(text(info, "/id").to_owned(), info.clone());
            }
            "session.deleted" => self.forget(text(data, "/info/id")),
            "message.updated" => {
                let info = &data["info"];
                self.message(text(info, "/sessionID"), text(info, "/id"))
                    .info = info.clone();
            }
            "message.removed" => {
                let messages = self.messages.entry(text(data, "/sessionID").to_owned());
                messages.or_default().remove(text(data, "/messageID"));
            }
            "message.part.updated" => {
                let part = &data["part"];
                let message = self.message(text(part, "/sessionID"), text(part, "/messageID"));
                message
                    .parts
                    .insert(text(part, "/id").to_owned(), part.clone());
            }
            "message.part.removed" => {
                let message = self.message(text(data, "/sessionID"), text(data, "/messageID"));
                message.parts.remove(text(data, "/partID"));
            }
            "message.part.delta" => {
                let at = [
                    text(data, "/sessionID"),
                    text(data, "/messageID"),
                    text(data, "/partID"),
                ];
                self.append(at, text(data, "/field"), text(data, "/delta"), None)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Holds the fold against the API; the number of sessions.
    pub(super) async fn compare(&self, client: &Client) -> Result<usize, String> {
        for (id, session) in &self.sessions {
            let path = match self.surface {
                Surface::Core => format!("/v1/sessions/{id}"),
                _ => format!("/opencode/session/{id}"),
            };
            let shown = json_of(client, &path).await?;
            // Status has events of its own on /v1.
            let same = match self.surface {
                Surface::Core => {
                    shown["title"] == session["title"] && shown["metadata"] == session["metadata"]
                }
                _ => shown == *session,
            };
            if !same {
                return Err(format!("{path} is\n{shown}, the stream said\n{session}"));
            }
            self.compare_messages(client, id).await?;
        }
        Ok(self.sessions.len())
    }

    async fn compare_messages(&self, client: &Client, id: &str) -> Result<(), String> {
        let shown = match self.surface {
            Surface::Core => {
                let page =
                    json_of(client, &format!("/v1/sessions/{id}/messages?limit=1000")).await?;
                page["messages"].clone()
            }
            _ => json_of(client, &format!("/opencode/session/{id}/message")).await?,
        };
        let none = BTreeMap::new();
        let known = self.messages.get(id).unwrap_or(&none);
        let shown = shown.as_array().ok_or("messages are no list")?;
        if shown.len() != known.len() {
            return Err(format!(
                "{id} has {} messages, the stream told of {}",
                shown.len(),
                known.len()
            ));
        }
        for message in shown {
            let (info, parts) = self.split(message);
            let message_id = text(&info, "/id").to_owned();
            let Some(told) = known.get(&message_id) else {
                return Err(format!("the stream did not tell of {message_id}"));
            };
            if told.info != info {
                return Err(format!(
                    "{message_id} is\n{info}, the stream said\n{}",
                    told.info
                ));
            }
            let told: Vec<&Value> = told.parts.values().collect();
            let parts: Vec<&Value> = parts.iter().collect();
            if told != parts {
                return Err(format!(
                    "the parts of {message_id} are\n{parts:?}, the stream said\n{told:?}\n{}",
                    self.about(&message_id)
                ));
            }
        }
        Ok(())
    }

    /// A message of the API as its info and its parts.
    fn split(&self, message: &Value) -> (Value, Vec<Value>) {
        let parts = message["parts"].as_array().cloned().unwrap_or_default();
        let info = match self.surface {
            Surface::Core => {
                let mut info = message.clone();
                if let Some(fields) = info.as_object_mut() {
                    fields.remove("parts");
                    fields.remove("position");
                }
                info
            }
            _ => message["info"].clone(),
        };
        (info, parts)
    }
}
