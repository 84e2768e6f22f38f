//! The replay of events.

use std::collections::HashMap;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use sessiond_model::{
    Event, EventBody, EventKind, Message, MessageId, Part, PartBody, PartId, ProjectId, Seq,
    Session, SessionId, SessionSeq, Timestamp,
};
use sessiond_store::{EventPage, EventQuery, Scope, StoreResult, rules};

use crate::commit::Removed;
use crate::op::{Arg, Op, Row, Tx, first};
use crate::row::{self, checksum};
use crate::sql;

/// The fewest events looked at for one page of a directory, where most may be of others.
const WINDOW: u64 = 10_000;

/// Events in order, with the content of what they are about as it is now.
#[derive(Clone, Copy, Debug)]
pub struct EventsAfter<'a>(pub &'a EventQuery);

impl Op for EventsAfter<'_> {
    type Out = EventPage;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<EventPage> {
        let query = self.0;
        let last = first(tx, sql::CLOCK, &[]).await?;
        let last = Seq(last.map_or(0, |mut row| row.unsigned()));
        let until = query.until.map_or(last, |until| until.min(last));
        if query.after >= until {
            return Ok(EventPage {
                events: Vec::new(),
                next: query.after,
                more: false,
            });
        }
        let (sql, scope, end) = match &query.scope {
            Scope::All => (sql::EVENTS_ALL, None, until),
            Scope::Session(id) => (sql::EVENTS_OF_SESSION, Some(id.as_str()), until),
            Scope::Directory(directory) => {
                let window = WINDOW.max(u64::from(query.limit) * 16);
                let end = Seq(query.after.0.saturating_add(window)).min(until);
                (sql::EVENTS_OF_DIRECTORY, Some(directory.as_str()), end)
            }
        };
        let limit = i64::from(query.limit);
        let args: [Arg<'_>; 4] = [
            query.after.0.into(),
            end.0.into(),
            limit.into(),
            scope.into(),
        ];
        let args = if scope.is_some() {
            &args[..]
        } else {
            &args[..3]
        };
        let rows = tx.query(sql, args).await?;
        let full = rows.len() as u64 >= u64::from(query.limit);
        let mut sessions = HashMap::new();
        let mut events = Vec::with_capacity(rows.len());
        for row in rows {
            events.push(Draft::read(row).render(tx, &mut sessions).await?);
        }
        Ok(if full {
            let next = events.last().map_or(query.after, |e| e.seq);
            EventPage {
                next,
                more: next < until,
                events,
            }
        } else {
            EventPage {
                events,
                next: end,
                more: end < until,
            }
        })
    }
}

/// A row of an event list.
struct Draft {
    event: Event,
    kind: EventKind,
    sid: i64,
    row_seq: u64,
    status_seq: u64,
    status: sessiond_model::Status,
    payload: Option<String>,
    message_id: Option<MessageId>,
    part_id: Option<PartId>,
    sum: Option<i64>,
    doc: Option<String>,
}

impl Draft {
    fn read(mut row: Row) -> Self {
        let seq = Seq(row.unsigned());
        let session_seq = SessionSeq(row.unsigned());
        let at = Timestamp(row.int());
        // A kind of a newer version has no content for us, but keeps its place.
        let kind = EventKind::from_code(row.int()).unwrap_or(EventKind::SessionUpdated);
        let payload = row.opt_text();
        let sid = row.int();
        let event = Event {
            seq,
            session_seq,
            at,
            session_id: SessionId::trusted(&row.text()),
            project_id: ProjectId::new(&row.text()),
            directory: row.text().into(),
            body: EventBody::Superseded(kind),
        };
        Self {
            event,
            kind,
            sid,
            payload,
            row_seq: row.unsigned(),
            status_seq: row.unsigned(),
            status: row::status(&mut row),
            message_id: row.opt_text().map(|id| MessageId::trusted(&id)),
            part_id: row.opt_text().map(|id| PartId::trusted(&id)),
            sum: row.opt_int(),
            doc: row.opt_text(),
        }
    }

    async fn render<T: Tx>(
        mut self,
        tx: &mut T,
        sessions: &mut HashMap<i64, Option<Arc<Session>>>,
    ) -> StoreResult<Event> {
        let body = match self.kind {
            EventKind::SessionCreated | EventKind::SessionUpdated | EventKind::SessionDeleted => {
                self.session_body(tx, sessions).await?
            }
            _ => self.body(tx),
        };
        if let Some(body) = body {
            self.event.body = body;
        }
        Ok(self.event)
    }

    async fn session_body<T: Tx>(
        &self,
        tx: &mut T,
        sessions: &mut HashMap<i64, Option<Arc<Session>>>,
    ) -> StoreResult<Option<EventBody>> {
        let mark = rules::RowMark {
            created: Seq(0),
            newest: Seq(self.row_seq),
        };
        if !rules::carries_content(self.kind, self.event.seq, mark) {
            return Ok(None);
        }
        let session = match sessions.get(&self.sid) {
            Some(known) => known.clone(),
            None => {
                let row = first(tx, sql::SESSION_BY_SID, &[self.sid.into()]).await?;
                let session = row.map(|mut row| Arc::new(row::session(&mut row)));
                sessions.insert(self.sid, session.clone());
                session
            }
        };
        Ok(session.map(|session| match self.kind {
            EventKind::SessionCreated => EventBody::SessionCreated(session),
            EventKind::SessionDeleted => EventBody::SessionDeleted(session),
            _ => EventBody::SessionUpdated(session),
        }))
    }

    /// The body of an event about anything but the session's row. The statement has found a
    /// document only where the event carries it.
    fn body<T: Tx>(&self, tx: &mut T) -> Option<EventBody> {
        match self.kind {
            EventKind::StatusChanged => (self.event.seq.0 == self.status_seq)
                .then(|| EventBody::StatusChanged(self.status.clone())),
            EventKind::MessageUpdated => self.message(tx).map(EventBody::MessageUpdated),
            EventKind::PartUpdated => self.part(tx).map(EventBody::PartUpdated),
            EventKind::TodosUpdated => self.doc().map(EventBody::TodosUpdated),
            EventKind::PermissionAsked => self.doc().map(EventBody::PermissionAsked),
            EventKind::PermissionResolved => self.doc().map(EventBody::PermissionResolved),
            EventKind::QuestionAsked => self.doc().map(EventBody::QuestionAsked),
            EventKind::QuestionResolved => self.doc().map(EventBody::QuestionResolved),
            EventKind::TurnUpdated => self.doc().map(EventBody::TurnUpdated),
            EventKind::AgentBound => self.doc().map(EventBody::AgentBound),
            EventKind::ProjectUpdated => self.doc().map(EventBody::ProjectUpdated),
            EventKind::SessionError => self.payload().map(EventBody::SessionError),
            EventKind::MessageRemoved => {
                let Removed { message_id, .. } = self.payload()?;
                Some(EventBody::MessageRemoved { message_id })
            }
            EventKind::PartRemoved => {
                let removed: Removed = self.payload()?;
                Some(EventBody::PartRemoved {
                    message_id: removed.message_id,
                    part_id: removed.part_id?,
                })
            }
            EventKind::SessionCreated | EventKind::SessionUpdated | EventKind::SessionDeleted => {
                None
            }
        }
    }

    fn doc<D: DeserializeOwned>(&self) -> Option<Arc<D>> {
        let doc = self.doc.as_deref()?;
        serde_json::from_str(doc).ok().map(Arc::new)
    }

    fn payload<D: DeserializeOwned>(&self) -> Option<D> {
        serde_json::from_str(self.payload.as_deref()?).ok()
    }

    fn message<T: Tx>(&self, tx: &mut T) -> Option<Arc<Message>> {
        let id = self.message_id.clone()?;
        let text = self.doc.as_deref()?;
        self.check(tx, text, || format!("message {id}"));
        let info = serde_json::from_str(text).ok()?;
        Some(Arc::new(Message {
            id,
            session_id: self.event.session_id.clone(),
            info,
        }))
    }

    fn part<T: Tx>(&self, tx: &mut T) -> Option<Arc<Part>> {
        let id = self.part_id.clone()?;
        let text = self.doc.as_deref().unwrap_or_default();
        self.check(tx, text, || format!("part {id}"));
        Some(Arc::new(Part {
            message_id: self.message_id.clone()?,
            session_id: self.event.session_id.clone(),
            body: PartBody::from_stored(text),
            id,
        }))
    }

    fn check<T: Tx>(&self, tx: &mut T, text: &str, what: impl Fn() -> String) {
        if self.sum != Some(checksum(text)) {
            tx.damaged(&self.event.session_id, &what());
        }
    }
}
