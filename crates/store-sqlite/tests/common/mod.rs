//! A store in a directory of its own.

use std::path::Path;
use std::sync::Arc;

use sessiond_model::{ManualClock, Timestamp};
use sessiond_store::Feed;
use sessiond_store_sqlite::SqliteOptions;

/// Options for a store in `dir`.
pub(crate) fn options(dir: &Path, feed: Arc<dyn Feed>) -> SqliteOptions {
    let clock = Arc::new(ManualClock::at(Timestamp(1_000)));
    SqliteOptions::new(dir, feed, clock, "0.1.0")
}
