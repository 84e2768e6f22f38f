//! What a command has written, within bounds.

use std::collections::VecDeque;

/// The first and the last bytes of an output; what lies between is counted only.
#[derive(Debug)]
pub(super) struct Output {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// Bytes kept of the beginning, and as many times three of the end.
    quarter: usize,
    left_out: usize,
}

impl Output {
    /// Keeps about `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            head: Vec::new(),
            tail: VecDeque::new(),
            quarter: limit / 4,
            left_out: 0,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let room = self.quarter.saturating_sub(self.head.len());
        let (head, tail) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        self.tail.extend(tail);
        let excess = self.tail.len().saturating_sub(3 * self.quarter);
        self.tail.drain(..excess);
        self.left_out += excess;
    }

    /// The output as text. A character that is not whole yet is left for the next time.
    pub(super) fn text(&self) -> String {
        let (a, b) = self.tail.as_slices();
        if self.left_out == 0 {
            return lossy(&[&self.head, a, b].concat());
        }
        let tail = [a, b].concat();
        // The cut may have hit a character.
        let whole = tail
            .iter()
            .take(3)
            .take_while(|b| **b & 0xC0 == 0x80)
            .count();
        format!(
            "{}\n\n[… {} bytes left out …]\n\n{}",
            lossy(&self.head),
            self.left_out + whole,
            lossy(&tail[whole..])
        )
    }
}

/// Text of bytes; an unfinished character at the end is dropped.
fn lossy(bytes: &[u8]) -> String {
    let unfinished = bytes
        .utf8_chunks()
        .last()
        .map(|chunk| chunk.invalid())
        .filter(|invalid| std::str::from_utf8(invalid).is_err_and(|e| e.error_len().is_none()))
        .map_or(0, <[u8]>::len);
    String::from_utf8_lossy(&bytes[..bytes.len() - unfinished]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_outputs_are_whole_and_binary_ones_lossy() {
        let mut output = Output::new(100);
        output.push("grün".as_bytes());
        output.push(b"\xff!\n");
        assert_eq!(output.text(), "grün\u{fffd}!\n");
    }

    #[test]
    fn a_character_in_two_pieces_is_shown_once() {
        let mut output = Output::new(100);
        output.push(&"é".as_bytes()[..1]);
        assert_eq!(output.text(), "");
        output.push(&"é".as_bytes()[1..]);
        assert_eq!(output.text(), "é");
    }

    #[test]
    fn of_a_large_output_head_and_tail_are_kept() {
        let mut output = Output::new(40);
        for n in 0..1000 {
            output.push(format!("{n:03}é").as_bytes());
        }
        let text = output.text();
        assert!(text.starts_with("000é001é\n\n[… 49"), "{text}");
        assert!(text.ends_with("997é998é999é"), "{text}");
        assert!(!text.contains('\u{fffd}'), "{text}");
        assert!(text.len() < 100);
    }
}
