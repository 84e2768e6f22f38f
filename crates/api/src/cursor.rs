//! Opaque page cursors: base64url over a short text that names its list, so that a cursor of
//! one list is refused by another.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sessiond_model::{SessionId, Timestamp};
use sessiond_store::{MessageCursor, SessionCursor};

use crate::problem::Problem;

/// Longest cursor looked at, in characters: the longest id and a number, encoded.
const MAX: usize = 512;

/// A position that travels as an opaque text.
pub(crate) trait Cursor: Sized {
    /// The text inside.
    fn write(&self) -> String;
    /// Reads the text inside.
    fn read(text: &str) -> Option<Self>;

    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.write())
    }

    fn decode(cursor: &str) -> Result<Self, Problem> {
        Some(cursor)
            .filter(|c| c.len() <= MAX)
            .and_then(|c| URL_SAFE_NO_PAD.decode(c).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| Self::read(&text))
            .ok_or_else(|| {
                Problem::invalid(
                    "cursor",
                    "Expected the `next_cursor` of an earlier page of this list",
                )
            })
    }
}

impl Cursor for SessionCursor {
    fn write(&self) -> String {
        format!("s:{}:{}", self.at.millis(), self.id)
    }

    fn read(text: &str) -> Option<Self> {
        let (millis, id) = text.strip_prefix("s:")?.split_once(':')?;
        Some(Self {
            at: Timestamp(millis.parse().ok()?),
            id: SessionId::parse(id).ok()?,
        })
    }
}

/// Position in the list of shares: the last session.
pub(crate) struct ShareCursor(pub(crate) SessionId);

impl Cursor for ShareCursor {
    fn write(&self) -> String {
        format!("h:{}", self.0)
    }

    fn read(text: &str) -> Option<Self> {
        Some(Self(SessionId::parse(text.strip_prefix("h:")?).ok()?))
    }
}

impl Cursor for MessageCursor {
    fn write(&self) -> String {
        format!("m:{}", self.0)
    }

    fn read(text: &str) -> Option<Self> {
        // Stores count in signed 64-bit numbers.
        let position = text.strip_prefix("m:")?.parse().ok()?;
        i64::try_from(position).ok().map(|_| Self(position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_as_they_went() {
        let session = SessionCursor {
            at: Timestamp(1_795_364_893_636),
            id: SessionId::parse("ses_a:b").unwrap(),
        };
        assert_eq!(SessionCursor::decode(&session.encode()).unwrap(), session);
        assert_eq!(
            MessageCursor::decode(&MessageCursor(7).encode()).unwrap(),
            MessageCursor(7)
        );
    }

    #[test]
    fn other_texts_are_refused_by_name() {
        let foreign = MessageCursor(7).encode();
        let id = URL_SAFE_NO_PAD.encode("s:1:bad");
        let huge = URL_SAFE_NO_PAD.encode("m:18446744073709551615");
        for bad in ["", "7", "%%%", "bTo3=", &foreign, &id, &"A".repeat(5_000)] {
            assert_eq!(
                SessionCursor::decode(bad).unwrap_err().field.as_deref(),
                Some("cursor"),
                "{bad}"
            );
        }
        assert!(MessageCursor::decode(&huge).is_err());
    }
}
