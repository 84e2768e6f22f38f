//! The event hub: what was committed, and live text deltas, to every subscriber.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::convert::Infallible;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use sessiond_model::{
    Event, EventBody, MessageId, Part, PartBody, PartId, ProjectId, Seq, SessionId, Timestamp,
};
use sessiond_store::Feed;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::echo::is_telling;
use crate::{Notice, NoticeBody};

/// Signals kept for a subscriber that is behind. One that falls further back pages the log.
const RING: usize = 1024;
/// Events with larger content are announced without it, so that a stalled subscriber cannot
/// pin more than `RING` times this in memory; subscribers fetch it from the store.
const INLINE_LIMIT: usize = 16 * 1024;
/// Counters of what was published by session.
const GENERATIONS: usize = 1024;

/// Growth of an open part: never stored, always superseded by the durable part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The session.
    pub session_id: SessionId,
    /// The message.
    pub message_id: MessageId,
    /// The part.
    pub part_id: PartId,
    /// The field that grew: `text`.
    pub field: &'static str,
    /// What was added.
    pub delta: String,
    /// Length of the field before, in bytes.
    pub offset: u64,
    /// The session's directory, for routing.
    pub directory: Arc<str>,
    /// The session's project, for routing.
    pub project_id: ProjectId,
}

/// What the hub tells its subscribers.
#[derive(Clone, Debug)]
pub enum Signal {
    /// A durable event.
    Event(Arc<Event>),
    /// A durable event whose content is large: to be read from the store.
    Large(Arc<Event>),
    /// Live growth of an open part.
    Delta(Delta),
    /// A passing word.
    Notice(Notice),
}

/// The surfaces that render signals. Each signal is rendered once per surface, whatever the
/// number of subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// OpenCode's `/event`.
    OpenCode = 0,
    /// OpenCode's `/global/event`.
    OpenCodeGlobal = 1,
    /// `/v1` events.
    Core = 2,
}

/// One signal on its way to all subscribers.
#[derive(Debug)]
pub struct Item {
    signal: Signal,
    rendered: [OnceLock<Bytes>; 3],
}

impl Item {
    pub(crate) fn new(signal: Signal) -> Self {
        Self {
            signal,
            rendered: [const { OnceLock::new() }; 3],
        }
    }

    /// The signal.
    #[must_use]
    pub fn signal(&self) -> &Signal {
        &self.signal
    }

    /// The bytes of this signal on a surface, made by `render` at the first call.
    pub fn rendered(&self, view: View, render: impl FnOnce(&Signal) -> Bytes) -> Bytes {
        self.rendered[view as usize]
            .get_or_init(|| render(&self.signal))
            .clone()
    }
}

/// What goes through the ring.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// A signal.
    Item(Arc<Item>),
    /// The stored text of an open part that another node writes has grown.
    Grown(Arc<OpenPart>),
    /// Nothing to tell; dropped for good when the last reader has come to it.
    Mark(#[expect(dead_code, reason = "held for its drop")] Arc<oneshot::Sender<Infallible>>),
}

/// See the module.
pub struct Hub {
    ring: broadcast::Sender<Told>,
    /// Parts that an agent writes now, with their full content: ahead of their stored rows
    /// by at most one checkpoint interval.
    open: Mutex<HashMap<PartId, OpenPart>>,
    /// How many events were published, in all and by session (sessions share counters; a
    /// neighbour's event costs a rendering, nothing else).
    published: AtomicU64,
    published_by: Box<[AtomicU64; GENERATIONS]>,
    hasher: RandomState,
    /// Notices given so far.
    noticed: AtomicU64,
    /// Who finds notices for events of other nodes.
    echo: OnceLock<mpsc::Sender<Arc<Event>>>,
}

/// An open part and where it is.
#[derive(Clone, Debug)]
pub(crate) struct OpenPart {
    pub(crate) part: Part,
    pub(crate) directory: Arc<str>,
    pub(crate) project_id: ProjectId,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("subscribers", &self.ring.receiver_count())
            .finish_non_exhaustive()
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl Hub {
    /// A hub without subscribers.
    #[must_use]
    pub fn new() -> Self {
        Self {
            ring: broadcast::Sender::new(RING),
            open: Mutex::new(HashMap::new()),
            published: AtomicU64::new(0),
            published_by: Box::new([const { AtomicU64::new(0) }; GENERATIONS]),
            hasher: RandomState::new(),
            noticed: AtomicU64::new(0),
            echo: OnceLock::new(),
        }
    }

    /// Number of subscribers.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.ring.receiver_count()
    }

    /// Has this one find what is to be told beside events; see [`crate::echo`].
    pub(crate) fn echo_to(&self, sender: mpsc::Sender<Arc<Event>>) {
        // A hub has one engine.
        let _ = self.echo.set(sender);
    }

    /// Rises whenever something of this session (of any, without one) was published.
    pub(crate) fn generation(&self, session: Option<&SessionId>) -> u64 {
        session
            .map_or(&self.published, |id| self.counter(id))
            .load(Ordering::SeqCst)
    }

    fn counter(&self, session: &SessionId) -> &AtomicU64 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "any bits of the hash will do"
        )]
        let at = self.hasher.hash_one(session) as usize % GENERATIONS;
        &self.published_by[at]
    }

    /// Notes that something of this session was published.
    pub(crate) fn touch(&self, session: &SessionId) {
        self.counter(session).fetch_add(1, Ordering::SeqCst);
        self.published.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Told> {
        self.ring.subscribe()
    }

    fn send(&self, signal: Signal) {
        // No subscriber is no fault.
        let _ = self.ring.send(Told::Item(Arc::new(Item::new(signal))));
    }

    /// Waits until every subscriber was given what was told before, or the patience is over.
    /// Answers whether there were any.
    pub(crate) async fn told(&self, patience: Duration) -> bool {
        let (mark, passed) = oneshot::channel();
        if self.ring.send(Told::Mark(Arc::new(mark))).is_err() {
            return false;
        }
        let _ = tokio::time::timeout(patience, passed).await;
        true
    }

    /// A part has been opened (its creation is durable).
    pub(crate) fn open_part(&self, part: Part, directory: Arc<str>, project_id: ProjectId) {
        self.open.lock().insert(
            part.id.clone(),
            OpenPart {
                part,
                directory,
                project_id,
            },
        );
    }

    /// A part has been closed (its final content is durable).
    pub(crate) fn close_part(&self, id: &PartId) {
        self.open.lock().remove(id);
    }

    /// Text was added to an open part. The part's content and the signal move together under
    /// one lock, so that content seen by [`Hub::open_parts`] plus the deltas from its length
    /// on is exact.
    pub(crate) fn grow(&self, delta: Delta) {
        let mut open = self.open.lock();
        if let Some(o) = open.get_mut(&delta.part_id)
            && let PartBody::Text { text, .. } | PartBody::Reasoning { text, .. } = &mut o.part.body
        {
            text.push_str(&delta.delta);
        }
        self.send(Signal::Delta(delta));
    }

    /// Tells whoever listens now.
    pub(crate) fn notice(
        &self,
        session_id: Option<SessionId>,
        place: Option<(Arc<str>, ProjectId)>,
        at: Timestamp,
        body: NoticeBody,
    ) {
        let (directory, project_id) = place.unzip();
        let notice = Notice {
            session_id,
            directory,
            project_id,
            at,
            number: self.noticed.fetch_add(1, Ordering::Relaxed),
            body,
        };
        self.send(Signal::Notice(notice));
    }

    pub(crate) fn open_parts(&self) -> Vec<OpenPart> {
        let mut parts: Vec<_> = self.open.lock().values().cloned().collect();
        parts.sort_by(|a, b| a.part.id.cmp(&b.part.id));
        parts
    }

    /// The full content of an open part.
    #[must_use]
    pub fn open_part_of(&self, id: &PartId) -> Option<Part> {
        self.open.lock().get(id).map(|o| o.part.clone())
    }

    /// Whether any part is open now.
    #[must_use]
    pub fn has_open_parts(&self, session: &SessionId) -> bool {
        self.open
            .lock()
            .values()
            .any(|o| o.part.session_id == *session)
    }
}

impl Feed for Hub {
    fn publish(&self, events: &Arc<[Arc<Event>]>) {
        // All events of a commit are of one session.
        if let Some(event) = events.first() {
            self.touch(&event.session_id);
        }
        if self.ring.receiver_count() == 0 {
            return;
        }
        for event in events.iter() {
            if let Some(echo) = self.echo.get().filter(|_| is_telling(event)) {
                // Full: nothing is told, and nothing lasts less for it.
                let _ = echo.try_send(event.clone());
            }
            let signal = if weight(event) > INLINE_LIMIT {
                Signal::Large(Arc::new(Event {
                    body: EventBody::Superseded(event.body.kind()),
                    ..Event::clone(event)
                }))
            } else {
                Signal::Event(event.clone())
            };
            self.send(signal);
        }
    }

    fn checkpointed(&self, part: &Part, directory: &Arc<str>, project: &ProjectId) {
        self.grown(part, directory, project);
    }
}

impl Hub {
    fn grown(&self, part: &Part, directory: &Arc<str>, project: &ProjectId) {
        self.touch(&part.session_id);
        if !part.body.is_open() || self.ring.receiver_count() == 0 {
            return;
        }
        let _ = self.ring.send(Told::Grown(Arc::new(OpenPart {
            part: part.clone(),
            directory: directory.clone(),
            project_id: project.clone(),
        })));
    }
}

impl Signal {
    /// The position of a durable event.
    #[must_use]
    pub fn seq(&self) -> Option<Seq> {
        match self {
            Self::Event(e) | Self::Large(e) => Some(e.seq),
            Self::Delta(_) | Self::Notice(_) => None,
        }
    }

    /// The directory that it concerns; a notice may concern all.
    #[must_use]
    pub fn directory(&self) -> Option<&str> {
        match self {
            Self::Event(e) | Self::Large(e) => Some(&e.directory),
            Self::Delta(d) => Some(&d.directory),
            Self::Notice(n) => n.directory.as_deref(),
        }
    }

    /// The session; a notice may be about none.
    #[must_use]
    pub fn session_id(&self) -> Option<&SessionId> {
        match self {
            Self::Event(e) | Self::Large(e) => Some(&e.session_id),
            Self::Delta(d) => Some(&d.session_id),
            Self::Notice(n) => n.session_id.as_ref(),
        }
    }
}

/// A rough size of an event's content in bytes; only parts and user messages get large.
fn weight(event: &Event) -> usize {
    use sessiond_model::ToolState;
    match &event.body {
        EventBody::PartUpdated(part) => match &part.body {
            PartBody::Text { text, .. } | PartBody::Reasoning { text, .. } => text.len(),
            PartBody::File { url, .. } => url.len(),
            PartBody::Opaque { raw } => raw.len(),
            PartBody::Tool(tool) => match &tool.state {
                ToolState::Pending { input, .. } => map_weight(input),
                ToolState::Running {
                    input, metadata, ..
                } => map_weight(input) + metadata.as_ref().map_or(0, map_weight),
                ToolState::Completed {
                    input,
                    output,
                    metadata,
                    ..
                } => map_weight(input) + output.len() + map_weight(metadata),
                ToolState::Error {
                    input,
                    error,
                    metadata,
                    ..
                } => map_weight(input) + error.len() + metadata.as_ref().map_or(0, map_weight),
            },
            _ => 0,
        },
        EventBody::PermissionAsked(p) | EventBody::PermissionResolved(p) => map_weight(&p.metadata),
        EventBody::SessionCreated(s)
        | EventBody::SessionUpdated(s)
        | EventBody::SessionDeleted(s) => {
            s.metadata.as_ref().map_or(0, map_weight)
                + s.revert
                    .as_ref()
                    .and_then(|r| r.diff.as_ref())
                    .map_or(0, String::len)
        }
        EventBody::MessageUpdated(m) => match &m.info {
            sessiond_model::MessageInfo::User(u) => {
                u.system.as_ref().map_or(0, String::len)
                    + u.summary.as_ref().map_or(0, |s| {
                        s.diffs
                            .iter()
                            .map(|d| d.patch.as_ref().map_or(64, String::len))
                            .sum()
                    })
            }
            sessiond_model::MessageInfo::Assistant(_) => 0,
        },
        _ => 0,
    }
}

fn map_weight(map: &serde_json::Map<String, serde_json::Value>) -> usize {
    fn value(v: &serde_json::Value) -> usize {
        match v {
            serde_json::Value::String(s) => s.len(),
            serde_json::Value::Array(a) => a.iter().map(value).sum(),
            serde_json::Value::Object(o) => map_weight(o),
            _ => 8,
        }
    }
    map.iter().map(|(k, v)| k.len() + value(v)).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_is_told_when_every_reader_has_come_to_it() {
        let hub = Hub::new();
        let patience = Duration::from_secs(60);
        assert!(!hub.told(patience).await, "nobody listens");
        let (mut quick, mut slow) = (hub.subscribe(), hub.subscribe());
        let mut told = Box::pin(hub.told(patience));
        assert_eq!(told.as_mut().now_or_never(), None);
        assert!(matches!(quick.recv().await, Ok(Told::Mark(_))));
        assert_eq!(told.as_mut().now_or_never(), None);
        assert!(matches!(slow.recv().await, Ok(Told::Mark(_))));
        assert_eq!(told.now_or_never(), Some(true));
        let begun = tokio::time::Instant::now();
        assert!(hub.told(patience).await);
        assert_eq!(begun.elapsed(), patience, "nobody reads");
    }
}
