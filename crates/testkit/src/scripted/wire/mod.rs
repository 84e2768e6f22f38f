//! The wire formats of model providers.

mod anthropic;
mod chat;
mod responses;

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use super::conversation::Conversation;
use super::script::Block;

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireFormat {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Responses.
    Responses,
    /// OpenAI chat completions.
    Chat,
}

/// Turns blocks into the frames of one streamed answer.
pub(crate) trait Encoder: Send {
    /// What comes before the first block.
    fn begin(&mut self) -> String;
    /// What a block looks like; nothing for pauses and cuts.
    fn block(&mut self, block: &Block) -> String;
    /// What comes after the last block.
    fn end(&mut self) -> String;
    /// The same answer in one piece, after `begin`, every `block` and `end`.
    fn whole(&self) -> Value;
}

impl WireFormat {
    /// The format of a request path.
    #[must_use]
    pub fn of_path(path: &str) -> Option<Self> {
        if path.ends_with("/messages") {
            Some(Self::Anthropic)
        } else if path.ends_with("/responses") {
            Some(Self::Responses)
        } else if path.ends_with("/chat/completions") {
            Some(Self::Chat)
        } else {
            None
        }
    }

    /// Its name in the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Responses => "responses",
            Self::Chat => "chat",
        }
    }

    /// What a request of this format says.
    #[must_use]
    pub fn read(self, body: &Value) -> Conversation {
        match self {
            Self::Anthropic => anthropic::read(body),
            Self::Responses => responses::read(body),
            Self::Chat => chat::read(body),
        }
    }

    pub(crate) fn encoder(self, body: &Value, ids: &Ids) -> Box<dyn Encoder> {
        let model = body["model"].as_str().unwrap_or("scripted-1");
        match self {
            Self::Anthropic => Box::new(anthropic::Stream::new(model.to_owned(), ids.clone())),
            Self::Responses => Box::new(responses::Stream::new(
                model,
                ids.clone(),
                self.read(body).offer,
            )),
            Self::Chat => Box::new(chat::Stream::new(model.to_owned(), ids.clone())),
        }
    }
}

/// Ids that no two answers share, also not those of two servers.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    server: u32,
    next: std::sync::Arc<AtomicU64>,
}

impl Ids {
    pub(crate) fn new(server: u32) -> Self {
        Self {
            server,
            next: std::sync::Arc::default(),
        }
    }

    pub(crate) fn make(&self, prefix: &str) -> String {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{prefix}{:08x}{n:08x}", self.server)
    }
}

/// One server-sent event.
fn frame(event: Option<&str>, data: &Value) -> String {
    match event {
        Some(event) => format!("event: {event}\ndata: {data}\n\n"),
        None => format!("data: {data}\n\n"),
    }
}

/// The text of a content value: a string, or a list of things with `text`. Results of tools
/// and calls of tools say nothing.
fn text_of(content: &Value) -> String {
    match content {
        Value::String(s) => s.clone(),
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().map(text_of).collect();
            texts.join("\n")
        }
        Value::Object(o) => {
            let kind = o.get("type").and_then(Value::as_str).unwrap_or_default();
            match kind {
                "tool_result" | "tool_use" | "thinking" => String::new(),
                _ => o
                    .get("text")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
            }
        }
        _ => String::new(),
    }
}

/// The two halves of a text, to be sent as two deltas.
fn halves(text: &str) -> [&str; 2] {
    let mut middle = text.len() / 2;
    while !text.is_char_boundary(middle) {
        middle -= 1;
    }
    [&text[..middle], &text[middle..]]
}
