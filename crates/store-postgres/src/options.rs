use std::sync::Arc;
use std::time::Duration;

use sessiond_model::Clock;
use sessiond_store::Feed;

use crate::Address;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// The database.
    pub address: Address,
    /// Who hears of commits.
    pub feed: Arc<dyn Feed>,
    /// The time, for migrations. Leases live by the clock of the database.
    pub clock: Arc<dyn Clock>,
    /// Version of the program, noted in the store.
    pub version: String,
    /// Name of this node, the same after a restart.
    pub node: String,
    /// Where other nodes reach this one, without `/` at the end.
    pub url: Option<String>,
    /// The machine and its boot: equal for processes that see each other.
    pub host: String,
    /// How long a lease lasts that is not renewed; two seconds at least.
    pub lease: Duration,
    /// Most commits that may wait; one more is refused as overload.
    pub queue: usize,
    /// Connections that read.
    pub readers: usize,
    /// How long commits and reads wait for a database that can't be reached.
    pub patience: Duration,
    /// The server ends a statement after so long.
    pub statement_timeout: Duration,
    /// The server ends a transaction that waits so long for its client: a node that is stopped in
    /// the middle of a commit holds up all others no longer.
    pub idle_timeout: Duration,
    /// How often the tail looks for events of other nodes that no hint told of.
    pub poll: Duration,
}

impl PostgresOptions {
    /// The usual options for a node without a name that others would know.
    #[must_use]
    pub fn new(
        address: Address,
        feed: Arc<dyn Feed>,
        clock: Arc<dyn Clock>,
        version: impl Into<String>,
    ) -> Self {
        Self {
            address,
            feed,
            clock,
            version: version.into(),
            node: "sessiond".into(),
            url: None,
            host: String::new(),
            lease: Duration::from_secs(10),
            queue: 4096,
            readers: 8,
            patience: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(2),
            poll: Duration::from_millis(200),
        }
    }

    /// The lease, at least as long as the rhythm of renewals allows.
    pub(crate) fn lease_ms(&self) -> i64 {
        let lease = self.lease.max(Duration::from_secs(2));
        i64::try_from(lease.as_millis()).unwrap_or(i64::MAX / 4)
    }
}
