use sessiond_store::StoreError;
use thiserror::Error;

/// Why sessions were not moved.
#[derive(Debug, Error)]
pub enum MoveError {
    /// A database failed.
    #[error("{place}: {source}")]
    Store {
        /// Which one.
        place: String,
        /// How.
        source: StoreError,
    },
    /// Servers work with it.
    #[error("{place} is in use by {by}: stop it first (a lease ends some seconds after a kill)")]
    InUse {
        /// The database.
        place: String,
        /// Who has it.
        by: String,
    },
    /// There is nothing to read.
    #[error("{place} holds no sessions of sessiond")]
    Absent {
        /// The database.
        place: String,
    },
    /// Its tables are others than this program's.
    #[error(
        "{place} has schema {found}, this sessiond {expected}: start this version once with it, which \
         brings it up to date, or take the version that wrote it"
    )]
    Schema {
        /// The database.
        place: String,
        /// Its schema.
        found: i64,
        /// Ours.
        expected: i64,
    },
    /// The target is not empty.
    #[error(
        "{place} is not empty ({rows} rows in `{table}`): nothing was written; take an empty one"
    )]
    Occupied {
        /// The target.
        place: String,
        /// A table with rows.
        table: &'static str,
        /// How many.
        rows: u64,
    },
    /// A row holds what its column can't.
    #[error(
        "{place}: the row {key} of `{table}` is damaged: `{column}` is of another kind; \
         `sessiond doctor` says more"
    )]
    Misfit {
        /// The source.
        place: String,
        /// The table.
        table: &'static str,
        /// The row.
        key: String,
        /// The column.
        column: &'static str,
    },
    /// Somebody wrote to the source during the move.
    #[error("{place} was opened by a server during the move: stop it, and run this again")]
    SourceChanged {
        /// The source.
        place: String,
    },
    /// The two sides are not the same.
    #[error(
        "`{table}` differs after the move ({from} rows and {to} rows, or their content): the target is \
         not used; run this again, which begins anew"
    )]
    Differs {
        /// The table.
        table: &'static str,
        /// Rows in the source.
        from: u64,
        /// Rows in the target.
        to: u64,
    },
}
