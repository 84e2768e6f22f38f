//! Backups before a migration.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use sessiond_model::Timestamp;
use sessiond_store::{StoreError, StoreResult};

use crate::conn::{fault, io_fault};

/// Backups kept.
const KEPT: usize = 3;

/// Copies the database into `backups/`, checks the copy, and lets go of old ones.
pub(crate) fn back_up(
    db: &Connection,
    path: &Path,
    from: i64,
    now: Timestamp,
) -> StoreResult<PathBuf> {
    let dir = path.parent().unwrap_or(Path::new(".")).join("backups");
    fs::create_dir_all(&dir).map_err(|e| io_fault("make the backup directory", e))?;
    // Names sort by time.
    let stamp = now.to_rfc3339().replace(':', "-");
    let copy = dir.join(format!("{stamp}-schema-{from}.db"));
    let name = copy.to_string_lossy();
    db.execute("VACUUM INTO ?1", [name.as_ref()])
        .map_err(|e| fault("back up the database", e))?;
    let check = || {
        let db = Connection::open(&copy)?;
        db.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
    };
    let verdict = check().map_err(|e| fault("check the backup", e))?;
    if verdict != "ok" {
        return Err(StoreError::Corrupt {
            path: path.to_owned(),
            detail: format!("the backup before the migration failed its check: {verdict}"),
        });
    }
    forget_old(&dir);
    Ok(copy)
}

fn forget_old(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    let mut backups: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "db"))
        .collect();
    backups.sort();
    let surplus = backups.len().saturating_sub(KEPT);
    for old in &backups[..surplus] {
        if let Err(error) = fs::remove_file(old) {
            tracing::warn!(%error, path = %old.display(), "could not remove an old backup");
        }
    }
}
