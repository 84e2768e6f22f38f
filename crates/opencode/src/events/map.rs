//! One event of the engine as none, one or two events of OpenCode.

use serde::Serialize;
use sessiond_engine::{Delta, Signal};
use sessiond_model::{
    Event, EventBody, MessageError, MessageId, Part, PartId, Permission, PermissionOutcome,
    PermissionReply, Project, ProjectId, Question, QuestionOutcome, Seq, Session, SessionId,
    StatusKind, Timestamp, Todo,
};

use super::ids::{self, Slot};
use super::notice;
use super::stream::Surface;
use crate::wire::{PartDto, PermissionDto, ProjectDto, QuestionDto, SessionDto, status};

/// `{"id", "type", "properties"}`.
#[derive(Debug, Serialize)]
pub(super) struct Payload<'a, P> {
    pub(super) id: &'a str,
    pub(super) r#type: &'a str,
    pub(super) properties: &'a P,
}

/// What an event says; one shape per type.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Properties<'a> {
    Nothing {},
    Session {
        #[serde(rename = "sessionID")]
        session_id: &'a SessionId,
        info: SessionDto<'a>,
    },
    Status {
        #[serde(rename = "sessionID")]
        session_id: &'a SessionId,
        status: StatusDto,
    },
    Idle {
        #[serde(rename = "sessionID")]
        session_id: &'a SessionId,
    },
    Message {
        #[serde(rename = "sessionID")]
        session_id: &'a SessionId,
        info: &'a sessiond_model::Message,
    },
    MessageRemoved {
        #[serde(rename = "sessionID")]
        session_id: &'a SessionId,
        #[serde(rename = "messageID")]
        message_id: &'a MessageId,
    },
    Part {
        #[serde(rename = "sessionID")]
        session_id: &'a SessionId,
        part: PartDto<'a>,
        time: Timestamp,
    },
    PartRemoved {
        #[serde(rename = "sessionID")]
        session_id: &'a SessionId,
        #[serde(rename = "messageID")]
        message_id: &'a MessageId,
        #[serde(rename = "partID")]
        part_id: &'a PartId,
    },
    Delta {
        #[serde(rename = "sessionID")]
        session_id: &'a SessionId,
        #[serde(rename = "messageID")]
        message_id: &'a MessageId,
        #[serde(rename = "partID")]
        part_id: &'a PartId,
        field: &'a str,
        delta: &'a str,
    },
    Todos {
        #[serde(rename = "sessionID")]
        session_id: &'a SessionId,
        todos: &'a [Todo],
    },
    PermissionAsked(PermissionDto<'a>),
    PermissionReplied {
        #[serde(rename = "sessionID")]
        session_id: &'a SessionId,
        #[serde(rename = "requestID")]
        request_id: &'a str,
        reply: &'static str,
    },
    QuestionAsked(QuestionDto<'a>),
    QuestionReplied {
        #[serde(rename = "sessionID")]
        session_id: &'a SessionId,
        #[serde(rename = "requestID")]
        request_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        answers: Option<&'a [Vec<String>]>,
    },
    Error {
        #[serde(rename = "sessionID")]
        session_id: &'a SessionId,
        error: &'a MessageError,
    },
    Project(ProjectDto<'a>),
}

#[derive(Debug, Serialize)]
pub(super) struct StatusDto {
    r#type: &'static str,
}

/// An event of OpenCode, not yet in an envelope.
#[derive(Debug)]
pub(super) struct Out<'a> {
    pub(super) r#type: &'static str,
    pub(super) properties: Properties<'a>,
    /// Whether OpenCode keeps it: such events are told once more as `sync`.
    pub(super) kept: bool,
}

fn kept<'a>(r#type: &'static str, properties: Properties<'a>) -> Vec<Out<'a>> {
    vec![Out {
        r#type,
        properties,
        kept: true,
    }]
}

fn passing<'a>(r#type: &'static str, properties: Properties<'a>) -> Vec<Out<'a>> {
    vec![Out {
        r#type,
        properties,
        kept: false,
    }]
}

pub(super) fn outs<'a>(
    session_id: &'a SessionId,
    at: Timestamp,
    body: &'a EventBody,
) -> Vec<Out<'a>> {
    let session = |s: &'a Session| Properties::Session {
        session_id,
        info: SessionDto::of(s),
    };
    match body {
        // An import that is not whole yet, or a replay of one that is deleted by now.
        EventBody::SessionCreated(s) if s.deleted_at.is_some() => Vec::new(),
        EventBody::SessionCreated(s) => kept("session.created", session(s)),
        EventBody::SessionUpdated(s) => kept("session.updated", session(s)),
        EventBody::SessionDeleted(s) => kept("session.deleted", session(s)),
        EventBody::StatusChanged(s) => statuses(session_id, s.kind),
        EventBody::MessageUpdated(m) => kept(
            "message.updated",
            Properties::Message {
                session_id,
                info: m,
            },
        ),
        EventBody::MessageRemoved { message_id } => kept(
            "message.removed",
            Properties::MessageRemoved {
                session_id,
                message_id,
            },
        ),
        EventBody::PartUpdated(p) => kept("message.part.updated", part(session_id, p, at)),
        EventBody::PartRemoved {
            message_id,
            part_id,
        } => kept(
            "message.part.removed",
            Properties::PartRemoved {
                session_id,
                message_id,
                part_id,
            },
        ),
        EventBody::TodosUpdated(todos) => {
            passing("todo.updated", Properties::Todos { session_id, todos })
        }
        EventBody::PermissionAsked(p) => passing(
            "permission.asked",
            Properties::PermissionAsked(PermissionDto::of(p)),
        ),
        EventBody::PermissionResolved(p) => permission_replied(session_id, p),
        EventBody::QuestionAsked(q) => passing(
            "question.asked",
            Properties::QuestionAsked(QuestionDto::of(q)),
        ),
        EventBody::QuestionResolved(q) => question_replied(session_id, q),
        EventBody::SessionError(error) => {
            passing("session.error", Properties::Error { session_id, error })
        }
        EventBody::ProjectUpdated(p) => project(p),
        EventBody::TurnUpdated(_) | EventBody::AgentBound(_) | EventBody::Superseded(_) => {
            Vec::new()
        }
    }
}

fn statuses(session_id: &SessionId, kind: StatusKind) -> Vec<Out<'_>> {
    let mut all = passing(
        "session.status",
        Properties::Status {
            session_id,
            status: StatusDto {
                r#type: status(kind),
            },
        },
    );
    if kind != StatusKind::Busy {
        all.append(&mut passing(
            "session.idle",
            Properties::Idle { session_id },
        ));
    }
    all
}

fn part<'a>(session_id: &'a SessionId, part: &'a Part, time: Timestamp) -> Properties<'a> {
    Properties::Part {
        session_id,
        part: PartDto::of(part),
        time,
    }
}

fn permission_replied<'a>(session_id: &'a SessionId, p: &'a Permission) -> Vec<Out<'a>> {
    // OpenCode has no word for a request that nobody answered in time: it was not granted.
    let reply = match &p.outcome {
        Some(PermissionOutcome::Answered { reply, .. }) => *reply,
        Some(PermissionOutcome::Expired { .. }) | None => PermissionReply::Reject,
    };
    passing(
        "permission.replied",
        Properties::PermissionReplied {
            session_id,
            request_id: p.id.as_str(),
            reply: reply.as_str(),
        },
    )
}

fn question_replied<'a>(session_id: &'a SessionId, q: &'a Question) -> Vec<Out<'a>> {
    let answers = match &q.outcome {
        Some(QuestionOutcome::Answered { answers, .. }) => Some(answers.as_slice()),
        _ => None,
    };
    passing(
        if answers.is_some() {
            "question.replied"
        } else {
            "question.rejected"
        },
        Properties::QuestionReplied {
            session_id,
            request_id: q.id.as_str(),
            answers,
        },
    )
}

fn project(p: &Project) -> Vec<Out<'_>> {
    passing("project.updated", Properties::Project(ProjectDto::of(p)))
}

/// The envelope of `/global/event`.
#[derive(Debug, Serialize)]
pub(super) struct Global<'a, P> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) directory: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) project: Option<&'a ProjectId>,
    pub(super) payload: P,
}

/// The second telling of an event that OpenCode keeps.
#[derive(Debug, Serialize)]
struct Sync<'a> {
    r#type: &'static str,
    #[serde(rename = "syncEvent")]
    event: SyncEvent<'a>,
    id: &'a str,
}

#[derive(Debug, Serialize)]
struct SyncEvent<'a> {
    id: &'a str,
    r#type: String,
    seq: u64,
    #[serde(rename = "aggregateID")]
    aggregate_id: &'a SessionId,
    data: &'a Properties<'a>,
}

/// Where a frame stands: what its id and its envelope are made of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Origin {
    /// In the event order.
    Durable,
    /// On one connection: the state of something, told again, the `n`th such frame of a
    /// stream opened at `at`.
    Local {
        /// When the stream was opened.
        at: Timestamp,
        /// Counts from 0.
        n: u64,
    },
}

/// The frames of an event on a surface; empty when it has none there.
pub(super) fn event(surface: Surface, origin: Origin, e: &Event) -> Vec<u8> {
    let is_project = matches!(e.body, EventBody::ProjectUpdated(_));
    if is_project && surface == Surface::Directory {
        return Vec::new();
    }
    let (directory, at) = match origin {
        _ if is_project => ("global", e.at),
        Origin::Durable => (&*e.directory, e.at),
        Origin::Local { at, .. } => (&*e.directory, at),
    };
    let mut frames = Vec::new();
    let outs = outs(&e.session_id, at, &e.body);
    for (out, slot) in outs.iter().zip([Slot::First, Slot::Second]) {
        let id = match (origin, slot) {
            (Origin::Durable, slot) => ids::durable(e.at, e.seq.0, slot),
            (Origin::Local { at, n }, Slot::First) => ids::local(at, 2 * n),
            (Origin::Local { at, n }, Slot::Second) => ids::local(at, 2 * n + 1),
        };
        let payload = Payload {
            id: &id,
            r#type: out.r#type,
            properties: &out.properties,
        };
        if surface == Surface::Directory {
            frames.push(json(&payload));
            continue;
        }
        frames.push(json(&Global {
            directory: Some(directory),
            project: Some(&e.project_id),
            payload,
        }));
        if out.kept && matches!(origin, Origin::Durable) {
            frames.push(json(&Global {
                directory: Some(directory),
                project: Some(&e.project_id),
                payload: sync(e, out, &id),
            }));
        }
    }
    let position = matches!(origin, Origin::Durable).then_some(e.seq.0);
    join(&frames, position)
}

/// The number of an event among those of its session, from 0.
pub(super) fn sync_seq(e: &Event) -> u64 {
    e.session_seq.0.saturating_sub(1)
}

fn sync<'a>(e: &'a Event, out: &'a Out<'a>, id: &'a str) -> Sync<'a> {
    Sync {
        r#type: "sync",
        event: SyncEvent {
            id,
            r#type: format!("{}.1", out.r#type),
            seq: sync_seq(e),
            aggregate_id: &e.session_id,
            data: &out.properties,
        },
        id,
    }
}

/// The frame of live growth.
fn delta(surface: Surface, d: &Delta) -> Vec<u8> {
    let id = ids::delta(d);
    let properties = Properties::Delta {
        session_id: &d.session_id,
        message_id: &d.message_id,
        part_id: &d.part_id,
        field: d.field,
        delta: &d.delta,
    };
    let payload = Payload {
        id: &id,
        r#type: "message.part.delta",
        properties: &properties,
    };
    let frame = match surface {
        Surface::Directory => json(&payload),
        Surface::Global => json(&Global {
            directory: Some(&d.directory),
            project: Some(&d.project_id),
            payload,
        }),
    };
    join(&[frame], None)
}

/// The frames of a live signal.
pub(super) fn signal(surface: Surface, signal: &Signal) -> Vec<u8> {
    match signal {
        Signal::Event(e) | Signal::Large(e) => event(surface, Origin::Durable, e),
        Signal::Delta(d) => delta(surface, d),
        Signal::Notice(n) => notice::frame(surface, n),
    }
}

/// A frame of the server itself: the `n`th of a stream opened at `at`. The first one
/// carries the position that the stream begins at, so that a client that is cut off before
/// any event misses none.
pub(super) fn server(
    surface: Surface,
    r#type: &'static str,
    (at, n): (Timestamp, u64),
    position: Option<Seq>,
) -> Vec<u8> {
    let id = ids::server(at, n);
    let properties = Properties::Nothing {};
    let payload = Payload {
        id: &id,
        r#type,
        properties: &properties,
    };
    let frame = match surface {
        Surface::Directory => json(&payload),
        Surface::Global => json(&Global {
            directory: None,
            project: None,
            payload,
        }),
    };
    join(&[frame], position.map(|seq| seq.0))
}

pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    // Only a map with keys that are no text could fail, and there is none.
    serde_json::to_vec(value).unwrap_or_default()
}

/// Puts frames together. Only the last one carries the position: who was cut off before it
/// gets all of them again.
pub(super) fn join(frames: &[Vec<u8>], position: Option<u64>) -> Vec<u8> {
    let mut out = Vec::with_capacity(frames.iter().map(|f| f.len() + 32).sum());
    for (i, frame) in frames.iter().enumerate() {
        if let Some(position) = position.filter(|_| i + 1 == frames.len()) {
            out.extend_from_slice(format!("id: {position}\n").as_bytes());
        }
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(frame);
        out.extend_from_slice(b"\n\n");
    }
    out
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
