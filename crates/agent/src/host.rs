//! A live agent: its process, the wire loop, and the requests we make of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use sessiond_model::Tokens;
use tokio::sync::mpsc;

use crate::connection::{AskedFor, Connection};
use crate::profile::config_option;
use crate::wire::METHOD_NOT_FOUND;
use crate::{
    AgentError, AgentSpec, Capabilities, ProcessId, ProfileUpdate, PromptBlock, QuestionAnswer,
    RequestId, RpcError, child,
};

/// Quiet for this long after the answer to `session/load`, a replay is over: Gemini sends
/// most of it after the answer.
const REPLAY_QUIET: Duration = Duration::from_millis(150);
/// A replay that never falls quiet is not waited for any longer than this.
const REPLAY_LONGEST: Duration = Duration::from_secs(5);
/// How long a session may take to close; nobody depends on it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

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
    /// The agent has questions and waits for [`Agent::answer_question`].
    Question {
        /// Its id of the request.
        request: RequestId,
        /// The request as it came; see [`crate::Form::read`].
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

/// A handle to a live agent; clones share it.
#[derive(Clone, Debug)]
pub struct Agent {
    connection: Arc<Connection>,
}

/// Starts an agent's process in a process group of its own, with `SESSIOND_SPAWN_ID` in its
/// environment and so in that of everything it starts. Dropping the receiver kills it.
///
/// # Errors
/// When the directory is not usable or the program can't be started.
pub fn spawn(
    spec: &AgentSpec,
    cwd: &Path,
    spawn_id: String,
    limits: &HostLimits,
) -> Result<(Agent, mpsc::Receiver<Incoming>), AgentError> {
    let (connection, incoming) = child::start(spec, cwd, spawn_id, limits)?;
    Ok((Agent { connection }, incoming))
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
        &self.connection.process
    }

    /// The first request to any agent.
    ///
    /// # Errors
    /// When the agent refuses, is gone or does not answer.
    pub async fn initialize(&self) -> Result<Capabilities, AgentError> {
        let answer = self
            .connection
            .call("initialize", initialize_params())
            .await?;
        let capabilities = Capabilities::from_initialize(&answer);
        self.connection
            .can_close
            .store(capabilities.close, std::sync::atomic::Ordering::Relaxed);
        Ok(capabilities)
    }

    /// A fresh session.
    ///
    /// # Errors
    /// When the agent refuses, is gone or does not answer.
    pub async fn new_session(&self, cwd: &Path) -> Result<Opened, AgentError> {
        const METHOD: &str = "session/new";
        child::check_directory(cwd)?;
        let params = json!({"cwd": cwd.to_string_lossy(), "mcpServers": []});
        let answer = self.connection.call(METHOD, params).await?;
        let id = answer["sessionId"].as_str().ok_or(AgentError::Answer {
            method: METHOD,
            missing: "sessionId",
        })?;
        Ok(self.opened(id, &answer))
    }

    /// Goes on with a session that the agent kept, without a replay.
    ///
    /// # Errors
    /// When the agent refuses, is gone or does not answer.
    pub async fn resume_session(&self, id: &str, cwd: &Path) -> Result<Opened, AgentError> {
        let answer = self.reopen("session/resume", id, cwd).await?;
        Ok(self.opened(id, &answer))
    }

    /// Goes on with a session that the agent kept. It replays it: every update of that
    /// session until its next prompt is marked `replay`, and this returns once the replay
    /// has fallen quiet. Replayed updates that a slow reader has no room for are dropped.
    ///
    /// # Errors
    /// When the agent refuses, is gone or does not answer.
    pub async fn load_session(&self, id: &str, cwd: &Path) -> Result<Opened, AgentError> {
        let _reading = self.connection.keep_reading();
        self.connection.replay_begins(id);
        let answer = self.reopen("session/load", id, cwd).await;
        if answer.is_err() {
            self.connection.replay_ends(id);
        }
        let answer = answer?;
        self.connection
            .replay_quiet(id, REPLAY_QUIET, REPLAY_LONGEST)
            .await;
        Ok(self.opened(id, &answer))
    }

    /// Copies a session that the agent kept, by any process of it, into a fresh one.
    ///
    /// # Errors
    /// When the agent refuses, is gone or does not answer.
    pub async fn fork_session(&self, id: &str, cwd: &Path) -> Result<Opened, AgentError> {
        const METHOD: &str = "session/fork";
        let answer = self.reopen(METHOD, id, cwd).await?;
        let fork = answer["sessionId"].as_str().ok_or(AgentError::Answer {
            method: METHOD,
            missing: "sessionId",
        })?;
        Ok(self.opened(fork, &answer))
    }

    async fn reopen(
        &self,
        method: &'static str,
        id: &str,
        cwd: &Path,
    ) -> Result<Value, AgentError> {
        child::check_directory(cwd)?;
        let params = json!({"sessionId": id, "cwd": cwd.to_string_lossy(), "mcpServers": []});
        self.connection.call(method, params).await
    }

    fn opened(&self, id: &str, answer: &Value) -> Opened {
        self.connection
            .remember_options(id, &answer["configOptions"]);
        Opened {
            session_id: id.to_owned(),
            profile: ProfileUpdate::from_session(answer),
        }
    }

    /// Sets the mode. Agents forget it: set it again after every load and resume.
    ///
    /// # Errors
    /// When the agent refuses, is gone or does not answer.
    pub async fn set_mode(&self, session: &str, mode: &str) -> Result<(), AgentError> {
        let params = json!({"sessionId": session, "modeId": mode});
        let answer = self.connection.call("session/set_mode", params).await;
        match (answer, self.option_id(session, "mode")) {
            (Err(error), Some(option)) if is_unknown_method(&error) => {
                self.set_option(session, &option, mode).await
            }
            (answer, _) => answer.map(drop),
        }
    }

    /// Sets the model: through the agent's config option when it has one, else by
    /// `session/set_model`.
    ///
    /// # Errors
    /// When the agent refuses, is gone or does not answer.
    pub async fn set_model(&self, session: &str, model: &str) -> Result<(), AgentError> {
        if let Some(option) = self.option_id(session, "model") {
            match self.set_option(session, &option, model).await {
                Err(error) if is_unknown_method(&error) => {}
                done => return done,
            }
        }
        let params = json!({"sessionId": session, "modelId": model});
        let answer = self.connection.call("session/set_model", params).await;
        answer.map(drop)
    }

    fn option_id(&self, session: &str, category: &str) -> Option<String> {
        let options = self.connection.options_of(session);
        config_option(&options, category)?["id"]
            .as_str()
            .map(str::to_owned)
    }

    async fn set_option(&self, session: &str, option: &str, value: &str) -> Result<(), AgentError> {
        let params = json!({"sessionId": session, "configId": option, "value": value});
        let method = "session/set_config_option";
        let answer = self.connection.call(method, params).await?;
        self.connection
            .remember_options(session, &answer["configOptions"]);
        Ok(())
    }

    /// Sends a prompt. Its result arrives, in order, as [`Incoming::PromptDone`]. Never send
    /// a second one to a busy session: seven agents, five behaviours.
    ///
    /// # Errors
    /// When the agent is gone.
    pub async fn prompt(&self, session: &str, blocks: Vec<PromptBlock>) -> Result<(), AgentError> {
        let blocks: Vec<Value> = blocks.iter().map(PromptBlock::to_json).collect();
        self.connection.replay_ends(session);
        self.connection
            .prompt(&json!({"sessionId": session, "prompt": blocks}))
            .await
    }

    /// Asks the agent to stop the running prompt, which then ends with `cancelled`. Its open
    /// permission requests and questions are answered as cancelled, as the protocol demands.
    ///
    /// # Errors
    /// When the agent is gone.
    pub async fn cancel(&self, session: &str) -> Result<(), AgentError> {
        let params = json!({"sessionId": session});
        self.connection.notify("session/cancel", &params).await?;
        for (request, what) in self.connection.requests_of(session) {
            match what {
                AskedFor::Permission => {
                    let answer = PermissionAnswer::Cancelled;
                    self.answer_permission(&request, answer).await?;
                }
                AskedFor::Answers => {
                    let answer = &QuestionAnswer::Cancelled;
                    self.answer_question(&request, answer).await?;
                }
            }
        }
        Ok(())
    }

    /// Answers a permission request. A second answer to the same request is an error, unless
    /// it is [`PermissionAnswer::Cancelled`].
    ///
    /// # Errors
    /// When the agent is gone, or waits for no such answer.
    pub async fn answer_permission(
        &self,
        request: &RequestId,
        outcome: PermissionAnswer,
    ) -> Result<(), AgentError> {
        if !self.connection.take_request(request) {
            return match outcome {
                PermissionAnswer::Cancelled => Ok(()),
                PermissionAnswer::Selected(_) => Err(AgentError::NoSuchRequest {
                    request: request.to_string(),
                }),
            };
        }
        let outcome = match outcome {
            PermissionAnswer::Selected(option) => {
                json!({"outcome": "selected", "optionId": option})
            }
            PermissionAnswer::Cancelled => json!({"outcome": "cancelled"}),
        };
        self.connection
            .answer(
                "session/request_permission",
                request,
                &json!({"outcome": outcome}),
            )
            .await
    }

    /// Answers a question. A second answer to the same request is an error, unless it is
    /// [`QuestionAnswer::Cancelled`].
    ///
    /// # Errors
    /// When the agent is gone, or waits for no such answer.
    pub async fn answer_question(
        &self,
        request: &RequestId,
        answer: &QuestionAnswer,
    ) -> Result<(), AgentError> {
        if !self.connection.take_request(request) {
            return match answer {
                QuestionAnswer::Cancelled => Ok(()),
                _ => Err(AgentError::NoSuchRequest {
                    request: request.to_string(),
                }),
            };
        }
        let result = answer.result();
        self.connection
            .answer("elicitation/create", request, &result)
            .await
    }

    /// Lets the agent free a session, when it can; its state on disk stays.
    pub async fn close_session(&self, id: &str) {
        if !self
            .connection
            .can_close
            .load(std::sync::atomic::Ordering::Relaxed)
        {
            return;
        }
        let call = self
            .connection
            .call("session/close", json!({"sessionId": id}));
        match tokio::time::timeout(CLOSE_TIMEOUT, call).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the agent did not close its session"),
            Err(_) => tracing::debug!("the agent took too long to close its session"),
        }
    }

    /// SIGTERM to the whole process group.
    pub fn terminate(&self) {
        self.process().signal_group(Signal::TERM);
    }

    /// SIGKILL to the whole process group, and to everything with our spawn id that left it.
    pub fn kill(&self) {
        let (_, left) = self.process().kill_all();
        if !left.is_empty() {
            tracing::warn!(pids = ?left, "processes of the agent did not go");
        }
    }

    /// Waits until no process of the group, and none with our spawn id, is left.
    pub async fn group_gone(&self, timeout: Duration) -> bool {
        let until = tokio::time::Instant::now() + timeout;
        loop {
            let process = self.process().clone();
            let look = tokio::task::spawn_blocking(move || process.members().is_empty());
            if look.await.unwrap_or(false) {
                return true;
            }
            if tokio::time::Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// We offer forms for people to fill in, but neither files nor terminals: no agent needs them, and
/// some break with them.
fn initialize_params() -> Value {
    json!({
        "protocolVersion": 1,
        "clientCapabilities": {
            "fs": {"readTextFile": false, "writeTextFile": false},
            "terminal": false,
            "elicitation": {"form": {}},
        },
        "clientInfo": {
            "name": "sessiond",
            "title": "sessiond",
            "version": env!("CARGO_PKG_VERSION"),
        },
    })
}

fn is_unknown_method(error: &AgentError) -> bool {
    error.rpc().is_some_and(|e| e.code == METHOD_NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use agent_client_protocol_schema::v1::{InitializeRequest, PromptRequest};

    use super::*;

    #[test]
    fn what_we_send_is_what_the_protocol_says() {
        let request: InitializeRequest = serde_json::from_value(initialize_params()).unwrap();
        assert!(!request.client_capabilities.terminal);
        assert!(!request.client_capabilities.fs.write_text_file);

        let blocks = [
            PromptBlock::Text("hello".into()),
            PromptBlock::Image {
                mime: "image/png".into(),
                data_base64: "AAAA".into(),
                uri: None,
            },
            PromptBlock::Audio {
                mime: "audio/wav".into(),
                data_base64: "AAAA".into(),
            },
            PromptBlock::ResourceLink {
                uri: "file:///a".into(),
                name: "a".into(),
                mime: Some("text/plain".into()),
            },
            PromptBlock::Resource {
                uri: "file:///b".into(),
                mime: None,
                text: "b".into(),
            },
        ];
        let blocks: Vec<Value> = blocks.iter().map(PromptBlock::to_json).collect();
        let params = json!({"sessionId": "s", "prompt": blocks});
        let request: PromptRequest = serde_json::from_value(params.clone()).unwrap();
        assert_eq!(serde_json::to_value(request).unwrap(), params);
    }
}
