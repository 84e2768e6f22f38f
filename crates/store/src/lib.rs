//! What a session store is: [`Store`], its queries and errors, the in-memory store, and
//! (feature `contract`) the suite of tests that every store must pass.

mod error;
mod lease;
mod memory;
mod query;
mod store;

#[cfg(feature = "contract")]
pub mod contract;
pub mod rules;

pub use error::{EntityKind, StoreError, UnavailableReason};
pub use lease::{Lease, Leases, Node};
pub use memory::{MemoryCluster, MemoryStore};
pub use query::{
    AskQuery, EventPage, EventQuery, Measure, MessageCursor, MessagePage, MessageQuery, Scope,
    SessionCursor, SessionHead, SessionOrder, SessionPage, SessionQuery, ShareQuery, StoreHealth,
    TurnQuery,
};
pub use store::{CommitFuture, Committed, Feed, NoFeed, Store, StoreResult};
