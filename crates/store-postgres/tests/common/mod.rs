//! A store in a database of its own.

use std::sync::Arc;
use std::time::Duration;

use sessiond_model::{ManualClock, Timestamp};
use sessiond_store::Feed;
use sessiond_store_postgres::PostgresOptions;

/// Options for a store in the database at `url`.
pub(crate) fn options(url: &str, feed: Arc<dyn Feed>) -> PostgresOptions {
    let clock = Arc::new(ManualClock::at(Timestamp(1_000)));
    PostgresOptions {
        readers: 3,
        poll: Duration::from_millis(50),
        ..PostgresOptions::new(url.parse().unwrap(), feed, clock, "0.1.0")
    }
}
