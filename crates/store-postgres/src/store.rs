use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use sessiond_model::{
    AgentBinding, AgentProfile, Commit, FileChange, MessageDoc, MessageId, Permission,
    PermissionId, Project, ProjectId, Question, QuestionId, Restore, Seq, Session, SessionId,
    Share, Timestamp, Todo, Turn, TurnId, Usage,
};
use sessiond_store::{
    AskQuery, CommitFuture, EventPage, EventQuery, Leases, MessagePage, MessageQuery, SessionHead,
    SessionPage, SessionQuery, ShareQuery, Store, StoreError, StoreHealth, StoreResult, TurnQuery,
    UnavailableReason,
};
use sessiond_store_sql as ops;
use sessiond_store_sql::{Op, Tx};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::PostgresOptions;
use crate::cluster::{Register, Standing, first};
use crate::conn::{Refusal, WRITER, connect};
use crate::feed::Told;
use crate::group::{Job, Reply};
use crate::heart::Heart;
use crate::incidents::Incidents;
use crate::measures::Measures;
use crate::readers::{Readers, View};
use crate::schema;
use crate::tls;
use crate::writer::Writer;
use crate::writing::Writing;

/// Hints that may wait, in and out.
const HINTS: usize = 256;

/// Bytes of all tables of the schema.
const SIZE: &str = "SELECT CAST(coalesce(sum(pg_total_relation_size(c.oid)), 0) AS BIGINT) \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE n.nspname = current_schema() AND c.relkind = 'r'";

/// A store in a PostgreSQL database.
pub struct PostgresStore {
    pub(crate) options: PostgresOptions,
    pub(crate) standing: Arc<Standing>,
    jobs: mpsc::Sender<Job>,
    readers: Arc<Readers>,
    incidents: Arc<Incidents>,
    measures: Arc<Measures>,
    writable: Arc<AtomicBool>,
    closed: AtomicBool,
    /// The writer and the heart, which goes when the writer has gone.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("address", &self.options.address)
            .field("node", &self.standing.registered().node.number)
            .finish_non_exhaustive()
    }
}

fn unavailable(reason: UnavailableReason) -> StoreError {
    StoreError::Unavailable { reason }
}

impl PostgresStore {
    /// Opens the store: brings its schema up to date and registers this node.
    ///
    /// # Errors
    /// `TooNew` when a newer sessiond has changed its schema, `Internal` with what else is wrong with
    /// it, or why it can't be reached.
    pub async fn open(options: &PostgresOptions) -> StoreResult<Self> {
        let tls = tls::connector(&options.address)?;
        let incidents = Arc::<Incidents>::default();
        let told = |refusal: Refusal| refusal.told(&options.address);
        let link = connect(options, &tls, "opener", None).await;
        let mut link = link.map_err(told)?;
        schema::prepare(&mut link.client, options).await?;
        drop(link);

        let link = connect(options, &tls, WRITER, None).await;
        let link = link.map_err(told)?;
        let limit = options.statement_timeout;
        let mut conn = Writing::new(link.client, incidents.clone(), limit);
        let registration = Register(options).run(&mut conn).await?;
        let (last, _) = ops::Counters.run(&mut conn).await?;

        let standing = Arc::new(Standing::new(registration, options));
        let pool = |size| {
            Readers::new(
                options,
                size,
                tls.clone(),
                standing.clone(),
                incidents.clone(),
            )
        };
        let readers = Arc::new(pool(options.readers)?);
        // What others have written is told however many read.
        let tail = Arc::new(pool(1)?);
        let writable = Arc::new(AtomicBool::new(true));
        let measures = Arc::<Measures>::default();
        let (jobs, queue) = mpsc::channel(options.queue.max(1));
        let (outgoing, out_queue) = mpsc::channel(HINTS);
        let (incoming, in_queue) = mpsc::channel(HINTS);
        let heart = Heart {
            options: options.clone(),
            tls: tls.clone(),
            standing: standing.clone(),
            incidents: incidents.clone(),
            outgoing: out_queue,
            incoming,
        };
        let heart = tokio::spawn(heart.run());
        let writer = Writer {
            options: options.clone(),
            tls,
            standing: standing.clone(),
            incidents: incidents.clone(),
            told: Told::new(options.feed.clone(), tail, measures.clone(), last),
            measures: measures.clone(),
            writable: writable.clone(),
            hints: outgoing,
            link: Some((conn.hopes(standing.clone()), link.backend)),
            open: None,
            groups: 0,
            failing: None,
        };
        let writer = tokio::spawn(writer.run(queue, in_queue));
        Ok(Self {
            options: options.clone(),
            standing,
            jobs,
            readers,
            incidents,
            measures,
            writable,
            closed: AtomicBool::new(false),
            tasks: Mutex::new(vec![writer, heart]),
        })
    }

    fn open_still(&self) -> StoreResult<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(unavailable(UnavailableReason::Closed));
        }
        Ok(())
    }

    /// Puts a job into the writer's queue.
    fn queue(&self, job: Job) -> StoreResult<()> {
        self.open_still()?;
        self.jobs.try_send(job).map_err(|error| {
            unavailable(match error {
                TrySendError::Full(_) => UnavailableReason::Overloaded,
                TrySendError::Closed(_) => UnavailableReason::Closed,
            })
        })
    }

    /// Has the writer do something.
    pub(crate) async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> StoreResult<T> {
        let (reply, answer) = oneshot::channel();
        self.queue(job(reply))?;
        let answer = answer.await;
        answer.unwrap_or_else(|_| Err(unavailable(UnavailableReason::Closed)))
    }

    pub(crate) async fn read<O: Op + Copy>(&self, view: View, op: O) -> StoreResult<O::Out> {
        self.open_still()?;
        let (result, damaged) = self.readers.read(view, op).await;
        if !damaged.is_empty() {
            // When the queue is full the next read finds it again.
            let _ = self.queue(Job::Degrade(damaged));
        }
        result
    }

    async fn moving<O: Op + Copy>(&self, op: O) -> StoreResult<O::Out> {
        self.read(View::Moving, op).await
    }

    async fn still<O: Op + Copy>(&self, op: O) -> StoreResult<O::Out> {
        self.read(View::Still, op).await
    }
}

/// The newest event, the number of sessions, and bytes.
#[derive(Clone, Copy, Debug)]
struct Size;

impl Op for Size {
    type Out = (u64, u64, u64);

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<(u64, u64, u64)> {
        let (newest, sessions) = ops::Counters.run(tx).await?;
        let bytes = first(tx, SIZE, &[])
            .await?
            .map_or(0, |mut row| row.unsigned());
        Ok((newest.0, sessions, bytes))
    }
}

#[async_trait]
impl Store for PostgresStore {
    fn commit(&self, commit: Commit) -> CommitFuture {
        let (reply, answer) = oneshot::channel();
        let sent = self.queue(Job::Commit(Box::new(commit), reply));
        Box::pin(async move {
            sent?;
            let answer = answer.await;
            answer.unwrap_or_else(|_| Err(unavailable(UnavailableReason::Closed)))
        })
    }

    fn epoch(&self) -> u64 {
        self.standing.epoch()
    }

    fn leases(&self) -> Option<&dyn Leases> {
        Some(self)
    }

    async fn last_seq(&self) -> StoreResult<Seq> {
        Ok(self.moving(ops::Counters).await?.0)
    }

    async fn session(&self, id: &SessionId) -> StoreResult<Option<Session>> {
        self.moving(ops::SessionById(id)).await
    }

    async fn session_head(&self, id: &SessionId) -> StoreResult<Option<SessionHead>> {
        self.moving(ops::SessionHeadById(id)).await
    }

    async fn sessions(&self, query: &SessionQuery) -> StoreResult<SessionPage> {
        self.moving(ops::Sessions(query)).await
    }

    async fn session_by_key(&self, key: &str) -> StoreResult<Option<(SessionId, String)>> {
        self.moving(ops::SessionByKey(key)).await
    }

    async fn unfinished_sessions(&self) -> StoreResult<Vec<SessionId>> {
        self.moving(ops::Unfinished).await
    }

    async fn messages(
        &self,
        session: &SessionId,
        query: &MessageQuery,
    ) -> StoreResult<MessagePage> {
        self.still(ops::MessagesOf(session, query)).await
    }

    async fn message(
        &self,
        session: &SessionId,
        id: &MessageId,
    ) -> StoreResult<Option<MessageDoc>> {
        self.still(ops::MessageById(session, id)).await
    }

    async fn message_owner(&self, id: &MessageId) -> StoreResult<Option<SessionId>> {
        self.moving(ops::MessageOwner(id)).await
    }

    async fn turn(&self, id: &TurnId) -> StoreResult<Option<Turn>> {
        self.moving(ops::TurnById(id)).await
    }

    async fn turns(&self, session: &SessionId, query: &TurnQuery) -> StoreResult<Vec<Turn>> {
        self.moving(ops::TurnsOf(session, query)).await
    }

    async fn turn_by_key(&self, session: &SessionId, key: &str) -> StoreResult<Option<Turn>> {
        self.moving(ops::TurnByKey(session, key)).await
    }

    async fn turn_of_message(
        &self,
        session: &SessionId,
        message: &MessageId,
    ) -> StoreResult<Option<Turn>> {
        self.moving(ops::TurnOfMessage(session, message)).await
    }

    async fn todos(&self, session: &SessionId) -> StoreResult<Vec<Todo>> {
        self.moving(ops::TodosOf(session)).await
    }

    async fn todo_versions(&self, session: &SessionId) -> StoreResult<Vec<(TurnId, Vec<Todo>)>> {
        self.moving(ops::TodoVersionsOf(session)).await
    }

    async fn last_fork(&self, root: &SessionId) -> StoreResult<u32> {
        self.moving(ops::LastFork(root)).await
    }

    async fn trashed_until(&self, until: Timestamp, limit: u32) -> StoreResult<Vec<SessionId>> {
        self.moving(ops::TrashedUntil(until, limit)).await
    }

    async fn permission(&self, id: &PermissionId) -> StoreResult<Option<Permission>> {
        self.moving(ops::PermissionById(id)).await
    }

    async fn pending_permissions(&self, query: &AskQuery) -> StoreResult<Vec<Permission>> {
        self.moving(ops::PendingPermissions(query)).await
    }

    async fn ended_permissions(
        &self,
        session: &SessionId,
        limit: u32,
    ) -> StoreResult<Vec<Permission>> {
        self.moving(ops::EndedPermissions(session, limit)).await
    }

    async fn question(&self, id: &QuestionId) -> StoreResult<Option<Question>> {
        self.moving(ops::QuestionById(id)).await
    }

    async fn pending_questions(&self, query: &AskQuery) -> StoreResult<Vec<Question>> {
        self.moving(ops::PendingQuestions(query)).await
    }

    async fn ended_questions(&self, session: &SessionId, limit: u32) -> StoreResult<Vec<Question>> {
        self.moving(ops::EndedQuestions(session, limit)).await
    }

    async fn binding(&self, session: &SessionId) -> StoreResult<Option<AgentBinding>> {
        self.moving(ops::BindingOf(session)).await
    }

    async fn live_bindings(&self) -> StoreResult<Vec<AgentBinding>> {
        self.moving(ops::LiveBindings).await
    }

    async fn profiles(&self) -> StoreResult<Vec<AgentProfile>> {
        self.moving(ops::Profiles).await
    }

    async fn projects(&self) -> StoreResult<Vec<Project>> {
        self.moving(ops::Projects).await
    }

    async fn project(&self, id: &ProjectId) -> StoreResult<Option<Project>> {
        self.moving(ops::ProjectById(id)).await
    }

    async fn usage(&self, session: &SessionId) -> StoreResult<Vec<Usage>> {
        self.moving(ops::UsageOf(session)).await
    }

    async fn file_changes(&self, turn: &TurnId) -> StoreResult<Vec<FileChange>> {
        self.moving(ops::FileChangesOf(turn)).await
    }

    async fn session_changes(
        &self,
        session: &SessionId,
    ) -> StoreResult<Vec<(TurnId, Vec<FileChange>)>> {
        self.moving(ops::SessionChanges(session)).await
    }

    async fn restore(&self, session: &SessionId) -> StoreResult<Option<Restore>> {
        self.moving(ops::RestoreOf(session)).await
    }

    async fn pending_restores(&self) -> StoreResult<Vec<SessionId>> {
        self.moving(ops::PendingRestores).await
    }

    async fn share(&self, session: &SessionId) -> StoreResult<Option<Share>> {
        self.moving(ops::ShareOf(session)).await
    }

    async fn share_by_token(&self, hash: &str) -> StoreResult<Option<(SessionId, Share)>> {
        self.moving(ops::ShareByToken(hash)).await
    }

    async fn shares(&self, query: &ShareQuery) -> StoreResult<Vec<(Session, Share)>> {
        self.moving(ops::Shares(query)).await
    }

    async fn events(&self, query: &EventQuery) -> StoreResult<EventPage> {
        self.still(ops::EventsAfter(query)).await
    }

    async fn health(&self) -> StoreResult<StoreHealth> {
        if self.standing.down().is_some() {
            // Known: a probe does not wait for it to be found out again.
            self.open_still()?;
            return Err(unavailable(UnavailableReason::Unreachable));
        }
        let (newest, sessions, bytes) = self.moving(Size).await?;
        Ok(StoreHealth {
            backend: "postgres",
            writable: self.writable.load(Ordering::Relaxed),
            sessions,
            bytes: Some(bytes),
            incidents: self.incidents.list(),
            measures: self.measures.list(newest),
        })
    }

    async fn close(&self) -> StoreResult<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        // Fails only when the writer is gone already.
        let _ = self.jobs.send(Job::Close).await;
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the store ended badly");
            }
        }
        self.readers.close();
        Ok(())
    }
}
