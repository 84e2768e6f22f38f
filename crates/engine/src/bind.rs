//! Binding an agent to a session: starting its process, and the ladder by which it gets its
//! memory back.

use std::future::Future;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sessiond_agent::{Agent, AgentError, Incoming, Opened, ProfileUpdate};
use sessiond_model::{
    AgentBinding, AgentProfile, Change, ForkOrigin, MessageError, RestoreRung, SessionId, Turn,
    TurnFailure, TurnId, TurnOptions,
};
use sessiond_store::{MessageCursor, MessageQuery, StoreError, TurnQuery};
use tokio::sync::mpsc;

use crate::actor::Actor;
use crate::prompt::DEFAULT_MODEL;

/// How long an agent may take to free its session before it is ended.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// JSON-RPC error code of agents that want a log-in.
const AUTH_REQUIRED: i64 = -32000;

/// A running agent.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) agent: Agent,
    pub(crate) incoming: mpsc::Receiver<Incoming>,
    /// Its name in the catalogue.
    pub(crate) name: String,
    /// Its own id of the session, once opened.
    pub(crate) session_id: Option<String>,
    mode: Option<String>,
    model: Option<String>,
    /// Cost that it had told before the running turn; agents count over the whole session.
    pub(crate) cost_before: Option<f64>,
}

/// The agent session behind the session that ours was forked from.
struct Origin {
    session_id: SessionId,
    /// The newest turn that we have in common.
    turn_id: TurnId,
    agent_session_id: String,
}

/// Why an agent could not be made ready.
#[derive(Debug)]
pub(crate) struct NotReady {
    pub(crate) failure: TurnFailure,
    pub(crate) error: MessageError,
}

impl NotReady {
    fn new(code: &str, message: String) -> Self {
        Self {
            failure: TurnFailure {
                code: code.into(),
                message: message.clone(),
            },
            error: MessageError::Unknown {
                message,
                reference: None,
            },
        }
    }

    fn from_agent(agent: &str, what: &str, e: &AgentError) -> Self {
        let message = format!("{what}: {e}");
        match e.rpc() {
            Some(rpc) if rpc.code == AUTH_REQUIRED => Self {
                failure: TurnFailure {
                    code: "auth_required".into(),
                    message: message.clone(),
                },
                error: MessageError::Auth {
                    provider_id: agent.to_owned(),
                    message: format!(
                        "{message} (log in with the agent's own program, or check its configuration)"
                    ),
                },
            },
            _ => Self::new("agent_start", message),
        }
    }
}

impl From<StoreError> for NotReady {
    fn from(e: StoreError) -> Self {
        Self::new("store", e.to_string())
    }
}

impl Actor {
    /// Makes the agent ready for a turn: the right one, running, with its memory, in the
    /// right mode and with the right model. Answers how it got its memory.
    pub(crate) async fn prepare(
        &mut self,
        options: &TurnOptions,
        before: MessageCursor,
    ) -> Result<RestoreRung, NotReady> {
        if self
            .slot
            .as_ref()
            .is_some_and(|s| s.name != options.agent || s.session_id.is_none())
            || self.remembers_too_much().await?
        {
            self.end_agent().await;
        }
        let rung = if self.slot.is_some() {
            RestoreRung::Live
        } else {
            self.bind(options, before).await?
        };
        self.set_mode(options).await?;
        self.set_model(options).await?;
        Ok(rung)
    }

    /// Whether the running agent's session was let go: what it remembers is no longer the
    /// conversation, because a revert took some of it away.
    async fn remembers_too_much(&self) -> Result<bool, NotReady> {
        let Some(slot) = &self.slot else {
            return Ok(false);
        };
        let binding = self.inner.store.binding(&self.live.id).await?;
        Ok(binding.is_some_and(|b| b.agent_session_id != slot.session_id))
    }

    async fn bind(
        &mut self,
        options: &TurnOptions,
        before: MessageCursor,
    ) -> Result<RestoreRung, NotReady> {
        let name = &options.agent;
        let spec = self.inner.catalogue.get(name).cloned().ok_or_else(|| {
            NotReady::new(
                "unknown_agent",
                format!("there is no agent {name:?} in the catalogue"),
            )
        })?;
        let directory = self.live.directory();
        let cwd = spec
            .cwd
            .clone()
            .unwrap_or_else(|| Path::new(&*directory).to_owned());
        let previous = self
            .inner
            .store
            .binding(&self.live.id)
            .await?
            .filter(|b| b.agent == *name);
        let mut binding = AgentBinding {
            session_id: self.live.id.clone(),
            agent: name.clone(),
            agent_session_id: previous.and_then(|b| b.agent_session_id),
            rung: RestoreRung::New,
            rung_notes: Vec::new(),
            pid: None,
            pid_started: None,
            spawn_id: Some(format!("spn_{}", self.inner.ids.tail())),
            bound_at: self.inner.clock.now(),
        };
        // The marker is durable before the process exists: a crash at any point after this
        // leaves no agent that the next start can't find.
        self.commit_binding(&binding).await?;
        let spawn_id = binding.spawn_id.clone().unwrap_or_default();
        let (agent, incoming) = sessiond_agent::spawn(&spec, &cwd, spawn_id, &self.inner.host)
            .map_err(|e| NotReady::from_agent(name, "the agent could not be started", &e))?;
        self.inner.agents.fetch_add(1, Ordering::Relaxed);
        self.slot = Some(Slot {
            agent: agent.clone(),
            incoming,
            name: name.clone(),
            session_id: None,
            mode: None,
            model: None,
            cost_before: None,
        });
        binding.pid = Some(agent.process().pid);
        binding.pid_started = Some(agent.process().started);
        self.commit_binding(&binding).await?;

        let caps = self
            .ask(agent.initialize())
            .await
            .map_err(|e| NotReady::from_agent(name, "the agent did not start", &e))?;
        let mut opened: Option<Opened> = None;
        if let Some(old) = binding.agent_session_id.clone() {
            if caps.resume {
                match self.ask(agent.resume_session(&old, &cwd)).await {
                    Ok(o) => (opened, binding.rung) = (Some(o), RestoreRung::Resumed),
                    Err(e) => binding.rung_notes.push(format!("resume: {e}")),
                }
            } else {
                binding.rung_notes.push("resume: the agent can't".into());
            }
            if opened.is_none() {
                if caps.load {
                    match self.ask(agent.load_session(&old, &cwd)).await {
                        Ok(o) => (opened, binding.rung) = (Some(o), RestoreRung::Loaded),
                        Err(e) => binding.rung_notes.push(format!("load: {e}")),
                    }
                } else {
                    binding.rung_notes.push("load: the agent can't".into());
                }
            }
        }
        if binding.agent_session_id.is_none()
            && let Some(origin) = self.origin(name).await?
        {
            match self.forked(&agent, caps.fork, &origin, &cwd).await {
                Ok(o) => (opened, binding.rung) = (Some(o), RestoreRung::Forked),
                Err(why) => binding.rung_notes.push(format!("fork: {why}")),
            }
        }
        let opened = match opened {
            Some(opened) => opened,
            None => {
                let query = MessageQuery {
                    before: Some(before),
                    limit: Some(1),
                };
                let told = self
                    .inner
                    .store
                    .messages(&self.live.id, &query)
                    .await?
                    .messages;
                binding.rung = if told.is_empty() {
                    RestoreRung::New
                } else {
                    RestoreRung::Rebuilt
                };
                self.ask(agent.new_session(&cwd))
                    .await
                    .map_err(|e| NotReady::from_agent(name, "the agent opened no session", &e))?
            }
        };
        binding.agent_session_id = Some(opened.session_id.clone());
        let mut profile = AgentProfile {
            name: name.clone(),
            title: caps.title.clone(),
            version: caps.version.clone(),
            abilities: caps.abilities(),
            ..self
                .inner
                .profiles
                .lock()
                .get(name)
                .cloned()
                .unwrap_or_default()
        };
        opened.profile.merge_into(&mut profile);
        if let Some(slot) = &mut self.slot {
            slot.session_id = Some(opened.session_id);
            slot.mode = opened.profile.current_mode;
            slot.model = opened.profile.current_model;
            slot.cost_before = (binding.rung == RestoreRung::New
                || binding.rung == RestoreRung::Rebuilt)
                .then_some(0.0);
        }
        let mut changes = vec![Change::BindAgent(binding.clone())];
        changes.extend(self.inner.keep_profile(profile));
        self.persist(changes).await?;
        Ok(binding.rung)
    }

    /// What the agent may fork for the first prompt of a fork; `None` when its memory would
    /// not be that of our transcript.
    async fn origin(&self, agent: &str) -> Result<Option<Origin>, StoreError> {
        let store = &self.inner.store;
        let Some(session) = store.session(&self.live.id).await? else {
            return Ok(None);
        };
        let Some(ForkOrigin {
            session_id,
            turn_id: Some(turn_id),
            ..
        }) = session.fork
        else {
            return Ok(None);
        };
        // A turn of its own that ended before the agent had a session is in no memory.
        let turns = store.turns(&self.live.id, &TurnQuery::default()).await?;
        let own = |t: &Turn| t.state.is_terminal() && t.queued_at >= session.created_at;
        if turns.iter().any(own) {
            return Ok(None);
        }
        let binding = store.binding(&session_id).await?;
        let kept = binding
            .filter(|b| b.agent == agent)
            .and_then(|b| b.agent_session_id);
        Ok(kept.map(|agent_session_id| Origin {
            session_id,
            turn_id,
            agent_session_id,
        }))
    }

    /// Has the agent fork its session of our origin, if nothing has followed what we copied.
    async fn forked(
        &mut self,
        agent: &Agent,
        able: bool,
        origin: &Origin,
        cwd: &Path,
    ) -> Result<Opened, String> {
        if !able {
            return Err("the agent can't".into());
        }
        self.check_unchanged(origin).await?;
        let fork = agent.fork_session(&origin.agent_session_id, cwd);
        let opened = self.ask(fork).await.map_err(|e| e.to_string())?;
        // The origin may have gone on meanwhile, and the copy with it.
        self.check_unchanged(origin).await?;
        Ok(opened)
    }

    async fn check_unchanged(&self, origin: &Origin) -> Result<(), String> {
        let query = TurnQuery {
            limit: Some(1),
            ..TurnQuery::default()
        };
        let newest = self.inner.store.turns(&origin.session_id, &query).await;
        let newest = newest.map_err(|e| e.to_string())?.pop();
        match newest.filter(|t| t.id == origin.turn_id && t.state.is_terminal()) {
            Some(_) => Ok(()),
            None => Err("the origin has gone on since".into()),
        }
    }

    /// Waits for an answer of the agent while it goes on talking: a full queue would keep
    /// the answer from being read.
    async fn ask<T>(
        &mut self,
        request: impl Future<Output = Result<T, AgentError>>,
    ) -> Result<T, AgentError> {
        let mut request = std::pin::pin!(request);
        loop {
            let Some(slot) = &mut self.slot else {
                return request.await;
            };
            tokio::select! {
                biased;
                answer = &mut request => return answer,
                incoming = slot.incoming.recv() => match incoming {
                    // What it replays is in our own journal already; news are news.
                    Some(Incoming::Update { update, .. }) => {
                        if let Some(news) = ProfileUpdate::from_update(&update)
                            && let Some(change) = self.profile_news(&news)
                            && let Err(e) = self.inner.submit(self.live.hold(), Vec::new(), vec![change]).await
                        {
                            tracing::warn!(session = %self.live.id, error = %e, "an agent's profile could not be stored");
                        }
                    }
                    Some(_) => {}
                    // Gone: the request says so itself.
                    None => return request.await,
                },
            }
        }
    }

    async fn set_mode(&mut self, options: &TurnOptions) -> Result<(), NotReady> {
        let default = self
            .inner
            .catalogue
            .get(&options.agent)
            .and_then(|s| s.default_mode.clone());
        let Some(mode) = options.mode.clone().or_else(|| default.clone()) else {
            return Ok(());
        };
        let Some(slot) = &self.slot else {
            return Ok(());
        };
        if slot.mode.as_ref() == Some(&mode) {
            return Ok(());
        }
        let (agent, id) = (
            slot.agent.clone(),
            slot.session_id.clone().unwrap_or_default(),
        );
        match self.ask(agent.set_mode(&id, &mode)).await {
            Ok(()) => {}
            // A default that this version of the agent does not know is no reason to stop.
            Err(e) if options.mode.is_none() => {
                tracing::warn!(agent = options.agent, mode, error = %e, "the agent refused its default mode");
            }
            Err(e) => {
                return Err(NotReady::new(
                    "mode",
                    format!("{} refused the mode {mode:?}: {e}", options.agent),
                ));
            }
        }
        if let Some(slot) = &mut self.slot {
            slot.mode = Some(mode);
        }
        Ok(())
    }

    async fn set_model(&mut self, options: &TurnOptions) -> Result<(), NotReady> {
        let default = self
            .inner
            .catalogue
            .get(&options.agent)
            .and_then(|s| s.default_model.clone());
        let asked = (options.model.id != DEFAULT_MODEL).then(|| options.model.id.clone());
        let Some(model) = asked.or(default) else {
            return Ok(());
        };
        let Some(slot) = &self.slot else {
            return Ok(());
        };
        if slot.model.as_ref() == Some(&model) {
            return Ok(());
        }
        let (agent, id) = (
            slot.agent.clone(),
            slot.session_id.clone().unwrap_or_default(),
        );
        if let Err(e) = self.ask(agent.set_model(&id, &model)).await {
            return Err(NotReady::new(
                "model",
                format!("{} refused the model {model:?}: {e}", options.agent),
            ));
        }
        if let Some(slot) = &mut self.slot {
            slot.model = Some(model);
        }
        Ok(())
    }

    async fn commit_binding(&self, binding: &AgentBinding) -> Result<(), StoreError> {
        self.inner
            .submit(
                self.live.hold(),
                Vec::new(),
                vec![Change::BindAgent(binding.clone())],
            )
            .await?;
        Ok(())
    }

    /// Ends the agent's process group, kindly first, and records that it is gone.
    pub(crate) async fn end_agent(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        self.last = None;
        if let Some(id) = slot.session_id.as_ref().filter(|_| !self.is_lost()) {
            let _ = tokio::time::timeout(CLOSE_GRACE, slot.agent.close_session(id)).await;
        }
        if self.is_lost() {
            // At once: another node may begin to work on the same files.
            slot.agent.kill();
        }
        stop_group(&slot.agent, self.inner.config.term_grace).await;
        drop(slot);
        self.inner.agents.fetch_sub(1, Ordering::Relaxed);
        if self.is_lost() {
            return;
        }
        let unbind = async {
            if let Some(mut binding) = self.inner.store.binding(&self.live.id).await? {
                binding.pid = None;
                binding.pid_started = None;
                binding.spawn_id = None;
                self.commit_binding(&binding).await?;
            }
            Ok::<_, StoreError>(())
        };
        if let Err(e) = unbind.await {
            // The next start looks for the process, finds none, and clears the record.
            tracing::warn!(session = %self.live.id, error = %e, "the end of an agent could not be recorded");
        }
    }
}

/// SIGTERM to the group, then SIGKILL to what is left. Answers whether all of it is gone.
pub(crate) async fn stop_group(agent: &Agent, grace: Duration) -> bool {
    agent.terminate();
    if agent.group_gone(grace).await {
        return true;
    }
    agent.kill();
    agent.group_gone(Duration::from_secs(2)).await
}
