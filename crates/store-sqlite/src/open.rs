//! How a database is opened: pragmas, schema, epoch.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use sessiond_model::Timestamp;
use sessiond_store::{StoreError, StoreResult};
use sessiond_store_sql::{
    Dialect, META_CLEAN, META_EPOCH, META_MIN_READER, META_MIN_WRITER, META_MOVING,
    META_WRITTEN_BY, MIGRATIONS, Migration, TABLES,
};

use crate::SqliteOptions;
use crate::backup::back_up;
use crate::conn::{Conn, fault};
use crate::incidents::Incidents;
use crate::salvage::{finish_interrupted, is_damage, salvage};

/// Name of the database in its data directory.
pub(crate) const DATABASE: &str = "sessiond.db";

/// A writer waits so long for a program that holds the database.
const BUSY_MS: u32 = 2_000;

/// A database opened for its writer.
pub(crate) struct Opened {
    pub(crate) conn: Conn,
    /// The epoch of this writer.
    pub(crate) epoch: u64,
    /// Whether the last writer did not close it.
    pub(crate) unclean: bool,
}

/// Opens the database for its writer: made, migrated or salvaged when that is needed.
pub(crate) fn open_store(
    path: &Path,
    options: &SqliteOptions,
    incidents: &Arc<Incidents>,
    used_before: bool,
) -> StoreResult<Opened> {
    finish_interrupted(path)?;
    let bytes = |p: &Path| std::fs::metadata(p).map_or(0, |m| m.len());
    if used_before && bytes(path) == 0 && bytes(&path.with_extension("db-wal")) == 0 {
        incidents.note(format!(
            "The database {} was missing or empty although its directory was in use before; a new \
             one was made. If you have a copy, stop sessiond and put it there.",
            path.display()
        ));
    }
    match open_writer(path, options, incidents) {
        Err(error) if is_damage(&error) => {
            let now = options.clock.now();
            incidents.note(salvage(path, &cause(&error), now)?);
            open_writer(path, options, incidents)
        }
        done => done,
    }
}

/// The cause of a fault, without what was being done.
pub(crate) fn cause(error: &StoreError) -> String {
    match error {
        StoreError::Internal { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

fn open_writer(
    path: &Path,
    options: &SqliteOptions,
    incidents: &Arc<Incidents>,
) -> StoreResult<Opened> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let conn = Conn::open(path, flags, incidents.clone())?;
    let mut pragmas = format!(
        "PRAGMA busy_timeout = {BUSY_MS};
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA secure_delete = ON;
         PRAGMA cache_size = -8192;
         PRAGMA mmap_size = 0;
         PRAGMA temp_store = MEMORY;
         PRAGMA journal_size_limit = 4194304;"
    );
    if let Some(pages) = options.max_pages {
        pragmas.push_str(&format!("PRAGMA max_page_count = {pages};"));
    }
    let setup = conn.db.execute_batch(&pragmas);
    setup.map_err(|e| fault("set up the database", e))?;
    prepare_schema(
        &conn.db,
        path,
        MIGRATIONS,
        &options.version,
        options.clock.now(),
    )?;
    let half = meta(&conn.db, META_MOVING).map_err(|e| fault("read the mark of a move", e))?;
    if half.is_some() {
        return Err(StoreError::HalfMoved {
            path: path.to_owned(),
        });
    }
    let (epoch, unclean) = next_epoch(&conn.db).map_err(|e| fault("begin an epoch", e))?;
    Ok(Opened {
        conn,
        epoch,
        unclean,
    })
}

/// Opens the database for a reader.
pub(crate) fn open_reader(path: &Path, incidents: &Arc<Incidents>) -> StoreResult<Conn> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let conn = Conn::open(path, flags, incidents.clone())?;
    let setup = conn.db.execute_batch(&format!(
        "PRAGMA busy_timeout = {BUSY_MS};
         PRAGMA query_only = ON;
         PRAGMA cache_size = -2048;
         PRAGMA mmap_size = 0;
         PRAGMA temp_store = MEMORY;"
    ));
    setup.map_err(|e| fault("set up a reader", e))?;
    Ok(conn)
}

/// A fact that the store keeps about itself.
pub(crate) fn meta(db: &Connection, name: &str) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    db.query_row(sql, [name], |row| row.get(0)).optional()
}

/// Sets a fact that the store keeps about itself.
pub(crate) fn set_meta(db: &Connection, name: &str, value: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    db.execute(sql, [name, value]).map(drop)
}

/// Every writer gets an epoch of its own, so that what it left behind can't write later.
/// Also tells whether the last writer left without closing.
fn next_epoch(db: &Connection) -> rusqlite::Result<(u64, bool)> {
    let tx = db.unchecked_transaction()?;
    let last = meta(db, META_EPOCH)?.and_then(|e| e.parse().ok());
    let epoch = last.unwrap_or(0u64) + 1;
    let clean = meta(db, META_CLEAN)?;
    set_meta(db, META_EPOCH, &epoch.to_string())?;
    set_meta(db, META_CLEAN, "0")?;
    tx.commit()?;
    Ok((epoch, clean.as_deref() == Some("0")))
}

/// Notes that the writer closes the database in order.
pub(crate) fn mark_clean(db: &Connection) -> rusqlite::Result<()> {
    set_meta(db, META_CLEAN, "1")
}

/// The newest step that a database has taken; `None` when it has no schema of ours.
pub(crate) fn schema_version(db: &Connection) -> StoreResult<Option<i64>> {
    let failed = |e| fault("read the schema version", e);
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name = 'migration'";
    let has_schema: bool = db.query_row(sql, [], |row| row.get(0)).map_err(failed)?;
    if !has_schema {
        return Ok(None);
    }
    let sql = "SELECT coalesce(max(version), 0) FROM migration";
    let found = db.query_row(sql, [], |row| row.get(0));
    found.map(Some).map_err(failed)
}

/// Brings the schema up to date: refuses a newer one, backs an older one up first.
pub(crate) fn prepare_schema(
    db: &Connection,
    path: &Path,
    history: &[Migration],
    version: &str,
    now: Timestamp,
) -> StoreResult<()> {
    let check = |e| fault("read the schema version", e);
    let found = schema_version(db)?;
    let (has_schema, current) = (found.is_some(), found.unwrap_or(0));
    let supported = history.last().map_or(0, |step| step.version);
    if current > supported {
        let min_writer = meta(db, META_MIN_WRITER).map_err(check)?;
        let min_writer = min_writer.and_then(|v| v.parse().ok()).unwrap_or(current);
        if min_writer > supported {
            return Err(StoreError::TooNew {
                path: path.to_owned(),
                found: current,
                supported,
                needed: meta(db, META_WRITTEN_BY)
                    .map_err(check)?
                    .unwrap_or_default(),
            });
        }
        return Ok(());
    }
    if has_schema {
        check_history(db, history).map_err(check)?;
    }
    let pending: Vec<&Migration> = history.iter().filter(|m| m.version > current).collect();
    if pending.is_empty() {
        return Ok(());
    }
    if !has_schema {
        return migrate(db, path, &pending, version, now, &[]);
    }
    let backup = back_up(db, path, current, now)?;
    tracing::info!(from = current, to = supported, backup = %backup.display(), "migrating");
    migrate(db, path, &pending, version, now, TABLES)
}

/// Warns when the store was made by another text of the same steps: steps are never changed, so
/// that is a program built from elsewhere.
fn check_history(db: &Connection, history: &[Migration]) -> rusqlite::Result<()> {
    let mut select = db.prepare("SELECT version, checksum FROM migration")?;
    let taken = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for step in taken {
        let (version, checksum): (i64, String) = step?;
        let known = history.iter().find(|m| m.version == version);
        if known.is_some_and(|m| m.checksum() != checksum) {
            tracing::warn!(version, "the schema was made by another text of this step");
        }
    }
    Ok(())
}

/// Takes steps of the history in one transaction. The rows of `counted` tables must be as many
/// after it as before.
fn migrate(
    db: &Connection,
    path: &Path,
    steps: &[&Migration],
    version: &str,
    now: Timestamp,
    counted: &[&str],
) -> StoreResult<()> {
    let failed = |e| fault("migrate the database", e);
    let tx = db.unchecked_transaction().map_err(failed)?;
    // Tables that a step adds have no rows to lose.
    let counted = existing(&tx, counted).map_err(failed)?;
    let before = count_rows(&tx, &counted).map_err(failed)?;
    let take = || {
        for step in steps {
            tx.execute_batch(&Dialect::SQLITE.render(step.sql))?;
            tx.execute(
                "INSERT INTO migration (version, name, checksum, applied_at) \
                 VALUES (?1, ?2, ?3, ?4)",
                params![step.version, step.name, step.checksum(), now.millis()],
            )?;
            set_meta(&tx, META_MIN_READER, &step.min_reader.to_string())?;
            set_meta(&tx, META_MIN_WRITER, &step.min_writer.to_string())?;
        }
        set_meta(&tx, META_WRITTEN_BY, version)
    };
    take().map_err(failed)?;
    let after = count_rows(&tx, &counted).map_err(failed)?;
    if before != after {
        // Dropping the transaction rolls it back.
        return Err(StoreError::Corrupt {
            path: path.to_owned(),
            detail: format!(
                "a migration would have changed the number of rows from {before:?} \
                             to {after:?}; nothing was changed"
            ),
        });
    }
    tx.commit().map_err(failed)
}

fn existing<'a>(db: &Connection, tables: &[&'a str]) -> rusqlite::Result<Vec<&'a str>> {
    let mut exists =
        db.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1")?;
    let mut found = Vec::with_capacity(tables.len());
    for table in tables {
        if exists.exists([table])? {
            found.push(*table);
        }
    }
    Ok(found)
}

fn count_rows(db: &Connection, tables: &[&str]) -> rusqlite::Result<Vec<i64>> {
    let count = |table: &&str| {
        let sql = format!("SELECT count(*) FROM {table}");
        db.query_row(&sql, [], |row| row.get(0))
    };
    tables.iter().map(count).collect()
}

#[cfg(test)]
mod tests {
    use sessiond_store_sql::SCHEMA;

    use super::*;

    const NOW: Timestamp = Timestamp(1_795_364_893_636);

    fn step(version: i64, sql: &'static str) -> Migration {
        Migration {
            version,
            name: "test",
            sql,
            min_reader: SCHEMA,
            min_writer: version,
        }
    }

    fn schema_of(db: &Connection) -> Vec<(String, Option<String>)> {
        let sql = "SELECT name, sql FROM sqlite_schema ORDER BY name";
        let mut select = db.prepare(sql).unwrap();
        let rows = select
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        rows.map(Result::unwrap).collect()
    }

    fn store(dir: &Path) -> (Connection, std::path::PathBuf) {
        let path = dir.join(DATABASE);
        let db = Connection::open(&path).unwrap();
        prepare_schema(&db, &path, MIGRATIONS, "0.1.0", NOW).unwrap();
        db.execute("INSERT INTO profile (name, doc) VALUES ('a', '{}')", [])
            .unwrap();
        (db, path)
    }

    #[test]
    fn a_fresh_schema_is_the_migrated_one() {
        let dir = tempfile::tempdir().unwrap();
        let (migrated, path) = store(dir.path());
        let mut history = MIGRATIONS.to_vec();
        history.push(step(SCHEMA + 1, "CREATE TABLE more (a {key}, b TEXT);"));
        prepare_schema(&migrated, &path, &history, "0.2.0", NOW).unwrap();
        let fresh = Connection::open_in_memory().unwrap();
        prepare_schema(&fresh, &path, &history, "0.2.0", NOW).unwrap();
        assert_eq!(schema_of(&fresh), schema_of(&migrated));
    }

    #[test]
    fn every_released_schema_is_migrated_with_its_rows() {
        for known in 1..MIGRATIONS.len() {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(DATABASE);
            let db = Connection::open(&path).unwrap();
            prepare_schema(&db, &path, &MIGRATIONS[..known], "0.1.0", NOW).unwrap();
            db.execute("INSERT INTO profile (name, doc) VALUES ('a', '{}')", [])
                .unwrap();
            prepare_schema(&db, &path, MIGRATIONS, "0.2.0", NOW).unwrap();
            assert_eq!(count_rows(&db, &["profile"]).unwrap(), [1]);
        }
    }

    #[test]
    fn a_migration_leaves_a_checked_backup() {
        let dir = tempfile::tempdir().unwrap();
        let (db, path) = store(dir.path());
        let mut history = MIGRATIONS.to_vec();
        for n in 1..=5 {
            history.push(step(SCHEMA + n, "UPDATE profile SET doc = doc || ' ';"));
            let now = NOW.plus_millis(n * 1_000);
            prepare_schema(&db, &path, &history, "0.2.0", now).unwrap();
        }
        let backups: Vec<_> = std::fs::read_dir(dir.path().join("backups"))
            .unwrap()
            .collect();
        assert_eq!(backups.len(), 3);
        for backup in backups {
            let copy = Connection::open(backup.unwrap().path()).unwrap();
            let rows = count_rows(&copy, &["profile"]).unwrap();
            assert_eq!(rows, [1]);
        }
    }

    #[test]
    fn a_migration_that_loses_rows_is_rolled_back() {
        let dir = tempfile::tempdir().unwrap();
        let (db, path) = store(dir.path());
        let mut history = MIGRATIONS.to_vec();
        history.push(step(SCHEMA + 1, "DELETE FROM profile;"));
        let error = prepare_schema(&db, &path, &history, "0.2.0", NOW).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }));
        assert_eq!(count_rows(&db, &["profile"]).unwrap(), [1]);
        history.pop();
        history.push(step(SCHEMA + 1, "THIS IS NOT SQL;"));
        prepare_schema(&db, &path, &history, "0.2.0", NOW).unwrap_err();
        let steps = i64::try_from(MIGRATIONS.len()).unwrap();
        assert_eq!(
            count_rows(&db, &["profile", "migration"]).unwrap(),
            [1, steps]
        );
        prepare_schema(&db, &path, MIGRATIONS, "0.1.0", NOW).unwrap();
    }

    #[test]
    fn a_newer_schema_is_refused_unless_it_lets_us_write() {
        let dir = tempfile::tempdir().unwrap();
        let (db, path) = store(dir.path());
        let mut history = MIGRATIONS.to_vec();
        let compatible = Migration {
            min_writer: SCHEMA,
            ..step(SCHEMA + 1, "CREATE TABLE more (a {key});")
        };
        history.push(compatible);
        prepare_schema(&db, &path, &history, "0.2.0", NOW).unwrap();
        prepare_schema(&db, &path, MIGRATIONS, "0.1.0", NOW).unwrap();
        history.push(step(SCHEMA + 2, "CREATE TABLE most (a {key});"));
        prepare_schema(&db, &path, &history, "0.3.0", NOW).unwrap();
        let error = prepare_schema(&db, &path, MIGRATIONS, "0.1.0", NOW).unwrap_err();
        assert!(
            matches!(&error, StoreError::TooNew { found, supported, needed, .. }
            if *found == SCHEMA + 2 && *supported == SCHEMA && needed == "0.3.0")
        );
        assert_eq!(error.to_string().lines().count(), 1);
    }
}
