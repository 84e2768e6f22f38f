//! One server, what was put into it, and measuring several of them in turns.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::bare::Writer;
use crate::error::{BenchError, Result};
use crate::http::Endpoint;
use crate::load::{self, Answers, Call, Requests, Sample, Until, quantile_ms};
use crate::report::Row;
use crate::server::{Server, Who};

/// Bytes of text in a message.
pub(crate) const TEXT: usize = 1024;

/// A server with its sessions.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) server: Server,
    pub(crate) sessions: Arc<Vec<String>>,
    /// A session with many messages.
    pub(crate) long: Arc<str>,
}

impl Lane {
    pub(crate) fn new(server: Server) -> Self {
        Self {
            server,
            sessions: Arc::default(),
            long: "".into(),
        }
    }

    /// Creates sessions until there are `count`.
    pub(crate) async fn seed(&mut self, count: u64) -> Result<()> {
        let ids = Arc::new(Mutex::new(Vec::new()));
        let answers: Answers = {
            let ids = Arc::clone(&ids);
            Arc::new(move |body| {
                ids.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(id_of(body)?);
                Ok(())
            })
        };
        let more = count.saturating_sub(self.sessions.len() as u64);
        load::run(
            &self.server.endpoint,
            16,
            Until::Count(more),
            &create(),
            Some(&answers),
        )
        .await?;
        let mut ids = std::mem::take(&mut *ids.lock().unwrap_or_else(PoisonError::into_inner));
        ids.extend_from_slice(&self.sessions);
        self.sessions = Arc::new(ids);
        Ok(())
    }

    /// Makes a session with so many messages.
    pub(crate) async fn lengthen(&mut self, messages: u64) -> Result<()> {
        let body = json!({"title": "long"}).to_string();
        let answer = self
            .server
            .endpoint
            .ask("POST", "/session", Some(&body))
            .await?;
        self.long = id_of(&answer)?.into();
        let requests = append(&Arc::new(vec![self.long.to_string()]));
        load::run(
            &self.server.endpoint,
            4,
            Until::Count(messages),
            &requests,
            None,
        )
        .await?;
        Ok(())
    }
}

fn id_of(body: &[u8]) -> Result<String> {
    let session: Value = serde_json::from_slice(body).unwrap_or_default();
    session["id"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| BenchError::Shape {
            request: "POST /session".into(),
            missing: "id",
            body: String::from_utf8_lossy(body).into_owned(),
        })
}

pub(crate) fn create() -> Requests {
    let body = json!({"title": "A session of the bench"}).to_string();
    Arc::new(move |_, endpoint: &Endpoint, out: &mut Vec<u8>| {
        endpoint.write("POST", "/session", Some(&body), out);
    })
}

pub(crate) fn get(sessions: &Arc<Vec<String>>) -> Requests {
    let sessions = Arc::clone(sessions);
    Arc::new(move |call: Call, endpoint: &Endpoint, out: &mut Vec<u8>| {
        // Far apart, and each once before one comes again.
        let index = call.n.wrapping_mul(7_919) as usize % sessions.len();
        endpoint.write("GET", &format!("/session/{}", sessions[index]), None, out);
    })
}

pub(crate) fn patch(sessions: &Arc<Vec<String>>) -> Requests {
    let sessions = Arc::clone(sessions);
    Arc::new(move |call: Call, endpoint: &Endpoint, out: &mut Vec<u8>| {
        let id = &sessions[call.connection % sessions.len()];
        let body = format!(r#"{{"title":"Title {}"}}"#, call.n);
        endpoint.write("PATCH", &format!("/session/{id}"), Some(&body), out);
    })
}

/// Every connection appends to a session of its own.
pub(crate) fn append(sessions: &Arc<Vec<String>>) -> Requests {
    let sessions = Arc::clone(sessions);
    let text = "0123456789abcdef".repeat(TEXT / 16);
    let body = json!({"noReply": true, "parts": [{"type": "text", "text": text}]}).to_string();
    Arc::new(move |call: Call, endpoint: &Endpoint, out: &mut Vec<u8>| {
        let id = &sessions[call.connection % sessions.len()];
        endpoint.write("POST", &format!("/session/{id}/message"), Some(&body), out);
    })
}

pub(crate) fn read(path: String) -> Requests {
    Arc::new(move |_, endpoint: &Endpoint, out: &mut Vec<u8>| {
        endpoint.write("GET", &path, None, out);
    })
}

/// Something that can be put under load.
pub(crate) enum Subject<'a> {
    Server(&'a Server, Requests),
    Writer(&'a Writer),
}

/// What one subject did in all rounds.
#[derive(Debug, Default)]
pub(crate) struct Series {
    pub(crate) rates: Vec<f64>,
    /// Microseconds, sorted.
    latencies: Vec<u32>,
    cpu: Duration,
    commits: Option<f64>,
}

impl Series {
    pub(crate) fn p50(&self) -> f64 {
        quantile_ms(&self.latencies, 0.5)
    }

    pub(crate) fn p99(&self) -> f64 {
        quantile_ms(&self.latencies, 0.99)
    }

    /// Rate of this against the other: the middle one of the rounds, as a disturbance of the
    /// machine hits both servers of a round or spoils one round only.
    pub(crate) fn ratio(&self, other: &Self) -> f64 {
        median(
            self.rates
                .iter()
                .zip(&other.rates)
                .map(|(own, other)| own / other)
                .collect(),
        )
    }

    /// Adds the values of a server to a row.
    pub(crate) fn values(&self, row: Row, who: Who) -> Row {
        row.value(who, "req/s", median(self.rates.clone()))
            .value(who, "ms p50", self.p50())
            .value(who, "ms p99", self.p99())
    }

    /// What was counted at the server.
    pub(crate) fn note(&self) -> String {
        let requests = self.latencies.len() as f64;
        let cpu = self.cpu.as_secs_f64() * 1e6 / requests;
        let share = self.cpu.as_secs_f64() * self.rates.iter().sum::<f64>()
            / (self.rates.len() as f64 * requests);
        let mut note =
            format!("{cpu:.0} µs of processor time per request, {share:.2} processors in use");
        if let Some(commits) = self.commits.filter(|commits| *commits > 0.0) {
            note.push_str(&format!(", {:.2} commits per request", commits / requests));
        }
        note
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Loads the subjects in turns, `rounds` times, after a short round to warm up.
pub(crate) async fn in_turns(
    subjects: &[Subject<'_>],
    connections: usize,
    rounds: usize,
    slice: Duration,
) -> Result<Vec<Series>> {
    for subject in subjects {
        load(subject, connections, slice / 4, 1).await?;
    }
    let mut all: Vec<Series> = subjects.iter().map(|_| Series::default()).collect();
    for _ in 0..rounds {
        for (subject, series) in subjects.iter().zip(&mut all) {
            let before = counts(subject).await;
            let sample = load(subject, connections, slice, 3).await?;
            let after = counts(subject).await;
            series.rates.push(sample.per_second());
            series.latencies.extend(sample.latencies);
            series.cpu += after.0.saturating_sub(before.0);
            if let (Some(after), Some(before)) = (after.1, before.1) {
                *series.commits.get_or_insert_default() += after - before;
            }
        }
    }
    for series in &mut all {
        series.latencies.sort_unstable();
    }
    Ok(all)
}

async fn load(
    subject: &Subject<'_>,
    connections: usize,
    time: Duration,
    least: u64,
) -> Result<Sample> {
    match subject {
        Subject::Server(server, requests) => {
            let until = Until::Elapsed { time, least };
            load::run(&server.endpoint, connections, until, requests, None).await
        }
        Subject::Writer(writer) => writer.load(connections, time).await,
    }
}

async fn counts(subject: &Subject<'_>) -> (Duration, Option<f64>) {
    match subject {
        Subject::Server(server, _) => (server.cpu(), server.commits().await),
        Subject::Writer(_) => (Duration::ZERO, None),
    }
}
