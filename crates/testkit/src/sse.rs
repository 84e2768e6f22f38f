//! Server-sent events, from bytes that may be cut anywhere.

use serde_json::Value;

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Its `id:` line.
    pub id: Option<String>,
    /// Its data.
    pub data: Value,
}

/// Puts events together; what is incomplete waits for more bytes.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: Vec<u8>,
}

impl Parser {
    /// Takes bytes and gives the events that are complete now.
    ///
    /// # Errors
    /// The text of data that is not JSON.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, String> {
        self.buffer.extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some(end) = self.buffer.windows(2).position(|w| w == b"\n\n") {
            let rest = self.buffer.split_off(end + 2);
            let block = std::mem::replace(&mut self.buffer, rest);
            let text = String::from_utf8(block).map_err(|e| format!("not UTF-8: {e}"))?;
            let field = |name: &str| {
                text.lines()
                    .filter_map(|l| l.strip_prefix(name))
                    .map(|l| l.strip_prefix(' ').unwrap_or(l))
                    .collect::<Vec<_>>()
            };
            let data = field("data:").join("\n");
            if data.is_empty() {
                continue;
            }
            frames.push(Frame {
                id: field("id:").last().map(|s| (*s).to_owned()),
                data: serde_json::from_str(&data).map_err(|_| format!("not JSON: {data}"))?,
            });
        }
        Ok(frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_whole_however_the_bytes_are_cut() {
        let bytes = "id: 1\ndata: {\"a\":\"é\"}\n\n: comment\n\ndata: 2\n\n".as_bytes();
        for cut in 0..bytes.len() {
            let mut parser = Parser::default();
            let mut all = parser.push(&bytes[..cut]).unwrap();
            all.extend(parser.push(&bytes[cut..]).unwrap());
            assert_eq!(all.len(), 2, "cut at {cut}");
            assert_eq!(all[0].id.as_deref(), Some("1"));
            assert_eq!(all[0].data["a"], "é");
            assert_eq!(all[1].data, 2);
        }
    }
}
