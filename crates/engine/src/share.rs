//! Shares: revocable links by which strangers read one session.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sessiond_model::{
    Change, MessageDoc, MessageId, MessageInfo, Require, Session, SessionId, SessionPatch, Share,
    ShareMode, Timestamp,
};
use sessiond_share::{Findings, Redactor, Source, Transcript};
use sessiond_store::{EntityKind, MessageCursor, MessageQuery, ShareQuery, StoreError};
use sha2::{Digest as _, Sha256};

use crate::EngineError;
use crate::engine::{Engine, Result};

/// Messages on one page.
const PAGE: u32 = 30;
/// Stored bytes on one page, the newest message apart.
const PAGE_BYTES: usize = 1 << 20;
/// Pages that a preview reads.
const PREVIEW_PAGES: usize = 200;
/// Times that a share is tried anew when the session changes meanwhile.
const ATTEMPTS: usize = 10;
/// How exact the last access is.
const ACCESS_STEP: Duration = Duration::from_secs(60);
/// After all messages; stores count in signed numbers.
const LAST_POSITION: u64 = i64::MAX as u64;
/// Length of a token: 32 bytes in base64.
const TOKEN_LEN: usize = 43;

/// How sharing is set up.
#[derive(Clone, Debug)]
pub struct ShareConfig {
    /// Whether sessions may be shared, and links work.
    pub enabled: bool,
    /// What comes before `/s/TOKEN` in a link.
    pub base_url: String,
    /// Home directories to take out of what is shown, beside the usual ones.
    pub homes: Vec<String>,
}

impl Default for ShareConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            base_url: "http://localhost".into(),
            homes: Vec::new(),
        }
    }
}

/// How a session is to be shared; `None` leaves it as it is, or as by default.
#[derive(Clone, Debug, Default)]
pub struct ShareOptions {
    /// When the link stops to work (`Some(None)`: never, the default).
    pub expires_at: Option<Option<Timestamp>>,
    /// What it shows (live by default).
    pub shows: Option<Shows>,
}

/// What a share is to show.
#[derive(Clone, Debug)]
pub enum Shows {
    /// The session as it is when somebody looks.
    Live,
    /// The session up to and including this message, or to the newest finished one.
    Until(Option<MessageId>),
}

/// A session and its share.
#[derive(Clone, Debug, PartialEq)]
pub struct SharedSession {
    /// The session.
    pub session: Session,
    /// The share.
    pub share: Share,
}

/// What would be taken out of a session that is shared.
#[derive(Clone, Debug)]
pub struct SharePreview {
    /// What, and how often.
    pub findings: Findings,
    /// Messages that were read.
    pub messages: u64,
    /// Whether these were all.
    pub complete: bool,
}

/// A token and the hash by which it is found.
pub(crate) struct Token {
    text: String,
    hash: String,
}

impl Token {
    fn mint() -> Self {
        let text = URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
        let hash = hash(&text);
        Self { text, hash }
    }
}

/// The token is random, so its plain hash tells nothing of it; and as it is looked up by this
/// hash, no comparison of the token itself takes longer the more of it is right.
fn hash(token: &str) -> String {
    use fmt::Write as _;
    let digest = Sha256::digest(token.as_bytes());
    digest.iter().fold(String::with_capacity(64), |mut hex, b| {
        let _ = write!(hex, "{b:02x}");
        hex
    })
}

impl Engine {
    /// Shares a session. One that is shared keeps its link, with the options changed as asked.
    ///
    /// # Errors
    /// `NotFound`, `Disabled`; `Invalid` for an expiry that has passed or a message of another
    /// session.
    pub async fn share(&self, id: &SessionId, options: &ShareOptions) -> Result<SharedSession> {
        // Of a session that is not there nobody wants to know whether it could be shared.
        self.session(id).await?;
        self.check_sharing()?;
        let now = self.0.clock.now();
        if options.expires_at.flatten().is_some_and(|at| at <= now) {
            return Err(EngineError::invalid(
                "expires_at",
                "Expected a time to come",
            ));
        }
        for _ in 0..ATTEMPTS {
            let session = self.session(id).await?;
            let old = self.0.store.share(id).await?;
            let old = old.filter(|s| session.share_url.is_some() && !s.is_expired(now));
            let mode = match &options.shows {
                None => old.as_ref().map(|s| s.mode).unwrap_or_default(),
                Some(Shows::Live) => ShareMode::Live,
                Some(Shows::Until(message)) => ShareMode::Frozen {
                    position: self.frozen_at(id, message.as_ref()).await?,
                },
            };
            let (base, url) = match &old {
                Some(old) => (old.clone(), session.share_url.clone()),
                None => {
                    let token = Token::mint();
                    let url = format!("{}/s/{}", self.base_url(), token.text);
                    (unlimited(token.hash, now), Some(url))
                }
            };
            let share = Share {
                mode,
                expires_at: options.expires_at.unwrap_or(base.expires_at),
                ..base
            };
            if old.as_ref() == Some(&share) {
                return Ok(SharedSession { session, share });
            }
            let require = vec![Require::NotDeleted, Require::Revision(session.revision)];
            match self.set_share(id, require, Some(share.clone()), url).await {
                Err(EngineError::Changed { .. }) => {}
                done => {
                    let session = Arc::unwrap_or_clone(done?);
                    return Ok(SharedSession { session, share });
                }
            }
        }
        Err(EngineError::Unavailable {
            reason: "the session changes too fast to be shared now".into(),
            retry_after: Duration::from_secs(1),
        })
    }

    /// Ends the share of a session, if there is one: its link leads nowhere from now on.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn unshare(&self, id: &SessionId) -> Result<Arc<Session>> {
        self.set_share(id, vec![Require::NotDeleted], None, None)
            .await
    }

    async fn set_share(
        &self,
        id: &SessionId,
        require: Vec<Require>,
        share: Option<Share>,
        url: Option<String>,
    ) -> Result<Arc<Session>> {
        let changes = vec![
            Change::SetShare(share.map(Box::new)),
            Change::UpdateSession(SessionPatch {
                share_url: Some(url),
                ..SessionPatch::touch()
            }),
        ];
        let hold = match self.0.hold(id).await {
            Err(EngineError::NotFound { .. }) => {
                return Err(EngineError::not_found(EntityKind::Session, id));
            }
            hold => hold?,
        };
        match self.0.submit(&hold, require, changes).await {
            Err(StoreError::Precondition(Require::NotDeleted)) => {
                Err(EngineError::not_found(EntityKind::Session, id))
            }
            other => other?
                .session
                .ok_or_else(|| EngineError::Internal("an update without a session".into())),
        }
    }

    /// The share of a session, also one that has expired.
    ///
    /// # Errors
    /// `NotFound`, also for a session that is not shared.
    pub async fn share_of(&self, id: &SessionId) -> Result<SharedSession> {
        let session = self.session(id).await?;
        let share = self.0.store.share(id).await?;
        let share = share.filter(|_| session.share_url.is_some());
        let share = share.ok_or_else(|| EngineError::not_found(EntityKind::Share, id))?;
        Ok(SharedSession { session, share })
    }

    /// Shared sessions, the newest session first, and whether there are more.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn shares(
        &self,
        after: Option<SessionId>,
        limit: u32,
    ) -> Result<(Vec<SharedSession>, bool)> {
        let query = ShareQuery {
            after,
            limit: Some(limit.saturating_add(1)),
        };
        let mut rows = self.0.store.shares(&query).await?;
        let more = rows.len() > limit as usize;
        rows.truncate(limit as usize);
        let shared = |(session, share)| SharedSession { session, share };
        Ok((rows.into_iter().map(shared).collect(), more))
    }

    /// The share that a link leads to; nothing when there is none, it was ended or has expired,
    /// the session is in the trash, or sharing is off. The access is noted.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn open_share(&self, token: &str) -> Result<Option<SharedSession>> {
        let well_formed = token.len() == TOKEN_LEN
            && token
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !well_formed {
            return Ok(None);
        }
        let opened = self.find_share(&hash(token)).await?;
        if let Some(shared) = &opened {
            self.note_access(shared);
        }
        Ok(opened)
    }

    pub(crate) async fn find_share(&self, hash: &str) -> Result<Option<SharedSession>> {
        if !self.sharing_is_on() {
            return Ok(None);
        }
        let Some((id, share)) = self.0.store.share_by_token(hash).await? else {
            return Ok(None);
        };
        if share.is_expired(self.0.clock.now()) {
            return Ok(None);
        }
        let session = self.0.store.session(&id).await?;
        let session = session.filter(|s| s.deleted_at.is_none() && s.share_url.is_some());
        Ok(session.map(|session| SharedSession { session, share }))
    }

    /// Best effort, and nobody waits for it.
    fn note_access(&self, shared: &SharedSession) {
        let now = self.0.clock.now();
        let step = i64::try_from(ACCESS_STEP.as_millis()).unwrap_or(i64::MAX);
        let is_news = (shared.share.accessed_at).is_none_or(|at| now >= at.plus_millis(step));
        if is_news && self.0.refuse_when_stopping().is_ok() {
            let changes = vec![Change::NoteShareAccess(now)];
            // Of a session that another node holds it is not noted.
            if let Some(hold) = self.0.hold_now(&shared.session.id) {
                drop(self.0.submit(&hold, Vec::new(), changes));
            }
        }
    }

    /// What a share shows: its newest messages, or those before a position.
    ///
    /// # Errors
    /// `NotFound` when the session has gone meanwhile.
    pub async fn shared_transcript(
        &self,
        shared: &SharedSession,
        before: Option<u64>,
    ) -> Result<Transcript> {
        let (transcript, _) = self
            .read_shared(shared, before, Findings::default())
            .await?;
        Ok(transcript)
    }

    /// What would be taken out of this session if it were shared as a whole.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn share_preview(&self, id: &SessionId) -> Result<SharePreview> {
        let session = self.session(id).await?;
        let shared = SharedSession {
            share: unlimited(String::new(), session.created_at),
            session,
        };
        let mut preview = SharePreview {
            findings: Findings::default(),
            messages: 0,
            complete: false,
        };
        let mut before = None;
        for _ in 0..PREVIEW_PAGES {
            let findings = std::mem::take(&mut preview.findings);
            let (page, findings) = self.read_shared(&shared, before, findings).await?;
            preview.findings = findings;
            preview.messages += page.messages.len() as u64;
            before = page.older;
            if before.is_none() {
                preview.complete = true;
                break;
            }
        }
        Ok(preview)
    }

    async fn read_shared(
        &self,
        shared: &SharedSession,
        before: Option<u64>,
        mut findings: Findings,
    ) -> Result<(Transcript, Findings)> {
        let horizon = self.0.horizon(&shared.session).await?;
        let point = match shared.share.mode {
            ShareMode::Live => LAST_POSITION,
            ShareMode::Frozen { position } => position.saturating_add(1),
        };
        let end = horizon.as_ref().map_or(point, |h| h.end().min(point));
        let before = before.filter(|before| *before < end);
        let query = MessageQuery {
            before: Some(MessageCursor(before.unwrap_or(end))),
            limit: Some(PAGE),
        };
        let mut page = self.messages(&shared.session.id, &query).await?;
        if let (Some(horizon), Some(last)) = (&horizon, page.messages.last_mut()) {
            horizon.cut(last);
        }
        let mut older = page.older.map(|MessageCursor(at)| at);
        let kept = fitting(&page.messages);
        let messages = page.messages.split_off(page.messages.len() - kept);
        if !page.messages.is_empty() {
            older = messages.first().map(|doc| doc.position);
        }
        let (session, redactor) = (shared.session.clone(), self.redactor());
        let live = shared.share.mode == ShareMode::Live;
        // Finding secrets in a long transcript takes its time.
        let read = tokio::task::spawn_blocking(move || {
            let source = Source {
                session: &session,
                messages: &messages,
                live,
                older,
                newer: before.is_some(),
            };
            let transcript = Transcript::of(&source, &redactor, &mut findings);
            (transcript, findings)
        });
        read.await.map_err(|e| EngineError::Internal(e.to_string()))
    }

    async fn frozen_at(&self, id: &SessionId, message: Option<&MessageId>) -> Result<u64> {
        if let Some(message) = message {
            let doc = self.0.store.message(id, message).await?;
            return doc
                .map(|d| d.position)
                .ok_or_else(|| EngineError::not_found(EntityKind::Message, message));
        }
        let query = MessageQuery {
            before: None,
            limit: Some(PAGE),
        };
        let newest = self.0.store.messages(id, &query).await?.messages;
        // What is being written would go on to grow: the point is before it.
        let open = newest.iter().find(|doc| is_being_written(doc));
        Ok(match (open, newest.last()) {
            (Some(doc), _) => doc.position.saturating_sub(1),
            (None, last) => last.map_or(0, |doc| doc.position),
        })
    }

    fn redactor(&self) -> Redactor {
        let secrets = self.0.secrets.lock().clone();
        Redactor::new(secrets, self.0.config.share.homes.clone())
    }

    /// A text that no share may ever show, such as the server's own token.
    pub fn keep_secret(&self, text: &str) {
        self.0.secrets.lock().push(text.to_owned());
    }

    fn base_url(&self) -> &str {
        self.0.config.share.base_url.trim_end_matches('/')
    }

    fn check_sharing(&self) -> Result<()> {
        if self.sharing_is_on() {
            return Ok(());
        }
        Err(EngineError::Disabled {
            what: "sharing",
            by: if self.0.config.share.enabled {
                "`share`, set by a client"
            } else {
                "`share.enabled` in sessiond.toml"
            },
        })
    }
}

/// A live share without an end.
fn unlimited(token_hash: String, created_at: Timestamp) -> Share {
    Share {
        token_hash,
        created_at,
        expires_at: None,
        mode: ShareMode::Live,
        accessed_at: None,
    }
}

/// How many of these messages, from the newest on, fit on a page.
fn fitting(messages: &[MessageDoc]) -> usize {
    let mut left = PAGE_BYTES;
    let fits = |doc: &&MessageDoc| {
        let parts: usize = doc.parts.iter().map(|p| p.body.len().min(64 * 1024)).sum();
        let size = doc.info.len() + parts;
        left = left.saturating_sub(size);
        left > 0
    };
    messages
        .iter()
        .rev()
        .take_while(fits)
        .count()
        .max(usize::from(!messages.is_empty()))
}

fn is_being_written(doc: &MessageDoc) -> bool {
    let message = doc.message();
    message.is_some_and(|m| match m.info {
        MessageInfo::Assistant(assistant) => assistant.time.completed.is_none(),
        MessageInfo::User(_) => false,
    })
}
