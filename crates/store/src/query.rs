use std::cmp::Ordering;

use sessiond_model::{
    Event, IdStamp, MessageDoc, ProjectId, Seq, Session, SessionId, SessionSeq, StatusKind,
    Timestamp, TurnId,
};

/// Which sessions to list. All filters must hold; the default lists every session that is
/// not in the trash, the last changed first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionQuery {
    /// Of this project.
    pub project_id: Option<ProjectId>,
    /// In exactly this directory.
    pub directory: Option<String>,
    /// With this `path` or one below it (`P` or `P/…`).
    pub path_prefix: Option<String>,
    /// Children of this session.
    pub parent_id: Option<SessionId>,
    /// Forks of this session (not forks of its forks).
    pub fork_of: Option<SessionId>,
    /// Only sessions without a parent.
    pub roots: bool,
    /// Changed at or after this time.
    pub updated_since: Option<Timestamp>,
    /// Title contains this text, letter case ignored (ASCII), no wildcards.
    pub search: Option<String>,
    /// Only archived (`true`) or only others (`false`).
    pub archived: Option<bool>,
    /// Only with one of these states.
    pub status: Option<Vec<StatusKind>>,
    /// Sessions in the trash instead of the others.
    pub trashed: bool,
    /// Which come first.
    pub order: SessionOrder,
    /// Continue after this one.
    pub after: Option<SessionCursor>,
    /// At most so many; `None` means all.
    pub limit: Option<u32>,
}

/// Which sessions of a list come first. Between those of one millisecond the ids decide, which
/// are compared by their bytes: sessiond gives a newer session a lower one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionOrder {
    /// Those that changed last: `updated_at` descending, `id` ascending.
    #[default]
    Changed,
    /// The newest: `created_at` descending, `id` ascending.
    Newest,
    /// The oldest: [`Self::Newest`] from its end.
    Oldest,
}

/// Position in a list of sessions, by the order of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCursor {
    /// The last item's `updated_at`, or its `created_at` where the list is ordered by that.
    pub at: Timestamp,
    /// The last item's id.
    pub id: SessionId,
}

impl SessionOrder {
    /// Where a session is in a list of this order.
    #[must_use]
    pub fn place(self, session: &Session) -> SessionCursor {
        SessionCursor {
            at: match self {
                Self::Changed => session.updated_at,
                Self::Newest | Self::Oldest => session.created_at,
            },
            id: session.id.clone(),
        }
    }

    /// Which of two places comes first.
    #[must_use]
    pub fn compare(self, a: &SessionCursor, b: &SessionCursor) -> Ordering {
        match self {
            Self::Changed | Self::Newest => b.at.cmp(&a.at).then_with(|| a.id.cmp(&b.id)),
            Self::Oldest => Self::Newest.compare(b, a),
        }
    }
}

/// A page of sessions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionPage {
    /// The sessions.
    pub sessions: Vec<Session>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<SessionCursor>,
}

/// A session with what a writer needs to continue it.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionHead {
    /// The session.
    pub session: Session,
    /// Its last event.
    pub last_seq: SessionSeq,
    /// Ids minted for it must come after this stamp.
    pub id_floor: IdStamp,
    /// Creation time of its newest message; the next one must be later.
    pub last_message_at: Timestamp,
}

/// Which messages of a session: the newest `limit` ones before a position, in transcript order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageQuery {
    /// Only messages before this one.
    pub before: Option<MessageCursor>,
    /// At most so many; `None` means all.
    pub limit: Option<u32>,
}

/// Position in a transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageCursor(pub u64);

/// A page of messages, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessagePage {
    /// The messages with their parts (parts ordered by id).
    pub messages: Vec<MessageDoc>,
    /// Pass as `before` for the next older page; `None` when this page reaches the start.
    pub older: Option<MessageCursor>,
}

/// Which turns of a session, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TurnQuery {
    /// Only turns that have not ended.
    pub open_only: bool,
    /// Only those before this turn of the session; one that is not known has none before it.
    pub before: Option<TurnId>,
    /// At most so many (the newest); `None` means all.
    pub limit: Option<u32>,
}

/// Which shares, the newest session first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShareQuery {
    /// Continue after this session; one that is not known ends the list.
    pub after: Option<SessionId>,
    /// At most so many; `None` means all.
    pub limit: Option<u32>,
}

/// Which pending permissions or questions, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskQuery {
    /// Of this session.
    pub session_id: Option<SessionId>,
    /// Of sessions in exactly this directory.
    pub directory: Option<String>,
}

/// Whose events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Everyone's.
    #[default]
    All,
    /// Of sessions in exactly this directory.
    Directory(String),
    /// Of one session.
    Session(SessionId),
}

/// Which events, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventQuery {
    /// Only events after this one.
    pub after: Seq,
    /// Only events up to and including this one.
    pub until: Option<Seq>,
    /// Whose.
    pub scope: Scope,
    /// At most so many.
    pub limit: u32,
}

/// A page of events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventPage {
    /// The events, in order. Content is the current one, at an entity's newest event (and at
    /// the creation of a session or message); elsewhere the body is `Superseded`.
    pub events: Vec<Event>,
    /// Pass as `after` for the next page: the last event looked at.
    pub next: Seq,
    /// Whether there may be more.
    pub more: bool,
}

/// How a store is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoreHealth {
    /// `memory`, `sqlite`, …
    pub backend: &'static str,
    /// Whether commits are accepted now.
    pub writable: bool,
    /// Number of sessions, those in the trash included.
    pub sessions: u64,
    /// Bytes on disk, when there is one.
    pub bytes: Option<u64>,
    /// Sentences on damage found and what was done about it, newest first.
    pub incidents: Vec<String>,
    /// Numbers of this backend, for whoever watches it.
    pub measures: Vec<Measure>,
}

/// A number that a store tells of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measure {
    /// What it is called in `/metrics`, e.g. `sessiond_store_batch_size`.
    pub name: &'static str,
    /// What it means, in one sentence.
    pub help: &'static str,
    /// What it is now.
    pub value: f64,
}
