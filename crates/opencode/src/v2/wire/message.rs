//! Messages.

use serde::Serialize;
use serde_json::Value;
use sessiond_engine::SHELL_TEXT;
use sessiond_model::{
    AssistantInfo, Message, MessageDoc, MessageId, MessageInfo, Part, PartBody, SessionId,
    Timestamp, Tokens, ToolState,
};

use super::content::{Piece, pieces, unknown};
use super::{ModelDto, PromptDto, prompt};

/// What a message is in this family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A prompt.
    Prompt,
    /// Words of a client that nobody typed.
    Synthetic,
    /// What a shell command was asked with: this family shows only the command.
    ShellRequest,
    /// What a summary was asked with: the same.
    CompactionRequest {
        /// Whether the server decided it.
        auto: bool,
    },
    /// An agent's answer.
    Answer,
    /// A shell command.
    Shell,
    /// A summary.
    Summary,
}

/// What a message is. `parent` is the role of the message it answers, when that is known: a
/// shell command has no part at first.
pub(crate) fn role(message: &Message, parts: &[Part], parent: Option<Role>) -> Role {
    match &message.info {
        MessageInfo::User(_) => asked(parts),
        MessageInfo::Assistant(info) if info.summary == Some(true) => Role::Summary,
        MessageInfo::Assistant(_) if parent == Some(Role::ShellRequest) => Role::Shell,
        MessageInfo::Assistant(_) => {
            // An agent's answer begins with a step.
            let first = parts.iter().find_map(|p| match &p.body {
                PartBody::StepStart { .. } => Some(Role::Answer),
                PartBody::Tool(tool) if tool.tool == "bash" => Some(Role::Shell),
                PartBody::Tool(_) | PartBody::Text { .. } => Some(Role::Answer),
                _ => None,
            });
            first.filter(|_| parent.is_none()).unwrap_or(Role::Answer)
        }
    }
}

fn asked(parts: &[Part]) -> Role {
    let mut all_synthetic = !parts.is_empty();
    for part in parts {
        match &part.body {
            PartBody::Compaction { auto, .. } => return Role::CompactionRequest { auto: *auto },
            PartBody::Text {
                text, synthetic, ..
            } if *synthetic == Some(true) => {
                if parts.len() == 1 && text == SHELL_TEXT {
                    return Role::ShellRequest;
                }
            }
            _ => all_synthetic = false,
        }
    }
    if all_synthetic {
        Role::Synthetic
    } else {
        Role::Prompt
    }
}

#[derive(Debug, Serialize)]
struct Times {
    created: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Body<'a> {
    User {
        #[serde(flatten)]
        prompt: PromptDto,
    },
    Synthetic {
        #[serde(rename = "sessionID")]
        session_id: &'a SessionId,
        text: String,
    },
    Shell {
        #[serde(rename = "callID")]
        call_id: &'a str,
        command: &'a str,
        output: String,
    },
    Compaction {
        reason: &'static str,
        summary: String,
        recent: &'static str,
    },
    Assistant(Box<Assistant<'a>>),
}

#[derive(Debug, Serialize)]
struct Assistant<'a> {
    agent: &'a str,
    model: ModelDto<'a>,
    content: Vec<Piece>,
    #[serde(skip_serializing_if = "Option::is_none")]
    snapshot: Option<Snapshot<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    finish: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<Tokens>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Value>,
}

/// What was captured around a message.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Snapshot<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) start: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) end: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) files: Option<Vec<&'a str>>,
}

#[derive(Debug, Serialize)]
struct Full<'a> {
    id: &'a MessageId,
    time: Times,
    #[serde(flatten)]
    body: Body<'a>,
}

/// A message as this family shows it; `None` when it shows none: requests of shell commands and
/// summaries, and summaries that are not whole.
pub(crate) fn message(doc: &MessageDoc) -> Option<Value> {
    let message = doc.message()?;
    let parts = doc.typed_parts();
    let (body, completed) = body(&message, &parts)?;
    let full = Full {
        id: &doc.id,
        time: Times {
            created: message.info.created(),
            completed,
        },
        body,
    };
    serde_json::to_value(full).ok()
}

fn body<'a>(message: &'a Message, parts: &'a [Part]) -> Option<(Body<'a>, Option<Timestamp>)> {
    let info = match &message.info {
        MessageInfo::User(_) => None,
        MessageInfo::Assistant(info) => Some(&**info),
    };
    let completed = info.and_then(|i| i.time.completed);
    let body = match (role(message, parts, None), info) {
        (Role::Prompt, _) => Body::User {
            prompt: prompt(parts),
        },
        (Role::Synthetic, _) => Body::Synthetic {
            session_id: &message.session_id,
            text: texts(parts),
        },
        (Role::Shell, _) => {
            let call = parts.iter().find_map(shell)?;
            Body::Shell {
                call_id: call.call_id,
                command: call.command,
                output: call.output.to_owned(),
            }
        }
        (Role::Summary, Some(info)) if is_whole(info) => {
            return Some((
                Body::Compaction {
                    reason: "manual",
                    summary: texts(parts),
                    recent: "",
                },
                None,
            ));
        }
        (Role::Summary, Some(info)) if info.error.is_none() => return None,
        (Role::Answer | Role::Summary, Some(info)) => {
            Body::Assistant(Box::new(assistant(info, message, parts)))
        }
        _ => return None,
    };
    Some((body, completed))
}

/// Whether a summary stands for what came before it.
pub(crate) fn is_whole(info: &AssistantInfo) -> bool {
    info.error.is_none() && info.time.completed.is_some()
}

/// What was said in these parts.
pub(crate) fn texts(parts: &[Part]) -> String {
    let texts = parts.iter().filter_map(|p| match &p.body {
        PartBody::Text { text, .. } => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// A shell command.
#[derive(Debug)]
pub(crate) struct ShellCall<'a> {
    pub(crate) call_id: &'a str,
    pub(crate) command: &'a str,
    pub(crate) output: &'a str,
    pub(crate) is_over: bool,
}

/// The shell command of a part.
pub(crate) fn shell(part: &Part) -> Option<ShellCall<'_>> {
    let PartBody::Tool(tool) = &part.body else {
        return None;
    };
    let (input, output, is_over) = match &tool.state {
        ToolState::Pending { input, .. } => (input, None, false),
        ToolState::Running {
            input, metadata, ..
        } => (
            input,
            metadata.as_ref().and_then(|m| m.get("output")?.as_str()),
            false,
        ),
        ToolState::Completed { input, output, .. } => (input, Some(output.as_str()), true),
        ToolState::Error {
            input,
            error,
            metadata,
            ..
        } => {
            let output = metadata.as_ref().and_then(|m| m.get("output")?.as_str());
            (input, output.or(Some(error)), true)
        }
    };
    Some(ShellCall {
        call_id: &tool.call_id,
        command: input
            .get("command")
            .and_then(Value::as_str)
            .unwrap_or_default(),
        output: output.unwrap_or_default(),
        is_over,
    })
}

fn assistant<'a>(info: &'a AssistantInfo, message: &Message, parts: &'a [Part]) -> Assistant<'a> {
    let done = info.time.completed.is_some();
    Assistant {
        agent: &info.agent,
        model: model_of(info),
        content: pieces(parts, message.info.created()),
        snapshot: Some(snapshot(parts, done)).filter(|s| *s != Snapshot::default()),
        finish: finish(info),
        cost: done.then_some(info.cost),
        tokens: done.then_some(Tokens {
            total: None,
            ..info.tokens
        }),
        error: info.error.as_ref().map(|e| unknown(e.message())),
    }
}

/// The model of an answer.
pub(crate) fn model_of(info: &AssistantInfo) -> ModelDto<'_> {
    ModelDto::new(&info.model_id, &info.provider_id, info.variant.as_deref())
}

/// Why an answer ended.
pub(crate) fn finish(info: &AssistantInfo) -> Option<&str> {
    match &info.error {
        Some(_) => Some("error"),
        None => info.finish.as_deref(),
    }
}

/// What was captured around an answer.
pub(crate) fn snapshot(parts: &[Part], done: bool) -> Snapshot<'_> {
    let start = parts.iter().find_map(|p| match &p.body {
        PartBody::StepStart { snapshot } => snapshot.as_deref(),
        _ => None,
    });
    let end = parts.iter().rev().find_map(|p| match &p.body {
        PartBody::StepFinish { snapshot, .. } => snapshot.as_deref(),
        _ => None,
    });
    let files: Vec<_> = parts
        .iter()
        .filter_map(|p| match &p.body {
            PartBody::Patch { files, .. } => Some(files.iter().map(String::as_str)),
            _ => None,
        })
        .flatten()
        .collect();
    Snapshot {
        start,
        end,
        files: (done && end.is_some()).then_some(files),
    }
}
