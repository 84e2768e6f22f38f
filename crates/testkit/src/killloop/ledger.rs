//! What the server has promised.

use std::collections::{BTreeMap, BTreeSet};

/// A value of which the last word may not have arrived.
#[derive(Clone, Debug)]
pub(crate) struct Value<T> {
    /// The last acknowledged one.
    pub(crate) sure: T,
    /// Ones that were sent later, without an answer.
    pub(crate) maybe: Vec<T>,
}

impl<T: PartialEq + Clone> Value<T> {
    pub(crate) fn new(sure: T) -> Self {
        Self {
            sure,
            maybe: Vec::new(),
        }
    }

    /// Whether the server may show this; from now on it must.
    pub(crate) fn settle(&mut self, found: &T) -> bool {
        let fits = self.sure == *found || self.maybe.contains(found);
        self.sure = found.clone();
        self.maybe.clear();
        fits
    }
}

/// A message that a client stored without asking for a reply.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) by: usize,
    /// Whether it must be there: `Some(true)` yes, `Some(false)` no, `None` it may be.
    pub(crate) present: Option<bool>,
}

/// A prompt.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    pub(crate) text: String,
    pub(crate) acknowledged: bool,
    /// The turn, once known, and the state in which it was seen to have ended.
    pub(crate) turn: Option<String>,
    pub(crate) ended: Option<String>,
}

/// A session.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) owner: usize,
    pub(crate) title: Value<String>,
    pub(crate) exists: Value<bool>,
    pub(crate) notes: Vec<Note>,
    pub(crate) prompts: BTreeMap<String, Prompt>,
    /// Whether something happened to it since the last check.
    pub(crate) touched: bool,
    /// How many of its events were seen.
    pub(crate) events: u64,
}

/// All that was promised.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) sessions: BTreeMap<String, Entry>,
    pub(crate) acknowledged: u64,
    /// Every title that was ever sent.
    pub(crate) titles: BTreeSet<String>,
    /// Permission requests that were ever seen.
    pub(crate) permissions: BTreeSet<String>,
    next: u64,
}

impl Ledger {
    /// A number that was not given out before.
    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A fresh message id of the form that clients make.
    pub(crate) fn message_id(&mut self) -> String {
        let number = self.number();
        format!("msg_{:012x}KillLoopClient", 0x1000_0000_0000 + number)
    }

    pub(crate) fn entry(&mut self, session: &str) -> Option<&mut Entry> {
        let entry = self.sessions.get_mut(session)?;
        entry.touched = true;
        Some(entry)
    }

    pub(crate) fn add(&mut self, session: String, owner: usize, title: String) {
        self.sessions.insert(
            session,
            Entry {
                owner,
                title: Value::new(title),
                exists: Value::new(true),
                notes: Vec::new(),
                prompts: BTreeMap::new(),
                touched: true,
                events: 0,
            },
        );
    }
}
