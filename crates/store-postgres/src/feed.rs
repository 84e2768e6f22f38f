//! What listeners have been told: every event of the store, in order, whoever wrote it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use sessiond_model::{Event, MessageId, Part, PartBody, PartId, ProjectId, Seq, SessionId};
use sessiond_store::{EventQuery, Feed, Scope, StoreResult};
use sessiond_store_sql::{EventsAfter, Op, Tx};

use crate::cluster::first;
use crate::measures::Measures;
use crate::readers::{Readers, View};

/// Events read at once.
const PAGE: u32 = 500;

const PART: &str = "SELECT p.id, m.id, s.id, s.directory, s.project_id, COALESCE(p.body, b.body) \
     FROM part p JOIN message m ON m.mid = p.mid JOIN session s ON s.sid = m.sid \
     LEFT JOIN blob b ON b.bid = p.bid WHERE p.id = $1";

/// The feed, and how far it has been told.
#[derive(Debug)]
pub(crate) struct Told {
    feed: Arc<dyn Feed>,
    readers: Arc<Readers>,
    measures: Arc<Measures>,
    /// The newest event that was told, or was there at the start.
    until: Seq,
    /// Sessions with rows that could not be read.
    pub(crate) damaged: Vec<SessionId>,
}

impl Told {
    pub(crate) fn new(
        feed: Arc<dyn Feed>,
        readers: Arc<Readers>,
        measures: Arc<Measures>,
        until: Seq,
    ) -> Self {
        measures.told(until.0);
        Self {
            feed,
            readers,
            measures,
            until,
            damaged: Vec::new(),
        }
    }

    /// Tells what others have written since, up to an event or the newest.
    pub(crate) async fn catch_up(&mut self, until: Option<Seq>) -> StoreResult<()> {
        if until.is_some_and(|until| until <= self.until) {
            return Ok(());
        }
        loop {
            let query = EventQuery {
                after: self.until,
                until,
                scope: Scope::All,
                limit: PAGE,
            };
            let (page, damaged) = self.readers.read(View::Still, EventsAfter(&query)).await;
            self.damaged.extend(damaged);
            let page = page?;
            let events: Arc<[Arc<Event>]> = page.events.into_iter().map(Arc::new).collect();
            self.tell(&events);
            self.until = self.until.max(page.next);
            self.measures.told(self.until.0);
            if !page.more {
                return Ok(());
            }
        }
    }

    /// Tells what was committed here after the event `before`, unless something is missing in
    /// between: then it is told with that.
    pub(crate) fn own(&mut self, before: Seq, commits: &[&Arc<[Arc<Event>]>]) {
        if before != self.until {
            return;
        }
        for events in commits {
            self.tell(events);
            if let Some(last) = events.last() {
                self.until = last.seq;
            }
        }
        self.measures.told(self.until.0);
    }

    fn tell(&self, events: &Arc<[Arc<Event>]>) {
        if events.is_empty() {
            return;
        }
        // A fault of whoever listens must not end the writer; the events are in the log.
        let feed = AssertUnwindSafe(|| self.feed.publish(events));
        if std::panic::catch_unwind(feed).is_err() {
            tracing::error!("a listener of the store panicked");
        }
    }

    /// Tells how far an open part of a session of another node has grown.
    pub(crate) async fn grown(&mut self, part: &PartId) -> StoreResult<()> {
        let (grown, _) = self.readers.read(View::Moving, Grown(part)).await;
        if let Some((part, directory, project)) = grown? {
            let feed = AssertUnwindSafe(|| self.feed.checkpointed(&part, &directory, &project));
            if std::panic::catch_unwind(feed).is_err() {
                tracing::error!("a listener of the store panicked");
            }
        }
        Ok(())
    }
}

/// A part with where its session is.
#[derive(Clone, Copy, Debug)]
struct Grown<'a>(&'a PartId);

impl Op for Grown<'_> {
    type Out = Option<(Part, Arc<str>, ProjectId)>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Self::Out> {
        let row = first(tx, PART, &[self.0.as_str().into()]).await?;
        Ok(row.map(|mut row| {
            let (id, message, session) = (row.text(), row.text(), row.text());
            let (directory, project) = (row.text(), row.text());
            let part = Part {
                id: PartId::trusted(&id),
                message_id: MessageId::trusted(&message),
                session_id: SessionId::trusted(&session),
                body: PartBody::from_stored(&row.text()),
            };
            (part, directory.into(), ProjectId::new(&project))
        }))
    }
}
