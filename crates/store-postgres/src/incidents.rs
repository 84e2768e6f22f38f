//! Sentences on damage found and what was done about it.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// The newest incidents; older ones are in the log.
#[derive(Debug, Default)]
pub(crate) struct Incidents(Mutex<VecDeque<String>>);

const KEPT: usize = 100;

impl Incidents {
    /// Notes one, once.
    pub(crate) fn note(&self, sentence: String) {
        let mut kept = self.0.lock();
        if kept.contains(&sentence) {
            return;
        }
        tracing::error!(incident = %sentence, "store damage");
        kept.push_front(sentence);
        kept.truncate(KEPT);
    }

    /// All that are kept, newest first.
    pub(crate) fn list(&self) -> Vec<String> {
        self.0.lock().iter().cloned().collect()
    }
}
