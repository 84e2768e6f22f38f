//! Following a share: when what it shows has changed, and when it ended.

use std::sync::Arc;
use std::time::Duration;

use sessiond_model::{SessionId, ShareMode};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::engine::{Engine, Result};
use crate::hub::Told;
use crate::{EngineError, SharedSession, Signal};

/// Most followers of all shares.
pub(crate) const FOLLOWERS: usize = 256;
/// Between two words of a change.
const STEP: Duration = Duration::from_secs(1);
/// Longest silence; a share that expires ends after it at the latest.
const QUIET: Duration = Duration::from_secs(15);

/// What a follower hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// What the share shows has changed.
    Changed,
    /// Nothing for a while.
    Quiet,
    /// The share has ended; nothing comes after this.
    Gone,
}

/// One follower of a share.
pub struct ShareFollower {
    engine: Engine,
    ring: Receiver<Told>,
    session: SessionId,
    token_hash: String,
    /// Not before this.
    next: Instant,
    /// Whether it heard anything yet.
    greeted: bool,
    _seat: OwnedSemaphorePermit,
}

impl std::fmt::Debug for ShareFollower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShareFollower")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Follows a share. `None` for a frozen one, which does not change.
    ///
    /// # Errors
    /// `Unavailable` when too many follow.
    pub fn follow_share(&self, shared: &SharedSession) -> Result<Option<ShareFollower>> {
        if shared.share.mode != ShareMode::Live {
            return Ok(None);
        }
        let seats: Arc<Semaphore> = self.0.followers.clone();
        let seat = seats
            .try_acquire_owned()
            .map_err(|_| EngineError::Unavailable {
                reason: "too many follow shared sessions now".into(),
                retry_after: Duration::from_secs(30),
            })?;
        Ok(Some(ShareFollower {
            engine: self.clone(),
            ring: self.0.hub.subscribe(),
            session: shared.session.id.clone(),
            token_hash: shared.share.token_hash.clone(),
            next: Instant::now(),
            greeted: false,
            _seat: seat,
        }))
    }
}

impl ShareFollower {
    /// The next word. At most one a second, however fast the session changes; whatever was
    /// changed before a word is shown by what is fetched after it. The first comes at once, for
    /// what has changed since the page was made.
    pub async fn next(&mut self) -> Followed {
        if !std::mem::replace(&mut self.greeted, true) {
            return Followed::Changed;
        }
        tokio::time::sleep_until(self.next).await;
        let heard = tokio::time::timeout(QUIET, self.hear()).await;
        let word = match heard {
            Ok(true) => Followed::Changed,
            Ok(false) => return Followed::Gone,
            Err(_) => Followed::Quiet,
        };
        self.next = Instant::now() + STEP;
        self.drain();
        match self.engine.find_share(&self.token_hash).await {
            Ok(Some(shared)) if shared.session.id == self.session => word,
            Ok(_) => Followed::Gone,
            // The store is away for a moment.
            Err(_) => Followed::Quiet,
        }
    }

    /// Waits for something of the session; `false` once the engine is gone.
    async fn hear(&mut self) -> bool {
        loop {
            match self.ring.recv().await {
                Ok(told) if !self.concerns(&told) => {}
                // Of what was missed, something may have been ours.
                Ok(_) | Err(RecvError::Lagged(_)) => return true,
                Err(RecvError::Closed) => return false,
            }
        }
    }

    fn concerns(&self, told: &Told) -> bool {
        let Told::Item(item) = told else {
            return false;
        };
        match item.signal() {
            Signal::Notice(_) => false,
            signal => signal.session_id() == Some(&self.session),
        }
    }

    /// Forgets what the word to come covers already.
    fn drain(&mut self) {
        loop {
            match self.ring.try_recv() {
                Ok(_) | Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }
}
