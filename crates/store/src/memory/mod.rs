//! A store in memory: the reference model that other stores are compared with. Simple on
//! purpose; look-ups by id scan the sessions.

mod apply;
mod cluster;
mod read;
mod record;

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, MutexGuard};
use sessiond_model::{
    AgentBinding, AgentProfile, Commit, FileChange, MessageDoc, MessageId, Permission,
    PermissionId, Project, ProjectId, Question, QuestionId, Restore, RestorePhase, Seq, Session,
    SessionId, Share, Timestamp, Todo, Turn, TurnId, Usage,
};

use crate::{
    AskQuery, CommitFuture, EventPage, EventQuery, Feed, Leases, MessagePage, MessageQuery,
    SessionHead, SessionPage, SessionQuery, ShareQuery, Store, StoreError, StoreHealth,
    StoreResult, TurnQuery, UnavailableReason,
};

use cluster::Member;
pub use cluster::MemoryCluster;
use record::State;

/// A store in memory. It is as durable as the process.
#[derive(Debug)]
pub struct MemoryStore {
    feed: Arc<dyn Feed>,
    epoch: u64,
    state: Mutex<State>,
    /// The node of a cluster that this is.
    member: Option<Member>,
}

impl MemoryStore {
    /// An empty store whose commits go to `feed`, for a writer of `epoch`.
    #[must_use]
    pub fn new(feed: Arc<dyn Feed>, epoch: u64) -> Self {
        Self {
            feed,
            epoch,
            state: Mutex::default(),
            member: None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        match &self.member {
            Some(member) => member.state(),
            None => self.state.lock(),
        }
    }

    fn open(&self) -> StoreResult<MutexGuard<'_, State>> {
        let state = self.state();
        let closed = self.member.as_ref().map_or(state.closed, Member::is_closed);
        if closed {
            return Err(StoreError::Unavailable {
                reason: UnavailableReason::Closed,
            });
        }
        Ok(state)
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn commit(&self, commit: Commit) -> CommitFuture {
        let result = self.open().and_then(|mut state| {
            if let Some(member) = &self.member {
                return member.commit(&mut state, commit);
            }
            let committed = state.commit(commit)?;
            // Published under the lock, so that the feed hears commits in order.
            if !committed.events.is_empty() {
                self.feed.publish(&committed.events);
            }
            Ok(committed)
        });
        Box::pin(std::future::ready(result))
    }

    fn epoch(&self) -> u64 {
        self.member.as_ref().map_or(self.epoch, Member::epoch)
    }

    fn leases(&self) -> Option<&dyn Leases> {
        self.member.as_ref().map(|member| member as &dyn Leases)
    }

    async fn last_seq(&self) -> StoreResult<Seq> {
        Ok(self.open()?.last_seq())
    }

    async fn session(&self, id: &SessionId) -> StoreResult<Option<Session>> {
        Ok(self.open()?.sessions.get(id).map(|r| r.session.clone()))
    }

    async fn session_head(&self, id: &SessionId) -> StoreResult<Option<SessionHead>> {
        Ok(self.open()?.sessions.get(id).map(|r| r.head()))
    }

    async fn sessions(&self, query: &SessionQuery) -> StoreResult<SessionPage> {
        Ok(self.open()?.list(query))
    }

    async fn session_by_key(&self, key: &str) -> StoreResult<Option<(SessionId, String)>> {
        Ok(self.open()?.by_key(key))
    }

    async fn unfinished_sessions(&self) -> StoreResult<Vec<SessionId>> {
        Ok(self.open()?.unfinished())
    }

    async fn messages(
        &self,
        session: &SessionId,
        query: &MessageQuery,
    ) -> StoreResult<MessagePage> {
        self.open()?.page(session, query)
    }

    async fn message(
        &self,
        session: &SessionId,
        id: &MessageId,
    ) -> StoreResult<Option<MessageDoc>> {
        self.open()?.message_doc(session, id)
    }

    async fn message_owner(&self, id: &MessageId) -> StoreResult<Option<SessionId>> {
        Ok(self.open()?.message_owner(id).cloned())
    }

    async fn turn(&self, id: &TurnId) -> StoreResult<Option<Turn>> {
        Ok(self.open()?.find_turn(id).cloned())
    }

    async fn turns(&self, session: &SessionId, query: &TurnQuery) -> StoreResult<Vec<Turn>> {
        Ok(self.open()?.turns(session, query))
    }

    async fn turn_by_key(&self, session: &SessionId, key: &str) -> StoreResult<Option<Turn>> {
        Ok(self
            .open()?
            .last_turn(session, |t| t.idempotency_key.as_deref() == Some(key)))
    }

    async fn turn_of_message(
        &self,
        session: &SessionId,
        message: &MessageId,
    ) -> StoreResult<Option<Turn>> {
        Ok(self
            .open()?
            .last_turn(session, |t| t.user_message_id == *message))
    }

    async fn todos(&self, session: &SessionId) -> StoreResult<Vec<Todo>> {
        let state = self.open()?;
        let record = state.sessions.get(session);
        Ok(record.map(|r| r.todos.clone()).unwrap_or_default())
    }

    async fn todo_versions(&self, session: &SessionId) -> StoreResult<Vec<(TurnId, Vec<Todo>)>> {
        let state = self.open()?;
        let Some(record) = state.sessions.get(session) else {
            return Ok(Vec::new());
        };
        let versions = record.turns.iter().filter_map(|turn| {
            let todos = record.todo_versions.get(&turn.row.id)?;
            Some((turn.row.id.clone(), todos.clone()))
        });
        Ok(versions.collect())
    }

    async fn last_fork(&self, root: &SessionId) -> StoreResult<u32> {
        let state = self.open()?;
        let forks = state
            .sessions
            .values()
            .filter_map(|r| r.session.fork.as_ref());
        let family = forks.filter(|fork| fork.family() == root);
        Ok(family.map(|fork| fork.number).max().unwrap_or(0))
    }

    async fn trashed_until(&self, until: Timestamp, limit: u32) -> StoreResult<Vec<SessionId>> {
        let state = self.open()?;
        let sessions = state.sessions.values().map(|r| &r.session);
        let mut old: Vec<_> = sessions
            .filter_map(|s| Some((s.deleted_at.filter(|at| *at <= until)?, s.id.clone())))
            .collect();
        old.sort();
        Ok(old
            .into_iter()
            .map(|(_, id)| id)
            .take(limit as usize)
            .collect())
    }

    async fn permission(&self, id: &PermissionId) -> StoreResult<Option<Permission>> {
        Ok(self.open()?.find_permission(id).cloned())
    }

    async fn pending_permissions(&self, query: &AskQuery) -> StoreResult<Vec<Permission>> {
        Ok(self.open()?.pending_permissions(query))
    }

    async fn ended_permissions(
        &self,
        session: &SessionId,
        limit: u32,
    ) -> StoreResult<Vec<Permission>> {
        Ok(self.open()?.ended_permissions(session, limit))
    }

    async fn question(&self, id: &QuestionId) -> StoreResult<Option<Question>> {
        Ok(self.open()?.find_question(id).cloned())
    }

    async fn pending_questions(&self, query: &AskQuery) -> StoreResult<Vec<Question>> {
        Ok(self.open()?.pending_questions(query))
    }

    async fn ended_questions(&self, session: &SessionId, limit: u32) -> StoreResult<Vec<Question>> {
        Ok(self.open()?.ended_questions(session, limit))
    }

    async fn binding(&self, session: &SessionId) -> StoreResult<Option<AgentBinding>> {
        let state = self.open()?;
        Ok(state.sessions.get(session).and_then(|r| r.binding.clone()))
    }

    async fn live_bindings(&self) -> StoreResult<Vec<AgentBinding>> {
        let state = self.open()?;
        let bindings = state.sessions.values().filter_map(|r| r.binding.as_ref());
        Ok(bindings.filter(|b| b.may_be_alive()).cloned().collect())
    }

    async fn profiles(&self) -> StoreResult<Vec<AgentProfile>> {
        Ok(self.open()?.profiles.values().cloned().collect())
    }

    async fn projects(&self) -> StoreResult<Vec<Project>> {
        let state = self.open()?;
        Ok(state.projects.values().map(|r| r.row.clone()).collect())
    }

    async fn project(&self, id: &ProjectId) -> StoreResult<Option<Project>> {
        Ok(self.open()?.projects.get(id).map(|r| r.row.clone()))
    }

    async fn usage(&self, session: &SessionId) -> StoreResult<Vec<Usage>> {
        let state = self.open()?;
        let record = state.sessions.get(session);
        Ok(record.map(|r| r.usage.clone()).unwrap_or_default())
    }

    async fn file_changes(&self, turn: &TurnId) -> StoreResult<Vec<FileChange>> {
        let state = self.open()?;
        let mut files = state.sessions.values().filter_map(|r| r.files.get(turn));
        Ok(files.next().cloned().unwrap_or_default())
    }

    async fn session_changes(
        &self,
        session: &SessionId,
    ) -> StoreResult<Vec<(TurnId, Vec<FileChange>)>> {
        let state = self.open()?;
        let Some(record) = state.sessions.get(session) else {
            return Ok(Vec::new());
        };
        let turns = record.turns.iter().map(|t| &t.row.id);
        let changes = turns.filter_map(|id| Some((id.clone(), record.files.get(id)?.clone())));
        Ok(changes.collect())
    }

    async fn restore(&self, session: &SessionId) -> StoreResult<Option<Restore>> {
        let state = self.open()?;
        Ok(state.sessions.get(session).and_then(|r| r.restore.clone()))
    }

    async fn pending_restores(&self) -> StoreResult<Vec<SessionId>> {
        let state = self.open()?;
        let pending = state.sessions.values().filter(|r| {
            r.restore
                .as_ref()
                .is_some_and(|restore| restore.phase == RestorePhase::Pending)
        });
        Ok(pending.map(|r| r.session.id.clone()).collect())
    }

    async fn share(&self, session: &SessionId) -> StoreResult<Option<Share>> {
        let state = self.open()?;
        Ok(state.sessions.get(session).and_then(|r| r.share.clone()))
    }

    async fn share_by_token(&self, hash: &str) -> StoreResult<Option<(SessionId, Share)>> {
        Ok(self.open()?.share_by_token(hash))
    }

    async fn shares(&self, query: &ShareQuery) -> StoreResult<Vec<(Session, Share)>> {
        Ok(self.open()?.shares(query))
    }

    async fn events(&self, query: &EventQuery) -> StoreResult<EventPage> {
        Ok(self.open()?.replay(query))
    }

    async fn health(&self) -> StoreResult<StoreHealth> {
        let state = self.open()?;
        Ok(StoreHealth {
            backend: "memory",
            writable: true,
            sessions: state.sessions.len() as u64,
            bytes: None,
            incidents: Vec::new(),
            measures: Vec::new(),
        })
    }

    async fn close(&self) -> StoreResult<()> {
        match &self.member {
            Some(member) => member.close(),
            None => self.state.lock().closed = true,
        }
        Ok(())
    }
}
