//! The two sides of a move.

use std::future::Future;

use sessiond_store::StoreResult;

use super::{MoveError, Table};
use crate::{Arg, Row, Value};

/// A database that sessions are moved from or to. It belongs to the move alone while this is held:
/// no sessiond serves it.
pub trait Site: Send {
    /// What people call it, without secrets.
    fn name(&self) -> &str;

    /// Runs one statement, with `$1`, `$2`, …, and gives its rows.
    fn query(
        &mut self,
        sql: &str,
        args: &[Arg<'_>],
    ) -> impl Future<Output = StoreResult<Vec<Row>>> + Send;

    /// Inserts rows with the keys that they have.
    fn insert(
        &mut self,
        table: &Table,
        rows: &[Vec<Value>],
    ) -> impl Future<Output = StoreResult<()>> + Send;

    /// Begins a transaction that writes.
    fn begin(&mut self) -> impl Future<Output = StoreResult<()>> + Send;

    /// Makes it durable.
    fn commit(&mut self) -> impl Future<Output = StoreResult<()>> + Send;

    /// The stamp when it was opened, or before that.
    fn opened(&self) -> &str;

    /// What changes whenever somebody opens the database to write: two moves that read the same
    /// here would read the same rows. Read from the newest state, not from a snapshot.
    fn stamp(&mut self) -> impl Future<Output = StoreResult<String>> + Send;

    /// An epoch that no writer of this database has gone above.
    fn epoch(&mut self) -> impl Future<Output = StoreResult<u64>> + Send;

    /// In the transaction that ends a move: writers get epochs above this one, and new rows numbers
    /// above those of the rows that are there.
    fn settle(&mut self, epoch: u64) -> impl Future<Output = StoreResult<()>> + Send;

    /// Sets the mark of a move that is not finished, and so keeps servers away from now on.
    ///
    /// # Errors
    /// `InUse` when one is at work already; nothing is marked then.
    fn mark(&mut self, mark: &str) -> impl Future<Output = Result<(), MoveError>> + Send;
}
