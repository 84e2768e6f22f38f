//! A store in a directory of its own.
#![expect(clippy::unwrap_used, reason = "test code outside of a test function")]

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use sessiond_model::{ManualClock, Timestamp};
use sessiond_store::contract::Backend;
use sessiond_store::{Feed, Store};
use sessiond_store_sqlite::{SqliteOptions, SqliteStore};
use tempfile::TempDir;

/// Options for a store in `dir`.
pub(crate) fn options(dir: &Path, feed: Arc<dyn Feed>) -> SqliteOptions {
    let clock = Arc::new(ManualClock::at(Timestamp(1_000)));
    SqliteOptions::new(dir, feed, clock, "0.1.0")
}

/// The backend under contract.
pub(crate) struct Sqlite {
    dir: TempDir,
    reopens: bool,
}

impl Sqlite {
    pub(crate) fn new(reopens: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, reopens }
    }
}

#[async_trait]
impl Backend for Sqlite {
    async fn open(&mut self, feed: Arc<dyn Feed>) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&options(self.dir.path(), feed)).unwrap())
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn reopens(&self) -> bool {
        self.reopens
    }
}
