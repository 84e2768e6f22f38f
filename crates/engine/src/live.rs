//! Live sessions: what a writer must remember of a session between two commits.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use sessiond_model::{IdStamp, ProjectId, RestorePhase, SessionId, Timestamp};
use sessiond_store::{EntityKind, SessionHead};
use tokio::sync::{OnceCell, mpsc, watch};

use crate::EngineError;
use crate::actor::Command;
use crate::engine::Inner;
use crate::hold::Hold;

/// Sessions remembered without need; more are forgotten in one sweep.
const REMEMBERED: usize = 1024;

/// One session that is or was lately written to.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) id: SessionId,
    head: OnceCell<Loaded>,
    /// Rises whenever a turn of this session has changed its state.
    pub(crate) turns: watch::Sender<u64>,
    /// The actor's mailbox, while there is an actor.
    pub(crate) actor: Mutex<Option<mpsc::Sender<Command>>>,
    /// Held while a revert is at work, and while a prompt clears up after one: neither sees
    /// the other half done.
    pub(crate) undo: tokio::sync::Mutex<()>,
    /// A revert was written down and is not done: it is finished before anything else.
    pub(crate) restoring: AtomicBool,
    /// Another node may have it by now: nothing that is remembered here counts any more.
    pub(crate) lost: AtomicBool,
}

#[derive(Debug)]
struct Loaded {
    hold: Hold,
    directory: Arc<str>,
    project_id: ProjectId,
    head: Mutex<Head>,
}

/// The mutable part. Commits of a session are *submitted* while this is locked, so that the
/// order in which ids and times were given is the order of the commits.
#[derive(Debug)]
pub(crate) struct Head {
    /// Ids minted in this session come after this stamp.
    pub(crate) floor: IdStamp,
    /// Creation time of the newest message.
    pub(crate) last_message_at: Timestamp,
    /// Turns accepted and not ended. The status is busy exactly while this is above zero.
    pub(crate) open_turns: usize,
    /// Deletions at work: no turns are accepted.
    pub(crate) closed: usize,
}

/// No turns are accepted while this is held.
#[derive(Debug)]
pub(crate) struct Closed<'a>(&'a Live);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.0.head().closed -= 1;
    }
}

impl Head {
    /// The creation time of the next message: later than every one before.
    pub(crate) fn message_time(&mut self, now: Timestamp) -> Timestamp {
        let at = now.max(self.last_message_at.plus_millis(1));
        self.last_message_at = at;
        at
    }
}

impl Live {
    fn loaded(&self) -> &Loaded {
        self.head
            .get()
            .expect("a Live is handed out only after it was loaded")
    }

    /// See [`Head`]. Never held across an await.
    pub(crate) fn head(&self) -> parking_lot::MutexGuard<'_, Head> {
        self.loaded().head.lock()
    }

    /// Its directory and project, once loaded.
    pub(crate) fn known_place(&self) -> Option<(Arc<str>, ProjectId)> {
        let loaded = self.head.get()?;
        Some((loaded.directory.clone(), loaded.project_id.clone()))
    }

    /// What its commits need.
    pub(crate) fn hold(&self) -> &Hold {
        &self.loaded().hold
    }

    pub(crate) fn directory(&self) -> Arc<str> {
        self.loaded().directory.clone()
    }

    pub(crate) fn project_id(&self) -> ProjectId {
        self.loaded().project_id.clone()
    }

    /// Refuses turns until the answer is dropped.
    pub(crate) fn close(&self) -> Closed<'_> {
        self.head().closed += 1;
        Closed(self)
    }

    /// Tells waiters that a turn has changed.
    pub(crate) fn turn_changed(&self) {
        self.turns.send_modify(|n| *n += 1);
    }

    /// The actor's mailbox.
    pub(crate) fn mailbox(&self) -> Option<mpsc::Sender<Command>> {
        self.actor.lock().clone().filter(|s| !s.is_closed())
    }
}

/// All live sessions.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    sessions: Mutex<HashMap<SessionId, Arc<Live>>>,
}

impl Registry {
    pub(crate) fn len(&self) -> usize {
        self.sessions.lock().len()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Live>> {
        self.sessions.lock().values().cloned().collect()
    }

    /// The live session, when it is remembered.
    pub(crate) fn peek(&self, id: &SessionId) -> Option<Arc<Live>> {
        self.sessions
            .lock()
            .get(id)
            .filter(|l| l.head.initialized())
            .cloned()
    }

    /// Remembers a session that was just created.
    pub(crate) fn insert(&self, head: &SessionHead, hold: Hold) -> Arc<Live> {
        let live = Arc::new(Live {
            id: head.session.id.clone(),
            head: OnceCell::new_with(Some(loaded(head, hold, 0))),
            turns: watch::Sender::new(0),
            actor: Mutex::new(None),
            undo: tokio::sync::Mutex::new(()),
            restoring: AtomicBool::new(false),
            lost: AtomicBool::new(false),
        });
        let mut sessions = self.sessions.lock();
        sweep(&mut sessions);
        sessions.insert(live.id.clone(), live.clone());
        live
    }

    /// The live session, loaded from the store when it is not remembered. One in the trash
    /// is not found.
    pub(crate) async fn get(
        &self,
        inner: &Inner,
        id: &SessionId,
    ) -> Result<Arc<Live>, EngineError> {
        let live = {
            let mut sessions = self.sessions.lock();
            match sessions.get(id) {
                Some(live) => live.clone(),
                None => {
                    sweep(&mut sessions);
                    let live = Arc::new(Live {
                        id: id.clone(),
                        head: OnceCell::new(),
                        turns: watch::Sender::new(0),
                        actor: Mutex::new(None),
                        undo: tokio::sync::Mutex::new(()),
                        restoring: AtomicBool::new(false),
                        lost: AtomicBool::new(false),
                    });
                    sessions.insert(id.clone(), live.clone());
                    live
                }
            }
        };
        // Whoever comes first loads; the others wait here for the same result.
        let result = live
            .head
            .get_or_try_init(|| async {
                let store = &inner.store;
                // First: from here on nobody else changes what is read.
                let hold = inner.hold(id).await?;
                let head = store
                    .session_head(id)
                    .await?
                    .filter(|h| h.session.deleted_at.is_none())
                    .ok_or_else(|| EngineError::not_found(EntityKind::Session, id))?;
                let open = store
                    .turns(
                        id,
                        &sessiond_store::TurnQuery {
                            open_only: true,
                            limit: None,
                        },
                    )
                    .await?
                    .len();
                let restore = store.restore(id).await?;
                let pending = restore.is_some_and(|r| r.phase == RestorePhase::Pending);
                live.restoring.store(pending, Ordering::SeqCst);
                Ok::<_, EngineError>(loaded(&head, hold, open))
            })
            .await;
        if let Err(e) = result {
            self.forget(id);
            return Err(e);
        }
        Ok(live)
    }

    /// Forgets all, and gives those that were loaded.
    pub(crate) fn take_all(&self) -> Vec<Arc<Live>> {
        let all = std::mem::take(&mut *self.sessions.lock());
        all.into_values().filter(|l| l.head.initialized()).collect()
    }

    /// Forgets this one, and not what came in its place.
    pub(crate) fn forget_this(&self, live: &Live) {
        let mut sessions = self.sessions.lock();
        if sessions
            .get(&live.id)
            .is_some_and(|l| std::ptr::eq(&**l, live))
        {
            sessions.remove(&live.id);
        }
    }

    /// Forgets a session, e.g. one that went to the trash.
    pub(crate) fn forget(&self, id: &SessionId) {
        self.sessions.lock().remove(id);
    }
}

fn loaded(head: &SessionHead, hold: Hold, open_turns: usize) -> Loaded {
    Loaded {
        hold,
        directory: head.session.directory.as_str().into(),
        project_id: head.session.project_id.clone(),
        head: Mutex::new(Head {
            floor: head.id_floor,
            last_message_at: head.last_message_at,
            open_turns,
            closed: 0,
        }),
    }
}

/// Forgets every session that nobody holds and that has neither an actor nor open turns.
fn sweep(sessions: &mut HashMap<SessionId, Arc<Live>>) {
    if sessions.len() < REMEMBERED {
        return;
    }
    sessions.retain(|_, live| {
        Arc::strong_count(live) > 1
            || live.mailbox().is_some()
            || live
                .head
                .get()
                .is_some_and(|l| l.head.lock().open_turns > 0)
    });
}
