//! What is done with a damaged database: it is kept aside as it is, and every row that can
//! still be read goes into a fresh one.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use sessiond_model::Timestamp;
use sessiond_store::{StoreError, StoreResult};
use sessiond_store_sql::{Dialect, META_EPOCH, MIGRATIONS, TABLES};

use crate::conn::{fault, io_fault};
use crate::regrow::{Table, regrow};
use crate::template;

/// Rows skipped one by one behind a bad one, before the steps grow.
const PATIENCE: i64 = 64;
/// No row number is larger.
const LAST_ROW: i64 = 1 << 40;
/// Tables about the database itself.
const OWN_TABLES: [&str; 3] = ["meta", "migration", "clock"];

/// Whether an error says that the database itself is damaged.
pub(crate) fn is_damage(error: &StoreError) -> bool {
    let StoreError::Internal { source, .. } = error else {
        return false;
    };
    source
        .downcast_ref::<rusqlite::Error>()
        .and_then(rusqlite::Error::sqlite_error_code)
        .is_some_and(|code| {
            matches!(
                code,
                rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase
            )
        })
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Removes a database and what belongs to it, as far as it is there.
fn remove(path: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        // What is not there need not be removed; what can't be is overwritten or reported.
        let _ = fs::remove_file(beside(path, suffix));
    }
}

/// Ends a salvage that a crash has cut off: the damaged database is only moved away once the
/// fresh one is whole.
pub(crate) fn finish_interrupted(path: &Path) -> StoreResult<()> {
    let fresh = beside(path, ".new");
    if path.exists() || !fresh.exists() {
        return Ok(());
    }
    put_in_place(path, &fresh)
}

fn put_in_place(path: &Path, fresh: &Path) -> StoreResult<()> {
    remove(path);
    fs::rename(fresh, path).map_err(|e| io_fault("put the salvaged database in place", e))
}

/// Sets the damaged database aside, saves its rows into a fresh one at the same place and
/// gives a sentence for people.
pub(crate) fn salvage(path: &Path, why: &str, now: Timestamp) -> StoreResult<String> {
    let aside = set_aside(path, now)?;
    let scratch = beside(path, ".scratch");
    let fresh = beside(path, ".new");
    remove(&scratch);
    remove(&fresh);
    let copied = fs::copy(path, &scratch);
    copied.map_err(|e| io_fault("copy the damaged database", e))?;
    if beside(path, "-wal").exists() {
        let copied = fs::copy(beside(path, "-wal"), beside(&scratch, "-wal"));
        copied.map_err(|e| io_fault("copy the damaged database", e))?;
    }
    let report = rebuild(&scratch, &fresh).map_err(|e| fault("salvage the database", e))?;
    fs::File::open(&fresh)
        .and_then(|f| f.sync_all())
        .map_err(|e| io_fault("write the salvaged database", e))?;
    put_in_place(path, &fresh)?;
    remove(&scratch);
    Ok(format!(
        "The database was damaged ({why}). It is kept in {}; {report}",
        aside.display()
    ))
}

/// Copies the damaged files to a directory of their own.
fn set_aside(path: &Path, now: Timestamp) -> StoreResult<PathBuf> {
    let dir = path.parent().unwrap_or(Path::new(".")).join("quarantine");
    let stamp = now.to_rfc3339().replace(':', "-");
    let mut aside = dir.join(&stamp);
    let mut n = 1;
    while aside.exists() {
        n += 1;
        aside = dir.join(format!("{stamp}-{n}"));
    }
    let copy = || {
        fs::create_dir_all(&aside)?;
        for suffix in ["", "-wal"] {
            let from = beside(path, suffix);
            if let (true, Some(name)) = (from.exists(), from.file_name()) {
                fs::copy(&from, aside.join(name))?;
            }
        }
        Ok(())
    };
    copy().map_err(|e| io_fault("set the damaged database aside", e))?;
    Ok(aside)
}

/// What a salvage saved and lost.
#[derive(Debug, Default)]
struct Report {
    sessions: i64,
    messages: i64,
    /// Places in tables where rows could not be read.
    gaps: Vec<String>,
    /// Rows dropped because what they belong to is lost.
    orphans: usize,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            sessions,
            messages,
            gaps,
            orphans,
        } = self;
        write!(f, "{sessions} sessions with {messages} messages were saved")?;
        if gaps.is_empty() && *orphans == 0 {
            return write!(f, ", and no row was lost.");
        }
        write!(f, "; lost: {} unreadable places", gaps.len())?;
        if !gaps.is_empty() {
            write!(f, " ({})", gaps.join(", "))?;
        }
        write!(f, ", {orphans} rows whose session or message is lost.")
    }
}

fn rebuild(scratch: &Path, fresh: &Path) -> rusqlite::Result<Report> {
    let target = Connection::open(fresh)?;
    target.execute_batch(
        "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF;",
    )?;
    for step in MIGRATIONS {
        target.execute_batch(&Dialect::SQLITE.render(step.sql))?;
    }
    let mut report = Report::default();
    let source = open_damaged(scratch, fresh, &mut report)?;
    target.execute_batch("BEGIN")?;
    for table in OWN_TABLES {
        copy_table(&source, &target, "REPLACE", table, &mut report)?;
    }
    for table in TABLES {
        copy_table(&source, &target, "INSERT", table, &mut report)?;
    }
    mend(&target, &mut report)?;
    target.execute_batch("COMMIT")?;
    Ok(report)
}

/// Opens a copy of the damaged database. Where its first pages are damaged, they are replaced
/// by those of a fresh one, because the schema is known; where inner pages of its tables are,
/// these get new ones.
fn open_damaged(scratch: &Path, fresh: &Path, report: &mut Report) -> rusqlite::Result<Connection> {
    let mut source = open_copy(scratch);
    if let Err(error) = &source {
        tracing::warn!(%error, "the first pages are damaged: trying with fresh ones");
        // The log's copy of these pages would win over the fresh ones.
        let _ = fs::remove_file(beside(scratch, "-wal"));
        let _ = fs::remove_file(beside(scratch, "-shm"));
        if let Err(error) = template::replace_schema_pages(scratch, fresh) {
            tracing::warn!(%error, "could not replace the first pages");
        }
        source = open_copy(scratch);
    }
    let Ok(source) = source else {
        tracing::error!("nothing can be read from the damaged database");
        report.gaps.push("everything".to_owned());
        return Connection::open_in_memory();
    };
    // Its own tables too: a page that is theirs is no lost page of another table.
    let tables: Vec<Table> = (OWN_TABLES.iter().chain(TABLES.iter()))
        .filter_map(|table| Table::of(&source, table).ok())
        .collect();
    // Closing it moves its log into it.
    drop(source);
    match regrow(scratch, &tables) {
        Ok(lost) => {
            let gaps = lost.into_iter().map(|table| format!("a page of {table}"));
            report.gaps.extend(gaps);
        }
        Err(error) => tracing::warn!(%error, "could not look for lost pages"),
    }
    open_copy(scratch)
}

fn open_copy(scratch: &Path) -> rusqlite::Result<Connection> {
    let source = Connection::open(scratch)?;
    // Lets SQLite read a file that is shorter than it says.
    source.execute_batch("PRAGMA writable_schema = ON; PRAGMA cell_size_check = ON;")?;
    source.prepare("SELECT id, title FROM session")?;
    source.prepare("SELECT id, info FROM message")?;
    Ok(source)
}

fn copy_table(
    source: &Connection,
    target: &Connection,
    verb: &str,
    table: &str,
    report: &mut Report,
) -> rusqlite::Result<()> {
    let columns: Vec<String> = {
        let mut info = target.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let names = info.query_map([table], |row| row.get(0))?;
        names.collect::<rusqlite::Result<_>>()?
    };
    let list = columns.join(", ");
    let marks = vec!["?"; columns.len() + 1].join(", ");
    let mut insert = target.prepare(&format!(
        "{verb} INTO {table} (rowid, {list}) VALUES ({marks})"
    ))?;
    let sql =
        format!("SELECT rowid, {list} FROM {table} NOT INDEXED WHERE rowid > ?1 ORDER BY rowid");
    let mut select = match source.prepare(&sql) {
        Ok(select) => select,
        Err(error) => {
            report.gaps.push(format!("all of {table}: {error}"));
            return Ok(());
        }
    };
    let mut after = i64::MIN;
    let mut skipped = 0i64;
    loop {
        let mut rows = select.query([after])?;
        loop {
            match rows.next() {
                Ok(Some(row)) => {
                    let number: i64 = row.get(0)?;
                    let values = (0..=columns.len()).map(|c| row.get::<_, Value>(c));
                    let values: Vec<Value> = values
                        .enumerate()
                        .map(|(c, value)| value.or_else(|_| raw(row, c)))
                        .collect::<rusqlite::Result<_>>()?;
                    if insert.execute(params_from_iter(values)).is_err() {
                        report.gaps.push(format!("{table} row {number}"));
                    }
                    after = number;
                    skipped = 0;
                }
                Ok(None) => return Ok(()),
                Err(_) => break,
            }
        }
        if skipped == 0 {
            report
                .gaps
                .push(format!("{table} after row {}", after.max(0)));
            after = after.max(-1);
        }
        // Past the bad place: a few rows step by step, then faster and faster.
        skipped += 1;
        after += if skipped < PATIENCE {
            1
        } else {
            1i64 << (skipped - PATIENCE).min(40)
        };
        if after > LAST_ROW {
            return Ok(());
        }
    }
}

/// A text of bytes that are no text, as it is.
fn raw(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Value> {
    let bytes = row.get_ref(column)?.as_bytes().unwrap_or_default();
    Ok(Value::Blob(bytes.to_vec()))
}

/// Makes what was saved consistent: nothing without its owner, counters past all that is there.
fn mend(target: &Connection, report: &mut Report) -> rusqlite::Result<()> {
    for sql in [
        "DELETE FROM message WHERE sid NOT IN (SELECT sid FROM session)",
        "DELETE FROM part WHERE mid NOT IN (SELECT mid FROM message)",
        "DELETE FROM turn WHERE sid NOT IN (SELECT sid FROM session)",
        "DELETE FROM ask WHERE sid NOT IN (SELECT sid FROM session)",
        "DELETE FROM todo WHERE sid NOT IN (SELECT sid FROM session)",
        "DELETE FROM todo_version WHERE sid NOT IN (SELECT sid FROM session)",
        "DELETE FROM todo_version WHERE tid NOT IN (SELECT tid FROM turn)",
        "DELETE FROM restore WHERE sid NOT IN (SELECT sid FROM session)",
        "DELETE FROM binding WHERE sid NOT IN (SELECT sid FROM session)",
        "DELETE FROM usage WHERE sid NOT IN (SELECT sid FROM session)",
        "DELETE FROM share WHERE sid NOT IN (SELECT sid FROM session)",
        "DELETE FROM idempotency WHERE sid NOT IN (SELECT sid FROM session)",
        "DELETE FROM file_change WHERE tid NOT IN (SELECT tid FROM turn)",
        "DELETE FROM event WHERE sid NOT IN (SELECT sid FROM session)",
    ] {
        report.orphans += target.execute(sql, [])?;
    }
    target.execute_batch(
        "UPDATE part SET bid = NULL WHERE bid NOT IN (SELECT bid FROM blob);
         UPDATE blob SET refs = (SELECT count(*) FROM part WHERE part.bid = blob.bid);
         DELETE FROM blob WHERE refs = 0;
         CREATE TEMP TABLE last AS SELECT sid, max(session_seq) AS top, count(*) AS n
             FROM event GROUP BY sid;
         UPDATE session SET health = 'degraded' WHERE last_seq >
             coalesce((SELECT n FROM temp.last l WHERE l.sid = session.sid), 0);
         UPDATE session SET health = 'degraded' WHERE sid IN (
             SELECT m.sid FROM message m JOIN part p ON p.mid = m.mid
             WHERE p.body IS NULL AND p.bid IS NULL);
         UPDATE session SET health = 'degraded' WHERE
             (SELECT count(DISTINCT entity) FROM event e WHERE e.sid = session.sid AND kind = 5)
             - (SELECT count(*) FROM event e WHERE e.sid = session.sid AND kind = 6)
             > (SELECT count(*) FROM message m WHERE m.sid = session.sid);
         UPDATE session SET health = 'degraded' WHERE
             NOT EXISTS (SELECT 1 FROM event e WHERE e.sid = session.sid AND kind IN (6, 8))
             AND (SELECT count(DISTINCT entity) FROM event e WHERE e.sid = session.sid AND kind = 7)
             > (SELECT count(*) FROM message m JOIN part p ON p.mid = m.mid
                WHERE m.sid = session.sid);
         UPDATE session SET last_seq = max(last_seq,
             coalesce((SELECT top FROM temp.last l WHERE l.sid = session.sid), 0));
         UPDATE session SET last_position = max(last_position,
             coalesce((SELECT max(position) FROM message m WHERE m.sid = session.sid), 0));
         INSERT OR IGNORE INTO clock (id, seq, sessions) VALUES (1, 0, 0);
         DELETE FROM clock WHERE id <> 1;
         UPDATE clock SET sessions = (SELECT count(*) FROM session),
             seq = max(seq, coalesce((SELECT max(seq) FROM event), 0));
         DROP TABLE temp.last;",
    )?;
    complete_history(target)?;
    let count = |sql: &str| target.query_row(sql, [], |row| row.get(0));
    report.sessions = count("SELECT count(*) FROM session")?;
    report.messages = count("SELECT count(*) FROM message")?;
    Ok(())
}

/// The history and the epoch must be there even when their rows were lost.
fn complete_history(target: &Connection) -> rusqlite::Result<()> {
    for step in MIGRATIONS {
        target.execute(
            "INSERT OR REPLACE INTO migration (version, name, checksum, applied_at) \
             VALUES (?1, ?2, ?3, 0)",
            rusqlite::params![step.version, step.name, step.checksum()],
        )?;
    }
    target.execute(
        "INSERT INTO meta (name, value) \
         VALUES (?1, (SELECT coalesce(max(epoch), 0) FROM session)) \
         ON CONFLICT (name) DO UPDATE SET value = max(CAST(value AS INTEGER), \
         CAST(excluded.value AS INTEGER))",
        [META_EPOCH],
    )?;
    Ok(())
}
