//! The SQLite store as the suite opens it.

use std::sync::Arc;

use async_trait::async_trait;
use sessiond_store::contract::Backend;
use sessiond_store::{Feed, Store};
use sessiond_store_sqlite::SqliteStore;
use tempfile::TempDir;

/// A store in a directory of its own.
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
        Arc::new(SqliteStore::open(&crate::common::options(self.dir.path(), feed)).unwrap())
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn reopens(&self) -> bool {
        self.reopens
    }
}

impl Default for Sqlite {
    fn default() -> Self {
        Self::new(false)
    }
}
