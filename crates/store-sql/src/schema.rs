//! The schema and its history.

/// What differs between databases in the text of a migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Type of a primary key that the database numbers itself, without gaps being important.
    pub key: &'static str,
    /// Type of a 64-bit primary key that sessiond numbers.
    pub number_key: &'static str,
    /// Added to an index on `event (sid`: where the index does not hold the key anyway.
    pub and_seq: &'static str,
    /// Added to the type of a text, so that texts compare by their bytes.
    pub by_bytes: &'static str,
}

impl Dialect {
    /// SQLite.
    pub const SQLITE: Self = Self {
        key: "INTEGER PRIMARY KEY",
        number_key: "INTEGER PRIMARY KEY",
        and_seq: "",
        by_bytes: "",
    };
    /// PostgreSQL.
    pub const POSTGRES: Self = Self {
        key: "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        number_key: "BIGINT PRIMARY KEY",
        and_seq: ", seq",
        by_bytes: " COLLATE \"C\"",
    };

    /// The text of a migration for this database.
    #[must_use]
    pub fn render(&self, sql: &str) -> String {
        sql.replace("{key}", self.key)
            .replace("{number_key}", self.number_key)
            .replace("{and_seq}", self.and_seq)
            .replace(" TEXT", &format!(" TEXT{}", self.by_bytes))
    }
}

/// One step of the schema's history. Steps are never changed, only added.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// When it was written, `YYYYMMDDNN`; steps run in this order.
    pub version: i64,
    /// What it does, in a few words.
    pub name: &'static str,
    /// The statements, with the placeholders of [`Dialect`].
    pub sql: &'static str,
    /// The oldest schema a program must know to read a store after this step.
    pub min_reader: i64,
    /// The oldest schema a program must know to write to it.
    pub min_writer: i64,
}

impl Migration {
    /// SHA-256 of the text in hexadecimal, kept in the store to notice a changed history.
    #[must_use]
    pub fn checksum(&self) -> String {
        crate::row::sha256_hex(self.sql)
    }
}

/// The history.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 2_026_112_201,
        name: "first schema",
        sql: include_str!("migrations/2026112201_first_schema.sql"),
        min_reader: 2_026_112_201,
        min_writer: 2_026_112_201,
    },
    Migration {
        version: 2_026_112_202,
        name: "session operations",
        sql: include_str!("migrations/2026112202_session_operations.sql"),
        min_reader: 2_026_112_201,
        // An older writer would keep no todo versions.
        min_writer: 2_026_112_202,
    },
    Migration {
        version: 2_026_112_302,
        name: "sessions by creation",
        sql: include_str!("migrations/2026112302_sessions_by_creation.sql"),
        min_reader: 2_026_112_201,
        min_writer: 2_026_112_202,
    },
];

/// The newest schema this program knows.
pub const SCHEMA: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// All tables with rows of their own, parents before children: for counting before and after
/// a migration, and for salvage.
pub const TABLES: &[&str] = &[
    "session",
    "idempotency",
    "message",
    "blob",
    "part",
    "turn",
    "ask",
    "todo",
    "todo_version",
    "restore",
    "binding",
    "profile",
    "project",
    "usage",
    "file_change",
    "share",
    "event",
];

/// Name in `meta`: how often the store was opened for writing; the epoch of its writer.
pub const META_EPOCH: &str = "epoch";
/// Name in `meta`: `1` when the last writer closed the store, `0` while it is open.
pub const META_CLEAN: &str = "clean";
/// Name in `meta`: see [`Migration::min_reader`].
pub const META_MIN_READER: &str = "min_reader";
/// Name in `meta`: see [`Migration::min_writer`].
pub const META_MIN_WRITER: &str = "min_writer";
/// Name in `meta`: how far a move into this store has come, while it is not finished.
pub const META_MOVING: &str = "moving";
/// Name in `meta`: the version of sessiond that wrote the schema.
pub const META_WRITTEN_BY: &str = "written_by";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_in_order() {
        for pair in MIGRATIONS.windows(2) {
            assert!(pair[0].version < pair[1].version);
        }
        for step in MIGRATIONS {
            assert!(step.min_reader <= step.version && step.min_writer <= step.version);
        }
    }

    #[test]
    fn history_is_never_changed() {
        let sums: Vec<_> = MIGRATIONS
            .iter()
            .map(|m| (m.version, m.checksum()))
            .collect();
        for (version, sum) in sums {
            let known = KNOWN.iter().find(|(v, _)| *v == version);
            assert_eq!(known.map(|(_, s)| *s), Some(sum.as_str()), "{version}");
        }
    }

    /// Append the checksum of a new step here; never edit a line.
    const KNOWN: &[(i64, &str)] = &[
        (
            2_026_112_201,
            "c00386a5b41f61a5757c401c910c27f9b29d6f76da1d027a2bca1e2792a5c83d",
        ),
        (
            2_026_112_202,
            "dbe8d658ce02ce39ab26a15878a761ce60f177b1a14a401003df90c5e4e32e76",
        ),
        (
            2_026_112_302,
            "d3b61bd94c33d030b3fdeb622850f81ab89ad03c9cd128cbd530f051f7a9761e",
        ),
    ];
}
