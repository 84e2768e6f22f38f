//! The context of an agent that has lost its memory: our transcript, newest first, within a
//! budget, back to the last whole summary.

use std::fmt::Write as _;

use sessiond_model::{
    AssistantInfo, Message, MessageDoc, MessageId, MessageInfo, Part, PartBody, ToolState,
};

/// Longest share of one tool's output.
const TOOL_OUTPUT: usize = 2000;

/// Collects messages from the newest to the oldest until the budget is spent or a summary says
/// the rest.
#[derive(Debug)]
pub(crate) struct ContextBuilder {
    budget: usize,
    left: usize,
    /// Rendered messages, newest first.
    pieces: Vec<String>,
    omitted: bool,
    summary: Option<Summary>,
}

#[derive(Debug)]
struct Summary {
    text: String,
    /// The message that asked for it: what is older is in the summary.
    asked_by: MessageId,
}

impl ContextBuilder {
    /// A builder that takes about `budget` bytes, and a summary of up to as many.
    pub(crate) fn new(budget: usize) -> Self {
        Self {
            budget,
            left: budget,
            pieces: Vec::new(),
            omitted: false,
            summary: None,
        }
    }

    /// Whether only a summary is looked for.
    pub(crate) fn is_full(&self) -> bool {
        self.omitted
    }

    /// Adds the next older message. `false` when what is older is not needed.
    pub(crate) fn push(&mut self, doc: &MessageDoc) -> bool {
        let Some(message) = doc.message() else {
            return true;
        };
        match (&message.info, &self.summary) {
            (_, Some(summary)) if summary.asked_by == message.id => return false,
            // Turns run one at a time: every answer before the summary is in it. A prompt may
            // have waited behind it.
            (MessageInfo::Assistant(_), Some(_)) => return true,
            (MessageInfo::Assistant(info), None) if info.summary == Some(true) => {
                self.summary = whole_summary(info, doc).map(|text| Summary {
                    text: head(&text, self.budget).to_owned(),
                    asked_by: info.parent_id.clone(),
                });
                return true;
            }
            _ => {}
        }
        let piece = render(&message, &doc.typed_parts());
        if self.omitted || piece.is_empty() {
            return true;
        }
        if piece.len() > self.left {
            // The newest message is worth its tail even when it alone is over the budget.
            if self.pieces.is_empty() {
                self.pieces.push(tail(&piece, self.left).to_owned());
            }
            self.omitted = true;
            return true;
        }
        self.left -= piece.len();
        self.pieces.push(piece);
        true
    }

    /// The context, oldest first; `None` when there is nothing to tell.
    pub(crate) fn finish(self) -> Option<String> {
        if self.pieces.is_empty() && self.summary.is_none() {
            return None;
        }
        let mut out = String::from(
            "<conversation-so-far>\nThis session continues an earlier conversation whose memory was lost. \
             Below is its transcript. Work in it is done already; do not do it again. Answer only what comes \
             after the transcript.\n",
        );
        if let Some(summary) = &self.summary {
            out.push_str("\n## summary of what came before\n");
            out.push_str(&summary.text);
            out.push('\n');
        }
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

/// The text of a summary that was completed; a half one is none.
fn whole_summary(info: &AssistantInfo, doc: &MessageDoc) -> Option<String> {
    let is_whole = info.error.is_none() && info.time.completed.is_some() && info.finish.is_some();
    let texts: Vec<String> = doc
        .typed_parts()
        .into_iter()
        .filter_map(|part| match part.body {
            PartBody::Text { text, .. } if !text.trim().is_empty() => Some(text),
            _ => None,
        })
        .collect();
    (is_whole && !texts.is_empty()).then(|| texts.join("\n"))
}

/// What an agent is told of a shell command that a person ran.
pub(crate) fn shell_run(parts: &[Part]) -> Option<String> {
    let calls: String = parts
        .iter()
        .filter(|part| matches!(part.body, PartBody::Tool(_)))
        .map(render_part)
        .collect();
    (!calls.is_empty()).then(|| format!("<run-by-the-person>\n{calls}</run-by-the-person>\n"))
}

fn render(message: &Message, parts: &[Part]) -> String {
    let mut body: String = parts.iter().map(render_part).collect();
    if let MessageInfo::Assistant(info) = &message.info
        && let Some(error) = &info.error
    {
        // Writing to a String does not fail.
        let _ = writeln!(body, "[this answer was cut off: {}]", error.message());
    }
    if body.is_empty() {
        return body;
    }
    format!("## {}\n{body}", message.info.role())
}

fn render_part(part: &Part) -> String {
    match &part.body {
        PartBody::Text {
            ignored: Some(true),
            ..
        } => String::new(),
        PartBody::Text { text, .. } if !text.is_empty() => format!("{text}\n"),
        PartBody::File { filename, url, .. } => {
            let name = filename.as_deref().unwrap_or(if url.starts_with("data:") {
                "file"
            } else {
                url
            });
            format!("[file: {name}]\n")
        }
        PartBody::Tool(tool) => {
            let (input, result) = match &tool.state {
                ToolState::Completed { input, output, .. } => (input, ends(output, TOOL_OUTPUT)),
                ToolState::Error { input, error, .. } => (input, ends(error, TOOL_OUTPUT)),
                ToolState::Pending { input, .. } | ToolState::Running { input, .. } => {
                    (input, "(it is not known how this call ended)".to_owned())
                }
            };
            let input = serde_json::to_string(input).unwrap_or_default();
            format!(
                "[tool {}: {}]\n{result}\n",
                tool.tool,
                head(&input, TOOL_OUTPUT)
            )
        }
        _ => String::new(),
    }
}

/// The beginning and the end of a text that is too long.
fn ends(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    format!("{}\n[…]\n{}", head(text, limit / 2), tail(text, limit / 2))
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
            created: sessiond_model::Seq(1),
            changed: sessiond_model::Seq(1),
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
        assert!(!builder.is_full());
        assert!(builder.push(&doc(1, "user", "first, which is too long for what is left")));
        assert!(builder.is_full());
        let text = builder.finish().unwrap();
        assert!(text.find("second").unwrap() < text.find("third").unwrap());
        assert!(text.contains("left out"));
        assert!(!text.contains("first"));
    }

    #[test]
    fn a_single_huge_message_gives_its_tail() {
        let mut builder = ContextBuilder::new(10);
        builder.push(&doc(1, "user", &format!("{}END", "é".repeat(100))));
        assert!(builder.finish().unwrap().contains("END"));
    }

    fn summary(n: u64, asked_by: u64, text: &str, end: &str) -> MessageDoc {
        let mut doc = doc(n, "assistant", text);
        doc.info = doc
            .info
            .replace(
                "\"msg_0\"",
                &format!("\"msg_{asked_by}\",\"summary\":true{end}"),
            )
            .replace("\"created\":1", "\"created\":1,\"completed\":2");
        assert!(doc.message().is_some());
        doc
    }

    const WHOLE: &str = r#","finish":"stop""#;
    const CUT_OFF: &str = r#","error":{"name":"MessageAbortedError","data":{"message":"Aborted"}}"#;

    #[test]
    fn a_summary_stands_for_what_is_older_than_its_request() {
        let mut builder = ContextBuilder::new(1000);
        assert!(builder.push(&doc(8, "assistant", "answer after")));
        assert!(builder.push(&summary(7, 4, "THE SUMMARY", WHOLE)));
        assert!(builder.push(&doc(6, "assistant", "answer that it covers")));
        assert!(builder.push(&doc(5, "user", "waited behind it")));
        assert!(!builder.push(&doc(4, "user", "")));
        let text = builder.finish().unwrap();
        let at = |what| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
        assert!(at("THE SUMMARY") < at("waited behind it"));
        assert!(at("waited behind it") < at("answer after"));
        assert!(!text.contains("covers"), "{text}");
    }

    #[test]
    fn a_summary_that_was_cut_off_is_as_if_it_never_was() {
        let mut builder = ContextBuilder::new(1000);
        assert!(builder.push(&summary(3, 2, "HALF A SUMM", CUT_OFF)));
        assert!(builder.push(&doc(2, "user", "")));
        assert!(builder.push(&doc(1, "user", "the first words")));
        let text = builder.finish().unwrap();
        assert!(text.contains("the first words"), "{text}");
        assert!(!text.contains("HALF"), "{text}");
    }

    #[test]
    fn a_summary_is_told_even_when_the_budget_is_spent() {
        let mut builder = ContextBuilder::new(30);
        builder.push(&doc(5, "user", &"long ".repeat(20)));
        assert!(builder.push(&summary(4, 3, "THE SUMMARY", WHOLE)));
        assert!(!builder.push(&doc(3, "user", "")));
        assert!(builder.finish().unwrap().contains("THE SUMMARY"));
    }

    #[test]
    fn nothing_to_tell() {
        assert_eq!(ContextBuilder::new(100).finish(), None);
    }
}
