//! Stopping the work of a session and of everything below it.

use std::collections::HashSet;
use std::sync::Arc;

use futures::future::join_all;
use sessiond_model::SessionId;
use sessiond_store::{SessionQuery, TurnQuery};
use tokio::sync::oneshot;

use crate::actor::{Command, wake};
use crate::engine::{Engine, Inner, Result};
use crate::live::Live;
use crate::{AbortOptions, EngineError, Errand};

/// Attempts to reach an actor that is just leaving.
const ATTEMPTS: usize = 3;
/// Looks for sub-tasks that began while the others were stopped.
const ROUNDS: usize = 8;

impl Engine {
    /// Stops the work of a session and of its descendants, children first, and returns when
    /// all of it has stopped. `false`: nothing ran.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn abort(&self, id: &SessionId, options: AbortOptions) -> Result<bool> {
        self.0.live(id).await?;
        let mut stopped = HashSet::new();
        let mut any = false;
        for _ in 0..ROUNDS {
            let mut tree = self.0.tree_below(id).await?;
            tree.retain(|member| stopped.insert(member.clone()));
            if tree.is_empty() {
                break;
            }
            let stops = tree.iter().map(|id| self.0.stop(id, options));
            for ran in join_all(stops).await {
                match ran {
                    Ok(ran) => any |= ran,
                    // It was deleted meanwhile, which stopped it.
                    Err(EngineError::NotFound { .. }) => {}
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(any)
    }
}

impl Inner {
    /// A session and its descendants, children before their parents.
    pub(crate) async fn tree_below(&self, id: &SessionId) -> Result<Vec<SessionId>> {
        let mut order = vec![id.clone()];
        let mut known = HashSet::from([id.clone()]);
        let mut at = 0;
        // Breadth first, then backwards.
        while at < order.len() {
            let query = SessionQuery {
                parent_id: Some(order[at].clone()),
                ..SessionQuery::default()
            };
            let children = self.store.sessions(&query).await?.sessions;
            let children = children.into_iter().map(|s| s.id);
            order.extend(children.filter(|id| known.insert(id.clone())));
            at += 1;
        }
        order.reverse();
        Ok(order)
    }

    /// Stops the work of one session, wherever it is held.
    async fn stop(self: &Arc<Self>, id: &SessionId, options: AbortOptions) -> Result<bool> {
        match self.stop_here(id, options).await {
            Err(EngineError::Elsewhere(node)) if self.has_open_turns(id).await? => {
                self.ask(&node, Errand::Stop(options)).await
            }
            Err(EngineError::Elsewhere(_)) => Ok(false),
            done => done,
        }
    }

    pub(crate) async fn stop_here(
        self: &Arc<Self>,
        id: &SessionId,
        options: AbortOptions,
    ) -> Result<bool> {
        let live = self.live(id).await?;
        self.stop_live(&live, options).await
    }

    async fn has_open_turns(&self, id: &SessionId) -> Result<bool> {
        let query = TurnQuery {
            open_only: true,
            limit: Some(1),
            ..TurnQuery::default()
        };
        Ok(!self.store.turns(id, &query).await?.is_empty())
    }

    pub(crate) async fn stop_live(
        self: &Arc<Self>,
        live: &Arc<Live>,
        options: AbortOptions,
    ) -> Result<bool> {
        let upto = {
            let head = live.head();
            if head.open_turns == 0 {
                return Ok(false);
            }
            head.floor
        };
        for _ in 0..ATTEMPTS {
            // Turns that wait without an actor (it is just starting, or the store failed it)
            // get one.
            wake(self, live);
            let Some(mailbox) = live.mailbox() else {
                continue;
            };
            let (done, stopped) = oneshot::channel();
            let command = Command::Abort {
                queue: options.queue,
                upto,
                done,
            };
            if mailbox.send(command).await.is_ok() && stopped.await.is_ok() {
                return Ok(true);
            }
            if live.head().open_turns == 0 {
                return Ok(true);
            }
        }
        self.refuse_when_stopping()?;
        Err(EngineError::Internal(
            "the session's work could not be reached".into(),
        ))
    }
}
