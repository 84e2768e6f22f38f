//! The in-memory store keeps the contract.

use std::sync::Arc;

use async_trait::async_trait;
use sessiond_store::contract::{self, Backend};
use sessiond_store::{Feed, MemoryStore, Store};

struct Memory;

#[async_trait]
impl Backend for Memory {
    async fn open(&mut self, feed: Arc<dyn Feed>) -> Arc<dyn Store> {
        Arc::new(MemoryStore::new(feed, 1))
    }

    fn is_durable(&self) -> bool {
        false
    }
}

sessiond_store::contract_tests!(Memory);

#[test]
fn no_function_of_the_suite_is_forgotten() {
    assert_eq!(contract::forgotten(), Vec::<String>::new());
    assert!(contract::NAMES.len() > 60);
}
