//! One tool call: the merge of everything said about it, and the part that shows it.

use serde_json::{Map, Value};
use sessiond_model::{PartId, Timestamp, ToolPart, ToolState, ToolTime};

use super::content::{tail, text, tool_text, unfenced};
use super::diff::{self, Edit};

/// How much of a running tool's output is shown (its end). The result holds all of it.
const SHOWN_OUTPUT: usize = 30_000;
/// How much of a terminal's output is kept (its end).
const KEPT_OUTPUT: usize = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Status {
    Pending,
    Running,
    Completed,
    Failed,
}

impl Status {
    fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "pending" => Self::Pending,
            "in_progress" => Self::Running,
            "completed" => Self::Completed,
            "failed" | "cancelled" => Self::Failed,
            _ => return None,
        })
    }

    pub(super) fn is_final(self) -> bool {
        self >= Self::Completed
    }
}

#[derive(Debug)]
pub(super) struct ToolCall {
    pub(super) part_id: PartId,
    pub(super) call_id: String,
    pub(super) kind: Option<String>,
    pub(super) title: String,
    pub(super) input: Map<String, Value>,
    pub(super) locations: Vec<String>,
    pub(super) edits: Vec<Edit>,
    pub(super) status: Status,
    /// The part as it was last told.
    pub(super) told: Option<ToolPart>,
    name: String,
    /// The name is only the kind: a real one may still come.
    named_by_kind: bool,
    output: String,
    raw_output: Option<Value>,
    terminal: String,
    exit: Option<i64>,
    patch: Option<String>,
    /// The permission for it was refused.
    refused: bool,
    /// Why we closed it, when the agent did not.
    cut_off: Option<String>,
    start: Timestamp,
    end: Option<Timestamp>,
}

impl ToolCall {
    pub(super) fn new(part_id: PartId, call_id: &str, now: Timestamp) -> Self {
        Self {
            part_id,
            call_id: call_id.to_owned(),
            kind: None,
            title: String::new(),
            input: Map::new(),
            locations: Vec::new(),
            edits: Vec::new(),
            status: Status::Pending,
            told: None,
            name: String::new(),
            named_by_kind: true,
            output: String::new(),
            raw_output: None,
            terminal: String::new(),
            exit: None,
            patch: None,
            refused: false,
            cut_off: None,
            start: now,
            end: None,
        }
    }

    /// Takes over what an update says, field by field; what it does not say stays.
    pub(super) fn merge(&mut self, update: &Value, now: Timestamp) {
        self.merge_details(update);
        match &update["rawInput"] {
            Value::Null => {}
            Value::Object(input) if input.is_empty() => {}
            Value::Object(input) => self.input.clone_from(input),
            other => {
                self.input = Map::new();
                self.input.insert("input".into(), other.clone());
            }
        }
        if let Some(items) = update["content"].as_array() {
            self.set_content(items);
        }
        self.merge_meta(&update["_meta"]);
        if let Some(output) = update.get("rawOutput").filter(|o| !o.is_null()) {
            self.raw_output = Some(output.clone());
        }
        if let Some(status) = update["status"].as_str().and_then(Status::parse) {
            self.advance(status, now);
        }
    }

    /// What an update or a permission request says of the call itself. Requests leave out
    /// what they don't need, so that nothing empty replaces anything.
    fn merge_details(&mut self, call: &Value) {
        if let Some(kind) = text(call, "kind") {
            self.kind = Some(kind.to_owned());
        }
        self.merge_name(call);
        if let Some(title) = text(call, "title") {
            self.title = title.to_owned();
        }
        if let Some(list) = call["locations"].as_array().filter(|l| !l.is_empty()) {
            self.locations = list
                .iter()
                .filter_map(|l| text(l, "path"))
                .map(str::to_owned)
                .collect();
        }
    }

    /// What a permission request says. Its input is made for people, so that it only helps
    /// out where the call's own is not known yet.
    pub(super) fn merge_request(&mut self, call: &Value) {
        self.merge_details(call);
        if let (Status::Pending, Some(input)) = (self.status, call["rawInput"].as_object()) {
            self.input.extend(input.clone());
        }
        if let Some(items) = call["content"].as_array().filter(|c| !c.is_empty()) {
            self.set_content(items);
        }
    }

    fn merge_name(&mut self, call: &Value) {
        let meta = &call["_meta"];
        let named = text(call, "name")
            .or_else(|| text(&meta["claudeCode"], "toolName"))
            .or_else(|| text(meta, "toolName"))
            .or_else(|| self.call_id.split_once("__").map(|(name, _)| name))
            .or_else(|| title_as_name(call));
        match named {
            Some(name) if self.named_by_kind => {
                self.name = name.to_owned();
                self.named_by_kind = false;
            }
            None if self.name.is_empty() => {
                self.name = self.kind.clone().unwrap_or_else(|| "tool".into());
            }
            _ => {}
        }
    }

    fn set_content(&mut self, items: &[Value]) {
        let output = tool_text(items);
        // Claude shows the description of a command where its output will be.
        let is_description = self.input.get("description").and_then(Value::as_str) == Some(&output);
        self.output = if is_description {
            String::new()
        } else {
            output
        };
        // OpenCode shows the result where the diff was.
        let edits = diff::edits(items, self.kind.as_deref());
        if !edits.is_empty() {
            self.edits = edits;
            self.patch = diff::patch(&self.edits);
        }
    }

    fn merge_meta(&mut self, meta: &Value) {
        for name in ["terminal_output_delta", "terminal_output"] {
            if let Some(data) = meta[name]["data"].as_str() {
                self.terminal.push_str(data);
            }
        }
        if self.terminal.len() > 2 * KEPT_OUTPUT {
            self.terminal = tail(&self.terminal, KEPT_OUTPUT).to_owned();
        }
        if let Some(code) = meta["terminal_exit"]["exit_code"].as_i64() {
            self.exit = Some(code);
        }
        // Claude tells a file that it overwrites as a new one, and what was there only here.
        let response = &meta["claudeCode"]["toolResponse"];
        if let (Some(original), [edit]) =
            (response["originalFile"].as_str(), self.edits.as_mut_slice())
            && edit.old.is_none()
        {
            edit.old = Some(original.to_owned());
            self.patch = diff::patch(&self.edits);
        }
    }

    /// Goes forward, never back: a call that ended may still get another end, because some
    /// agents report it after their turn.
    pub(super) fn advance(&mut self, status: Status, now: Timestamp) {
        if status.is_final() {
            self.status = status;
            self.cut_off = None;
            self.end = Some(now);
        } else if self.status == Status::Pending && status == Status::Running {
            self.status = status;
            self.start = now;
        }
    }

    /// Ends a call that its agent leaves open.
    pub(super) fn close(&mut self, why: &str, now: Timestamp) {
        if !self.status.is_final() {
            self.status = Status::Failed;
            self.cut_off = Some(why.to_owned());
            self.end = Some(now);
        }
    }

    /// Ends a call that was not permitted. What the agent still says of it counts.
    pub(super) fn refuse(&mut self, now: Timestamp) {
        if !self.status.is_final() {
            self.status = Status::Failed;
            self.refused = true;
            self.end = Some(now);
        }
    }

    /// The plan in a todo tool's input.
    pub(super) fn todos(&self) -> Option<&Value> {
        let name = self.name.replace(['_', '-'], "").to_ascii_lowercase();
        let is_todo_tool = matches!(&*name, "todowrite" | "writetodos" | "updatetodos");
        self.input.get("todos").filter(|_| is_todo_tool)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn patch(&self) -> Option<&str> {
        self.patch.as_deref()
    }

    /// Files that the call wrote, if it succeeded.
    pub(super) fn written(&self) -> Vec<String> {
        if !self.edits.is_empty() {
            return self.edits.iter().map(|e| e.path.clone()).collect();
        }
        match self.kind.as_deref() {
            Some("edit" | "delete" | "move") => self.locations.clone(),
            _ => Vec::new(),
        }
    }

    /// Whether the call may write any file at all, as far as its kind tells.
    pub(super) fn may_write(&self) -> bool {
        !matches!(
            self.kind.as_deref(),
            Some("read" | "search" | "fetch" | "think" | "switch_mode")
        )
    }

    fn result_text(&self) -> String {
        let raw = self.raw_output.as_ref();
        let raw_text = raw.and_then(|raw| {
            raw.as_str()
                .or_else(|| text(raw, "output"))
                .or_else(|| text(raw, "error"))
        });
        let shown = unfenced(&self.output);
        [Some(shown), raw_text, Some(&self.terminal)]
            .into_iter()
            .flatten()
            .find(|text| !text.is_empty())
            .unwrap_or_default()
            .to_owned()
    }

    fn error_text(&self) -> String {
        if let Some(why) = &self.cut_off {
            return why.clone();
        }
        let said = self.result_text();
        match (said.trim(), self.exit()) {
            ("", _) if self.refused => "The permission for this was refused".into(),
            ("", Some(code)) => format!("exit code {code}"),
            ("", None) => "Tool execution aborted".into(),
            _ => said,
        }
    }

    fn exit(&self) -> Option<i64> {
        let raw = self.raw_output.as_ref();
        self.exit
            .or_else(|| raw?["metadata"]["exit"].as_i64())
            .or_else(|| raw?["exit_code"].as_i64())
    }

    /// What is shown beside the result. OpenCode's own metadata is what its clients look for.
    fn metadata(&self) -> Map<String, Value> {
        let mut metadata = Map::new();
        if let Some(Value::Object(raw)) = &self.raw_output {
            for (key, value) in raw {
                match (key.as_str(), value) {
                    ("output" | "error" | "exit_code", _) => {}
                    ("metadata", Value::Object(inner)) => metadata.extend(inner.clone()),
                    _ => {
                        metadata.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        if let Some(patch) = &self.patch {
            metadata
                .entry("diff")
                .or_insert_with(|| patch.as_str().into());
        }
        if let Some(code) = self.exit() {
            metadata.insert("exit".into(), code.into());
        }
        let output = if self.output.is_empty() {
            &self.terminal
        } else {
            unfenced(&self.output)
        };
        // A result holds its text already; only for commands clients look here, too.
        let shown = match self.status {
            Status::Pending | Status::Running => true,
            Status::Completed => self.kind.as_deref() == Some("execute"),
            Status::Failed => self.cut_off.is_some(),
        };
        metadata.remove("output");
        if shown && !output.is_empty() {
            metadata.insert("output".into(), tail(output, SHOWN_OUTPUT).into());
        }
        if self.cut_off.is_some() {
            metadata.insert("interrupted".into(), true.into());
        }
        metadata
    }

    /// The part as it is now.
    pub(super) fn part(&self) -> ToolPart {
        let input = self.input.clone();
        let time = ToolTime {
            start: self.start,
            end: self.end.map(|end| end.max(self.start)),
            compacted: None,
        };
        let metadata = self.metadata();
        let state = match self.status {
            Status::Pending => ToolState::Pending {
                input,
                raw: String::new(),
            },
            Status::Running => ToolState::Running {
                input,
                title: Some(self.title.clone()).filter(|t| !t.is_empty()),
                metadata: Some(metadata).filter(|m| !m.is_empty()),
                time,
            },
            Status::Completed => ToolState::Completed {
                input,
                output: self.result_text(),
                title: self.title.clone(),
                metadata,
                time,
                attachments: None,
            },
            Status::Failed => ToolState::Error {
                input,
                error: self.error_text(),
                metadata: Some(metadata).filter(|m| !m.is_empty()),
                time,
            },
        };
        let kind = self.kind.as_deref().map(|kind| {
            let mut map = Map::new();
            map.insert("kind".into(), kind.into());
            map
        });
        ToolPart {
            call_id: self.call_id.clone(),
            tool: self.name.clone(),
            state,
            metadata: kind,
        }
    }
}

/// A first title that is the name of the tool, as OpenCode gives it; not one that is a
/// command of one word.
fn title_as_name(call: &Value) -> Option<&str> {
    if call["sessionUpdate"] != "tool_call" || call["title"] == call["rawInput"]["command"] {
        return None;
    }
    text(call, "title").filter(|word| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    })
}

/// Whether nothing but the shown output of an open call differs.
pub(super) fn only_grew(before: &ToolPart, after: &ToolPart) -> bool {
    match (&before.state, &after.state) {
        (
            ToolState::Running { input, title, .. },
            ToolState::Running {
                input: input_now,
                title: title_now,
                ..
            },
        ) => before.tool == after.tool && input == input_now && title == title_now,
        _ => false,
    }
}
