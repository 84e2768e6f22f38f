//! The PostgreSQL store keeps the contract, also when it is closed and opened between steps.
#![expect(clippy::unwrap_used, reason = "test code outside of test functions")]

#[path = "common/backend.rs"]
mod backend;
mod common;

mod open {
    sessiond_store::contract_tests!(crate::backend::Postgres::new(false));
}

mod reopened {
    sessiond_store::contract_tests!(crate::backend::Postgres::new(true));
}
