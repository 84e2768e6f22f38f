use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sessiond_model::{
    AgentProfile, Message, MessageId, ModelRef, Part, PartId, PermissionRule, Project,
    ProjectCommands, ProjectIcon, RestoreFile, Session, SessionId, Timestamp, Turn,
};
use sessiond_store::StoreHealth;

use crate::SnapshotConfig;

/// How the engine is set up.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Version shown on new sessions.
    pub version: String,
    /// Directory of requests that name none (absolute).
    pub default_directory: PathBuf,
    /// Agent of prompts that name none; otherwise the first one found.
    pub default_agent: Option<String>,
    /// Longest a turn may run.
    pub turn_timeout: Duration,
    /// How long an agent process is kept without work.
    pub agent_idle: Duration,
    /// After an abort: how long the agent may take to obey `session/cancel`.
    pub cancel_grace: Duration,
    /// Then: how long its process group may take to obey SIGTERM.
    pub term_grace: Duration,
    /// Most turns that may wait in one session.
    pub queue_limit: usize,
    /// Size in bytes of a rebuilt context.
    pub context_budget: usize,
    /// Slash commands by name.
    pub commands: BTreeMap<String, CommandTemplate>,
    /// Sessions that changed within this time are shown again to OpenCode streams that come
    /// without a cursor.
    pub catch_up: Duration,
    /// How long deleted sessions are kept in the trash; zero: they are purged at once.
    pub trash_term: Duration,
    /// How worktrees are captured.
    pub snapshots: SnapshotConfig,
    /// Sharing.
    pub share: crate::ShareConfig,
    /// File of the settings that clients change; in memory only without one.
    pub settings: Option<PathBuf>,
    /// Where several nodes share the store: directories under which this one can work; empty for
    /// all that it has.
    pub roots: Vec<PathBuf>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            default_directory: PathBuf::from("/"),
            default_agent: None,
            turn_timeout: Duration::from_secs(3600),
            agent_idle: Duration::from_secs(600),
            cancel_grace: Duration::from_secs(5),
            term_grace: Duration::from_secs(3),
            queue_limit: 100,
            context_budget: 200_000,
            commands: BTreeMap::new(),
            catch_up: Duration::from_secs(600),
            trash_term: Duration::from_secs(30 * 24 * 3600),
            snapshots: SnapshotConfig::default(),
            share: crate::ShareConfig::default(),
            settings: None,
            roots: Vec::new(),
        }
    }
}

/// A directory and the project it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Absolute, normalised.
    pub directory: String,
    /// Root of the git worktree; `/` outside of git.
    pub worktree: String,
    /// `directory` relative to `worktree`.
    pub path: String,
    /// The project.
    pub project: Project,
    /// Current branch, when it is a git worktree on one.
    pub branch: Option<String>,
}

/// What a new session is to be.
#[derive(Clone, Debug, Default)]
pub struct NewSession {
    /// Id chosen by the client (must be free).
    pub id: Option<SessionId>,
    /// Directory; the default one when absent.
    pub directory: Option<String>,
    /// Parent; must exist.
    pub parent_id: Option<SessionId>,
    /// Title; a default one when absent.
    pub title: Option<String>,
    /// OpenCode agent (mode).
    pub agent: Option<String>,
    /// Model.
    pub model: Option<ModelRef>,
    /// Free map.
    pub metadata: Option<Map<String, Value>>,
    /// Permission rules.
    pub permission: Option<Vec<PermissionRule>>,
    /// Idempotency key and digest of the request.
    pub idempotency: Option<(String, String)>,
}

/// A created session.
#[derive(Clone, Debug)]
pub struct Created {
    /// The session.
    pub session: Arc<Session>,
    /// Whether an earlier request with the same key had made it.
    pub replayed: bool,
}

/// How to fork a session.
#[derive(Clone, Debug, Default)]
pub struct ForkOptions {
    /// The first message that is not copied; all are when absent.
    pub before: Option<MessageId>,
    /// Title; the origin's with the number of the fork when absent.
    pub title: Option<String>,
    /// Idempotency key and digest of the request.
    pub idempotency: Option<(String, String)>,
}

/// Sessions that came from one, and that one.
#[derive(Clone, Debug)]
pub struct SessionTree {
    /// The topmost one first; each after the one it came from.
    pub sessions: Vec<Related>,
    /// There are more than are listed.
    pub truncated: bool,
}

/// A session of a [`SessionTree`].
#[derive(Clone, Debug)]
pub struct Related {
    /// Steps from the topmost one.
    pub depth: usize,
    /// How it came from the one above it.
    pub relation: Relation,
    /// The session.
    pub session: Session,
}

/// How a session came from another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Not at all: the topmost one.
    Root,
    /// As a sub-task.
    Child,
    /// As a fork.
    Fork,
}

/// A client's update of a session. `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct SessionUpdate {
    /// New title.
    pub title: Option<String>,
    /// Replaces the metadata map.
    pub metadata: Option<Map<String, Value>>,
    /// Appends permission rules (OpenCode's PATCH).
    pub permission_append: Option<Vec<PermissionRule>>,
    /// Replaces the permission rules.
    pub permission: Option<Vec<PermissionRule>>,
    /// OpenCode agent (mode) of prompts that name none.
    pub agent: Option<String>,
    /// Model of prompts that name none.
    pub model: Option<ModelRef>,
    /// Archives (`Some(Some)`) or un-archives (`Some(None)`).
    pub archived_at: Option<Option<Timestamp>>,
    /// Only when the session's revision is this one.
    pub if_revision: Option<u64>,
}

/// A client's update of a project. `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ProjectUpdate {
    /// Name for people.
    pub name: Option<String>,
    /// Replaces those fields of the icon that it has.
    pub icon: Option<ProjectIcon>,
    /// Replaces the commands.
    pub commands: Option<ProjectCommands>,
}

/// A prompt.
#[derive(Clone, Debug, Default)]
pub struct PromptInput {
    /// Id chosen by the client; the same id again is the same prompt.
    pub message_id: Option<MessageId>,
    /// What is said.
    pub parts: Vec<PromptPart>,
    /// OpenCode agent (mode of the coding agent).
    pub agent: Option<String>,
    /// Model; its provider names the coding agent.
    pub model: Option<ModelRef>,
    /// Only store the message.
    pub no_reply: bool,
    /// Extra system prompt.
    pub system: Option<String>,
    /// Tools switched on and off: replaces the session's permission rules.
    pub tools: Option<BTreeMap<String, bool>>,
    /// Output format.
    pub format: Option<Value>,
    /// Idempotency key and digest of the request.
    pub idempotency: Option<(String, String)>,
}

/// What every request for a turn may say, whatever the turn does.
#[derive(Clone, Debug, Default)]
pub struct TurnInput {
    /// Id of the user message, chosen by the client; the same id again is the same request.
    pub message_id: Option<MessageId>,
    /// OpenCode agent (mode of the coding agent).
    pub agent: Option<String>,
    /// Model; its provider names the coding agent.
    pub model: Option<ModelRef>,
    /// Idempotency key and digest of the request.
    pub idempotency: Option<(String, String)>,
}

/// A shell command of a person.
#[derive(Clone, Debug)]
pub struct ShellInput {
    /// The command line.
    pub command: String,
    /// What happens when the session is busy.
    pub busy: WhenBusy,
    /// The rest.
    pub turn: TurnInput,
}

/// A slash command.
#[derive(Clone, Debug)]
pub struct CommandInput {
    /// Its name, without the slash.
    pub name: String,
    /// What was typed after it.
    pub arguments: String,
    /// Parts to send along.
    pub parts: Vec<PromptPart>,
    /// The rest.
    pub turn: TurnInput,
}

/// What happens to a request for a turn when the session is busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenBusy {
    /// It waits in the queue.
    #[default]
    Queue,
    /// It is refused.
    Refuse,
}

/// A slash command of the configuration (or built in): a template of a prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommandTemplate {
    /// For people.
    pub description: String,
    /// The prompt, with `$1`…, `$ARGUMENTS` and ``!`command` `` in it.
    pub template: String,
    /// OpenCode agent (mode) to run it with.
    pub agent: Option<String>,
    /// Model to run it with.
    pub model: Option<ModelRef>,
}

/// A slash command that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferedCommand {
    /// Its name, without the slash.
    pub name: String,
    /// Where it comes from.
    pub source: CommandSource,
    /// What it sends. For a coding agent's own command that is what a person would type.
    pub template: CommandTemplate,
    /// What its arguments are, in the agent's words.
    pub hint: Option<String>,
}

/// Where a slash command comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandSource {
    /// sessiond's own.
    BuiltIn,
    /// The configuration.
    Config,
    /// The coding agent of this name.
    Agent(String),
}

/// One part of a prompt: a part body of a kind that a client may send
/// (text, file, agent, subtask).
#[derive(Clone, Debug)]
pub struct PromptPart {
    /// Id chosen by the client.
    pub id: Option<PartId>,
    /// The content.
    pub body: sessiond_model::PartBody,
}

/// An accepted prompt: durable.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The user message.
    pub message: Message,
    /// Its parts.
    pub parts: Vec<Part>,
    /// Its turn; absent with `no_reply`.
    pub turn: Option<Turn>,
    /// Whether an earlier request with the same id or key had made it.
    pub replayed: bool,
}

/// What happens to waiting turns on an abort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueuePolicy {
    /// They end as `aborted` too.
    #[default]
    Drop,
    /// They run.
    Keep,
}

/// How to abort.
#[derive(Clone, Copy, Debug, Default)]
pub struct AbortOptions {
    /// What happens to waiting turns.
    pub queue: QueuePolicy,
}

/// A coding agent of the catalogue and how it is.
#[derive(Clone, Debug)]
pub struct AgentStatus {
    /// Its name; also its provider id on the OpenCode surface.
    pub name: String,
    /// For people.
    pub title: String,
    /// The command line.
    pub command: String,
    /// Whether it can be started.
    pub available: bool,
    /// Why not, and what to do.
    pub reason: Option<String>,
    /// Whether it serves prompts that name no agent.
    pub is_default: bool,
    /// Mode that its sessions start in.
    pub default_mode: Option<String>,
    /// Model that its sessions start with.
    pub default_model: Option<String>,
    /// What it said of itself when it last ran.
    pub profile: Option<AgentProfile>,
}

/// How the engine is.
#[derive(Clone, Debug)]
pub struct EngineHealth {
    /// The store.
    pub store: StoreHealth,
    /// Sessions with an actor.
    pub live_sessions: usize,
    /// Agent processes.
    pub agents: usize,
    /// Event subscribers.
    pub subscribers: usize,
    /// Whether the engine is shutting down.
    pub stopping: bool,
}

/// Where to revert to, and how.
#[derive(Clone, Debug)]
pub struct RevertOptions {
    /// The first message that is to be hidden.
    pub message_id: MessageId,
    /// The first part of it, when what comes before is to stay.
    pub part_id: Option<PartId>,
    /// Overwrite what people wrote meanwhile (it is kept for `unrevert`), and go on where files
    /// were not captured.
    pub force: bool,
    /// Go on where files were not captured, and say so.
    pub lenient: bool,
}

/// What a revert, or its end, did.
#[derive(Clone, Debug)]
pub struct Reverted {
    /// The session.
    pub session: Arc<Session>,
    /// The files that were, or were not, brought back.
    pub files: Vec<RestoreFile>,
    /// Why files may not be as they were.
    pub warnings: Vec<String>,
}
