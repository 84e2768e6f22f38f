//! The SQLite store keeps the contract, also when it is closed and opened between steps.
#![expect(clippy::unwrap_used, reason = "test code outside of test functions")]

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use sessiond_store::contract::Backend;
use sessiond_store::{Feed, Store};
use sessiond_store_sqlite::SqliteStore;
use tempfile::TempDir;

/// A store in a directory of its own.
struct Sqlite {
    dir: TempDir,
    reopens: bool,
}

impl Sqlite {
    fn new(reopens: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, reopens }
    }
}

#[async_trait]
impl Backend for Sqlite {
    async fn open(&mut self, feed: Arc<dyn Feed>) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&common::options(self.dir.path(), feed)).unwrap())
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn reopens(&self) -> bool {
        self.reopens
    }
}

mod open {
    sessiond_store::contract_tests!(crate::Sqlite::new(false));
}

mod reopened {
    sessiond_store::contract_tests!(crate::Sqlite::new(true));
}
