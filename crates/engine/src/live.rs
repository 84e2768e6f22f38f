//! Live sessions: what a writer must remember of a session between two commits.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use sessiond_agent::Form;
use sessiond_model::{IdStamp, ProjectId, QuestionId, RestorePhase, SessionId, Timestamp};
use sessiond_store::{EntityKind, SessionHead, TurnQuery};
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
    /// The forms that questions of the running turn stand for.
    pub(crate) forms: Mutex<HashMap<QuestionId, Arc<Form>>>,
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
    /// Of these, turns that may not be in the store.
    pub(crate) doubtful: usize,
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
    fn new(id: SessionId, head: OnceCell<Loaded>) -> Self {
        Self {
            id,
            head,
            turns: watch::Sender::new(0),
            actor: Mutex::new(None),
            undo: tokio::sync::Mutex::new(()),
            restoring: AtomicBool::new(false),
            forms: Mutex::default(),
            lost: AtomicBool::new(false),
        }
    }

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

    /// Stops all work: another node may have the session. Whether that is news.
    pub(crate) fn be_lost(&self) -> bool {
        if self.lost.swap(true, Ordering::SeqCst) {
            return false;
        }
        if let Some(mailbox) = self.mailbox() {
            tracing::warn!(session = %self.id, "lost to another node; its work is stopped");
            // Full: the actor sees the mark before its next turn.
            let _ = mailbox.try_send(Command::Stop);
        }
        self.turn_changed();
        true
    }

    /// Loads it. Whoever comes first loads; the others wait here for the same result.
    async fn load(&self, inner: &Inner) -> Result<(), EngineError> {
        let id = &self.id;
        let load = || async {
            let store = &inner.store;
            // First: from here on nobody else changes what is read.
            let hold = inner.hold(id).await?;
            let head = store
                .session_head(id)
                .await?
                .filter(|h| h.session.deleted_at.is_none())
                .ok_or_else(|| EngineError::not_found(EntityKind::Session, id))?;
            let query = TurnQuery {
                open_only: true,
                ..TurnQuery::default()
            };
            let open = store.turns(id, &query).await?.len();
            let restore = store.restore(id).await?;
            let pending = restore.is_some_and(|r| r.phase == RestorePhase::Pending);
            self.restoring.store(pending, Ordering::SeqCst);
            Ok(loaded(&head, hold, open))
        };
        self.head.get_or_try_init(load).await.map(drop)
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
        let id = head.session.id.clone();
        let head = OnceCell::new_with(Some(loaded(head, hold, 0)));
        let live = Arc::new(Live::new(id, head));
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
        loop {
            let live = self.seat(id);
            let loaded = live.load(inner).await;
            let is_known = self.is_known(&live);
            match loaded {
                // One that was forgotten while it was loaded may be another's by now, and a
                // second one would have an actor of its own.
                Ok(()) if is_known => return Ok(live),
                Ok(()) => {}
                Err(e) => {
                    self.forget_this(&live);
                    return Err(e);
                }
            }
        }
    }

    /// The session's place, be it loaded or not.
    fn seat(&self, id: &SessionId) -> Arc<Live> {
        let mut sessions = self.sessions.lock();
        if let Some(live) = sessions.get(id) {
            return live.clone();
        }
        sweep(&mut sessions);
        let live = Arc::new(Live::new(id.clone(), OnceCell::new()));
        sessions.insert(id.clone(), live.clone());
        live
    }

    fn is_known(&self, live: &Live) -> bool {
        let sessions = self.sessions.lock();
        (sessions.get(&live.id)).is_some_and(|l| std::ptr::eq(&**l, live))
    }

    /// Forgets those that are held under an earlier epoch, and gives them. Those that are being
    /// loaded are forgotten, too, and loaded anew.
    pub(crate) fn take_before(&self, epoch: u64) -> Vec<Arc<Live>> {
        let mut sessions = self.sessions.lock();
        let old = |live: &Arc<Live>| live.head.get().is_none_or(|l| l.hold.epoch < epoch);
        let taken = sessions.extract_if(|_, live| old(live));
        let taken: Vec<_> = taken.map(|(_, live)| live).collect();
        taken
            .into_iter()
            .filter(|live| live.head.initialized())
            .collect()
    }

    /// A commit under this right was refused, because another has taken the session.
    pub(crate) fn lose(&self, hold: &Hold) -> bool {
        let live = self.peek(&hold.session);
        let Some(live) = live.filter(|live| live.hold().epoch == hold.epoch) else {
            return false;
        };
        let waits = live.head().open_turns > 0;
        live.be_lost();
        self.forget_this(&live);
        waits
    }

    /// Forgets a session that nobody uses. `false`: somebody does.
    pub(crate) fn forget_unused(&self, id: &SessionId) -> bool {
        let mut sessions = self.sessions.lock();
        if sessions.get(id).is_some_and(is_used) {
            return false;
        }
        sessions.remove(id);
        true
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
            doubtful: 0,
            closed: 0,
        }),
    }
}

/// Forgets every session that nobody holds and that has neither an actor nor open turns.
fn sweep(sessions: &mut HashMap<SessionId, Arc<Live>>) {
    if sessions.len() < REMEMBERED {
        return;
    }
    sessions.retain(|_, live| is_used(live));
}

/// Nobody can begin to use it while the registry is locked.
fn is_used(live: &Arc<Live>) -> bool {
    Arc::strong_count(live) > 1
        || live.mailbox().is_some()
        || live
            .head
            .get()
            .is_some_and(|l| l.head.lock().open_turns > 0)
}
