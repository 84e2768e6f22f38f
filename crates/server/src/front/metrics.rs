//! What `/metrics` tells.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use metrics::{Counter, Key, Label, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::surface::Surface;

static META: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// Status codes with a counter of their own; the others are counted by class.
const CODES: &[u16] = &[
    200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 405, 409, 410, 412, 413, 415, 421, 422, 429,
    431, 500, 501, 503, 504,
];
const CLASSES: [&str; 6] = ["0xx", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Values read when somebody asks, by name.
pub(crate) type Gauges = Vec<(&'static str, f64)>;

/// The numbers of one server. Recorder and registry are its own, not the process's, so that
/// several servers can live in one process; counting is one relaxed addition.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    /// Per surface: one per code, then one per class.
    requests: Vec<Vec<Counter>>,
    pub(crate) commits: Counter,
    pub(crate) events: Counter,
    pub(crate) panics: Counter,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) connections: AtomicUsize,
    started: Instant,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let recorder = PrometheusBuilder::new().build_recorder();
        let counter = |name: &'static str, labels: Vec<Label>| {
            recorder.register_counter(&Key::from_parts(name, labels), &META)
        };
        let statuses = || {
            CODES
                .iter()
                .map(u16::to_string)
                .chain(CLASSES.map(str::to_owned))
        };
        let requests = Surface::ALL
            .iter()
            .map(|surface| {
                statuses()
                    .map(|status| {
                        let labels = vec![
                            Label::new("surface", surface.name()),
                            Label::new("status", status),
                        ];
                        counter("sessiond_http_requests_total", labels)
                    })
                    .collect()
            })
            .collect();
        for (name, text) in HELP {
            recorder.describe_gauge((*name).into(), None, (*text).into());
        }
        for (name, text) in HELP_COUNTERS {
            recorder.describe_counter((*name).into(), None, (*text).into());
        }
        Self {
            requests,
            commits: counter("sessiond_commits_total", Vec::new()),
            events: counter("sessiond_events_total", Vec::new()),
            panics: counter("sessiond_panics_total", Vec::new()),
            in_flight: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            started: Instant::now(),
            handle: recorder.handle(),
            recorder,
        }
    }

    pub(crate) fn count(&self, surface: Surface, status: u16) {
        let slot = CODES
            .binary_search(&status)
            .unwrap_or_else(|_| CODES.len() + usize::from(status / 100).min(CLASSES.len() - 1));
        self.requests[surface as usize][slot].increment(1);
    }

    /// The Prometheus text.
    pub(crate) fn render(&self, gauges: &Gauges) -> String {
        let own = [
            (
                "sessiond_http_requests_in_flight",
                self.in_flight.load(Ordering::Relaxed) as f64,
            ),
            (
                "sessiond_http_connections",
                self.connections.load(Ordering::Relaxed) as f64,
            ),
            (
                "sessiond_uptime_seconds",
                self.started.elapsed().as_secs_f64(),
            ),
        ];
        let resident = resident_bytes().map(|b| ("process_resident_memory_bytes", b as f64));
        for (name, value) in own
            .into_iter()
            .chain(resident)
            .chain(gauges.iter().copied())
        {
            self.recorder
                .register_gauge(&Key::from_static_name(name), &META)
                .set(value);
        }
        self.handle.render()
    }
}

const HELP_COUNTERS: &[(&str, &str)] = &[
    (
        "sessiond_http_requests_total",
        "Requests answered, by surface and status.",
    ),
    ("sessiond_commits_total", "Commits that changed something."),
    ("sessiond_events_total", "Events committed."),
    ("sessiond_panics_total", "Requests that ended in a panic."),
];

const HELP: &[(&str, &str)] = &[
    (
        "sessiond_http_requests_in_flight",
        "Requests at work, waiting prompts and event streams apart.",
    ),
    ("sessiond_http_connections", "Open connections."),
    ("sessiond_uptime_seconds", "Time since the start."),
    ("process_resident_memory_bytes", "Resident memory."),
    (
        "sessiond_sessions",
        "Sessions in the store, the trash included.",
    ),
    (
        "sessiond_sessions_live",
        "Sessions with work to do or just done.",
    ),
    ("sessiond_agents", "Agent processes."),
    ("sessiond_subscribers", "Event streams."),
    ("sessiond_store_bytes", "Bytes of the store on disk."),
    ("sessiond_store_writable", "1 when commits are accepted."),
];

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
        let text = metrics.render(&vec![("sessiond_agents", 3.0)]);
        assert!(
            text.contains(r#"sessiond_http_requests_total{surface="v1",status="200"} 2"#),
            "{text}"
        );
        assert!(
            text.contains(r#"{surface="opencode",status="4xx"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"{surface="root",status="5xx"} 1"#),
            "{text}"
        );
        assert!(text.contains("sessiond_agents 3"), "{text}");
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
    }
}
