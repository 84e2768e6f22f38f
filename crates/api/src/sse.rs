//! Server-sent events: one subscription of the engine written as a `text/event-stream`.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::Stream;
use futures::stream;
use serde::Serialize;
use sessiond_engine::{Engine, Frame, Signal, Subscription, View};
use sessiond_model::Seq;
use sessiond_store::StoreResult;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_util::sync::{CancellationToken, ReusableBoxFuture};

use crate::dto::{DeltaDto, EventDto, StateDto, StreamNote};

/// What a stream gives; an error ends it with a broken transfer, so that clients reconnect.
type Chunk = Result<Bytes, sessiond_store::StoreError>;

/// The answer that carries a subscription until the client leaves or the server stops.
pub(crate) fn response(
    subscription: Subscription,
    engine: Engine,
    stopping: CancellationToken,
    heartbeat: Duration,
) -> Response {
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, no-transform"),
        ),
        // Proxies that buffer would hold events back.
        (
            header::HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    (
        headers,
        Body::from_stream(chunks(subscription, engine, stopping, heartbeat)),
    )
        .into_response()
}

type Step = (Subscription, StoreResult<Option<Frame>>);

struct Writer {
    /// The subscription, inside the future of its next frame. That future is kept across
    /// heartbeats: dropped halfway it would lose frames.
    next: ReusableBoxFuture<'static, Step>,
    heartbeat: Interval,
    engine: Engine,
    stopping: CancellationToken,
    greeting: Option<Bytes>,
}

async fn step(mut subscription: Subscription) -> Step {
    let frame = subscription.next().await;
    (subscription, frame)
}

fn chunks(
    subscription: Subscription,
    engine: Engine,
    stopping: CancellationToken,
    heartbeat: Duration,
) -> impl Stream<Item = Chunk> + Send + 'static {
    let cursor = subscription.cursor();
    let mut ticks = interval_at(Instant::now() + heartbeat, heartbeat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let writer = Writer {
        next: ReusableBoxFuture::new(step(subscription)),
        heartbeat: ticks,
        engine,
        stopping,
        greeting: Some(message(
            Some(cursor),
            &StreamNote::Connected { cursor: cursor.0 },
        )),
    };
    stream::unfold(writer, |mut writer| async move {
        writer.chunk().await.map(|chunk| (chunk, writer))
    })
}

impl Writer {
    async fn chunk(&mut self) -> Option<Chunk> {
        if let Some(greeting) = self.greeting.take() {
            return Some(Ok(greeting));
        }
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => None,
            _ = self.heartbeat.tick() => Some(Ok(self.alive())),
            (subscription, frame) = &mut self.next => {
                self.next.set(step(subscription));
                frame.transpose().map(|frame| frame.map(|f| render(&f)))
            }
        }
    }

    /// A comment for clients that only watch the connection, and a message for those whose
    /// library hides comments.
    fn alive(&self) -> Bytes {
        let at = self.engine.clock().now().millis();
        let mut out = b": heartbeat\n\n".to_vec();
        out.extend_from_slice(&message(None, &StreamNote::Heartbeat { at }));
        out.into()
    }
}

fn render(frame: &Frame) -> Bytes {
    match frame {
        Frame::Live(item) => item.rendered(View::Core, signal),
        Frame::Replayed(event) => message(Some(event.seq), &EventDto::from(&**event)),
        Frame::State(event) => message(None, &StateDto::from(&**event)),
        Frame::Resync(seq) => message(Some(*seq), &StreamNote::Resync { cursor: seq.0 }),
    }
}

fn signal(signal: &Signal) -> Bytes {
    match signal {
        Signal::Event(event) | Signal::Large(event) => {
            message(Some(event.seq), &EventDto::from(&**event))
        }
        Signal::Delta(delta) => message(None, &DeltaDto::from(delta)),
        // Not subscribed to: all that lasts is told by events.
        Signal::Notice(_) => Bytes::new(),
    }
}

/// One message of the stream; JSON has no line breaks of its own.
fn message(id: Option<Seq>, data: &impl Serialize) -> Bytes {
    let mut out = id.map_or_else(Vec::new, |seq| format!("id: {}\n", seq.0).into_bytes());
    out.extend_from_slice(b"data: ");
    // Our shapes have string keys and finite numbers only: this can't fail half-way.
    if serde_json::to_writer(&mut out, data).is_err() {
        out.extend_from_slice(b"null");
    }
    out.extend_from_slice(b"\n\n");
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_carry_an_id_only_when_they_have_a_position() {
        let note = StreamNote::Resync { cursor: 7 };
        assert_eq!(
            message(Some(Seq(7)), &note),
            "id: 7\ndata: {\"type\":\"resync\",\"data\":{\"cursor\":7}}\n\n"
        );
        let note = StreamNote::Heartbeat { at: 5 };
        assert_eq!(
            message(None, &note),
            "data: {\"type\":\"heartbeat\",\"data\":{\"at\":5}}\n\n"
        );
    }
}
