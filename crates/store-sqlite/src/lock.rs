//! The lock on a data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sessiond_store::{StoreError, StoreResult};

use crate::conn::io_fault;

const NAME: &str = "sessiond.lock";

/// Who holds a directory, as written in its lock file.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    url: Option<String>,
}

/// A held data directory. The operating system lets go of it when the process ends, however
/// it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    file: Mutex<File>,
    used_before: bool,
}

impl Lock {
    /// Takes the directory.
    pub(crate) fn take(dir: &Path, url: Option<&str>) -> StoreResult<Self> {
        let used_before = dir.join(NAME).exists();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(NAME))
            .map_err(|e| io_fault("open the lock file", e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                // What it says is for people; the lock itself is what counts.
                let _ = file.read_to_string(&mut text);
                let holder = serde_json::from_str(&text).unwrap_or(Holder { pid: 0, url: None });
                return Err(StoreError::Locked {
                    path: dir.to_owned(),
                    pid: holder.pid,
                    url: holder.url,
                });
            }
            Err(TryLockError::Error(e)) => return Err(io_fault("lock the data directory", e)),
        }
        let lock = Self {
            file: Mutex::new(file),
            used_before,
        };
        lock.tell(url)?;
        Ok(lock)
    }

    /// Whether a process has held the directory before.
    pub(crate) fn used_before(&self) -> bool {
        self.used_before
    }

    /// Lets go of the directory.
    pub(crate) fn release(&self) {
        if let Err(error) = self.file.lock().unlock() {
            tracing::warn!(%error, "could not release the data directory");
        }
    }

    /// Writes who holds it.
    pub(crate) fn tell(&self, url: Option<&str>) -> StoreResult<()> {
        let holder = Holder {
            pid: std::process::id(),
            url: url.map(str::to_owned),
        };
        let text = serde_json::to_string(&holder).unwrap_or_default();
        let mut file = self.file.lock();
        (|| {
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(text.as_bytes())
        })()
        .map_err(|e| io_fault("write the lock file", e))
    }
}
