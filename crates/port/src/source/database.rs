//! OpenCode's database.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, OpenFlags, Row, params};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::{EachMessage, Outlined, SourceError, copy};
use crate::Unreadable;

/// Tables without which nothing can be read.
const NEEDED: [&str; 3] = ["session", "message", "part"];

/// A copy of a database of OpenCode.
#[derive(Debug)]
pub struct Database {
    db: Connection,
    session_columns: HashSet<String>,
    has_todos: bool,
    has_projects: bool,
    /// Removed with the copy in it.
    _dir: TempDir,
}

/// A session as a database lists it.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Its parent.
    pub parent: Option<String>,
    /// Its directory.
    pub directory: String,
    /// Its title.
    pub title: String,
}

impl Database {
    /// Opens a database. Its files are copied first and never opened for writing, so that they
    /// (and their directory) stay exactly as they are, also while OpenCode works with them.
    ///
    /// # Errors
    /// When it can't be copied, or is none of OpenCode's.
    pub fn open(path: &Path) -> Result<Self, SourceError> {
        let (dir, file) = copy::copy(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(file, flags).map_err(fault("the database"))?;
        for table in NEEDED {
            if columns(&db, table)?.is_empty() {
                return Err(SourceError::NotOpenCode {
                    path: path.to_owned(),
                    table,
                });
            }
        }
        Ok(Self {
            session_columns: columns(&db, "session")?,
            has_todos: !columns(&db, "todo")?.is_empty(),
            has_projects: !columns(&db, "project")?.is_empty(),
            db,
            _dir: dir,
        })
    }

    /// All sessions, parents before their children, else the oldest first; and what could not be
    /// read of the list.
    ///
    /// # Errors
    /// When there is no list at all.
    pub fn sessions(&self) -> Result<(Vec<Listed>, Vec<Unreadable>), SourceError> {
        let parent = self.column("parent_id");
        let sql = format!(
            "SELECT id, {parent}, directory, title FROM session ORDER BY {}, id",
            self.column("time_created")
        );
        let mut statement = self.db.prepare(&sql).map_err(fault("sessions"))?;
        let mut rows = statement.query([]).map_err(fault("sessions"))?;
        let (mut listed, mut bad) = (Vec::new(), Vec::new());
        loop {
            match rows.next() {
                Ok(None) => break,
                Ok(Some(row)) => match listed_of(row) {
                    Ok(session) => listed.push(session),
                    Err(e) => bad.push(Unreadable::new(format!("session {}", name(row, 0)), &e)),
                },
                // Nothing can be read after a page that is damaged.
                Err(e) => {
                    bad.push(Unreadable::new("the rest of the list of sessions", &e));
                    break;
                }
            }
        }
        Ok((parents_first(listed), bad))
    }

    /// What OpenCode says of a session, as in an export.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn info(&self, id: &str) -> Result<Value, SourceError> {
        let what = || format!("session {id}");
        self.db
            .query_row("SELECT * FROM session WHERE id = ?1", [id], |row| {
                Ok(info(row))
            })
            .map_err(|source| SourceError::Database {
                what: what(),
                source,
            })
    }

    /// The project of a session: its worktree and version control.
    #[must_use]
    pub fn project(&self, id: &str) -> Option<Value> {
        if !self.has_projects {
            return None;
        }
        let sql = "SELECT p.* FROM project p JOIN session s ON s.project_id = p.id WHERE s.id = ?1";
        let read = |row: &Row<'_>| {
            let mut all = row_map(row);
            let mut project = Map::new();
            for key in ["id", "worktree", "vcs", "name"] {
                project.extend(all.remove(key).map(|value| (key.to_owned(), value)));
            }
            Ok(Value::Object(project))
        };
        self.db.query_row(sql, [id], read).ok()
    }

    /// The todo list of a session.
    #[must_use]
    pub fn todos(&self, id: &str) -> Vec<Value> {
        if !self.has_todos {
            return Vec::new();
        }
        let sql =
            "SELECT content, status, priority FROM todo WHERE session_id = ?1 ORDER BY position";
        let read = || -> rusqlite::Result<Vec<Value>> {
            let mut statement = self.db.prepare_cached(sql)?;
            let rows = statement.query_map([id], |row| Ok(Value::Object(row_map(row))))?;
            rows.collect()
        };
        read().unwrap_or_default()
    }

    /// Ids and times of the messages of a session, in their order.
    ///
    /// # Errors
    /// When they can't be read.
    pub fn outline(&self, id: &str) -> Result<Vec<Outlined>, SourceError> {
        let sql =
            "SELECT id, time_created FROM message WHERE session_id = ?1 ORDER BY time_created, id";
        let read = || -> rusqlite::Result<Vec<Outlined>> {
            let mut statement = self.db.prepare_cached(sql)?;
            let rows = statement.query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        };
        read().map_err(|source| SourceError::Database {
            what: format!("messages of session {id}"),
            source,
        })
    }

    /// The messages of a session in their order, those of an outline from `first` on, as
    /// `{info, parts}`. One is in memory at a time.
    pub fn messages(
        &self,
        id: &str,
        outline: &[Outlined],
        first: usize,
        each: &mut EachMessage<'_>,
    ) {
        for (message, _) in outline.iter().skip(first) {
            let read = self
                .message(id, message)
                .map_err(|e| Unreadable::new(format!("message {message}"), &e));
            if !each(read) {
                return;
            }
        }
    }

    fn message(&self, session: &str, id: &str) -> Result<Value, Box<dyn std::error::Error>> {
        let sql = "SELECT data, time_created FROM message WHERE id = ?1";
        let (data, created) = self
            .db
            .prepare_cached(sql)?
            .query_row([id], |row| Ok((row_text(row, 0)?, row.get::<_, i64>(1)?)))?;
        let mut info: Map<String, Value> = serde_json::from_str(&data)?;
        info.insert("id".into(), id.into());
        info.insert("sessionID".into(), session.into());
        info.entry("time")
            .or_insert_with(|| json!({"created": created}));
        let sql = "SELECT id, data FROM part WHERE message_id = ?1 ORDER BY id";
        let mut statement = self.db.prepare_cached(sql)?;
        let mut rows = statement.query(params![id])?;
        let mut parts = Vec::new();
        while let Some(row) = rows.next()? {
            let part = name(row, 0);
            let data = row_text(row, 1)?;
            // What is no object is given on as it is, under its id.
            let mut data = match serde_json::from_str(&data) {
                Ok(Value::Object(map)) => map,
                _ => Map::from_iter([("raw".to_owned(), Value::from(data))]),
            };
            data.insert("id".into(), part.into());
            data.insert("sessionID".into(), session.into());
            data.insert("messageID".into(), id.into());
            parts.push(Value::Object(data));
        }
        Ok(json!({"info": info, "parts": parts}))
    }

    /// The column, or nothing where this version has none of that name.
    fn column<'a>(&self, name: &'a str) -> &'a str {
        if self.session_columns.contains(name) {
            name
        } else {
            "NULL"
        }
    }
}

/// Where OpenCode keeps its database: `OPENCODE_DB`, else `opencode.db` in its data directory.
#[must_use]
pub fn default_path(env: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let set = |name| env(name).filter(|value| !value.is_empty());
    let data = set("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(".local/share")))?
        .join("opencode");
    Some(data.join(set("OPENCODE_DB").unwrap_or_else(|| "opencode.db".into())))
}

fn fault(what: &'static str) -> impl Fn(rusqlite::Error) -> SourceError {
    move |source| SourceError::Database {
        what: what.to_owned(),
        source,
    }
}

fn columns(db: &Connection, table: &str) -> Result<HashSet<String>, SourceError> {
    let read = || -> rusqlite::Result<HashSet<String>> {
        let mut statement = db.prepare("SELECT name FROM pragma_table_info(?1)")?;
        statement.query_map([table], |row| row.get(0))?.collect()
    };
    read().map_err(fault("the tables"))
}

fn listed_of(row: &Row<'_>) -> rusqlite::Result<Listed> {
    Ok(Listed {
        id: row.get(0)?,
        parent: row.get(1)?,
        directory: row.get(2)?,
        title: row.get(3)?,
    })
}

/// Keeps the order, but puts a session after its parent. One whose parents go in a circle comes
/// at the end.
fn parents_first(listed: Vec<Listed>) -> Vec<Listed> {
    let known: HashSet<String> = listed.iter().map(|s| s.id.clone()).collect();
    let mut placed: HashSet<String> = HashSet::new();
    let (mut out, mut waiting) = (Vec::with_capacity(listed.len()), listed);
    loop {
        let before = waiting.len();
        let mut next = Vec::new();
        for session in waiting {
            let parent = session.parent.as_ref();
            if parent.is_none_or(|p| placed.contains(p) || !known.contains(p)) {
                placed.insert(session.id.clone());
                out.push(session);
            } else {
                next.push(session);
            }
        }
        if next.is_empty() || next.len() == before {
            out.extend(next);
            return out;
        }
        waiting = next;
    }
}

/// A column as text, for a name.
fn name(row: &Row<'_>, column: usize) -> String {
    row_text(row, column).unwrap_or_else(|_| "?".into())
}

/// Text, whether it is stored as text or as bytes.
fn row_text(row: &Row<'_>, column: usize) -> rusqlite::Result<String> {
    match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            String::from_utf8(bytes.to_vec()).map_err(|e| {
                rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(e))
            })
        }
        other => Err(rusqlite::Error::InvalidColumnType(
            column,
            "data".into(),
            other.data_type(),
        )),
    }
}

/// All columns of a row that have a value.
fn row_map(row: &Row<'_>) -> Map<String, Value> {
    let names = row.as_ref().column_names();
    let values = names.enumerate().filter_map(|(i, name)| {
        let value = match row.get_ref(i).ok()? {
            ValueRef::Null => return None,
            ValueRef::Integer(n) => n.into(),
            ValueRef::Real(n) => n.into(),
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                String::from_utf8_lossy(bytes).into_owned().into()
            }
        };
        Some((name.to_owned(), value))
    });
    values.collect()
}

/// A row of the table of sessions as `info` of an export.
fn info(row: &Row<'_>) -> Value {
    let mut all = row_map(row);
    let mut out = Map::new();
    let plain = [
        ("id", "id"),
        ("slug", "slug"),
        ("project_id", "projectID"),
        ("directory", "directory"),
        ("path", "path"),
        ("parent_id", "parentID"),
        ("title", "title"),
        ("version", "version"),
        ("agent", "agent"),
    ];
    for (column, key) in plain {
        out.extend(all.remove(column).map(|value| (key.to_owned(), value)));
    }
    // Kept as JSON texts.
    for key in ["model", "metadata", "permission", "revert"] {
        if let Some(Value::String(text)) = all.remove(key) {
            let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
            out.insert(key.to_owned(), value);
        }
    }
    let mut grouped = |key: &str, columns: &[(&str, &str)]| {
        let found: Map<String, Value> = columns
            .iter()
            .filter_map(|(column, key)| Some(((*key).to_owned(), all.remove(*column)?)))
            .collect();
        if !found.is_empty() {
            out.insert(key.to_owned(), Value::Object(found));
        }
    };
    grouped("share", &[("share_url", "url")]);
    grouped(
        "summary",
        &[
            ("summary_additions", "additions"),
            ("summary_deletions", "deletions"),
            ("summary_files", "files"),
        ],
    );
    grouped(
        "time",
        &[
            ("time_created", "created"),
            ("time_updated", "updated"),
            ("time_archived", "archived"),
        ],
    );
    Value::Object(out)
}
