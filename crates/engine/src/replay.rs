//! Replaying the events of a session that was kept elsewhere.
//!
//! A replayed event is one change, and each of these changes gives one event, so the number of an
//! event is the same there and here: the n-th event that is replayed is the n-th of the
//! session's own log. What was replayed before is found so, and so is what differs.

use sessiond_model::{
    Change, Event, EventBody, Message, MessageId, Part, PartId, Require, Seq, Session, SessionId,
    SessionPatch, Timestamp,
};
use sessiond_store::{EntityKind, EventQuery, Scope, SessionHead, StoreError};

use crate::EngineError;
use crate::engine::{Engine, Inner, Result};
use crate::sessions::check_bounds;

/// Events read from the log at once.
const PAGE: u32 = 256;

/// One event that was kept elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// The session was created.
    Created(Box<Session>),
    /// Its row changed.
    Updated(Box<SessionPatch>),
    /// A message was created or changed.
    Message(Box<Message>),
    /// A message was removed.
    MessageRemoved(MessageId),
    /// A part was created or changed.
    Part(Box<Part>),
    /// A part was removed.
    PartRemoved(MessageId, PartId),
}

/// Events of one session, in order and without gaps.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The session.
    pub session_id: SessionId,
    /// The number of the first event, from 0.
    pub first: u64,
    /// The events.
    pub events: Vec<Told>,
    /// When the last of them was told.
    pub at: Timestamp,
}

impl Engine {
    /// Applies events that were kept elsewhere; those that were applied before are only compared.
    /// Whoever listens is told of the others.
    ///
    /// # Errors
    /// `Conflict` when events before the first one are missing, or when the session has gone
    /// another way here; `Busy` while it has open turns; `NotFound` for a session in the trash,
    /// an unknown parent or message; `Invalid` for an unknown project.
    pub async fn replay(&self, replay: Replay) -> Result<()> {
        let inner = &self.0;
        inner.refuse_when_stopping()?;
        for told in &replay.events {
            told.check_bounds()?;
        }
        // One at a time: the number of events must not change between the look and the commit.
        let _alone = inner.replays.lock().await;
        let id = &replay.session_id;
        match inner.store.session_head(id).await? {
            None => self.replay_new(replay).await,
            Some(head) if head.session.deleted_at.is_some() => {
                Err(EngineError::not_found(EntityKind::Session, id))
            }
            Some(_) => self.replay_more(replay).await,
        }
    }

    async fn replay_new(&self, replay: Replay) -> Result<()> {
        let id = &replay.session_id;
        let Some(Told::Created(session)) = replay.events.first().filter(|_| replay.first == 0)
        else {
            return Err(another_way(id, "its first event is missing"));
        };
        if self.0.store.project(&session.project_id).await?.is_none() {
            let reason = format!(
                "Expected a project that has sessions here, got {:?}",
                session.project_id.as_str()
            );
            return Err(EngineError::invalid(
                "events[0].data.info.projectID",
                reason,
            ));
        }
        if let Some(parent) = &session.parent_id {
            self.session(parent).await?;
        }
        let changes = changes(id, replay.events)?;
        let at = replay.at.min(self.0.clock.now());
        let hold = self.0.hold_new(id);
        self.0.submit_at(&hold, at, Vec::new(), changes).await?;
        Ok(())
    }

    async fn replay_more(&self, mut replay: Replay) -> Result<()> {
        let inner = &self.0;
        let id = replay.session_id.clone();
        let live = inner.live(&id).await?;
        let _undo = live.undo.lock().await;
        inner.settle_restore(&live).await?;
        let head: SessionHead = inner
            .store
            .session_head(&id)
            .await?
            .ok_or_else(|| EngineError::not_found(EntityKind::Session, &id))?;
        let next = head.last_seq.0;
        let Some(known) = next.checked_sub(replay.first) else {
            return Err(another_way(
                &id,
                &format!("events from {next} on are missing"),
            ));
        };
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let fresh = replay.events.split_off(known.min(replay.events.len()));
        inner.check_same(&id, replay.first, &replay.events).await?;
        if fresh.is_empty() {
            return Ok(());
        }
        let messages: Vec<_> = fresh.iter().filter_map(Told::message).cloned().collect();
        let changes = changes(&id, fresh)?;
        let require = vec![
            Require::NotDeleted,
            Require::Revision(head.session.revision),
        ];
        let commit = {
            let mut head = live.head();
            if head.open_turns > 0 {
                return Err(EngineError::Busy(id));
            }
            for change in &changes {
                let stamp = match change {
                    Change::PutMessage(m) => m.id.stamp(),
                    Change::PutPart(p) => p.id.stamp(),
                    _ => None,
                };
                head.floor = stamp.map_or(head.floor, |stamp| head.floor.max(stamp));
            }
            for message in &messages {
                head.last_message_at = head.last_message_at.max(message.info.created());
            }
            let at = replay.at.min(inner.clock.now());
            inner.submit_at(live.hold(), at, require, changes)
        };
        match commit.await {
            Err(StoreError::Precondition(Require::Revision(_))) => {
                Err(another_way(&id, "it was changed here meanwhile"))
            }
            other => other.map(drop).map_err(Into::into),
        }
    }
}

impl Inner {
    /// Refuses events that are not those of the session's log.
    async fn check_same(&self, id: &SessionId, first: u64, events: &[Told]) -> Result<()> {
        let mut rest = events;
        let mut query = EventQuery {
            after: Seq(0),
            until: None,
            scope: Scope::Session(id.clone()),
            limit: PAGE,
        };
        while !rest.is_empty() {
            let page = self.store.events(&query).await?;
            for ours in page.events.iter().filter(|e| e.session_seq.0 > first) {
                let Some((told, later)) = rest.split_first() else {
                    break;
                };
                if !told.is(ours) {
                    let number = ours.session_seq.0 - 1;
                    return Err(another_way(
                        id,
                        &format!("its event {number} is another one here"),
                    ));
                }
                rest = later;
            }
            if !page.more {
                break;
            }
            query.after = page.next;
        }
        Ok(())
    }
}

impl Told {
    fn check_bounds(&self) -> Result<()> {
        match self {
            Self::Created(s) => {
                check_bounds(Some(&s.title), s.metadata.as_ref(), s.permission.as_deref())
            }
            Self::Updated(p) => check_bounds(
                p.title.as_deref(),
                p.metadata.as_ref(),
                p.permission.as_deref(),
            ),
            _ => Ok(()),
        }
    }

    fn message(&self) -> Option<&Message> {
        match self {
            Self::Message(message) => Some(message),
            _ => None,
        }
    }

    /// Whether an event of ours tells the same, as far as is still known of it.
    fn is(&self, ours: &Event) -> bool {
        use sessiond_model::EventKind as Kind;
        let kind = match self {
            Self::Created(_) => Kind::SessionCreated,
            Self::Updated(_) => Kind::SessionUpdated,
            Self::Message(_) => Kind::MessageUpdated,
            Self::MessageRemoved(_) => Kind::MessageRemoved,
            Self::Part(_) => Kind::PartUpdated,
            Self::PartRemoved(..) => Kind::PartRemoved,
        };
        let same = match (self, &ours.body) {
            (Self::Message(told), EventBody::MessageUpdated(m)) => told.id == m.id,
            (Self::Part(told), EventBody::PartUpdated(p)) => **told == **p,
            (Self::MessageRemoved(told), EventBody::MessageRemoved { message_id }) => {
                told == message_id
            }
            (Self::PartRemoved(_, told), EventBody::PartRemoved { part_id, .. }) => told == part_id,
            _ => true,
        };
        same && match &ours.body {
            EventBody::Superseded(superseded) => *superseded == kind,
            body => body.kind() == kind,
        }
    }
}

fn changes(id: &SessionId, events: Vec<Told>) -> Result<Vec<Change>> {
    let mut changes = Vec::with_capacity(events.len());
    for (n, told) in events.into_iter().enumerate() {
        changes.push(match told {
            Told::Created(session) if n == 0 => Change::CreateSession {
                session,
                idempotency: None,
            },
            Told::Created(_) => return Err(another_way(id, "it was created before")),
            Told::Updated(patch) => Change::UpdateSession(*patch),
            Told::Message(message) => Change::PutMessage(*message),
            Told::MessageRemoved(message) => Change::RemoveMessage(message),
            Told::Part(part) => Change::PutPart(*part),
            Told::PartRemoved(message_id, part_id) => Change::RemovePart {
                message_id,
                part_id,
            },
        });
    }
    Ok(changes)
}

fn another_way(id: &SessionId, reason: &str) -> EngineError {
    EngineError::Conflict {
        kind: EntityKind::Session,
        id: id.to_string(),
        owner: None,
        reason: reason.to_owned(),
    }
}
