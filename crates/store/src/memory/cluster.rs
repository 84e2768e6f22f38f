//! A store in memory that several nodes share: the model of a shared database, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use sessiond_model::{Change, Clock, Commit, RestorePhase, SessionId, Timestamp};
use tokio::sync::watch;

use super::MemoryStore;
use super::record::State;
use crate::{
    Committed, EntityKind, Feed, Lease, Leases, Node, StoreError, StoreResult, UnavailableReason,
    rules,
};

/// What the nodes of a cluster share. Nodes [join](Self::join) it.
#[derive(Clone, Debug)]
pub struct MemoryCluster {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    /// How long a lease lasts without being renewed.
    lease: Duration,
    state: Mutex<State>,
    table: Mutex<Table>,
}

/// Locked after the state, never before it.
#[derive(Debug, Default)]
struct Table {
    last: u64,
    nodes: BTreeMap<u64, Registered>,
    /// Session to node and epoch.
    leases: BTreeMap<SessionId, (u64, u64)>,
    directories: BTreeSet<(String, String)>,
}

#[derive(Debug)]
struct Registered {
    node: Node,
    ended: bool,
    feed: Arc<dyn Feed>,
}

impl Table {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn is_alive(&self, number: u64, now: Timestamp) -> bool {
        let node = self.nodes.get(&number);
        node.is_some_and(|r| !r.ended && r.node.expires_at > now)
    }

    fn read(&self, number: u64, now: Timestamp) -> Option<Node> {
        self.nodes.get(&number).map(|r| Node {
            alive: self.is_alive(number, now),
            ..r.node.clone()
        })
    }

    fn holder(&self, session: &SessionId, now: Timestamp) -> Option<Node> {
        let (number, _) = self.leases.get(session)?;
        self.read(*number, now).filter(|node| node.alive)
    }

    /// The newest node of each name.
    fn newest(&self, now: Timestamp) -> Vec<Node> {
        let all = self.nodes.keys().filter_map(|n| self.read(*n, now));
        let by_name: BTreeMap<_, _> = all.map(|node| (node.name.clone(), node)).collect();
        by_name.into_values().collect()
    }
}

impl MemoryCluster {
    /// A shared store whose leases last so long on this clock.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, lease: Duration) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock,
                lease,
                state: Mutex::default(),
                table: Mutex::default(),
            }),
        }
    }

    /// A node's store; earlier nodes of this name are ended.
    #[must_use]
    pub fn join(&self, name: &str, url: Option<&str>, feed: Arc<dyn Feed>) -> MemoryStore {
        let registration = Node {
            number: 0,
            name: name.to_owned(),
            url: url.map(str::to_owned),
            host: "memory".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            started_at: Timestamp(0),
            expires_at: Timestamp(0),
            alive: true,
        };
        let member = Member {
            shared: self.shared.clone(),
            now: Mutex::new((registration, 0)),
            feed: feed.clone(),
            lost: watch::Sender::new(0),
            paused: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            faults: Faults::default(),
        };
        member.register();
        MemoryStore {
            feed,
            epoch: 0,
            state: Mutex::default(),
            member: Some(member),
        }
    }
}

impl MemoryStore {
    /// Stops this node of a cluster from renewing its lease, as if its process stood still; or
    /// lets it go on.
    pub fn pause(&self, paused: bool) {
        if let Some(member) = &self.member {
            member.paused.store(paused, Ordering::SeqCst);
        }
    }

    /// Cuts this node of a cluster off from writing, or no longer; it goes on to renew its lease.
    pub fn cut_off(&self, cut_off: bool) {
        if let Some(member) = &self.member {
            member.faults.cut_off.store(cut_off, Ordering::SeqCst);
        }
    }

    /// Loses the answer to one commit or acquisition of this node of a cluster, after so many
    /// more: it is done, and answered as if the store could not be reached.
    pub fn lose_answer_after(&self, writes: u32) {
        if let Some(member) = &self.member {
            *member.faults.deaf_after.lock() = Some(writes);
        }
    }
}

/// What goes wrong between a node and the store.
#[derive(Debug, Default)]
struct Faults {
    /// Nothing can be written.
    cut_off: AtomicBool,
    /// After so many more writes the answer to one is lost.
    deaf_after: Mutex<Option<u32>>,
}

impl Faults {
    fn before(&self) -> StoreResult<()> {
        if self.cut_off.load(Ordering::SeqCst) {
            return Err(unavailable(UnavailableReason::Unreachable));
        }
        Ok(())
    }

    /// Gives the answer, unless it is lost.
    fn after<T>(&self, answer: T) -> StoreResult<T> {
        let mut deaf_after = self.deaf_after.lock();
        match &mut *deaf_after {
            None => Ok(answer),
            Some(0) => {
                *deaf_after = None;
                Err(unavailable(UnavailableReason::Unreachable))
            }
            Some(more) => {
                *more -= 1;
                Ok(answer)
            }
        }
    }
}

/// One node of a cluster.
#[derive(Debug)]
pub(super) struct Member {
    shared: Arc<Shared>,
    /// As registered, and the epoch of what it creates.
    now: Mutex<(Node, u64)>,
    feed: Arc<dyn Feed>,
    lost: watch::Sender<u64>,
    paused: AtomicBool,
    closed: AtomicBool,
    faults: Faults,
}

impl Member {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    pub(super) fn epoch(&self) -> u64 {
        self.now.lock().1
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let number = self.number();
        let mut table = self.shared.table.lock();
        if let Some(registered) = table.nodes.get_mut(&number) {
            registered.ended = true;
        }
        // Given back: nobody has to look after what is left.
        table.leases.retain(|_, (holder, _)| *holder != number);
    }

    fn number(&self) -> u64 {
        self.now.lock().0.number
    }

    fn expiry(&self) -> Timestamp {
        let lease = i64::try_from(self.shared.lease.as_millis()).unwrap_or(i64::MAX);
        self.shared.clock.now().plus_millis(lease)
    }

    fn register(&self) {
        let mut table = self.shared.table.lock();
        let mut now = self.now.lock();
        let name = now.0.name.clone();
        for old in table.nodes.values_mut().filter(|r| r.node.name == name) {
            old.ended = true;
        }
        let number = table.next();
        now.0 = Node {
            number,
            started_at: self.shared.clock.now(),
            expires_at: self.expiry(),
            ..now.0.clone()
        };
        now.1 = table.next();
        let registered = Registered {
            node: now.0.clone(),
            ended: false,
            feed: self.feed.clone(),
        };
        table.nodes.insert(number, registered);
    }

    /// Renews, or registers anew when the lease was ended by somebody.
    fn renew(&self) -> StoreResult<()> {
        if self.is_closed() || self.paused.load(Ordering::SeqCst) {
            return Err(unavailable(UnavailableReason::LeaseEnded));
        }
        let number = self.number();
        {
            let mut table = self.shared.table.lock();
            if let Some(registered) = table.nodes.get_mut(&number).filter(|r| !r.ended) {
                registered.node.expires_at = self.expiry();
                return Ok(());
            }
        }
        self.register();
        self.lost.send_modify(|times| *times += 1);
        Ok(())
    }

    pub(super) fn commit(&self, state: &mut State, commit: Commit) -> StoreResult<Committed> {
        self.faults.before()?;
        let (me, now) = (self.number(), self.shared.clock.now());
        let mut table = self.shared.table.lock();
        if !table.is_alive(me, now) {
            return Err(unavailable(UnavailableReason::LeaseEnded));
        }
        if let Some((holder, held)) = table.leases.get(&commit.session_id)
            && *holder != me
        {
            // Also one that is dead: who was to take over would have taken it.
            return Err(StoreError::Fenced {
                held: *held,
                offered: commit.fence,
            });
        }
        let (session, fence) = (commit.session_id.clone(), commit.fence);
        let is_purge = commit.changes == [Change::PurgeSession];
        let committed = state.commit(commit)?;
        if is_purge {
            table.leases.remove(&session);
        } else {
            table.leases.insert(session, (me, fence));
        }
        if !committed.events.is_empty() {
            // Under the locks, so that every node hears commits in order.
            for registered in table.nodes.values().filter(|r| !r.ended) {
                registered.feed.publish(&committed.events);
            }
        }
        self.faults.after(committed)
    }
}

#[async_trait]
impl Leases for Member {
    fn node(&self) -> Node {
        self.now.lock().0.clone()
    }

    fn lost(&self) -> watch::Receiver<u64> {
        self.lost.subscribe()
    }

    async fn acquire(&self, session: &SessionId) -> StoreResult<Lease> {
        self.faults.before()?;
        let (me, now) = (self.number(), self.shared.clock.now());
        let mut state = self.state();
        let mut table = self.shared.table.lock();
        if !table.is_alive(me, now) {
            return Err(unavailable(UnavailableReason::LeaseEnded));
        }
        let Some(record) = state.sessions.get_mut(session) else {
            return Err(rules::missing(EntityKind::Session, session.as_str()));
        };
        let old = table.leases.get(session).copied();
        if let Some(holder) = table.holder(session, now) {
            return Ok(match old {
                Some((number, epoch)) if number == me => Lease::Held { epoch, from: None },
                _ => Lease::Elsewhere(holder),
            });
        }
        let from = old.and_then(|(number, _)| table.read(number, now));
        let epoch = table.next();
        record.epoch = epoch;
        table.leases.insert(session.clone(), (me, epoch));
        self.faults.after(Lease::Held { epoch, from })
    }

    async fn release(&self, session: &SessionId, epoch: u64) -> StoreResult<()> {
        let me = self.number();
        let mut table = self.shared.table.lock();
        if table.leases.get(session) == Some(&(me, epoch)) {
            table.leases.remove(session);
        }
        Ok(())
    }

    async fn holder(&self, session: &SessionId) -> StoreResult<Option<Node>> {
        let now = self.shared.clock.now();
        Ok(self.shared.table.lock().holder(session, now))
    }

    async fn orphans(&self, limit: u32) -> StoreResult<Vec<SessionId>> {
        // There is nobody else who would do it in time.
        self.renew()?;
        let now = self.shared.clock.now();
        let state = self.state();
        let mut table = self.shared.table.lock();
        for registered in table.nodes.values_mut() {
            registered.ended |= registered.node.expires_at <= now;
        }
        let mut ids = state.unfinished();
        let restoring = state.sessions.values().filter(|r| {
            let phase = r.restore.as_ref().map(|restore| restore.phase);
            r.session.deleted_at.is_none() && phase == Some(RestorePhase::Pending)
        });
        ids.extend(restoring.map(|r| r.session.id.clone()));
        ids.sort();
        ids.dedup();
        ids.retain(|id| table.holder(id, now).is_none());
        ids.truncate(limit as usize);
        Ok(ids)
    }

    async fn note_directory(&self, directory: &str) -> StoreResult<()> {
        let name = self.node().name;
        let mut table = self.shared.table.lock();
        table.directories.insert((directory.to_owned(), name));
        Ok(())
    }

    async fn nodes_with(&self, directory: &str) -> StoreResult<Vec<Node>> {
        let now = self.shared.clock.now();
        let table = self.shared.table.lock();
        let mut nodes = table.newest(now);
        nodes.retain(|node| {
            let noted = (directory.to_owned(), node.name.clone());
            table.directories.contains(&noted)
        });
        Ok(nodes)
    }

    async fn nodes(&self) -> StoreResult<Vec<Node>> {
        let now = self.shared.clock.now();
        Ok(self.shared.table.lock().newest(now))
    }
}

fn unavailable(reason: UnavailableReason) -> StoreError {
    StoreError::Unavailable { reason }
}
