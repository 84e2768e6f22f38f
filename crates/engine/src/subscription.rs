//! One subscriber's view of the event order: replay, then the state of what is open, then live.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use sessiond_model::{
    Event, EventBody, Part, PartBody, PartId, Seq, Session, SessionSeq, Status, StatusKind,
    Timestamp,
};
use sessiond_store::{AskQuery, EventQuery, MessageQuery, Scope, SessionQuery, Store, StoreResult};
use tokio::sync::broadcast;

use crate::hub::{Delta, Hub, Item, OpenPart, Signal, Told};

/// Events read from the log at once.
const PAGE: u32 = 256;
/// Sessions that a stream without a cursor is told of, at the most.
const CATCH_UP_SESSIONS: u32 = 20;
/// Messages per session of the same.
const CATCH_UP_MESSAGES: u32 = 50;
/// Ended permission requests, and questions, per session of the same.
const CATCH_UP_ASKS: u32 = 20;

/// What to subscribe to.
#[derive(Clone, Debug, Default)]
pub struct SubscribeOptions {
    /// Whose events.
    pub scope: Scope,
    /// Continue after this position (`Last-Event-ID`); without it the stream begins now.
    pub after: Option<Seq>,
    /// Without `after`: first tell what is pending (busy sessions, open parts, permissions,
    /// questions).
    pub pending: bool,
    /// Without `after`: also tell again everything of sessions that changed since then, idle
    /// statuses too, for clients that never refetch.
    pub changed_since: Option<Timestamp>,
    /// Tell notices too.
    pub notices: bool,
}

/// What a subscriber gets.
#[derive(Clone, Debug)]
pub enum Frame {
    /// A live signal; durable events carry their position.
    Live(Arc<Item>),
    /// A durable event from the log, with its position.
    Replayed(Arc<Event>),
    /// The present state of something, told again: no position of its own.
    State(Arc<Event>),
    /// The cursor is from another store or from the future: fetch everything anew. The
    /// stream goes on after the given position.
    Resync(Seq),
}

impl Frame {
    /// The position to continue after, when this frame has one.
    #[must_use]
    pub fn seq(&self) -> Option<Seq> {
        match self {
            Self::Live(item) => item.signal().seq(),
            Self::Replayed(e) => Some(e.seq),
            Self::State(_) => None,
            Self::Resync(seq) => Some(*seq),
        }
    }
}

enum Phase {
    Replay,
    State,
    Live,
}

/// See the module. Frames come from [`Subscription::next`].
pub struct Subscription {
    store: Arc<dyn Store>,
    hub: Arc<Hub>,
    ring: broadcast::Receiver<Told>,
    scope: Scope,
    cursor: Seq,
    phase: Phase,
    pending: bool,
    changed_since: Option<Timestamp>,
    notices: bool,
    queue: VecDeque<Frame>,
    /// The open parts that this reader knows, and how much of their text: a live delta is for
    /// it only when it continues that. What it skips comes with the part's next update.
    told: HashMap<PartId, u64>,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription")
            .field("scope", &self.scope)
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}

impl Subscription {
    pub(crate) async fn open(
        store: Arc<dyn Store>,
        hub: Arc<Hub>,
        options: SubscribeOptions,
    ) -> StoreResult<Self> {
        // Listen first, then look at the log: what is committed in between is seen twice and
        // dropped by its position, never missed.
        let ring = hub.subscribe();
        let head = store.last_seq().await?;
        let mut queue = VecDeque::new();
        let (cursor, phase, pending, changed_since) = match options.after {
            Some(after) if after > head => {
                queue.push_back(Frame::Resync(head));
                (head, Phase::State, true, options.changed_since)
            }
            Some(after) => (after, Phase::Replay, true, None),
            None => (head, Phase::State, options.pending, options.changed_since),
        };
        Ok(Self {
            store,
            hub,
            ring,
            scope: options.scope,
            cursor,
            phase,
            pending,
            changed_since,
            notices: options.notices,
            queue,
            told: HashMap::new(),
        })
    }

    /// The position that a reader has reached.
    #[must_use]
    pub fn cursor(&self) -> Seq {
        self.cursor
    }

    /// The next frame; waits while nothing happens. `None` once the engine is gone.
    ///
    /// # Errors
    /// When the store can't be read; the stream should then be ended with a transport error.
    pub async fn next(&mut self) -> StoreResult<Option<Frame>> {
        loop {
            if let Some(frame) = self.queue.pop_front() {
                return Ok(Some(frame));
            }
            match self.phase {
                Phase::Replay => self.replay().await?,
                Phase::State => self.state().await?,
                Phase::Live => match self.ring.recv().await {
                    Ok(Told::Mark(_)) => {}
                    Ok(Told::Grown(open)) => {
                        if let Some(frame) = self.grown(&open) {
                            return Ok(Some(frame));
                        }
                    }
                    Ok(Told::Item(item)) => {
                        if let Some(frame) = self.live(item).await? {
                            return Ok(Some(frame));
                        }
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        // Too slow for the ring: back to the log, at the newest signal. All
                        // state that has no row of its own is told again after it.
                        self.ring = self.hub.subscribe();
                        self.pending = true;
                        self.changed_since = None;
                        self.phase = Phase::Replay;
                    }
                    Err(broadcast::error::RecvError::Closed) => return Ok(None),
                },
            }
        }
    }

    async fn replay(&mut self) -> StoreResult<()> {
        let page = self
            .store
            .events(&EventQuery {
                after: self.cursor,
                until: None,
                scope: self.scope.clone(),
                limit: PAGE,
            })
            .await?;
        self.cursor = self.cursor.max(page.next);
        for event in &page.events {
            self.note(&event.body);
        }
        self.queue.extend(
            page.events
                .into_iter()
                .map(|e| Frame::Replayed(Arc::new(e))),
        );
        if !page.more {
            self.phase = Phase::State;
        }
        Ok(())
    }

    /// What has no event to replay: the content of open parts ahead of their rows, and what
    /// is pending.
    async fn state(&mut self) -> StoreResult<()> {
        self.phase = Phase::Live;
        if let Some(since) = self.changed_since {
            self.recent(since).await?;
        }
        if self.pending {
            self.going_on().await?;
        }
        Ok(())
    }

    /// Busy sessions, open parts, pending permissions and questions.
    async fn going_on(&mut self) -> StoreResult<()> {
        let mut query = SessionQuery {
            status: Some(vec![StatusKind::Busy]),
            ..SessionQuery::default()
        };
        let mut asks = AskQuery::default();
        match &self.scope {
            Scope::All => {}
            Scope::Directory(d) => {
                query.directory = Some(d.clone());
                asks.directory = Some(d.clone());
            }
            Scope::Session(id) => asks.session_id = Some(id.clone()),
        }
        let busy = self.store.sessions(&query).await?.sessions;
        for session in &busy {
            if !self.in_scope(&session.directory, &session.id) {
                continue;
            }
            self.push_state(session, EventBody::StatusChanged(session.status.clone()));
        }
        for open in self.hub.open_parts() {
            if !self.in_scope(&open.directory, &open.part.session_id) {
                continue;
            }
            if self.has_closed(&open.part).await? {
                // Its end is in the log and comes from there, or has come; the live content
                // of an open part would open it again.
                continue;
            }
            if let Some(text) = text_of(&open.part.body) {
                self.told.insert(open.part.id.clone(), text.len() as u64);
            }
            self.queue.push_back(Frame::State(Arc::new(Event {
                seq: self.cursor,
                session_id: open.part.session_id.clone(),
                session_seq: SessionSeq(0),
                at: Timestamp(0),
                project_id: open.project_id,
                directory: open.directory,
                body: EventBody::PartUpdated(Arc::new(open.part)),
            })));
        }
        for p in self.store.pending_permissions(&asks).await? {
            if let Some(session) = self.store.session(&p.session_id).await? {
                self.push_state(&session, EventBody::PermissionAsked(Arc::new(p)));
            }
        }
        for q in self.store.pending_questions(&asks).await? {
            if let Some(session) = self.store.session(&q.session_id).await? {
                self.push_state(&session, EventBody::QuestionAsked(Arc::new(q)));
            }
        }
        Ok(())
    }

    /// Whether a part that is open in the hub has ended in the store. The hub hears of the
    /// end a moment after the log has it, and the replay may fall into that moment.
    async fn has_closed(&self, part: &Part) -> StoreResult<bool> {
        let doc = self
            .store
            .message(&part.session_id, &part.message_id)
            .await?;
        let stored = doc.into_iter().flat_map(|d| d.typed_parts());
        Ok(!stored.filter(|p| p.id == part.id).any(|p| p.body.is_open()))
    }

    /// Everything of the sessions that changed since then, as idempotent updates.
    async fn recent(&mut self, since: Timestamp) -> StoreResult<()> {
        let mut query = SessionQuery {
            updated_since: Some(since),
            limit: Some(CATCH_UP_SESSIONS),
            ..SessionQuery::default()
        };
        if let Scope::Directory(d) = &self.scope {
            query.directory = Some(d.clone());
        }
        let mut sessions = self.store.sessions(&query).await?.sessions;
        sessions.reverse();
        for session in &sessions {
            if !self.in_scope(&session.directory, &session.id) {
                continue;
            }
            self.push_state(
                session,
                EventBody::SessionUpdated(Arc::new(session.clone())),
            );
            let query = MessageQuery {
                before: None,
                limit: Some(CATCH_UP_MESSAGES),
            };
            for doc in self.store.messages(&session.id, &query).await?.messages {
                let Some(message) = doc.message() else {
                    continue;
                };
                if message.info.created() < since.plus_millis(-3_600_000) {
                    continue;
                }
                self.push_state(session, EventBody::MessageUpdated(Arc::new(message)));
                for part in doc.typed_parts() {
                    self.push_state(session, EventBody::PartUpdated(Arc::new(part)));
                }
            }
            let todos = self.store.todos(&session.id).await?;
            if !todos.is_empty() {
                self.push_state(session, EventBody::TodosUpdated(Arc::new(todos)));
            }
            self.answered(session, since).await?;
            if session.status.kind != StatusKind::Busy {
                let idle = Status {
                    kind: session.status.kind,
                    ..session.status.clone()
                };
                self.push_state(session, EventBody::StatusChanged(idle));
            }
        }
        Ok(())
    }

    /// The ends of what a session asked lately: a client that was away still shows the question.
    async fn answered(&mut self, session: &Session, since: Timestamp) -> StoreResult<()> {
        let permissions = self.store.ended_permissions(&session.id, CATCH_UP_ASKS);
        for p in permissions.await?.into_iter().rev() {
            if p.outcome.as_ref().is_some_and(|o| o.at() >= since) {
                self.push_state(session, EventBody::PermissionResolved(Arc::new(p)));
            }
        }
        let questions = self.store.ended_questions(&session.id, CATCH_UP_ASKS);
        for q in questions.await?.into_iter().rev() {
            if q.outcome.as_ref().is_some_and(|o| o.at() >= since) {
                self.push_state(session, EventBody::QuestionResolved(Arc::new(q)));
            }
        }
        Ok(())
    }

    fn push_state(&mut self, session: &Session, body: EventBody) {
        self.note(&body);
        self.queue.push_back(Frame::State(Arc::new(Event {
            seq: self.cursor,
            session_id: session.id.clone(),
            session_seq: SessionSeq(0),
            at: session.updated_at,
            project_id: session.project_id.clone(),
            directory: session.directory.as_str().into(),
            body,
        })));
    }

    fn in_scope(&self, directory: &str, session: &sessiond_model::SessionId) -> bool {
        match &self.scope {
            Scope::All => true,
            Scope::Directory(d) => d == directory,
            Scope::Session(id) => id == session,
        }
    }

    async fn live(&mut self, item: Arc<Item>) -> StoreResult<Option<Frame>> {
        if let Some(seq) = item.signal().seq() {
            if seq <= self.cursor {
                return Ok(None);
            }
            self.cursor = seq;
        }
        let signal = item.signal();
        let concerned = match &self.scope {
            Scope::All => true,
            Scope::Directory(d) => signal.directory().is_none_or(|of| of == d),
            Scope::Session(id) => signal.session_id() == Some(id),
        };
        if !concerned {
            return Ok(None);
        }
        match item.signal() {
            Signal::Delta(d) => match self.told.get_mut(&d.part_id) {
                Some(known) if *known == d.offset => {
                    *known += d.delta.len() as u64;
                    Ok(Some(Frame::Live(item)))
                }
                _ => Ok(None),
            },
            Signal::Notice(_) => Ok(self.notices.then_some(Frame::Live(item))),
            // Behind what was told, but its position must not be missing.
            Signal::Event(e) if self.is_behind(&e.body) => {
                Ok(Some(Frame::Replayed(Arc::new(Event {
                    body: EventBody::Superseded(e.body.kind()),
                    ..Event::clone(e)
                }))))
            }
            Signal::Event(e) => {
                self.note(&e.body);
                Ok(Some(Frame::Live(item)))
            }
            Signal::Large(e) => {
                let page = self
                    .store
                    .events(&EventQuery {
                        after: Seq(e.seq.0 - 1),
                        until: Some(e.seq),
                        scope: Scope::All,
                        limit: 1,
                    })
                    .await?;
                Ok(page.events.into_iter().next().map(|e| {
                    self.note(&e.body);
                    Frame::Replayed(Arc::new(e))
                }))
            }
        }
    }

    /// What is news to this reader of an open part that another node writes.
    fn grown(&mut self, open: &OpenPart) -> Option<Frame> {
        let part = &open.part;
        if !self.in_scope(&open.directory, &part.session_id) {
            return None;
        }
        let text = text_of(&part.body)?;
        let Some(known) = self.told.get_mut(&part.id) else {
            let body = EventBody::PartUpdated(Arc::new(part.clone()));
            self.note(&body);
            return Some(Frame::State(Arc::new(Event {
                seq: self.cursor,
                session_id: part.session_id.clone(),
                session_seq: SessionSeq(0),
                at: Timestamp(0),
                project_id: open.project_id.clone(),
                directory: open.directory.clone(),
                body,
            })));
        };
        let delta = text.get(usize::try_from(*known).ok()?..)?;
        if delta.is_empty() {
            return None;
        }
        let delta = Delta {
            session_id: part.session_id.clone(),
            message_id: part.message_id.clone(),
            part_id: part.id.clone(),
            field: "text",
            delta: delta.to_owned(),
            offset: *known,
            directory: open.directory.clone(),
            project_id: open.project_id.clone(),
        };
        *known = text.len() as u64;
        Some(Frame::Live(Arc::new(Item::new(Signal::Delta(delta)))))
    }

    /// Whether an event shows an open part with less content than this reader was told.
    fn is_behind(&self, body: &EventBody) -> bool {
        let EventBody::PartUpdated(part) = body else {
            return false;
        };
        part.body.is_open()
            && self.told.get(&part.id).is_some_and(|known| {
                text_of(&part.body).is_some_and(|text| (text.len() as u64) < *known)
            })
    }

    /// Remembers what this reader now has of a part.
    fn note(&mut self, body: &EventBody) {
        match body {
            EventBody::PartUpdated(part) => match text_of(&part.body) {
                Some(text) if part.body.is_open() => {
                    self.told.insert(part.id.clone(), text.len() as u64);
                }
                _ => {
                    self.told.remove(&part.id);
                }
            },
            EventBody::PartRemoved { part_id, .. } => {
                self.told.remove(part_id);
            }
            _ => {}
        }
    }
}

fn text_of(body: &PartBody) -> Option<&str> {
    match body {
        PartBody::Text { text, .. } | PartBody::Reasoning { text, .. } => Some(text),
        _ => None,
    }
}
