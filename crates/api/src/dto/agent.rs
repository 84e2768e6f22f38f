use serde::Serialize;
use sessiond_engine::AgentStatus;
use sessiond_model as model;
use utoipa::ToSchema;

use super::turn::RungDto;

/// A coding agent of the catalogue and how it is.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Agent, example = json!({
    "name": "claude", "title": "Claude Code", "command": "claude-agent-acp", "available": true, "reason": null,
    "is_default": true, "default_mode": "default", "default_model": null, "profile": null,
}))]
pub(crate) struct AgentDto {
    /// Its name; the provider id of its models.
    name: String,
    /// For people.
    title: String,
    /// The command line.
    command: String,
    /// Whether it can be started.
    available: bool,
    /// Why not, and what to do.
    reason: Option<String>,
    /// Whether it serves prompts that name no agent.
    is_default: bool,
    /// Mode that its sessions start in.
    default_mode: Option<String>,
    /// Model that its sessions start with.
    default_model: Option<String>,
    /// What it said of itself when it last ran; `null` when it never ran.
    profile: Option<ProfileDto>,
}

impl From<AgentStatus> for AgentDto {
    fn from(a: AgentStatus) -> Self {
        Self {
            name: a.name,
            title: a.title,
            command: a.command,
            available: a.available,
            reason: a.reason,
            is_default: a.is_default,
            default_mode: a.default_mode,
            default_model: a.default_model,
            profile: a.profile.map(Into::into),
        }
    }
}

/// What an agent said of itself when it last ran.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = AgentProfile)]
pub(crate) struct ProfileDto {
    /// Its own title.
    title: Option<String>,
    /// Its version.
    version: Option<String>,
    /// Modes, in its order.
    modes: Vec<ChoiceDto>,
    /// The mode it starts in.
    current_mode: Option<String>,
    /// Models, in its order.
    models: Vec<ChoiceDto>,
    /// The model it starts with.
    current_model: Option<String>,
    /// Slash commands.
    commands: Vec<AgentCommandDto>,
    /// Abilities, e.g. `load`, `resume`, `fork`, `image`.
    abilities: Vec<String>,
}

impl From<model::AgentProfile> for ProfileDto {
    fn from(p: model::AgentProfile) -> Self {
        let mode = |m: model::AgentMode| ChoiceDto {
            id: m.id,
            name: m.name,
            description: m.description,
        };
        let model = |m: model::AgentModel| ChoiceDto {
            id: m.id,
            name: m.name,
            description: m.description,
        };
        let command = |c: model::AgentCommand| AgentCommandDto {
            name: c.name,
            description: c.description,
            hint: c.hint,
        };
        Self {
            title: p.title,
            version: p.version,
            modes: p.modes.into_iter().map(mode).collect(),
            current_mode: p.current_mode,
            models: p.models.into_iter().map(model).collect(),
            current_model: p.current_model,
            commands: p.commands.into_iter().map(command).collect(),
            abilities: p.abilities,
        }
    }
}

/// A mode or a model to choose.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = AgentChoice)]
pub(crate) struct ChoiceDto {
    /// Its id.
    id: String,
    /// For people.
    name: String,
    /// For people.
    description: Option<String>,
}

/// A slash command of an agent.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = AgentCommand)]
pub(crate) struct AgentCommandDto {
    /// Its name without the slash.
    name: String,
    /// For people.
    description: String,
    /// What its argument is.
    hint: Option<String>,
}

/// The coding agents, the default one first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AgentList {
    /// The agents.
    pub(crate) agents: Vec<AgentDto>,
}

/// Which live agent session serves a session, and how the agent got its memory.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Binding, example = json!({
    "session_id": "ses_0123456789abExampleSession", "agent": "claude", "agent_session_id": "6f1c", "rung": "rebuilt",
    "rung_notes": ["resume: the agent does not offer it", "load: unknown session"], "pid": 4711,
    "bound_at": 1_795_364_893_636_i64,
}))]
pub(crate) struct BindingDto {
    /// Our session.
    session_id: String,
    /// The coding agent.
    agent: String,
    /// The agent's own id of the session.
    agent_session_id: Option<String>,
    /// How the agent got its memory.
    rung: RungDto,
    /// Why earlier rungs were not used, one sentence each.
    rung_notes: Vec<String>,
    /// Process id of the agent while it runs.
    pid: Option<u32>,
    /// When this binding was made. Integer milliseconds since the Unix epoch, UTC.
    bound_at: i64,
}

impl From<model::AgentBinding> for BindingDto {
    fn from(b: model::AgentBinding) -> Self {
        Self {
            session_id: b.session_id.to_string(),
            agent: b.agent,
            agent_session_id: b.agent_session_id,
            rung: b.rung.into(),
            rung_notes: b.rung_notes,
            pid: b.pid,
            bound_at: b.bound_at.millis(),
        }
    }
}

/// The binding of a session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BindingReply {
    /// The binding; `null` before the first turn.
    pub(crate) binding: Option<BindingDto>,
}
