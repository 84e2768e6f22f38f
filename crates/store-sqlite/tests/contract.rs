//! The SQLite store keeps the contract, also when it is closed and opened between steps.

mod common;

mod open {
    sessiond_store::contract_tests!(crate::common::Sqlite::new(false));
}

mod reopened {
    sessiond_store::contract_tests!(crate::common::Sqlite::new(true));
}
