//! A SQLite database as one side of a move.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags, params};
use sessiond_model::Timestamp;
use sessiond_store::{StoreError, StoreResult, UnavailableReason};
use sessiond_store_sql::moving::{MoveError, Site, Table, same_schema};
use sessiond_store_sql::{
    Arg, META_CLEAN, META_EPOCH, META_MOVING, MIGRATIONS, Row, SCHEMA, Value,
};

use crate::conn::{Conn, bound, fault, io_fault, spell};
use crate::incidents::Incidents;
use crate::lock::Lock;
use crate::open::{DATABASE, meta, open_reader, prepare_schema, schema_version, set_meta};

/// A database that nobody serves while this is held.
pub struct SqliteSite {
    conn: Conn,
    name: String,
    opened: String,
    /// None for a source on a disk that can't be written: nobody serves that.
    _lock: Option<Lock>,
}

impl std::fmt::Debug for SqliteSite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SqliteSite").field(&self.name).finish()
    }
}

/// The database of a path: a data directory, or the file in it.
fn database(path: &Path) -> PathBuf {
    let is_file = path.is_file() || path.file_name().is_some_and(|name| name == DATABASE);
    if is_file {
        path.to_owned()
    } else {
        path.join(DATABASE)
    }
}

fn at(place: &str) -> impl Fn(StoreError) -> MoveError + use<> {
    let place = place.to_owned();
    move |source| match source {
        StoreError::Locked { pid, url, .. } => MoveError::InUse {
            place: place.clone(),
            by: match url {
                Some(url) => format!("process {pid} ({url})"),
                None => format!("process {pid}"),
            },
        },
        source => MoveError::Store {
            place: place.clone(),
            source,
        },
    }
}

impl SqliteSite {
    /// Opens a database to read it: a data directory, or the file in it.
    ///
    /// # Errors
    /// `Absent`, `InUse`, `Schema`, `Store`.
    pub fn source(path: &Path) -> Result<Self, MoveError> {
        let path = database(path);
        let name = format!("sqlite:{}", path.display());
        let fail = at(&name);
        let dir = path.parent().filter(|_| path.is_file());
        let Some(dir) = dir else {
            return Err(MoveError::Absent { place: name });
        };
        let lock = match Lock::take(dir, None) {
            Ok(lock) => Some(lock),
            Err(StoreError::Unavailable {
                reason: UnavailableReason::ReadOnly,
            }) => None,
            Err(error) => return Err(fail(error)),
        };
        let conn = open_reader(&path, &Arc::<Incidents>::default()).map_err(&fail)?;
        let found = schema_version(&conn.db).map_err(&fail)?;
        let Some(found) = found else {
            return Err(MoveError::Absent { place: name });
        };
        same_schema(&name, found, SCHEMA)?;
        let half = meta(&conn.db, META_MOVING).map_err(|e| fail(fault("read the mark", e)))?;
        if half.is_some() {
            return Err(fail(StoreError::HalfMoved { path }));
        }
        Self::opened(conn, name, lock)
    }

    fn opened(conn: Conn, name: String, lock: Option<Lock>) -> Result<Self, MoveError> {
        let fail = at(&name);
        let opened = stamp(&conn.db).map_err(|e| fail(fault("read the clock", e)))?;
        Ok(Self {
            conn,
            name,
            opened,
            _lock: lock,
        })
    }

    /// Opens a database to fill it, and makes it when it is not there. `program` is the version
    /// that its schema is said to be of.
    ///
    /// # Errors
    /// `InUse`, `Schema`, `Store`.
    pub fn target(path: &Path, program: &str, now: Timestamp) -> Result<Self, MoveError> {
        let path = database(path);
        let name = format!("sqlite:{}", path.display());
        let fail = at(&name);
        let dir = path.parent().unwrap_or(Path::new("."));
        make_private(dir).map_err(|e| fail(io_fault("make the data directory", e)))?;
        let lock = Lock::take(dir, None).map_err(&fail)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let conn = Conn::open(&path, flags, Arc::default()).map_err(&fail)?;
        if let Some(found) = schema_version(&conn.db).map_err(&fail)? {
            same_schema(&name, found, SCHEMA)?;
        }
        let setup = conn.db.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA foreign_keys = ON;
             PRAGMA cache_size = -8192;
             PRAGMA temp_store = MEMORY;",
        );
        setup.map_err(|e| fail(fault("set up the database", e)))?;
        prepare_schema(&conn.db, &path, MIGRATIONS, program, now).map_err(&fail)?;
        Self::opened(conn, name, Some(lock))
    }
}

/// Makes a directory that nobody else looks into.
fn make_private(dir: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(dir)
}

/// Every writer gets an epoch of its own.
fn stamp(db: &Connection) -> rusqlite::Result<String> {
    let sql = "SELECT 'event ' || c.seq || ', epoch ' || coalesce(m.value, '0') \
               FROM clock c LEFT JOIN meta m ON m.name = ?1 WHERE c.id = 1";
    db.query_row(sql, [META_EPOCH], |row| row.get(0))
}

impl Site for SqliteSite {
    fn name(&self) -> &str {
        &self.name
    }

    async fn query(&mut self, sql: &str, args: &[Arg<'_>]) -> StoreResult<Vec<Row>> {
        let rows = self.conn.rows(&spell(sql), args);
        rows.map_err(|e| fault("run a statement", e))
    }

    async fn insert(&mut self, table: &Table, rows: &[Vec<Value>]) -> StoreResult<()> {
        let (name, names, values) = (table.name, table.names(), table.placeholders());
        let sql = spell(&format!("INSERT INTO {name} ({names}) VALUES ({values})"));
        let insert = || {
            let mut insert = self.conn.db.prepare_cached(&sql)?;
            for row in rows {
                for (index, value) in row.iter().enumerate() {
                    insert.raw_bind_parameter(index + 1, bound(&value.arg()))?;
                }
                insert.raw_execute()?;
            }
            Ok(())
        };
        insert().map_err(|e| fault("insert rows", e))
    }

    async fn begin(&mut self) -> StoreResult<()> {
        self.conn.control("BEGIN IMMEDIATE")
    }

    async fn commit(&mut self) -> StoreResult<()> {
        self.conn.control("COMMIT")
    }

    fn opened(&self) -> &str {
        &self.opened
    }

    async fn stamp(&mut self) -> StoreResult<String> {
        stamp(&self.conn.db).map_err(|e| fault("read the clock", e))
    }

    async fn epoch(&mut self) -> StoreResult<u64> {
        let sql = "SELECT max(coalesce((SELECT CAST(value AS BIGINT) FROM meta WHERE name = ?1), 0), \
                   coalesce((SELECT max(epoch) FROM session), 0))";
        let epoch = self.conn.db.query_row(sql, [META_EPOCH], |row| row.get(0));
        epoch
            .map(i64::cast_unsigned)
            .map_err(|e| fault("read the epoch", e))
    }

    async fn settle(&mut self, epoch: u64) -> StoreResult<()> {
        // SQLite numbers new rows after those that are there.
        let own = self.epoch().await?;
        let set = || {
            set_meta(&self.conn.db, META_EPOCH, &epoch.max(own).to_string())?;
            set_meta(&self.conn.db, META_CLEAN, "1")
        };
        set().map_err(|e| fault("set the epoch", e))
    }

    async fn mark(&mut self, mark: &str) -> Result<(), MoveError> {
        // The lock on the directory keeps everybody away.
        let sql = "INSERT INTO meta (name, value) VALUES (?1, ?2) \
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        let marked = self.conn.db.execute(sql, params![META_MOVING, mark]);
        let fail = at(&self.name);
        marked
            .map(drop)
            .map_err(|e| fail(fault("mark the database", e)))
    }
}
