//! A connection: statements, values and errors between SQLite and the rest.

use std::collections::HashMap;
use std::future::{Future, ready};
use std::io;
use std::path::Path;
use std::sync::Arc;

use futures::FutureExt as _;
use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode, OpenFlags};
use sessiond_model::SessionId;
use sessiond_store::{StoreError, StoreResult, UnavailableReason};
use sessiond_store_sql::{Arg, Op, Row, Tx, Value};

use crate::incidents::Incidents;

/// Statements that a connection keeps prepared: all there are.
const STATEMENTS: usize = 128;

/// A connection that runs operations.
pub(crate) struct Conn {
    pub(crate) db: Connection,
    /// Statements in SQLite's own spelling, by the address of their constant.
    spelled: HashMap<usize, String>,
    incidents: Arc<Incidents>,
    /// Sessions with rows that could not be read, since last asked.
    pub(crate) damaged: Vec<SessionId>,
}

impl Conn {
    pub(crate) fn open(
        path: &Path,
        flags: OpenFlags,
        incidents: Arc<Incidents>,
    ) -> StoreResult<Self> {
        let db = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(|e| fault("open the database", e))?;
        db.set_prepared_statement_cache_capacity(STATEMENTS);
        // Else SQLite prepares statements anew when a value might change their plan.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
            .map_err(|e| fault("set up a connection", e))?;
        Ok(Self {
            db,
            spelled: HashMap::new(),
            incidents,
            damaged: Vec::new(),
        })
    }

    /// A connection to nothing, while there is no database.
    pub(crate) fn nowhere(incidents: Arc<Incidents>) -> StoreResult<Self> {
        Self::open(
            Path::new(":memory:"),
            OpenFlags::SQLITE_OPEN_READ_WRITE,
            incidents,
        )
    }

    /// Runs an operation. Nothing in it waits, so it is done when this returns.
    pub(crate) fn run<O: Op>(&mut self, op: O) -> StoreResult<O::Out> {
        let done = op.run(self).now_or_never();
        done.unwrap_or_else(|| {
            Err(StoreError::Internal {
                operation: "run an operation",
                source: "it waited for something".into(),
            })
        })
    }

    /// Runs an operation of several statements on one state of the store.
    pub(crate) fn snapshot<O: Op>(&mut self, op: O) -> StoreResult<O::Out> {
        self.control("BEGIN")?;
        let result = self.run(op);
        let end = self.control("COMMIT");
        // The first failure says more than the second.
        let answer = result?;
        end.map(|()| answer)
    }

    /// Runs a statement without values, kept prepared.
    pub(crate) fn control(&self, sql: &'static str) -> StoreResult<()> {
        let run = || self.db.prepare_cached(sql)?.raw_execute().map(drop);
        run().map_err(|e| fault("control a transaction", e))
    }

    fn select(&mut self, sql: &'static str, args: &[Arg<'_>]) -> rusqlite::Result<Vec<Row>> {
        let address = sql.as_ptr().addr();
        let spelled = self.spelled.entry(address).or_insert_with(|| spell(sql));
        answer(self.db.prepare_cached(spelled)?, args)
    }

    /// Runs a statement in SQLite's own spelling.
    pub(crate) fn rows(&self, sql: &str, args: &[Arg<'_>]) -> rusqlite::Result<Vec<Row>> {
        answer(self.db.prepare_cached(sql)?, args)
    }
}

fn answer(mut statement: CachedStatement<'_>, args: &[Arg<'_>]) -> rusqlite::Result<Vec<Row>> {
    for (index, arg) in args.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, bound(arg))?;
    }
    let columns = statement.column_count();
    let mut rows = statement.raw_query();
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let mut values = Vec::with_capacity(columns);
        for column in 0..columns {
            values.push(value(row.get_ref(column)?));
        }
        found.push(Row::new(values));
    }
    Ok(found)
}

impl Tx for Conn {
    fn query(
        &mut self,
        sql: &'static str,
        args: &[Arg<'_>],
    ) -> impl Future<Output = StoreResult<Vec<Row>>> + Send {
        let rows = self.select(sql, args);
        ready(rows.map_err(|e| fault("run a statement", e)))
    }

    fn insert(
        &mut self,
        sql: &'static str,
        _key: &'static str,
        args: &[Arg<'_>],
    ) -> impl Future<Output = StoreResult<i64>> + Send {
        // RETURNING costs SQLite a temporary table.
        let done = self.select(sql, args);
        let key = done.map(|_| self.db.last_insert_rowid());
        ready(key.map_err(|e| fault("insert a row", e)))
    }

    fn damaged(&mut self, session: &SessionId, what: &str) {
        self.incidents.note(format!(
            "{what} of session {session} is not what was written; what is left of it is kept."
        ));
        if !self.damaged.contains(session) {
            self.damaged.push(session.clone());
        }
    }
}

/// `$1` means a *named* parameter to SQLite; the numbered one is `?1`.
pub(crate) fn spell(sql: &str) -> String {
    sql.replace('$', "?")
}

pub(crate) fn bound<'a>(arg: &'a Arg<'a>) -> ToSqlOutput<'a> {
    ToSqlOutput::Borrowed(match arg {
        Arg::Null => ValueRef::Null,
        Arg::Int(value) => ValueRef::Integer(*value),
        Arg::Real(value) => ValueRef::Real(*value),
        Arg::Text(value) => ValueRef::Text(value.as_bytes()),
    })
}

fn value(column: ValueRef<'_>) -> Value {
    match column {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Int(value),
        ValueRef::Real(value) => Value::Real(value),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Bytes(bytes.to_vec()),
        },
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}

/// What an error of SQLite means to the caller.
pub(crate) fn fault(operation: &'static str, error: rusqlite::Error) -> StoreError {
    let reason = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => UnavailableReason::DiskFull,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            UnavailableReason::ReadOnly
        }
        Some(ErrorCode::SystemIoFailure) => UnavailableReason::Io,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => UnavailableReason::Busy,
        _ => {
            return StoreError::Internal {
                operation,
                source: error.into(),
            };
        }
    };
    tracing::warn!(operation, %error, "the store is not available");
    StoreError::Unavailable { reason }
}

/// What an error of the file system means to the caller.
pub(crate) fn io_fault(operation: &'static str, error: io::Error) -> StoreError {
    let reason = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => UnavailableReason::DiskFull,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            UnavailableReason::ReadOnly
        }
        _ => {
            return StoreError::Internal {
                operation,
                source: error.into(),
            };
        }
    };
    tracing::warn!(operation, %error, "the store is not available");
    StoreError::Unavailable { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_in_sqlite() {
        assert_eq!(spell("a = $1 AND b = $12"), "a = ?1 AND b = ?12");
    }

    #[test]
    fn no_statement_grows_with_the_store() {
        let db = Connection::open_in_memory().unwrap();
        for step in sessiond_store_sql::MIGRATIONS {
            let sql = sessiond_store_sql::Dialect::SQLITE.render(step.sql);
            db.execute_batch(&sql).unwrap();
        }
        for sql in sessiond_store_sql::indexed_statements() {
            let explain = format!("EXPLAIN QUERY PLAN {}", spell(sql));
            let mut statement = db.prepare(&explain).unwrap();
            let steps = statement.raw_query().mapped(|row| row.get::<_, String>(3));
            let steps: Vec<String> = steps.map(Result::unwrap).collect();
            let costly = |step: &&String| step.starts_with("SCAN") || step.contains("TEMP B-TREE");
            let costly: Vec<_> = steps.iter().filter(costly).collect();
            assert!(costly.is_empty(), "{costly:?} in {steps:?} of {sql}");
        }
    }
}
