use std::sync::Arc;

use serde::Serialize;
use sessiond_engine::Delta;
use sessiond_model::{Event, EventBody, EventKind};
use utoipa::ToSchema;

use super::agent::BindingDto;
use super::interact::{PermissionDto, QuestionDto, TodoDto};
use super::message::{MessageErrorDto, MessageInfoDto};
use super::part::PartDto;
use super::project::ProjectDto;
use super::session::{SessionDto, StatusDto};
use super::turn::TurnDto;

/// A durable event: the record that something changed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event, example = json!({
    "seq": 12, "session_seq": 3, "at": 1_795_364_893_636_i64, "session_id": "ses_0123456789abExampleSession",
    "project_id": "global", "directory": "/home/me/project", "type": "session.status",
    "data": {"kind": "busy", "since": 1_795_364_893_636_i64, "message": null},
}))]
pub(crate) struct EventDto {
    /// Position in the store, from 1; the cursor of a reader.
    seq: u64,
    /// Position in its session, from 1 without gaps.
    session_seq: u64,
    /// When it was committed. Integer milliseconds since the Unix epoch, UTC.
    at: i64,
    #[serde(flatten)]
    state: StateDto,
}

impl From<&Event> for EventDto {
    fn from(e: &Event) -> Self {
        Self {
            seq: e.seq.0,
            session_seq: e.session_seq.0,
            at: e.at.millis(),
            state: e.into(),
        }
    }
}

/// An event without a position: the present state of something, told again on a stream.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StateEvent)]
pub(crate) struct StateDto {
    /// Its session.
    session_id: String,
    /// The session's project.
    project_id: String,
    /// The session's directory.
    directory: String,
    #[serde(flatten)]
    body: EventBodyDto,
}

impl From<&Event> for StateDto {
    fn from(e: &Event) -> Self {
        Self {
            session_id: e.session_id.to_string(),
            project_id: e.project_id.to_string(),
            directory: e.directory.to_string(),
            body: (&e.body).into(),
        }
    }
}

/// What changed: `type` names it, `data` is the content of the changed thing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", content = "data")]
#[schema(as = EventBody)]
pub(crate) enum EventBodyDto {
    /// A session was created, or came back from the trash.
    #[serde(rename = "session.created")]
    SessionCreated(Box<SessionDto>),
    /// A session's own fields changed.
    #[serde(rename = "session.updated")]
    SessionUpdated(Box<SessionDto>),
    /// A session was moved to the trash.
    #[serde(rename = "session.deleted")]
    SessionDeleted(Box<SessionDto>),
    /// A session's status changed.
    #[serde(rename = "session.status")]
    StatusChanged(StatusDto),
    /// A message was created or changed.
    #[serde(rename = "message.updated")]
    MessageUpdated(Box<MessageInfoDto>),
    /// A message was removed.
    #[serde(rename = "message.removed")]
    MessageRemoved {
        /// Which.
        message_id: String,
    },
    /// A part was created or changed.
    #[serde(rename = "part.updated")]
    PartUpdated(Box<PartDto>),
    /// A part was removed.
    #[serde(rename = "part.removed")]
    PartRemoved {
        /// Its message.
        message_id: String,
        /// Which.
        part_id: String,
    },
    /// The todo list was replaced.
    #[serde(rename = "todo.updated")]
    TodosUpdated(Vec<TodoDto>),
    /// A permission was asked for.
    #[serde(rename = "permission.asked")]
    PermissionAsked(Box<PermissionDto>),
    /// A request for permission ended.
    #[serde(rename = "permission.resolved")]
    PermissionResolved(Box<PermissionDto>),
    /// A question was asked.
    #[serde(rename = "question.asked")]
    QuestionAsked(Box<QuestionDto>),
    /// A question ended.
    #[serde(rename = "question.resolved")]
    QuestionResolved(Box<QuestionDto>),
    /// A turn was queued, started or ended.
    #[serde(rename = "turn.updated")]
    TurnUpdated(Box<TurnDto>),
    /// An agent session was bound.
    #[serde(rename = "agent.bound")]
    AgentBound(Box<BindingDto>),
    /// A turn failed.
    #[serde(rename = "session.error")]
    SessionError(MessageErrorDto),
    /// A project was first seen, or changed.
    #[serde(rename = "project.updated")]
    ProjectUpdated(Box<ProjectDto>),
    /// In a replay: what changed here has a newer event further on, which carries its content.
    #[serde(rename = "superseded")]
    Superseded {
        /// The type of this event.
        #[serde(serialize_with = "kind_name")]
        #[schema(value_type = String, example = "part.updated")]
        kind: EventKind,
    },
}

fn kind_name<S: serde::Serializer>(kind: &EventKind, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_str(kind.as_str())
}

impl From<&EventBody> for EventBodyDto {
    fn from(body: &EventBody) -> Self {
        match body {
            EventBody::SessionCreated(s) => Self::SessionCreated(boxed(s)),
            EventBody::SessionUpdated(s) => Self::SessionUpdated(boxed(s)),
            EventBody::SessionDeleted(s) => Self::SessionDeleted(boxed(s)),
            EventBody::StatusChanged(s) => Self::StatusChanged(s.clone().into()),
            EventBody::MessageUpdated(m) => Self::MessageUpdated(boxed(m)),
            EventBody::MessageRemoved { message_id } => Self::MessageRemoved {
                message_id: message_id.to_string(),
            },
            EventBody::PartUpdated(p) => Self::PartUpdated(boxed(p)),
            EventBody::PartRemoved {
                message_id,
                part_id,
            } => Self::PartRemoved {
                message_id: message_id.to_string(),
                part_id: part_id.to_string(),
            },
            EventBody::TodosUpdated(todos) => {
                Self::TodosUpdated(todos.iter().cloned().map(Into::into).collect())
            }
            EventBody::PermissionAsked(p) => Self::PermissionAsked(boxed(p)),
            EventBody::PermissionResolved(p) => Self::PermissionResolved(boxed(p)),
            EventBody::QuestionAsked(q) => Self::QuestionAsked(boxed(q)),
            EventBody::QuestionResolved(q) => Self::QuestionResolved(boxed(q)),
            EventBody::TurnUpdated(t) => Self::TurnUpdated(boxed(t)),
            EventBody::AgentBound(b) => Self::AgentBound(boxed(b)),
            EventBody::SessionError(e) => Self::SessionError(e.clone().into()),
            EventBody::ProjectUpdated(p) => Self::ProjectUpdated(boxed(p)),
            EventBody::Superseded(kind) => Self::Superseded { kind: *kind },
        }
    }
}

fn boxed<T: Clone, D: From<T>>(row: &Arc<T>) -> Box<D> {
    Box::new(D::from((**row).clone()))
}

/// A page of events, in order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventPage)]
pub(crate) struct EventPageDto {
    /// The events. Content is the present one, at the newest event of the thing that changed;
    /// older events of the same thing are `superseded`.
    pub(crate) events: Vec<EventDto>,
    /// Pass as `after` for the next page.
    pub(crate) next: u64,
    /// Whether there may be more right now.
    pub(crate) more: bool,
}

/// Live growth of a part that is still being written. Never stored: the next `part.updated`
/// of the part carries all of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PartDelta, example = json!({
    "type": "part.delta", "session_id": "ses_0123456789abExampleSession", "project_id": "global",
    "directory": "/home/me/project", "data": {"message_id": "msg_0123456789abExampleMessag",
        "part_id": "prt_0123456789abExamplePart00", "field": "text", "offset": 11, "delta": " world"},
}))]
pub(crate) struct DeltaDto {
    /// `part.delta`.
    #[serde(rename = "type")]
    kind: DeltaType,
    /// Its session.
    session_id: String,
    /// The session's project.
    project_id: String,
    /// The session's directory.
    directory: String,
    /// What was added.
    data: DeltaDataDto,
}

/// The type of a live delta.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) enum DeltaType {
    /// The only one.
    #[serde(rename = "part.delta")]
    PartDelta,
}

/// What was added to a part.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PartDeltaData)]
pub(crate) struct DeltaDataDto {
    /// The message.
    message_id: String,
    /// The part.
    part_id: String,
    /// The field that grew.
    field: &'static str,
    /// Length of the field before, in bytes of UTF-8. A client that has more or less than that
    /// has missed something or knows it already.
    offset: u64,
    /// What was added.
    delta: String,
}

impl From<&Delta> for DeltaDto {
    fn from(d: &Delta) -> Self {
        Self {
            kind: DeltaType::PartDelta,
            session_id: d.session_id.to_string(),
            project_id: d.project_id.to_string(),
            directory: d.directory.to_string(),
            data: DeltaDataDto {
                message_id: d.message_id.to_string(),
                part_id: d.part_id.to_string(),
                field: d.field,
                offset: d.offset,
                delta: d.delta.clone(),
            },
        }
    }
}

/// What a stream says of itself.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", content = "data", rename_all = "snake_case")]
pub(crate) enum StreamNote {
    /// The first message of every stream.
    Connected {
        /// The position that the stream goes on after.
        cursor: u64,
    },
    /// The cursor is from another store or from the future: fetch everything anew. The stream
    /// goes on after the given position.
    Resync {
        /// The position that the stream goes on after.
        cursor: u64,
    },
    /// The stream is alive; comes every 10 seconds.
    Heartbeat {
        /// The server's time. Integer milliseconds since the Unix epoch, UTC.
        at: i64,
    },
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sessiond_model::{ProjectId, Seq, SessionId, SessionSeq, Timestamp};

    use super::*;

    #[test]
    fn events_name_their_type_and_carry_the_content() {
        let event = |body| Event {
            seq: Seq(9),
            session_id: SessionId::trusted("ses_1"),
            session_seq: SessionSeq(2),
            at: Timestamp(5),
            project_id: ProjectId::global(),
            directory: "/a".into(),
            body,
        };
        let shown = |body| serde_json::to_value(EventDto::from(&event(body))).unwrap();
        assert_eq!(
            shown(EventBody::TodosUpdated(Arc::new(vec![]))),
            json!({"seq": 9, "session_seq": 2, "at": 5, "session_id": "ses_1", "project_id": "global",
                "directory": "/a", "type": "todo.updated", "data": []})
        );
        let superseded = shown(EventBody::Superseded(EventKind::PartUpdated));
        assert_eq!(superseded["type"], "superseded");
        assert_eq!(superseded["data"], json!({"kind": "part.updated"}));
    }

    #[test]
    fn the_shown_types_are_the_names_of_the_model() {
        let removed = serde_json::to_value(EventBodyDto::MessageRemoved {
            message_id: "msg_1".into(),
        })
        .unwrap();
        assert_eq!(removed["type"], EventKind::MessageRemoved.as_str());
    }
}
