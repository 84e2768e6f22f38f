//! Work that blocks: on threads of its own, a few at a time, and not for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::{Result, WorkspaceError};

/// Longest that anything here takes.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
/// Done at the same time, in all; the others wait.
static SLOTS: Semaphore = Semaphore::const_new(8);

/// When to stop: nobody waits any more, or it has taken too long.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    dropped: Arc<AtomicBool>,
    until: Instant,
}

impl Stop {
    pub(crate) fn check(&self) -> Result<()> {
        if self.dropped.load(Ordering::Relaxed) || Instant::now() >= self.until {
            return Err(timed_out());
        }
        Ok(())
    }
}

struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn timed_out() -> WorkspaceError {
    WorkspaceError::TimedOut(DEADLINE.as_secs())
}

/// A turn to work.
pub(crate) async fn slot() -> Result<tokio::sync::SemaphorePermit<'static>> {
    match tokio::time::timeout(DEADLINE, SLOTS.acquire()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(timed_out()),
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&Stop) -> Result<T> + Send + 'static,
) -> Result<T> {
    let permit = slot().await?;
    let dropped = Arc::new(AtomicBool::new(false));
    let _stop = OnDrop(dropped.clone());
    let stop = Stop {
        dropped,
        until: Instant::now() + DEADLINE,
    };
    tokio::task::spawn_blocking(move || {
        let _permit = permit;
        work(&stop)
    })
    .await
    // The work panicked, or the process ends.
    .unwrap_or_else(|_| Err(timed_out()))
}
