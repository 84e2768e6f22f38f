//! Points at which crash tests end the process.

/// Before a group of commits begins.
pub(crate) const BEFORE_BEGIN: &str = "commit.before_begin";
/// After the changes of a group were applied.
pub(crate) const AFTER_APPLY: &str = "commit.after_apply";
/// Right before a group becomes durable.
pub(crate) const BEFORE_COMMIT: &str = "commit.before_commit";
/// Right after a group became durable.
pub(crate) const AFTER_COMMIT: &str = "commit.after_commit";
/// After subscribers heard of a group, before its committers do.
pub(crate) const BEFORE_REPLY: &str = "commit.before_reply";

/// Ends the process here when `SESSIOND_FAILPOINT` is this point's name, or `name:n` and this
/// is the n-th time.
#[cfg(feature = "failpoints")]
pub(crate) fn hit(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static HITS: AtomicU64 = AtomicU64::new(0);

    let wanted = WANTED.get_or_init(|| {
        let value = std::env::var("SESSIOND_FAILPOINT").ok()?;
        Some(match value.split_once(':') {
            Some((name, nth)) => (name.to_owned(), nth.parse().ok()?),
            None => (value, 1),
        })
    });
    if let Some((wanted, nth)) = wanted
        && wanted == name
        && HITS.fetch_add(1, Ordering::SeqCst) + 1 == *nth
    {
        std::process::abort();
    }
}

/// Does nothing: built without failpoints.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub(crate) fn hit(_name: &str) {}
