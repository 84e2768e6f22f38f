//! What is moved: tables with their columns, parents before children.

use Kind::{Int, Real, Text};

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 64-bit integers.
    Int,
    /// Floating point numbers.
    Real,
    /// Texts.
    Text,
}

/// A table, with a primary key of one column.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Its columns; the first one is the key.
    pub columns: &'static [(&'static str, Kind)],
    /// Whether the database numbers its rows.
    pub numbered: bool,
    /// Rows read at a time: few where a row may be large.
    pub page: usize,
}

impl Table {
    /// The primary key.
    #[must_use]
    pub fn key(&self) -> &'static str {
        self.columns[0].0
    }

    /// The names of all columns, as in a statement.
    #[must_use]
    pub fn names(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|(name, _)| *name).collect();
        names.join(", ")
    }

    /// One placeholder for each column.
    #[must_use]
    pub fn placeholders(&self) -> String {
        let all: Vec<_> = (1..=self.columns.len()).map(|n| format!("${n}")).collect();
        all.join(", ")
    }
}

const ROWS: usize = 500;
const DOCS: usize = 100;
const BODIES: usize = 8;

const fn table(name: &'static str, columns: &'static [(&'static str, Kind)]) -> Table {
    Table {
        name,
        columns,
        numbered: false,
        page: ROWS,
    }
}

const fn numbered(name: &'static str, columns: &'static [(&'static str, Kind)]) -> Table {
    Table {
        numbered: true,
        ..table(name, columns)
    }
}

/// All tables whose rows are sessions or belong to them. What is of one database only, its schema's
/// history, its nodes and their leases, stays where it is.
pub const MOVED: &[Table] = &[
    numbered(
        "session",
        &[
            ("sid", Int),
            ("id", Text),
            ("slug", Text),
            ("project_id", Text),
            ("directory", Text),
            ("path", Text),
            ("parent_id", Text),
            ("fork", Text),
            ("title", Text),
            ("version", Text),
            ("agent", Text),
            ("model", Text),
            ("metadata", Text),
            ("permission", Text),
            ("revert", Text),
            ("summary", Text),
            ("share_url", Text),
            ("created_at", Int),
            ("updated_at", Int),
            ("archived_at", Int),
            ("deleted_at", Int),
            ("status", Text),
            ("status_since", Int),
            ("status_message", Text),
            ("cost", Real),
            ("tokens", Text),
            ("health", Text),
            ("revision", Int),
            ("epoch", Int),
            ("last_seq", Int),
            ("last_position", Int),
            ("id_floor", Int),
            ("last_message_at", Int),
            ("row_seq", Int),
            ("status_seq", Int),
            ("fork_root", Text),
        ],
    ),
    table(
        "idempotency",
        &[("key", Text), ("sid", Int), ("digest", Text)],
    ),
    numbered(
        "message",
        &[
            ("mid", Int),
            ("sid", Int),
            ("position", Int),
            ("id", Text),
            ("created_seq", Int),
            ("seq", Int),
            ("sum", Int),
            ("info", Text),
        ],
    ),
    Table {
        page: BODIES,
        ..numbered(
            "blob",
            &[("bid", Int), ("hash", Text), ("refs", Int), ("body", Text)],
        )
    },
    numbered(
        "part",
        &[
            ("pid", Int),
            ("mid", Int),
            ("id", Text),
            ("seq", Int),
            ("sum", Int),
            ("body", Text),
            ("bid", Int),
        ],
    ),
    numbered(
        "turn",
        &[
            ("tid", Int),
            ("sid", Int),
            ("id", Text),
            ("user_message_id", Text),
            ("idempotency_key", Text),
            ("open", Int),
            ("seq", Int),
            ("doc", Text),
        ],
    ),
    numbered(
        "ask",
        &[
            ("aid", Int),
            ("sid", Int),
            ("kind", Int),
            ("id", Text),
            ("pending", Int),
            ("seq", Int),
            ("doc", Text),
        ],
    ),
    table(
        "todo",
        &[("sid", Int), ("turn_id", Text), ("seq", Int), ("doc", Text)],
    ),
    table("todo_version", &[("tid", Int), ("sid", Int), ("doc", Text)]),
    Table {
        page: BODIES,
        ..table("restore", &[("sid", Int), ("pending", Int), ("doc", Text)])
    },
    table(
        "binding",
        &[("sid", Int), ("live", Int), ("seq", Int), ("doc", Text)],
    ),
    table("profile", &[("name", Text), ("doc", Text)]),
    numbered(
        "project",
        &[("prid", Int), ("id", Text), ("seq", Int), ("doc", Text)],
    ),
    numbered("usage", &[("uid", Int), ("sid", Int), ("doc", Text)]),
    Table {
        page: DOCS,
        ..table("file_change", &[("tid", Int), ("doc", Text)])
    },
    Table {
        page: DOCS,
        ..table(
            "share",
            &[
                ("sid", Int),
                ("token_hash", Text),
                ("doc", Text),
                ("accessed_at", Int),
            ],
        )
    },
    table(
        "event",
        &[
            ("seq", Int),
            ("sid", Int),
            ("session_seq", Int),
            ("kind", Int),
            ("entity", Int),
            ("at", Int),
            ("payload", Text),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_with_rows_is_moved() {
        let names: Vec<_> = MOVED.iter().map(|table| table.name).collect();
        assert_eq!(names, crate::TABLES);
    }
}
