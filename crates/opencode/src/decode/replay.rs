//! The body of `POST /sync/replay`.

use serde_json::Value;
use sessiond_engine::{Replay, Told};
use sessiond_model::{
    DiffSummary, Health, Message, MessageId, MessageInfo, PartId, ProjectId, Session, SessionId,
    SessionPatch, Status, Timestamp, Tokens,
};

use super::part::part_at;
use super::session::{rules, session_model};
use super::{Decoded, Fields, Kind, Node, Reject};

/// Most events at once.
const MAX_EVENTS: usize = 10_000;

/// Events of one session, without gaps.
pub(crate) fn replay(body: Option<Value>) -> Decoded<Replay> {
    let mut f = Node::root(body).object()?;
    f.take("directory").string()?;
    let events = f.take("events");
    let wrong = events.refuse(format!("Expected 1 to {MAX_EVENTS} events"));
    let mut place: Option<(SessionId, u64)> = None;
    let mut first = 0;
    let mut at = Timestamp(0);
    let events = events.list("array", |node| {
        let mut f = node.object()?;
        let id = f.take("id");
        let no_event = id.refuse("Expected a string starting with \"evt_\"".into());
        if !id.string()?.starts_with("evt_") {
            return Err(no_event);
        }
        let aggregate = f.take("aggregateID");
        let alone = aggregate.refuse("Expected events of one session".into());
        let session_id = aggregate.id(SessionId::parse)?;
        let number = f.take("seq");
        let gap = number.refuse("Expected the number after that of the event before".into());
        let number = number.count()?;
        match &place {
            None => first = number,
            Some((of, _)) if *of != session_id => {
                return Err(alone);
            }
            Some((_, last)) if last + 1 != number => return Err(gap),
            Some(_) => {}
        }
        let (told, time) = told(&mut f, &session_id)?;
        at = at.max(time.unwrap_or_default());
        place = Some((session_id, number));
        Ok(told)
    })?;
    match place {
        Some((session_id, _)) if events.len() <= MAX_EVENTS => Ok(Replay {
            session_id,
            first,
            events,
            at,
        }),
        _ => Err(wrong),
    }
}

fn told(f: &mut Fields, session: &SessionId) -> Decoded<(Told, Option<Timestamp>)> {
    let kind = f.take("type").word(
        "the type of a session's or message's event",
        &[
            ("session.created.1", 0_u8),
            ("session.updated.1", 1),
            ("message.updated.1", 2),
            ("message.removed.1", 3),
            ("message.part.updated.1", 4),
            ("message.part.removed.1", 5),
        ],
    )?;
    let mut data = f.take("data").object()?;
    let of = data.take("sessionID");
    let foreign = of.refuse(format!("Expected {session}: events are of one session"));
    if of.string()? != session.as_str() {
        return Err(foreign);
    }
    Ok(match kind {
        0 => {
            let info = created(data.take("info"), session)?;
            let at = info.updated_at;
            (Told::Created(Box::new(info)), Some(at))
        }
        1 => {
            let info = created(data.take("info"), session)?;
            let at = info.updated_at;
            (Told::Updated(Box::new(patch(info))), Some(at))
        }
        2 => (
            Told::Message(Box::new(message(data.take("info"), session)?)),
            None,
        ),
        3 => {
            let id = data.take("messageID").id(MessageId::parse)?;
            (Told::MessageRemoved(id), None)
        }
        4 => {
            let part = data.take("part");
            let elsewhere = part.refuse(format!("Expected a part of {session}"));
            let part = part_at(part)?;
            if part.session_id != *session {
                return Err(elsewhere);
            }
            let at = data.take("time").optional(Node::time)?;
            (Told::Part(Box::new(part)), at)
        }
        _ => {
            let message = data.take("messageID").id(MessageId::parse)?;
            let part = data.take("partID").id(PartId::parse)?;
            (Told::PartRemoved(message, part), None)
        }
    })
}

/// A session as OpenCode writes it. Its totals come from its parts, its share and its revert are
/// the other server's.
fn created(node: Node, id: &SessionId) -> Decoded<Session> {
    let mut f = node.object()?;
    let of = f.take("id");
    let foreign = of.refuse(format!("Expected {id}"));
    if of.string()? != id.as_str() {
        return Err(foreign);
    }
    let directory = f.take("directory");
    let relative = directory.refuse("Expected an absolute path".into());
    let directory = directory.string()?;
    if !directory.starts_with('/') || directory.contains('\0') {
        return Err(relative);
    }
    let mut time = f.take("time").object()?;
    let created_at = time.take("created").time()?;
    Ok(Session {
        id: id.clone(),
        slug: f.take("slug").string()?,
        project_id: ProjectId::new(&f.take("projectID").string()?),
        directory,
        path: f.take("path").optional(Node::string)?,
        parent_id: f.take("parentID").optional(|n| n.id(SessionId::parse))?,
        fork: None,
        title: f.take("title").string()?,
        version: f.take("version").string()?,
        agent: f.take("agent").optional(Node::string)?,
        model: f.take("model").optional(session_model)?,
        metadata: f.take("metadata").optional(|n| n.map("object"))?,
        permission: f.take("permission").optional(rules)?,
        revert: None,
        summary: f.take("summary").optional(summary)?,
        share_url: None,
        created_at,
        updated_at: time.take("updated").time()?,
        archived_at: time.take("archived").optional(Node::time)?,
        deleted_at: None,
        status: Status::idle(created_at),
        cost: 0.0,
        tokens: Tokens::default(),
        health: Health::Ok,
        revision: 1,
    })
}

fn summary(node: Node) -> Decoded<DiffSummary> {
    let mut f = node.object()?;
    Ok(DiffSummary {
        additions: f.take("additions").count()?,
        deletions: f.take("deletions").count()?,
        files: f.take("files").count()?,
    })
}

/// A later version of a session, as the change that leads to it.
fn patch(info: Session) -> SessionPatch {
    SessionPatch {
        title: Some(info.title),
        metadata: info.metadata,
        permission: info.permission,
        archived_at: Some(info.archived_at),
        agent: info.agent,
        model: info.model,
        summary: info.summary,
        ..SessionPatch::touch()
    }
}

fn message(node: Node, session: &SessionId) -> Decoded<Message> {
    let place = node.place.clone();
    let wrong = |why: &str| Reject {
        kind: Kind::Payload,
        reason: format!("Expected Message: {why}"),
        place: place.clone(),
    };
    let mut map = node.map("Message")?;
    let of = map.remove("sessionID");
    if of.as_ref().and_then(Value::as_str) != Some(session.as_str()) {
        return Err(wrong(&format!("its sessionID is not {session}")));
    }
    let id = map.remove("id");
    let id = id.as_ref().and_then(Value::as_str).unwrap_or_default();
    let id = MessageId::parse(id).map_err(|e| wrong(&e.to_string()))?;
    let info: MessageInfo =
        serde_json::from_value(Value::Object(map)).map_err(|e| wrong(&e.to_string()))?;
    Ok(Message {
        id,
        session_id: session.clone(),
        info,
    })
}
