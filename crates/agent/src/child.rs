//! The process behind a connection and the task that reads it.

use std::collections::VecDeque;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::connection::{AskedFor, Connection, Waiting};
use crate::process::MARKER;
use crate::reader::{Line, Lines};
use crate::wire::{self, Message};
use crate::{AgentError, AgentSpec, HostLimits, Incoming, ProcessId, PromptResult, usage};

/// How much of an agent's log is kept for the message about its end.
const STDERR_TAIL: usize = 8 << 10;
/// How long output is read on after the process has ended: a child of it may hold the pipe.
const DRAIN: Duration = Duration::from_millis(500);
/// How long an agent that closed its output may take to end.
const EXIT_GRACE: Duration = Duration::from_secs(2);

/// Refuses what agents would each understand differently.
pub(crate) fn check_directory(path: &Path) -> Result<(), AgentError> {
    let refuse = |why| {
        Err(AgentError::Directory {
            path: path.to_owned(),
            why,
        })
    };
    if !path.is_absolute() {
        refuse("is not absolute")
    } else if !path.is_dir() {
        refuse("is not a directory")
    } else {
        Ok(())
    }
}

/// Our own settings (tokens among them) are not the business of what we start.
pub(crate) fn keep_private(command: &mut Command) {
    let is_private = |name: &str| name.starts_with("SESSIOND_") && name != crate::demo::HOME;
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_private) {
            command.env_remove(name);
        }
    }
}

pub(crate) fn start(
    spec: &AgentSpec,
    cwd: &Path,
    spawn_id: String,
    limits: &HostLimits,
) -> Result<(Arc<Connection>, mpsc::Receiver<Incoming>), AgentError> {
    let cwd = spec.cwd.as_deref().unwrap_or(cwd);
    check_directory(cwd)?;
    let mut command = Command::new(&spec.command);
    keep_private(&mut command);
    command
        .args(&spec.args)
        .envs(&spec.env)
        .env(MARKER, &spawn_id)
        .current_dir(cwd)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let failed = |source| AgentError::Spawn {
        command: spec.command.clone(),
        source,
    };
    let mut child = command.spawn().map_err(failed)?;
    let (Some(pid), Some(stdin), Some(stdout), Some(stderr)) = (
        child.id(),
        child.stdin.take(),
        child.stdout.take(),
        child.stderr.take(),
    ) else {
        return Err(failed(std::io::Error::other("it ended at once")));
    };
    let process = ProcessId::of_child(pid, spawn_id);
    tracing::debug!(agent = spec.name, pid, "agent started");

    let (out, lines) = mpsc::channel(64);
    let (incoming, receiver) = mpsc::channel(limits.queue.max(1));
    let connection = Arc::new(Connection::new(process, limits.clone(), out));
    tokio::spawn(write_lines(stdin, lines));
    let stderr_tail = Arc::new(Mutex::new(VecDeque::new()));
    let log = tokio::spawn(keep_log(spec.name.clone(), stderr, stderr_tail.clone()));
    let host = Host {
        group: KillOnDrop(connection.process.clone()),
        connection: connection.clone(),
        incoming,
        backlog: VecDeque::new(),
        stderr_tail,
        fault: None,
    };
    tokio::spawn(host.run(child, stdout, log));
    Ok((connection, receiver))
}

/// Whatever ends the reading task (a dropped runtime, too) ends the agent.
struct KillOnDrop(ProcessId);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.kill_all();
    }
}

async fn write_lines(mut stdin: ChildStdin, mut lines: mpsc::Receiver<Vec<u8>>) {
    while let Some(line) = lines.recv().await {
        let written = async {
            stdin.write_all(&line).await?;
            stdin.flush().await
        };
        if let Err(error) = written.await {
            tracing::debug!(%error, "the agent reads no more");
            return;
        }
    }
}

/// Logs what an agent writes to stderr and keeps the end of it.
async fn keep_log(
    agent: String,
    mut stderr: impl AsyncRead + Unpin,
    tail: Arc<Mutex<VecDeque<u8>>>,
) {
    let mut chunk = vec![0; 4 << 10];
    while let Ok(read @ 1..) = stderr.read(&mut chunk).await {
        let text = &chunk[..read];
        tracing::debug!(agent, "{}", String::from_utf8_lossy(text).trim_end());
        let mut tail = tail.lock();
        tail.extend(text);
        let excess = tail.len().saturating_sub(STDERR_TAIL);
        tail.drain(..excess);
    }
}

struct Host {
    group: KillOnDrop,
    connection: Arc<Connection>,
    incoming: mpsc::Sender<Incoming>,
    /// What the queue has no room for while a caller waits for an answer behind it.
    backlog: VecDeque<Incoming>,
    stderr_tail: Arc<Mutex<VecDeque<u8>>>,
    /// Why we ended the agent, if we did.
    fault: Option<String>,
}

impl Host {
    async fn run(
        mut self,
        mut child: Child,
        stdout: ChildStdout,
        log: tokio::task::JoinHandle<()>,
    ) {
        let limits = self.connection.limits.clone();
        let incoming = self.incoming.clone();
        let mut lines = Lines::new(stdout, limits.max_line_bytes);
        let mut open = true;
        let mut ended: Option<ExitStatus> = None;
        // Once either the process or its output has ended, the other gets only so long.
        let mut deadline: Option<Instant> = None;
        loop {
            if let (false, true, Some(status)) = (open, self.backlog.is_empty(), ended) {
                return self.end(status, log).await;
            }
            let room = self.backlog.is_empty()
                || (self.connection.is_awaited() && self.backlog.len() < 16 * limits.queue.max(64));
            tokio::select! {
                () = incoming.closed() => {
                    tracing::debug!("nobody listens to the agent any more");
                    self.connection.close();
                    return;
                }
                permit = incoming.reserve(), if !self.backlog.is_empty() => {
                    if let (Ok(permit), Some(next)) = (permit, self.backlog.pop_front()) {
                        permit.send(next);
                    }
                }
                line = lines.next(), if open && room => match line {
                    Ok(Line::Text(line)) => self.take(&line),
                    Ok(Line::End) => {
                        open = false;
                        deadline.get_or_insert(Instant::now() + EXIT_GRACE);
                    }
                    Ok(Line::TooLong) => {
                        open = false;
                        self.fail(format!(
                            "the agent sent a line of more than {} bytes and was ended",
                            limits.max_line_bytes
                        ));
                    }
                    Err(error) => {
                        open = false;
                        self.fail(format!("the agent's output broke: {error}"));
                    }
                },
                status = child.wait(), if ended.is_none() => {
                    ended = Some(status.unwrap_or_default());
                    deadline = Some(Instant::now() + DRAIN);
                }
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)),
                    if deadline.is_some() && (open || ended.is_none()) =>
                {
                    if ended.is_none() {
                        self.fail("the agent closed its output, did not end, and was ended".into());
                    }
                    open = false;
                    deadline = None;
                }
                () = self.connection.caller_waits.notified() => {}
            }
        }
    }

    fn fail(&mut self, why: String) {
        tracing::warn!("{why}");
        self.fault.get_or_insert(why);
        self.group.0.kill_all();
    }

    async fn end(mut self, status: ExitStatus, log: tokio::task::JoinHandle<()>) {
        use std::os::unix::process::ExitStatusExt as _;
        self.connection.close();
        // What it leaves behind speaks to nobody any more.
        self.group.0.kill_all();
        if tokio::time::timeout(DRAIN, log).await.is_err() {
            tracing::debug!("somebody holds on to the agent's log");
        }
        let (head, tail) = {
            let tail = self.stderr_tail.lock();
            let (a, b) = tail.as_slices();
            (a.to_vec(), b.to_vec())
        };
        let mut stderr_tail = String::from_utf8_lossy(&[head, tail].concat()).into_owned();
        if let Some(fault) = self.fault.take() {
            stderr_tail.push_str("\nsessiond: ");
            stderr_tail.push_str(&fault);
        }
        let exited = Incoming::Exited {
            code: status.code(),
            signal: status.signal(),
            stderr_tail: stderr_tail.trim().to_owned(),
        };
        // Fails only when nobody listens, and then nobody wants to know.
        let _ = self.incoming.send(exited).await;
    }

    fn push(&mut self, news: Incoming) {
        if !self.backlog.is_empty() {
            // A replay is not needed for the history: rather lose some of it than stop
            // reading while the caller waits for the answer behind it.
            let over = self.backlog.len() >= self.connection.limits.queue;
            if over && matches!(news, Incoming::Update { replay: true, .. }) {
                return;
            }
            self.backlog.push_back(news);
        } else if let Err(mpsc::error::TrySendError::Full(news)) = self.incoming.try_send(news) {
            self.backlog.push_back(news);
        }
    }

    fn take(&mut self, line: &[u8]) {
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let Ok(value) = wire::parse(line) else {
            let start = String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned();
            tracing::warn!(start, "the agent wrote something that is not JSON");
            return;
        };
        match Message::sort(value) {
            Message::Notification {
                method,
                params,
                raw: _,
            } if method == "session/update" && params["update"].is_object() => {
                self.update(params);
            }
            Message::Notification { raw, .. } | Message::Strange(raw) => {
                self.push(Incoming::Other(raw));
            }
            Message::Request { id, method, params } if method == "session/request_permission" => {
                let session = params["sessionId"].as_str().unwrap_or_default();
                self.connection
                    .asked(id.clone(), session, AskedFor::Permission);
                self.push(Incoming::Permission {
                    request: id,
                    params,
                });
            }
            Message::Request { id, method, params } if method == "elicitation/create" => {
                let session = params["sessionId"].as_str().unwrap_or_default();
                self.connection
                    .asked(id.clone(), session, AskedFor::Answers);
                self.push(Incoming::Question {
                    request: id,
                    params,
                });
            }
            Message::Request { id, method, .. } => self.connection.refuse(&id, &method),
            Message::Response { id, result } => match self.connection.answered(&id) {
                Some(Waiting::Call(caller)) => {
                    // The caller may have stopped waiting.
                    let _ = caller.send(result);
                }
                Some(Waiting::Prompt) => {
                    let done = result.map(|raw| PromptResult {
                        stop_reason: raw["stopReason"].as_str().unwrap_or("unknown").to_owned(),
                        usage: usage::of_result(&raw),
                        raw,
                    });
                    self.push(Incoming::PromptDone(done));
                }
                None => tracing::debug!(%id, "an answer that nobody waits for"),
            },
        }
    }

    fn update(&mut self, mut params: Value) {
        let session_id = params["sessionId"].as_str().unwrap_or_default().to_owned();
        let update = params["update"].take();
        if update["sessionUpdate"] == "config_option_update" {
            self.connection
                .remember_options(&session_id, &update["configOptions"]);
        }
        let replay = self.connection.is_replay(&session_id);
        self.push(Incoming::Update {
            session_id,
            update,
            replay,
        });
    }
}
