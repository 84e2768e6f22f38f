//! The clients that write, and the one that watches.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::Method;
use parking_lot::Mutex;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use super::ledger::{Ledger, Note, Prompt};
use super::verify::Seen;
use crate::http::{Client, HttpError, Reply};
use crate::sse::Parser;

/// Sessions of a client that it still uses.
const RECENT: usize = 6;

/// What the user message of a shell command says.
const RUN_BY_USER: &str = "The following tool was executed by the user";

/// How a request ended.
enum Outcome {
    /// With a 2xx.
    Done(Reply),
    /// With a 4xx or 503.
    Refused(Reply),
    /// Nobody knows: the server is gone.
    Unknown,
}

/// What a client does next.
enum Next {
    Go,
    Stop,
}

/// A client that writes until the server is gone.
pub(crate) struct Writer {
    number: usize,
    client: Client,
    ledger: Arc<Mutex<Ledger>>,
    rng: StdRng,
}

type Step = Result<Next, String>;

impl Writer {
    pub(crate) fn new(
        number: usize,
        client: Client,
        ledger: Arc<Mutex<Ledger>>,
        rng: StdRng,
    ) -> Self {
        Self {
            number,
            client,
            ledger,
            rng,
        }
    }

    pub(crate) async fn run(mut self) -> Result<(), String> {
        while let Next::Go = self.step().await? {}
        Ok(())
    }

    async fn step(&mut self) -> Step {
        let Some(session) = self.pick() else {
            return self.create().await;
        };
        match self.rng.random_range(0..100) {
            0..12 => self.create().await,
            12..32 => self.rename(&session).await,
            32..64 => self.note(&session).await,
            64..78 => self.prompt(&session).await,
            78..86 => self.answer().await,
            86..90 => self.abort(&session).await,
            90..94 => self.remove_note(&session).await,
            94..96 => self.delete(&session).await,
            _ => self.look(&session).await,
        }
    }

    /// One of its own recent sessions.
    fn pick(&mut self) -> Option<String> {
        let ledger = self.ledger.lock();
        let mine: Vec<&String> = ledger
            .sessions
            .iter()
            .filter(|(_, e)| e.owner == self.number && e.exists.sure && e.exists.maybe.is_empty())
            .map(|(id, _)| id)
            // Session ids descend with time.
            .take(RECENT)
            .collect();
        mine.choose(&mut self.rng).map(|id| (*id).clone())
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Outcome, String> {
        let what = format!("{method} {path}");
        match self.client.send(method, path, body.as_ref(), &[]).await {
            Ok(reply) if reply.ok() => Ok(Outcome::Done(reply)),
            Ok(reply) if reply.status < 500 || reply.status == 503 => Ok(Outcome::Refused(reply)),
            Ok(reply) => Err(format!("{what}: {} {}", reply.status, reply.text())),
            Err(e @ HttpError::Hang { .. }) => Err(e.to_string()),
            Err(_) => Ok(Outcome::Unknown),
        }
    }

    fn acknowledged(&self) {
        self.ledger.lock().acknowledged += 1;
    }

    /// A refusal of something that must work is a broken promise.
    fn refused(what: &str, reply: &Reply) -> Step {
        if reply.status == 503 {
            return Ok(Next::Stop);
        }
        Err(format!(
            "{what} was refused: {} {}",
            reply.status,
            reply.text()
        ))
    }

    async fn create(&mut self) -> Step {
        let title = {
            let mut ledger = self.ledger.lock();
            let title = format!("title {}", ledger.number());
            ledger.titles.insert(title.clone());
            title
        };
        let body = json!({"title": title});
        match self
            .send(Method::POST, "/opencode/session", Some(body))
            .await?
        {
            Outcome::Done(reply) => {
                let id = string(&reply, "/id")?;
                let mut ledger = self.ledger.lock();
                ledger.acknowledged += 1;
                ledger.add(id, self.number, title);
                Ok(Next::Go)
            }
            Outcome::Refused(reply) => Self::refused("create", &reply),
            Outcome::Unknown => Ok(Next::Stop),
        }
    }

    async fn rename(&mut self, session: &str) -> Step {
        let title = {
            let mut ledger = self.ledger.lock();
            let title = format!("title {}", ledger.number());
            ledger.titles.insert(title.clone());
            if let Some(entry) = ledger.entry(session) {
                entry.title.maybe.push(title.clone());
            }
            title
        };
        let path = format!("/opencode/session/{session}");
        match self
            .send(Method::PATCH, &path, Some(json!({"title": title})))
            .await?
        {
            Outcome::Done(_) => {
                self.acknowledged();
                if let Some(entry) = self.ledger.lock().entry(session) {
                    entry.title.settle(&title);
                }
                Ok(Next::Go)
            }
            Outcome::Refused(reply) => Self::refused("rename", &reply),
            Outcome::Unknown => Ok(Next::Stop),
        }
    }

    async fn note(&mut self, session: &str) -> Step {
        let size = if self.rng.random_bool(0.05) {
            90_000
        } else {
            200
        };
        let (id, text) = {
            let mut ledger = self.ledger.lock();
            let id = ledger.message_id();
            let text = format!(
                "note {} {}",
                ledger.number(),
                "x".repeat(self.rng.random_range(0..size))
            );
            let note = Note {
                id: id.clone(),
                text: text.clone(),
                by: self.number,
                present: None,
            };
            if let Some(entry) = ledger.entry(session) {
                entry.notes.push(note);
            }
            (id, text)
        };
        let path = format!("/opencode/session/{session}/message");
        let body =
            json!({"messageID": id, "noReply": true, "parts": [{"type": "text", "text": text}]});
        match self.send(Method::POST, &path, Some(body)).await? {
            Outcome::Done(_) => {
                self.acknowledged();
                self.settle_note(session, &id, true);
                Ok(Next::Go)
            }
            Outcome::Refused(reply) => Self::refused("note", &reply),
            Outcome::Unknown => Ok(Next::Stop),
        }
    }

    fn settle_note(&self, session: &str, id: &str, present: bool) {
        if let Some(entry) = self.ledger.lock().entry(session)
            && let Some(note) = entry.notes.iter_mut().find(|n| n.id == id)
        {
            note.present = Some(present);
        }
    }

    async fn remove_note(&mut self, session: &str) -> Step {
        let id = {
            let mut ledger = self.ledger.lock();
            let Some(entry) = ledger.entry(session) else {
                return Ok(Next::Go);
            };
            let sure: Vec<usize> = (0..entry.notes.len())
                .filter(|i| entry.notes[*i].present == Some(true))
                .collect();
            let Some(at) = sure.choose(&mut self.rng) else {
                return Ok(Next::Go);
            };
            entry.notes[*at].present = None;
            entry.notes[*at].id.clone()
        };
        let path = format!("/opencode/session/{session}/message/{id}");
        match self.send(Method::DELETE, &path, None).await? {
            Outcome::Done(_) => {
                self.acknowledged();
                self.settle_note(session, &id, false);
                Ok(Next::Go)
            }
            Outcome::Refused(reply) if reply.status == 409 => {
                // Busy.
                self.settle_note(session, &id, true);
                Ok(Next::Go)
            }
            Outcome::Refused(reply) => Self::refused("remove", &reply),
            Outcome::Unknown => Ok(Next::Stop),
        }
    }

    /// A prompt, a shell command or a summary: they wait in one queue.
    async fn prompt(&mut self, session: &str) -> Step {
        let (id, what, mut body) = {
            let mut ledger = self.ledger.lock();
            let (id, number) = (ledger.message_id(), ledger.number());
            let prompt = |text: String| {
                let body = json!({"parts": [{"type": "text", "text": text}]});
                ("prompt", text, body)
            };
            let (what, text, body) = match self.rng.random_range(0..10) {
                0 | 1 => prompt(format!("prompt {number}")),
                2 => prompt(format!("/slow 12 15\nprompt {number}")),
                3 => prompt(format!("/plan\nprompt {number}")),
                4 => prompt(format!("/ask run echo {number}; sleep 20")),
                5 => prompt(format!("/think about {number}")),
                6 | 7 => {
                    let command = format!("sleep 20 & echo {number}; sleep 0.3");
                    ("shell", RUN_BY_USER.to_owned(), json!({"command": command}))
                }
                8 => ("summarize", String::new(), json!({})),
                _ => prompt(format!("/write file-{number}.txt words")),
            };
            let prompt = Prompt {
                text,
                acknowledged: false,
                turn: None,
                ended: None,
            };
            if let Some(entry) = ledger.entry(session) {
                entry.prompts.insert(id.clone(), prompt);
            }
            (id, what, body)
        };
        body["message_id"] = id.as_str().into();
        let path = format!("/v1/sessions/{session}/{what}");
        match self.send(Method::POST, &path, Some(body)).await? {
            Outcome::Done(reply) => {
                let turn = string(&reply, "/turn/id")?;
                let mut ledger = self.ledger.lock();
                ledger.acknowledged += 1;
                if let Some(prompt) = ledger.entry(session).and_then(|e| e.prompts.get_mut(&id)) {
                    prompt.acknowledged = true;
                    prompt.turn = Some(turn);
                }
                Ok(Next::Go)
            }
            Outcome::Refused(reply) => Self::refused("prompt", &reply),
            Outcome::Unknown => Ok(Next::Stop),
        }
    }

    /// Answers a pending permission, whosever it is.
    async fn answer(&mut self) -> Step {
        let pending = match self.send(Method::GET, "/opencode/permission", None).await? {
            Outcome::Done(reply) => reply.json().map_err(|e| e.to_string())?,
            Outcome::Refused(reply) => return Self::refused("permissions", &reply),
            Outcome::Unknown => return Ok(Next::Stop),
        };
        let ids: Vec<String> = pending
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|p| p["id"].as_str().map(str::to_owned))
            .collect();
        self.ledger.lock().permissions.extend(ids.iter().cloned());
        let Some(id) = ids.choose(&mut self.rng) else {
            return Ok(Next::Go);
        };
        let reply = if self.rng.random_bool(0.7) {
            "once"
        } else {
            "reject"
        };
        let path = format!("/opencode/permission/{id}/reply");
        match self
            .send(Method::POST, &path, Some(json!({"reply": reply})))
            .await?
        {
            Outcome::Done(_) => {
                self.acknowledged();
                Ok(Next::Go)
            }
            // Somebody was faster.
            Outcome::Refused(reply) if matches!(reply.status, 404 | 409) => Ok(Next::Go),
            Outcome::Refused(reply) => Self::refused("answer", &reply),
            Outcome::Unknown => Ok(Next::Stop),
        }
    }

    async fn abort(&mut self, session: &str) -> Step {
        self.ledger.lock().entry(session);
        let path = format!("/opencode/session/{session}/abort");
        match self.send(Method::POST, &path, Some(json!({}))).await? {
            Outcome::Done(_) => Ok(Next::Go),
            Outcome::Refused(reply) => Self::refused("abort", &reply),
            Outcome::Unknown => Ok(Next::Stop),
        }
    }

    async fn delete(&mut self, session: &str) -> Step {
        if let Some(entry) = self.ledger.lock().entry(session) {
            entry.exists.maybe.push(false);
        }
        let path = format!("/opencode/session/{session}");
        match self.send(Method::DELETE, &path, None).await? {
            Outcome::Done(_) => {
                self.acknowledged();
                if let Some(entry) = self.ledger.lock().entry(session) {
                    entry.exists.settle(&false);
                }
                Ok(Next::Go)
            }
            Outcome::Refused(reply) => Self::refused("delete", &reply),
            Outcome::Unknown => Ok(Next::Stop),
        }
    }

    /// Reads the turns, to know which have ended and must stay so.
    async fn look(&mut self, session: &str) -> Step {
        let path = format!("/v1/sessions/{session}/turns?limit=1000");
        let turns = match self.send(Method::GET, &path, None).await? {
            Outcome::Done(reply) => reply.json().map_err(|e| e.to_string())?,
            Outcome::Refused(reply) => return Self::refused("turns", &reply),
            Outcome::Unknown => return Ok(Next::Stop),
        };
        let mut ledger = self.ledger.lock();
        for turn in turns["turns"].as_array().into_iter().flatten() {
            let state = turn["state"].as_str().unwrap_or_default();
            let message = turn["user_message_id"].as_str().unwrap_or_default();
            if let Some(prompt) = ledger
                .entry(session)
                .and_then(|e| e.prompts.get_mut(message))
                && !matches!(state, "queued" | "running")
            {
                prompt.ended.get_or_insert_with(|| state.to_owned());
            }
        }
        Ok(Next::Go)
    }
}

fn string(reply: &Reply, pointer: &str) -> Result<String, String> {
    let value = reply.json().map_err(|e| e.to_string())?;
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| format!("no {pointer} in {value}"))
}

/// Watches all events until the server is gone.
pub(super) async fn watch(client: Client) -> Result<Seen, String> {
    let mut seen = Seen::default();
    let Ok(response) = client
        .stream("/v1/events", &[("accept", "text/event-stream")])
        .await
    else {
        return Ok(seen);
    };
    let mut body = response.into_body();
    let mut parser = Parser::default();
    while let Some(Ok(frame)) = body.frame().await {
        let Some(bytes) = frame.data_ref() else {
            continue;
        };
        for event in parser.push(bytes)? {
            seen.note(&event.data)?;
        }
    }
    Ok(seen)
}
