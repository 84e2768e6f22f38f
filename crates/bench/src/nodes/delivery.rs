//! How long an event takes to subscribers on other nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::fleet::Fleet;
use crate::cases::fanout::{number_in, quiet};
use crate::error::{BenchError, Result};
use crate::http::{Connection, Endpoint};
use crate::load::micros;

/// Connections that change titles.
const SENDERS: usize = 8;
/// How long the last event may take before it counts as missed.
const GRACE: Duration = Duration::from_secs(10);
/// How often a reader that gets nothing looks up.
const GLANCE: Duration = Duration::from_millis(500);

/// What is measured: changes sent to the first node, each one event, heard elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) events_per_second: u64,
    pub(super) subscribers: usize,
    /// Whether subscribers are on the node that commits, too.
    pub(super) same_node: bool,
    pub(super) length: Duration,
}

/// What a subscriber saw of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Not,
    Replaced,
    /// Microseconds after it was sent.
    After(u32),
}

/// How that went.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// From the request that caused an event to its arrival, microseconds, sorted.
    pub(super) delays: Vec<u32>,
    /// Changes that were replaced by a later one before they were read: a title is told once, as
    /// it is then.
    pub(super) replaced: usize,
    pub(super) missed: usize,
    /// Changes that were answered, each second.
    pub(super) rate: f64,
}

/// When each change was sent, microseconds since the beginning; 0 before that.
type Sent = Arc<Vec<AtomicU64>>;

/// Sends changes at a steady pace to the first node and listens at the others.
pub(super) async fn measure(fleet: &Fleet, plan: Plan) -> Result<Heard> {
    let count = (plan.events_per_second as f64 * plan.length.as_secs_f64()) as usize;
    let sent: Sent = Arc::new((0..count).map(|_| AtomicU64::new(0)).collect());
    let (over, lines) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let epoch = Instant::now();
    let (first, others) = fleet
        .nodes
        .split_first()
        .ok_or_else(|| BenchError::Task("no nodes".into()))?;
    let mut readers = JoinSet::new();
    for n in 0..plan.subscribers {
        let node = match others.get(n % others.len().max(1)) {
            Some(other) if !plan.same_node => other,
            _ => first,
        };
        let mut request = Vec::new();
        node.server
            .endpoint
            .write("GET", "/event", None, &mut request);
        let connection = Connection::open(node.server.endpoint.addr).await?;
        let mut stream = connection.subscribe(&request).await?;
        let (sent, over, lines) = (sent.clone(), over.clone(), lines.clone());
        readers.spawn(async move {
            let mut seen: Vec<Seen> = vec![Seen::Not; sent.len()];
            let mut left = sent.len();
            while left > 0 && !over.load(Ordering::Relaxed) {
                let read = stream.lines(|line| {
                    lines.fetch_add(1, Ordering::Relaxed);
                    let Some(n) = number_in(line).filter(|n| *n < seen.len()) else {
                        return;
                    };
                    // A title of an earlier measurement, told again as a stream begins.
                    let at = sent[n].load(Ordering::Relaxed);
                    if at == 0 || seen[n] != Seen::Not {
                        return;
                    }
                    let delay = epoch.elapsed().saturating_sub(Duration::from_micros(at));
                    seen[n] = Seen::After(micros(delay));
                    left -= 1;
                    for earlier in (n % SENDERS..n).step_by(SENDERS) {
                        if seen[earlier] == Seen::Not {
                            seen[earlier] = Seen::Replaced;
                            left -= 1;
                        }
                    }
                });
                // Nothing more may come to a subscriber that missed the last event.
                if let Ok(read) = tokio::time::timeout(GLANCE, read).await {
                    read?;
                }
            }
            Result::Ok(seen)
        });
    }
    quiet(&lines).await;
    let began = Instant::now();
    let mut senders = JoinSet::new();
    for n in 0..SENDERS {
        let id = first
            .sessions
            .get(n)
            .ok_or_else(|| BenchError::Task("too few sessions".into()))?;
        let pace = Duration::from_secs_f64(SENDERS as f64 / plan.events_per_second as f64);
        let path = format!("/session/{id}");
        senders.spawn(send(
            first.server.endpoint.clone(),
            path,
            n,
            pace,
            sent.clone(),
            epoch,
        ));
    }
    while let Some(sender) = senders.join_next().await {
        sender??;
    }
    let rate = count as f64 / began.elapsed().as_secs_f64();
    let timer = tokio::spawn(async move {
        tokio::time::sleep(GRACE).await;
        over.store(true, Ordering::Relaxed);
    });
    let mut heard = Heard {
        rate,
        ..Heard::default()
    };
    while let Some(reader) = readers.join_next().await {
        for seen in reader?? {
            match seen {
                Seen::Not => heard.missed += 1,
                Seen::Replaced => heard.replaced += 1,
                Seen::After(delay) => heard.delays.push(delay),
            }
        }
    }
    timer.abort();
    heard.delays.sort_unstable();
    Ok(heard)
}

/// Changes one session's title at a steady pace, whatever the answers take.
async fn send(
    endpoint: Endpoint,
    path: String,
    first: usize,
    pace: Duration,
    sent: Sent,
    epoch: Instant,
) -> Result<()> {
    let mut connection = Connection::open(endpoint.addr).await?;
    // Not all at once.
    tokio::time::sleep(pace.mul_f64(first as f64 / SENDERS as f64)).await;
    let mut ticks = tokio::time::interval(pace);
    for n in (first..sent.len()).step_by(SENDERS) {
        ticks.tick().await;
        let mut request = Vec::new();
        let body = format!(r#"{{"title":"fanout-{n}"}}"#);
        endpoint.write("PATCH", &path, Some(&body), &mut request);
        sent[n].store(u64::from(micros(epoch.elapsed())), Ordering::Relaxed);
        connection.ask(&request).await?;
    }
    Ok(())
}
