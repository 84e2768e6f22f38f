//! A live agent: its process, the wire loop, and the requests we make of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use sessiond_model::Tokens;
use tokio::sync::mpsc;

use crate::{
    AgentError, AgentSpec, Capabilities, ProcessId, ProfileUpdate, PromptBlock, RequestId, RpcError,
};

/// Bounds of an agent's host.
#[derive(Clone, Debug)]
pub struct HostLimits {
    /// The longest line taken from an agent; a longer one ends it.
    pub max_line_bytes: usize,
    /// How long the agent may take over any request but a prompt.
    pub request_timeout: Duration,
    /// How many [`Incoming`] wait for a slow reader before we stop reading from the agent.
    pub queue: usize,
}

impl Default for HostLimits {
    fn default() -> Self {
        Self {
            max_line_bytes: 64 << 20,
            request_timeout: Duration::from_secs(60),
            queue: 256,
        }
    }
}

/// What arrives from an agent, in the order it said it.
#[derive(Debug)]
pub enum Incoming {
    /// A `session/update`.
    Update {
        /// The agent's id of the session.
        session_id: String,
        /// The update as it came.
        update: Value,
        /// It belongs to the replay of a `session/load`, not to a turn.
        replay: bool,
    },
    /// The agent asks for permission and waits for [`Agent::answer_permission`].
    Permission {
        /// Its id of the request.
        request: RequestId,
        /// The request as it came.
        params: Value,
    },
    /// The prompt is done; every update it caused came before.
    PromptDone(Result<PromptResult, RpcError>),
    /// A notification we don't know, as it came.
    Other(Value),
    /// The agent is gone. Nothing follows.
    Exited {
        /// Its exit code.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
        /// The end of what it wrote to its log.
        stderr_tail: String,
    },
}

/// The answer to a prompt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PromptResult {
    /// Why it stopped, as the agent says it: `end_turn`, `cancelled`, …
    pub stop_reason: String,
    /// Tokens of this prompt, when it counts them.
    pub usage: Option<Tokens>,
    /// The answer as it came.
    pub raw: Value,
}

/// An opened agent session.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened {
    /// The agent's id of it.
    pub session_id: String,
    /// What it said of modes and models.
    pub profile: ProfileUpdate,
}

/// Our answer to a permission request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PermissionAnswer {
    /// The agent's option of that id.
    Selected(String),
    /// Nobody answered, the turn is over.
    Cancelled,
}

#[derive(Debug)]
struct Inner {
    process: ProcessId,
}

/// A handle to a live agent; clones share it.
#[derive(Clone, Debug)]
pub struct Agent {
    inner: Arc<Inner>,
}

/// Starts an agent's process in a process group of its own, with `SESSIOND_SPAWN_ID` in its
/// environment and so in that of everything it starts.
///
/// # Errors
/// When the directory is not usable or the program can't be started.
pub fn spawn(
    spec: &AgentSpec,
    cwd: &Path,
    spawn_id: String,
    limits: &HostLimits,
) -> Result<(Agent, mpsc::Receiver<Incoming>), AgentError> {
    let _ = (spec, cwd);
    let (_tx, rx) = mpsc::channel(limits.queue.max(1));
    let process = ProcessId {
        pid: 0,
        started: 0,
        spawn_id,
    };
    Ok((
        Agent {
            inner: Arc::new(Inner { process }),
        },
        rx,
    ))
}

/// [`spawn`] and [`Agent::initialize`] in one.
///
/// # Errors
/// As theirs.
pub async fn connect(
    spec: &AgentSpec,
    cwd: &Path,
    spawn_id: String,
    limits: &HostLimits,
) -> Result<(Agent, mpsc::Receiver<Incoming>), AgentError> {
    let (agent, incoming) = spawn(spec, cwd, spawn_id, limits)?;
    agent.initialize().await?;
    Ok((agent, incoming))
}

impl Agent {
    /// Its process.
    #[must_use]
    pub fn process(&self) -> &ProcessId {
        &self.inner.process
    }

    /// The first request to any agent.
    ///
    /// # Errors
    /// When the agent refuses, is gone or does not answer.
    pub async fn initialize(&self) -> Result<Capabilities, AgentError> {
        Err(AgentError::Gone { method: "initialize" })
    }

    /// A fresh session.
    ///
    /// # Errors
    /// When the agent refuses, is gone or does not answer.
    pub async fn new_session(&self, cwd: &Path) -> Result<Opened, AgentError> {
        let _ = cwd;
        Err(AgentError::Gone { method: "session/new" })
    }

    /// Goes on with a session that the agent kept, without a replay.
    ///
    /// # Errors
    /// When the agent refuses, is gone or does not answer.
    pub async fn resume_session(&self, id: &str, cwd: &Path) -> Result<Opened, AgentError> {
        let _ = (id, cwd);
        Err(AgentError::Gone { method: "session/resume" })
    }

    /// Goes on with a session that the agent kept; it replays it as updates that are marked
    /// as such.
    ///
    /// # Errors
    /// When the agent refuses, is gone or does not answer.
    pub async fn load_session(&self, id: &str, cwd: &Path) -> Result<Opened, AgentError> {
        let _ = (id, cwd);
        Err(AgentError::Gone { method: "session/load" })
    }

    /// Sets the mode.
    ///
    /// # Errors
    /// When the agent refuses, is gone or does not answer.
    pub async fn set_mode(&self, session: &str, mode: &str) -> Result<(), AgentError> {
        let _ = (session, mode);
        Ok(())
    }

    /// Sets the model.
    ///
    /// # Errors
    /// When the agent refuses, is gone or does not answer.
    pub async fn set_model(&self, session: &str, model: &str) -> Result<(), AgentError> {
        let _ = (session, model);
        Ok(())
    }

    /// Sends a prompt. Its result arrives, in order, as [`Incoming::PromptDone`].
    ///
    /// # Errors
    /// When the agent is gone.
    pub async fn prompt(&self, session: &str, blocks: Vec<PromptBlock>) -> Result<(), AgentError> {
        let _ = (session, blocks);
        Ok(())
    }

    /// Asks the agent to stop the running prompt, which then ends with `cancelled`.
    ///
    /// # Errors
    /// When the agent is gone.
    pub async fn cancel(&self, session: &str) -> Result<(), AgentError> {
        let _ = session;
        Ok(())
    }

    /// Answers a permission request.
    ///
    /// # Errors
    /// When the agent is gone, or waits for no such answer.
    pub async fn answer_permission(
        &self,
        request: &RequestId,
        outcome: PermissionAnswer,
    ) -> Result<(), AgentError> {
        let _ = (request, outcome);
        Ok(())
    }

    /// Lets the agent free a session, when it can; its state on disk stays.
    pub async fn close_session(&self, id: &str) {
        let _ = id;
    }

    /// SIGTERM to the whole process group.
    pub fn terminate(&self) {}

    /// SIGKILL to the whole process group and to everything else that it started.
    pub fn kill(&self) {}

    /// Waits until no process of the group, and none with our spawn id, is left.
    pub async fn group_gone(&self, timeout: Duration) -> bool {
        let _ = timeout;
        true
    }
}
