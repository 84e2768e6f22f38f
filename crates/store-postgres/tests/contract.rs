//! The PostgreSQL store keeps the contract, also when it is closed and opened between steps.
#![expect(clippy::unwrap_used, reason = "test code outside of test functions")]

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use sessiond_store::contract::Backend;
use sessiond_store::{Feed, Store};
use sessiond_store_postgres::PostgresStore;
use sessiond_testkit::postgres::{Database, database};

/// A store in a database of its own.
struct Postgres {
    database: Database,
    reopens: bool,
}

impl Postgres {
    fn new(reopens: bool) -> Self {
        Self {
            database: database(),
            reopens,
        }
    }
}

#[async_trait]
impl Backend for Postgres {
    async fn open(&mut self, feed: Arc<dyn Feed>) -> Arc<dyn Store> {
        let options = common::options(self.database.url(), feed);
        Arc::new(PostgresStore::open(&options).await.unwrap())
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn reopens(&self) -> bool {
        self.reopens
    }
}

mod open {
    sessiond_store::contract_tests!(crate::Postgres::new(false));
}

mod reopened {
    sessiond_store::contract_tests!(crate::Postgres::new(true));
}
