use serde::{Deserialize, Serialize};
use sessiond_engine::{
    CommandInput, CommandSource, OfferedCommand, ShellInput, TurnInput, WhenBusy,
};
use sessiond_model as model;
use sessiond_model::MessageId;
use utoipa::ToSchema;

use super::prompt::PromptPartDto;
use super::session::ModelDto;
use crate::extract::{at_most, text};
use crate::limits::{ARGUMENT_MAX, NAME_MAX, PARTS_MAX};
use crate::problem::Problem;

/// A slash command.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"command": "review", "arguments": "the login page"}))]
pub(crate) struct CommandBody {
    /// Its name, without the slash.
    #[schema(min_length = 1, max_length = 256)]
    command: String,
    /// What is typed after it.
    #[serde(default)]
    #[schema(max_length = 100_000)]
    arguments: String,
    /// Parts to send along: up to 1,000.
    #[serde(default)]
    #[schema(max_items = 1000)]
    parts: Vec<PromptPartDto>,
    /// Id of the user message, chosen by the client: the same id again is the same request.
    #[schema(value_type = Option<String>, pattern = "^msg[A-Za-z0-9_.:-]*$", max_length = 128)]
    message_id: Option<MessageId>,
    /// Mode of the coding agent, unless the command names one.
    #[schema(max_length = 256)]
    agent: Option<String>,
    /// Model, unless the command names one; its provider names the coding agent.
    model: Option<ModelDto>,
}

impl CommandBody {
    /// The checked command.
    pub(crate) fn checked(
        self,
        idempotency: Option<(String, String)>,
    ) -> Result<CommandInput, Problem> {
        text("command", &self.command, NAME_MAX)?;
        text("arguments", &self.arguments, ARGUMENT_MAX)?;
        at_most("parts", self.parts.len(), PARTS_MAX - 1)?;
        let parts = self.parts.into_iter().map(PromptPartDto::checked);
        Ok(CommandInput {
            name: self.command,
            arguments: self.arguments,
            parts: parts.collect::<Result<_, _>>()?,
            turn: turn(self.message_id, self.agent, self.model, idempotency)?,
        })
    }
}

/// A shell command.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"command": "git status --short"}))]
pub(crate) struct ShellBody {
    /// The command line, for the user's shell.
    #[schema(min_length = 1, max_length = 100_000)]
    command: String,
    /// Id of the user message, chosen by the client: the same id again is the same request.
    #[schema(value_type = Option<String>, pattern = "^msg[A-Za-z0-9_.:-]*$", max_length = 128)]
    message_id: Option<MessageId>,
    /// Mode shown on its messages.
    #[schema(max_length = 256)]
    agent: Option<String>,
    /// Model shown on its messages.
    model: Option<ModelDto>,
}

impl ShellBody {
    /// The checked command, which waits while the session is busy.
    pub(crate) fn checked(
        self,
        idempotency: Option<(String, String)>,
    ) -> Result<ShellInput, Problem> {
        text("command", &self.command, ARGUMENT_MAX)?;
        Ok(ShellInput {
            command: self.command,
            busy: WhenBusy::Queue,
            turn: turn(self.message_id, self.agent, self.model, idempotency)?,
        })
    }
}

/// Who is to do it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(example = json!({"model": {"provider_id": "claude", "id": "sonnet"}}))]
pub(crate) struct TurnBody {
    /// Id of the user message, chosen by the client: the same id again is the same request.
    #[schema(value_type = Option<String>, pattern = "^msg[A-Za-z0-9_.:-]*$", max_length = 128)]
    message_id: Option<MessageId>,
    /// Mode of the coding agent; the latest one of the session when absent.
    #[schema(max_length = 256)]
    agent: Option<String>,
    /// Model; its provider names the coding agent. The latest one of the session when absent.
    model: Option<ModelDto>,
}

impl TurnBody {
    /// The checked request.
    pub(crate) fn checked(
        self,
        idempotency: Option<(String, String)>,
    ) -> Result<TurnInput, Problem> {
        turn(self.message_id, self.agent, self.model, idempotency)
    }
}

fn turn(
    message_id: Option<MessageId>,
    agent: Option<String>,
    model: Option<ModelDto>,
    idempotency: Option<(String, String)>,
) -> Result<TurnInput, Problem> {
    text("agent", agent.as_deref().unwrap_or_default(), NAME_MAX)?;
    Ok(TurnInput {
        message_id,
        agent,
        model: model.map(ModelDto::checked).transpose()?,
        idempotency,
    })
}

/// A slash command that can be asked for.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Command, example = json!({
    "name": "review", "source": {"type": "config"}, "description": "review what is not committed",
    "template": "Review these changes. Look at $ARGUMENTS in particular.", "hints": ["$ARGUMENTS"], "argument_hint": null,
    "agent": null, "model": null,
}))]
pub(crate) struct CommandDto {
    /// Its name, without the slash. A coding agent's command gives way to one of the same name
    /// that is built in or configured.
    name: String,
    /// Where it comes from.
    source: CommandSourceDto,
    /// For people.
    description: String,
    /// What it sends: a template, or for a coding agent's own command what a person would type.
    template: String,
    /// The placeholders of the template.
    hints: Vec<String>,
    /// What its arguments are, in the coding agent's words.
    argument_hint: Option<String>,
    /// Mode it is run in, when it names one.
    agent: Option<String>,
    /// Model it is run with, when it names one.
    model: Option<ModelDto>,
}

impl From<OfferedCommand> for CommandDto {
    fn from(c: OfferedCommand) -> Self {
        Self {
            hints: c.hints(),
            name: c.name,
            source: match c.source {
                CommandSource::BuiltIn => CommandSourceDto::BuiltIn,
                CommandSource::Config => CommandSourceDto::Config,
                CommandSource::Agent(name) => CommandSourceDto::Agent { name },
            },
            description: c.template.description,
            template: c.template.template,
            argument_hint: c.hint,
            agent: c.template.agent,
            model: c.template.model.map(Into::into),
        }
    }
}

/// Where a slash command comes from.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = CommandSource)]
pub(crate) enum CommandSourceDto {
    /// The server's own.
    BuiltIn,
    /// The configuration.
    Config,
    /// A coding agent, as it told when it last ran.
    Agent {
        /// Its name.
        name: String,
    },
}

/// The slash commands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CommandList {
    /// The commands.
    pub(crate) commands: Vec<CommandDto>,
}

/// What a turn does.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schema(as = TurnKind)]
pub(crate) enum TurnKindDto {
    /// The agent answers a prompt.
    Prompt,
    /// The agent answers a slash command.
    Command {
        /// Its name, without the slash.
        name: String,
        /// What was typed after it.
        arguments: String,
    },
    /// A shell command of a person; no agent is asked.
    Shell {
        /// The command line.
        command: String,
    },
    /// The agent writes a summary that stands for the conversation so far.
    Compaction,
}

impl From<model::TurnKind> for TurnKindDto {
    fn from(kind: model::TurnKind) -> Self {
        match kind {
            model::TurnKind::Prompt => Self::Prompt,
            model::TurnKind::Command { name, arguments } => Self::Command { name, arguments },
            model::TurnKind::Shell { command } => Self::Shell { command },
            model::TurnKind::Compaction => Self::Compaction,
        }
    }
}
