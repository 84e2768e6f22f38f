//! Who may write which session, where several processes share one store.

use std::fmt;

use async_trait::async_trait;
use sessiond_model::{SessionId, Timestamp};
use tokio::sync::watch;

use crate::StoreResult;

/// A sessiond process that has registered with a shared store. A process that lost its lease
/// registers anew and is another node from then on, under the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number: given at registration, never given again.
    pub number: u64,
    /// Its name, as configured; stays over restarts.
    pub name: String,
    /// Where other nodes reach it, without `/` at the end; `None` when nobody can.
    pub url: Option<String>,
    /// The machine and its boot: processes of two nodes see each other when this is equal.
    pub host: String,
    /// The version of its program.
    pub version: String,
    /// When it registered, on the store's clock.
    pub started_at: Timestamp,
    /// When its leases end unless it renews, on the store's clock.
    pub expires_at: Timestamp,
    /// Whether it was alive, by the store's clock, when this was read.
    pub alive: bool,
}

/// The answer to [`Leases::acquire`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lease {
    /// This node may write the session, with this fence.
    Held {
        /// The epoch to put into [`Commit::fence`](sessiond_model::Commit::fence).
        epoch: u64,
        /// The node that had it before, when that did not give it back: it may have left
        /// processes behind.
        from: Option<Node>,
    },
    /// A living node has it.
    Elsewhere(Node),
}

/// The right to write sessions of a store that several nodes share.
///
/// A node proves that it lives by renewing one row, on the clock of the store. It holds any
/// number of sessions, each with an epoch of its own; every commit checks, in its own
/// transaction, that the node lives and that the epoch is the session's newest. So a node that
/// was paused, or cut off, writes nothing once another has taken over.
#[async_trait]
pub trait Leases: Send + Sync + fmt::Debug {
    /// This node as it is registered now.
    fn node(&self) -> Node;

    /// Rises each time this node had to register anew because its lease had ended: everything
    /// that it held is lost, and what it remembers of any session is stale.
    fn lost(&self) -> watch::Receiver<u64>;

    /// Takes the session, unless a living node holds it. What this node holds already it is
    /// given again, with the same epoch. The session's creator holds it, under
    /// [`Store::epoch`](crate::Store::epoch).
    ///
    /// # Errors
    /// `NotFound`; `Unavailable`.
    async fn acquire(&self, session: &SessionId) -> StoreResult<Lease>;

    /// Gives a session back, when it is held under this epoch.
    async fn release(&self, session: &SessionId, epoch: u64) -> StoreResult<()>;

    /// The living node that holds the session.
    async fn holder(&self, session: &SessionId) -> StoreResult<Option<Node>>;

    /// Ends the leases of nodes that did not renew in time, and gives the sessions that are
    /// [unfinished](crate::Store::unfinished_sessions), or have a pending restore, and that no
    /// living node holds; at most `limit`.
    ///
    /// A node that has just come, or could not reach the store for a while, ends nobody until it
    /// was there for as long as a lease lasts: an outage of the store is not the death of its
    /// nodes.
    async fn orphans(&self, limit: u32) -> StoreResult<Vec<SessionId>>;

    /// Notes that this node, by name, has this directory.
    async fn note_directory(&self, directory: &str) -> StoreResult<()>;

    /// The nodes that have noted this directory: for each name the newest node.
    async fn nodes_with(&self, directory: &str) -> StoreResult<Vec<Node>>;

    /// All living nodes, and for each other name the newest of the last day.
    async fn nodes(&self) -> StoreResult<Vec<Node>>;
}
