//! The context of an agent that has lost its memory: our transcript, newest first, within a
//! budget.

use std::fmt::Write as _;

use sessiond_model::{Message, MessageDoc, MessageInfo, Part, PartBody, ToolState};

/// Longest share of one tool's output.
const TOOL_OUTPUT: usize = 2000;

/// Collects messages from the newest to the oldest until the budget is spent.
#[derive(Debug)]
pub(crate) struct ContextBuilder {
    left: usize,
    /// Rendered messages, newest first.
    pieces: Vec<String>,
    omitted: bool,
}

impl ContextBuilder {
    /// A builder that takes about `budget` bytes.
    pub(crate) fn new(budget: usize) -> Self {
        Self {
            left: budget,
            pieces: Vec::new(),
            omitted: false,
        }
    }

    /// Adds the next older message. `false` once the budget is spent.
    pub(crate) fn push(&mut self, doc: &MessageDoc) -> bool {
        if self.omitted {
            return false;
        }
        let Some(message) = doc.message() else {
            return true;
        };
        let piece = render(&message, &doc.typed_parts());
        if piece.is_empty() {
            return true;
        }
        if piece.len() > self.left {
            // The newest message is worth its tail even when it alone is over the budget.
            if self.pieces.is_empty() {
                self.pieces.push(tail(&piece, self.left).to_owned());
            }
            self.omitted = true;
            return false;
        }
        self.left -= piece.len();
        self.pieces.push(piece);
        true
    }

    /// The context, oldest first; `None` when there is nothing to tell.
    pub(crate) fn finish(self) -> Option<String> {
        if self.pieces.is_empty() {
            return None;
        }
        let mut out = String::from(
            "<conversation-so-far>\nThis session continues an earlier conversation whose memory was lost. \
             Below is its transcript. Work in it is done already; do not do it again. Answer only what comes \
             after the transcript.\n",
        );
        if self.omitted {
            out.push_str("[older messages are left out]\n");
        }
        for piece in self.pieces.iter().rev() {
            out.push('\n');
            out.push_str(piece);
        }
        out.push_str("</conversation-so-far>\n");
        Some(out)
    }
}

fn render(message: &Message, parts: &[Part]) -> String {
    let mut body = String::new();
    for part in parts {
        // Writing to a String does not fail.
        let _ = match &part.body {
            PartBody::Text {
                ignored: Some(true),
                ..
            } => Ok(()),
            PartBody::Text { text, .. } if !text.is_empty() => writeln!(body, "{text}"),
            PartBody::File { filename, url, .. } => {
                let name = filename.as_deref().unwrap_or(if url.starts_with("data:") {
                    "file"
                } else {
                    url
                });
                writeln!(body, "[file: {name}]")
            }
            PartBody::Tool(tool) => {
                let (input, result) = match &tool.state {
                    ToolState::Completed { input, output, .. } => {
                        (input, head(output, TOOL_OUTPUT))
                    }
                    ToolState::Error { input, error, .. } => (input, head(error, TOOL_OUTPUT)),
                    ToolState::Pending { input, .. } | ToolState::Running { input, .. } => {
                        (input, "(it is not known how this call ended)")
                    }
                };
                let input = serde_json::to_string(input).unwrap_or_default();
                writeln!(
                    body,
                    "[tool {}: {}]\n{result}",
                    tool.tool,
                    head(&input, TOOL_OUTPUT)
                )
            }
            _ => Ok(()),
        };
    }
    if let MessageInfo::Assistant(info) = &message.info
        && let Some(error) = &info.error
    {
        let _ = writeln!(body, "[this answer was cut off: {}]", error.message());
    }
    if body.is_empty() {
        return body;
    }
    format!("## {}\n{body}", message.info.role())
}

fn head(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn tail(text: &str, limit: usize) -> &str {
    let mut start = text.len().saturating_sub(limit);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use sessiond_model::{MessageId, PartDoc, PartId, SessionId};

    fn doc(n: u64, role: &str, text: &str) -> MessageDoc {
        let info = if role == "user" {
            r#"{"role":"user","time":{"created":1},"agent":"build","model":{"providerID":"demo","modelID":"m"}}"#
        } else {
            r#"{"role":"assistant","time":{"created":1},"parentID":"msg_0","modelID":"m","providerID":"demo","mode":"build","agent":"build","path":{"cwd":"/","root":"/"},"cost":0.0,"tokens":{"input":0,"output":0,"reasoning":0,"cache":{"read":0,"write":0}}}"#
        };
        MessageDoc {
            id: MessageId::trusted(&format!("msg_{n}")),
            session_id: SessionId::trusted("ses_1"),
            position: n,
            info: info.into(),
            parts: vec![PartDoc {
                id: PartId::trusted(&format!("prt_{n}")),
                body: serde_json::to_string(&PartBody::text(text)).unwrap(),
            }],
        }
    }

    #[test]
    fn the_newest_messages_win_and_come_last() {
        let mut builder = ContextBuilder::new(40);
        assert!(builder.push(&doc(3, "user", "third")));
        assert!(builder.push(&doc(2, "assistant", "second")));
        assert!(!builder.push(&doc(1, "user", "first, which is too long for what is left")));
        let text = builder.finish().unwrap();
        assert!(text.find("second").unwrap() < text.find("third").unwrap());
        assert!(text.contains("left out"));
        assert!(!text.contains("first"));
    }

    #[test]
    fn a_single_huge_message_gives_its_tail() {
        let mut builder = ContextBuilder::new(10);
        assert!(!builder.push(&doc(1, "user", &format!("{}END", "é".repeat(100)))));
        assert!(builder.finish().unwrap().contains("END"));
    }

    #[test]
    fn nothing_to_tell() {
        assert_eq!(ContextBuilder::new(100).finish(), None);
    }
}
