//! Revert and unrevert: a session goes back to an earlier message, and its files with it; and
//! forward again. Messages stay until the next prompt, which removes them.
//!
//! What is done to the worktree is written down first ([`Restore`]), so that a crash at any
//! point is finished at the next start.

mod cleanup;
mod diff;
mod plan;
mod target;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use sessiond_model::{
    Change, Conflict, Coverage, FileChange, Require, Restore, RestoreFile, RestorePhase, Revert,
    Session, SessionId, SessionPatch, Turn, TurnState,
};
use sessiond_snapshot::{PathChange, Replaced, Worktree};
use sessiond_store::{EntityKind, StoreError};

use crate::engine::{Inner, Result};
use crate::live::Live;
use crate::worktree::Captures;
use crate::{Engine, EngineError, NoticeBody, RevertOptions, Reverted, ToastVariant};
use plan::Wanted;

/// Longest diff kept with the marker, in bytes.
const MAX_DIFF: usize = 256 << 10;

impl Engine {
    /// Goes back to before a message, or to before a part of it. Files that only this session
    /// wrote since become what they were; others are left alone and reported.
    ///
    /// # Errors
    /// `NotFound` for the session, the message or the part; `Busy`; `NotCaptured` when files
    /// may have been written that were not captured, unless forced or `lenient`: nothing was
    /// done then.
    pub async fn revert(&self, id: &SessionId, options: RevertOptions) -> Result<Reverted> {
        let inner = &self.0;
        inner.refuse_when_stopping()?;
        let live = inner.live(id).await?;
        let _undo = live.undo.lock().await;
        inner.settle_restore(&live).await?;
        let session = inner.idle_session(&live).await?;
        inner.needs_directory(&session).await?;
        let target = inner.revert_target(&session, &options).await?;
        let turns = inner.turns_from(&session, &target).await?;
        let warnings = not_captured(&turns);
        if !warnings.is_empty() && !options.force && !options.lenient {
            return Err(EngineError::NotCaptured {
                session: id.clone(),
                reasons: warnings,
            });
        }
        let changes = inner.changes_of(&session, &turns).await?;
        let marker = Revert {
            message_id: target.message_id,
            part_id: target.part_id,
            snapshot: turns
                .first()
                .and_then(|t| t.worktree.as_ref()?.before.clone()),
            diff: None,
        };
        let wanted = plan::undo(changes.iter().rev().map(Vec::as_slice), options.force);
        inner
            .restore(
                &live,
                &session,
                wanted,
                Some(marker),
                options.force,
                warnings,
            )
            .await
    }

    /// Takes a revert back: the messages are visible again, and the files are what they were
    /// before it, but for those that somebody wrote to since.
    ///
    /// # Errors
    /// `NotFound`, `Busy`.
    pub async fn unrevert(&self, id: &SessionId) -> Result<Reverted> {
        let inner = &self.0;
        inner.refuse_when_stopping()?;
        let live = inner.live(id).await?;
        let _undo = live.undo.lock().await;
        inner.settle_restore(&live).await?;
        let session = inner.idle_session(&live).await?;
        inner.needs_directory(&session).await?;
        if session.revert.is_none() {
            return Ok(Reverted {
                session: Arc::new(session),
                files: Vec::new(),
                warnings: Vec::new(),
            });
        }
        inner
            .restore(&live, &session, BTreeMap::new(), None, false, Vec::new())
            .await
    }
}

impl Engine {
    /// Makes a revert final, as the next prompt would: the hidden messages are removed, the files
    /// stay as they are. Nothing is done in a session that is not reverted.
    ///
    /// # Errors
    /// `NotFound`, `Busy`.
    pub async fn commit_revert(&self, id: &SessionId) -> Result<Arc<Session>> {
        let inner = &self.0;
        inner.refuse_when_stopping()?;
        let live = inner.live(id).await?;
        let _undo = live.undo.lock().await;
        inner.settle_restore(&live).await?;
        let session = inner.idle_session(&live).await?;
        let changes = inner.cleanup(&session).await?;
        if changes.is_empty() {
            return Ok(Arc::new(session));
        }
        let committed = inner
            .submit(live.hold(), vec![Require::NotDeleted], changes)
            .await
            .map_err(|e| deleted_meanwhile(e, id))?;
        committed
            .session
            .ok_or_else(|| EngineError::Internal("a revert without a session".into()))
    }
}

/// A session that was moved to the trash is none.
fn deleted_meanwhile(error: StoreError, id: &SessionId) -> EngineError {
    match error {
        StoreError::Precondition(Require::NotDeleted) => {
            EngineError::not_found(EntityKind::Session, id)
        }
        e => e.into(),
    }
}

/// Why files may be as the turns left them after a revert.
fn not_captured(turns: &[Turn]) -> Vec<String> {
    let reasons = turns.iter().filter_map(|turn| {
        let Some(worktree) = &turn.worktree else {
            // Of turns that never ran nothing is to be said.
            let cut_off = turn.state == TurnState::Interrupted && turn.started_at.is_some();
            return cut_off.then(|| format!("{}: sessiond ended before the turn did", turn.id));
        };
        if worktree.coverage != Coverage::None || !worktree.may_have_written {
            return None;
        }
        let reason = worktree.reason.as_deref().unwrap_or("nothing was captured");
        Some(format!("{}: {reason}", turn.id))
    });
    reasons.collect()
}

impl Inner {
    /// The session, when nothing runs in it.
    async fn idle_session(&self, live: &Live) -> Result<Session> {
        if live.head().open_turns > 0 {
            return Err(EngineError::Busy(live.id.clone()));
        }
        let session = self.store.session(&live.id).await?;
        session
            .filter(|s| s.deleted_at.is_none())
            .ok_or_else(|| EngineError::not_found(EntityKind::Session, &live.id))
    }

    /// Brings files and marker where they are to be. The caller holds `live.undo`.
    async fn restore(
        &self,
        live: &Live,
        session: &Session,
        wanted: BTreeMap<PathBuf, Wanted>,
        marker: Option<Revert>,
        force: bool,
        warnings: Vec<String>,
    ) -> Result<Reverted> {
        let earlier = self.store.restore(&live.id).await?;
        let worktree = self.captures.worktree(&session.directory).await;
        let files = self
            .plan(live, worktree.as_ref().ok(), earlier, wanted)
            .await?;
        let pending = Restore {
            phase: RestorePhase::Pending,
            files,
            revert: marker,
            force,
        };
        live.restoring.store(true, Ordering::SeqCst);
        self.submit(
            live.hold(),
            vec![Require::NotDeleted],
            vec![Change::SetRestore(Some(Box::new(pending.clone())))],
        )
        .await
        .map_err(|e| deleted_meanwhile(e, &live.id))?;
        self.carry_out(live, session, worktree, pending, warnings)
            .await
    }

    /// The files to touch. What they are now is kept first.
    async fn plan(
        &self,
        live: &Live,
        worktree: Option<&Worktree>,
        earlier: Option<Restore>,
        wanted: BTreeMap<PathBuf, Wanted>,
    ) -> Result<Vec<RestoreFile>> {
        let Some(worktree) = worktree.cloned() else {
            return Ok(plan::plan(earlier.as_ref(), &wanted, |_| None));
        };
        let session = live.id.clone();
        let work = move || {
            plan::plan(earlier.as_ref(), &wanted, |path| {
                // What can't be kept differs from what is expected, and stays as it is.
                worktree.keep(&session, path).ok().flatten()
            })
        };
        self.captures.blocking(work).await.map_err(late)
    }

    /// Does what was written down: the files, then the marker. Done again, it does the rest.
    async fn carry_out(
        &self,
        live: &Live,
        session: &Session,
        worktree: std::result::Result<Worktree, String>,
        pending: Restore,
        warnings: Vec<String>,
    ) -> Result<Reverted> {
        let Restore {
            files,
            revert,
            force,
            ..
        } = pending;
        let (files, diff) = match worktree {
            Ok(worktree) => {
                let work = move || put_back(&worktree, files, force);
                self.captures.blocking(work).await.map_err(late)?
            }
            Err(reason) => {
                if !files.is_empty() {
                    tracing::warn!(session = %live.id, reason, "files stay as they are");
                }
                (untouched(files), String::new())
            }
        };
        let marker = revert.map(|revert| Revert {
            diff: Some(diff).filter(|d| !d.is_empty()),
            ..revert
        });
        let seen_as = Session {
            revert: marker.clone(),
            ..session.clone()
        };
        let summary = self.summary_of(&seen_as).await?;
        let todos = self.todos_seen_as(&seen_as).await?;
        let done = marker.is_some().then(|| {
            Box::new(Restore {
                phase: RestorePhase::Done,
                files: files.clone(),
                revert: marker.clone(),
                force,
            })
        });
        let mut changes = vec![
            Change::SetRestore(done),
            Change::UpdateSession(SessionPatch {
                revert: Some(marker),
                summary: Some(summary),
                ..SessionPatch::touch()
            }),
        ];
        if todos != self.store.todos(&live.id).await? {
            changes.push(Change::SetTodos {
                todos,
                turn_id: None,
            });
        }
        let committed = self.submit(live.hold(), Vec::new(), changes).await?;
        live.restoring.store(false, Ordering::SeqCst);
        let session = committed
            .session
            .ok_or_else(|| EngineError::Internal("a revert without a session".into()))?;
        self.tell(&session, &files, &warnings).await;
        Ok(Reverted {
            session,
            files,
            warnings,
        })
    }

    /// Tells those who watch.
    async fn tell(&self, session: &Session, files: &[RestoreFile], warnings: &[String]) {
        self.tell_changes(session).await;
        let left: Vec<_> = files.iter().filter(|f| f.conflict.is_some()).collect();
        if left.is_empty() && warnings.is_empty() {
            return;
        }
        let mut message = String::new();
        if let Some(first) = left.first() {
            message = match left.len() {
                1 => format!("{} was left as it is: it was changed since.", first.file),
                n => format!(
                    "{n} files were left as they are, {} first: they were changed since.",
                    first.file
                ),
            };
        }
        if let Some(reason) = warnings.first() {
            if !message.is_empty() {
                message.push(' ');
            }
            message.push_str("Files of some turns were not captured (");
            message.push_str(reason);
            message.push_str(").");
        }
        self.notice(
            session,
            NoticeBody::Toast {
                title: Some("Not all files were brought back".into()),
                message,
                variant: ToastVariant::Warning,
                duration: None,
            },
        );
    }

    /// Finishes a revert that was written down and then cut off: by a crash, or because the store
    /// or a file system did not answer in time. The caller holds `live.undo`.
    pub(crate) async fn settle_restore(&self, live: &Live) -> Result<()> {
        if !live.restoring.load(Ordering::SeqCst) {
            return Ok(());
        }
        let pending = self.store.restore(&live.id).await?;
        let pending = pending.filter(|r| r.phase == RestorePhase::Pending);
        if let (Some(pending), Some(session)) = (pending, self.store.session(&live.id).await?) {
            self.needs_directory(&session).await?;
            let worktree = self.captures.worktree(&session.directory).await;
            self.carry_out(live, &session, worktree, pending, Vec::new())
                .await?;
            tracing::info!(session = %live.id, "a revert was finished");
        }
        live.restoring.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// At the start: finishes what a crash left half done.
    pub(crate) async fn finish_restores(&self) -> Result<()> {
        for id in self.store.pending_restores().await? {
            // One in the trash is finished before the next thing that is done after it came back.
            let Ok(live) = self.live(&id).await else {
                continue;
            };
            let _undo = live.undo.lock().await;
            if let Err(e) = self.settle_restore(&live).await {
                // The next prompt or revert tries again, before it does anything else.
                tracing::error!(session = %id, error = %e, "a revert could not be finished");
            }
        }
        Ok(())
    }
}

fn late(reason: String) -> EngineError {
    EngineError::Unavailable {
        reason,
        retry_after: std::time::Duration::from_secs(5),
    }
}

/// Puts the files back; answers what became of each, and the change as one unified diff.
fn put_back(
    worktree: &Worktree,
    mut files: Vec<RestoreFile>,
    force: bool,
) -> (Vec<RestoreFile>, String) {
    let mut diff = String::new();
    for index in plan::order(&files) {
        let file = &mut files[index];
        if plan::is_hopeless(file) {
            continue;
        }
        let path = plan::path_of(&file.file, file.raw_path.as_deref());
        match worktree.replace(&path, file.expected.as_ref(), file.target.as_ref(), force) {
            Replaced::Written | Replaced::AlreadyThere => file.applied = true,
            Replaced::Conflict(conflict) => file.conflict = Some(conflict),
        }
        if file.applied && file.safety != file.target && diff.len() < MAX_DIFF {
            let described = worktree.describe(&PathChange {
                path,
                before: file.safety.clone(),
                after: file.target.clone(),
            });
            let patch = described.diff.patch.unwrap_or_default();
            if diff.len() + patch.len() <= MAX_DIFF {
                diff.push_str(&patch);
            }
        }
    }
    (files, diff)
}

fn untouched(mut files: Vec<RestoreFile>) -> Vec<RestoreFile> {
    for file in &mut files {
        file.conflict.get_or_insert(Conflict::Unwritable);
    }
    files
}

impl Captures {
    /// The patches of merged changes, made anew from what was captured.
    async fn describe(&self, directory: &str, changes: Vec<FileChange>) -> Vec<FileChange> {
        let Ok(worktree) = self.worktree(directory).await else {
            return changes;
        };
        let kept = changes.clone();
        let work = move || {
            let describe = |change: FileChange| {
                if change.diff.patch.is_some() || !change.captured {
                    return change;
                }
                let path = plan::path_of(&change.diff.file, change.raw_path.as_deref());
                worktree.describe(&PathChange {
                    path,
                    before: change.before,
                    after: change.after,
                })
            };
            changes.into_iter().map(describe).collect()
        };
        self.blocking(work).await.unwrap_or(kept)
    }
}
