//! The right to write a session, and what a node does to keep it, to lose it, and to take over
//! from nodes that died. Without leases this process is alone and may write everything.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sessiond_model::{Session, SessionId};
use sessiond_store::{EntityKind, Lease, Leases, Node};
use tokio::sync::watch;

use crate::actor::Command;
use crate::engine::{Engine, Inner, Result};
use crate::live::Live;
use crate::recovery::{self, Cut};
use crate::{Elsewhere, EngineError};

/// Between two looks for sessions of nodes that died.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Sessions taken over at a time.
const BATCH: u32 = 64;
/// A session that nobody here remembers is given back after so long.
const KEEP: Duration = Duration::from_secs(30);
/// Longest that anybody waits for a session to be given back.
const GIVE_BACK: Duration = Duration::from_secs(2);

/// The right to write one session: every commit needs one.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) session: SessionId,
    /// See [`sessiond_model::Commit::fence`].
    pub(crate) epoch: u64,
}

/// Which sessions this node holds by lease.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    held: HashMap<SessionId, Held>,
    /// Taken since the last look: there may be turns in their queues.
    fresh: Vec<SessionId>,
    /// Directories that the store knows this node has.
    noted: std::collections::HashSet<String>,
}

#[derive(Debug)]
struct Held {
    epoch: u64,
    since: Instant,
}

impl Inner {
    /// The right to write a session that is created now.
    pub(crate) fn hold_new(&self, session: &SessionId) -> Hold {
        let epoch = self.store.epoch();
        if self.store.leases().is_some() {
            self.note_held(session, epoch);
        }
        Hold {
            session: session.clone(),
            epoch,
        }
    }

    /// The right to write a session, taken when nobody has it. What its last holder left
    /// unfinished, when that died, is ended first.
    ///
    /// # Errors
    /// `Elsewhere` when another node has it, or nobody has and only others have its directory.
    pub(crate) async fn hold(&self, id: &SessionId) -> Result<Hold> {
        let Some(leases) = self.store.leases() else {
            return Ok(Hold {
                session: id.clone(),
                epoch: self.store.epoch(),
            });
        };
        if let Some(live) = self.live.peek(id) {
            return Ok(live.hold().clone());
        }
        let session = self
            .store
            .session(id)
            .await?
            .ok_or_else(|| EngineError::not_found(EntityKind::Session, id))?;
        if !self.has_directory(&session.directory)
            && leases.holder(id).await?.is_none()
            && let Some(node) = self.other_with(leases, &session.directory).await?
        {
            return Err(elsewhere(id, node));
        }
        self.take(leases, &session).await
    }

    /// The right to write a session, when it is at hand.
    pub(crate) fn hold_now(&self, id: &SessionId) -> Option<Hold> {
        let epoch = match self.store.leases() {
            None => self.store.epoch(),
            Some(_) => self.holdings.lock().held.get(id)?.epoch,
        };
        Some(Hold {
            session: id.clone(),
            epoch,
        })
    }

    async fn take(&self, leases: &dyn Leases, session: &Session) -> Result<Hold> {
        let (epoch, from) = match leases.acquire(&session.id).await? {
            Lease::Held { epoch, from } => (epoch, from),
            Lease::Elsewhere(node) => return Err(elsewhere(&session.id, node)),
        };
        let hold = Hold {
            session: session.id.clone(),
            epoch,
        };
        let is_news = self.note_held(&session.id, epoch);
        if let Some(from) = from {
            let here = !from.host.is_empty() && from.host == leases.node().host;
            tracing::info!(session = %session.id, node = from.name, "taken over from a node that died");
            recovery::recover_session(self, &hold, Cut::Running, here).await?;
        }
        if is_news {
            self.note_directory(&session.directory).await;
        }
        Ok(hold)
    }

    fn note_held(&self, session: &SessionId, epoch: u64) -> bool {
        let mut holdings = self.holdings.lock();
        let held = Held {
            epoch,
            since: Instant::now(),
        };
        let old = holdings.held.insert(session.clone(), held);
        let is_news = old.is_none_or(|old| old.epoch != epoch);
        if is_news {
            holdings.fresh.push(session.clone());
        }
        is_news
    }

    /// Lets others know that this node has a directory, once.
    pub(crate) async fn note_directory(&self, directory: &str) {
        let Some(leases) = self.store.leases() else {
            return;
        };
        if self.holdings.lock().noted.contains(directory) || !self.has_directory(directory) {
            return;
        }
        match leases.note_directory(directory).await {
            Ok(()) => drop(self.holdings.lock().noted.insert(directory.to_owned())),
            // The next session in it notes it.
            Err(error) => tracing::warn!(%error, directory, "the directory could not be noted"),
        }
    }

    /// Whether agents can work in this directory on this node.
    pub(crate) fn has_directory(&self, directory: &str) -> bool {
        let path = Path::new(directory);
        let roots = &self.config.roots;
        (roots.is_empty() || roots.iter().any(|root| path.starts_with(root))) && path.is_dir()
    }

    /// A living node other than this one that has a directory and can be reached.
    async fn other_with(&self, leases: &dyn Leases, directory: &str) -> Result<Option<Node>> {
        let me = leases.node().name;
        let nodes = leases.nodes_with(directory).await?;
        Ok(nodes
            .into_iter()
            .find(|node| node.alive && node.name != me && node.url.is_some()))
    }

    /// Refuses work that needs the files of a session on a node that does not have them: it is for
    /// a node that has.
    ///
    /// # Errors
    /// `Elsewhere` to a living node that has the directory, `NoNode` when there is none.
    pub(crate) async fn needs_directory(&self, session: &Session) -> Result<()> {
        let Some(leases) = self.store.leases() else {
            return Ok(());
        };
        let directory = &session.directory;
        if self.has_directory(directory) {
            return Ok(());
        }
        if let Some(node) = self.other_with(leases, directory).await? {
            // It can only take what is free.
            self.give_back(&session.id).await;
            return Err(elsewhere(&session.id, node));
        }
        let me = leases.node().name;
        let nodes = leases.nodes_with(directory).await?;
        let names = nodes.into_iter().map(|n| n.name).filter(|n| *n != me);
        Err(EngineError::NoNode {
            directory: directory.clone(),
            nodes: names.collect(),
        })
    }

    /// Gives a session back, unless work is going on in it.
    async fn give_back(&self, id: &SessionId) {
        let Some(leases) = self.store.leases() else {
            return;
        };
        if self.live.peek(id).is_some_and(|l| l.mailbox().is_some()) {
            return;
        }
        self.live.forget(id);
        let Some(held) = self.holdings.lock().held.remove(id) else {
            return;
        };
        match tokio::time::timeout(GIVE_BACK, leases.release(id, held.epoch)).await {
            Ok(Ok(())) => {}
            // It ends with this node's lease at the latest.
            Ok(Err(error)) => tracing::warn!(session = %id, %error, "not given back"),
            Err(_) => tracing::warn!(session = %id, "not given back in time"),
        }
    }

    /// All that this node held is lost: nothing of it is believed, and its agents are ended.
    fn lose_all(&self) {
        *self.holdings.lock() = Holdings::default();
        for live in self.live.take_all() {
            self.lose(&live);
        }
    }

    /// A session that was taken over by another node.
    pub(crate) fn lose(&self, live: &Live) {
        live.lost.store(true, Ordering::SeqCst);
        self.live.forget_this(live);
        if let Some(mailbox) = live.mailbox() {
            tracing::warn!(session = %live.id, "lost to another node; its work is stopped");
            // Full: the actor sees the mark before its next turn.
            let _ = mailbox.try_send(Command::Stop);
        }
    }

    /// Takes over what nodes that died have left, and looks after what was taken since.
    pub(crate) async fn adopt(self: &Arc<Self>) -> Result<()> {
        let Some(leases) = self.store.leases() else {
            return Ok(());
        };
        for id in leases.orphans(BATCH).await? {
            match self.adopt_one(leases, &id).await {
                Ok(()) => {}
                // Another node was faster, or it was deleted meanwhile.
                Err(EngineError::Elsewhere(_) | EngineError::NotFound { .. }) => {}
                Err(e) => return Err(e),
            }
        }
        let fresh = std::mem::take(&mut self.holdings.lock().fresh);
        for id in fresh {
            match self.live(&id).await {
                Ok(live) => self.go_on(&live).await?,
                Err(EngineError::Elsewhere(_) | EngineError::NotFound { .. }) => {}
                Err(e) => {
                    self.holdings.lock().fresh.push(id);
                    return Err(e);
                }
            }
        }
        for id in self.unused() {
            self.give_back(&id).await;
        }
        Ok(())
    }

    async fn adopt_one(self: &Arc<Self>, leases: &dyn Leases, id: &SessionId) -> Result<()> {
        let Some(session) = self.store.session(id).await? else {
            return Ok(());
        };
        let only_waits = !self.has_directory(&session.directory)
            && !self.is_running(id).await?
            && self.other_with(leases, &session.directory).await?.is_some();
        if only_waits {
            // Its queue is for a node that has the directory.
            return Ok(());
        }
        self.take(leases, &session).await.map(drop)
    }

    async fn is_running(&self, id: &SessionId) -> Result<bool> {
        let query = sessiond_store::TurnQuery {
            open_only: true,
            limit: None,
        };
        let open = self.store.turns(id, &query).await?;
        Ok(open
            .iter()
            .any(|t| t.state == sessiond_model::TurnState::Running))
    }

    /// Finishes a revert, and goes on with the queue, of a session that was taken.
    async fn go_on(self: &Arc<Self>, live: &Arc<Live>) -> Result<()> {
        if live.restoring.load(Ordering::SeqCst) && self.has_directory(&live.directory()) {
            let _undo = live.undo.lock().await;
            if let Err(error) = self.settle_restore(live).await {
                tracing::error!(session = %live.id, %error, "a revert could not be finished");
            }
        }
        if live.head().open_turns == 0 || live.mailbox().is_some() {
            return Ok(());
        }
        let Some(session) = self.store.session(&live.id).await? else {
            return Ok(());
        };
        match self.needs_directory(&session).await {
            Ok(()) => crate::actor::wake(self, live),
            // Given back: it goes on there.
            Err(EngineError::Elsewhere(_)) => {}
            Err(EngineError::NoNode { .. }) => {
                let hold = live.hold().clone();
                recovery::recover_session(self, &hold, Cut::All, false).await?;
                self.live.forget(&live.id);
            }
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Sessions held for no reason any more.
    fn unused(&self) -> Vec<SessionId> {
        let holdings = self.holdings.lock();
        let old = holdings
            .held
            .iter()
            .filter(|(_, h)| h.since.elapsed() > KEEP);
        old.map(|(id, _)| id.clone())
            .filter(|id| self.live.peek(id).is_none())
            .take(BATCH as usize)
            .collect()
    }

    /// Keeps an eye on this node's leases, and on nodes that die.
    pub(crate) fn keep_leases(self: &Arc<Self>) {
        let Some(leases) = self.store.leases() else {
            return;
        };
        let mut lost = leases.lost();
        lost.mark_unchanged();
        let (inner, stop) = (Arc::downgrade(self), self.stop.clone());
        self.actors.spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    () = changed(&mut lost) => {
                        let Some(engine) = inner.upgrade() else { return };
                        engine.lose_all();
                    }
                }
                let Some(engine) = inner.upgrade() else {
                    return;
                };
                if let Err(error) = engine.adopt().await {
                    tracing::warn!(%error, "sessions of nodes that died can't be taken over yet");
                }
            }
        });
    }
}

/// Never, when nobody will tell any more.
async fn changed(lost: &mut watch::Receiver<u64>) {
    if lost.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Engine {
    /// The nodes that share the store: living ones, and the newest of each other name of the last
    /// day. Empty when this process is alone with it.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn nodes(&self) -> Result<Vec<Node>> {
        match self.0.store.leases() {
            Some(leases) => Ok(leases.nodes().await?),
            None => Ok(Vec::new()),
        }
    }

    /// This node, where several share the store.
    #[must_use]
    pub fn node(&self) -> Option<Node> {
        self.0.store.leases().map(Leases::node)
    }

    /// Sessions that this node holds by lease.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.holdings.lock().held.len()
    }
}

fn elsewhere(session: &SessionId, node: Node) -> EngineError {
    EngineError::Elsewhere(Elsewhere {
        session: session.clone(),
        node: node.name,
        url: node.url,
    })
}
