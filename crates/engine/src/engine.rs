use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sessiond_agent::Catalogue;
use sessiond_model::{
    AgentBinding, Clock, FileDiff, IdGen, MessageDoc, MessageId, Part, PartId, Permission,
    PermissionId, PermissionReply, Project, ProjectId, Question, QuestionId, Session, SessionId,
    Status, Todo, Turn, TurnId, Usage,
};
use sessiond_store::{
    AskQuery, EventPage, EventQuery, MessagePage, MessageQuery, SessionPage, SessionQuery, Store,
    TurnQuery,
};

use crate::{
    AbortOptions, Accepted, AgentStatus, Created, EngineConfig, EngineError, EngineHealth, Hub,
    NewSession, PromptInput, SessionUpdate, SubscribeOptions, Subscription, Workspace,
};

type Result<T> = std::result::Result<T, EngineError>;

/// The core session manager; a cheap handle.
#[derive(Clone, Debug)]
pub struct Engine;

#[expect(unused_variables, clippy::todo, reason = "signatures first")]
impl Engine {
    /// Starts the engine on an open store: ends what a crash left unfinished, reaps agents
    /// that outlived it, and goes on with the queue. `hub` must be the store's feed.
    pub async fn start(store: Arc<dyn Store>, hub: Arc<Hub>, catalogue: Catalogue, clock: Arc<dyn Clock>, ids: Arc<dyn IdGen>, config: EngineConfig) -> Result<Self> { todo!() }
    /// Refuses new prompts, interrupts running turns, ends all agents. Returns within `deadline`.
    pub async fn shutdown(&self, deadline: Duration) { todo!() }
    /// The configuration.
    #[must_use] pub fn config(&self) -> &EngineConfig { todo!() }
    /// The clock.
    #[must_use] pub fn clock(&self) -> &dyn Clock { todo!() }
    /// How the engine is.
    pub async fn health(&self) -> Result<EngineHealth> { todo!() }

    /// Resolves a directory as a client named it (relative to the default one) to its project. `None` means the default one.
    pub async fn workspace(&self, directory: Option<&str>) -> Result<Arc<Workspace>> { todo!() }
    /// Known projects (those with sessions) by id.
    pub async fn projects(&self) -> Result<Vec<Project>> { todo!() }
    /// One project.
    pub async fn project(&self, id: &ProjectId) -> Result<Project> { todo!() }

    /// Creates a session.
    pub async fn create_session(&self, new: NewSession) -> Result<Created> { todo!() }
    /// A session that is not in the trash.
    pub async fn session(&self, id: &SessionId) -> Result<Session> { todo!() }
    /// Sessions by filter.
    pub async fn sessions(&self, query: &SessionQuery) -> Result<SessionPage> { todo!() }
    /// Status of all sessions that are not idle (busy or error), of one directory or all.
    pub async fn statuses(&self, directory: Option<&str>) -> Result<BTreeMap<SessionId, Status>> { todo!() }
    /// Updates a session.
    pub async fn update_session(&self, id: &SessionId, update: SessionUpdate) -> Result<Arc<Session>> { todo!() }
    /// Moves a session and its descendants to the trash, ending running turns first. Answers all ids, children first.
    pub async fn delete_session(&self, id: &SessionId) -> Result<Vec<SessionId>> { todo!() }
    /// Takes a session (not its children) out of the trash.
    pub async fn restore_session(&self, id: &SessionId) -> Result<Arc<Session>> { todo!() }
    /// Child sessions, oldest first.
    pub async fn children(&self, id: &SessionId) -> Result<Vec<Session>> { todo!() }

    /// A page of the transcript. Open parts carry their live content.
    pub async fn messages(&self, id: &SessionId, query: &MessageQuery) -> Result<MessagePage> { todo!() }
    /// One message.
    pub async fn message(&self, id: &SessionId, message: &MessageId) -> Result<MessageDoc> { todo!() }
    /// Removes a message (idempotent); busy sessions refuse.
    pub async fn delete_message(&self, id: &SessionId, message: &MessageId) -> Result<()> { todo!() }
    /// Inserts or replaces a part of an existing message.
    pub async fn put_part(&self, part: Part) -> Result<Part> { todo!() }
    /// Removes a part (idempotent).
    pub async fn delete_part(&self, id: &SessionId, message: &MessageId, part: &PartId) -> Result<()> { todo!() }

    /// Accepts a prompt: durable when this returns.
    pub async fn prompt(&self, id: &SessionId, input: PromptInput) -> Result<Accepted> { todo!() }
    /// Waits until the turn has ended or `timeout` has passed; answers it as it is then.
    pub async fn wait_turn(&self, turn: &TurnId, timeout: Option<Duration>) -> Result<Turn> { todo!() }
    /// A turn of a session.
    pub async fn turn(&self, id: &SessionId, turn: &TurnId) -> Result<Turn> { todo!() }
    /// Turns of a session, oldest first.
    pub async fn turns(&self, id: &SessionId, query: &TurnQuery) -> Result<Vec<Turn>> { todo!() }
    /// Stops the session's work; returns when it has stopped. `false`: nothing ran.
    pub async fn abort(&self, id: &SessionId, options: AbortOptions) -> Result<bool> { todo!() }

    /// Pending permission requests.
    pub async fn permissions(&self, query: &AskQuery) -> Result<Vec<Permission>> { todo!() }
    /// Answers a permission request; the first answer wins. Unknown: NotFound; ended before: Conflict.
    pub async fn reply_permission(&self, id: &PermissionId, reply: PermissionReply, message: Option<String>) -> Result<Permission> { todo!() }
    /// Pending questions.
    pub async fn questions(&self, query: &AskQuery) -> Result<Vec<Question>> { todo!() }
    /// Answers a question.
    pub async fn reply_question(&self, id: &QuestionId, answers: Vec<Vec<String>>) -> Result<Question> { todo!() }
    /// Declines a question.
    pub async fn reject_question(&self, id: &QuestionId) -> Result<Question> { todo!() }

    /// The todo list.
    pub async fn todos(&self, id: &SessionId) -> Result<Vec<Todo>> { todo!() }
    /// The agent binding.
    pub async fn binding(&self, id: &SessionId) -> Result<Option<AgentBinding>> { todo!() }
    /// The usage ledger.
    pub async fn usage(&self, id: &SessionId) -> Result<Vec<Usage>> { todo!() }
    /// The file changes of a turn, as the agent reported them.
    pub async fn file_changes(&self, turn: &TurnId) -> Result<Vec<FileDiff>> { todo!() }

    /// A page of the event log.
    pub async fn events(&self, query: &EventQuery) -> Result<EventPage> { todo!() }
    /// Subscribes to events.
    pub async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> { todo!() }

    /// The coding agents of the catalogue, the default one first.
    pub async fn agents(&self) -> Result<Vec<AgentStatus>> { todo!() }
}
