//! Turns that were counted, and of which it is not known whether they are in the store.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sessiond_model::{Change, Status, TurnId};

use crate::EngineError;
use crate::engine::{Inner, Result};
use crate::live::Live;

/// Between two questions to a store that is away.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Inner {
    /// A prompt was counted but could not be stored.
    pub(crate) async fn take_back(&self, live: &Live, made_busy: bool) {
        let idle = {
            let mut head = live.head();
            head.open_turns -= 1;
            // The turn before ours may have ended meanwhile and left the status to us.
            (head.open_turns == 0 && !made_busy).then(|| {
                let now = self.clock.now();
                self.submit(
                    live.hold(),
                    Vec::new(),
                    vec![Change::SetStatus(Status::idle(now))],
                )
            })
        };
        if let Some(commit) = idle
            && let Err(e) = commit.await
        {
            tracing::error!(session = %live.id, error = %e, "the session could not be set idle");
        }
    }

    /// Finds out whether a turn is in the store: the answer to its commit was lost. It counts
    /// until that is known, or the queue would end without it.
    pub(crate) fn find_out(self: &Arc<Self>, live: Arc<Live>, turn: TurnId) {
        live.head().doubtful += 1;
        let inner = self.clone();
        self.actors.spawn(async move {
            loop {
                tokio::select! {
                    () = inner.stop.cancelled() => return,
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
                if live.lost.load(Ordering::SeqCst) {
                    return;
                }
                match inner.is_stored(&live, &turn).await {
                    Ok(Some(is_stored)) => {
                        live.head().doubtful -= 1;
                        if is_stored {
                            crate::actor::wake(&inner, &live);
                        } else {
                            inner.take_back(&live, false).await;
                        }
                        return;
                    }
                    Ok(None) | Err(EngineError::Elsewhere(_) | EngineError::NotFound { .. }) => {
                        return inner.lose(&live);
                    }
                    Err(error) => {
                        tracing::debug!(session = %live.id, %error, "a turn is still in doubt");
                    }
                }
            }
        });
    }

    /// `None` when the session was lost.
    async fn is_stored(&self, live: &Live, turn: &TurnId) -> Result<Option<bool>> {
        let session = self.store.session(&live.id).await?;
        if let (Some(leases), Some(session)) = (self.store.leases(), session) {
            // In the order of writes: what was in doubt before is settled when this is answered.
            if self.take(leases, &session).await?.epoch != live.hold().epoch {
                return Ok(None);
            }
        }
        Ok(Some(self.store.turn(turn).await?.is_some()))
    }
}
