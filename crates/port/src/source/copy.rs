//! A copy of a database that others may be writing.
//!
//! SQLite can't open a database with a write-ahead log without writing beside it (locks and the
//! index of the log), and with `immutable` it would not see the log. So the two files are copied,
//! byte by byte, and the copy is opened. It is consistent when no checkpoint moved pages from the
//! log into the database meanwhile: what is appended to the log only adds transactions, and a half
//! one at its end does not count.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::SourceError;

/// How often a copy is begun anew.
const TRIES: u32 = 40;
/// File systems count time in ticks: within one, a change may not show.
const TICK: Duration = Duration::from_millis(50);
/// The part of a log that changes when it is begun anew.
const LOG_HEADER: usize = 32;

/// What must not change while the files are copied.
#[derive(Debug, PartialEq, Eq)]
struct State {
    modified: SystemTime,
    bytes: u64,
    log: Option<Vec<u8>>,
}

fn state(db: &Path, log: &Path) -> io::Result<State> {
    let meta = fs::metadata(db)?;
    let log = match File::open(log) {
        Ok(file) => {
            let mut header = Vec::new();
            file.take(LOG_HEADER as u64).read_to_end(&mut header)?;
            Some(header)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    Ok(State {
        modified: meta.modified()?,
        bytes: meta.len(),
        log,
    })
}

/// Copies the database at `path`; answers the directory of the copy, which is removed when it is
/// dropped, and the copy.
pub(super) fn copy(path: &Path) -> Result<(TempDir, PathBuf), SourceError> {
    let fault = |what, path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => SourceError::Missing { path },
            _ => SourceError::Io { what, path, source },
        }
    };
    let dir = tempfile::Builder::new()
        .prefix("sessiond-import-")
        .tempdir()
        .map_err(fault("make a directory in", &std::env::temp_dir()))?;
    let (to_db, to_log) = (dir.path().join("copy.db"), dir.path().join("copy.db-wal"));
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log = PathBuf::from(log);
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(TICK);
        }
        let before = state(path, &log).map_err(fault("read", path))?;
        // Changed just now: another change within the same tick would not show.
        if before.modified.elapsed().is_ok_and(|age| age < TICK) {
            continue;
        }
        fs::copy(path, &to_db).map_err(fault("copy", path))?;
        match fs::copy(&log, &to_log) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let _ = fs::remove_file(&to_log);
            }
            Err(e) => return Err(fault("copy", &log)(e)),
        }
        if state(path, &log).map_err(fault("read", path))? == before {
            return Ok((dir, to_db));
        }
    }
    Err(SourceError::Busy {
        path: path.to_owned(),
    })
}
