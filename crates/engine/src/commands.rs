//! Slash commands: which there are, and the turns they and their like start.

use sessiond_model::{AgentCommand, ModelRef, PartBody, Session, SessionId, TurnKind};

use crate::engine::{Engine, Inner, Result};
use crate::prompt::TurnRequest;
use crate::template;
use crate::{
    Accepted, CommandInput, CommandSource, CommandTemplate, EngineError, OfferedCommand,
    PromptInput, PromptPart, ShellInput, TurnInput, WhenBusy,
};

/// The command of [`Engine::init`].
pub(crate) const INIT: &str = "init";
/// Longest command line or argument text, in bytes: what a system takes as one argument.
const MAX_TEXT: usize = 100_000;
/// What the user message of a shell command says.
pub const SHELL_TEXT: &str = "The following tool was executed by the user";

const INIT_DESCRIPTION: &str = "write AGENTS.md: what an agent must know of this project";
const INIT_TEMPLATE: &str = "\
Write AGENTS.md in this directory: the page that a coding agent reads before it works here.

What the person asks for in particular (may be empty): $ARGUMENTS

First look, then write. Read the manifests, lock files and build scripts, the configuration of \
tests, linters and CI, the README, and any instructions for agents or editors that are here \
already; then as much of the code as it takes to say how its parts fit together. Where a document \
and a script disagree, the script is right.

Put down only what an agent would otherwise get wrong or lose time with:
- the exact commands to build, run, check and test, and how to run one single test;
- where things are: the parts, what each is for, where the programs start;
- rules of this code base that are not the language's own: names, errors, layout, generated files;
- traps: order of steps, services and variables that are needed, slow or unsteady tests.

Leave out advice that holds everywhere, lists of files, and whatever you have not seen for \
yourself. Short sections, short bullets, at most about 60 lines. If AGENTS.md exists, keep what is \
still true and improve it in place. Ask nothing; when you are done, say in one sentence what you \
wrote.";

impl Engine {
    /// The slash commands: built in, of the configuration, and those that the coding agents told
    /// when they last ran (the default agent's first).
    ///
    /// # Errors
    /// As [`Engine::agents`].
    pub async fn commands(&self) -> Result<Vec<OfferedCommand>> {
        let mut commands = self.0.templates();
        for agent in self.agents().await?.into_iter().filter(|a| a.available) {
            let own = agent.profile.map(|p| p.commands).unwrap_or_default();
            commands.extend(own.iter().map(|c| of_agent(&agent.name, c)));
        }
        Ok(commands)
    }

    /// Accepts a slash command. A template's text is what is stored and sent; a coding agent's
    /// own command is sent as a person types it.
    ///
    /// # Errors
    /// As [`Engine::prompt`]; `Invalid` for a command that does not exist.
    pub async fn command(&self, id: &SessionId, input: CommandInput) -> Result<Accepted> {
        check_text("arguments", &input.arguments)?;
        let session = self.session(id).await?;
        let command = self.0.find_command(&session, &input)?;
        let text = template::unexpanded(&template::expand(
            &command.template.template,
            &input.arguments,
        ));
        let mut parts = vec![said(text.trim_end(), false)];
        parts.extend(input.parts);
        let turn = TurnInput {
            agent: command.template.agent.or(input.turn.agent),
            model: command.template.model.or(input.turn.model),
            ..input.turn
        };
        let kind = TurnKind::Command {
            name: input.name,
            arguments: input.arguments,
        };
        self.accept(id, request(kind, parts, turn, WhenBusy::Queue))
            .await
    }

    /// Accepts the `init` command: the agent writes AGENTS.md.
    ///
    /// # Errors
    /// As [`Engine::prompt`].
    pub async fn init(&self, id: &SessionId, turn: TurnInput) -> Result<Accepted> {
        let input = CommandInput {
            name: INIT.into(),
            arguments: String::new(),
            parts: Vec::new(),
            turn,
        };
        self.command(id, input).await
    }

    /// Accepts a shell command: it is run in the session's directory, without an agent. Agents
    /// are told of it with the next prompt.
    ///
    /// # Errors
    /// As [`Engine::prompt`]; `Busy` when asked for.
    pub async fn shell(&self, id: &SessionId, input: ShellInput) -> Result<Accepted> {
        check_text("command", &input.command)?;
        if input.command.trim().is_empty() {
            return Err(EngineError::invalid("command", "Expected a command"));
        }
        let kind = TurnKind::Shell {
            command: input.command,
        };
        let parts = vec![said(SHELL_TEXT, true)];
        self.accept(id, request(kind, parts, input.turn, input.busy))
            .await
    }

    /// Accepts a compaction: the agent writes a summary that stands for the conversation so far
    /// wherever it must be told anew.
    ///
    /// # Errors
    /// As [`Engine::prompt`].
    pub async fn summarize(&self, id: &SessionId, turn: TurnInput) -> Result<Accepted> {
        let part = PromptPart {
            id: None,
            body: PartBody::Compaction {
                auto: false,
                overflow: None,
                tail_start_id: None,
            },
        };
        let kind = TurnKind::Compaction;
        self.accept(id, request(kind, vec![part], turn, WhenBusy::Queue))
            .await
    }
}

impl Inner {
    /// The commands with a template, by name; the configuration's hide ours.
    fn templates(&self) -> Vec<OfferedCommand> {
        let offered = |name: &str, source, template: CommandTemplate| OfferedCommand {
            name: name.into(),
            source,
            template,
            hint: None,
        };
        let settings = self.settings.now();
        let mut configured = self.config.commands.clone();
        configured.extend(settings.commands.clone());
        let init = (!configured.contains_key(INIT)).then(|| {
            let template = CommandTemplate {
                description: INIT_DESCRIPTION.into(),
                template: INIT_TEMPLATE.into(),
                ..CommandTemplate::default()
            };
            offered(INIT, CommandSource::BuiltIn, template)
        });
        let configured = configured
            .iter()
            .map(|(name, t)| offered(name, CommandSource::Config, t.clone()));
        init.into_iter().chain(configured).collect()
    }

    /// The template of that name.
    pub(crate) fn template(&self, name: &str) -> Option<CommandTemplate> {
        self.templates()
            .into_iter()
            .find(|c| c.name == name)
            .map(|c| c.template)
    }

    fn find_command(&self, session: &Session, input: &CommandInput) -> Result<OfferedCommand> {
        let mut known = self.templates();
        let model = input.turn.model.as_ref().or(session.model.as_ref());
        let agent = model.map_or_else(
            || self.default_agent(),
            |m: &ModelRef| m.provider_id.clone(),
        );
        if let Some(profile) = self.profiles.lock().get(&agent) {
            known.extend(profile.commands.iter().map(|c| of_agent(&agent, c)));
        }
        if let Some(at) = known.iter().position(|c| c.name == input.name) {
            return Ok(known.swap_remove(at));
        }
        let names: Vec<_> = known.iter().map(|c| c.name.as_str()).collect();
        Err(EngineError::invalid(
            "command",
            format!(
                "Command not found: {:?}. Available commands: {}. (The agent {agent} tells its own \
                 commands when it runs.)",
                input.name,
                names.join(", ")
            ),
        ))
    }
}

fn of_agent(agent: &str, command: &AgentCommand) -> OfferedCommand {
    OfferedCommand {
        name: command.name.clone(),
        source: CommandSource::Agent(agent.to_owned()),
        template: CommandTemplate {
            description: command.description.clone(),
            template: format!("/{} $ARGUMENTS", command.name),
            ..CommandTemplate::default()
        },
        hint: command.hint.clone(),
    }
}

impl OfferedCommand {
    /// The placeholders of its template.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        template::hints(&self.template.template)
    }
}

fn said(text: &str, synthetic: bool) -> PromptPart {
    let body = PartBody::Text {
        text: text.to_owned(),
        synthetic: synthetic.then_some(true),
        ignored: None,
        time: None,
        metadata: None,
    };
    PromptPart { id: None, body }
}

fn request(kind: TurnKind, parts: Vec<PromptPart>, turn: TurnInput, busy: WhenBusy) -> TurnRequest {
    let input = PromptInput {
        message_id: turn.message_id,
        parts,
        agent: turn.agent,
        model: turn.model,
        idempotency: turn.idempotency,
        ..PromptInput::default()
    };
    TurnRequest { kind, input, busy }
}

fn check_text(field: &str, text: &str) -> Result<()> {
    if text.len() > MAX_TEXT {
        return Err(EngineError::invalid(
            field,
            format!("Expected at most {MAX_TEXT} bytes"),
        ));
    }
    if text.contains('\0') {
        return Err(EngineError::invalid(field, "Expected no NUL character"));
    }
    Ok(())
}
