//! The right to write a session: taken, kept and given back. Without leases this process is alone
//! and may write everything.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use sessiond_model::{Session, SessionId, StatusKind};
use sessiond_store::{EntityKind, Lease, Leases, Node};

use crate::engine::{Engine, Inner, Result, is_transient};
use crate::recovery::{self, Cut};
use crate::{Elsewhere, EngineError};

/// A session that nobody here works on is given back after so long.
const KEEP: Duration = Duration::from_secs(30);
/// Longest that anybody waits for a session to be given back.
const GIVE_BACK: Duration = Duration::from_secs(2);
/// Most sessions given back in one go.
const BATCH: usize = 32;
/// Sessions that are taken or given back at the same moment.
const TAKING: usize = 32;

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
    known: Mutex<Known>,
    /// Held while a session is taken and what it was left with is ended, and while one is given
    /// back: by a hash of its id.
    taking: [tokio::sync::Mutex<()>; TAKING],
}

#[derive(Debug, Default)]
struct Known {
    /// What was left in these by their last holder was ended.
    held: HashMap<SessionId, Held>,
    /// Taken from nodes that died, and not put in order yet; with whether the processes of that
    /// node can be seen here.
    left: HashMap<SessionId, bool>,
    /// To be looked after: there may be turns in their queues.
    fresh: HashSet<SessionId>,
    /// Directories that the store knows this node has.
    noted: HashSet<String>,
}

#[derive(Debug)]
struct Held {
    epoch: u64,
    since: Instant,
}

impl Holdings {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }

    fn taking(&self, id: &SessionId) -> &tokio::sync::Mutex<()> {
        let sum = id.as_str().bytes().fold(0_usize, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(usize::from(byte))
        });
        &self.taking[sum % TAKING]
    }

    /// Notes that a session is held. Whether that is news.
    fn note(&self, session: &SessionId, epoch: u64) -> bool {
        let mut known = self.lock();
        let held = Held {
            epoch,
            since: Instant::now(),
        };
        let old = known.held.insert(session.clone(), held);
        let is_news = old.is_none_or(|old| old.epoch != epoch);
        if is_news {
            known.left.remove(session);
            known.fresh.insert(session.clone());
        }
        is_news
    }

    /// A session that another may have taken.
    pub(crate) fn forget(&self, hold: &Hold) {
        let mut known = self.lock();
        if (known.held.get(&hold.session)).is_some_and(|held| held.epoch == hold.epoch) {
            known.held.remove(&hold.session);
        }
    }

    /// Everything that was held under an earlier epoch.
    pub(crate) fn forget_before(&self, epoch: u64) {
        self.lock().held.retain(|_, held| held.epoch >= epoch);
    }

    /// Has a session looked after soon: taken if it is free, put in order, its queue gone on with.
    pub(crate) fn look_after(&self, session: &SessionId) {
        self.lock().fresh.insert(session.clone());
    }

    pub(crate) fn take_fresh(&self) -> HashSet<SessionId> {
        std::mem::take(&mut self.lock().fresh)
    }

    /// Held for long, perhaps for no reason any more.
    pub(crate) fn old(&self) -> Vec<SessionId> {
        let known = self.lock();
        let old = known.held.iter().filter(|(_, h)| h.since.elapsed() > KEEP);
        old.map(|(id, _)| id.clone()).collect()
    }
}

impl Inner {
    /// The right to write a session that is created now.
    pub(crate) fn hold_new(&self, session: &SessionId) -> Hold {
        let epoch = self.store.epoch();
        if self.store.leases().is_some() {
            self.holdings.note(session, epoch);
        }
        Hold {
            session: session.clone(),
            epoch,
        }
    }

    /// The right to write a session, taken when nobody has it. What its last holder left
    /// unfinished is ended first.
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

    /// Takes a session, or makes sure that it is held. Nobody is given it before what its last
    /// holder left was ended.
    pub(crate) async fn take(&self, leases: &dyn Leases, session: &Session) -> Result<Hold> {
        let id = &session.id;
        let _taking = self.holdings.taking(id).lock().await;
        let (epoch, from) = match leases.acquire(id).await {
            Ok(Lease::Held { epoch, from }) => (epoch, from),
            Ok(Lease::Elsewhere(node)) => {
                self.holdings.lock().held.remove(id);
                // That node may not have the directory, and is to know who has.
                self.note_directory(&session.directory).await;
                return Err(elsewhere(id, node));
            }
            Err(error) => {
                if is_transient(&error) {
                    // It may be this node's all the same, and then nobody else looks after it.
                    self.holdings.look_after(id);
                }
                return Err(error.into());
            }
        };
        let hold = Hold {
            session: id.clone(),
            epoch,
        };
        if let Some(from) = from {
            let me = leases.node();
            let is_here = !me.host.is_empty() && from.host == me.host;
            tracing::info!(session = %id, node = from.name, "taken over from a node that died");
            self.holdings.lock().left.insert(id.clone(), is_here);
        }
        if let Err(error) = self.put_in_order(&hold).await {
            self.holdings.look_after(id);
            return Err(error);
        }
        if self.holdings.note(id, epoch) {
            self.note_directory(&session.directory).await;
        }
        Ok(hold)
    }

    /// Ends what was left in a session that was taken just now.
    async fn put_in_order(&self, hold: &Hold) -> Result<()> {
        let left = {
            let known = self.holdings.lock();
            let held = known.held.get(&hold.session);
            if held.is_some_and(|held| held.epoch == hold.epoch) {
                return Ok(());
            }
            known.left.get(&hold.session).copied()
        };
        // A node that gave it back may have had no time to end its work.
        let is_busy = |s: Session| s.status.kind == StatusKind::Busy;
        if left.is_some()
            || self
                .store
                .session(&hold.session)
                .await?
                .is_some_and(is_busy)
        {
            recovery::recover_session(self, hold, Cut::Running, left.unwrap_or(false)).await?;
        }
        Ok(())
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
    pub(crate) async fn other_with(
        &self,
        leases: &dyn Leases,
        directory: &str,
    ) -> Result<Option<Node>> {
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

    /// Gives a session back, with its queue, unless work is going on in it.
    pub(crate) async fn give_back(&self, id: &SessionId) {
        let Some(leases) = self.store.leases() else {
            return;
        };
        let _taking = self.holdings.taking(id).lock().await;
        if let Some(live) = self.live.peek(id) {
            {
                let head = live.head();
                if head.closed > 0 || live.mailbox().is_some() {
                    return;
                }
                // Turns are accepted under this lock: from here on none is.
                live.lost.store(true, Ordering::SeqCst);
            }
            self.live.forget_this(&live);
            live.turn_changed();
        }
        self.release(leases, id).await;
    }

    /// Gives back sessions that nobody works on or asks for.
    pub(crate) async fn give_back_unused(&self, leases: &dyn Leases) {
        let mut given = 0;
        for id in self.holdings.old() {
            let _taking = self.holdings.taking(&id).lock().await;
            if self.live.forget_unused(&id) {
                given += 1;
                if !self.release(leases, &id).await || given == BATCH {
                    return;
                }
            }
        }
    }

    /// The caller sees to it that nobody takes it meanwhile. `false`: the store did not answer.
    async fn release(&self, leases: &dyn Leases, id: &SessionId) -> bool {
        let held = self.holdings.lock().held.remove(id);
        let Some(held) = held else {
            return true;
        };
        match tokio::time::timeout(GIVE_BACK, leases.release(id, held.epoch)).await {
            Ok(Ok(())) => return true,
            // It ends with this node's lease at the latest.
            Ok(Err(error)) => tracing::warn!(session = %id, %error, "not given back"),
            Err(_) => tracing::warn!(session = %id, "not given back in time"),
        }
        false
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
