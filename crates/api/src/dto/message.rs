use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use sessiond_model as model;
use sessiond_model::{MessageInfo, Timestamp};
use utoipa::ToSchema;

use super::part::PartDto;
use super::session::{FileDiffDto, ModelDto, TokensDto};

/// A message with its parts.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Message, example = json!({
    "id": "msg_0123456789abExampleMessag", "session_id": "ses_0123456789abExampleSession", "role": "user",
    "position": 1, "created_at": 1_795_364_893_636_i64, "agent": "build",
    "model": {"provider_id": "claude", "id": "sonnet", "variant": null}, "system": null, "tools": null,
    "format": null, "summary": null,
    "parts": [{"id": "prt_0123456789abExamplePart00", "session_id": "ses_0123456789abExampleSession",
        "message_id": "msg_0123456789abExampleMessag", "type": "text", "text": "Fix the login page",
        "synthetic": false, "ignored": false, "started_at": null, "ended_at": null, "metadata": null}],
}))]
pub(crate) struct MessageDto {
    #[serde(flatten)]
    info: MessageInfoDto,
    /// Its place in the session, from 1, in the order of commits.
    position: u64,
    /// Its parts, in order.
    parts: Vec<PartDto>,
}

impl From<model::MessageDoc> for MessageDto {
    fn from(doc: model::MessageDoc) -> Self {
        let info = doc.message().map_or_else(
            || MessageInfoDto {
                id: doc.id.to_string(),
                session_id: doc.session_id.to_string(),
                role: RoleDto::Opaque {
                    raw: doc.info.clone(),
                },
            },
            Into::into,
        );
        let parts = doc.typed_parts().into_iter().map(Into::into).collect();
        Self {
            info,
            position: doc.position,
            parts,
        }
    }
}

/// A message without its parts.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = MessageInfo)]
pub(crate) struct MessageInfoDto {
    /// Its id.
    id: String,
    /// Its session.
    session_id: String,
    #[serde(flatten)]
    role: RoleDto,
}

impl From<model::Message> for MessageInfoDto {
    fn from(m: model::Message) -> Self {
        let role = match m.info {
            MessageInfo::User(u) => RoleDto::User(Box::new((*u).into())),
            MessageInfo::Assistant(a) => RoleDto::Assistant(Box::new((*a).into())),
        };
        Self {
            id: m.id.to_string(),
            session_id: m.session_id.to_string(),
            role,
        }
    }
}

/// Who wrote a message, and what only such messages have.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "role", rename_all = "snake_case")]
#[schema(as = MessageRole)]
pub(crate) enum RoleDto {
    /// A person, or a client in their name.
    User(Box<UserDto>),
    /// An agent.
    Assistant(Box<AssistantDto>),
    /// A message that this version can't read, kept as it is.
    Opaque {
        /// The stored text.
        raw: String,
    },
}

/// What a user message has.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = UserMessage)]
pub(crate) struct UserDto {
    /// When it was created; rises strictly within a session. Integer milliseconds since the
    /// Unix epoch, UTC.
    created_at: i64,
    /// Mode of the coding agent asked for.
    agent: String,
    /// Model asked for.
    model: ModelDto,
    /// Extra system prompt of the client.
    system: Option<String>,
    /// Tools switched on and off by the client.
    tools: Option<BTreeMap<String, bool>>,
    /// Output format asked for.
    #[schema(value_type = Option<Object>)]
    format: Option<Value>,
    /// What its turn changed.
    summary: Option<UserSummaryDto>,
}

impl From<model::UserInfo> for UserDto {
    fn from(u: model::UserInfo) -> Self {
        Self {
            created_at: u.time.created.millis(),
            agent: u.agent,
            model: ModelDto {
                provider_id: u.model.provider_id,
                id: u.model.model_id,
                variant: u.model.variant,
            },
            system: u.system,
            tools: u.tools,
            format: u.format,
            summary: u.summary.map(|s| UserSummaryDto {
                title: s.title,
                body: s.body,
                changes: s.diffs.into_iter().map(Into::into).collect(),
            }),
        }
    }
}

/// What the turn of a user message changed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = UserSummary)]
pub(crate) struct UserSummaryDto {
    /// Short title.
    title: Option<String>,
    /// Longer text.
    body: Option<String>,
    /// Changed files.
    changes: Vec<FileDiffDto>,
}

/// What an assistant message has.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = AssistantMessage)]
pub(crate) struct AssistantDto {
    /// When it was created; rises strictly within a session. Integer milliseconds since the
    /// Unix epoch, UTC.
    created_at: i64,
    /// When it was finished; `null` while an agent still writes it. Integer milliseconds since
    /// the Unix epoch, UTC.
    completed_at: Option<i64>,
    /// The user message it answers.
    parent_id: String,
    /// Mode of the coding agent.
    agent: String,
    /// The model.
    model: ModelDto,
    /// The directory it worked in.
    directory: String,
    /// Root of the project's worktree.
    worktree: String,
    /// Whether it is the summary of a compaction.
    is_summary: bool,
    /// Cost in US dollars.
    cost: f64,
    /// Tokens.
    tokens: TokensDto,
    /// Why the model stopped: `stop`, `length`, `tool-calls`, `content-filter`, `unknown`.
    finish: Option<String>,
    /// Why it failed.
    error: Option<MessageErrorDto>,
    /// Structured output.
    #[schema(value_type = Option<Object>)]
    structured: Option<Value>,
}

impl From<model::AssistantInfo> for AssistantDto {
    fn from(a: model::AssistantInfo) -> Self {
        Self {
            created_at: a.time.created.millis(),
            completed_at: a.time.completed.map(Timestamp::millis),
            parent_id: a.parent_id.to_string(),
            agent: a.agent,
            model: ModelDto {
                provider_id: a.provider_id,
                id: a.model_id,
                variant: a.variant,
            },
            directory: a.path.cwd,
            worktree: a.path.root,
            is_summary: a.summary.unwrap_or(false),
            cost: a.cost,
            tokens: a.tokens.into(),
            finish: a.finish,
            error: a.error.map(Into::into),
            structured: a.structured,
        }
    }
}

/// Why a message failed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = MessageError)]
pub(crate) enum MessageErrorDto {
    /// Stopped by a person, or cut off by a restart.
    Aborted {
        /// A sentence.
        message: String,
    },
    /// The agent needs a log-in.
    Auth {
        /// A sentence.
        message: String,
        /// The coding agent.
        provider_id: String,
    },
    /// The agent reported an error of its model's API.
    Api {
        /// A sentence.
        message: String,
        /// HTTP status of the model's API, when known.
        status_code: Option<u16>,
        /// Whether trying again may help.
        retryable: bool,
    },
    /// The model refused.
    ContentFilter {
        /// A sentence.
        message: String,
    },
    /// Anything else.
    Unknown {
        /// A sentence.
        message: String,
        /// Reference into the server's log.
        reference: Option<String>,
    },
    /// A kind written by another program, kept as it came.
    Other {
        /// A sentence.
        message: String,
        /// Its name.
        name: String,
        /// Its data.
        data: Map<String, Value>,
    },
}

impl From<model::MessageError> for MessageErrorDto {
    fn from(e: model::MessageError) -> Self {
        use model::MessageError as E;
        let sentence = e.message().to_owned();
        match e {
            E::Aborted { message } => Self::Aborted { message },
            E::Auth {
                provider_id,
                message,
            } => Self::Auth {
                message,
                provider_id,
            },
            E::Api {
                message,
                status_code,
                is_retryable,
            } => Self::Api {
                message,
                status_code,
                retryable: is_retryable,
            },
            E::ContentFilter { message } => Self::ContentFilter { message },
            E::Unknown { message, reference } => Self::Unknown { message, reference },
            E::Other { name, data } => Self::Other {
                message: sentence,
                name,
                data,
            },
        }
    }
}

/// A page of a transcript, oldest message first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MessagePage)]
pub(crate) struct MessagePageDto {
    /// The messages.
    pub(crate) messages: Vec<MessageDto>,
    /// Pass as `cursor` for the next older page; `null` when this page reaches the start.
    pub(crate) next_cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sessiond_model::{MessageId, PartDoc, PartId, SessionId};

    use super::*;

    fn doc(info: &str, bodies: &[&str]) -> model::MessageDoc {
        model::MessageDoc {
            id: MessageId::trusted("msg_1"),
            session_id: SessionId::trusted("ses_1"),
            position: 4,
            created: sessiond_model::Seq(1),
            changed: sessiond_model::Seq(1),
            info: info.to_owned(),
            parts: bodies
                .iter()
                .enumerate()
                .map(|(i, body)| PartDoc {
                    id: PartId::trusted(&format!("prt_{i}")),
                    body: (*body).to_owned(),
                })
                .collect(),
        }
    }

    #[test]
    fn stored_messages_are_shown_in_snake_case() {
        let info = r#"{"role":"assistant","time":{"created":5,"completed":9},"parentID":"msg_0","modelID":"m",
            "providerID":"demo","mode":"build","agent":"build","path":{"cwd":"/a","root":"/"},"cost":0.5,
            "tokens":{"input":1,"output":2,"reasoning":3,"cache":{"read":4,"write":5}},"finish":"stop",
            "error":{"name":"APIError","data":{"message":"no","statusCode":500,"isRetryable":true}}}"#;
        let parts = [
            r#"{"type":"text","text":"hi","time":{"start":6,"end":7}}"#,
            r#"{"type":"from-the-future","x":1}"#,
        ];
        let shown = serde_json::to_value(MessageDto::from(doc(info, &parts))).unwrap();
        let expected = json!({
            "id": "msg_1", "session_id": "ses_1", "position": 4, "role": "assistant", "created_at": 5,
            "completed_at": 9, "parent_id": "msg_0", "agent": "build",
            "model": {"provider_id": "demo", "id": "m", "variant": null}, "directory": "/a", "worktree": "/",
            "is_summary": false, "cost": 0.5, "finish": "stop", "structured": null,
            "tokens": {"total": null, "input": 1, "output": 2, "reasoning": 3, "cache_read": 4, "cache_write": 5},
            "error": {"kind": "api", "message": "no", "status_code": 500, "retryable": true},
            "parts": [
                {"id": "prt_0", "session_id": "ses_1", "message_id": "msg_1", "type": "text", "text": "hi",
                 "synthetic": false, "ignored": false, "started_at": 6, "ended_at": 7, "metadata": null},
                {"id": "prt_1", "session_id": "ses_1", "message_id": "msg_1", "type": "opaque",
                 "raw": parts[1]},
            ],
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn an_unreadable_message_keeps_its_text() {
        let shown = serde_json::to_value(MessageDto::from(doc("{broken", &[]))).unwrap();
        assert_eq!(
            (&shown["role"], &shown["raw"]),
            (&json!("opaque"), &json!("{broken"))
        );
    }
}
