//! Random operations against the in-memory store and the SQLite store.
#![expect(clippy::unwrap_used, reason = "test code outside of test functions")]

#[path = "common/backend.rs"]
mod backend;
mod common;

#[test]
fn both_stores_agree() {
    sessiond_store::contract::model::compare::<backend::Sqlite>(24);
}
