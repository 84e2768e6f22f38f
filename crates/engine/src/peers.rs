//! What concerns several sessions, when another node holds some of them.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::BoxFuture;
use sessiond_model::{SessionId, Timestamp};

use crate::engine::{Engine, Inner, Result};
use crate::{AbortOptions, Elsewhere, EngineError};

/// What a node is asked to do with one session that it holds, not with those below it.
#[derive(Clone, Copy, Debug)]
pub enum Errand {
    /// Stop its work. Whether any ran.
    Stop(AbortOptions),
    /// Move it to the trash, as deleted at this time. Whether it was not there yet.
    Trash(Timestamp),
    /// Take it out of the trash. Always true.
    Restore,
}

/// The way to the other nodes.
pub trait Peers: std::fmt::Debug + Send + Sync + 'static {
    /// Has a node run an errand, and waits for its answer.
    ///
    /// # Errors
    /// `NotFound` when the session is gone, `Unavailable` when the node did not do it.
    fn ask<'a>(&'a self, node: &'a Elsewhere, errand: Errand) -> BoxFuture<'a, Result<bool>>;
}

impl Engine {
    /// Lets the engine ask other nodes, as long as this exists. Only the first call counts.
    pub fn set_peers(&self, peers: &Arc<dyn Peers>) {
        let _ = self.0.peers.set(Arc::downgrade(peers));
    }

    /// Runs an errand for another node.
    ///
    /// # Errors
    /// `NotFound`; `Elsewhere` when this node does not hold the session any more.
    pub async fn run_errand(&self, id: &SessionId, errand: Errand) -> Result<bool> {
        self.0.refuse_when_stopping()?;
        match errand {
            Errand::Stop(options) => self.0.stop_here(id, options).await,
            Errand::Trash(at) => {
                let trashed = self.0.trash_here(id, at).await?;
                if self.0.config.trash_term.is_zero() {
                    self.0.purge(std::slice::from_ref(id)).await?;
                }
                Ok(trashed)
            }
            Errand::Restore => self.0.take_out_here(id).await.map(|_| true),
        }
    }
}

impl Inner {
    /// Has the node that holds a session do its part of what was asked of another session.
    pub(crate) async fn ask(&self, node: &Elsewhere, errand: Errand) -> Result<bool> {
        let peers = self.peers.get().and_then(Weak::upgrade);
        if let Some(peers) = peers.filter(|_| node.url.is_some()) {
            return peers.ask(node, errand).await;
        }
        Err(EngineError::Unavailable {
            reason: format!(
                "{}, which belongs to this session, is held by node {}, which can't be asked",
                node.session, node.node
            ),
            retry_after: Duration::from_secs(5),
        })
    }
}
