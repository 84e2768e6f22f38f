//! The PostgreSQL store as the suite opens it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sessiond_store::contract::Backend;
use sessiond_store::{Feed, Store};
use sessiond_store_postgres::{PostgresOptions, PostgresStore};
use sessiond_testkit::postgres::{Database, database};

/// A store in a database of its own.
pub(crate) struct Postgres {
    database: Database,
    reopens: bool,
}

impl Postgres {
    pub(crate) fn new(reopens: bool) -> Self {
        Self {
            database: database(),
            reopens,
        }
    }
}

#[async_trait]
impl Backend for Postgres {
    async fn open(&mut self, feed: Arc<dyn Feed>) -> Arc<dyn Store> {
        let options = crate::common::options(self.database.url(), feed);
        Arc::new(PostgresStore::open(&options).await.unwrap())
    }

    async fn join(&mut self, name: &str, feed: Arc<dyn Feed>) -> Option<Arc<dyn Store>> {
        let options = PostgresOptions {
            node: name.to_owned(),
            lease: Duration::from_secs(2),
            ..crate::common::options(self.database.url(), feed)
        };
        Some(Arc::new(PostgresStore::open(&options).await.unwrap()))
    }

    async fn end(&mut self, name: &str) {
        let sql = format!("UPDATE sessiond.node SET ended_at = expires_at WHERE name = '{name}'");
        self.database.psql(&sql).unwrap();
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn reopens(&self) -> bool {
        self.reopens
    }
}

impl Default for Postgres {
    fn default() -> Self {
        Self::new(false)
    }
}
