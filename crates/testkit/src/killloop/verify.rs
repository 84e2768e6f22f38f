//! Holding the server to its word.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};

use super::ledger::{Entry, Ledger};
use crate::daemon::Home;
use crate::http::{Client, Reply};

/// Longest that turns which go on after a restart may take to end.
const SETTLE: Duration = Duration::from_secs(90);
/// Longest that processes of agents may take to end.
const PROCESS_END: Duration = Duration::from_secs(15);
/// Older sessions that are looked at besides those that something happened to.
const SAMPLE: usize = 8;

/// The durable events that a subscriber saw: `seq` to session and `session_seq`.
#[derive(Debug, Default)]
pub(super) struct Seen {
    events: BTreeMap<u64, (String, u64)>,
}

impl Seen {
    /// Notes a message of the stream, when it is a durable event.
    pub(super) fn note(&mut self, event: &Value) -> Result<(), String> {
        let (Some(seq), Some(own)) = (event["seq"].as_u64(), event["session_seq"].as_u64()) else {
            return Ok(());
        };
        let session = event["session_id"].as_str().unwrap_or_default().to_owned();
        match self.events.insert(seq, (session, own)) {
            Some(old) => Err(format!("event {seq} came twice: {old:?}, {event}")),
            None => Ok(()),
        }
    }
}

/// One check after a restart.
pub(super) struct Check<'a> {
    pub(super) client: Client,
    pub(super) home: &'a Home,
    pub(super) server: u32,
    pub(super) ledger: &'a Mutex<Ledger>,
    /// Whether to look at everything.
    pub(super) all: bool,
}

impl Check<'_> {
    pub(super) async fn run(&self, seen: &Seen, rng: &mut StdRng) -> Result<(), String> {
        let left = orphans_after_patience(self.home, Some(self.server)).await;
        if !left.is_empty() {
            return Err(format!("processes left by the killed server: {left:?}"));
        }
        self.old_permissions_are_gone().await?;
        settle(&self.client).await?;
        self.seen_events(seen).await?;
        let sessions = self.choose(rng);
        let mut broken = Vec::new();
        for id in &sessions {
            let Some(mut entry) = self.ledger.lock().sessions.get(id).cloned() else {
                continue;
            };
            if let Err(what) = self.session(id, &mut entry).await {
                broken.push(format!("{id}: {what}"));
            }
            entry.touched = false;
            self.ledger.lock().sessions.insert(id.clone(), entry);
        }
        if self.all {
            self.titles().await?;
        }
        if !broken.is_empty() {
            return Err(broken.join("\n"));
        }
        self.new_prompt(&sessions, rng).await
    }

    fn choose(&self, rng: &mut StdRng) -> Vec<String> {
        let ledger = self.ledger.lock();
        let (touched, old): (Vec<_>, Vec<_>) = ledger
            .sessions
            .iter()
            .partition(|(_, e)| self.all || e.touched);
        touched
            .into_iter()
            .chain(old.sample(rng, SAMPLE).copied())
            .map(|(id, _)| id.clone())
            .collect()
    }

    async fn get(&self, path: &str) -> Result<Reply, String> {
        get(&self.client, path).await
    }

    async fn json(&self, path: &str) -> Result<Value, String> {
        json_of(&self.client, path).await
    }

    async fn old_permissions_are_gone(&self) -> Result<(), String> {
        let pending = pending(&self.client).await?;
        let ledger = self.ledger.lock();
        match pending.iter().find(|p| ledger.permissions.contains(*p)) {
            Some(id) => Err(format!(
                "{id} still waits for an answer that nobody can use"
            )),
            None => Ok(()),
        }
    }

    /// Every event that was seen is in the log, at its place.
    async fn seen_events(&self, seen: &Seen) -> Result<(), String> {
        let (Some((first, _)), Some((last, _))) =
            (seen.events.first_key_value(), seen.events.last_key_value())
        else {
            return Ok(());
        };
        let mut logged = BTreeMap::new();
        let mut after = first - 1;
        loop {
            let page = self
                .json(&format!("/v1/events?after={after}&limit=1000"))
                .await?;
            for event in events(&page) {
                logged.insert(number(event, "seq"), place(event));
            }
            after = page["next"].as_u64().unwrap_or(u64::MAX);
            if page["more"] != true || after >= *last {
                break;
            }
        }
        for (seq, place) in &seen.events {
            if logged.get(seq) != Some(place) {
                return Err(format!(
                    "event {seq} was seen as {place:?}, the log has {:?}",
                    logged.get(seq)
                ));
            }
        }
        Ok(())
    }

    async fn session(&self, id: &str, entry: &mut Entry) -> Result<(), String> {
        let reply = self.get(&format!("/opencode/session/{id}")).await?;
        let exists = reply.ok();
        if !entry.exists.settle(&exists) {
            return Err(format!("exists: {exists}, which nobody asked for"));
        }
        self.events_have_no_gap(id, entry).await?;
        if !exists {
            return Ok(());
        }
        let session = reply.json().map_err(|e| e.to_string())?;
        let title = session["title"].as_str().unwrap_or_default().to_owned();
        let promised = entry.title.clone();
        if !entry.title.settle(&title) {
            return Err(format!("title is {title:?}, promised was {promised:?}"));
        }
        let messages = self
            .json(&format!("/opencode/session/{id}/message"))
            .await?;
        let messages = messages.as_array().ok_or("messages are no list")?;
        notes(entry, messages)?;
        closed(messages)?;
        let turns = self
            .json(&format!("/v1/sessions/{id}/turns?limit=1000"))
            .await?;
        prompts(
            entry,
            messages,
            turns["turns"].as_array().ok_or("turns are no list")?,
        )
    }

    async fn events_have_no_gap(&self, id: &str, entry: &mut Entry) -> Result<(), String> {
        let (mut after, mut own, mut last) = (0, 0, 0);
        loop {
            let path = format!("/v1/events?session={id}&after={after}&limit=1000");
            let page = self.json(&path).await?;
            for event in events(&page) {
                let (seq, next) = (number(event, "seq"), number(event, "session_seq"));
                if next != own + 1 || seq <= last {
                    return Err(format!("event {next} at {seq} follows {own} at {last}"));
                }
                (own, last) = (next, seq);
            }
            after = page["next"].as_u64().ok_or("a page without `next`")?;
            if page["more"] != true {
                break;
            }
        }
        if own < entry.events {
            return Err(format!("{own} events, there had been {}", entry.events));
        }
        entry.events = own;
        Ok(())
    }

    /// No session has a title that nobody sent.
    async fn titles(&self) -> Result<(), String> {
        let mut path = "/v1/sessions?limit=100".to_owned();
        loop {
            let page = self.json(&path).await?;
            for session in page["sessions"].as_array().into_iter().flatten() {
                let title = session["title"].as_str().unwrap_or_default();
                if !self.ledger.lock().titles.contains(title) {
                    return Err(format!("a session nobody made: {session}"));
                }
            }
            match page["next_cursor"].as_str() {
                Some(cursor) => path = format!("/v1/sessions?limit=100&cursor={cursor}"),
                None => return Ok(()),
            }
        }
    }

    async fn new_prompt(&self, sessions: &[String], rng: &mut StdRng) -> Result<(), String> {
        let existing: Vec<&String> = {
            let ledger = self.ledger.lock();
            let exists = |id: &&String| ledger.sessions.get(*id).is_some_and(|e| e.exists.sure);
            sessions.iter().filter(exists).collect()
        };
        let Some(id) = existing.choose(rng) else {
            return Ok(());
        };
        let message = self.ledger.lock().message_id();
        let text = "are you well?";
        let body = json!({"messageID": message, "parts": [{"type": "text", "text": text}]});
        let path = format!("/opencode/session/{id}/message");
        let reply = self
            .client
            .post(&path, &body)
            .await
            .map_err(|e| e.to_string())?;
        let answer = reply.json().map_err(|e| e.to_string())?;
        let said = text_of(&answer);
        if !reply.ok() || !said.contains(text) || !answer["info"]["error"].is_null() {
            return Err(format!("{id}: a new prompt got {} {answer}", reply.status));
        }
        if let Some(entry) = self.ledger.lock().entry(id) {
            let prompt = super::ledger::Prompt {
                text: text.to_owned(),
                acknowledged: true,
                turn: None,
                ended: Some("completed".to_owned()),
            };
            entry.prompts.insert(message, prompt);
        }
        Ok(())
    }
}

async fn get(client: &Client, path: &str) -> Result<Reply, String> {
    let reply = client
        .get(path)
        .await
        .map_err(|e| format!("GET {path}: {e}"))?;
    if reply.status >= 500 {
        return Err(format!("GET {path}: {} {}", reply.status, reply.text()));
    }
    Ok(reply)
}

/// The answer to a `GET` that must work.
pub(crate) async fn json_of(client: &Client, path: &str) -> Result<Value, String> {
    let reply = get(client, path).await?;
    if !reply.ok() {
        return Err(format!("GET {path}: {} {}", reply.status, reply.text()));
    }
    reply.json().map_err(|e| format!("GET {path}: {e}"))
}

async fn pending(client: &Client) -> Result<Vec<String>, String> {
    let list = json_of(client, "/opencode/permission").await?;
    Ok(list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|p| p["id"].as_str().map(str::to_owned))
        .collect())
}

/// Waits until nothing is busy: what was queued goes on after a restart and may ask.
pub(crate) async fn settle(client: &Client) -> Result<(), String> {
    let end = Instant::now() + SETTLE;
    loop {
        for id in pending(client).await? {
            let path = format!("/opencode/permission/{id}/reply");
            // Its turn may have ended meanwhile.
            let _ = client.post(&path, &json!({"reply": "reject"})).await;
        }
        let status = json_of(client, "/opencode/session/status").await?;
        if status.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("busy for ever: {status}"));
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

fn events(page: &Value) -> impl Iterator<Item = &Value> {
    page["events"].as_array().into_iter().flatten()
}

fn number(event: &Value, field: &str) -> u64 {
    event[field].as_u64().unwrap_or_default()
}

fn place(event: &Value) -> (String, u64) {
    let session = event["session_id"].as_str().unwrap_or_default();
    (session.to_owned(), number(event, "session_seq"))
}

fn text_of(message: &Value) -> String {
    let parts = message["parts"].as_array().into_iter().flatten();
    parts
        .filter(|p| p["type"] == "text")
        .filter_map(|p| p["text"].as_str())
        .collect()
}

fn id_of(message: &Value) -> &str {
    message["info"]["id"].as_str().unwrap_or_default()
}

/// Notes are there as promised, whole, in the order in which each client wrote them; and no
/// user message is there that nobody wrote.
fn notes(entry: &mut Entry, messages: &[Value]) -> Result<(), String> {
    let found: BTreeMap<&str, (usize, String)> = messages
        .iter()
        .enumerate()
        .filter(|(_, m)| m["info"]["role"] == "user")
        .map(|(at, m)| (id_of(m), (at, text_of(m))))
        .collect();
    let mut order: BTreeMap<usize, usize> = BTreeMap::new();
    for note in &mut entry.notes {
        match (found.get(note.id.as_str()), note.present) {
            (None, Some(true)) => return Err(format!("{} was acknowledged and is lost", note.id)),
            (Some(_), Some(false)) => return Err(format!("{} is back", note.id)),
            (Some((at, text)), _) => {
                if *text != note.text {
                    return Err(format!("{} is there by halves: {text:?}", note.id));
                }
                if order
                    .insert(note.by, *at)
                    .is_some_and(|before| before > *at)
                {
                    return Err(format!("{} has moved forward", note.id));
                }
                note.present = Some(true);
            }
            (None, _) => note.present = Some(false),
        }
    }
    for (id, (_, text)) in &found {
        let known = entry.notes.iter().any(|n| n.id == *id)
            || entry.prompts.get(*id).is_some_and(|p| p.text == *text);
        if !known {
            return Err(format!("{id} ({text:?}) was written by nobody"));
        }
    }
    Ok(())
}

/// Nothing is open.
fn closed(messages: &[Value]) -> Result<(), String> {
    for message in messages {
        let info = &message["info"];
        if info["role"] == "assistant" && info["time"]["completed"].is_null() {
            return Err(format!("{} has no end", id_of(message)));
        }
        for part in message["parts"].as_array().into_iter().flatten() {
            let open = match part["type"].as_str() {
                Some("tool") => !matches!(
                    part["state"]["status"].as_str(),
                    Some("completed" | "error")
                ),
                Some("text" | "reasoning") => {
                    info["role"] == "assistant" && part["time"]["end"].is_null()
                }
                _ => false,
            };
            if open {
                return Err(format!("an open part: {part}"));
            }
        }
    }
    Ok(())
}

/// Each accepted prompt has one turn, which has ended, and stays as it was.
fn prompts(entry: &mut Entry, messages: &[Value], turns: &[Value]) -> Result<(), String> {
    let present: BTreeSet<&str> = messages.iter().map(id_of).collect();
    for (id, prompt) in &mut entry.prompts {
        let mine: Vec<&Value> = turns
            .iter()
            .filter(|t| t["user_message_id"] == id.as_str())
            .collect();
        let turn = match mine.as_slice() {
            [] if prompt.acknowledged => return Err(format!("{id} was accepted and has no turn")),
            [] if present.contains(id.as_str()) => {
                return Err(format!("{id} is a prompt without a turn"));
            }
            [] => continue,
            [turn] => turn,
            more => return Err(format!("{id} has {} turns", more.len())),
        };
        if !present.contains(id.as_str()) {
            return Err(format!("{id} has a turn and no message"));
        }
        let state = turn["state"].as_str().unwrap_or_default();
        if !matches!(state, "completed" | "failed" | "aborted" | "interrupted")
            || turn["ended_at"].is_null()
        {
            return Err(format!("an open turn: {turn}"));
        }
        if prompt.turn.as_deref().is_some_and(|t| turn["id"] != t) {
            return Err(format!("{id} has another turn: {turn}"));
        }
        match &prompt.ended {
            Some(before) if before != state => {
                return Err(format!("{id} had ended as {before}, now {state}"));
            }
            _ => prompt.ended = Some(state.to_owned()),
        }
        prompt.acknowledged = true;
    }
    Ok(())
}

/// Processes that work in the project without belonging to `server`, after they had time to
/// end.
pub(super) async fn orphans_after_patience(home: &Home, server: Option<u32>) -> BTreeSet<u32> {
    let end = Instant::now() + PROCESS_END;
    loop {
        let left = home.orphans(server);
        if left.is_empty() || Instant::now() > end {
            return left;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::{Note, Prompt};
    use super::*;

    fn entry() -> Entry {
        let mut ledger = Ledger::default();
        ledger.add("ses_1".into(), 0, "t".into());
        ledger.sessions.remove("ses_1").unwrap()
    }

    fn user(id: &str, text: &str) -> Value {
        json!({"info": {"id": id, "role": "user"}, "parts": [{"type": "text", "text": text}]})
    }

    fn note(id: &str, present: Option<bool>) -> Note {
        Note {
            id: id.into(),
            text: format!("text of {id}"),
            by: 0,
            present,
        }
    }

    #[test]
    fn a_lost_halved_returned_moved_or_foreign_note_is_seen() {
        let check = |notes_: Vec<Note>, messages: &[Value]| {
            let mut entry = entry();
            entry.notes = notes_;
            notes(&mut entry, messages)
        };
        let (a, b) = (user("a", "text of a"), user("b", "text of b"));
        let sure = || vec![note("a", Some(true)), note("b", Some(true))];
        assert_eq!(check(sure(), &[a.clone(), b.clone()]), Ok(()));
        assert!(check(sure(), std::slice::from_ref(&a)).is_err());
        assert!(check(sure(), &[b.clone(), a.clone()]).is_err());
        assert!(check(sure(), &[user("a", "text"), b.clone()]).is_err());
        assert!(check(vec![note("a", Some(true))], &[a.clone(), b]).is_err());
        assert!(check(vec![note("a", Some(false))], std::slice::from_ref(&a)).is_err());
        assert_eq!(check(vec![note("a", None)], &[a]), Ok(()));
        assert_eq!(check(vec![note("a", None)], &[]), Ok(()));
    }

    #[test]
    fn open_parts_and_messages_are_seen() {
        let message = |completed: Value, part: Value| {
            json!({"info": {"id": "m", "role": "assistant", "time": {"completed": completed}},
                "parts": [part]})
        };
        let done = json!({"type": "tool", "state": {"status": "completed"}});
        assert_eq!(closed(&[message(json!(1), done.clone())]), Ok(()));
        assert!(closed(&[message(Value::Null, done)]).is_err());
        let running = json!({"type": "tool", "state": {"status": "running"}});
        assert!(closed(&[message(json!(1), running)]).is_err());
        let text = json!({"type": "text", "text": "half", "time": {"start": 1}});
        assert!(closed(&[message(json!(1), text)]).is_err());
    }

    #[test]
    fn turns_that_are_missing_doubled_open_or_changed_are_seen() {
        let turn = |id: &str, state: &str| {
            json!({"id": id, "user_message_id": "p", "state": state,
                "ended_at": if state == "running" { Value::Null } else { json!(1) }})
        };
        let check = |ended: Option<&str>, turns: &[Value]| {
            let mut entry = entry();
            let prompt = Prompt {
                text: "x".into(),
                acknowledged: true,
                turn: Some("t".into()),
                ended: ended.map(str::to_owned),
            };
            entry.prompts.insert("p".into(), prompt);
            prompts(&mut entry, &[user("p", "x")], turns)
        };
        assert_eq!(check(None, &[turn("t", "completed")]), Ok(()));
        assert!(check(None, &[]).is_err());
        assert!(check(None, &[turn("t", "completed"), turn("u", "failed")]).is_err());
        assert!(check(None, &[turn("t", "running")]).is_err());
        assert!(check(None, &[turn("u", "completed")]).is_err());
        assert!(check(Some("completed"), &[turn("t", "interrupted")]).is_err());
    }

    #[test]
    fn an_event_that_comes_twice_is_seen() {
        let mut seen = Seen::default();
        let event = json!({"seq": 1, "session_seq": 1, "session_id": "s"});
        assert_eq!(seen.note(&event), Ok(()));
        assert!(seen.note(&event).is_err());
    }
}
