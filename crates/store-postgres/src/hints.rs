//! Hints to other nodes that there is something to read. Nothing depends on them.

use sessiond_model::PartId;

/// Bytes of a notification: PostgreSQL takes less than 8000.
const PAYLOAD: usize = 4096;

/// What others may want to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hint {
    /// There are events.
    pub(crate) events: bool,
    /// Open parts whose text has grown without an event.
    pub(crate) parts: Vec<PartId>,
}

impl Hint {
    pub(crate) fn is_empty(&self) -> bool {
        !self.events && self.parts.is_empty()
    }

    /// Both.
    pub(crate) fn add(&mut self, other: Self) {
        self.events |= other.events;
        for part in other.parts {
            if !self.parts.contains(&part) {
                self.parts.push(part);
            }
        }
    }

    /// As the payload of a notification by this node. Parts that do not fit are left out.
    pub(crate) fn payload(&self, node: u64) -> String {
        let mut text = node.to_string();
        for part in &self.parts {
            if text.len() + 1 + part.as_str().len() > PAYLOAD {
                break;
            }
            text.push(' ');
            text.push_str(part.as_str());
        }
        text
    }

    /// Reads a payload of another node; `None` for one of this node.
    pub(crate) fn read(payload: &str, node: u64) -> Option<Self> {
        let mut words = payload.split(' ');
        if words.next()?.parse() == Ok(node) {
            return None;
        }
        Some(Self {
            events: true,
            parts: words.map(PartId::trusted).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_read_by_others_only() {
        let mut hint = Hint {
            events: true,
            parts: vec![PartId::trusted("prt_a")],
        };
        hint.add(Hint {
            events: false,
            parts: vec![PartId::trusted("prt_a"), PartId::trusted("prt_b")],
        });
        let payload = hint.payload(7);
        assert_eq!(payload, "7 prt_a prt_b");
        assert_eq!(Hint::read(&payload, 8), Some(hint));
        assert_eq!(Hint::read(&payload, 7), None);
    }

    #[test]
    fn a_payload_is_bounded() {
        let part = |n: usize| PartId::trusted(&format!("prt_{n:030}"));
        let hint = Hint {
            events: true,
            parts: (0..1_000).map(part).collect(),
        };
        assert!(hint.payload(1).len() <= PAYLOAD);
    }
}
