//! The references: what HTTP and SQLite alone cost on this machine.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use rusqlite::{Connection, params};
use sessiond_store_sql::{Dialect, MIGRATIONS};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::error::{BenchError, Result};
use crate::load::{Sample, micros};

/// As long as a session of sessiond is.
const SESSION: &str = r#"{"id":"ses_dfb2a7d7affefjWjCNApumzSS4","slug":"neon-comet","projectID":"global","directory":"/home/someone/projects/something","path":"projects/something","cost":0,"tokens":{"input":0,"output":0,"reasoning":0,"cache":{"read":0,"write":0}},"title":"A session of the bench","version":"1.18.33","time":{"created":1795377431174,"updated":1795377431654}}"#;

/// Serves a handler of axum that does nothing, until the process is ended.
pub(crate) async fn serve(addr: SocketAddr) -> Result<()> {
    let session = || async { ([(CONTENT_TYPE, "application/json")], SESSION) };
    let router = Router::new().route("/session/{id}", get(session));
    let listener = tokio::net::TcpListener::bind(addr)
        .await
        .map_err(BenchError::io(format!("cannot listen on {addr}")))?;
    axum::serve(listener, router)
        .await
        .map_err(BenchError::io("cannot serve"))
}

/// A loop over rusqlite that writes the rows of an append and nothing else: one writer thread,
/// every job that waits goes into one transaction, which is committed with full sync.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: mpsc::Sender<Job>,
    thread: std::thread::JoinHandle<Result<u64>>,
}

#[derive(Debug)]
struct Job {
    session: usize,
    done: oneshot::Sender<()>,
}

/// Sessions that are written to in turn.
const SESSIONS: usize = 64;

impl Writer {
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(BenchError::file("cannot create", dir))?;
        let db = Connection::open(dir.join("bare.db"))?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "FULL")?;
        db.pragma_update(None, "foreign_keys", "ON")?;
        for step in MIGRATIONS {
            db.execute_batch(&Dialect::SQLITE.render(step.sql))?;
        }
        for n in 0..SESSIONS {
            db.execute(
                "INSERT INTO session (id, slug, project_id, directory, title, version, created_at, \
                 updated_at, status, status_since, cost, tokens, health, revision, epoch, last_seq, \
                 last_position, id_floor, last_message_at, row_seq, status_seq) VALUES \
                 (?1, 'slug', 'global', '/work', 'bench', '1', 0, 0, 'idle', 0, 0, '{}', 'ok', 1, \
                 1, 0, 0, 0, 0, 0, 0)",
                params![format!("ses_{n:026}")],
            )?;
        }
        let (jobs, queue) = mpsc::channel();
        let thread = std::thread::spawn(move || write(&db, &queue));
        Ok(Self { jobs, thread })
    }

    /// So many clients append until the time is over.
    pub(crate) async fn load(&self, clients: usize, time: Duration) -> Result<Sample> {
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for session in 0..clients {
            let jobs = self.jobs.clone();
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                let mut before = Instant::now();
                while before.duration_since(start) < time {
                    let (done, committed) = oneshot::channel();
                    let sent = jobs.send(Job {
                        session: session % SESSIONS,
                        done,
                    });
                    if sent.is_err() || committed.await.is_err() {
                        return Err(BenchError::Task("the writer has ended".into()));
                    }
                    let now = Instant::now();
                    latencies.push(micros(now.duration_since(before)));
                    before = now;
                }
                Ok(latencies)
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

    /// Ends the thread; returns how many transactions it committed.
    pub(crate) fn close(self) -> Result<u64> {
        drop(self.jobs);
        self.thread
            .join()
            .unwrap_or_else(|_| Err(BenchError::Task("the writer has died".into())))
    }
}

/// Jobs that one transaction may hold.
const BATCH: usize = 256;

fn write(db: &Connection, queue: &mpsc::Receiver<Job>) -> Result<u64> {
    let info = r#"{"role":"user","time":{"created":1795377431631},"agent":"build","model":{"providerID":"demo","modelID":"demo"}}"#;
    let body = format!(r#"{{"type":"text","text":"{}"}}"#, "x".repeat(1024));
    let mut batch = Vec::new();
    let (mut transactions, mut number, mut seq) = (0, 0_i64, 0_i64);
    while let Ok(first) = queue.recv() {
        batch.push(first);
        batch.extend(queue.try_iter().take(BATCH - 1));
        db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        for job in &batch {
            number += 1;
            let sid = i64::try_from(job.session).unwrap_or_default() + 1;
            db.prepare_cached(
                "INSERT INTO message (sid, position, id, created_seq, seq, sum, info) \
                 VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6)",
            )?
            .execute(params![
                sid,
                number,
                format!("msg_{number:026}"),
                seq + 1,
                7,
                info
            ])?;
            let mid = db.last_insert_rowid();
            db.prepare_cached(
                "INSERT INTO part (mid, id, seq, sum, body, bid) VALUES (?1, ?2, ?3, ?4, ?5, NULL)",
            )?
            .execute(params![mid, format!("prt_{number:026}"), seq + 2, 7, body])?;
            let pid = db.last_insert_rowid();
            for (kind, entity) in [(5, mid), (7, pid), (2, 0)] {
                seq += 1;
                db.prepare_cached(
                    "INSERT INTO event (seq, sid, session_seq, kind, entity, at, payload) \
                     VALUES (?1, ?2, ?1, ?3, ?4, ?5, NULL)",
                )?
                .execute(params![
                    seq,
                    sid,
                    kind,
                    entity,
                    1_795_377_431_631_i64
                ])?;
            }
            db.prepare_cached(
                "UPDATE session SET last_seq = ?2, last_position = ?3, last_message_at = ?3, \
                 row_seq = ?2, revision = revision + 1, updated_at = ?3 WHERE sid = ?1",
            )?
            .execute(params![sid, seq, number])?;
        }
        db.prepare_cached("UPDATE clock SET seq = ?1 WHERE id = 1")?
            .execute(params![seq])?;
        db.prepare_cached("COMMIT")?.execute([])?;
        transactions += 1;
        for job in batch.drain(..) {
            // A client that has gone needs no answer.
            let _ = job.done.send(());
        }
    }
    Ok(transactions)
}
