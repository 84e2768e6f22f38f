//! The load driver: so many connections, each with one request on its way at any time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::error::Result;
use crate::http::{Connection, Endpoint};

/// Writes the `n`-th request of a connection.
pub(crate) type Requests = Arc<dyn Fn(Call, &Endpoint, &mut Vec<u8>) + Send + Sync>;
/// Sees the body of every answer.
pub(crate) type Answers = Arc<dyn Fn(&[u8]) -> Result<()> + Send + Sync>;

/// Which request is to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) connection: usize,
    /// Counted over all connections.
    pub(crate) n: u64,
}

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Until {
    /// After this time, and not before every connection had so many answers: the median of a
    /// slow server would else be that of a handful of requests.
    Elapsed {
        time: Duration,
        least: u64,
    },
    Count(u64),
}

/// What a load brought.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) elapsed: Duration,
    /// Microseconds, in no order.
    pub(crate) latencies: Vec<u32>,
}

impl Sample {
    pub(crate) fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }
}

/// The value below which `share` of the sorted values lie, in milliseconds.
pub(crate) fn quantile_ms(sorted: &[u32], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let index = ((sorted.len() as f64 * share).ceil() as usize)
        .saturating_sub(1)
        .min(last);
    sorted
        .get(index)
        .map_or(f64::NAN, |us| f64::from(*us) / 1000.0)
}

/// Puts load on a server.
pub(crate) async fn run(
    endpoint: &Endpoint,
    connections: usize,
    until: Until,
    requests: &Requests,
    answers: Option<&Answers>,
) -> Result<Sample> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(endpoint.addr).await?);
    }
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for (index, mut connection) in open.into_iter().enumerate() {
        let (endpoint, requests) = (endpoint.clone(), Arc::clone(requests));
        let (answers, next) = (answers.cloned(), Arc::clone(&next));
        tasks.spawn(async move {
            let (mut latencies, mut request) = (Vec::new(), Vec::new());
            let mut before = Instant::now();
            for own in 0.. {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let ended = match until {
                    Until::Count(count) => n >= count,
                    Until::Elapsed { time, least } => {
                        own >= least && before.duration_since(start) >= time
                    }
                };
                if ended {
                    break;
                }
                request.clear();
                requests(
                    Call {
                        connection: index,
                        n,
                    },
                    &endpoint,
                    &mut request,
                );
                connection.ask(&request).await?;
                if let Some(answers) = &answers {
                    answers(&connection.body)?;
                }
                let now = Instant::now();
                latencies.push(micros(now.duration_since(before)));
                before = now;
            }
            Result::Ok(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(task) = tasks.join_next().await {
        latencies.append(&mut task??);
    }
    Ok(Sample {
        elapsed: start.elapsed(),
        latencies,
    })
}

pub(crate) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let hundred: Vec<u32> = (1..=100).map(|n| n * 1000).collect();
        assert_eq!(quantile_ms(&hundred, 0.5), 50.0);
        assert_eq!(quantile_ms(&hundred, 0.99), 99.0);
        assert_eq!(quantile_ms(&[7000], 0.99), 7.0);
        assert!(quantile_ms(&[], 0.5).is_nan());
    }
}
