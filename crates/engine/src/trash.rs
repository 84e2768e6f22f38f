//! Deleting sessions: the trash, its term, and the purge that leaves nothing.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::join_all;
use sessiond_model::{Change, Require, Session, SessionId, SessionPatch, Timestamp};
use sessiond_store::{EntityKind, SessionQuery, StoreError};

use crate::actor::Command;
use crate::engine::{Engine, Inner, Result};
use crate::live::Live;
use crate::{AbortOptions, EngineError, Errand};

/// Longest that a session's last work is waited for.
const STOPPING: Duration = Duration::from_secs(30);
/// Between two looks whether it has stopped, when nothing tells so.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Looks for sub-tasks that began while the others were deleted.
const ROUNDS: usize = 8;
/// Longest that the agent of a deleted session is waited for.
const AGENT_END: Duration = Duration::from_secs(12);
/// Sessions purged at once.
const BATCH: u32 = 50;
/// Between two looks for sessions whose time in the trash is over.
const PURGE_EVERY: Duration = Duration::from_secs(3600);

impl Engine {
    /// Moves a session and its descendants to the trash: running turns and agents are ended
    /// first, shares stop to work. Answers all ids, children first. Where nothing is kept in
    /// the trash they are purged at once.
    ///
    /// # Errors
    /// `NotFound`; `Busy` when its work can't be stopped.
    pub async fn delete_session(&self, id: &SessionId) -> Result<Vec<SessionId>> {
        self.session(id).await?;
        self.abort(id, AbortOptions::default()).await?;
        // The same time for all: they are restored together.
        let at = self.0.clock.now();
        let mut seen = HashSet::new();
        let mut deleted = Vec::new();
        for _ in 0..ROUNDS {
            let mut members = self.0.tree_below(id).await?;
            members.retain(|member| seen.insert(member.clone()));
            if members.is_empty() {
                break;
            }
            for member in members {
                match self.0.trash(&member, at).await {
                    Ok(true) => deleted.push(member),
                    Ok(false) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        if self.0.config.trash_term.is_zero() {
            self.0.purge(&deleted).await?;
        }
        Ok(deleted)
    }

    /// Takes a session out of the trash, with the descendants that were deleted with it.
    ///
    /// # Errors
    /// `NotFound` when there is no such session, in the trash or not; `Conflict` when its
    /// parent is in the trash.
    pub async fn restore_session(&self, id: &SessionId) -> Result<Arc<Session>> {
        let store = &self.0.store;
        let session = store
            .session(id)
            .await?
            .ok_or_else(|| EngineError::not_found(EntityKind::Session, id))?;
        let Some(deleted_at) = session.deleted_at else {
            return Ok(Arc::new(session));
        };
        if let Some(parent) = &session.parent_id
            && store
                .session(parent)
                .await?
                .is_none_or(|p| p.deleted_at.is_some())
        {
            return Err(EngineError::Conflict {
                kind: EntityKind::Session,
                id: id.to_string(),
                owner: Some(parent.clone()),
                reason: format!("its parent {parent} is in the trash; restore that one"),
            });
        }
        let restored = self.0.take_out_here(id).await?;
        // Parents before their children.
        let below = self.0.trashed_below(id).await?;
        for member in below
            .iter()
            .rev()
            .filter(|m| m.deleted_at == Some(deleted_at))
        {
            self.0.take_out(&member.id).await?;
        }
        Ok(restored)
    }

    /// Removes everything of a session in the trash, and of its descendants there. Answers
    /// their ids, children first.
    ///
    /// # Errors
    /// `NotFound` when it is not in the trash.
    pub async fn purge_session(&self, id: &SessionId) -> Result<Vec<SessionId>> {
        let session = self.0.store.session(id).await?;
        if session.is_none_or(|s| s.deleted_at.is_none()) {
            return Err(EngineError::not_found(EntityKind::Session, id));
        }
        let below = self.0.trashed_below(id).await?;
        let mut all: Vec<_> = below.into_iter().map(|s| s.id).collect();
        all.push(id.clone());
        self.0.purge(&all).await
    }

    /// Purges all that is in the trash; answers how many sessions that were.
    ///
    /// # Errors
    /// When the store can't be read or written; what was purged before stays purged.
    pub async fn empty_trash(&self) -> Result<usize> {
        self.0.purge_until(Timestamp(i64::MAX)).await
    }
}

impl Inner {
    /// Moves one session to the trash, wherever it is held; `false` when it was there already.
    async fn trash(self: &Arc<Self>, id: &SessionId, at: Timestamp) -> Result<bool> {
        match self.trash_here(id, at).await {
            Err(EngineError::Elsewhere(node)) => match self.ask(&node, Errand::Trash(at)).await {
                Err(EngineError::NotFound { .. }) => Ok(false),
                done => done,
            },
            done => done,
        }
    }

    pub(crate) async fn trash_here(
        self: &Arc<Self>,
        id: &SessionId,
        at: Timestamp,
    ) -> Result<bool> {
        let live = match self.live(id).await {
            Ok(live) => live,
            // Someone else was faster; it is where it should be.
            Err(EngineError::NotFound { .. }) => return Ok(false),
            Err(e) => return Err(e),
        };
        // Or a client that prompts all the time would keep it alive.
        let _closed = live.close();
        let deadline = tokio::time::Instant::now() + STOPPING;
        let commit = loop {
            let mut turns = live.turns.subscribe();
            self.stop_live(&live, AbortOptions::default()).await?;
            {
                let head = live.head();
                // Prompts are submitted under this lock, too: none comes in between.
                if head.open_turns == 0 {
                    break self.submit_at(live.hold(), at, vec![Require::NotDeleted], to_trash());
                }
            }
            // A prompt was submitted before we closed and is not committed yet.
            if tokio::time::Instant::now() >= deadline {
                return Err(EngineError::Busy(id.clone()));
            }
            let _ = tokio::time::timeout(LOOK_EVERY, turns.changed()).await;
        };
        match commit.await {
            Ok(_) => {
                retire(&live).await;
                self.live.forget(id);
                Ok(true)
            }
            Err(StoreError::Precondition(Require::NotDeleted)) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Takes one session out of the trash, wherever it is held.
    async fn take_out(&self, id: &SessionId) -> Result<()> {
        match self.take_out_here(id).await {
            Err(EngineError::Elsewhere(node)) => self.ask(&node, Errand::Restore).await.map(drop),
            done => done.map(drop),
        }
    }

    pub(crate) async fn take_out_here(&self, id: &SessionId) -> Result<Arc<Session>> {
        let hold = self.hold(id).await?;
        let restored = self
            .submit(&hold, Vec::new(), vec![Change::RestoreSession])
            .await?;
        restored
            .session
            .ok_or_else(|| EngineError::Internal("a restore without a session".into()))
    }

    /// Descendants of a session that are in the trash, children before their parents.
    async fn trashed_below(&self, id: &SessionId) -> Result<Vec<Session>> {
        let mut found: Vec<Session> = Vec::new();
        let mut next = vec![id.clone()];
        while let Some(parent) = next.pop() {
            let query = SessionQuery {
                parent_id: Some(parent),
                trashed: true,
                ..SessionQuery::default()
            };
            let children = self.store.sessions(&query).await?.sessions;
            let children: Vec<_> = children
                .into_iter()
                .filter(|c| c.id != *id && found.iter().all(|f| f.id != c.id))
                .collect();
            next.extend(children.iter().map(|c| c.id.clone()));
            found.extend(children);
        }
        found.reverse();
        Ok(found)
    }

    /// Removes everything of sessions in the trash; answers those that were there.
    pub(crate) async fn purge(&self, sessions: &[SessionId]) -> Result<Vec<SessionId>> {
        let mut purged = Vec::new();
        for batch in sessions.chunks(BATCH as usize) {
            // Together, so that they become durable together.
            let commits = batch.iter().map(|id| self.purge_one(id));
            for (id, done) in batch.iter().zip(join_all(commits).await) {
                if done? {
                    purged.push(id.clone());
                }
            }
        }
        Ok(purged)
    }

    /// The one place where a session ends for good.
    async fn purge_one(&self, id: &SessionId) -> Result<bool> {
        let session = self.store.session(id).await?;
        if session.is_none_or(|s| s.deleted_at.is_none()) {
            return Ok(false);
        }
        // First: once the session is gone, nobody would know what is left of its files.
        self.captures
            .forget(id)
            .await
            .map_err(|reason| EngineError::Unavailable {
                reason: format!("the captures of {id} could not be removed: {reason}"),
                retry_after: Duration::from_secs(60),
            })?;
        let hold = match self.hold(id).await {
            Ok(hold) => hold,
            // Another node purges it.
            Err(EngineError::Elsewhere(_) | EngineError::NotFound { .. }) => return Ok(false),
            Err(e) => return Err(e),
        };
        match self
            .submit(&hold, Vec::new(), vec![Change::PurgeSession])
            .await
        {
            Ok(_) => {
                self.live.forget(id);
                Ok(true)
            }
            // Purged or restored by someone else.
            Err(StoreError::NotFound { .. } | StoreError::Conflict { .. }) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Purges what went to the trash at or before a time.
    async fn purge_until(&self, until: Timestamp) -> Result<usize> {
        let mut purged = 0;
        while !self.stop.is_cancelled() {
            let due = self.store.trashed_until(until, BATCH).await?;
            let gone = self.purge(&due).await?.len();
            purged += gone;
            if gone == 0 {
                break;
            }
        }
        Ok(purged)
    }

    async fn purge_due(&self) {
        let term = i64::try_from(self.config.trash_term.as_millis()).unwrap_or(i64::MAX);
        let until = self.clock.now().millis().saturating_sub(term);
        match self.purge_until(Timestamp(until)).await {
            Ok(0) => {}
            Ok(sessions) => tracing::info!(sessions, "purged what was long enough in the trash"),
            Err(e) => {
                tracing::warn!(error = %e, "the trash could not be purged; it is tried again");
            }
        }
    }

    /// Purges now and every hour what was long enough in the trash.
    pub(crate) fn keep_purging(self: &Arc<Self>) {
        // Weak: an engine that nobody holds any more is not kept for this.
        let (inner, stop) = (Arc::downgrade(self), self.stop.clone());
        self.actors.spawn(async move {
            while let Some(engine) = Weak::upgrade(&inner) {
                engine.purge_due().await;
                drop(engine);
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(PURGE_EVERY) => {}
                }
            }
        });
    }
}

fn to_trash() -> Vec<Change> {
    vec![
        // The link dies with the session: a restored one is shared anew.
        Change::SetShare(None),
        Change::UpdateSession(SessionPatch {
            share_url: Some(None),
            ..SessionPatch::default()
        }),
        Change::TrashSession,
    ]
}

/// Ends the actor of a session, and its agent, and waits until they are gone.
async fn retire(live: &Live) {
    let mut changes = live.turns.subscribe();
    let gone = async {
        if let Some(mailbox) = live.mailbox() {
            // One that is closed has an actor that is leaving.
            let _ = mailbox.send(Command::Retire).await;
        }
        while live.actor.lock().is_some() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    };
    if tokio::time::timeout(AGENT_END, gone).await.is_err() {
        tracing::warn!(session = %live.id, "the agent of a deleted session is still ending");
    }
}
