//! Numbers of the writer and the tail, for whoever watches them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sessiond_store::Measure;

/// Counted since the store was opened; a relaxed addition each.
#[derive(Debug, Default)]
pub(crate) struct Measures {
    groups: AtomicU64,
    jobs: AtomicU64,
    micros: AtomicU64,
    tries: AtomicU64,
    /// The newest event that listeners were told.
    told: AtomicU64,
}

impl Measures {
    /// Notes a group of so many jobs that became durable, or failed, in this time.
    pub(crate) fn group(&self, jobs: usize, took: Duration) {
        self.groups.fetch_add(1, Ordering::Relaxed);
        self.jobs.fetch_add(jobs as u64, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Notes a transaction that was begun for a group.
    pub(crate) fn attempt(&self) {
        self.tries.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes the newest event that listeners were told.
    pub(crate) fn told(&self, seq: u64) {
        self.told.store(seq, Ordering::Relaxed);
    }

    /// All, when the newest event of the store is `newest`.
    pub(crate) fn list(&self, newest: u64) -> Vec<Measure> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (groups, tries) = (read(&self.groups), read(&self.tries));
        let measure = |name, help, value| Measure { name, help, value };
        vec![
            measure(
                "sessiond_store_groups",
                "Groups of commits since the start, each one transaction.",
                groups as f64,
            ),
            measure(
                "sessiond_store_group_jobs",
                "Commits and leases in these groups: divided by the groups, the mean batch size.",
                read(&self.jobs) as f64,
            ),
            measure(
                "sessiond_store_group_seconds",
                "Time these groups took: divided by the groups, the mean commit latency.",
                read(&self.micros) as f64 / 1e6,
            ),
            measure(
                "sessiond_store_group_retries",
                "Transactions begun again, after a collision or a lost connection.",
                tries.saturating_sub(groups) as f64,
            ),
            measure(
                "sessiond_store_lag_events",
                "Events in the store that this node has not told its subscribers yet.",
                newest.saturating_sub(read(&self.told)) as f64,
            ),
        ]
    }
}
