//! Which session last said that it writes a file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sessiond_model::{SessionId, Timestamp};

/// Files remembered at the same time.
const REMEMBERED: usize = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Claims(HashMap<PathBuf, (SessionId, Timestamp)>);

impl Claims {
    /// Notes that the session says that it writes the file.
    pub(crate) fn claim(&mut self, path: &Path, session: &SessionId, at: Timestamp) {
        if self.0.len() >= REMEMBERED {
            // Old claims only matter to turns that still run.
            let mut times: Vec<_> = self.0.values().map(|(_, at)| *at).collect();
            times.sort_unstable();
            let middle = times[times.len() / 2];
            self.0.retain(|_, (_, at)| *at > middle);
        }
        self.0.insert(path.to_owned(), (session.clone(), at));
    }

    /// The files that other sessions named since then.
    pub(crate) fn of_others(&self, session: &SessionId, since: Timestamp) -> Vec<PathBuf> {
        let others = self.0.iter();
        others
            .filter(|(_, (owner, at))| owner != session && *at >= since)
            .map(|(path, _)| path.clone())
            .collect()
    }
}
