//! Sessions moved from one database to another, row by row, with the keys that they have.
//!
//! Rows are copied in the order of their keys, parents before children. How far the copy has come is
//! kept in the target (`meta`) by the same transactions, so that a move that was cut off goes on. While
//! that mark is there no server opens the target. At the end both sides are read again and compared.

mod error;
mod site;
mod tables;

use serde::{Deserialize, Serialize};
use sessiond_store::StoreError;
use sha2::{Digest as _, Sha256};

pub use error::MoveError;
pub use site::Site;
pub use tables::{Kind, MOVED, Table};

use crate::schema::META_MOVING;
use crate::{Arg, Row, Value, without_nul};

/// A transaction of the copy is committed after so many bytes or rows.
const BATCH_BYTES: usize = 8 << 20;
const BATCH_ROWS: u64 = 5_000;

type Result<T> = std::result::Result<T, MoveError>;

/// What a move does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A move of another state of the source was begun here: its rows are taken away.
    Clearing,
    /// Rows are written to the target.
    Copying,
    /// Both sides are read and compared.
    Comparing,
}

/// How far a move has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What it does.
    pub phase: Phase,
    /// The table.
    pub table: &'static str,
    /// Rows of all tables that are done, of those in `total`.
    pub done: u64,
    /// Rows of all tables.
    pub total: u64,
}

/// A table that is the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The table.
    pub table: &'static str,
    /// Its rows.
    pub rows: u64,
    /// SHA-256 of all of them, in hexadecimal.
    pub hash: String,
}

/// What a move did.
#[derive(Clone, Debug)]
pub struct Report {
    /// All tables.
    pub tables: Vec<Moved>,
    /// Rows that an earlier, interrupted run had copied.
    pub resumed: u64,
    /// Texts that had something in them which no other database keeps (NUL, or bytes that are no
    /// UTF-8), and have U+FFFD there now.
    pub mended: u64,
}

/// How far the copy has come, as kept in the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// The state of the source; empty when the target is no copy of anything.
    source: String,
    /// The table whose rows are copied; after the last one all are.
    table: usize,
    /// The last row of it that was copied.
    after: Option<Key>,
    /// Rows copied so far.
    rows: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Key {
    Int(i64),
    Text(String),
}

impl Key {
    fn arg(&self) -> Arg<'_> {
        match self {
            Self::Int(value) => Arg::Int(*value),
            Self::Text(value) => Arg::Text(value),
        }
    }
}

fn at<S: Site>(site: &S) -> impl Fn(StoreError) -> MoveError + use<S> {
    let place = site.name().to_owned();
    move |source| MoveError::Store {
        place: place.clone(),
        source,
    }
}

/// Refuses a database whose schema is not this program's.
///
/// # Errors
/// `Schema`.
pub fn same_schema(place: &str, found: i64, expected: i64) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(MoveError::Schema {
        place: place.to_owned(),
        found,
        expected,
    })
}

/// Moves everything from one database to another, or goes on with a move that was cut off.
///
/// # Errors
/// See [`MoveError`]. The source is never written; the target can be tried again unless it was
/// `Occupied`.
pub async fn run(
    from: &mut impl Site,
    to: &mut impl Site,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Report> {
    let stamp = format!("{}: {}", from.name(), from.opened());
    let total = count_all(from).await?;
    let mark = prepare(to, &stamp, total, progress).await?;
    let resumed = mark.rows;
    let mended = copy(from, to, mark, total, progress).await?;
    settle(from, to).await?;
    let tables = compare(from, to, total, progress).await?;
    let now = from.stamp().await.map_err(at(from))?;
    if now != from.opened() {
        return Err(MoveError::SourceChanged {
            place: from.name().to_owned(),
        });
    }
    let failed = at(to);
    let sql = "DELETE FROM meta WHERE name = $1";
    to.begin().await.map_err(&failed)?;
    let gone = to.query(sql, &[META_MOVING.into()]).await;
    gone.map_err(&failed)?;
    to.commit().await.map_err(&failed)?;
    Ok(Report {
        tables,
        resumed,
        mended,
    })
}

async fn count<S: Site>(site: &mut S, table: &Table) -> Result<u64> {
    let sql = format!("SELECT count(*) FROM {}", table.name);
    let rows = site.query(&sql, &[]).await.map_err(at(site))?;
    Ok(rows.into_iter().next().map_or(0, |mut row| row.unsigned()))
}

async fn count_all(site: &mut impl Site) -> Result<u64> {
    let mut all = 0;
    for table in MOVED {
        all += count(site, table).await?;
    }
    Ok(all)
}

/// Makes the target ready: marked, and empty or half a copy of the same state of the source.
async fn prepare(
    to: &mut impl Site,
    stamp: &str,
    total: u64,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Mark> {
    let failed = at(to);
    let sql = "SELECT value FROM meta WHERE name = $1";
    let marked = to.query(sql, &[META_MOVING.into()]).await;
    let marked = marked.map_err(&failed)?.into_iter().next();
    let fresh = Mark {
        source: stamp.to_owned(),
        table: 0,
        after: None,
        rows: 0,
    };
    match marked {
        None => {
            for table in MOVED {
                let rows = count(to, table).await?;
                if rows > 0 {
                    return Err(MoveError::Occupied {
                        place: to.name().to_owned(),
                        table: table.name,
                        rows,
                    });
                }
            }
            to.mark(&written(&fresh)).await?;
            Ok(fresh)
        }
        Some(mut row) => {
            let mark: Option<Mark> = row.json();
            // Nobody serves it: its mark says so. But another move may be at work.
            to.mark(&mark.as_ref().map_or_else(String::new, written))
                .await?;
            if let Some(mark) = mark.filter(|mark| mark.source == stamp) {
                return Ok(mark);
            }
            to.begin().await.map_err(&failed)?;
            for table in MOVED.iter().rev() {
                progress(Progress {
                    phase: Phase::Clearing,
                    table: table.name,
                    done: 0,
                    total,
                });
                let sql = format!("DELETE FROM {}", table.name);
                to.query(&sql, &[]).await.map_err(&failed)?;
            }
            note(to, &fresh).await?;
            to.commit().await.map_err(&failed)?;
            Ok(fresh)
        }
    }
}

fn written(mark: &Mark) -> String {
    serde_json::to_string(mark).unwrap_or_default()
}

async fn note<S: Site>(to: &mut S, mark: &Mark) -> Result<()> {
    let sql = "UPDATE meta SET value = $2 WHERE name = $1";
    let value = written(mark);
    let noted = to.query(sql, &[META_MOVING.into(), (&value).into()]).await;
    noted.map(drop).map_err(at(to))
}

async fn copy(
    from: &mut impl Site,
    to: &mut impl Site,
    mut mark: Mark,
    total: u64,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<u64> {
    let failed = at(to);
    let (mut bytes, mut kept, mut mended) = (0, mark.rows, 0);
    let mut is_open = false;
    while let Some(table) = MOVED.get(mark.table) {
        let page = page(from, table, mark.after.as_ref()).await?;
        if !is_open {
            to.begin().await.map_err(&failed)?;
            is_open = true;
        }
        let is_last = page.rows.len() < table.page;
        to.insert(table, &page.rows).await.map_err(&failed)?;
        bytes += page.bytes;
        mended += page.mended;
        mark.rows += page.rows.len() as u64;
        mark.after = page.last.or(mark.after);
        if is_last {
            mark.table += 1;
            mark.after = None;
        }
        let is_end = mark.table == MOVED.len();
        if is_end || bytes >= BATCH_BYTES || mark.rows - kept >= BATCH_ROWS {
            note(to, &mark).await?;
            to.commit().await.map_err(&failed)?;
            (is_open, bytes, kept) = (false, 0, mark.rows);
        }
        progress(Progress {
            phase: Phase::Copying,
            table: table.name,
            done: mark.rows,
            total,
        });
    }
    Ok(mended)
}

/// Gives the target what belongs to all its rows.
async fn settle(from: &mut impl Site, to: &mut impl Site) -> Result<()> {
    let (asked, failed) = (at(from), at(to));
    let epoch = from.epoch().await.map_err(&asked)?;
    let sql = "SELECT seq, sessions FROM clock WHERE id = 1";
    let clock = from.query(sql, &[]).await.map_err(&asked)?;
    let (seq, sessions) = clock
        .into_iter()
        .next()
        .map_or((0, 0), |mut row| (row.int(), row.int()));
    to.begin().await.map_err(&failed)?;
    let sql = "UPDATE clock SET seq = $1, sessions = $2 WHERE id = 1";
    let set = to.query(sql, &[seq.into(), sessions.into()]).await;
    set.map_err(&failed)?;
    to.settle(epoch).await.map_err(&failed)?;
    to.commit().await.map_err(&failed)
}

async fn compare(
    from: &mut impl Site,
    to: &mut impl Site,
    total: u64,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<Vec<Moved>> {
    let mut tables = Vec::with_capacity(MOVED.len());
    let mut done = 0;
    for table in MOVED {
        let (mut ours, mut theirs) = (Sum::default(), Sum::default());
        loop {
            let one = ours.read(from, table).await?;
            let other = theirs.read(to, table).await?;
            progress(Progress {
                phase: Phase::Comparing,
                table: table.name,
                done: done + ours.rows,
                total,
            });
            if !one && !other {
                break;
            }
        }
        done += ours.rows;
        let (from_rows, to_rows) = (ours.rows, theirs.rows);
        let (moved, theirs) = (ours.end(table), theirs.end(table));
        if moved != theirs {
            let failed = at(to);
            let nothing = Mark {
                source: String::new(),
                table: 0,
                after: None,
                rows: 0,
            };
            to.begin().await.map_err(&failed)?;
            note(to, &nothing).await?;
            to.commit().await.map_err(&failed)?;
            return Err(MoveError::Differs {
                table: table.name,
                from: from_rows,
                to: to_rows,
            });
        }
        tables.push(moved);
    }
    Ok(tables)
}

/// The hash of a table so far.
#[derive(Default)]
struct Sum {
    after: Option<Key>,
    is_done: bool,
    rows: u64,
    hash: Sha256,
}

impl Sum {
    /// Reads on; whether there is more.
    async fn read(&mut self, site: &mut impl Site, table: &Table) -> Result<bool> {
        if self.is_done {
            return Ok(false);
        }
        let page = page(site, table, self.after.as_ref()).await?;
        for row in &page.rows {
            for value in row {
                add(&mut self.hash, value);
            }
        }
        self.rows += page.rows.len() as u64;
        self.is_done = page.rows.len() < table.page;
        self.after = page.last.or(self.after.take());
        Ok(!self.is_done)
    }

    fn end(self, table: &Table) -> Moved {
        Moved {
            table: table.name,
            rows: self.rows,
            hash: crate::row::hex(&self.hash.finalize()),
        }
    }
}

/// Adds a value so that no two rows read the same.
fn add(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Null => hash.update([0]),
        Value::Int(value) => {
            hash.update([1]);
            hash.update(value.to_be_bytes());
        }
        Value::Real(value) => {
            hash.update([2]);
            hash.update(value.to_bits().to_be_bytes());
        }
        Value::Text(text) => {
            hash.update([3]);
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        Value::Bytes(bytes) => {
            hash.update([4]);
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
    }
}

/// Rows in the order of their keys, as every database can keep them.
struct Page {
    rows: Vec<Vec<Value>>,
    last: Option<Key>,
    bytes: usize,
    mended: u64,
}

async fn page<S: Site>(site: &mut S, table: &Table, after: Option<&Key>) -> Result<Page> {
    let (names, key) = (table.names(), table.key());
    let past = after.map_or_else(String::new, |_| format!("WHERE {key} > $1 "));
    let (name, limit) = (table.name, table.page);
    let sql = format!("SELECT {names} FROM {name} {past}ORDER BY {key} LIMIT {limit}");
    let args: Vec<Arg<'_>> = after.map(Key::arg).into_iter().collect();
    let found = site.query(&sql, &args).await.map_err(at(site))?;
    let mut page = Page {
        rows: Vec::with_capacity(found.len()),
        last: None,
        bytes: 0,
        mended: 0,
    };
    for row in found {
        let row = page.keep(row, table).map_err(|column| MoveError::Misfit {
            place: site.name().to_owned(),
            table: table.name,
            key: format!("{:?}", page.last),
            column,
        })?;
        page.rows.push(row);
    }
    Ok(page)
}

impl Page {
    /// A row as it is kept, or the column that can't be.
    fn keep(&mut self, row: Row, table: &Table) -> std::result::Result<Vec<Value>, &'static str> {
        let mut values = row.into_values();
        // As it is in the source, where the next page begins after it.
        self.last = Some(match values.first() {
            Some(Value::Int(key)) => Key::Int(*key),
            Some(Value::Text(key)) => Key::Text(key.clone()),
            _ => return Err(table.key()),
        });
        for (value, (column, kind)) in values.iter_mut().zip(table.columns) {
            match (kind, &mut *value) {
                (_, Value::Null) | (Kind::Int, Value::Int(_)) | (Kind::Real, Value::Real(_)) => {
                    self.bytes += 8;
                }
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "it was a float when it was stored"
                )]
                (Kind::Real, Value::Int(whole)) => *value = Value::Real(*whole as f64),
                (Kind::Text, Value::Text(text)) => {
                    self.bytes += text.len();
                    if text.contains('\0') {
                        *text = without_nul(text);
                        self.mended += 1;
                    }
                }
                (Kind::Text, Value::Bytes(bytes)) => {
                    let text = without_nul(&String::from_utf8_lossy(bytes));
                    self.bytes += text.len();
                    self.mended += 1;
                    *value = Value::Text(text);
                }
                _ => return Err(column),
            }
        }
        Ok(values)
    }
}
