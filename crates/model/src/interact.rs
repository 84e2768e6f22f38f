//! What an agent asks of people: permissions and questions; and its todo list.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{MessageId, PermissionId, QuestionId, SessionId, Timestamp, TurnId};

/// One item of an agent's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Todo {
    /// What to do.
    pub content: String,
    /// `pending`, `in_progress`, `completed` or `cancelled`.
    pub status: String,
    /// `high`, `medium` or `low`.
    pub priority: String,
}

/// A rule on what an agent may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermissionRule {
    /// Kind of permission, e.g. `edit`, `bash`; `*` matches all.
    pub permission: String,
    /// Pattern of the thing asked for; `*` and `?` are wildcards.
    pub pattern: String,
    /// What then.
    pub action: PermissionAction,
}

/// What a permission rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PermissionAction {
    /// Allowed without asking.
    Allow,
    /// Refused without asking.
    Deny,
    /// A person is asked.
    Ask,
}

/// The tool call that a request belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolRef {
    /// The assistant message.
    #[serde(rename = "messageID")]
    pub message_id: MessageId,
    /// The agent's id of the call.
    #[serde(rename = "callID")]
    pub call_id: String,
}

/// One answer that the agent offers for a permission request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermissionOption {
    /// The agent's id of it.
    pub id: String,
    /// For people.
    pub name: String,
    /// ACP kind: `allow_once`, `allow_always`, `reject_once`, `reject_always`.
    pub kind: String,
}

/// A request for permission: a durable row from the moment it is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Permission {
    /// Its id.
    pub id: PermissionId,
    /// Its session.
    pub session_id: SessionId,
    /// The turn that waits for it.
    pub turn_id: TurnId,
    /// Kind of permission, e.g. `edit`, `bash`.
    pub permission: String,
    /// The things asked for: paths or commands.
    pub patterns: Vec<String>,
    /// More for people: diff, input, …
    pub metadata: Map<String, Value>,
    /// What `always` would cover.
    pub always: Vec<String>,
    /// The tool call.
    pub tool: Option<ToolRef>,
    /// The agent's own options.
    pub options: Vec<PermissionOption>,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// The answer; absent while pending. The first one wins.
    pub outcome: Option<PermissionOutcome>,
}

/// A person's answer to a permission request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PermissionReply {
    /// This time.
    Once,
    /// From now on.
    Always,
    /// No.
    Reject,
}

impl PermissionReply {
    /// The name used in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Always => "always",
            Self::Reject => "reject",
        }
    }
}

/// How a permission request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum PermissionOutcome {
    /// Answered.
    Answered {
        /// The answer.
        reply: PermissionReply,
        /// A remark for the agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// Its turn ended before anyone answered.
    Expired {
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
}

impl PermissionOutcome {
    /// When the request ended.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Answered { at, .. } | Self::Expired { at, .. } => *at,
        }
    }
}

/// A question that an agent asks a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Its id.
    pub id: QuestionId,
    /// Its session.
    pub session_id: SessionId,
    /// The turn that waits for it.
    pub turn_id: TurnId,
    /// The questions, shown together.
    pub questions: Vec<QuestionInfo>,
    /// The tool call.
    pub tool: Option<ToolRef>,
    /// When it was asked.
    pub asked_at: Timestamp,
    /// The answer; absent while pending. The first one wins.
    pub outcome: Option<QuestionOutcome>,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionInfo {
    /// The question itself.
    pub question: String,
    /// A short heading.
    pub header: String,
    /// Answers to choose from.
    pub options: Vec<QuestionOption>,
    /// Whether several may be chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple: Option<bool>,
    /// Whether an answer of one's own may be typed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<bool>,
}

/// One answer to choose from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionOption {
    /// The answer.
    pub label: String,
    /// What it means.
    pub description: String,
}

/// How a question ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum QuestionOutcome {
    /// Answered: for each question the chosen labels.
    Answered {
        /// The chosen labels.
        answers: Vec<Vec<String>>,
        /// When.
        at: Timestamp,
    },
    /// A person declined to answer.
    Rejected {
        /// When.
        at: Timestamp,
    },
    /// Its turn ended before anyone answered.
    Expired {
        /// Why.
        reason: String,
        /// When.
        at: Timestamp,
    },
}

impl QuestionOutcome {
    /// When the request ended.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Answered { at, .. } | Self::Rejected { at } | Self::Expired { at, .. } => *at,
        }
    }
}
