//! Many subscribers of the event stream: what reaches them, when, and what they cost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::lane::Lane;
use super::{Bench, Case};
use crate::error::{BenchError, Result};
use crate::http::{Connection, Endpoint};
use crate::load::{micros, quantile_ms};
use crate::report::{Bound, Check, Row};
use crate::server::Who;

const EVERY: Duration = Duration::from_millis(20);
/// In the title of each change, followed by its number.
const MARK: &[u8] = b"\"fanout-";
/// How long the last event may take before it counts as missed.
const GRACE: Duration = Duration::from_secs(10);
/// How often a reader that gets nothing looks up.
const GLANCE: Duration = Duration::from_millis(500);
/// How long memory may take to come back.
const SETTLE: Duration = Duration::from_secs(10);

/// What one server did.
struct Outcome {
    missed: u64,
    /// Microseconds, sorted.
    delays: Vec<u32>,
    /// Until all had connected and got what is sent at the start of a stream.
    burst: Duration,
    before: f64,
    with: f64,
    after: f64,
}

impl Bench {
    pub(super) async fn fanout(&mut self, lanes: &[Lane]) -> Result<()> {
        let (fanout, memory) = (
            self.options.wants(Case::Fanout),
            self.options.wants(Case::Memory),
        );
        if !fanout && !memory {
            return Ok(());
        }
        let subscribers = self.options.subscribers;
        let seconds = if self.options.full { 20 } else { 5 };
        let mut row = Row::new(format!("{subscribers} subscribers, 50 events/s"));
        let mut resident = Row::new(format!("resident memory, {subscribers} subscribers"));
        let (mut ours, mut theirs) = (None, None);
        for lane in lanes.iter().filter(|lane| lane.server.who != Who::OpenCode) {
            let who = lane.server.who;
            let out = measure(lane, subscribers, seconds * 50).await?;
            row = row
                .value(who, "ms p50", quantile_ms(&out.delays, 0.5))
                .value(who, "ms p99", quantile_ms(&out.delays, 0.99))
                .value(who, "missed", out.missed as f64)
                .value(who, "s to connect", out.burst.as_secs_f64());
            resident = resident
                .value(who, "MiB before", out.before)
                .value(who, "MiB with", out.with)
                .value(who, "MiB after", out.after);
            match who {
                Who::Sessiond => ours = Some(out),
                _ => theirs = Some(out),
            }
        }
        let Some(ours) = ours else { return Ok(()) };
        row = row.check(Check::new(
            "missed",
            ours.missed as f64,
            "",
            Bound::AtMost(0.0),
        ));
        if let Some(theirs) = theirs {
            let p99 = quantile_ms(&ours.delays, 0.99);
            let bound = Bound::AtMost(quantile_ms(&theirs.delays, 0.99));
            row = row.check(Check::new("p99, sandbox-agent's p99", p99, " ms", bound));
        }
        resident = resident
            .check(Check::new(
                "more",
                ours.with - ours.before,
                " MiB",
                Bound::AtMost(48.0),
            ))
            .check(Check::new(
                "kept",
                ours.after - ours.before,
                " MiB",
                Bound::AtMost(8.0),
            ));
        if fanout {
            self.push(row);
        }
        if memory {
            self.push(resident);
        }
        Ok(())
    }
}

async fn measure(lane: &Lane, subscribers: usize, events: usize) -> Result<Outcome> {
    let (server, endpoint) = (&lane.server, &lane.server.endpoint);
    let before = server.resident_mib()?;
    let epoch = Instant::now();
    // When each change was sent, in microseconds since `epoch`.
    let sent: Arc<Vec<AtomicU64>> = Arc::new((0..events).map(|_| AtomicU64::new(0)).collect());
    let over = Arc::new(AtomicBool::new(false));
    // Lines that reached any subscriber.
    let lines = Arc::new(AtomicU64::new(0));
    let mut readers = JoinSet::new();
    let mut request = Vec::new();
    endpoint.write("GET", "/event", None, &mut request);
    let began = Instant::now();
    for _ in 0..subscribers {
        let stream = Connection::open(endpoint.addr)
            .await?
            .subscribe(&request)
            .await?;
        let (mut stream, sent, over) = (stream, Arc::clone(&sent), Arc::clone(&over));
        let lines = Arc::clone(&lines);
        readers.spawn(async move {
            let mut delays: Vec<Option<u32>> = vec![None; sent.len()];
            let mut seen = 0;
            while seen < sent.len() && !over.load(Ordering::Relaxed) {
                let read = stream.lines(|line| {
                    lines.fetch_add(1, Ordering::Relaxed);
                    let Some(n) = number_in(line) else { return };
                    if let Some(delay @ None) = delays.get_mut(n) {
                        let at = Duration::from_micros(sent[n].load(Ordering::Relaxed));
                        *delay = Some(micros(epoch.elapsed().saturating_sub(at)));
                        seen += 1;
                    }
                });
                // Nothing more may come to a subscriber that missed the last event.
                if let Ok(read) = tokio::time::timeout(GLANCE, read).await {
                    read?;
                }
            }
            Result::Ok((stream, delays))
        });
    }
    quiet(&lines).await;
    let burst = began.elapsed();
    send(lane, endpoint, &sent, epoch).await?;
    let (mut open, mut delays, mut missed) = (Vec::new(), Vec::new(), 0);
    let timer = tokio::spawn(async move {
        tokio::time::sleep(GRACE).await;
        over.store(true, Ordering::Relaxed);
    });
    while let Some(reader) = readers.join_next().await {
        let (stream, seen) = reader??;
        open.push(stream);
        missed += seen.iter().filter(|delay| delay.is_none()).count() as u64;
        delays.extend(seen.into_iter().flatten());
    }
    timer.abort();
    let with = server.resident_mib()?;
    drop(open);
    let mut after = server.resident_mib()?;
    let deadline = Instant::now() + SETTLE;
    while after > before + 1.0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(250)).await;
        // Allocators give memory back when they are called, as they are in any use.
        endpoint.ask("GET", "/session?limit=1", None).await?;
        after = after.min(server.resident_mib()?);
    }
    delays.sort_unstable();
    Ok(Outcome {
        missed,
        delays,
        burst,
        before,
        with,
        after,
    })
}

/// Waits until nothing more reaches the subscribers: what they get at the start of a stream
/// must not count as delay of what comes later.
pub(crate) async fn quiet(lines: &AtomicU64) {
    let mut before = 0;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let now = lines.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
    }
}

/// Changes a title every 20 ms, whatever the answers take.
async fn send(lane: &Lane, endpoint: &Endpoint, sent: &[AtomicU64], epoch: Instant) -> Result<()> {
    let id = lane
        .sessions
        .first()
        .ok_or_else(|| BenchError::Task("no session".into()))?;
    let mut connection = Connection::open(endpoint.addr).await?;
    let mut ticks = tokio::time::interval(EVERY);
    for (n, sent) in sent.iter().enumerate() {
        ticks.tick().await;
        let mut request = Vec::new();
        let body = format!(r#"{{"title":"fanout-{n}"}}"#);
        endpoint.write(
            "PATCH",
            &format!("/session/{id}"),
            Some(&body),
            &mut request,
        );
        sent.store(u64::from(micros(epoch.elapsed())), Ordering::Relaxed);
        connection.ask(&request).await?;
    }
    Ok(())
}

/// The number in the title of a change that an event line is about.
pub(crate) fn number_in(line: &[u8]) -> Option<usize> {
    let at = line.windows(MARK.len()).position(|w| w == MARK)? + MARK.len();
    let digits = line[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    std::str::from_utf8(&line[at..at + digits])
        .ok()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_number_of_a_change() {
        let line =
            br#"data: {"type":"session.updated","properties":{"info":{"title":"fanout-217"}}}"#;
        assert_eq!(number_in(line), Some(217));
        assert_eq!(number_in(b"data: {}"), None);
    }
}
