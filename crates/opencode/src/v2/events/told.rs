//! Events of this family, made of what is stored.

use serde_json::{Value, json};
use sessiond_model::{
    AssistantInfo, EventBody, Message, MessageId, Part, PartBody, PermissionOutcome,
    PermissionReply, QuestionOutcome, SessionId, StatusKind, Timestamp, Tokens,
};

use crate::v2::wire;
use crate::wire::ProjectDto;

/// An event of this family, not yet in its envelope.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    pub(super) r#type: &'static str,
    pub(super) version: u8,
    pub(super) data: Value,
    /// Whether OpenCode keeps it: it has a number then.
    pub(super) kept: bool,
}

pub(super) fn kept(r#type: &'static str, data: Value) -> Told {
    let version = match r#type {
        "session.next.step.ended" | "session.next.step.failed" => 2,
        _ => 1,
    };
    Told {
        r#type,
        version,
        data,
        kept: true,
    }
}

pub(super) fn passing(r#type: &'static str, data: Value) -> Told {
    Told {
        r#type,
        version: 1,
        data,
        kept: false,
    }
}

pub(super) fn committed(at: Timestamp, session: &SessionId, message: &MessageId) -> Told {
    kept(
        "session.next.revert.committed",
        json!({"timestamp": at, "sessionID": session, "messageID": message}),
    )
}

pub(super) fn cleared(at: Timestamp, session: &SessionId) -> Told {
    kept(
        "session.next.revert.cleared",
        json!({"timestamp": at, "sessionID": session}),
    )
}

pub(super) fn executed() -> Value {
    json!({"executed": false})
}

pub(super) fn named(part: &Part, text: &'static str, reasoning: &'static str) -> &'static str {
    match part.body {
        PartBody::Reasoning { .. } => reasoning,
        _ => text,
    }
}

pub(super) fn about(at: Timestamp, part: &Part) -> Value {
    let mut data = json!({"timestamp": at, "sessionID": part.session_id,
        "assistantMessageID": part.message_id});
    data[named(part, "textID", "reasoningID")] = part.id.as_str().into();
    data
}

pub(super) fn prompted(message: &Message, parts: &[Part]) -> Vec<Told> {
    let data = json!({"timestamp": message.info.created(), "sessionID": message.session_id,
        "messageID": message.id, "prompt": wire::prompt(parts), "delivery": "steer"});
    vec![
        kept("session.next.prompt.admitted", data.clone()),
        kept("session.next.prompted", data),
    ]
}

pub(super) fn step_started(message: &Message, info: &AssistantInfo, parts: &[Part]) -> Told {
    let mut data = json!({"timestamp": message.info.created(), "sessionID": message.session_id,
        "assistantMessageID": message.id, "agent": info.agent, "model": wire::model_of(info)});
    if let Some(start) = wire::snapshot(parts, false).start {
        data["snapshot"] = start.into();
    }
    kept("session.next.step.started", data)
}

/// `None` while it goes on.
pub(super) fn step_ended(
    at: Timestamp,
    message: &Message,
    info: &AssistantInfo,
    parts: &[Part],
) -> Option<Told> {
    info.time.completed?;
    let mut data = json!({"timestamp": at, "sessionID": message.session_id,
        "assistantMessageID": message.id});
    if let Some(error) = &info.error {
        data["error"] = wire::unknown(error.message());
        return Some(kept("session.next.step.failed", data));
    }
    let captured = wire::snapshot(parts, true);
    data["finish"] = wire::finish(info).unwrap_or("unknown").into();
    data["cost"] = info.cost.into();
    data["tokens"] = json!(Tokens {
        total: None,
        ..info.tokens
    });
    if let Some(end) = captured.end {
        data["snapshot"] = end.into();
    }
    if let Some(files) = captured.files {
        data["files"] = files.into();
    }
    Some(kept("session.next.step.ended", data))
}

/// What is told to whoever listens to everything, and kept by nobody.
pub(super) fn passing_event(id: &SessionId, body: &EventBody) -> Vec<Told> {
    let one = |r#type, data| vec![passing(r#type, data)];
    match body {
        EventBody::StatusChanged(status) => {
            let kind = crate::wire::status(status.kind);
            let mut all = one(
                "session.status",
                json!({"sessionID": id, "status": {"type": kind}}),
            );
            if status.kind != StatusKind::Busy {
                all.push(passing("session.idle", json!({"sessionID": id})));
            }
            all
        }
        EventBody::TodosUpdated(todos) => {
            one("todo.updated", json!({"sessionID": id, "todos": todos}))
        }
        EventBody::SessionError(error) => {
            one("session.error", json!({"sessionID": id, "error": error}))
        }
        EventBody::ProjectUpdated(project) => {
            one("project.updated", json!(ProjectDto::of(project)))
        }
        EventBody::PermissionAsked(p) => {
            one("permission.v2.asked", json!(wire::PermissionDto::of(p)))
        }
        EventBody::PermissionResolved(p) => {
            // One that nobody answered in time was not granted.
            let reply = match &p.outcome {
                Some(PermissionOutcome::Answered { reply, .. }) => *reply,
                _ => PermissionReply::Reject,
            };
            one(
                "permission.v2.replied",
                json!({"sessionID": id, "requestID": p.id, "reply": reply.as_str()}),
            )
        }
        EventBody::QuestionAsked(q) => {
            one("question.v2.asked", json!(crate::wire::QuestionDto::of(q)))
        }
        EventBody::QuestionResolved(q) => match &q.outcome {
            Some(QuestionOutcome::Answered { answers, .. }) => one(
                "question.v2.replied",
                json!({"sessionID": id, "requestID": q.id, "answers": answers}),
            ),
            _ => one(
                "question.v2.rejected",
                json!({"sessionID": id, "requestID": q.id}),
            ),
        },
        _ => Vec::new(),
    }
}
