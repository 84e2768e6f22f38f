//! The SSE streams.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream, StreamExt as _};
use sessiond_engine::{Frame, Notice, NoticeBody, SubscribeOptions, Subscription, View};
use sessiond_model::{DiffSummary, EventBody, Revert, Seq, Session, SessionId, Timestamp};
use sessiond_store::Scope;
use tokio_stream::wrappers::IntervalStream;

use super::map::{self, Origin};
use super::notice;
use crate::error::ApiError;
use crate::state::App;

/// Time between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Sessions whose changes a reader remembers; then it forgets all, and is told once too often.
const REMEMBERED: usize = 1024;

/// The two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Surface {
    /// `/event`: one directory, plain.
    Directory,
    /// `/global/event`: everything, in an envelope.
    Global,
}

impl Surface {
    fn view(self) -> View {
        match self {
            Self::Directory => View::OpenCode,
            Self::Global => View::OpenCodeGlobal,
        }
    }
}

/// Where a reconnecting client was.
enum Resume {
    /// It is new.
    Fresh,
    /// After this event.
    After(Seq),
    /// At a position that is none of ours.
    Lost,
}

impl Resume {
    fn of(headers: &HeaderMap) -> Self {
        match headers
            .get("last-event-id")
            .map(|v| v.to_str().unwrap_or("?"))
        {
            None | Some("") => Self::Fresh,
            Some(text) => text.parse().map_or(Self::Lost, |seq| Self::After(Seq(seq))),
        }
    }
}

/// Answers with the stream of a scope.
pub(crate) async fn stream(
    app: &App,
    surface: Surface,
    scope: Scope,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let now = app.engine.clock().now();
    let fresh = SubscribeOptions {
        notices: true,
        scope: scope.clone(),
        after: None,
        pending: true,
        // `opencode run` on `/event` ends at the first idle status it sees, so a fresh stream
        // of a directory tells none; the TUI on `/global/event` never asks for what it missed.
        changed_since: (surface == Surface::Global).then(|| catch_up(app, now)),
    };
    let options = match Resume::of(headers) {
        Resume::Fresh => fresh,
        Resume::After(seq) => SubscribeOptions {
            after: Some(seq),
            ..fresh
        },
        Resume::Lost => told_again(app, scope.clone()),
    };
    let subscription = app.engine.subscribe(options).await?;
    Ok(respond(Reader {
        app: app.clone(),
        surface,
        scope,
        subscription,
        opened: now,
        local: 0,
        seen: HashMap::new(),
    }))
}

fn catch_up(app: &App, now: Timestamp) -> Timestamp {
    let window = i64::try_from(app.engine.config().catch_up.as_millis()).unwrap_or(i64::MAX);
    now.plus_millis(-window)
}

/// A subscription that tells again all that changed lately.
fn told_again(app: &App, scope: Scope) -> SubscribeOptions {
    SubscribeOptions {
        notices: true,
        scope,
        after: None,
        pending: true,
        changed_since: Some(catch_up(app, app.engine.clock().now())),
    }
}

fn respond(reader: Reader) -> Response {
    let (surface, opened) = (reader.surface, reader.opened);
    let position = Some(reader.subscription.cursor());
    let connected = map::server(surface, "server.connected", (opened, 0), position);
    let body = stream::once(async move { Ok(Bytes::from(connected)) })
        .chain(stream::select(reader.frames(), heartbeats(surface, opened)));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let mut response = (headers, Body::from_stream(body)).into_response();
    response.headers_mut().insert(
        "x-accel-buffering",
        axum::http::HeaderValue::from_static("no"),
    );
    response
}

fn heartbeats(surface: Surface, opened: Timestamp) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let start = tokio::time::Instant::now() + HEARTBEAT;
    let mut ticks = tokio::time::interval_at(start, HEARTBEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    IntervalStream::new(ticks).enumerate().map(move |(i, _)| {
        let n = (opened, 1 + i as u64);
        Ok(map::server(surface, "server.heartbeat", n, None).into())
    })
}

/// One connection's reader of the event order.
struct Reader {
    app: App,
    surface: Surface,
    scope: Scope,
    subscription: Subscription,
    opened: Timestamp,
    /// Frames so far that have no position.
    local: u64,
    /// What the changes depended on of the sessions that were told again.
    seen: HashMap<SessionId, (Option<DiffSummary>, Option<Revert>)>,
}

impl Reader {
    /// The frames; ends with an error, never cleanly: a client that sees a clean end takes
    /// the stream for finished and does not come back.
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

    /// The next bytes; waits while nothing happens.
    async fn next(&mut self) -> io::Result<Bytes> {
        loop {
            let frame = self.subscription.next().await.map_err(io::Error::other)?;
            let Some(frame) = frame else {
                return Err(io::Error::other("the engine has stopped"));
            };
            let bytes = self.render(frame).await?;
            if !bytes.is_empty() {
                return Ok(bytes);
            }
        }
    }

    async fn render(&mut self, frame: Frame) -> io::Result<Bytes> {
        let surface = self.surface;
        Ok(match frame {
            Frame::Live(item) => item.rendered(surface.view(), |s| map::signal(surface, s).into()),
            Frame::Replayed(e) => {
                let mut frames = map::event(surface, Origin::Durable, &e);
                if let EventBody::SessionUpdated(session) = &e.body
                    && self.is_other(session)
                {
                    frames.extend(self.changes(session).await);
                }
                frames.into()
            }
            Frame::State(e) => {
                let origin = Origin::Local {
                    at: self.opened,
                    n: self.local,
                };
                self.local += 1;
                let mut frames = map::event(surface, origin, &e);
                if let EventBody::SessionUpdated(session) = &e.body {
                    frames.extend(self.changes(session).await);
                }
                frames.into()
            }
            Frame::Resync(_) => {
                let options = told_again(&self.app, self.scope.clone());
                let again = self.app.engine.subscribe(options).await;
                self.subscription = again.map_err(io::Error::other)?;
                Bytes::new()
            }
        })
    }

    /// Whether the changes of a session are others than when this reader was last told of it.
    fn is_other(&mut self, session: &Session) -> bool {
        let now = (session.summary.clone(), session.revert.clone());
        let is_nothing = now == (None, None);
        if self.seen.len() >= REMEMBERED {
            self.seen.clear();
        }
        let before = self.seen.insert(session.id.clone(), now.clone());
        before.map_or(!is_nothing, |before| before != now)
    }

    /// What a session changed, as it is told after a turn: nobody asks for it again.
    async fn changes(&mut self, session: &Session) -> Vec<u8> {
        match self.app.engine.changes_now(session).await {
            Ok(diff) => {
                let notice = Notice {
                    session_id: Some(session.id.clone()),
                    directory: Some(session.directory.as_str().into()),
                    project_id: Some(session.project_id.clone()),
                    at: self.opened,
                    number: self.local,
                    body: NoticeBody::DiffChanged(diff),
                };
                self.local += 1;
                notice::frame(self.surface, &notice)
            }
            Err(e) => {
                tracing::warn!(session = %session.id, error = %e, "the changes can't be read");
                Vec::new()
            }
        }
    }
}
