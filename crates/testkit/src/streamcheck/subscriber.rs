//! One subscriber.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use parking_lot::Mutex;
use rand::RngExt;
use rand::rngs::StdRng;

use super::THE_END;
use super::fold::{Fold, Surface};
use crate::http::Client;
use crate::killloop::verify::json_of;
use crate::sse::Parser;

/// What all subscribers are told.
#[derive(Debug)]
pub(super) struct Shared {
    /// The server that runs now.
    pub(super) client: Client,
    /// Once nothing happens any more: until when all must have been seen.
    pub(super) ending: Option<Instant>,
}

impl Shared {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            ending: None,
        }
    }
}

/// A subscriber and what it knows.
pub(super) struct Subscriber {
    surface: Surface,
    slow: bool,
    shared: Arc<Mutex<Shared>>,
    rng: StdRng,
    fold: Fold,
    last_id: Option<String>,
    /// Numbers of the durable events, on the surface that shows them.
    seqs: BTreeSet<u64>,
    pub(super) frames: u64,
    pub(super) connections: u64,
}

impl Subscriber {
    pub(super) fn new(
        surface: Surface,
        slow: bool,
        shared: Arc<Mutex<Shared>>,
        rng: StdRng,
    ) -> Self {
        Self {
            surface,
            slow,
            shared,
            rng,
            fold: Fold::new(surface),
            last_id: None,
            seqs: BTreeSet::new(),
            frames: 0,
            connections: 0,
        }
    }

    fn name(&self) -> String {
        let pace = if self.slow { "slow" } else { "quick" };
        format!("{pace} subscriber of {}", self.surface.stream())
    }

    /// Reads until the end has been seen.
    pub(super) async fn run(mut self) -> Result<Self, String> {
        while !self.fold.has_title(THE_END) {
            let ending = self.shared.lock().ending;
            if ending.is_some_and(|end| Instant::now() > end) {
                return Err(format!(
                    "{} did not see the end; its last id is {:?}",
                    self.name(),
                    self.last_id
                ));
            }
            self.connect(ending.is_none())
                .await
                .map_err(|what| format!("{}: {what}", self.name()))?;
        }
        Ok(self)
    }

    /// One connection: it ends when the server does, or is cut after some bytes.
    async fn connect(&mut self, cut: bool) -> Result<(), String> {
        let client = self.shared.lock().client.clone();
        let mut headers = vec![("accept", "text/event-stream")];
        let last = self.last_id.clone();
        if let Some(id) = &last {
            headers.push(("last-event-id", id));
        }
        let Ok(response) = client.stream(self.surface.stream(), &headers).await else {
            tokio::time::sleep(Duration::from_millis(30)).await;
            return Ok(());
        };
        if response.status() != 200 {
            return Err(format!("the stream was refused: {}", response.status()));
        }
        self.connections += 1;
        self.fold.connected(self.last_id.as_deref());
        let mut left = if cut {
            self.rng.random_range(100..200_000)
        } else {
            usize::MAX
        };
        let mut body = response.into_body();
        let mut parser = Parser::default();
        loop {
            // A stream without a word would hide that the end was reached elsewhere.
            let next = tokio::time::timeout(Duration::from_secs(2), body.frame()).await;
            let Ok(next) = next else { return Ok(()) };
            let Some(Ok(frame)) = next else { return Ok(()) };
            let Some(bytes) = frame.data_ref() else {
                continue;
            };
            let part = &bytes[..bytes.len().min(left)];
            left -= part.len();
            for frame in parser.push(part)? {
                self.frames += 1;
                self.number(&frame.data)?;
                self.fold.take(&frame.data)?;
                if frame.id.is_some() {
                    self.last_id = frame.id;
                }
            }
            if left == 0 || self.fold.has_title(THE_END) {
                return Ok(());
            }
            if self.slow && cut {
                let pause = self.rng.random_range(0..40);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
    }

    /// No number comes twice, and none comes after a higher one.
    fn number(&mut self, event: &serde_json::Value) -> Result<(), String> {
        if event["type"] == "resync" {
            return Err(format!("told to start anew: {event}"));
        }
        let Some(seq) = event["seq"].as_u64() else {
            return Ok(());
        };
        if let Some(last) = self.seqs.last()
            && *last >= seq
        {
            return Err(format!("event {seq} came after {last}"));
        }
        self.seqs.insert(seq);
        Ok(())
    }

    /// Holds what was seen against what the API shows.
    pub(super) async fn compare(&self, client: &Client) -> Result<usize, String> {
        let outcome = async {
            if self.surface == Surface::Core {
                self.no_gap(client).await?;
            }
            self.fold.compare(client).await
        };
        outcome
            .await
            .map_err(|what| format!("{}: {what}", self.name()))
    }

    async fn no_gap(&self, client: &Client) -> Result<(), String> {
        let (mut after, mut logged) = (0, BTreeSet::new());
        loop {
            let page = json_of(client, &format!("/v1/events?after={after}&limit=1000")).await?;
            let events = page["events"].as_array().into_iter().flatten();
            logged.extend(events.filter_map(|e| e["seq"].as_u64()));
            after = page["next"].as_u64().ok_or("a page without `next`")?;
            if page["more"] != true {
                break;
            }
        }
        // What came after the end (an agent that goes for lack of work) it need not have seen.
        logged.retain(|seq| self.seqs.last().is_some_and(|last| seq <= last));
        let missing: Vec<_> = logged.difference(&self.seqs).take(5).collect();
        let foreign: Vec<_> = self.seqs.difference(&logged).take(5).collect();
        if missing.is_empty() && foreign.is_empty() {
            return Ok(());
        }
        Err(format!(
            "missed {missing:?} of the log, saw {foreign:?} that it does not have; its last is {:?}",
            self.seqs.last()
        ))
    }
}
