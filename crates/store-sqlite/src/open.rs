//! How a database is opened: pragmas, schema, epoch.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{OpenFlags, OptionalExtension as _, params};
use sessiond_model::Timestamp;
use sessiond_store::{StoreError, StoreResult};
use sessiond_store_sql::{
    Dialect, META_EPOCH, META_MIN_READER, META_MIN_WRITER, META_WRITTEN_BY, MIGRATIONS, Migration,
    SCHEMA,
};

use crate::SqliteOptions;
use crate::conn::{Conn, fault};
use crate::incidents::Incidents;

/// Name of the database in its data directory.
pub(crate) const DATABASE: &str = "sessiond.db";

/// A writer waits so long for a program that holds the database.
const BUSY_MS: u32 = 2_000;

/// Opens the database for its writer: made or migrated when that is needed.
pub(crate) fn open_writer(
    path: &Path,
    options: &SqliteOptions,
    incidents: &Arc<Incidents>,
) -> StoreResult<(Conn, u64)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let conn = Conn::open(path, flags, incidents.clone())?;
    let mut pragmas = format!(
        "PRAGMA busy_timeout = {BUSY_MS};
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
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
    prepare_schema(&conn, path, &options.version, options.clock.now())?;
    let epoch = next_epoch(&conn).map_err(|e| fault("begin an epoch", e))?;
    Ok((conn, epoch))
}

/// Opens the database for a reader.
pub(crate) fn open_reader(path: &Path, incidents: &Arc<Incidents>) -> StoreResult<Conn> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let conn = Conn::open(path, flags, incidents.clone())?;
    let setup = conn.db.execute_batch(&format!(
        "PRAGMA busy_timeout = {BUSY_MS};
         PRAGMA query_only = ON;
         PRAGMA cache_size = -1024;
         PRAGMA mmap_size = 0;
         PRAGMA temp_store = MEMORY;"
    ));
    setup.map_err(|e| fault("set up a reader", e))?;
    Ok(conn)
}

fn meta(conn: &Conn, name: &str) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT value FROM meta WHERE name = ?1";
    let mut statement = conn.db.prepare(sql)?;
    statement.query_row([name], |row| row.get(0)).optional()
}

fn set_meta(conn: &Conn, name: &str, value: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    conn.db.execute(sql, [name, value]).map(drop)
}

/// Every writer gets an epoch of its own, so that what it left behind can't write later.
fn next_epoch(conn: &Conn) -> rusqlite::Result<u64> {
    let last = meta(conn, META_EPOCH)?.and_then(|e| e.parse().ok());
    let epoch = last.unwrap_or(0u64) + 1;
    set_meta(conn, META_EPOCH, &epoch.to_string())?;
    Ok(epoch)
}

fn prepare_schema(conn: &Conn, path: &Path, version: &str, now: Timestamp) -> StoreResult<()> {
    let check = |e| fault("read the schema version", e);
    let has_schema: bool = conn
        .db
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name = 'migration'",
            [],
            |row| row.get(0),
        )
        .map_err(check)?;
    let current: i64 = if has_schema {
        let sql = "SELECT coalesce(max(version), 0) FROM migration";
        conn.db
            .query_row(sql, [], |row| row.get(0))
            .map_err(check)?
    } else {
        0
    };
    if current > SCHEMA {
        let min_writer = meta(conn, META_MIN_WRITER).map_err(check)?;
        let min_writer: i64 = min_writer.and_then(|v| v.parse().ok()).unwrap_or(current);
        if min_writer > SCHEMA {
            return Err(StoreError::TooNew {
                path: path.to_owned(),
                found: current,
                supported: SCHEMA,
                needed: (meta(conn, META_WRITTEN_BY).map_err(check)?).unwrap_or_default(),
            });
        }
        return Ok(());
    }
    let pending: Vec<&Migration> = MIGRATIONS.iter().filter(|m| m.version > current).collect();
    if pending.is_empty() {
        return Ok(());
    }
    apply(conn, &pending, version, now).map_err(|e| fault("migrate the database", e))
}

fn apply(conn: &Conn, steps: &[&Migration], version: &str, now: Timestamp) -> rusqlite::Result<()> {
    let tx = conn.db.unchecked_transaction()?;
    for step in steps {
        tx.execute_batch(&Dialect::SQLITE.render(step.sql))?;
        tx.execute(
            "INSERT INTO migration (version, name, checksum, applied_at) VALUES (?1, ?2, ?3, ?4)",
            params![step.version, step.name, step.checksum(), now.millis()],
        )?;
        set_meta(conn, META_MIN_READER, &step.min_reader.to_string())?;
        set_meta(conn, META_MIN_WRITER, &step.min_writer.to_string())?;
    }
    set_meta(conn, META_WRITTEN_BY, version)?;
    tx.commit()
}
