//! What `/metrics` tells.
//!
//! Counters of our own instead of the `metrics` crates: their exporter measures the speed of
//! the processor's clock when it is made, which took longer than the rest of our start.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use super::surface::Surface;

/// Status codes with a counter of their own; the others are counted by class.
const CODES: [u16; 24] = [
    200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 405, 409, 410, 412, 413, 415, 421, 422, 429,
    431, 500, 501, 503, 504,
];
const CLASSES: [&str; 6] = ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx"];
const STATUSES: usize = CODES.len() + CLASSES.len();

/// Values read when somebody asks.
pub(crate) type Gauges = Vec<(Gauge, f64)>;

/// A value that goes up and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gauge {
    name: &'static str,
    help: &'static str,
}

impl Gauge {
    pub(crate) const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help }
    }
}

const IN_FLIGHT: Gauge = Gauge::new(
    "sessiond_http_requests_in_flight",
    "Requests at work, waiting prompts and event streams apart.",
);
const CONNECTIONS: Gauge = Gauge::new("sessiond_http_connections", "Open connections.");
const UPTIME: Gauge = Gauge::new("sessiond_uptime_seconds", "Time since the start.");
const RESIDENT: Gauge = Gauge::new("process_resident_memory_bytes", "Resident memory.");

/// The numbers of one server; counting is one relaxed addition.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Per surface: one per code, then one per class.
    requests: [[AtomicU64; STATUSES]; Surface::ALL.len()],
    pub(crate) commits: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) panics: AtomicU64,
    pub(crate) forwards: AtomicU64,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) connections: AtomicUsize,
    started: Instant,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            requests: [const { [const { AtomicU64::new(0) }; STATUSES] }; Surface::ALL.len()],
            commits: AtomicU64::new(0),
            events: AtomicU64::new(0),
            panics: AtomicU64::new(0),
            forwards: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            started: Instant::now(),
        }
    }

    pub(crate) fn count(&self, surface: Surface, status: u16) {
        let slot = CODES
            .binary_search(&status)
            .unwrap_or_else(|_| CODES.len() + usize::from(status / 100).min(CLASSES.len() - 1));
        self.requests[surface as usize][slot].fetch_add(1, Ordering::Relaxed);
    }

    /// The numbers in the text format of Prometheus.
    pub(crate) fn render(&self, gauges: &Gauges) -> String {
        let mut out = String::with_capacity(4096);
        // Writing to a String cannot fail.
        let _ = self.write(&mut out, gauges);
        out
    }

    fn write(&self, out: &mut String, gauges: &Gauges) -> std::fmt::Result {
        let requests = "sessiond_http_requests_total";
        head(
            out,
            requests,
            "counter",
            "Requests answered, by surface and status.",
        )?;
        for (surface, counts) in Surface::ALL.iter().zip(&self.requests) {
            let statuses = CODES
                .iter()
                .map(u16::to_string)
                .chain(CLASSES.map(str::to_owned));
            for (status, count) in statuses.zip(counts) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let surface = surface.name();
                    writeln!(
                        out,
                        "{requests}{{surface=\"{surface}\",status=\"{status}\"}} {count}"
                    )?;
                }
            }
        }
        let counters = [
            (
                "sessiond_commits_total",
                "Commits that changed something, by any node that shares the store.",
                &self.commits,
            ),
            (
                "sessiond_events_total",
                "Events committed, by any node that shares the store.",
                &self.events,
            ),
            (
                "sessiond_panics_total",
                "Requests that ended in a panic.",
                &self.panics,
            ),
            (
                "sessiond_forwards_total",
                "Requests passed on to the node that has the session.",
                &self.forwards,
            ),
        ];
        for (name, help, count) in counters {
            head(out, name, "counter", help)?;
            writeln!(out, "{name} {}", count.load(Ordering::Relaxed))?;
        }
        let own = [
            (IN_FLIGHT, self.in_flight.load(Ordering::Relaxed) as f64),
            (CONNECTIONS, self.connections.load(Ordering::Relaxed) as f64),
            (UPTIME, self.started.elapsed().as_secs_f64()),
        ];
        let resident = resident_bytes().map(|bytes| (RESIDENT, bytes as f64));
        for (Gauge { name, help }, value) in own
            .into_iter()
            .chain(resident)
            .chain(gauges.iter().copied())
        {
            head(out, name, "gauge", help)?;
            writeln!(out, "{name} {value}")?;
        }
        Ok(())
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

/// Resident memory of this process, where the system tells it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kb| kb * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_by_binary_search() {
        assert!(CODES.is_sorted());
    }

    #[test]
    fn counts_by_surface_and_status() {
        let metrics = Metrics::new();
        metrics.count(Surface::Core, 200);
        metrics.count(Surface::Core, 200);
        metrics.count(Surface::OpenCode, 418);
        metrics.count(Surface::Root, 999);
        let text = metrics.render(&vec![(Gauge::new("sessiond_agents", "Agents."), 3.0)]);
        let has = |line: &str| assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        has(r#"sessiond_http_requests_total{surface="v1",status="200"} 2"#);
        has(r#"sessiond_http_requests_total{surface="opencode",status="4xx"} 1"#);
        has(r#"sessiond_http_requests_total{surface="root",status="5xx"} 1"#);
        has("# TYPE sessiond_http_requests_total counter");
        has("# HELP sessiond_agents Agents.");
        has("sessiond_agents 3");
        assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
    }
}
