//! The handle that the HTTP rooms hold, and what it owns.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sessiond_agent::{Availability, Catalogue, HostLimits};
use sessiond_model::{
    AgentBinding, AgentProfile, Change, Clock, Commit, FileChange, IdGen, Project, ProjectId,
    Require, Session, SessionId, Timestamp, Todo, Turn, TurnId, Usage,
};
use sessiond_store::{
    CommitFuture, EntityKind, EventPage, EventQuery, Leases, Store, StoreError, TurnQuery,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::actor::Command;
use crate::follow::FOLLOWERS;
use crate::hold::{Hold, Holdings};
use crate::live::{Live, Registry};
use crate::settings::SettingsFile;
use crate::workspace::{self, Workspaces};
use crate::worktree::{Captures, Claims};
use crate::{
    AgentStatus, EngineConfig, EngineError, EngineHealth, Hub, NoticeBody, Peers, Replies,
    SubscribeOptions, Subscription, Workspace,
};

/// How long a search for the default agent is believed: one may be installed meanwhile.
const DEFAULT_AGENT_FRESH: Duration = Duration::from_secs(10);
/// Longest that a reply waits for subscribers who do not read.
const TOLD_PATIENCE: Duration = Duration::from_millis(100);
/// For the way from our socket through the loop of the client.
const TOLD_GRACE: Duration = Duration::from_millis(10);

/// Why an agent that is there is not offered.
pub(crate) const DISABLED: &str = "a client has disabled it (`disabled_providers` of /config)";

pub(crate) type Result<T> = std::result::Result<T, EngineError>;

/// The core session manager; a cheap handle.
#[derive(Clone, Debug)]
pub struct Engine(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) hub: Arc<Hub>,
    replies: Replies,
    pub(crate) catalogue: Catalogue,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdGen>,
    pub(crate) config: EngineConfig,
    pub(crate) host: HostLimits,
    pub(crate) live: Arc<Registry>,
    /// Sessions held by lease.
    pub(crate) holdings: Arc<Holdings>,
    pub(crate) workspaces: Workspaces,
    /// Projects as last stored, so that a new session writes its project only when it is news.
    pub(crate) projects: Mutex<HashMap<ProjectId, Project>>,
    /// Held while a project is read, changed and committed.
    pub(crate) project_edits: tokio::sync::Mutex<()>,
    /// What agents said of themselves.
    pub(crate) profiles: Mutex<BTreeMap<String, AgentProfile>>,
    /// The way to other nodes, once there is one.
    pub(crate) peers: OnceLock<Weak<dyn Peers>>,
    /// Agents whose profile is another than what clients were told last.
    pub(crate) offers_changed: Mutex<BTreeSet<String>>,
    pub(crate) actors: TaskTracker,
    pub(crate) agents: AtomicUsize,
    /// The default agent as last looked up: finding it searches PATH.
    default_agent: Mutex<Option<(Instant, String)>>,
    pub(crate) stopping: AtomicBool,
    /// Cancelled when it shuts down.
    pub(crate) stop: CancellationToken,
    /// Held while a fork is numbered and committed.
    pub(crate) forks: tokio::sync::Mutex<()>,
    /// Held while events of elsewhere are compared and committed.
    pub(crate) replays: tokio::sync::Mutex<()>,
    /// Held while a batch of an import is taken.
    pub(crate) imports: tokio::sync::Mutex<()>,
    /// Captures of worktrees.
    pub(crate) captures: Captures,
    /// Which session writes which file now.
    pub(crate) claims: Mutex<Claims>,
    /// Texts that no share shows.
    pub(crate) secrets: Mutex<Vec<String>>,
    /// What clients have set.
    pub(crate) settings: SettingsFile,
    /// Seats for those who follow shares.
    pub(crate) followers: Arc<Semaphore>,
}

impl Inner {
    /// Submits a commit; it takes its place in the order of writes now.
    pub(crate) fn submit(
        &self,
        by: &Hold,
        require: Vec<Require>,
        changes: Vec<Change>,
    ) -> CommitFuture {
        self.submit_at(by, self.clock.now(), require, changes)
    }

    /// The same at a given time.
    pub(crate) fn submit_at(
        &self,
        by: &Hold,
        at: Timestamp,
        require: Vec<Require>,
        changes: Vec<Change>,
    ) -> CommitFuture {
        let commit = self.store.commit(Commit {
            session_id: by.session.clone(),
            fence: by.epoch,
            at,
            require,
            changes,
        });
        if self.store.leases().is_none() {
            return commit;
        }
        let (live, holdings, by) = (self.live.clone(), self.holdings.clone(), by.clone());
        Box::pin(async move {
            let done = commit.await;
            if let Err(StoreError::Fenced { .. }) = &done {
                // What is remembered of it is stale; whoever comes next learns who has it.
                holdings.forget(&by);
                if live.lose(&by) {
                    holdings.look_after(&by.session);
                }
            }
            done
        })
    }

    /// Tells whoever listens to this session now.
    pub(crate) fn notice(&self, session: &Session, body: NoticeBody) {
        let place = (
            session.directory.as_str().into(),
            session.project_id.clone(),
        );
        let now = self.clock.now();
        self.hub
            .notice(Some(session.id.clone()), Some(place), now, body);
    }

    /// The live session; where several nodes share the store, this one takes it for that.
    pub(crate) async fn live(&self, id: &SessionId) -> Result<Arc<Live>> {
        self.live.get(self, id).await
    }

    pub(crate) fn refuse_when_stopping(&self) -> Result<()> {
        if self.stopping.load(Ordering::SeqCst) {
            return Err(EngineError::Unavailable {
                reason: "sessiond is shutting down".into(),
                retry_after: Duration::from_secs(5),
            });
        }
        Ok(())
    }
}

impl Engine {
    /// Starts the engine on an open store: ends what a crash left unfinished, reaps agents
    /// that outlived it, and goes on with the queue. `hub` must be the store's feed.
    ///
    /// # Errors
    /// When the store can't be read or written.
    pub async fn start(
        store: Arc<dyn Store>,
        hub: Arc<Hub>,
        catalogue: Catalogue,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdGen>,
        config: EngineConfig,
    ) -> Result<Self> {
        let engine = Self::open(store, hub, catalogue, clock, ids, config).await?;
        let lost = engine.0.store.leases().map(Leases::lost);
        crate::recovery::recover(&engine.0).await?;
        if let Some(lost) = lost {
            engine.0.keep_leases(lost);
            engine.0.echo();
            engine.0.follow_profiles();
        }
        engine.0.keep_purging();
        engine.0.watch_branches();
        Ok(engine)
    }

    /// Opens the engine for a tool that reads and imports while nobody serves the store: nothing
    /// is recovered, no agent is started, turns in the queue wait for the next start.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn open(
        store: Arc<dyn Store>,
        hub: Arc<Hub>,
        catalogue: Catalogue,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdGen>,
        config: EngineConfig,
    ) -> Result<Self> {
        let profiles = store
            .profiles()
            .await?
            .into_iter()
            .map(|p| (p.name.clone(), p))
            .collect();
        let file = config.settings.clone();
        let settings = tokio::task::spawn_blocking(move || SettingsFile::open(file))
            .await
            .map_err(|e| EngineError::Internal(e.to_string()))?
            .map_err(|e| EngineError::Internal(format!("settings.json: {e}")))?;
        let snapshots = config.snapshots.clone();
        let captures = tokio::task::spawn_blocking(move || Captures::open(&snapshots))
            .await
            .map_err(|e| EngineError::Internal(e.to_string()))?;
        Ok(Self(Arc::new(Inner {
            // What another node writes is heard of late.
            replies: Replies::new(hub.clone(), store.leases().is_none()),
            store,
            hub,
            catalogue,
            clock,
            ids,
            config,
            host: HostLimits::default(),
            live: Arc::default(),
            holdings: Arc::default(),
            workspaces: Workspaces::default(),
            projects: Mutex::new(HashMap::new()),
            project_edits: tokio::sync::Mutex::new(()),
            profiles: Mutex::new(profiles),
            peers: OnceLock::new(),
            offers_changed: Mutex::default(),
            actors: TaskTracker::new(),
            agents: AtomicUsize::new(0),
            default_agent: Mutex::new(None),
            stopping: AtomicBool::new(false),
            stop: CancellationToken::new(),
            forks: tokio::sync::Mutex::new(()),
            replays: tokio::sync::Mutex::new(()),
            imports: tokio::sync::Mutex::new(()),
            captures,
            claims: Mutex::new(Claims::default()),
            secrets: Mutex::default(),
            settings,
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
        })))
    }

    /// Refuses new prompts, interrupts running turns, ends all agents. Turns in the queue
    /// stay there for the next start. Returns within `deadline`.
    pub async fn shutdown(&self, deadline: Duration) {
        self.0.stopping.store(true, Ordering::SeqCst);
        self.0.stop.cancel();
        for live in self.0.live.all() {
            if let Some(mailbox) = live.mailbox() {
                // A full mailbox of an actor that is about to look at the flag anyway.
                let _ = mailbox.try_send(Command::Stop);
            }
        }
        self.0.actors.close();
        if tokio::time::timeout(deadline, self.0.actors.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                "some sessions did not stop in time; the next start will end their turns"
            );
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.0.config
    }

    /// The clock.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    /// Rendered answers that still stand.
    #[must_use]
    pub fn replies(&self) -> &Replies {
        &self.0.replies
    }

    /// How the engine is.
    ///
    /// # Errors
    /// When the store can't be asked.
    pub async fn health(&self) -> Result<EngineHealth> {
        Ok(EngineHealth {
            store: self.0.store.health().await?,
            live_sessions: self.0.live.len(),
            agents: self.0.agents.load(Ordering::Relaxed),
            subscribers: self.0.hub.subscribers(),
            stopping: self.0.stopping.load(Ordering::Relaxed),
        })
    }

    /// Resolves a directory as a client named it (relative to the default one) to its
    /// project. `None` means the default one.
    ///
    /// # Errors
    /// When it can't be a path.
    pub async fn workspace(&self, directory: Option<&str>) -> Result<Arc<Workspace>> {
        let base = &self.0.config.default_directory;
        let directory = workspace::normalise(directory.unwrap_or(""), base)?;
        Ok(self
            .0
            .workspaces
            .resolve(directory, self.0.clock.now())
            .await)
    }

    /// A turn of a session.
    ///
    /// # Errors
    /// `NotFound`, also for a turn of another session.
    pub async fn turn(&self, id: &SessionId, turn: &TurnId) -> Result<Turn> {
        self.0
            .store
            .turn(turn)
            .await?
            .filter(|t| t.session_id == *id)
            .ok_or_else(|| EngineError::not_found(EntityKind::Turn, turn))
    }

    /// The turn that a user message started, when there is one.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn turn_of_message(
        &self,
        id: &SessionId,
        message: &sessiond_model::MessageId,
    ) -> Result<Option<Turn>> {
        Ok(self.0.store.turn_of_message(id, message).await?)
    }

    /// Turns of a session, oldest first.
    ///
    /// # Errors
    /// `NotFound`; `Invalid` when `before` is no turn of this session.
    pub async fn turns(&self, id: &SessionId, query: &TurnQuery) -> Result<Vec<Turn>> {
        self.session(id).await?;
        if let Some(before) = &query.before {
            let known = self.0.store.turn(before).await?;
            if known.is_none_or(|turn| turn.session_id != *id) {
                let reason = format!("{before} is no turn of this session");
                return Err(EngineError::invalid("before", reason));
            }
        }
        Ok(self.0.store.turns(id, query).await?)
    }

    /// The todo list; while the session is reverted, as it was at what can be seen.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn todos(&self, id: &SessionId) -> Result<Vec<Todo>> {
        let session = self.session(id).await?;
        self.0.todos_in_sight(&session).await
    }

    /// The agent binding.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn binding(&self, id: &SessionId) -> Result<Option<AgentBinding>> {
        self.session(id).await?;
        Ok(self.0.store.binding(id).await?)
    }

    /// The usage ledger.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn usage(&self, id: &SessionId) -> Result<Vec<Usage>> {
        self.session(id).await?;
        Ok(self.0.store.usage(id).await?)
    }

    /// The file changes of a turn, as the agent reported them.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn file_changes(&self, turn: &TurnId) -> Result<Vec<FileChange>> {
        Ok(self.0.store.file_changes(turn).await?)
    }

    /// A page of the event log.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn events(&self, query: &EventQuery) -> Result<EventPage> {
        Ok(self.0.store.events(query).await?)
    }

    /// Waits until every subscriber was given all that happened before, and has had a moment
    /// to take it in; not for long when one of them does not read.
    ///
    /// For replies at which a client stops to listen: `opencode run --attach` ends when its
    /// prompt is answered, and prints only what it has heard by then.
    pub async fn told(&self) {
        if self.0.hub.told(TOLD_PATIENCE).await {
            tokio::time::sleep(TOLD_GRACE).await;
        }
    }

    /// Subscribes to events.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription> {
        Ok(Subscription::open(self.0.store.clone(), self.0.hub.clone(), options).await?)
    }

    /// The coding agents of the catalogue, the default one first.
    ///
    /// # Errors
    /// None so far; the catalogue is in memory.
    #[expect(
        clippy::unused_async,
        reason = "part of an async interface; a node may ask others later"
    )]
    pub async fn agents(&self) -> Result<Vec<AgentStatus>> {
        let default = self.default_agent();
        let settings = self.settings();
        let profiles = self.0.profiles.lock();
        let mut agents: Vec<_> = self
            .0
            .catalogue
            .iter()
            .map(|spec| {
                let availability = if settings.disabled_agents.contains(&spec.name) {
                    Availability::Missing {
                        reason: DISABLED.into(),
                    }
                } else {
                    self.0.catalogue.availability(&spec.name)
                };
                let command = std::iter::once(&spec.command).chain(&spec.args);
                AgentStatus {
                    name: spec.name.clone(),
                    title: spec.title.clone(),
                    command: command.map(String::as_str).collect::<Vec<_>>().join(" "),
                    available: matches!(availability, Availability::Ready { .. }),
                    reason: match availability {
                        Availability::Ready { .. } => None,
                        Availability::Missing { reason } => Some(reason),
                    },
                    is_default: spec.name == default,
                    default_mode: spec.default_mode.clone(),
                    default_model: spec.default_model.clone(),
                    profile: profiles.get(&spec.name).cloned(),
                }
            })
            .collect();
        agents.sort_by_key(|a| !a.is_default);
        Ok(agents)
    }

    /// The name of the agent that serves prompts which name none.
    #[must_use]
    pub fn default_agent(&self) -> String {
        self.0.default_agent()
    }
}

impl Inner {
    pub(crate) fn default_agent(&self) -> String {
        if let Some(name) = &self.config.default_agent {
            return name.clone();
        }
        let mut known = self.default_agent.lock();
        if let Some((at, name)) = &*known
            && at.elapsed() < DEFAULT_AGENT_FRESH
        {
            return name.clone();
        }
        let name = self.catalogue.default_agent().name.clone();
        *known = Some((Instant::now(), name.clone()));
        name
    }
}

/// Whether trying the same commit again may work.
pub(crate) fn is_transient(e: &StoreError) -> bool {
    matches!(e, StoreError::Unavailable { .. })
}

/// Whether the store is away, and will be back; what was asked of it may have been done.
pub(crate) fn is_outage(e: &StoreError) -> bool {
    use sessiond_store::UnavailableReason::{LeaseEnded, Unreachable};
    matches!(
        e,
        StoreError::Unavailable {
            reason: Unreachable | LeaseEnded
        }
    )
}
