//! Parts of messages.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{MessageId, PartId, SessionId, Timestamp, Tokens};

/// One part of a message.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// Its id; parts of a message are listed by it.
    pub id: PartId,
    /// Its session.
    #[serde(rename = "sessionID")]
    pub session_id: SessionId,
    /// Its message.
    #[serde(rename = "messageID")]
    pub message_id: MessageId,
    /// The content.
    #[serde(flatten)]
    pub body: PartBody,
}

/// When a text or reasoning part was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartTime {
    /// When it began.
    pub start: Timestamp,
    /// When it was closed; absent while it still grows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
}

/// The content of a part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum PartBody {
    /// Text of a person or an agent.
    Text {
        /// The text so far.
        text: String,
        /// Made by the server or client, not typed by a person.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        synthetic: Option<bool>,
        /// Not sent to the agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ignored: Option<bool>,
        /// When it was written.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        time: Option<PartTime>,
        /// Free map.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<Map<String, Value>>,
    },
    /// The agent's reasoning.
    Reasoning {
        /// The text so far.
        text: String,
        /// When it was written.
        time: PartTime,
        /// Free map.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<Map<String, Value>>,
    },
    /// A file given by the client.
    File {
        /// Media type.
        mime: String,
        /// Name for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filename: Option<String>,
        /// `data:` or `file:` URL.
        url: String,
        /// Where in the prompt it was named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<Value>,
    },
    /// An agent mentioned in a prompt.
    Agent {
        /// Its name.
        name: String,
        /// Where in the prompt it was named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<Value>,
    },
    /// A sub-task asked for by the client.
    Subtask {
        /// The prompt.
        prompt: String,
        /// For people.
        description: String,
        /// The agent.
        agent: String,
        /// The model.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        model: Option<Value>,
        /// The slash command behind it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<String>,
    },
    /// A tool call.
    Tool(Box<ToolPart>),
    /// A model call begins.
    StepStart {
        /// Worktree snapshot before it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        snapshot: Option<String>,
    },
    /// A model call ended.
    StepFinish {
        /// Why: `stop`, `tool-calls`, `length`, `content-filter`, `unknown`.
        reason: String,
        /// Worktree snapshot after it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        snapshot: Option<String>,
        /// Cost in US dollars.
        cost: f64,
        /// Tokens.
        tokens: Tokens,
    },
    /// A worktree snapshot.
    Snapshot {
        /// Its tree.
        snapshot: String,
    },
    /// Files changed by a step.
    Patch {
        /// Snapshot before the step.
        hash: String,
        /// Absolute paths.
        files: Vec<String>,
    },
    /// A failed attempt that is tried again.
    Retry {
        /// Its number, from 1.
        attempt: u64,
        /// Why it failed.
        error: Value,
        /// When.
        time: Value,
    },
    /// The conversation was (or is to be) summarised here.
    Compaction {
        /// Whether the server decided it.
        auto: bool,
        /// Whether the context had overflowed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        overflow: Option<bool>,
        /// First message kept after the summary.
        #[serde(
            default,
            rename = "tail_start_id",
            skip_serializing_if = "Option::is_none"
        )]
        tail_start_id: Option<MessageId>,
    },
    /// Bytes that this version can't read: kept as they are.
    #[serde(rename = "x-opaque")]
    Opaque {
        /// The stored text.
        raw: String,
    },
}

/// A tool call and its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolPart {
    /// The agent's id of the call.
    #[serde(rename = "callID")]
    pub call_id: String,
    /// Name of the tool.
    pub tool: String,
    /// How far it got.
    pub state: ToolState,
    /// Free map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// How far a tool call got.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum ToolState {
    /// The agent is still writing the call, or waits for permission.
    Pending {
        /// Input as far as known.
        input: Map<String, Value>,
        /// Raw text of the input, unused by ACP agents.
        raw: String,
    },
    /// It runs.
    Running {
        /// Input.
        input: Map<String, Value>,
        /// For people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// `output` so far, `diff`, …
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<Map<String, Value>>,
        /// When it began.
        time: ToolTime,
    },
    /// It is done.
    Completed {
        /// Input.
        input: Map<String, Value>,
        /// Result as text.
        output: String,
        /// For people.
        title: String,
        /// `exit`, `diff`, …
        metadata: Map<String, Value>,
        /// When it ran.
        time: ToolTime,
        /// Files it gave.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attachments: Option<Vec<Value>>,
    },
    /// It failed, was refused or was cut off.
    Error {
        /// Input.
        input: Map<String, Value>,
        /// Why, in a sentence.
        error: String,
        /// `interrupted`, …
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<Map<String, Value>>,
        /// When it ran.
        time: ToolTime,
    },
}

/// When a tool ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolTime {
    /// When it began.
    pub start: Timestamp,
    /// When it ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// When its output was dropped from the context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compacted: Option<Timestamp>,
}

impl PartBody {
    /// A plain text part.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text {
            text: text.into(),
            synthetic: None,
            ignored: None,
            time: None,
            metadata: None,
        }
    }

    /// Reads a stored body; what this version can't read is kept as [`PartBody::Opaque`].
    #[must_use]
    pub fn from_stored(json: &str) -> Self {
        serde_json::from_str(json).unwrap_or_else(|_| Self::Opaque {
            raw: json.to_owned(),
        })
    }

    /// Whether the part may still change: text and reasoning without an end that an agent
    /// writes (`time` set), tools that are pending or running.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match self {
            Self::Text {
                time: Some(time), ..
            }
            | Self::Reasoning { time, .. } => time.end.is_none(),
            Self::Tool(tool) => {
                matches!(
                    tool.state,
                    ToolState::Pending { .. } | ToolState::Running { .. }
                )
            }
            _ => false,
        }
    }
}
