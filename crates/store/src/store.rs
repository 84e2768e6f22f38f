use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use sessiond_model::{
    AgentBinding, AgentProfile, Commit, Event, FileChange, MessageDoc, MessageId, Part, Permission,
    PermissionId, Project, ProjectId, Question, QuestionId, Restore, Seq, Session, SessionId,
    Share, Timestamp, Todo, Turn, TurnId, Usage,
};

use crate::{
    AskQuery, EventPage, EventQuery, Leases, MessagePage, MessageQuery, SessionHead, SessionPage,
    SessionQuery, ShareQuery, StoreError, StoreHealth, TurnQuery,
};

/// What store operations answer.
pub type StoreResult<T> = Result<T, StoreError>;

/// The pending answer to a commit.
pub type CommitFuture = Pin<Box<dyn Future<Output = StoreResult<Committed>> + Send + 'static>>;

/// What a commit did.
#[derive(Clone, Debug, Default)]
pub struct Committed {
    /// Its events, in order; the same that went to the feed.
    pub events: Arc<[Arc<Event>]>,
    /// The session after the commit, when its row changed or was asked for by a patch.
    pub session: Option<Arc<Session>>,
}

/// Who hears of commits. A store calls it once per commit, after the commit is durable and
/// before the committer gets its answer, in the order of `seq` over the whole store.
pub trait Feed: Send + Sync + fmt::Debug {
    /// New events are durable.
    fn publish(&self, events: &Arc<[Arc<Event>]>);

    /// The stored text of an open part of a session that another node writes has grown, without an
    /// event. Told at best: the part's next event has all of it.
    fn checkpointed(&self, part: &Part, directory: &Arc<str>, project: &ProjectId) {
        let _ = (part, directory, project);
    }
}

/// A feed that nobody listens to.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFeed;

impl Feed for NoFeed {
    fn publish(&self, _: &Arc<[Arc<Event>]>) {}
}

/// A durable store of sessions.
///
/// There is one way to write: [`Store::commit`]. In one transaction it checks the fence and
/// the preconditions, applies every change to its row, appends the event rows, and moves the
/// clock; so the state and the order of events cannot disagree. Reads see everything that
/// was acknowledged before they began.
#[async_trait]
pub trait Store: Send + Sync + fmt::Debug {
    /// Commits one batch of changes.
    ///
    /// The batch takes its place in the order of writes *when this is called*, not when the
    /// future is first polled: two calls for one session, one after the other, are applied
    /// in that order. The future may be dropped; the commit happens all the same.
    ///
    /// # Errors (in the future)
    /// `NotFound`, `Conflict`, `Precondition`, `Fenced`: nothing was written.
    /// `Unavailable`, `Internal`: nothing was written, as far as the store can tell.
    fn commit(&self, commit: Commit) -> CommitFuture;

    /// The epoch this process writes under; see [`Commit::fence`]. In a store with
    /// [leases](Self::leases) it is the epoch of sessions that this process creates.
    fn epoch(&self) -> u64;

    /// The leases of a store that several processes share; `None` when this process is alone with
    /// it, and may write every session under [`epoch`](Self::epoch).
    fn leases(&self) -> Option<&dyn Leases> {
        None
    }

    /// The position of the newest event; `Seq(0)` in an empty store.
    async fn last_seq(&self) -> StoreResult<Seq>;

    /// A session, also one in the trash.
    async fn session(&self, id: &SessionId) -> StoreResult<Option<Session>>;

    /// A session with what a writer needs to continue it.
    async fn session_head(&self, id: &SessionId) -> StoreResult<Option<SessionHead>>;

    /// Sessions, newest change first.
    async fn sessions(&self, query: &SessionQuery) -> StoreResult<SessionPage>;

    /// The session that was created with this idempotency key, and the digest of the request.
    async fn session_by_key(&self, key: &str) -> StoreResult<Option<(SessionId, String)>>;

    /// Sessions that a crash may have left unfinished: with a turn that has not ended, a
    /// pending permission or question, or status busy.
    async fn unfinished_sessions(&self) -> StoreResult<Vec<SessionId>>;

    /// A page of a session's transcript; empty when there is no such session.
    async fn messages(&self, session: &SessionId, query: &MessageQuery)
    -> StoreResult<MessagePage>;

    /// One message of a session.
    async fn message(&self, session: &SessionId, id: &MessageId)
    -> StoreResult<Option<MessageDoc>>;

    /// The session that a message id belongs to.
    async fn message_owner(&self, id: &MessageId) -> StoreResult<Option<SessionId>>;

    /// A turn.
    async fn turn(&self, id: &TurnId) -> StoreResult<Option<Turn>>;

    /// Turns of a session, oldest first.
    async fn turns(&self, session: &SessionId, query: &TurnQuery) -> StoreResult<Vec<Turn>>;

    /// The turn of a session that carries this idempotency key.
    async fn turn_by_key(&self, session: &SessionId, key: &str) -> StoreResult<Option<Turn>>;

    /// The turn that a user message started.
    async fn turn_of_message(
        &self,
        session: &SessionId,
        message: &MessageId,
    ) -> StoreResult<Option<Turn>>;

    /// The todo list of a session.
    async fn todos(&self, session: &SessionId) -> StoreResult<Vec<Todo>>;

    /// The todo list as each turn of a session left it, oldest turn first; turns that wrote
    /// none are left out.
    async fn todo_versions(&self, session: &SessionId) -> StoreResult<Vec<(TurnId, Vec<Todo>)>>;

    /// The highest number in the family of forks that comes from a session, those in the trash
    /// included; 0 when there are none.
    async fn last_fork(&self, root: &SessionId) -> StoreResult<u32>;

    /// The sessions that went to the trash at or before a time, at most `limit`, the oldest
    /// first.
    async fn trashed_until(&self, until: Timestamp, limit: u32) -> StoreResult<Vec<SessionId>>;

    /// A permission request, pending or ended.
    async fn permission(&self, id: &PermissionId) -> StoreResult<Option<Permission>>;

    /// Pending permission requests, oldest first.
    async fn pending_permissions(&self, query: &AskQuery) -> StoreResult<Vec<Permission>>;

    /// Permission requests of a session that have ended, the newest first, at most `limit`.
    async fn ended_permissions(
        &self,
        session: &SessionId,
        limit: u32,
    ) -> StoreResult<Vec<Permission>>;

    /// A question, pending or ended.
    async fn question(&self, id: &QuestionId) -> StoreResult<Option<Question>>;

    /// Pending questions, oldest first.
    async fn pending_questions(&self, query: &AskQuery) -> StoreResult<Vec<Question>>;

    /// Questions of a session that have ended, the newest first, at most `limit`.
    async fn ended_questions(&self, session: &SessionId, limit: u32) -> StoreResult<Vec<Question>>;

    /// The agent binding of a session.
    async fn binding(&self, session: &SessionId) -> StoreResult<Option<AgentBinding>>;

    /// All bindings that name a process or a spawn id: agents that may have outlived a crash
    /// of ours.
    async fn live_bindings(&self) -> StoreResult<Vec<AgentBinding>>;

    /// What is known of agents, by name.
    async fn profiles(&self) -> StoreResult<Vec<AgentProfile>>;

    /// All projects, by id.
    async fn projects(&self) -> StoreResult<Vec<Project>>;

    /// A project.
    async fn project(&self, id: &ProjectId) -> StoreResult<Option<Project>>;

    /// The usage ledger of a session, oldest first.
    async fn usage(&self, session: &SessionId) -> StoreResult<Vec<Usage>>;

    /// The file changes of a turn.
    async fn file_changes(&self, turn: &TurnId) -> StoreResult<Vec<FileChange>>;

    /// The file changes of all turns of a session that have some, oldest first.
    async fn session_changes(
        &self,
        session: &SessionId,
    ) -> StoreResult<Vec<(TurnId, Vec<FileChange>)>>;

    /// What a revert did to the worktree of a session, or is about to do.
    async fn restore(&self, session: &SessionId) -> StoreResult<Option<Restore>>;

    /// Sessions with a restore that a crash may have left half done.
    async fn pending_restores(&self) -> StoreResult<Vec<SessionId>>;

    /// The share of a session.
    async fn share(&self, session: &SessionId) -> StoreResult<Option<Share>>;

    /// The share whose token has this hash, and its session (which may be in the trash).
    async fn share_by_token(&self, hash: &str) -> StoreResult<Option<(SessionId, Share)>>;

    /// Shared sessions outside of the trash with their shares, the newest session first.
    async fn shares(&self, query: &ShareQuery) -> StoreResult<Vec<(Session, Share)>>;

    /// Events in order, with content as told at [`EventPage::events`].
    async fn events(&self, query: &EventQuery) -> StoreResult<EventPage>;

    /// How the store is. Cheap enough for a readiness probe.
    async fn health(&self) -> StoreResult<StoreHealth>;

    /// Finishes pending commits and closes the store; later calls answer `Unavailable`.
    async fn close(&self) -> StoreResult<()>;
}
