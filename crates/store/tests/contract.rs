//! The in-memory store keeps the contract.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sessiond_model::{ManualClock, Timestamp};
use sessiond_store::contract::{self, Backend};
use sessiond_store::{Feed, MemoryCluster, MemoryStore, Store};

const LEASE: Duration = Duration::from_millis(10_000);

struct Memory {
    clock: Arc<ManualClock>,
    cluster: MemoryCluster,
    nodes: Vec<(String, Arc<MemoryStore>)>,
}

impl Memory {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp(1_000)));
        Self {
            cluster: MemoryCluster::new(clock.clone(), LEASE),
            clock,
            nodes: Vec::new(),
        }
    }
}

#[async_trait]
impl Backend for Memory {
    async fn open(&mut self, feed: Arc<dyn Feed>) -> Arc<dyn Store> {
        Arc::new(MemoryStore::new(feed, 1))
    }

    fn is_durable(&self) -> bool {
        false
    }

    async fn join(&mut self, name: &str, feed: Arc<dyn Feed>) -> Option<Arc<dyn Store>> {
        let store = Arc::new(self.cluster.join(name, None, feed));
        self.nodes.push((name.to_owned(), store.clone()));
        Some(store)
    }

    async fn end(&mut self, name: &str) {
        let (ended, others): (Vec<_>, Vec<_>) = self.nodes.iter().partition(|n| n.0 == name);
        for (_, store) in &ended {
            store.pause(true);
        }
        self.clock.advance(10_001);
        for leases in others.iter().filter_map(|(_, store)| store.leases()) {
            // Renews its own, and ends those that did not.
            leases.orphans(0).await.expect("a node looks for orphans");
        }
        for (_, store) in &ended {
            store.pause(false);
        }
    }
}

sessiond_store::contract_tests!(Memory::new());

#[test]
fn no_function_of_the_suite_is_forgotten() {
    assert_eq!(contract::forgotten(), Vec::<String>::new());
    assert!(contract::NAMES.len() > 60);
}
