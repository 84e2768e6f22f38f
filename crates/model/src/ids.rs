//! Typed ids and the hybrid clock that mints them.
//!
//! An id is a prefix, 12 hex digits of time and counter, and 14 random base-62 characters:
//! the layout that OpenCode clients sort by. The time part has 48 bits
//! (`milliseconds × 4096 + counter`, cut), so it wraps every 795 days; stamps are therefore
//! compared on the circle, never as plain numbers.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng as _;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::Clock;

/// The longest id accepted from a client, in bytes.
pub const MAX_ID_LEN: usize = 128;

/// Why a text is not an id of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdError {
    /// The text does not start with the prefix of its kind.
    #[error("Expected a string starting with \"{prefix}\", got {got:?}")]
    Prefix {
        /// The prefix that was expected, e.g. `ses`.
        prefix: &'static str,
        /// What came (cut to 40 characters).
        got: String,
    },
    /// The text is longer than [`MAX_ID_LEN`].
    #[error("Expected an id of at most {MAX_ID_LEN} bytes, got {len}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The text has a character that no id has.
    #[error("Expected only letters, digits, '_', '-', '.' or ':' in an id, got {found:?}")]
    Character {
        /// The first such character.
        found: char,
    },
}

fn check(prefix: &'static str, text: &str) -> Result<(), IdError> {
    if !text.starts_with(prefix) {
        return Err(IdError::Prefix {
            prefix,
            got: text.chars().take(40).collect(),
        });
    }
    if text.len() > MAX_ID_LEN {
        return Err(IdError::TooLong { len: text.len() });
    }
    match text
        .chars()
        .find(|c| !(c.is_ascii_alphanumeric() || "_-.:".contains(*c)))
    {
        Some(found) => Err(IdError::Character { found }),
        None => Ok(()),
    }
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $descending:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The prefix that every id of this kind starts with.
            pub const PREFIX: &'static str = $prefix;

            /// Checks a text from outside.
            ///
            /// # Errors
            /// When the prefix, the length or a character is wrong.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check($prefix, text)?;
                Ok(Self(text.into()))
            }

            /// Takes a text that was checked before, e.g. from the store.
            #[must_use]
            pub fn trusted(text: &str) -> Self {
                Self(text.into())
            }

            /// Mints a fresh id that sorts after `floor` and raises `floor` to it.
            pub fn mint(ids: &dyn IdGen, floor: &mut IdStamp) -> Self {
                let stamp = ids.stamp(*floor);
                *floor = stamp;
                let head = if $descending { stamp.complement() } else { stamp.bits() };
                Self(format!("{}_{:012x}{}", $prefix, head, ids.tail()).into())
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The time part, when the id has the usual layout.
            #[must_use]
            pub fn stamp(&self) -> Option<IdStamp> {
                let hex = self.0.strip_prefix(concat!($prefix, "_"))?.get(..12)?;
                let bits = u64::from_str_radix(hex, 16).ok()?;
                let stamp = IdStamp(bits & IdStamp::MASK);
                Some(if $descending { IdStamp(stamp.complement()) } else { stamp })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

id_type!(
    /// A session. Its minted ids sort newest first, as OpenCode's do.
    SessionId, "ses", true
);
id_type!(
    /// A message. Minted ids sort in the order of their session.
    MessageId, "msg", false
);
id_type!(
    /// A part of a message. Minted ids sort in the order of their session.
    PartId, "prt", false
);
id_type!(
    /// A turn: one accepted prompt and all that it causes.
    TurnId, "trn", false
);
id_type!(
    /// A permission request.
    PermissionId, "per", false
);
id_type!(
    /// A question that an agent asks a person.
    QuestionId, "que", false
);

/// A project: the SHA of a git repository's root commit, or `global` outside of git.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProjectId(Arc<str>);

impl ProjectId {
    /// Wraps an id as found in git or the store.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The project of all directories outside of git.
    #[must_use]
    pub fn global() -> Self {
        Self::new("global")
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The 48-bit time part of an id: a point on a circle of 795 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct IdStamp(u64);

impl IdStamp {
    const MASK: u64 = (1 << 48) - 1;

    /// A stamp from raw bits, cut to 48.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        Self(bits & Self::MASK)
    }

    /// The raw 48 bits.
    #[must_use]
    pub fn bits(self) -> u64 {
        self.0
    }

    fn complement(self) -> u64 {
        !self.0 & Self::MASK
    }

    /// Whether `self` comes after `other` on the circle (less than half a turn ahead).
    #[must_use]
    pub fn is_after(self, other: Self) -> bool {
        let ahead = self.0.wrapping_sub(other.0) & Self::MASK;
        ahead != 0 && ahead < (1 << 47)
    }

    /// The later of the two on the circle.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        if other.is_after(self) { other } else { self }
    }

    fn next(self) -> Self {
        Self((self.0 + 1) & Self::MASK)
    }
}

/// Where new ids come from.
pub trait IdGen: Send + Sync + fmt::Debug {
    /// A stamp after every stamp given before by this generator and after `floor`.
    fn stamp(&self, floor: IdStamp) -> IdStamp;

    /// 14 random base-62 characters.
    fn tail(&self) -> String;
}

/// The usual generator: a hybrid of the wall clock and a counter that never goes back.
#[derive(Debug)]
pub struct HybridIds {
    clock: Arc<dyn Clock>,
    last: Mutex<Option<IdStamp>>,
}

impl HybridIds {
    /// A generator over `clock`.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            last: Mutex::new(None),
        }
    }
}

impl IdGen for HybridIds {
    fn stamp(&self, floor: IdStamp) -> IdStamp {
        let wall = u64::try_from(self.clock.now().millis()).unwrap_or(0);
        let wall = IdStamp::from_bits(wall.wrapping_mul(4096).wrapping_add(1));
        let mut last = self.last.lock();
        let mine = last.map_or(wall, |l| l.next().max(wall));
        *last = Some(mine);
        // A session whose client runs ahead of us gets ids after its own, without dragging
        // every other session into that future.
        if floor == IdStamp::default() || mine.is_after(floor) {
            mine
        } else {
            floor.next()
        }
    }

    fn tail(&self) -> String {
        const ALPHABET: &[u8; 62] =
            b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
        let mut random = [0u8; 14];
        rand::rng().fill_bytes(&mut random);
        random
            .iter()
            .map(|b| char::from(ALPHABET[usize::from(*b) % 62]))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ManualClock, Timestamp};

    #[test]
    fn minted_ids_ascend_when_the_clock_goes_back() {
        let clock = Arc::new(ManualClock::at(Timestamp(1_795_364_893_636)));
        let ids = HybridIds::new(clock.clone());
        let mut floor = IdStamp::default();
        let a = MessageId::mint(&ids, &mut floor);
        clock.advance(-3_600_000);
        let b = MessageId::mint(&ids, &mut floor);
        assert!(b > a, "{b} must sort after {a}");
        assert_eq!(a.as_str().len(), 30);
    }

    #[test]
    fn minted_ids_follow_a_client_that_runs_ahead_without_dragging_others() {
        let clock = Arc::new(ManualClock::at(Timestamp(1_795_364_893_636)));
        let ids = HybridIds::new(clock);
        let mut ahead = IdStamp::from_bits((1_795_364_893_636u64 + 600_000) * 4096);
        let client = ahead;
        let a = MessageId::mint(&ids, &mut ahead);
        assert!(a.stamp().unwrap().is_after(client));
        let mut other = IdStamp::default();
        let b = MessageId::mint(&ids, &mut other);
        assert!(b < a, "another session keeps its own time");
    }

    #[test]
    fn session_ids_sort_newest_first() {
        let ids = HybridIds::new(Arc::new(ManualClock::at(Timestamp(1_795_364_893_636))));
        let mut floor = IdStamp::default();
        let a = SessionId::mint(&ids, &mut floor);
        let b = SessionId::mint(&ids, &mut floor);
        assert!(b < a);
        assert_eq!(b.stamp(), Some(floor));
    }

    #[test]
    fn stamps_compare_across_the_wrap() {
        let before = IdStamp::from_bits(IdStamp::MASK);
        assert!(before.next().is_after(before));
    }

    #[test]
    fn parse_names_what_is_wrong() {
        assert!(matches!(
            SessionId::parse("bad"),
            Err(IdError::Prefix { prefix: "ses", .. })
        ));
        assert!(matches!(
            MessageId::parse("msg_a/b"),
            Err(IdError::Character { found: '/' })
        ));
        assert!(matches!(
            MessageId::parse(&format!("msg_{}", "a".repeat(200))),
            Err(IdError::TooLong { .. })
        ));
        assert!(SessionId::parse("ses_mine").is_ok());
    }
}
