//! What an assistant message holds.

use serde::Serialize;
use serde_json::{Map, Value, json};
use sessiond_model::{Part, PartBody, Timestamp, ToolPart, ToolState, ToolTime};

/// One piece of an assistant message.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Piece {
    Text {
        id: String,
        text: String,
    },
    Reasoning {
        id: String,
        text: String,
        time: Times,
    },
    Tool(Box<Tool>),
}

#[derive(Debug, Serialize)]
pub(crate) struct Times {
    created: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<Timestamp>,
}

/// A tool call.
#[derive(Debug, Serialize)]
pub(crate) struct Tool {
    pub(crate) id: String,
    pub(crate) name: String,
    provider: Value,
    pub(crate) state: State,
    time: ToolTimes,
}

#[derive(Debug, Serialize)]
struct ToolTimes {
    created: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    ran: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pruned: Option<Timestamp>,
}

/// How far a tool call got.
#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub(crate) enum State {
    Pending {
        input: String,
    },
    Running(Progress),
    Completed {
        #[serde(flatten)]
        progress: Progress,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        attachments: Vec<Value>,
        #[serde(rename = "outputPaths")]
        output_paths: [String; 0],
    },
    Error {
        #[serde(flatten)]
        progress: Progress,
        error: Value,
    },
}

/// What a call has given.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Progress {
    pub(crate) input: Map<String, Value>,
    pub(crate) structured: Map<String, Value>,
    pub(crate) content: Vec<Value>,
}

/// The pieces of a message, in order.
pub(crate) fn pieces(parts: &[Part], created: Timestamp) -> Vec<Piece> {
    parts.iter().filter_map(|p| piece(p, created)).collect()
}

fn piece(part: &Part, created: Timestamp) -> Option<Piece> {
    Some(match &part.body {
        PartBody::Text { text, .. } => Piece::Text {
            id: part.id.to_string(),
            text: text.clone(),
        },
        PartBody::Reasoning { text, time, .. } => Piece::Reasoning {
            id: part.id.to_string(),
            text: text.clone(),
            time: Times {
                created: time.start,
                completed: time.end,
            },
        },
        PartBody::Tool(call) => Piece::Tool(Box::new(tool(call, created))),
        _ => return None,
    })
}

/// A tool call; `created` is when its message was made.
pub(crate) fn tool(call: &ToolPart, created: Timestamp) -> Tool {
    let (state, time) = match &call.state {
        ToolState::Pending { input, raw } => (
            State::Pending {
                input: input_text(input, raw),
            },
            None,
        ),
        ToolState::Running {
            input,
            metadata,
            time,
            ..
        } => (
            State::Running(progress(input, metadata.as_ref(), None)),
            Some(time),
        ),
        ToolState::Completed {
            input,
            output,
            metadata,
            time,
            attachments,
            ..
        } => (
            State::Completed {
                progress: progress(input, Some(metadata), Some(output)),
                attachments: attachments.iter().flatten().filter_map(attached).collect(),
                output_paths: [],
            },
            Some(time),
        ),
        ToolState::Error {
            input,
            error,
            metadata,
            time,
        } => (
            State::Error {
                progress: progress(input, metadata.as_ref(), None),
                error: unknown(error),
            },
            Some(time),
        ),
    };
    Tool {
        id: call.call_id.clone(),
        name: call.tool.clone(),
        provider: json!({"executed": false}),
        state,
        time: times(time, created),
    }
}

fn times(time: Option<&ToolTime>, created: Timestamp) -> ToolTimes {
    ToolTimes {
        created: time.map_or(created, |t| t.start),
        ran: time.map(|t| t.start),
        completed: time.and_then(|t| t.end),
        pruned: time.and_then(|t| t.compacted),
    }
}

/// The input as the text that a model would have written.
pub(crate) fn input_text(input: &Map<String, Value>, raw: &str) -> String {
    if raw.is_empty() {
        Value::Object(input.clone()).to_string()
    } else {
        raw.to_owned()
    }
}

/// `output` in the metadata is the text so far; it is content.
fn progress(
    input: &Map<String, Value>,
    metadata: Option<&Map<String, Value>>,
    output: Option<&str>,
) -> Progress {
    let mut structured = metadata.cloned().unwrap_or_default();
    let so_far = structured.remove("output");
    let text = output.or(so_far.as_ref().and_then(Value::as_str));
    Progress {
        input: input.clone(),
        structured,
        content: text
            .filter(|t| !t.is_empty())
            .map(|text| json!({"type": "text", "text": text}))
            .into_iter()
            .collect(),
    }
}

/// A file that a tool gave, stored as a file part of the first family.
fn attached(file: &Value) -> Option<Value> {
    let text = |key: &str| file.get(key).and_then(Value::as_str);
    let mut out = json!({"uri": text("url")?, "mime": text("mime")?});
    if let Some(name) = text("filename") {
        out["name"] = name.into();
    }
    Some(out)
}

/// An error: there is one kind.
pub(crate) fn unknown(message: &str) -> Value {
    json!({"type": "unknown", "message": message})
}
