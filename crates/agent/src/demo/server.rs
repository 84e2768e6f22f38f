//! The demo agent's side of the wire.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde_json::{Value, json};
use sessiond_model::{HybridIds, IdGen as _, SystemClock};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot, watch};

use super::script::COMMANDS;
use super::session::{Files, MODELS, MODES, Session};
use super::turn::Turn;
use crate::reader::{Line, Lines};
use crate::wire::{self, AUTH_REQUIRED, METHOD_NOT_FOUND, Message, RequestId, RpcError};

const INVALID_PARAMS: i64 = -32602;
const BUSY: i64 = -32600;
const NOT_FOUND: i64 = -32002;
const INTERNAL: i64 = -32603;

/// A session and its running prompt.
struct Live {
    session: Arc<Mutex<Session>>,
    cancel: Option<watch::Sender<bool>>,
}

/// What all tasks of the demo agent share.
pub(super) struct Demo {
    out: mpsc::Sender<Vec<u8>>,
    live: Mutex<HashMap<String, Live>>,
    asked: Mutex<HashMap<u64, oneshot::Sender<Result<Value, RpcError>>>>,
    last_request: AtomicU64,
    pub(super) files: Files,
    ids: HybridIds,
}

pub(super) async fn serve(
    stdin: impl AsyncRead + Unpin,
    stdout: impl AsyncWrite + Unpin + Send + 'static,
    home: PathBuf,
) -> io::Result<()> {
    let (out, lines) = mpsc::channel(64);
    let writer = tokio::spawn(write_lines(stdout, lines));
    let demo = Arc::new(Demo {
        out,
        live: Mutex::default(),
        asked: Mutex::default(),
        last_request: AtomicU64::new(0),
        files: Files(home),
        ids: HybridIds::new(Arc::new(SystemClock)),
    });
    let mut input = Lines::new(stdin, 64 << 20);
    while let Line::Text(line) = input.next().await? {
        let Ok(value) = wire::parse(&line) else {
            continue;
        };
        match Message::sort(value) {
            Message::Request { id, method, params } => demo.request(id, &method, &params).await,
            Message::Notification { method, params, .. } if method == "session/cancel" => {
                demo.cancel(params["sessionId"].as_str().unwrap_or_default());
            }
            Message::Response { id, result } => {
                let asked = id.as_u64().and_then(|id| demo.asked.lock().remove(&id));
                if let Some(asked) = asked {
                    // The turn may have been cancelled meanwhile.
                    let _ = asked.send(result);
                }
            }
            Message::Notification { .. } | Message::Strange(_) => {}
        }
    }
    writer.abort();
    Ok(())
}

async fn write_lines(
    mut stdout: impl AsyncWrite + Unpin,
    mut lines: mpsc::Receiver<Vec<u8>>,
) -> io::Result<()> {
    while let Some(line) = lines.recv().await {
        stdout.write_all(&line).await?;
        stdout.flush().await?;
    }
    Ok(())
}

type Answer = Result<Value, RpcError>;

fn error(code: i64, message: impl Into<String>) -> RpcError {
    RpcError {
        code,
        message: message.into(),
        data: None,
    }
}

impl Demo {
    pub(super) async fn send(&self, line: Vec<u8>) {
        // Without a reader there is nobody to tell; the input ends soon, too.
        let _ = self.out.send(line).await;
    }

    pub(super) async fn tell(&self, session: &str, update: Value) {
        let params = json!({"sessionId": session, "update": update});
        self.send(wire::notification("session/update", &params))
            .await;
    }

    /// Asks the client something.
    pub(super) async fn ask(&self, method: &str, params: &Value) -> Answer {
        // Numbered from 0, as real agents do.
        let id = self.last_request.fetch_add(1, Ordering::Relaxed);
        let (tx, rx) = oneshot::channel();
        self.asked.lock().insert(id, tx);
        self.send(wire::request(id, method, params)).await;
        rx.await
            .unwrap_or_else(|_| Err(error(INTERNAL, "the client is gone")))
    }

    pub(super) async fn answer(&self, id: &RequestId, answer: Answer) {
        let line = match answer {
            Ok(result) => wire::success(id, &result),
            Err(error) => wire::error(id, &error),
        };
        self.send(line).await;
    }

    async fn request(self: &Arc<Self>, id: RequestId, method: &str, params: &Value) {
        if method == "session/prompt" {
            match self.start_turn(&id, params) {
                Ok(turn) => drop(tokio::spawn(turn.run())),
                Err(error) => self.answer(&id, Err(error)).await,
            }
            return;
        }
        let session = params["sessionId"].as_str().unwrap_or_default();
        let answer = match method {
            "initialize" => Ok(initialized()),
            "session/new" => self.new_session(params),
            "session/load" => self.load(session, params).await,
            "session/resume" => self.open(session, params).map(|s| s.lock().profile()),
            "session/fork" => self.fork(session, params),
            "session/list" => Ok(self.list(params)),
            "session/close" => {
                self.cancel(session);
                match self.live.lock().remove(session) {
                    Some(_) => Ok(json!({})),
                    None => Err(unknown_session(session)),
                }
            }
            "session/set_mode" => self.set(session, "mode", &params["modeId"]).await,
            "session/set_config_option" => {
                let option = params["configId"].as_str().unwrap_or_default();
                self.set(session, option, &params["value"]).await
            }
            "authenticate" => Err(error(AUTH_REQUIRED, "the demo agent has no log-in")),
            _ => Err(error(
                METHOD_NOT_FOUND,
                format!("Method not found: {method}"),
            )),
        };
        let opens = matches!(
            method,
            "session/new" | "session/load" | "session/resume" | "session/fork"
        );
        let opened = answer.is_ok() && opens;
        let session = answer
            .as_ref()
            .ok()
            .and_then(|a| a["sessionId"].as_str())
            .unwrap_or(session)
            .to_owned();
        self.answer(&id, answer).await;
        if opened {
            self.tell(&session, commands()).await;
        }
    }

    fn new_session(&self, params: &Value) -> Answer {
        let cwd = directory(params)?;
        let id = format!("demo-{}", self.ids.tail());
        let session = Session::new(id.clone(), cwd);
        let mut answer = session.profile();
        answer["sessionId"] = id.as_str().into();
        self.keep(session);
        Ok(answer)
    }

    fn keep(&self, session: Session) -> Arc<Mutex<Session>> {
        let id = session.id.clone();
        let session = Arc::new(Mutex::new(session));
        let live = Live {
            session: session.clone(),
            cancel: None,
        };
        self.live.lock().insert(id, live);
        session
    }

    /// Takes a session from its file.
    fn open(&self, id: &str, params: &Value) -> Result<Arc<Mutex<Session>>, RpcError> {
        let cwd = directory(params)?;
        let mut session = self
            .files
            .load(id)
            .ok_or_else(|| error(NOT_FOUND, format!("Resource not found: session {id}")))?;
        session.cwd = cwd;
        Ok(self.keep(session))
    }

    /// Copies a session, as far as its file has it.
    fn fork(&self, id: &str, params: &Value) -> Answer {
        let cwd = directory(params)?;
        let origin = self
            .files
            .load(id)
            .ok_or_else(|| error(NOT_FOUND, format!("Resource not found: session {id}")))?;
        let fork = Session {
            id: format!("demo-{}", self.ids.tail()),
            cwd,
            ..origin
        };
        if let Err(e) = self.files.save(&fork) {
            return Err(error(INTERNAL, format!("the fork could not be saved: {e}")));
        }
        let mut answer = fork.profile();
        answer["sessionId"] = fork.id.as_str().into();
        self.keep(fork);
        Ok(answer)
    }

    async fn load(&self, id: &str, params: &Value) -> Answer {
        let session = self.open(id, params)?;
        let history = session.lock().history.clone();
        for said in history {
            let kind = match said.by.as_str() {
                "agent" => "agent_message_chunk",
                _ => "user_message_chunk",
            };
            let content = json!({"type": "text", "text": said.text});
            self.tell(id, json!({"sessionUpdate": kind, "content": content}))
                .await;
        }
        Ok(session.lock().profile())
    }

    fn list(&self, params: &Value) -> Value {
        let wanted = params["cwd"].as_str().map(Path::new);
        let sessions: Vec<Value> = self
            .files
            .list()
            .into_iter()
            .filter(|s| wanted.is_none_or(|cwd| s.cwd == cwd))
            .map(|s| json!({"sessionId": s.id, "cwd": s.cwd, "title": s.title}))
            .collect();
        json!({"sessions": sessions})
    }

    async fn set(&self, id: &str, option: &str, value: &Value) -> Answer {
        let session = self
            .live
            .lock()
            .get(id)
            .map(|l| l.session.clone())
            .ok_or_else(|| unknown_session(id))?;
        let value = value.as_str().unwrap_or_default();
        let list: &[(&str, &str, &str)] = match option {
            "mode" => &MODES,
            "model" => &MODELS,
            _ => return Err(error(INVALID_PARAMS, format!("unknown option {option:?}"))),
        };
        if !list.iter().any(|(known, _, _)| *known == value) {
            return Err(error(INVALID_PARAMS, format!("unknown {option} {value:?}")));
        }
        let options = {
            let mut session = session.lock();
            match option {
                "mode" => value.clone_into(&mut session.mode),
                _ => value.clone_into(&mut session.model),
            }
            session.config_options()
        };
        if option == "mode" {
            let update = json!({"sessionUpdate": "current_mode_update", "currentModeId": value});
            self.tell(id, update).await;
        }
        Ok(json!({"configOptions": options}))
    }

    fn start_turn(self: &Arc<Self>, id: &RequestId, params: &Value) -> Result<Turn, RpcError> {
        let name = params["sessionId"].as_str().unwrap_or_default();
        let mut live = self.live.lock();
        let live = live.get_mut(name).ok_or_else(|| unknown_session(name))?;
        if live.cancel.is_some() {
            return Err(error(BUSY, "the session is busy with another prompt"));
        }
        let (cancel, cancelled) = watch::channel(false);
        live.cancel = Some(cancel);
        let blocks = params["prompt"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(Turn::new(
            self.clone(),
            live.session.clone(),
            id.clone(),
            blocks,
            cancelled,
        ))
    }

    /// The prompt is answered: the session takes the next one.
    pub(super) fn turn_ended(&self, session: &str) {
        if let Some(live) = self.live.lock().get_mut(session) {
            live.cancel = None;
        }
    }

    fn cancel(&self, session: &str) {
        if let Some(cancel) = self
            .live
            .lock()
            .get(session)
            .and_then(|l| l.cancel.as_ref())
        {
            // The turn may just have ended.
            let _ = cancel.send(true);
        }
    }

    /// Ends the process at once, after what was said is out.
    pub(super) async fn crash(&self) {
        while self.out.capacity() < self.out.max_capacity() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        // The last line has left the queue; give it the moment to reach the pipe.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        std::process::exit(17);
    }

    pub(super) fn fresh_id(&self, prefix: &str) -> String {
        format!("{prefix}_{}", self.ids.tail())
    }
}

fn initialized() -> Value {
    json!({
        "protocolVersion": 1,
        "agentCapabilities": {
            "loadSession": true,
            "promptCapabilities": {"image": true, "embeddedContext": true},
            "sessionCapabilities": {"close": {}, "fork": {}, "list": {}, "resume": {}},
        },
        "agentInfo": {
            "name": "sessiond-demo-agent",
            "title": "Demo agent",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "authMethods": [],
    })
}

fn commands() -> Value {
    let list: Vec<Value> = COMMANDS
        .iter()
        .map(|(name, hint, description)| {
            let input = (!hint.is_empty()).then(|| json!({"hint": hint}));
            json!({"name": name, "description": description, "input": input})
        })
        .collect();
    json!({"sessionUpdate": "available_commands_update", "availableCommands": list})
}

fn unknown_session(id: &str) -> RpcError {
    error(INVALID_PARAMS, format!("session not found: {id}"))
}

fn directory(params: &Value) -> Result<PathBuf, RpcError> {
    let cwd = PathBuf::from(params["cwd"].as_str().unwrap_or_default());
    if cwd.is_absolute() {
        Ok(cwd)
    } else {
        Err(error(INVALID_PARAMS, "cwd must be an absolute path"))
    }
}
