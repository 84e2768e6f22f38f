//! Events: the records that something changed.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    AgentBinding, Message, MessageError, MessageId, Part, PartId, Permission, Project, ProjectId,
    Question, Session, SessionId, Status, Timestamp, Todo, Turn,
};

/// Store-wide position of an event, from 1; also the cursor of a reader.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

/// Position of an event in its own session, from 1 without gaps.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct SessionSeq(pub u64);

/// One event with the content it points to.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Store-wide position.
    pub seq: Seq,
    /// Its session.
    pub session_id: SessionId,
    /// Position in its session.
    pub session_seq: SessionSeq,
    /// When it was committed.
    pub at: Timestamp,
    /// The session's project, for routing.
    pub project_id: ProjectId,
    /// The session's directory, for routing.
    pub directory: Arc<str>,
    /// What changed.
    pub body: EventBody,
}

/// What changed, with the content of the changed row: fresh from the commit for live
/// subscribers, the current one in a replay.
#[derive(Clone, Debug, PartialEq)]
pub enum EventBody {
    /// A session was created (or came back from the trash).
    SessionCreated(Arc<Session>),
    /// A session's row changed.
    SessionUpdated(Arc<Session>),
    /// A session was moved to the trash.
    SessionDeleted(Arc<Session>),
    /// A session's status changed.
    StatusChanged(Status),
    /// A message was created or changed.
    MessageUpdated(Arc<Message>),
    /// A message was removed.
    MessageRemoved {
        /// Which.
        message_id: MessageId,
    },
    /// A part was created or changed.
    PartUpdated(Arc<Part>),
    /// A part was removed.
    PartRemoved {
        /// Its message.
        message_id: MessageId,
        /// Which.
        part_id: PartId,
    },
    /// The todo list was replaced.
    TodosUpdated(Arc<Vec<Todo>>),
    /// A permission was asked for.
    PermissionAsked(Arc<Permission>),
    /// A permission request ended.
    PermissionResolved(Arc<Permission>),
    /// A question was asked.
    QuestionAsked(Arc<Question>),
    /// A question ended.
    QuestionResolved(Arc<Question>),
    /// A turn was queued, started or ended.
    TurnUpdated(Arc<Turn>),
    /// An agent session was bound.
    AgentBound(Arc<AgentBinding>),
    /// A turn failed.
    SessionError(MessageError),
    /// A project was seen first or changed.
    ProjectUpdated(Arc<Project>),
    /// In a replay: the entity has a newer event further on, which carries its content.
    Superseded(EventKind),
}

/// The kinds of events, as stored and as named in `/v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EventKind {
    /// `session.created`
    #[serde(rename = "session.created")]
    SessionCreated,
    /// `session.updated`
    #[serde(rename = "session.updated")]
    SessionUpdated,
    /// `session.deleted`
    #[serde(rename = "session.deleted")]
    SessionDeleted,
    /// `session.status`
    #[serde(rename = "session.status")]
    StatusChanged,
    /// `message.updated`
    #[serde(rename = "message.updated")]
    MessageUpdated,
    /// `message.removed`
    #[serde(rename = "message.removed")]
    MessageRemoved,
    /// `part.updated`
    #[serde(rename = "part.updated")]
    PartUpdated,
    /// `part.removed`
    #[serde(rename = "part.removed")]
    PartRemoved,
    /// `todo.updated`
    #[serde(rename = "todo.updated")]
    TodosUpdated,
    /// `permission.asked`
    #[serde(rename = "permission.asked")]
    PermissionAsked,
    /// `permission.resolved`
    #[serde(rename = "permission.resolved")]
    PermissionResolved,
    /// `question.asked`
    #[serde(rename = "question.asked")]
    QuestionAsked,
    /// `question.resolved`
    #[serde(rename = "question.resolved")]
    QuestionResolved,
    /// `turn.updated`
    #[serde(rename = "turn.updated")]
    TurnUpdated,
    /// `agent.bound`
    #[serde(rename = "agent.bound")]
    AgentBound,
    /// `session.error`
    #[serde(rename = "session.error")]
    SessionError,
    /// `project.updated`
    #[serde(rename = "project.updated")]
    ProjectUpdated,
}

impl EventKind {
    /// All kinds with their stored number and name. Numbers are for ever.
    pub const ALL: [(Self, i64, &'static str); 17] = [
        (Self::SessionCreated, 1, "session.created"),
        (Self::SessionUpdated, 2, "session.updated"),
        (Self::SessionDeleted, 3, "session.deleted"),
        (Self::StatusChanged, 4, "session.status"),
        (Self::MessageUpdated, 5, "message.updated"),
        (Self::MessageRemoved, 6, "message.removed"),
        (Self::PartUpdated, 7, "part.updated"),
        (Self::PartRemoved, 8, "part.removed"),
        (Self::TodosUpdated, 9, "todo.updated"),
        (Self::PermissionAsked, 10, "permission.asked"),
        (Self::PermissionResolved, 11, "permission.resolved"),
        (Self::QuestionAsked, 12, "question.asked"),
        (Self::QuestionResolved, 13, "question.resolved"),
        (Self::TurnUpdated, 14, "turn.updated"),
        (Self::AgentBound, 15, "agent.bound"),
        (Self::SessionError, 16, "session.error"),
        (Self::ProjectUpdated, 17, "project.updated"),
    ];

    /// The stored number.
    #[must_use]
    pub fn code(self) -> i64 {
        Self::ALL
            .iter()
            .find(|(k, ..)| *k == self)
            .map_or(0, |(_, code, _)| *code)
    }

    /// The kind of a stored number.
    #[must_use]
    pub fn from_code(code: i64) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, c, _)| *c == code)
            .map(|(k, ..)| *k)
    }

    /// The name in `/v1`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(k, ..)| *k == self)
            .map_or("unknown", |(.., name)| *name)
    }
}

impl EventBody {
    /// The kind of this event.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        match self {
            Self::SessionCreated(_) => EventKind::SessionCreated,
            Self::SessionUpdated(_) => EventKind::SessionUpdated,
            Self::SessionDeleted(_) => EventKind::SessionDeleted,
            Self::StatusChanged(_) => EventKind::StatusChanged,
            Self::MessageUpdated(_) => EventKind::MessageUpdated,
            Self::MessageRemoved { .. } => EventKind::MessageRemoved,
            Self::PartUpdated(_) => EventKind::PartUpdated,
            Self::PartRemoved { .. } => EventKind::PartRemoved,
            Self::TodosUpdated(_) => EventKind::TodosUpdated,
            Self::PermissionAsked(_) => EventKind::PermissionAsked,
            Self::PermissionResolved(_) => EventKind::PermissionResolved,
            Self::QuestionAsked(_) => EventKind::QuestionAsked,
            Self::QuestionResolved(_) => EventKind::QuestionResolved,
            Self::TurnUpdated(_) => EventKind::TurnUpdated,
            Self::AgentBound(_) => EventKind::AgentBound,
            Self::SessionError(_) => EventKind::SessionError,
            Self::ProjectUpdated(_) => EventKind::ProjectUpdated,
            Self::Superseded(kind) => *kind,
        }
    }
}
