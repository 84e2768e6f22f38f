use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sessiond_engine::{Accepted, PromptInput, PromptPart};
use sessiond_model::{MessageId, PartBody, PartId};
use utoipa::ToSchema;

use super::message::MessageInfoDto;
use super::part::PartDto;
use super::session::ModelDto;
use super::turn::TurnDto;
use crate::extract::{at_most, text};
use crate::limits::{NAME_MAX, PARTS_MAX};
use crate::problem::Problem;

/// A prompt.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"parts": [{"type": "text", "text": "Fix the login page"}]}))]
pub(crate) struct PromptBody {
    /// Id of the user message, chosen by the client: the same id again is the same prompt.
    #[schema(value_type = Option<String>, pattern = "^msg[A-Za-z0-9_.:-]*$", max_length = 128)]
    message_id: Option<MessageId>,
    /// What is said: 1 to 1,000 parts.
    #[schema(min_items = 1, max_items = 1000)]
    parts: Vec<PromptPartDto>,
    /// Mode of the coding agent; the latest one of the session when absent.
    #[schema(max_length = 256)]
    agent: Option<String>,
    /// Model; its provider names the coding agent. The latest one of the session when absent.
    model: Option<ModelDto>,
    /// Only store the message; no turn is started.
    #[serde(default)]
    no_reply: bool,
    /// Extra system prompt.
    system: Option<String>,
    /// Tools switched on and off: replaces the session's permission rules.
    tools: Option<BTreeMap<String, bool>>,
    /// Output format, passed on as it is.
    #[schema(value_type = Option<Object>)]
    format: Option<Value>,
}

impl PromptBody {
    /// The checked prompt.
    pub(crate) fn checked(
        self,
        idempotency: Option<(String, String)>,
    ) -> Result<PromptInput, Problem> {
        if self.no_reply && idempotency.is_some() {
            // The key is kept with the turn, and there is none.
            let reason = "Expected no key with `no_reply`; a `message_id` makes it idempotent";
            return Err(Problem::invalid("Idempotency-Key", reason));
        }
        if self.parts.is_empty() {
            return Err(Problem::invalid("parts", "Expected at least one part"));
        }
        at_most("parts", self.parts.len(), PARTS_MAX)?;
        text("agent", self.agent.as_deref().unwrap_or_default(), NAME_MAX)?;
        Ok(PromptInput {
            message_id: self.message_id,
            parts: self
                .parts
                .into_iter()
                .map(PromptPartDto::checked)
                .collect::<Result<_, _>>()?,
            agent: self.agent,
            model: self.model.map(ModelDto::checked).transpose()?,
            no_reply: self.no_reply,
            system: self.system,
            tools: self.tools,
            format: self.format,
            idempotency,
        })
    }
}

/// A part of a prompt.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
#[schema(as = PromptPart)]
pub(crate) enum PromptPartDto {
    /// Text.
    Text {
        /// Id chosen by the client.
        #[schema(value_type = Option<String>, pattern = "^prt[A-Za-z0-9_.:-]*$", max_length = 128)]
        id: Option<PartId>,
        /// The text.
        text: String,
        /// Made by the client, not typed by a person.
        synthetic: Option<bool>,
        /// Not sent to the agent.
        ignored: Option<bool>,
        /// Free map.
        metadata: Option<Map<String, Value>>,
    },
    /// A file.
    File {
        /// Id chosen by the client.
        #[schema(value_type = Option<String>, pattern = "^prt[A-Za-z0-9_.:-]*$", max_length = 128)]
        id: Option<PartId>,
        /// Media type.
        mime: String,
        /// Name for people.
        filename: Option<String>,
        /// `data:` or `file:` URL.
        url: String,
        /// Where in the prompt it is named, passed on as it is.
        #[schema(value_type = Option<Object>)]
        source: Option<Value>,
    },
    /// A mention of an agent.
    Agent {
        /// Id chosen by the client.
        #[schema(value_type = Option<String>, pattern = "^prt[A-Za-z0-9_.:-]*$", max_length = 128)]
        id: Option<PartId>,
        /// Its name.
        name: String,
        /// Where in the prompt it is named, passed on as it is.
        #[schema(value_type = Option<Object>)]
        source: Option<Value>,
    },
    /// A sub-task.
    Subtask {
        /// Id chosen by the client.
        #[schema(value_type = Option<String>, pattern = "^prt[A-Za-z0-9_.:-]*$", max_length = 128)]
        id: Option<PartId>,
        /// The prompt.
        prompt: String,
        /// For people.
        description: String,
        /// The agent.
        agent: String,
        /// The model.
        model: Option<ModelDto>,
        /// The slash command behind it.
        command: Option<String>,
    },
}

impl PromptPartDto {
    pub(super) fn checked(self) -> Result<PromptPart, Problem> {
        let (id, body) = match self {
            Self::Text {
                id,
                text,
                synthetic,
                ignored,
                metadata,
            } => (
                id,
                PartBody::Text {
                    text,
                    synthetic,
                    ignored,
                    time: None,
                    metadata,
                },
            ),
            Self::File {
                id,
                mime,
                filename,
                url,
                source,
            } => (
                id,
                PartBody::File {
                    mime,
                    filename,
                    url,
                    source,
                },
            ),
            Self::Agent { id, name, source } => (id, PartBody::Agent { name, source }),
            Self::Subtask {
                id,
                prompt,
                description,
                agent,
                model,
                command,
            } => {
                let model = model.map(ModelDto::checked).transpose()?;
                // Parts keep a model in the form that OpenCode clients read.
                let model = model.map(|m| json!({"providerID": m.provider_id, "modelID": m.id}));
                (
                    id,
                    PartBody::Subtask {
                        prompt,
                        description,
                        agent,
                        model,
                        command,
                    },
                )
            }
        };
        Ok(PromptPart { id, body })
    }
}

/// An accepted prompt: durable.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PromptReply {
    /// The turn; `null` with `no_reply`.
    turn: Option<TurnDto>,
    /// The user message.
    message: MessageInfoDto,
    /// Its parts, in order.
    parts: Vec<PartDto>,
}

impl From<Accepted> for PromptReply {
    fn from(a: Accepted) -> Self {
        Self {
            turn: a.turn.map(Into::into),
            message: a.message.into(),
            parts: a.parts.into_iter().map(Into::into).collect(),
        }
    }
}
