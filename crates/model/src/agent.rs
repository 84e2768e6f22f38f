//! What is known of coding agents and their bindings to sessions.

use serde::{Deserialize, Serialize};

use crate::{SessionId, Timestamp};

/// How an agent got its memory of a session back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestoreRung {
    /// Nothing to restore: the agent session is fresh and so is ours.
    New,
    /// The live agent process went on.
    Live,
    /// `session/resume`: the agent had kept it.
    Resumed,
    /// `session/load`: the agent had kept it and replayed it (the replay is ignored).
    Loaded,
    /// `session/fork`: the agent copied its own session of the one that ours was forked from.
    Forked,
    /// A new agent session whose first prompt carries our transcript, newest first.
    Rebuilt,
}

impl RestoreRung {
    /// The name used in the API and the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Live => "live",
            Self::Resumed => "resumed",
            Self::Loaded => "loaded",
            Self::Forked => "forked",
            Self::Rebuilt => "rebuilt",
        }
    }
}

/// Which live agent session serves one of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentBinding {
    /// Our session.
    pub session_id: SessionId,
    /// The coding agent, by its name in the catalogue.
    pub agent: String,
    /// The agent's own id of the session.
    pub agent_session_id: Option<String>,
    /// How the agent got its memory.
    pub rung: RestoreRung,
    /// Why earlier rungs were not used, one sentence each.
    pub rung_notes: Vec<String>,
    /// Process id of the agent (leader of its process group) while it runs.
    pub pid: Option<u32>,
    /// Start time of that process in the operating system's own unit, so that a pid that
    /// was given out again is not mistaken for it.
    pub pid_started: Option<u64>,
    /// Marker in the environment of the agent and all its children.
    pub spawn_id: Option<String>,
    /// When this binding was made.
    pub bound_at: Timestamp,
}

impl AgentBinding {
    /// Whether a process of this binding may be alive: its marker is recorded before it is
    /// started, its pid right after.
    #[must_use]
    pub fn may_be_alive(&self) -> bool {
        self.pid.is_some() || self.spawn_id.is_some()
    }
}

/// What an agent said of itself when it last ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentProfile {
    /// Its name in the catalogue.
    pub name: String,
    /// Its own title and version, when given.
    pub title: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Modes, in its order.
    pub modes: Vec<AgentMode>,
    /// The mode it starts in.
    pub current_mode: Option<String>,
    /// Models, in its order.
    pub models: Vec<AgentModel>,
    /// The model it starts with.
    pub current_model: Option<String>,
    /// Slash commands.
    pub commands: Vec<AgentCommand>,
    /// Abilities, e.g. `load`, `resume`, `fork`, `image`.
    pub abilities: Vec<String>,
}

/// A mode of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentMode {
    /// Its id.
    pub id: String,
    /// For people.
    pub name: String,
    /// For people.
    pub description: Option<String>,
}

/// A model of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentModel {
    /// Its id.
    pub id: String,
    /// For people.
    pub name: String,
    /// For people.
    pub description: Option<String>,
}

/// A slash command of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentCommand {
    /// Its name without the slash.
    pub name: String,
    /// For people.
    pub description: String,
    /// What its argument is.
    pub hint: Option<String>,
}
