//! What of a transcript is shown: a value without secrets and of bounded size, which is also
//! the JSON form of a share.

use serde::Serialize;
use serde_json::{Map, Value};
use sessiond_model::{
    DiffStatus, DiffSummary, FileDiff, MessageDoc, MessageInfo, PartBody, Session, StatusKind,
    Timestamp, ToolState,
};

use crate::{Findings, Redactor};

/// Longest text of a message or its reasoning, in bytes.
const TEXT: usize = 64 * 1024;
/// Longest output of a tool, input of one, or diff of one file.
const OUTPUT: usize = 32 * 1024;
/// Longest title or name.
const LINE: usize = 500;
/// Most parts of one message.
const PARTS: usize = 400;
/// Most files of one turn.
const FILES: usize = 100;
/// All texts of one page, in bytes; the newest are shown.
const PAGE: usize = 1_500_000;
/// Longest end of a text that is held back because it may be the beginning of a secret.
const HELD: usize = 4096;

/// A session as strangers may see it, or one page of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Transcript {
    /// Its title.
    pub title: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Whether more may come: a live share.
    pub live: bool,
    /// Whether an agent is at work; never on a frozen share.
    pub busy: bool,
    /// Size of its file changes.
    pub summary: Option<DiffSummary>,
    /// The messages, oldest first.
    pub messages: Vec<Message>,
    /// Pass as `before` for the page of older messages.
    pub older: Option<u64>,
    /// Whether newer messages are on another page.
    pub newer: bool,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Message {
    /// Its place in the session, counted from 1.
    pub position: u64,
    /// `user` or `assistant`.
    pub role: &'static str,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it was finished; absent while an agent writes it.
    pub completed_at: Option<Timestamp>,
    /// The coding agent and its model.
    pub model: Option<String>,
    /// Its content.
    pub parts: Vec<Part>,
    /// Files that the turn of this (user's) message changed.
    pub changes: Vec<Change>,
    /// Why it failed.
    pub error: Option<String>,
    /// Parts (the first ones) and files left out because there are too many or the page is full.
    pub omitted: usize,
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text, as Markdown.
    Text(Text),
    /// The agent's reasoning, as Markdown.
    Reasoning(Text),
    /// A tool call.
    Tool(Tool),
    /// A file or picture that was given; its content is not shown.
    File {
        /// Its name.
        name: String,
        /// Its media type.
        mime: String,
    },
    /// Something that happened, in a few words.
    Note {
        /// The words.
        text: String,
    },
}

/// A text, maybe not all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Text {
    /// The text.
    pub text: String,
    /// Bytes that are not shown.
    pub cut: usize,
}

/// A tool call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tool {
    /// Name of the tool.
    pub tool: String,
    /// What it does, for people.
    pub title: Option<String>,
    /// `pending`, `running`, `completed` or `error`.
    pub status: &'static str,
    /// Its input: the command of a shell, else JSON.
    pub input: Text,
    /// Its output, or why it failed.
    pub output: Text,
    /// What it changed, as a unified diff.
    pub diff: Option<Text>,
}

/// A changed file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Its path.
    pub file: String,
    /// How it changed.
    pub status: DiffStatus,
    /// Lines added.
    pub additions: u64,
    /// Lines removed.
    pub deletions: u64,
    /// Unified diff; absent for binary or very large files.
    pub patch: Option<Text>,
}

/// What is to be shown.
#[derive(Clone, Debug)]
pub struct Source<'a> {
    /// The session.
    pub session: &'a Session,
    /// The messages, oldest first.
    pub messages: &'a [MessageDoc],
    /// Whether the share follows the session.
    pub live: bool,
    /// Where the next older page ends.
    pub older: Option<u64>,
    /// Whether newer messages are on another page.
    pub newer: bool,
}

impl Transcript {
    /// Makes a transcript of what is stored: without secrets, of bounded size.
    #[must_use]
    pub fn of(source: &Source<'_>, redactor: &Redactor, findings: &mut Findings) -> Self {
        let mut reader = Reader {
            redactor,
            findings,
            directory: source.session.directory.trim_end_matches('/'),
            left: PAGE,
        };
        let title = reader.line(&source.session.title);
        // The newest first: what does not fit is the oldest.
        let messages = source.messages.iter().rev();
        let mut messages: Vec<_> = messages.filter_map(|doc| reader.message(doc)).collect();
        messages.reverse();
        Self {
            title,
            created_at: source.session.created_at,
            updated_at: source.session.updated_at,
            live: source.live,
            busy: source.live && source.session.status.kind == StatusKind::Busy,
            summary: source.session.summary.clone(),
            messages,
            older: source.older,
            newer: source.newer,
        }
    }
}

struct Reader<'a> {
    redactor: &'a Redactor,
    findings: &'a mut Findings,
    directory: &'a str,
    /// Bytes that the page may still have.
    left: usize,
}

impl Reader<'_> {
    fn message(&mut self, doc: &MessageDoc) -> Option<Message> {
        self.findings.reading(Some(&doc.id));
        let info = doc.message()?.info;
        let time = match &info {
            MessageInfo::User(user) => user.time,
            MessageInfo::Assistant(assistant) => assistant.time,
        };
        let mut omitted = 0;
        let mut parts = Vec::new();
        for part in doc.typed_parts().iter().rev() {
            if parts.len() >= PARTS || self.left == 0 {
                omitted += 1;
            } else {
                parts.extend(self.part(&part.body));
            }
        }
        parts.reverse();
        let (mut changes, mut model, mut error) = (Vec::new(), None, None);
        match &info {
            MessageInfo::User(user) => {
                for diff in user.summary.iter().flat_map(|s| &s.diffs) {
                    if changes.len() >= FILES || self.left == 0 {
                        omitted += 1;
                    } else {
                        changes.push(self.change(diff));
                    }
                }
            }
            MessageInfo::Assistant(assistant) => {
                let names = [&assistant.provider_id, &assistant.model_id];
                let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
                model = Some(self.line(&names.join(" · ")));
                error = assistant.error.as_ref().map(|e| self.line(e.message()));
            }
        }
        Some(Message {
            position: doc.position,
            role: info.role(),
            created_at: time.created,
            completed_at: time.completed,
            model,
            parts,
            changes,
            error,
            omitted,
        })
    }

    /// What is shown of a part; nothing of what the client or server put in for the agent.
    fn part(&mut self, body: &PartBody) -> Option<Part> {
        Some(match body {
            PartBody::Text {
                synthetic: Some(true),
                ..
            }
            | PartBody::Text {
                ignored: Some(true),
                ..
            } => return None,
            PartBody::Text { text, .. } if text.trim().is_empty() => return None,
            PartBody::Text { text, .. } => Part::Text(self.text(text, TEXT, body.is_open())),
            PartBody::Reasoning { text, .. } if text.trim().is_empty() => return None,
            PartBody::Reasoning { text, .. } => {
                Part::Reasoning(self.text(text, TEXT, body.is_open()))
            }
            PartBody::Tool(call) => {
                let name = self.line(&call.tool);
                Part::Tool(self.tool(name, &call.state))
            }
            PartBody::File { mime, filename, .. } => Part::File {
                name: self.line(filename.as_deref().unwrap_or("file")),
                mime: self.line(mime),
            },
            PartBody::Agent { name, .. } => Part::Note {
                text: self.line(&format!("@{name}")),
            },
            PartBody::Subtask {
                description, agent, ..
            } => Part::Note {
                text: self.line(&format!("Sub-task for {agent}: {description}")),
            },
            PartBody::Patch { files, .. } => {
                let files: Vec<&str> = files.iter().take(FILES).map(|f| self.short(f)).collect();
                Part::Note {
                    text: self.line(&format!("Changed {}", files.join(", "))),
                }
            }
            PartBody::Retry { attempt, .. } => Part::Note {
                text: format!("Failed and tried again (attempt {attempt})"),
            },
            PartBody::Compaction { .. } => Part::Note {
                text: "The conversation was summarised here".into(),
            },
            PartBody::StepStart { .. }
            | PartBody::StepFinish { .. }
            | PartBody::Snapshot { .. }
            | PartBody::Opaque { .. } => return None,
        })
    }

    fn tool(&mut self, name: String, state: &ToolState) -> Tool {
        let (status, title, input, output, metadata) = match state {
            ToolState::Pending { input, .. } => ("pending", None, input, None, None),
            ToolState::Running {
                input,
                title,
                metadata,
                ..
            } => {
                let output = metadata.as_ref().and_then(|m| m.get("output")?.as_str());
                (
                    "running",
                    title.as_deref(),
                    input,
                    output,
                    metadata.as_ref(),
                )
            }
            ToolState::Completed {
                input,
                output,
                title,
                metadata,
                ..
            } => {
                let title = Some(title.as_str());
                (
                    "completed",
                    title,
                    input,
                    Some(output.as_str()),
                    Some(metadata),
                )
            }
            ToolState::Error {
                input,
                error,
                metadata,
                ..
            } => (
                "error",
                None,
                input,
                Some(error.as_str()),
                metadata.as_ref(),
            ),
        };
        let open = matches!(status, "pending" | "running");
        let diff = metadata.and_then(|m| m.get("diff")?.as_str());
        Tool {
            tool: name,
            title: title.filter(|t| !t.is_empty()).map(|t| {
                let short = self.short(t).to_owned();
                self.line(&short)
            }),
            status,
            input: self.input(input, diff.is_some()),
            output: self.text(output.unwrap_or_default(), OUTPUT, open),
            diff: (diff.filter(|d| !d.trim().is_empty())).map(|d| self.text(d, OUTPUT, open)),
        }
    }

    /// The input of a tool for people. Where there is a diff, the texts it was made of are not
    /// shown again.
    fn input(&mut self, input: &Map<String, Value>, has_diff: bool) -> Text {
        if let Some(command) = input.get("command").and_then(Value::as_str) {
            return self.text(command, OUTPUT, false);
        }
        const WRITTEN: [&str; 8] = [
            "content",
            "contents",
            "old_string",
            "new_string",
            "oldString",
            "newString",
            "oldText",
            "newText",
        ];
        let mut shown = self.redactor.map(input, self.findings);
        shown.retain(|name, value| {
            let again = has_diff && WRITTEN.contains(&name.as_str());
            !(again || value.is_null())
        });
        if shown.is_empty() {
            return Text::default();
        }
        let json = serde_json::to_string_pretty(&shown).unwrap_or_default();
        self.bounded(json, OUTPUT, 0)
    }

    fn change(&mut self, diff: &FileDiff) -> Change {
        let file = self.short(&diff.file).to_owned();
        Change {
            file: self.line(&file),
            status: diff.status,
            additions: diff.additions,
            deletions: diff.deletions,
            patch: diff.patch.as_ref().map(|p| self.text(p, OUTPUT, false)),
        }
    }

    /// A path below the session's directory without it: nobody needs to know where that is.
    fn short<'p>(&self, path: &'p str) -> &'p str {
        match path.strip_prefix(self.directory) {
            Some(rest) if !self.directory.is_empty() => match rest.strip_prefix('/') {
                Some(inner) if !inner.is_empty() => inner,
                _ => path,
            },
            _ => path,
        }
    }

    fn line(&mut self, text: &str) -> String {
        let (head, _) = cut(text, LINE + HELD);
        let text = self.redactor.text(head, self.findings);
        let text = text.replace(['\n', '\t'], " ");
        let (head, rest) = cut(&text, LINE);
        if rest.is_empty() {
            text
        } else {
            format!("{head}…")
        }
    }

    /// A text without secrets, cut to `limit`. The end of a text that is still being written, or
    /// that was cut, may be the beginning of a secret that nobody could recognise yet.
    fn text(&mut self, text: &str, limit: usize, open: bool) -> Text {
        let (head, rest) = cut(text, limit + HELD);
        let mut clean = self.redactor.text(head, self.findings);
        if open || !rest.is_empty() {
            clean.truncate(certain(&clean));
        }
        self.bounded(clean, limit, rest.len())
    }

    fn bounded(&mut self, mut text: String, limit: usize, mut missing: usize) -> Text {
        let (head, rest) = cut(&text, limit.min(self.left));
        missing += rest.len();
        text.truncate(head.len());
        self.left -= text.len();
        Text { text, cut: missing }
    }
}

/// The longest beginning of at most `most` bytes, and the rest.
fn cut(text: &str, most: usize) -> (&str, &str) {
    text.split_at(text.floor_char_boundary(most))
}

/// How much of a text does not end in the middle of what could be a secret.
fn certain(text: &str) -> usize {
    let maybe = |c: char| c.is_ascii_alphanumeric() || "_-.+/=:@\"'\\~".contains(c);
    let end = text.trim_end_matches(maybe).len();
    end.max(text.floor_char_boundary(text.len().saturating_sub(HELD)))
}

#[cfg(test)]
mod tests;
