//! What a node does when it loses sessions, and when it takes over from nodes that died.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use sessiond_model::{SessionId, TurnState};
use sessiond_store::{Leases, TurnQuery};
use tokio::sync::watch;

use crate::EngineError;
use crate::engine::{Inner, Result};
use crate::live::Live;
use crate::recovery::{self, Cut};

/// Between two looks for sessions of nodes that died.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Sessions taken over at a time.
const BATCH: u32 = 64;
/// Sessions put in order at the same moment: the agents of each are looked for.
const TOGETHER: usize = 8;

impl Inner {
    /// All that this node held before it registered anew is lost: nothing of it is believed, and
    /// its agents are ended.
    fn lose_all(&self) {
        let since = self.store.epoch();
        self.holdings.forget_before(since);
        for live in self.live.take_before(since) {
            self.lose(&live);
        }
    }

    /// A session that was taken over by another node.
    pub(crate) fn lose(&self, live: &Live) {
        if live.be_lost() {
            self.live.forget_this(live);
            self.holdings.forget(live.hold());
            if live.head().open_turns > 0 {
                // Whoever has it now goes on with it. If that is nobody, this node does.
                self.holdings.look_after(&live.id);
            }
        }
    }

    /// Takes over what nodes that died have left, and looks after what was taken since.
    pub(crate) async fn adopt(self: &Arc<Self>) -> Result<()> {
        let Some(leases) = self.store.leases() else {
            return Ok(());
        };
        let orphans = stream::iter(leases.orphans(BATCH).await?);
        orphans
            .for_each_concurrent(TOGETHER, async |id| {
                let adopted = self.adopt_one(leases, &id).await;
                self.or_later(&id, adopted);
            })
            .await;
        stream::iter(self.holdings.take_fresh())
            .for_each_concurrent(TOGETHER, async |id| {
                let gone_on = self.go_on(&id).await;
                self.or_later(&id, gone_on);
            })
            .await;
        self.give_back_unused(leases).await;
        Ok(())
    }

    /// What could not be done for one session is tried again, and keeps nobody from the others.
    fn or_later(&self, id: &SessionId, done: Result<()>) {
        match done {
            // Another node was faster, or it was deleted meanwhile.
            Ok(()) | Err(EngineError::Elsewhere(_) | EngineError::NotFound { .. }) => {}
            Err(error) => {
                tracing::warn!(session = %id, %error, "not put in order yet");
                self.holdings.look_after(id);
            }
        }
    }

    async fn adopt_one(&self, leases: &dyn Leases, id: &SessionId) -> Result<()> {
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
        let query = TurnQuery {
            open_only: true,
            ..TurnQuery::default()
        };
        let open = self.store.turns(id, &query).await?;
        Ok(open.iter().any(|t| t.state == TurnState::Running))
    }

    /// Finishes a revert, and goes on with the queue, of a session that was taken.
    async fn go_on(self: &Arc<Self>, id: &SessionId) -> Result<()> {
        let live = self.live(id).await?;
        let is_here = self.has_directory(&live.directory());
        if live.restoring.load(Ordering::SeqCst) && is_here {
            let _undo = live.undo.lock().await;
            if let Err(error) = self.settle_restore(&live).await {
                tracing::error!(session = %id, %error, "a revert could not be finished");
            }
        }
        if live.mailbox().is_some() {
            return Ok(());
        }
        let waits = live.head().open_turns > 0;
        if is_here {
            if waits {
                crate::actor::wake(self, &live);
            }
            return Ok(());
        }
        let Some(session) = self.store.session(id).await? else {
            return Ok(());
        };
        match self.needs_directory(&session).await {
            // Given back: it goes on there.
            Ok(()) | Err(EngineError::Elsewhere(_)) => return Ok(()),
            Err(EngineError::NoNode { .. }) => {}
            Err(e) => return Err(e),
        }
        if waits {
            let hold = live.hold().clone();
            recovery::recover_session(self, &hold, Cut::All, false).await?;
        }
        // A node that gets the directory, or comes with it, can have the session at once. What
        // waits for the directory is kept: as nobody's it would be taken again and again.
        if !live.restoring.load(Ordering::SeqCst) {
            self.give_back(id).await;
        }
        Ok(())
    }

    /// Keeps an eye on this node's leases, and on nodes that die.
    pub(crate) fn keep_leases(self: &Arc<Self>, mut lost: watch::Receiver<u64>) {
        let (inner, stop) = (Arc::downgrade(self), self.stop.clone());
        self.actors.spawn(async move {
            loop {
                let told = tokio::select! {
                    () = stop.cancelled() => return,
                    told = lost.changed() => told,
                };
                match (told, inner.upgrade()) {
                    (Ok(()), Some(engine)) => engine.lose_all(),
                    // Nobody will tell any more, or nobody listens.
                    _ => return,
                }
            }
        });
        let (inner, stop) = (Arc::downgrade(self), self.stop.clone());
        self.actors.spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
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
