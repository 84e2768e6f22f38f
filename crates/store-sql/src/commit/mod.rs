//! The one write path: a commit in one transaction.

mod changes;
mod session;
mod transcript;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sessiond_model::{
    Change, Commit, Event, EventBody, MessageId, PartId, Require, Seq, Session, SessionId,
    SessionSeq,
};
use sessiond_store::{Committed, EntityKind, StoreError, StoreResult, rules};

pub(crate) use changes::{ASK_PERMISSION, ASK_QUESTION};

use crate::op::{Arg, Op, Tx, first};
use crate::row::{Head, to_json};
use crate::sql;

/// Applies one commit. Run it in a transaction that no other writer shares, and roll back
/// when it fails.
#[derive(Debug)]
pub struct CommitOp<'a>(pub &'a Commit);

impl Op for CommitOp<'_> {
    type Out = Committed;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Committed> {
        let mut work = Work::begin(tx, self.0).await?;
        if self.0.changes == [Change::PurgeSession] {
            return work.purge().await;
        }
        for change in &self.0.changes {
            work.apply(change).await?;
        }
        work.finish().await
    }
}

/// Notes that a row of a session could not be read.
#[derive(Debug)]
pub struct MarkDegraded<'a>(pub &'a SessionId);

impl Op for MarkDegraded<'_> {
    type Out = ();

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<()> {
        let args = [self.0.as_str().into()];
        tx.execute(sql::SESSION_DEGRADE, &args).await
    }
}

/// Commits of so many changes look up all that they put at once.
pub(crate) const LARGE_COMMIT: usize = 64;

/// Payload of events about rows that are gone.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Removed {
    #[serde(rename = "messageID")]
    pub(crate) message_id: MessageId,
    #[serde(default, rename = "partID", skip_serializing_if = "Option::is_none")]
    pub(crate) part_id: Option<PartId>,
}

/// How much of the session's row a commit has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Dirty {
    /// Only what every commit moves.
    Head,
    /// And the time of the last change.
    Touched,
    /// Anything.
    Row,
}

/// The body of an event to be; the session's own are filled in when its row is final.
enum Body {
    Ready(EventBody),
    Session(fn(Arc<Session>) -> EventBody),
}

/// An event to be.
struct Draft {
    entity: i64,
    payload: Option<String>,
    body: Body,
}

/// A commit in the works.
struct Work<'a, T> {
    tx: &'a mut T,
    commit: &'a Commit,
    head: Head,
    created: bool,
    dirty: Dirty,
    /// Whether the revision rises.
    row_changed: bool,
    drafts: Vec<Draft>,
    /// Messages looked up or made so far, with the keys of their rows and sessions.
    known: HashMap<MessageId, Option<(i64, i64)>>,
    /// Parts that are known not to be stored yet.
    absent: HashSet<PartId>,
}

impl<'a, T: Tx> Work<'a, T> {
    async fn begin(tx: &'a mut T, commit: &'a Commit) -> StoreResult<Self> {
        rules::check(commit)?;
        let id = commit.session_id.as_str();
        let stored = first(tx, sql::SESSION_HEAD, &[id.into()]).await?;
        let stored = stored.map(Head::read);
        if let Some(head) = &stored {
            rules::check_fence(head.epoch, commit.fence)?;
            if head.damaged {
                tx.damaged(&commit.session_id, "the row");
            }
        }
        let creation = match commit.changes.first() {
            Some(Change::CreateSession { session, .. }) => Some(session),
            _ => None,
        };
        let (head, created) = match (stored, creation) {
            (Some(_), Some(_)) => return Err(rules::exists(EntityKind::Session, id)),
            (Some(head), None) => (head, false),
            (None, Some(session)) => {
                let clock = first(tx, sql::CLOCK, &[]).await?;
                let clock = clock.map_or(0, |mut row| row.unsigned());
                (Head::fresh(clock, session.as_ref().clone()), true)
            }
            (None, None) => return Err(rules::missing(EntityKind::Session, id)),
        };
        let mut work = Self {
            tx,
            commit,
            head,
            created,
            dirty: Dirty::Head,
            row_changed: false,
            drafts: Vec::with_capacity(commit.changes.len()),
            known: HashMap::new(),
            absent: HashSet::new(),
        };
        if commit.changes.len() >= LARGE_COMMIT {
            work.look_up().await?;
        }
        for require in &commit.require {
            if !work.holds(require).await? {
                return Err(StoreError::Precondition(require.clone()));
            }
        }
        Ok(work)
    }

    async fn holds(&mut self, require: &Require) -> StoreResult<bool> {
        let session = &self.head.session;
        Ok(match require {
            Require::Revision(revision) => !self.created && session.revision == *revision,
            Require::NotDeleted => self.created || session.deleted_at.is_none(),
            Require::MessageAbsent(id) => self.message_key(id).await?.is_none(),
            Require::MessagePresent(id) => {
                let key = self.message_key(id).await?;
                !self.created && key.is_some_and(|(_, sid)| sid == self.head.sid)
            }
        })
    }

    /// The number of the event that the change being applied will give.
    fn next_seq(&self) -> i64 {
        (self.head.clock + self.drafts.len() as u64 + 1).cast_signed()
    }

    fn emit(&mut self, entity: i64, body: EventBody) {
        self.drafts.push(Draft {
            entity,
            payload: None,
            body: Body::Ready(body),
        });
    }

    fn emit_fact<P: Serialize>(&mut self, payload: &P, body: EventBody) -> StoreResult<()> {
        self.drafts.push(Draft {
            entity: 0,
            payload: Some(to_json(payload)?),
            body: Body::Ready(body),
        });
        Ok(())
    }

    fn emit_session(&mut self, make: fn(Arc<Session>) -> EventBody) {
        self.head.row_seq = self.next_seq();
        self.drafts.push(Draft {
            entity: 0,
            payload: None,
            body: Body::Session(make),
        });
    }

    /// Writes the session's row, the events and the clock.
    async fn finish(mut self) -> StoreResult<Committed> {
        if self.row_changed && !self.created {
            self.head.session.revision += 1;
        }
        self.head.epoch = self.commit.fence;
        let first_of_session = self.head.last_seq + 1;
        self.head.last_seq += self.drafts.len() as u64;
        self.update_session().await?;

        let clock = self.head.clock;
        let session = Arc::new(self.head.session);
        let directory: Arc<str> = session.directory.as_str().into();
        let mut events: Vec<Arc<Event>> = Vec::with_capacity(self.drafts.len());
        let mut rows = Vec::with_capacity(self.drafts.len());
        for (index, draft) in self.drafts.into_iter().enumerate() {
            let body = match draft.body {
                Body::Ready(body) => body,
                Body::Session(make) => make(session.clone()),
            };
            let event = Event {
                seq: Seq(clock + 1 + index as u64),
                session_id: self.commit.session_id.clone(),
                session_seq: SessionSeq(first_of_session + index as u64),
                at: self.commit.at,
                project_id: session.project_id.clone(),
                directory: directory.clone(),
                body,
            };
            rows.push((draft.entity, draft.payload));
            events.push(Arc::new(event));
        }
        // What is left of the large statements goes with the small ones.
        let all = events.chunks(sql::MANY).zip(rows.chunks(sql::MANY));
        let all = all.flat_map(|(events, rows)| {
            let step = match events.len() {
                sql::MANY => sql::MANY,
                _ => sql::EVENT_INSERT.len(),
            };
            events.chunks(step).zip(rows.chunks(step))
        });
        for (events, rows) in all {
            let mut args: Vec<Arg<'_>> = Vec::with_capacity(7 * events.len());
            for (event, (entity, payload)) in events.iter().zip(rows) {
                args.extend([
                    Arg::from(event.seq.0),
                    self.head.sid.into(),
                    event.session_seq.0.into(),
                    event.body.kind().code().into(),
                    (*entity).into(),
                    event.at.millis().into(),
                    payload.as_ref().into(),
                ]);
            }
            let insert = match events.len() {
                sql::MANY => sql::EVENTS_INSERT.as_str(),
                few => sql::EVENT_INSERT[few - 1],
            };
            self.tx.execute(insert, &args).await?;
        }
        if self.created || !events.is_empty() {
            let clock = clock + events.len() as u64;
            let args = [clock.into(), i64::from(self.created).into()];
            self.tx.execute(sql::CLOCK_SET, &args).await?;
        }
        Ok(Committed {
            events: events.into(),
            session: Some(session),
        })
    }
}
