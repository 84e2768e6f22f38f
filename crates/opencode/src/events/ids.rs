//! Ids of stream events. An event has the same id on every connection and after every
//! restart, because it is made of the event's time and position.

use sessiond_engine::{Delta, Notice};
use sessiond_model::{IdStamp, Timestamp};

/// Frames that one event can give.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Slot {
    First,
    Second,
}

fn id(at: Timestamp, tail: &str) -> String {
    let millis = u64::try_from(at.millis()).unwrap_or(0);
    let stamp = IdStamp::from_bits(millis.wrapping_mul(4096));
    format!("evt_{:012x}{tail}", stamp.bits())
}

/// Of a durable event.
pub(crate) fn durable(at: Timestamp, seq: u64, slot: Slot) -> String {
    let slot = match slot {
        Slot::First => 'A',
        Slot::Second => 'B',
    };
    id(at, &format!("{seq:013}{slot}"))
}

/// Of an event that `/api/*` tells under this number.
pub(crate) fn kept(at: Timestamp, number: u64) -> String {
    id(at, &format!("{number:014}"))
}

/// Of a frame that only one connection sees: the `n`th of a stream opened at `at`.
pub(crate) fn local(at: Timestamp, n: u64) -> String {
    id(at, &format!("{n:013}L"))
}

/// Of the server's own frames on one connection.
pub(crate) fn server(at: Timestamp, n: u64) -> String {
    id(at, &format!("{n:013}S"))
}

/// Of live growth of a part.
pub(crate) fn delta(d: &Delta) -> String {
    let part = d.part_id.as_str().trim_start_matches("prt_");
    format!("evt_{:012x}{part}", d.offset)
}

/// Of a passing word.
pub(crate) fn notice(n: &Notice) -> String {
    id(n.at, &format!("{:013}N", n.number))
}

/// Of what is told because of a passing word; the letter tells the frames apart.
pub(crate) fn after_notice(n: &Notice, letter: char) -> String {
    id(n.at, &format!("{:013}{letter}", n.number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_stable_distinct_and_of_the_usual_length() {
        let at = Timestamp(1_795_364_893_636);
        let a = durable(at, 7, Slot::First);
        assert_eq!(a, durable(at, 7, Slot::First));
        assert_ne!(a, durable(at, 7, Slot::Second));
        assert_ne!(a, durable(at, 8, Slot::First));
        assert_ne!(a, local(at, 7));
        assert_ne!(local(at, 7), server(at, 7));
        assert_eq!(a.len(), 30);
        assert!(durable(Timestamp(at.0 + 1), 8, Slot::First) > a);
    }
}
