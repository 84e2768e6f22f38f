//! Lines of an agent, up to a cap.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

/// Splits a stream into lines. Agents write lines of tens of kilobytes as a matter of course,
/// and of megabytes when a picture is in them.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    max: usize,
}

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A line without its end.
    Text(Vec<u8>),
    /// More than the cap without an end of line.
    TooLong,
    /// No more.
    End,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(input: R, max: usize) -> Self {
        Self {
            input: BufReader::with_capacity(64 << 10, input),
            line: Vec::new(),
            max,
        }
    }

    /// The next line. Nothing is lost when the future is dropped before it is ready.
    pub(crate) async fn next(&mut self) -> io::Result<Line> {
        loop {
            let chunk = self.input.fill_buf().await?;
            if chunk.is_empty() {
                return Ok(if self.line.is_empty() {
                    Line::End
                } else {
                    Line::Text(std::mem::take(&mut self.line))
                });
            }
            let end = chunk.iter().position(|b| *b == b'\n');
            let taken = end.unwrap_or(chunk.len());
            if self.line.len() + taken > self.max {
                return Ok(Line::TooLong);
            }
            self.line.extend_from_slice(&chunk[..taken]);
            self.input.consume(taken + usize::from(end.is_some()));
            if end.is_some() {
                return Ok(Line::Text(std::mem::take(&mut self.line)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn splits_lines_and_keeps_the_last_one_without_an_end() {
        let mut lines = Lines::new(&b"one\n\ntwo"[..], 10);
        assert_eq!(lines.next().await.unwrap(), Line::Text(b"one".to_vec()));
        assert_eq!(lines.next().await.unwrap(), Line::Text(Vec::new()));
        assert_eq!(lines.next().await.unwrap(), Line::Text(b"two".to_vec()));
        assert_eq!(lines.next().await.unwrap(), Line::End);
    }

    #[tokio::test]
    async fn a_line_of_exactly_the_cap_passes_and_one_byte_more_does_not() {
        let text = [vec![b'x'; 200_000], b"\n".to_vec()].concat();
        let mut fits = Lines::new(&text[..], 200_000);
        assert!(matches!(fits.next().await.unwrap(), Line::Text(t) if t.len() == 200_000));
        let mut over = Lines::new(&text[..], 199_999);
        assert_eq!(over.next().await.unwrap(), Line::TooLong);
    }
}
