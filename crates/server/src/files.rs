//! File descriptors: one for each connection, and some for the store and the agents.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As many as the largest sensible `limits.connections` and the rest need.
const WANTED: u64 = 65_536;

/// Allows this process as many open files as it may have: the usual soft limit of 1024 is
/// less than the connections a server should be able to keep.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let Some(raised) = raised(limit.current, limit.maximum) else {
        return;
    };
    let wanted = Rlimit {
        current: Some(raised),
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}

/// The new soft limit, when it is to change. `None` is no limit.
fn raised(current: Option<u64>, maximum: Option<u64>) -> Option<u64> {
    let wanted = maximum.map_or(WANTED, |most| most.min(WANTED));
    (current? < wanted).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_raised_as_far_as_allowed_and_never_lowered() {
        assert_eq!(raised(Some(1024), Some(4096)), Some(4096));
        assert_eq!(raised(Some(1024), None), Some(WANTED));
        assert_eq!(raised(Some(1024), Some(1 << 20)), Some(WANTED));
        assert_eq!(raised(Some(1 << 20), Some(1 << 20)), None);
        assert_eq!(raised(None, None), None);
    }
}
