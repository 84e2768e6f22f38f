use std::path::PathBuf;
use std::sync::Arc;

use sessiond_model::Clock;
use sessiond_store::Feed;

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The data directory; made when it is not there.
    pub dir: PathBuf,
    /// Who hears of commits.
    pub feed: Arc<dyn Feed>,
    /// The time, for migrations and incidents.
    pub clock: Arc<dyn Clock>,
    /// Version of the program, noted in the store.
    pub version: String,
    /// Address of the holder, told to a second process that wants the directory.
    pub holder_url: Option<String>,
    /// Most commits that may wait; one more is refused as overload.
    pub queue: usize,
    /// Most pages the database may have: a full disk for tests.
    pub max_pages: Option<u32>,
}

impl SqliteOptions {
    /// The usual options for a data directory.
    #[must_use]
    pub fn new(
        dir: impl Into<PathBuf>,
        feed: Arc<dyn Feed>,
        clock: Arc<dyn Clock>,
        version: impl Into<String>,
    ) -> Self {
        Self {
            dir: dir.into(),
            feed,
            clock,
            version: version.into(),
            holder_url: None,
            queue: 4096,
            max_pages: None,
        }
    }
}
