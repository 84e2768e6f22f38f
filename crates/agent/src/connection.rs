//! The state of the wire: what we asked and wait for, what the agent asked, and what it said
//! of its sessions. The task in [`crate::child`] reads; this is what callers hold.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use crate::wire::{self, RequestId};
use crate::{AgentError, HostLimits, ProcessId, RpcError};

type Answer = Result<Value, RpcError>;

/// Who waits for an answer.
#[derive(Debug)]
pub(crate) enum Waiting {
    /// A caller, at once.
    Call(oneshot::Sender<Answer>),
    /// The reader of [`crate::Incoming`], in order with everything else.
    Prompt,
}

/// What an agent asks of people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AskedFor {
    Permission,
    Answers,
}

#[derive(Debug)]
struct Asked {
    session: String,
    what: AskedFor,
}

#[derive(Debug, Default)]
struct State {
    last_id: u64,
    waiting: HashMap<u64, Waiting>,
    /// What the agent waits for of people.
    asked: HashMap<RequestId, Asked>,
    /// Config options by session.
    options: HashMap<String, Value>,
    /// Sessions that are being replayed, and when they last said something.
    replays: HashMap<String, Instant>,
    gone: bool,
}

/// One agent's wire, as callers see it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) process: ProcessId,
    pub(crate) limits: HostLimits,
    pub(crate) can_close: AtomicBool,
    out: mpsc::Sender<Vec<u8>>,
    state: Mutex<State>,
    /// Callers that wait for an answer while nobody may be draining the queue.
    callers: AtomicUsize,
    /// Told when a caller begins to wait.
    pub(crate) caller_waits: Notify,
}

/// While it lives, reading goes on even when the queue is full.
#[derive(Debug)]
pub(crate) struct KeepReading<'a>(&'a Connection);

impl Drop for KeepReading<'_> {
    fn drop(&mut self) {
        self.0.callers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connection {
    pub(crate) fn new(process: ProcessId, limits: HostLimits, out: mpsc::Sender<Vec<u8>>) -> Self {
        Self {
            process,
            limits,
            can_close: AtomicBool::new(false),
            out,
            state: Mutex::default(),
            callers: AtomicUsize::new(0),
            caller_waits: Notify::new(),
        }
    }

    pub(crate) fn keep_reading(&self) -> KeepReading<'_> {
        self.callers.fetch_add(1, Ordering::Relaxed);
        self.caller_waits.notify_one();
        KeepReading(self)
    }

    /// Whether a caller waits for an answer that may be behind a full queue.
    pub(crate) fn is_awaited(&self) -> bool {
        self.callers.load(Ordering::Relaxed) > 0
    }

    fn enlist(&self, method: &'static str, waiting: Waiting) -> Result<u64, AgentError> {
        let mut state = self.state.lock();
        if state.gone {
            return Err(AgentError::Gone { method });
        }
        state.last_id += 1;
        let id = state.last_id;
        state.waiting.insert(id, waiting);
        Ok(id)
    }

    /// Asks and waits for the answer.
    pub(crate) async fn call(
        &self,
        method: &'static str,
        params: Value,
    ) -> Result<Value, AgentError> {
        let _reading = self.keep_reading();
        let (tx, rx) = oneshot::channel();
        let id = self.enlist(method, Waiting::Call(tx))?;
        let after = self.limits.request_timeout;
        let exchange = async {
            self.write(method, wire::request(id, method, &params))
                .await?;
            rx.await.map_err(|_| AgentError::Gone { method })
        };
        let answer = tokio::time::timeout(after, exchange).await;
        self.state.lock().waiting.remove(&id);
        match answer {
            Err(_) => Err(AgentError::Timeout { method, after }),
            Ok(Err(error)) => Err(error),
            Ok(Ok(Err(error))) => Err(AgentError::Rpc { method, error }),
            Ok(Ok(Ok(result))) => Ok(result),
        }
    }

    pub(crate) async fn prompt(&self, params: &Value) -> Result<(), AgentError> {
        let method = "session/prompt";
        let id = self.enlist(method, Waiting::Prompt)?;
        self.write(method, wire::request(id, method, params)).await
    }

    pub(crate) async fn notify(
        &self,
        method: &'static str,
        params: &Value,
    ) -> Result<(), AgentError> {
        self.write(method, wire::notification(method, params)).await
    }

    pub(crate) async fn answer(
        &self,
        method: &'static str,
        id: &RequestId,
        result: &Value,
    ) -> Result<(), AgentError> {
        self.write(method, wire::success(id, result)).await
    }

    async fn write(&self, method: &'static str, line: Vec<u8>) -> Result<(), AgentError> {
        self.out
            .send(line)
            .await
            .map_err(|_| AgentError::Gone { method })
    }

    /// Refuses a request of a kind we don't offer. The reader must not wait for the writer
    /// (the agent may be waiting for the reader), so that an agent which floods us with such
    /// requests and reads no answers gets none.
    pub(crate) fn refuse(&self, id: &RequestId, method: &str) {
        let error = RpcError {
            code: wire::METHOD_NOT_FOUND,
            message: format!("Method not found: {method}"),
            data: None,
        };
        if self.out.try_send(wire::error(id, &error)).is_err() {
            tracing::warn!(method, "the agent reads no answers");
        }
    }

    /// Takes out who waits for the answer of that id.
    pub(crate) fn answered(&self, id: &Value) -> Option<Waiting> {
        let id = id
            .as_u64()
            .or_else(|| id.as_str().and_then(|text| text.parse().ok()))?;
        self.state.lock().waiting.remove(&id)
    }

    pub(crate) fn asked(&self, request: RequestId, session: &str, what: AskedFor) {
        let session = session.to_owned();
        let asked = Asked { session, what };
        self.state.lock().asked.insert(request, asked);
    }

    /// Takes an open request of the agent out; false when there is none.
    pub(crate) fn take_request(&self, request: &RequestId) -> bool {
        self.state.lock().asked.remove(request).is_some()
    }

    pub(crate) fn requests_of(&self, session: &str) -> Vec<(RequestId, AskedFor)> {
        let state = self.state.lock();
        let of = state.asked.iter().filter(|(_, a)| a.session == session);
        of.map(|(r, a)| (r.clone(), a.what)).collect()
    }

    pub(crate) fn remember_options(&self, session: &str, options: &Value) {
        if options.is_array() {
            let mut state = self.state.lock();
            state.options.insert(session.to_owned(), options.clone());
        }
    }

    pub(crate) fn options_of(&self, session: &str) -> Value {
        let state = self.state.lock();
        state.options.get(session).cloned().unwrap_or_default()
    }

    pub(crate) fn replay_begins(&self, session: &str) {
        let mut state = self.state.lock();
        state.replays.insert(session.to_owned(), Instant::now());
    }

    pub(crate) fn replay_ends(&self, session: &str) {
        self.state.lock().replays.remove(session);
    }

    /// Whether an update of that session belongs to a replay; notes that one came.
    pub(crate) fn is_replay(&self, session: &str) -> bool {
        match self.state.lock().replays.get_mut(session) {
            Some(last) => {
                *last = Instant::now();
                true
            }
            None => false,
        }
    }

    /// Waits until a replay has said nothing for `quiet`, at most `longest`.
    pub(crate) async fn replay_quiet(&self, session: &str, quiet: Duration, longest: Duration) {
        self.is_replay(session);
        let until = Instant::now() + longest;
        loop {
            let last = self.state.lock().replays.get(session).copied();
            let Some(calm) = last.map(|last| last + quiet) else {
                return;
            };
            if Instant::now() >= calm.min(until) {
                return;
            }
            tokio::time::sleep_until(calm.min(until)).await;
        }
    }

    /// The agent is gone: nobody waits any longer.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.gone = true;
        state.waiting.clear();
        state.asked.clear();
        state.replays.clear();
    }
}
