use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use async_trait::async_trait;
use parking_lot::Mutex;
use sessiond_model::{
    AgentBinding, AgentProfile, Commit, FileChange, MessageDoc, MessageId, Permission,
    PermissionId, Project, ProjectId, Question, QuestionId, Restore, Seq, Session, SessionId,
    Share, Timestamp, Todo, Turn, TurnId, Usage,
};
use sessiond_store::{
    AskQuery, CommitFuture, EventPage, EventQuery, MessagePage, MessageQuery, SessionHead,
    SessionPage, SessionQuery, ShareQuery, Store, StoreError, StoreHealth, StoreResult, TurnQuery,
    UnavailableReason,
};
use sessiond_store_sql as ops;
use sessiond_store_sql::Op;
use tokio::sync::{Semaphore, oneshot};

use crate::SqliteOptions;
use crate::check::Check;
use crate::conn::{Conn, io_fault};
use crate::incidents::Incidents;
use crate::lock::Lock;
use crate::open::{DATABASE, cause, open_store};
use crate::readers::Readers;
use crate::salvage::is_damage;
use crate::writer::{Job, Writer};

/// Reads of many rows that may run at once, off the async threads.
const LARGE_READS: usize = 3;

/// A page of so many messages is read where it is asked for: to hand it to another thread
/// would cost about as much as to read it.
const SMALL_PAGE: u32 = 100;

/// A store in an SQLite database.
pub struct SqliteStore {
    path: PathBuf,
    epoch: u64,
    jobs: SyncSender<Job>,
    readers: Arc<Readers>,
    large_reads: Semaphore,
    incidents: Arc<Incidents>,
    generation: Arc<AtomicU64>,
    lock: Lock,
    writable: Arc<AtomicBool>,
    closed: AtomicBool,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// The check of the whole database after the last writer did not close it.
    check: Mutex<Option<Check>>,
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.path)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

fn unavailable(reason: UnavailableReason) -> StoreError {
    StoreError::Unavailable { reason }
}

impl SqliteStore {
    /// Opens the store of a data directory. Blocks while it does.
    ///
    /// # Errors
    /// `Locked` when another process has it, `TooNew` when a newer sessiond wrote it,
    /// `Unavailable` when the disk does not allow it.
    pub fn open(options: &SqliteOptions) -> StoreResult<Self> {
        std::fs::create_dir_all(&options.dir)
            .map_err(|e| io_fault("make the data directory", e))?;
        let lock = Lock::take(&options.dir, options.holder_url.as_deref())?;
        let incidents = Arc::<Incidents>::default();
        let path = options.dir.join(DATABASE);
        let opened = open_store(&path, options, &incidents, lock.used_before())?;
        let readers = Arc::new(Readers::new(path.clone(), incidents.clone()));
        let generation = Arc::<AtomicU64>::default();
        let writable = Arc::new(AtomicBool::new(true));
        let writer = Writer {
            conn: opened.conn,
            path: path.clone(),
            options: options.clone(),
            readers: readers.clone(),
            incidents: incidents.clone(),
            generation: generation.clone(),
            writable: writable.clone(),
            groups: 0,
        };
        let (jobs, queue) = sync_channel(options.queue);
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(&queue))
            .map_err(|e| io_fault("start the writer", e))?;
        let check = (opened.unclean)
            .then(|| Check::start(&path, &incidents, jobs.clone()))
            .transpose()?;
        Ok(Self {
            check: Mutex::new(check),
            readers,
            generation,
            path,
            epoch: opened.epoch,
            jobs,
            large_reads: Semaphore::new(LARGE_READS),
            incidents,
            lock,
            writable,
            closed: AtomicBool::new(false),
            writer: Mutex::new(Some(thread)),
        })
    }

    /// Notes the address of this process for others that want the directory.
    ///
    /// # Errors
    /// When the lock file can't be written.
    pub fn set_holder_url(&self, url: &str) -> StoreResult<()> {
        self.lock.tell(Some(url))
    }

    fn open_still(&self) -> StoreResult<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(unavailable(UnavailableReason::Closed));
        }
        Ok(())
    }

    /// Passes on which sessions have rows that could not be read.
    fn settle(&self, damaged: Vec<SessionId>) {
        if !damaged.is_empty() {
            // When the queue is full the next read finds it again.
            let _ = self.jobs.try_send(Job::Degrade(damaged));
        }
    }

    /// A read of few rows: on the calling thread, because it takes microseconds.
    async fn point<O: Op + Copy + Send + Sync>(&self, op: O) -> StoreResult<O::Out> {
        self.few(move |conn| conn.run(op)).await
    }

    async fn few<R>(
        &self,
        read: impl Fn(&mut Conn) -> StoreResult<R> + Send + Sync,
    ) -> StoreResult<R> {
        self.open_still()?;
        let seen = self.generation.load(Ordering::Acquire);
        let (result, damaged) = self.readers.read(&read);
        self.settle(damaged);
        match result {
            Err(error) if is_damage(&error) => {
                self.heal(seen, &error).await;
                self.readers.read(&read).0
            }
            result => result,
        }
    }

    /// A read of many rows: off the async threads, a few at a time.
    async fn large<R: Send + 'static>(
        &self,
        read: impl Fn(&mut Conn) -> StoreResult<R> + Clone + Send + 'static,
    ) -> StoreResult<R> {
        self.open_still()?;
        let _permit = self.large_reads.acquire().await;
        let seen = self.generation.load(Ordering::Acquire);
        match self.off_thread(read.clone()).await {
            Err(error) if is_damage(&error) => {
                self.heal(seen, &error).await;
                self.off_thread(read).await
            }
            result => result,
        }
    }

    async fn off_thread<R: Send + 'static>(
        &self,
        read: impl Fn(&mut Conn) -> StoreResult<R> + Send + 'static,
    ) -> StoreResult<R> {
        let readers = self.readers.clone();
        let done = tokio::task::spawn_blocking(move || readers.read(read)).await;
        let (result, damaged) = done.map_err(|error| StoreError::Internal {
            operation: "read many rows",
            source: error.into(),
        })?;
        self.settle(damaged);
        result
    }

    /// Waits until a damaged database is replaced by what can be saved of it.
    async fn heal(&self, seen: u64, error: &StoreError) {
        let (done, healed) = oneshot::channel();
        let job = Job::Heal(seen, cause(error), Some(done));
        if self.jobs.try_send(job).is_ok() {
            // When the writer is gone, the read fails again and says so.
            let _ = healed.await;
        }
    }

    /// Closes the store and waits until the database is closed.
    fn shut(&self) {
        self.closed.store(true, Ordering::Release);
        if let Some(check) = self.check.lock().take() {
            check.stop();
        }
        drop(self.readers.shut_out());
        if let Some(thread) = self.writer.lock().take() {
            // Fails only when the writer is gone already.
            let _ = self.jobs.send(Job::Close);
            if thread.join().is_err() {
                tracing::error!("the store's writer panicked");
            }
            self.lock.release();
        }
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.shut();
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn commit(&self, commit: Commit) -> CommitFuture {
        let (reply, answer) = oneshot::channel();
        let sent = self.open_still().and_then(|()| {
            let job = Job::Commit(Box::new(commit), reply);
            self.jobs.try_send(job).map_err(|error| {
                unavailable(match error {
                    TrySendError::Full(_) => UnavailableReason::Overloaded,
                    TrySendError::Disconnected(_) => UnavailableReason::Closed,
                })
            })
        });
        Box::pin(async move {
            sent?;
            let answer = answer.await;
            answer.unwrap_or_else(|_| Err(unavailable(UnavailableReason::Closed)))
        })
    }

    fn epoch(&self) -> u64 {
        self.epoch
    }

    async fn last_seq(&self) -> StoreResult<Seq> {
        Ok(self.point(ops::Counters).await?.0)
    }

    async fn session(&self, id: &SessionId) -> StoreResult<Option<Session>> {
        self.point(ops::SessionById(id)).await
    }

    async fn session_head(&self, id: &SessionId) -> StoreResult<Option<SessionHead>> {
        self.point(ops::SessionHeadById(id)).await
    }

    async fn sessions(&self, query: &SessionQuery) -> StoreResult<SessionPage> {
        let query = query.clone();
        self.large(move |conn| conn.run(ops::Sessions(&query)))
            .await
    }

    async fn session_by_key(&self, key: &str) -> StoreResult<Option<(SessionId, String)>> {
        self.point(ops::SessionByKey(key)).await
    }

    async fn unfinished_sessions(&self) -> StoreResult<Vec<SessionId>> {
        self.point(ops::Unfinished).await
    }

    async fn messages(
        &self,
        session: &SessionId,
        query: &MessageQuery,
    ) -> StoreResult<MessagePage> {
        if query.limit.is_some_and(|limit| limit <= SMALL_PAGE) {
            let op = ops::MessagesOf(session, query);
            return self.few(move |conn| conn.snapshot(op)).await;
        }
        let (session, query) = (session.clone(), query.clone());
        let read = move |conn: &mut Conn| conn.snapshot(ops::MessagesOf(&session, &query));
        self.large(read).await
    }

    async fn message(
        &self,
        session: &SessionId,
        id: &MessageId,
    ) -> StoreResult<Option<MessageDoc>> {
        let op = ops::MessageById(session, id);
        self.few(move |conn| conn.snapshot(op)).await
    }

    async fn message_owner(&self, id: &MessageId) -> StoreResult<Option<SessionId>> {
        self.point(ops::MessageOwner(id)).await
    }

    async fn turn(&self, id: &TurnId) -> StoreResult<Option<Turn>> {
        self.point(ops::TurnById(id)).await
    }

    async fn turns(&self, session: &SessionId, query: &TurnQuery) -> StoreResult<Vec<Turn>> {
        let (session, query) = (session.clone(), query.clone());
        self.large(move |conn| conn.run(ops::TurnsOf(&session, &query)))
            .await
    }

    async fn turn_by_key(&self, session: &SessionId, key: &str) -> StoreResult<Option<Turn>> {
        self.point(ops::TurnByKey(session, key)).await
    }

    async fn turn_of_message(
        &self,
        session: &SessionId,
        message: &MessageId,
    ) -> StoreResult<Option<Turn>> {
        self.point(ops::TurnOfMessage(session, message)).await
    }

    async fn todos(&self, session: &SessionId) -> StoreResult<Vec<Todo>> {
        self.point(ops::TodosOf(session)).await
    }

    async fn todo_versions(&self, session: &SessionId) -> StoreResult<Vec<(TurnId, Vec<Todo>)>> {
        let session = session.clone();
        self.large(move |conn| conn.run(ops::TodoVersionsOf(&session)))
            .await
    }

    async fn last_fork(&self, root: &SessionId) -> StoreResult<u32> {
        self.point(ops::LastFork(root)).await
    }

    async fn trashed_until(&self, until: Timestamp, limit: u32) -> StoreResult<Vec<SessionId>> {
        self.point(ops::TrashedUntil(until, limit)).await
    }

    async fn permission(&self, id: &PermissionId) -> StoreResult<Option<Permission>> {
        self.point(ops::PermissionById(id)).await
    }

    async fn pending_permissions(&self, query: &AskQuery) -> StoreResult<Vec<Permission>> {
        self.point(ops::PendingPermissions(query)).await
    }

    async fn ended_permissions(
        &self,
        session: &SessionId,
        limit: u32,
    ) -> StoreResult<Vec<Permission>> {
        self.point(ops::EndedPermissions(session, limit)).await
    }

    async fn question(&self, id: &QuestionId) -> StoreResult<Option<Question>> {
        self.point(ops::QuestionById(id)).await
    }

    async fn pending_questions(&self, query: &AskQuery) -> StoreResult<Vec<Question>> {
        self.point(ops::PendingQuestions(query)).await
    }

    async fn ended_questions(&self, session: &SessionId, limit: u32) -> StoreResult<Vec<Question>> {
        self.point(ops::EndedQuestions(session, limit)).await
    }

    async fn binding(&self, session: &SessionId) -> StoreResult<Option<AgentBinding>> {
        self.point(ops::BindingOf(session)).await
    }

    async fn live_bindings(&self) -> StoreResult<Vec<AgentBinding>> {
        self.point(ops::LiveBindings).await
    }

    async fn profiles(&self) -> StoreResult<Vec<AgentProfile>> {
        self.point(ops::Profiles).await
    }

    async fn projects(&self) -> StoreResult<Vec<Project>> {
        self.point(ops::Projects).await
    }

    async fn project(&self, id: &ProjectId) -> StoreResult<Option<Project>> {
        self.point(ops::ProjectById(id)).await
    }

    async fn usage(&self, session: &SessionId) -> StoreResult<Vec<Usage>> {
        let session = session.clone();
        self.large(move |conn| conn.run(ops::UsageOf(&session)))
            .await
    }

    async fn file_changes(&self, turn: &TurnId) -> StoreResult<Vec<FileChange>> {
        let turn = turn.clone();
        self.large(move |conn| conn.run(ops::FileChangesOf(&turn)))
            .await
    }

    async fn session_changes(
        &self,
        session: &SessionId,
    ) -> StoreResult<Vec<(TurnId, Vec<FileChange>)>> {
        let session = session.clone();
        self.large(move |conn| conn.run(ops::SessionChanges(&session)))
            .await
    }

    async fn restore(&self, session: &SessionId) -> StoreResult<Option<Restore>> {
        self.point(ops::RestoreOf(session)).await
    }

    async fn pending_restores(&self) -> StoreResult<Vec<SessionId>> {
        self.point(ops::PendingRestores).await
    }

    async fn share(&self, session: &SessionId) -> StoreResult<Option<Share>> {
        self.point(ops::ShareOf(session)).await
    }

    async fn share_by_token(&self, hash: &str) -> StoreResult<Option<(SessionId, Share)>> {
        self.point(ops::ShareByToken(hash)).await
    }

    async fn shares(&self, query: &ShareQuery) -> StoreResult<Vec<(Session, Share)>> {
        let query = query.clone();
        self.large(move |conn| conn.run(ops::Shares(&query))).await
    }

    async fn events(&self, query: &EventQuery) -> StoreResult<EventPage> {
        let query = query.clone();
        self.large(move |conn| conn.snapshot(ops::EventsAfter(&query)))
            .await
    }

    async fn health(&self) -> StoreResult<StoreHealth> {
        let (_, sessions) = self.point(ops::Counters).await?;
        let wal = self.path.with_extension("db-wal");
        let size = |path: &PathBuf| std::fs::metadata(path).map_or(0, |m| m.len());
        Ok(StoreHealth {
            backend: "sqlite",
            writable: self.writable.load(Ordering::Relaxed),
            sessions,
            bytes: Some(size(&self.path) + size(&wal)),
            incidents: self.incidents.list(),
            measures: Vec::new(),
        })
    }

    async fn close(&self) -> StoreResult<()> {
        self.shut();
        Ok(())
    }
}
