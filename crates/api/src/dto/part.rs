use serde::Serialize;
use serde_json::{Map, Value};
use sessiond_model as model;
use sessiond_model::{PartBody, Timestamp, ToolState};
use utoipa::ToSchema;

use super::session::TokensDto;

/// One part of a message.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Part)]
pub(crate) struct PartDto {
    /// Its id; the parts of a message are ordered by it.
    id: String,
    /// Its session.
    session_id: String,
    /// Its message.
    message_id: String,
    #[serde(flatten)]
    body: PartBodyDto,
}

impl From<model::Part> for PartDto {
    fn from(p: model::Part) -> Self {
        Self {
            id: p.id.to_string(),
            session_id: p.session_id.to_string(),
            message_id: p.message_id.to_string(),
            body: p.body.into(),
        }
    }
}

/// The content of a part.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[schema(as = PartContent)]
pub(crate) enum PartBodyDto {
    /// Text of a person or an agent.
    Text {
        /// The text so far.
        text: String,
        /// Made by the server or client, not typed by a person.
        synthetic: bool,
        /// Not sent to the agent.
        ignored: bool,
        /// When writing began. Integer milliseconds since the Unix epoch, UTC.
        started_at: Option<i64>,
        /// When it was closed; `null` while it still grows. Integer milliseconds since the
        /// Unix epoch, UTC.
        ended_at: Option<i64>,
        /// Free map.
        metadata: Option<Map<String, Value>>,
    },
    /// The agent's reasoning.
    Reasoning {
        /// The text so far.
        text: String,
        /// When writing began. Integer milliseconds since the Unix epoch, UTC.
        started_at: i64,
        /// When it was closed; `null` while it still grows. Integer milliseconds since the
        /// Unix epoch, UTC.
        ended_at: Option<i64>,
        /// Free map.
        metadata: Option<Map<String, Value>>,
    },
    /// A file given by the client.
    File {
        /// Media type.
        mime: String,
        /// Name for people.
        filename: Option<String>,
        /// `data:` or `file:` URL.
        url: String,
        /// Where in the prompt it was named.
        #[schema(value_type = Option<Object>)]
        source: Option<Value>,
    },
    /// An agent mentioned in a prompt.
    Agent {
        /// Its name.
        name: String,
        /// Where in the prompt it was named.
        #[schema(value_type = Option<Object>)]
        source: Option<Value>,
    },
    /// A sub-task asked for by the client.
    Subtask {
        /// The prompt.
        prompt: String,
        /// For people.
        description: String,
        /// The agent.
        agent: String,
        /// The model.
        #[schema(value_type = Option<Object>)]
        model: Option<Value>,
        /// The slash command behind it.
        command: Option<String>,
    },
    /// A tool call.
    Tool {
        /// The agent's id of the call.
        call_id: String,
        /// Name of the tool.
        tool: String,
        /// How far it got.
        state: Box<ToolStateDto>,
        /// Free map.
        metadata: Option<Map<String, Value>>,
    },
    /// A model call begins.
    StepStart {
        /// Worktree snapshot before it.
        snapshot: Option<String>,
    },
    /// A model call ended.
    StepFinish {
        /// Why: `stop`, `tool-calls`, `length`, `content-filter`, `unknown`.
        reason: String,
        /// Worktree snapshot after it.
        snapshot: Option<String>,
        /// Cost in US dollars.
        cost: f64,
        /// Tokens.
        tokens: TokensDto,
    },
    /// A worktree snapshot.
    Snapshot {
        /// Its tree.
        snapshot: String,
    },
    /// Files changed by a step.
    Patch {
        /// Snapshot before the step.
        hash: String,
        /// Absolute paths.
        files: Vec<String>,
    },
    /// A failed attempt that is tried again.
    Retry {
        /// Its number, from 1.
        attempt: u64,
        /// Why it failed, as the agent told it.
        error: Value,
        /// When, as the agent told it.
        time: Value,
    },
    /// The conversation was (or is to be) summarised here.
    Compaction {
        /// Whether the server decided it.
        auto: bool,
        /// Whether the context had overflowed.
        overflow: bool,
        /// First message kept after the summary.
        tail_start_id: Option<String>,
    },
    /// Content that this version can't read, kept as it is.
    Opaque {
        /// The stored text.
        raw: String,
    },
}

impl From<PartBody> for PartBodyDto {
    fn from(body: PartBody) -> Self {
        match body {
            PartBody::Text {
                text,
                synthetic,
                ignored,
                time,
                metadata,
            } => Self::Text {
                text,
                synthetic: synthetic.unwrap_or(false),
                ignored: ignored.unwrap_or(false),
                started_at: time.map(|t| t.start.millis()),
                ended_at: time.and_then(|t| t.end).map(Timestamp::millis),
                metadata,
            },
            PartBody::Reasoning {
                text,
                time,
                metadata,
            } => Self::Reasoning {
                text,
                started_at: time.start.millis(),
                ended_at: time.end.map(Timestamp::millis),
                metadata,
            },
            PartBody::File {
                mime,
                filename,
                url,
                source,
            } => Self::File {
                mime,
                filename,
                url,
                source,
            },
            PartBody::Agent { name, source } => Self::Agent { name, source },
            PartBody::Subtask {
                prompt,
                description,
                agent,
                model,
                command,
            } => Self::Subtask {
                prompt,
                description,
                agent,
                model,
                command,
            },
            PartBody::Tool(t) => Self::Tool {
                call_id: t.call_id,
                tool: t.tool,
                state: Box::new(t.state.into()),
                metadata: t.metadata,
            },
            PartBody::StepStart { snapshot } => Self::StepStart { snapshot },
            PartBody::StepFinish {
                reason,
                snapshot,
                cost,
                tokens,
            } => Self::StepFinish {
                reason,
                snapshot,
                cost,
                tokens: tokens.into(),
            },
            PartBody::Snapshot { snapshot } => Self::Snapshot { snapshot },
            PartBody::Patch { hash, files } => Self::Patch { hash, files },
            PartBody::Retry {
                attempt,
                error,
                time,
            } => Self::Retry {
                attempt,
                error,
                time,
            },
            PartBody::Compaction {
                auto,
                overflow,
                tail_start_id,
            } => Self::Compaction {
                auto,
                overflow: overflow.unwrap_or(false),
                tail_start_id: tail_start_id.map(|id| id.to_string()),
            },
            PartBody::Opaque { raw } => Self::Opaque { raw },
        }
    }
}

/// How far a tool call got.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
#[schema(as = ToolState)]
pub(crate) enum ToolStateDto {
    /// The agent is still writing the call, or waits for permission.
    Pending {
        /// Input as far as known.
        input: Map<String, Value>,
        /// Raw text of the input.
        raw: String,
    },
    /// It runs.
    Running {
        /// Input.
        input: Map<String, Value>,
        /// For people.
        title: Option<String>,
        /// `output` so far, `diff`, …
        metadata: Option<Map<String, Value>>,
        /// When it began. Integer milliseconds since the Unix epoch, UTC.
        started_at: i64,
    },
    /// It is done.
    Completed {
        /// Input.
        input: Map<String, Value>,
        /// Result as text.
        output: String,
        /// For people.
        title: String,
        /// `exit`, `diff`, …
        metadata: Map<String, Value>,
        /// When it began. Integer milliseconds since the Unix epoch, UTC.
        started_at: i64,
        /// When it ended. Integer milliseconds since the Unix epoch, UTC.
        ended_at: Option<i64>,
        /// When its output was dropped from the context. Integer milliseconds since the Unix
        /// epoch, UTC.
        compacted_at: Option<i64>,
        /// Files it gave, as the agent told them.
        attachments: Vec<Value>,
    },
    /// It failed, was refused or was cut off.
    Error {
        /// Input.
        input: Map<String, Value>,
        /// Why, in a sentence.
        error: String,
        /// `interrupted`, …
        metadata: Option<Map<String, Value>>,
        /// When it began. Integer milliseconds since the Unix epoch, UTC.
        started_at: i64,
        /// When it ended. Integer milliseconds since the Unix epoch, UTC.
        ended_at: Option<i64>,
    },
}

impl From<ToolState> for ToolStateDto {
    fn from(state: ToolState) -> Self {
        match state {
            ToolState::Pending { input, raw } => Self::Pending { input, raw },
            ToolState::Running {
                input,
                title,
                metadata,
                time,
            } => Self::Running {
                input,
                title,
                metadata,
                started_at: time.start.millis(),
            },
            ToolState::Completed {
                input,
                output,
                title,
                metadata,
                time,
                attachments,
            } => Self::Completed {
                input,
                output,
                title,
                metadata,
                started_at: time.start.millis(),
                ended_at: time.end.map(Timestamp::millis),
                compacted_at: time.compacted.map(Timestamp::millis),
                attachments: attachments.unwrap_or_default(),
            },
            ToolState::Error {
                input,
                error,
                metadata,
                time,
            } => Self::Error {
                input,
                error,
                metadata,
                started_at: time.start.millis(),
                ended_at: time.end.map(Timestamp::millis),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(stored: &str) -> Value {
        serde_json::to_value(PartBodyDto::from(PartBody::from_stored(stored))).unwrap()
    }

    #[test]
    fn every_kind_of_part_keeps_its_type_and_content() {
        let table = [
            (
                r#"{"type":"reasoning","text":"hm","time":{"start":1}}"#,
                json!({"type": "reasoning", "text": "hm", "started_at": 1, "ended_at": null, "metadata": null}),
            ),
            (
                r#"{"type":"file","mime":"text/plain","url":"file:///a"}"#,
                json!({"type": "file", "mime": "text/plain", "filename": null, "url": "file:///a", "source": null}),
            ),
            (
                r#"{"type":"step-finish","reason":"stop","cost":1.5,
                    "tokens":{"input":1,"output":2,"reasoning":0,"cache":{"read":0,"write":0}}}"#,
                json!({"type": "step-finish", "reason": "stop", "snapshot": null, "cost": 1.5, "tokens":
                    {"total": null, "input": 1, "output": 2, "reasoning": 0, "cache_read": 0, "cache_write": 0}}),
            ),
            (
                r#"{"type":"step-start"}"#,
                json!({"type": "step-start", "snapshot": null}),
            ),
            (
                r#"{"type":"patch","hash":"abc","files":["/a"]}"#,
                json!({"type": "patch", "hash": "abc", "files": ["/a"]}),
            ),
            (
                r#"{"type":"compaction","auto":true,"tail_start_id":"msg_1"}"#,
                json!({"type": "compaction", "auto": true, "overflow": false, "tail_start_id": "msg_1"}),
            ),
            (
                r#"{"type":"tool","callID":"c","tool":"bash","state":{"status":"running","input":{"a":1},
                    "time":{"start":3}}}"#,
                json!({"type": "tool", "call_id": "c", "tool": "bash", "metadata": null, "state":
                    {"status": "running", "input": {"a": 1}, "title": null, "metadata": null, "started_at": 3}}),
            ),
            (
                r#"{"type":"tool","callID":"c","tool":"bash","state":{"status":"completed","input":{},"output":"o",
                    "title":"t","metadata":{},"time":{"start":3,"end":4}}}"#,
                json!({"type": "tool", "call_id": "c", "tool": "bash", "metadata": null, "state":
                    {"status": "completed", "input": {}, "output": "o", "title": "t", "metadata": {},
                     "started_at": 3, "ended_at": 4, "compacted_at": null, "attachments": []}}),
            ),
            ("not json", json!({"type": "opaque", "raw": "not json"})),
        ];
        for (stored, expected) in table {
            assert_eq!(shown(stored), expected);
        }
    }
}
