//! The worktree around a turn: what it was, what the turn made of it, and who wrote what.

mod attribute;
mod claims;
mod watch;

use std::path::{Path, PathBuf};
use std::time::Duration;

use sessiond_model::{Coverage, SessionId};
use sessiond_snapshot::{Capture, Limits, Snapshots, Worktree};

pub(crate) use attribute::{Observed, Ours, attribute};
pub(crate) use claims::Claims;
pub(crate) use watch::{Seen, Watch};

/// Time beyond a capture's own limit after which nobody waits for it any more.
const PATIENCE: Duration = Duration::from_secs(5);

/// How worktrees are captured.
#[derive(Clone, Debug, Default)]
pub struct SnapshotConfig {
    /// Where captures are kept; none are made without it.
    pub directory: Option<PathBuf>,
    /// Their limits.
    pub limits: Limits,
}

/// The captures of this server, or why there are none.
#[derive(Clone, Debug)]
pub(crate) struct Captures {
    snapshots: Result<Snapshots, String>,
    patience: Duration,
}

impl Captures {
    /// Blocks.
    pub(crate) fn open(config: &SnapshotConfig) -> Self {
        let snapshots = match &config.directory {
            None => Err("captures are switched off".to_owned()),
            Some(directory) => {
                Snapshots::open(directory.clone(), config.limits.clone()).map_err(|e| {
                    tracing::error!(error = %e, "worktrees can't be captured");
                    e.to_string()
                })
            }
        };
        Self {
            snapshots,
            patience: config.limits.deadline + PATIENCE,
        }
    }

    /// How long somebody waits for a capture.
    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    /// Keeps for `to` what is kept for `from`.
    pub(crate) async fn copy_pins(&self, from: &SessionId, to: &SessionId) {
        let (Ok(snapshots), from, to) = (self.snapshots.clone(), from.clone(), to.clone()) else {
            return;
        };
        let session = to.clone();
        let copied = self.blocking(move || snapshots.copy_pins(&from, &to)).await;
        if let Err(e) = copied.and_then(|done| done.map_err(|e| e.to_string())) {
            // Its reverts then depend on the captures of its origin.
            tracing::warn!(session = %session, error = e, "captures could not be shared with a fork");
        }
    }

    /// Removes what was kept for a session alone.
    ///
    /// # Errors
    /// Why it could not; it is to be tried again.
    pub(crate) async fn forget(&self, session: &SessionId) -> Result<(), String> {
        let (Ok(snapshots), id) = (self.snapshots.clone(), session.clone()) else {
            return Ok(());
        };
        let forgotten = self.blocking(move || snapshots.forget(&id)).await?;
        forgotten.map_err(|e| e.to_string())
    }

    /// The worktree of a directory, or why it is not captured.
    pub(crate) async fn worktree(&self, directory: &str) -> Result<Worktree, String> {
        let snapshots = self.snapshots.clone()?;
        let directory = PathBuf::from(directory);
        let open = move || snapshots.worktree(&directory).map_err(|e| e.to_string());
        self.blocking(open).await?
    }

    /// Runs what blocks on a thread of its own; says so when it takes too long.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        blocking(self.patience, work).await
    }
}

/// Runs what blocks on a thread of its own, for at most `patience`; then it runs on unheard.
pub(crate) async fn blocking<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    match tokio::time::timeout(patience, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(e)) => Err(format!("the capture failed: {e}")),
        Err(_) => Err(format!(
            "the capture took longer than {} s",
            patience.as_secs()
        )),
    }
}

/// A capture that could not be made.
pub(crate) fn nothing(reason: String) -> Capture {
    Capture {
        tree: None,
        coverage: Coverage::None,
        reason: Some(reason),
    }
}

/// Takes a capture, within `patience`.
pub(crate) async fn capture(
    worktree: &Worktree,
    session: &SessionId,
    extra: Vec<PathBuf>,
    patience: Duration,
) -> Capture {
    let (worktree, session) = (worktree.clone(), session.clone());
    blocking(patience, move || worktree.capture(&session, &extra))
        .await
        .unwrap_or_else(nothing)
}

/// When a file's content or name last changed, milliseconds since 1970; `None` when it is not
/// there. The change time of the file system, which no program can set.
pub(crate) fn changed_at(path: &Path) -> Option<sessiond_model::Timestamp> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        Some(sessiond_model::Timestamp(
            meta.ctime() * 1000 + meta.ctime_nsec() / 1_000_000,
        ))
    }
    #[cfg(not(unix))]
    {
        let modified = meta.modified().ok()?;
        let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
        i64::try_from(since.as_millis())
            .ok()
            .map(sessiond_model::Timestamp)
    }
}
