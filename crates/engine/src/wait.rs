//! Waiting for the end of a turn, on whatever node it runs.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sessiond_model::{SessionId, Turn, TurnId};
use sessiond_store::EntityKind;

use crate::EngineError;
use crate::engine::{Engine, Inner, Result};
use crate::live::Live;

/// Between two looks at a turn that another node runs.
const LOOK_ELSEWHERE: Duration = Duration::from_millis(200);

impl Inner {
    /// The live session, unless another node may have it: nothing is taken for a look.
    async fn live_here(&self, id: &SessionId) -> Result<Option<Arc<Live>>> {
        if self.store.leases().is_some() {
            return Ok(self.live.peek(id));
        }
        self.live(id).await.map(Some)
    }
}

impl Engine {
    /// Waits until the turn has ended or `timeout` has passed; answers it as it is then.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable` when the engine stops meanwhile.
    pub async fn wait_turn(&self, turn: &TurnId, timeout: Option<Duration>) -> Result<Turn> {
        let read = || async {
            self.0
                .store
                .turn(turn)
                .await?
                .ok_or_else(|| EngineError::not_found(EntityKind::Turn, turn))
        };
        let mut now = read().await?;
        if now.state.is_terminal() {
            return Ok(now);
        }
        let deadline = timeout.map(|t| tokio::time::Instant::now() + t);
        let live = match self.0.live_here(&now.session_id).await {
            Ok(Some(live)) => live,
            Ok(None) => return self.wait_elsewhere(now, deadline).await,
            Err(_) => return read().await,
        };
        let mut changes = live.turns.subscribe();
        loop {
            // Subscribed before this look, so a change in between wakes us at once.
            now = read().await?;
            if now.state.is_terminal() || deadline.is_some_and(|d| tokio::time::Instant::now() >= d)
            {
                return Ok(now);
            }
            if live.lost.load(Ordering::SeqCst) {
                return self.wait_elsewhere(now, deadline).await;
            }
            let changed = async {
                let _ = changes.changed().await;
            };
            match deadline {
                Some(d) => drop(tokio::time::timeout_at(d, changed).await),
                None => changed.await,
            }
            self.0.refuse_when_stopping().or_else(|e| {
                // A turn that ended in the shutdown is still answered.
                if live.mailbox().is_some() {
                    Ok(())
                } else {
                    Err(e)
                }
            })?;
        }
    }

    /// Waits for a turn that another node runs.
    async fn wait_elsewhere(
        &self,
        turn: Turn,
        deadline: Option<tokio::time::Instant>,
    ) -> Result<Turn> {
        let mut now = turn;
        while !now.state.is_terminal() && deadline.is_none_or(|d| tokio::time::Instant::now() < d) {
            self.0.refuse_when_stopping()?;
            let next = tokio::time::Instant::now() + LOOK_ELSEWHERE;
            tokio::time::sleep_until(deadline.map_or(next, |d| d.min(next))).await;
            let read = self.0.store.turn(&now.id).await?;
            now = read.ok_or_else(|| EngineError::not_found(EntityKind::Turn, &now.id))?;
        }
        Ok(now)
    }
}
