//! The streams and the history.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream, StreamExt as _};
use serde_json::{Value, json};
use sessiond_engine::{
    EngineError, Frame, Notice, NoticeBody, Signal, SubscribeOptions, Subscription,
};
use sessiond_model::{
    Event, EventBody, MessageDoc, MessageId, ModelRef, Seq, SessionId, Timestamp,
};
use sessiond_store::{EventQuery, Scope};
use tokio_stream::wrappers::IntervalStream;

use super::mapper::{Mapper, position, told};
use super::told::{Told, passing};
use crate::events::ids;
use crate::state::App;
use crate::v2::error::Error;

/// Time between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Events read from the log at once.
const PAGE: u32 = 256;

fn envelope(id: &str, told: Told, number: Option<(&SessionId, u64)>, at: Option<&str>) -> Value {
    let mut event = json!({"id": id, "type": told.r#type});
    if let Some((session, number)) = number {
        event["durable"] = json!({"aggregateID": session, "seq": number, "version": told.version});
    }
    if let Some(directory) = at {
        event["location"] = json!({"directory": directory});
    }
    event["data"] = told.data;
    event
}

/// The message of an event, and the role of what it answers.
async fn look_up(
    app: &App,
    mapper: &mut Mapper,
    event: &Event,
) -> Result<Option<MessageDoc>, EngineError> {
    let Some(id) = mapper.wants(event) else {
        return Ok(None);
    };
    let Some(doc) = find(app, &event.session_id, id).await? else {
        return Ok(None);
    };
    if let Some(parent) = mapper.wants_parent(&doc)
        && let Some(parent) = find(app, &event.session_id, &parent).await?
    {
        mapper.learn(&parent);
    }
    mapper.learn(&doc);
    Ok(Some(doc))
}

async fn find(
    app: &App,
    session: &SessionId,
    id: &MessageId,
) -> Result<Option<MessageDoc>, EngineError> {
    match app.engine.message(session, id).await {
        Ok(doc) => Ok(Some(doc)),
        Err(EngineError::NotFound { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The kept events of a session after a number, at most `limit`, and whether there are more.
pub(crate) async fn history(
    app: &App,
    session: &SessionId,
    after: u64,
    limit: usize,
) -> Result<(Vec<Value>, bool), EngineError> {
    let mut mapper = Mapper::kept(false);
    let mut found = Vec::new();
    let mut from = told(after);
    loop {
        let query = EventQuery {
            after: from,
            until: None,
            scope: Scope::Session(session.clone()),
            limit: PAGE,
        };
        let page = app.engine.events(&query).await?;
        for event in &page.events {
            let doc = look_up(app, &mut mapper, event).await?;
            let all = mapper.event(event, doc.as_ref());
            for (slot, told) in (0..).zip(all).filter(|(_, t)| t.kept) {
                let number = position(event.seq, slot);
                if number <= after {
                    continue;
                }
                if found.len() == limit {
                    return Ok((found, true));
                }
                let id = ids::kept(event.at, number);
                found.push(envelope(&id, told, Some((session, number)), None));
            }
        }
        if !page.more {
            return Ok((found, false));
        }
        from = page.next;
    }
}

/// `/api/event`: everything, from now on or after `Last-Event-ID`.
pub(crate) async fn everything(app: &App, headers: &HeaderMap) -> Result<Response, Error> {
    let given = last_event_id(headers);
    let options = SubscribeOptions {
        scope: Scope::All,
        after: given.map(Seq),
        pending: true,
        changed_since: None,
        notices: true,
    };
    let subscription = app.engine.subscribe(options).await?;
    let opened = app.engine.clock().now();
    let id = ids::server(opened, 0);
    let connected = json!({"id": id, "type": "server.connected", "data": {}});
    let first = frame(Some(subscription.cursor().0), &connected);
    Ok(respond(Reader {
        app: app.clone(),
        mapper: Mapper::everything(given.is_some()),
        subscription,
        after: 0,
        session: None,
        opened,
        local: 0,
        ready: VecDeque::from([first]),
    }))
}

/// `/api/session/{id}/event`: what is kept of a session after a number, then live.
pub(crate) async fn of_session(
    app: &App,
    session: SessionId,
    after: Option<u64>,
    headers: &HeaderMap,
) -> Result<Response, Error> {
    app.engine.session(&session).await?;
    let given = last_event_id(headers).or(after);
    let after = given.unwrap_or(0);
    let options = SubscribeOptions {
        scope: Scope::Session(session.clone()),
        after: Some(told(after)),
        notices: true,
        ..SubscribeOptions::default()
    };
    let subscription = app.engine.subscribe(options).await?;
    Ok(respond(Reader {
        app: app.clone(),
        mapper: Mapper::kept(after > 0),
        subscription,
        after,
        session: Some(session),
        opened: app.engine.clock().now(),
        local: 0,
        ready: VecDeque::new(),
    }))
}

/// What is no number is a position of another server: everything is told from now on.
fn last_event_id(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get("last-event-id")?.to_str().unwrap_or("?");
    (!text.is_empty()).then(|| text.parse().unwrap_or(u64::MAX / 32))
}

fn respond(reader: Reader) -> Response {
    let start = tokio::time::Instant::now() + HEARTBEAT;
    let mut ticks = tokio::time::interval_at(start, HEARTBEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let hearts = IntervalStream::new(ticks).map(|_| Ok(Bytes::from_static(b": heartbeat\n\n")));
    let body = Body::from_stream(stream::select(reader.frames(), hearts));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let mut response = (headers, body).into_response();
    response
        .headers_mut()
        .insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn frame(id: Option<u64>, event: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(id) = id {
        out.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(event.to_string().as_bytes());
    out.extend_from_slice(b"\n\n");
    out
}

/// One connection.
struct Reader {
    app: App,
    mapper: Mapper,
    subscription: Subscription,
    /// Numbers up to this one were told before.
    after: u64,
    /// The one session that is told of; all are when absent.
    session: Option<SessionId>,
    opened: Timestamp,
    /// Frames so far that have no number.
    local: u64,
    ready: VecDeque<Vec<u8>>,
}

impl Reader {
    /// The frames; ends with an error, never cleanly: a client that sees a clean end does not
    /// come back.
    fn frames(self) -> impl Stream<Item = io::Result<Bytes>> + Send {
        stream::unfold(Some(self), |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(bytes) => Some((Ok(bytes), Some(reader))),
                Err(e) => {
                    tracing::warn!(error = %e, "event stream ends");
                    Some((Err(e), None))
                }
            }
        })
    }

    async fn next(&mut self) -> io::Result<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(bytes.into());
            }
            let next = self.subscription.next().await.map_err(io::Error::other)?;
            let Some(next) = next else {
                return Err(io::Error::other("the engine has stopped"));
            };
            match next {
                Frame::Replayed(event) => self.durable(&event).await?,
                Frame::Live(item) => match item.signal() {
                    Signal::Event(event) | Signal::Large(event) => self.durable(event).await?,
                    Signal::Delta(d) if self.session.is_none() => {
                        let at = self.app.engine.clock().now();
                        if let Some(told) = self.mapper.growth(at, d) {
                            let event = envelope(&ids::delta(d), told, None, Some(&d.directory));
                            self.ready.push_back(frame(None, &event));
                        }
                    }
                    Signal::Delta(_) => {}
                    Signal::Notice(n) => {
                        for told in noticed(n, self.session.is_none()) {
                            self.local(told, n.directory.as_deref());
                        }
                    }
                },
                Frame::State(event) if self.session.is_none() => self.state(&event).await?,
                // What goes on is told by what comes of it.
                Frame::State(_) => {}
                // A position from the future is one of another store: from now on.
                Frame::Resync(_) => self.after = 0,
            }
        }
    }

    /// An event of the order.
    async fn durable(&mut self, event: &Event) -> io::Result<()> {
        let doc = look_up(&self.app, &mut self.mapper, event).await;
        let doc = doc.map_err(io::Error::other)?;
        let all = self.mapper.event(event, doc.as_ref());
        let last = all.len();
        for (slot, told) in (0..).zip(all) {
            let number = position(event.seq, slot);
            if number <= self.after {
                continue;
            }
            let id = ids::kept(event.at, number);
            let line = match self.session {
                // Every frame of a session's stream can be gone on after.
                Some(_) => Some(number),
                None => (slot as usize + 1 == last).then_some(event.seq.0),
            };
            let number = told.kept.then_some((&event.session_id, number));
            let told = envelope(&id, told, number, Some(&event.directory));
            self.ready.push_back(frame(line, &told));
        }
        Ok(())
    }

    /// The state of something, told again: without a number.
    async fn state(&mut self, event: &Event) -> io::Result<()> {
        if !matches!(
            event.body,
            EventBody::PartUpdated(_)
                | EventBody::PermissionAsked(_)
                | EventBody::QuestionAsked(_)
                | EventBody::StatusChanged(_)
        ) {
            return Ok(());
        }
        let now = Event {
            at: self.opened,
            ..event.clone()
        };
        let doc = look_up(&self.app, &mut self.mapper, &now).await;
        let doc = doc.map_err(io::Error::other)?;
        for told in self.mapper.event(&now, doc.as_ref()) {
            self.local(told, Some(&event.directory));
        }
        Ok(())
    }

    fn local(&mut self, told: Told, directory: Option<&str>) {
        // The first frame of the stream has number 0.
        self.local += 1;
        let id = ids::local(self.opened, self.local);
        let event = envelope(&id, told, None, directory);
        self.ready.push_back(frame(None, &event));
    }
}

/// A passing word; those that are not of this family are for whoever listens to everything.
fn noticed(n: &Notice, all: bool) -> Vec<Told> {
    if let (NoticeBody::Switched { agent, model }, Some(session)) = (&n.body, &n.session_id) {
        return switched(n, session, agent.as_deref(), model.as_ref());
    }
    let said = crate::events::said(n).filter(|_| all);
    said.map(|(r#type, said)| passing(r#type, json!(said)))
        .into_iter()
        .collect()
}

fn switched(
    n: &Notice,
    session: &SessionId,
    agent: Option<&str>,
    model: Option<&ModelRef>,
) -> Vec<Told> {
    // OpenCode makes a message of it; here its id stands for none.
    let message = ids::notice(n).replacen("evt_", "msg_", 1);
    let about = || json!({"timestamp": n.at, "sessionID": session, "messageID": message});
    let mut told = Vec::new();
    if let Some(agent) = agent {
        let mut data = about();
        data["agent"] = agent.into();
        told.push(passing("session.next.agent.switched", data));
    }
    if let Some(model) = model {
        let mut data = about();
        data["model"] = json!(model);
        told.push(passing("session.next.model.switched", data));
    }
    told
}
