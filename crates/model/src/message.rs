//! Messages. Their stored form is OpenCode's wire form without the ids, so that a page of
//! messages can be served without taking it apart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{FileDiff, MessageId, PartId, Seq, SessionId, Timestamp, Tokens};

/// One message of a session.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Its session.
    #[serde(rename = "sessionID")]
    pub session_id: SessionId,
    /// Everything else.
    #[serde(flatten)]
    pub info: MessageInfo,
}

/// What a message says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "lowercase")]
pub enum MessageInfo {
    /// Written by a person (or a client in their name).
    User(Box<UserInfo>),
    /// Written by an agent.
    Assistant(Box<AssistantInfo>),
}

impl MessageInfo {
    /// When the message was created. Strictly rises within a session.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        match self {
            Self::User(u) => u.time.created,
            Self::Assistant(a) => a.time.created,
        }
    }

    /// `user` or `assistant`.
    #[must_use]
    pub fn role(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Assistant(_) => "assistant",
        }
    }
}

/// Times of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageTime {
    /// When it was created.
    pub created: Timestamp,
    /// When it was finished; absent while an agent still writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<Timestamp>,
}

/// A model as a message stores it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageModel {
    /// The provider: for us the name of the coding agent.
    #[serde(rename = "providerID")]
    pub provider_id: String,
    /// The model's id within its provider.
    #[serde(rename = "modelID")]
    pub model_id: String,
    /// A variant such as a reasoning effort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// A user message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UserInfo {
    /// Times.
    pub time: MessageTime,
    /// Agent (mode) asked for.
    pub agent: String,
    /// Model asked for.
    pub model: MessageModel,
    /// File changes that the turn of this message made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<UserSummary>,
    /// Extra system prompt of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Tools switched on and off by the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<BTreeMap<String, bool>>,
    /// Output format asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Value>,
}

/// What the turn of a user message changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserSummary {
    /// Short title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Longer text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Changed files.
    #[serde(default)]
    pub diffs: Vec<FileDiff>,
}

/// Where an assistant message worked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessagePath {
    /// The session's directory.
    pub cwd: String,
    /// The project's worktree.
    pub root: String,
}

/// An assistant message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AssistantInfo {
    /// Times; `completed` is set once the turn has ended, however it ended.
    pub time: MessageTime,
    /// The user message it answers.
    #[serde(rename = "parentID")]
    pub parent_id: MessageId,
    /// The model.
    #[serde(rename = "modelID")]
    pub model_id: String,
    /// The provider: for us the name of the coding agent.
    #[serde(rename = "providerID")]
    pub provider_id: String,
    /// Mode (the same as `agent`; older clients read this one).
    pub mode: String,
    /// Agent (mode of the coding agent).
    pub agent: String,
    /// Where it worked.
    pub path: MessagePath,
    /// Set on a compaction's summary message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<bool>,
    /// Cost in US dollars.
    pub cost: f64,
    /// Tokens.
    pub tokens: Tokens,
    /// Variant of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Why the model stopped: `stop`, `length`, `tool-calls`, `content-filter`, `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<MessageError>,
    /// Structured output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub structured: Option<Value>,
}

/// An error on an assistant message, in the forms clients know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", content = "data")]
pub enum MessageError {
    /// The turn was aborted by a person, or cut off by a restart.
    #[serde(rename = "MessageAbortedError")]
    Aborted {
        /// A sentence.
        message: String,
    },
    /// The agent needs a log-in.
    #[serde(rename = "ProviderAuthError")]
    Auth {
        /// The coding agent.
        #[serde(rename = "providerID")]
        provider_id: String,
        /// A sentence.
        message: String,
    },
    /// The agent reported an error of its model's API.
    #[serde(rename = "APIError")]
    Api {
        /// A sentence.
        message: String,
        /// HTTP status of the model's API, when known.
        #[serde(
            default,
            rename = "statusCode",
            skip_serializing_if = "Option::is_none"
        )]
        status_code: Option<u16>,
        /// Whether trying again may help.
        #[serde(rename = "isRetryable")]
        is_retryable: bool,
    },
    /// The model refused.
    #[serde(rename = "ContentFilterError")]
    ContentFilter {
        /// A sentence.
        message: String,
    },
    /// Anything else.
    #[serde(rename = "UnknownError")]
    Unknown {
        /// A sentence.
        message: String,
        /// Reference into the log.
        #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// A kind written by another program (an import), kept as it came.
    #[serde(untagged)]
    Other {
        /// Its name.
        name: String,
        /// Its data.
        #[serde(default)]
        data: Map<String, Value>,
    },
}

impl MessageError {
    /// The sentence for people.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Aborted { message }
            | Self::Auth { message, .. }
            | Self::Api { message, .. }
            | Self::ContentFilter { message }
            | Self::Unknown { message, .. } => message,
            Self::Other { name, data } => {
                data.get("message").and_then(Value::as_str).unwrap_or(name)
            }
        }
    }
}

/// A message and its parts as stored: JSON texts that need no parsing to be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageDoc {
    /// Its id.
    pub id: MessageId,
    /// Its session.
    pub session_id: SessionId,
    /// Its place in the session, counted from 1 in commit order; the sort key of the
    /// transcript and of page cursors.
    pub position: u64,
    /// The event that told of it first.
    pub created: Seq,
    /// The event that told of it last, its parts aside.
    pub changed: Seq,
    /// [`MessageInfo`] as JSON object text.
    pub info: String,
    /// Its parts, by id.
    pub parts: Vec<PartDoc>,
}

/// A part as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartDoc {
    /// Its id.
    pub id: PartId,
    /// [`crate::PartBody`] as JSON object text.
    pub body: String,
}

impl MessageDoc {
    /// The typed message. `None` when the stored text is not a message of this version.
    #[must_use]
    pub fn message(&self) -> Option<Message> {
        let info = serde_json::from_str(&self.info).ok()?;
        Some(Message {
            id: self.id.clone(),
            session_id: self.session_id.clone(),
            info,
        })
    }

    /// The typed parts; what can't be read becomes [`crate::PartBody::Opaque`].
    #[must_use]
    pub fn typed_parts(&self) -> Vec<crate::Part> {
        self.parts
            .iter()
            .map(|p| crate::Part {
                id: p.id.clone(),
                session_id: self.session_id.clone(),
                message_id: self.id.clone(),
                body: crate::PartBody::from_stored(&p.body),
            })
            .collect()
    }
}
