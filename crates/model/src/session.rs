//! Sessions: one conversation in one directory.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    DiffSummary, MessageId, PermissionRule, ProjectId, Revert, SessionId, Timestamp, TurnId,
};

/// A session with all its metadata.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// A short human-readable name, `adjective-noun`.
    pub slug: String,
    /// The project its directory belongs to.
    pub project_id: ProjectId,
    /// Absolute path of the directory it works in.
    pub directory: String,
    /// `directory` relative to the project's worktree; outside of git the absolute path
    /// without its leading `/`.
    pub path: Option<String>,
    /// The session this one is a sub-task of.
    pub parent_id: Option<SessionId>,
    /// Where this session was forked from.
    pub fork: Option<ForkOrigin>,
    /// Title for people.
    pub title: String,
    /// Version of sessiond that created it.
    pub version: String,
    /// OpenCode agent (for us: mode of the coding agent) of the latest prompt.
    pub agent: Option<String>,
    /// Model of the latest prompt; its provider is the name of the coding agent.
    pub model: Option<ModelRef>,
    /// Free map of the client.
    pub metadata: Option<Map<String, Value>>,
    /// Permission rules; the last one that matches decides.
    pub permission: Option<Vec<PermissionRule>>,
    /// Set while the session is reverted to an earlier message.
    pub revert: Option<Revert>,
    /// Size of the session's file changes.
    pub summary: Option<DiffSummary>,
    /// Address of its share, while it is shared.
    pub share_url: Option<String>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its content last changed. Never goes backwards.
    pub updated_at: Timestamp,
    /// When it was archived, as the client gave it.
    pub archived_at: Option<Timestamp>,
    /// When it was moved to the trash; such sessions are hidden until restored.
    pub deleted_at: Option<Timestamp>,
    /// What it is doing.
    pub status: Status,
    /// Total cost so far, US dollars.
    pub cost: f64,
    /// Total tokens so far.
    pub tokens: Tokens,
    /// Whether all its rows could be read.
    pub health: Health,
    /// Rises with every change of this row: the value behind `ETag`.
    pub revision: u64,
}

/// Where a fork came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkOrigin {
    /// The session that was forked.
    pub session_id: SessionId,
    /// The first message that was *not* copied; absent when all were.
    pub message_id: Option<MessageId>,
    /// The session that the family of forks comes from; absent when it is `session_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<SessionId>,
    /// Its number in that family, from 1.
    #[serde(default)]
    pub number: u32,
    /// The newest turn of the origin, when the fork has all of the origin up to it: an agent
    /// that can fork its own session may do so while nothing followed that turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn_id: Option<TurnId>,
}

impl ForkOrigin {
    /// The session that the family of forks comes from.
    #[must_use]
    pub fn family(&self) -> &SessionId {
        self.root.as_ref().unwrap_or(&self.session_id)
    }
}

/// A model as a session stores it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ModelRef {
    /// The provider: for us the name of the coding agent.
    #[serde(rename = "providerID")]
    pub provider_id: String,
    /// The model's id within its provider.
    pub id: String,
    /// A variant such as a reasoning effort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// What a session is doing, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The state.
    pub kind: StatusKind,
    /// When it entered that state.
    pub since: Timestamp,
    /// For `error`: what went wrong, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Status {
    /// Nothing runs.
    #[must_use]
    pub fn idle(since: Timestamp) -> Self {
        Self {
            kind: StatusKind::Idle,
            since,
            message: None,
        }
    }

    /// A turn runs or waits in the queue.
    #[must_use]
    pub fn busy(since: Timestamp) -> Self {
        Self {
            kind: StatusKind::Busy,
            since,
            message: None,
        }
    }

    /// Nothing runs and the last turn failed.
    #[must_use]
    pub fn error(since: Timestamp, message: String) -> Self {
        Self {
            kind: StatusKind::Error,
            since,
            message: Some(message),
        }
    }
}

/// The states of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusKind {
    /// Nothing runs.
    Idle,
    /// A turn runs or is queued.
    Busy,
    /// Nothing runs; the last turn failed. A new prompt is welcome.
    Error,
}

impl StatusKind {
    /// The name used in the API and the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Busy => "busy",
            Self::Error => "error",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Idle, Self::Busy, Self::Error]
            .into_iter()
            .find(|s| s.as_str() == name)
    }
}

/// Whether a session could be read whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// All rows are readable.
    #[default]
    Ok,
    /// At least one row is kept as an opaque part because it could not be read.
    Degraded,
}

/// Token counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// All tokens, when the agent counts them itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Tokens sent to the model, cached ones not counted.
    pub input: u64,
    /// Tokens the model wrote, reasoning not counted.
    pub output: u64,
    /// Tokens the model wrote as reasoning.
    pub reasoning: u64,
    /// Tokens served from or put into the provider's cache.
    pub cache: TokenCache,
}

/// Cached tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCache {
    /// Read from the cache.
    pub read: u64,
    /// Written to the cache.
    pub write: u64,
}

impl Tokens {
    /// The sum, field by field; `total` is dropped, because it is one call's own count.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            total: None,
            input: self.input + other.input,
            output: self.output + other.output,
            reasoning: self.reasoning + other.reasoning,
            cache: TokenCache {
                read: self.cache.read + other.cache.read,
                write: self.cache.write + other.cache.write,
            },
        }
    }

    /// The difference, field by field, never below zero.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self {
            total: None,
            input: self.input.saturating_sub(other.input),
            output: self.output.saturating_sub(other.output),
            reasoning: self.reasoning.saturating_sub(other.reasoning),
            cache: TokenCache {
                read: self.cache.read.saturating_sub(other.cache.read),
                write: self.cache.write.saturating_sub(other.cache.write),
            },
        }
    }
}

/// One line of the usage ledger: what one turn cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// The turn that caused it.
    pub turn_id: TurnId,
    /// The assistant message it is shown on.
    pub message_id: MessageId,
    /// The model used.
    pub model: ModelRef,
    /// Tokens used.
    pub tokens: Tokens,
    /// Cost in US dollars.
    pub cost: f64,
    /// When it was booked.
    pub at: Timestamp,
}

/// A revocable capability to read one session. Its address is [`Session::share_url`], which
/// goes away with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// SHA-256 of the token in hexadecimal, by which a share is found.
    pub token_hash: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops to work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// What it shows.
    #[serde(default)]
    pub mode: ShareMode,
    /// When it was last looked at, to the minute. Not part of the stored document: it moves
    /// with [`crate::Change::NoteShareAccess`].
    #[serde(skip)]
    pub accessed_at: Option<Timestamp>,
}

impl Share {
    /// Whether it has stopped to work.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// What a share shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ShareMode {
    /// The session as it is when somebody looks.
    #[default]
    Live,
    /// The session up to a point.
    Frozen {
        /// Position of the last message shown; 0 shows none.
        position: u64,
    },
}

/// A partial update of a session's own fields. `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionPatch {
    /// New title.
    pub title: Option<String>,
    /// New title that is taken only while the stored title is still this one: how a derived
    /// title gives way to one that a person wrote meanwhile.
    pub title_if: Option<(String, String)>,
    /// Replaces the metadata map.
    pub metadata: Option<Map<String, Value>>,
    /// Appends permission rules.
    pub permission_append: Option<Vec<PermissionRule>>,
    /// Replaces the permission rules.
    pub permission: Option<Vec<PermissionRule>>,
    /// Sets (`Some(Some)`) or clears (`Some(None)`) the archive time.
    pub archived_at: Option<Option<Timestamp>>,
    /// Sets the agent (mode).
    pub agent: Option<String>,
    /// Sets the model.
    pub model: Option<ModelRef>,
    /// Sets or clears the revert marker.
    pub revert: Option<Option<Revert>>,
    /// Sets the size of the session's changes.
    pub summary: Option<DiffSummary>,
    /// Sets or clears the share address.
    pub share_url: Option<Option<String>>,
    /// Whether `updated_at` moves to the commit's time.
    pub touch: bool,
}

impl SessionPatch {
    /// A patch that only moves `updated_at`.
    #[must_use]
    pub fn touch() -> Self {
        Self {
            touch: true,
            ..Self::default()
        }
    }

    /// Applies the patch to a session, as every store must. `now` is the commit's time.
    pub fn apply(&self, session: &mut Session, now: Timestamp) {
        if let Some(title) = &self.title {
            session.title.clone_from(title);
        }
        if let Some((old, new)) = &self.title_if
            && session.title == *old
        {
            session.title.clone_from(new);
        }
        if let Some(metadata) = &self.metadata {
            session.metadata = Some(metadata.clone());
        }
        if let Some(rules) = &self.permission {
            session.permission = Some(rules.clone());
        }
        if let Some(rules) = &self.permission_append {
            session
                .permission
                .get_or_insert_default()
                .extend(rules.iter().cloned());
        }
        if let Some(archived_at) = self.archived_at {
            session.archived_at = archived_at;
        }
        if let Some(agent) = &self.agent {
            session.agent = Some(agent.clone());
        }
        if let Some(model) = &self.model {
            session.model = Some(model.clone());
        }
        if let Some(revert) = &self.revert {
            session.revert.clone_from(revert);
        }
        if let Some(summary) = &self.summary {
            session.summary = Some(summary.clone());
        }
        if let Some(share_url) = &self.share_url {
            session.share_url.clone_from(share_url);
        }
        if self.touch {
            session.updated_at = session.updated_at.max(now);
        }
    }
}
