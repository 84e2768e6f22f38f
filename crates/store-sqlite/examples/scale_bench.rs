//! What opening, listing, reading and writing cost in a store with many sessions.
//!
//! `cargo run --release -p sessiond-store-sqlite --example scale_bench [sessions]`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement for people"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures::future::join_all;
use sessiond_model::{
    Change, Commit, HybridIds, IdStamp, ProjectId, SessionId, SessionPatch, SystemClock, Timestamp,
};
use sessiond_store::contract::fixtures as fx;
use sessiond_store::{NoFeed, SessionQuery, Store};
use sessiond_store_sqlite::{SqliteOptions, SqliteStore};

fn open(dir: &Path) -> SqliteStore {
    let options = SqliteOptions::new(dir, Arc::new(NoFeed), Arc::new(SystemClock), "bench");
    SqliteStore::open(&options).unwrap()
}

fn commit(store: &SqliteStore, id: &SessionId, at: i64, changes: Vec<Change>) -> Commit {
    Commit {
        session_id: id.clone(),
        fence: store.epoch(),
        at: Timestamp(at),
        require: Vec::new(),
        changes,
    }
}

async fn fill(store: &SqliteStore, sessions: usize) -> Vec<SessionId> {
    let ids = HybridIds::new(Arc::new(SystemClock));
    let mut made = Vec::new();
    while made.len() < sessions {
        let mut calls = Vec::new();
        for n in made.len()..sessions.min(made.len() + 1_000) {
            let mut session = fx::session("x");
            session.id = SessionId::mint(&ids, &mut IdStamp::default());
            session.directory = format!("/srv/dir{}", n % 10);
            session.project_id = ProjectId::new(if n % 2 == 0 { "even" } else { "odd" });
            session.updated_at = Timestamp(n as i64);
            let id = session.id.clone();
            calls.push(store.commit(commit(store, &id, n as i64, vec![fx::create(session)])));
            made.push(id);
        }
        for done in join_all(calls).await {
            done.unwrap();
        }
    }
    made
}

#[tokio::main]
async fn main() {
    let sessions = std::env::args().nth(1).and_then(|n| n.parse().ok());
    for sessions in [1_000, sessions.unwrap_or(100_000)] {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let begin = Instant::now();
        let ids = fill(&store, sessions).await;
        let rate = sessions as f64 / begin.elapsed().as_secs_f64();
        println!("--- {sessions} sessions, created at {rate:.0}/s");
        store.close().await.unwrap();

        let begin = Instant::now();
        let store = open(dir.path());
        println!(
            "open                {:>9.2} ms",
            begin.elapsed().as_secs_f64() * 1e3
        );
        for (name, query) in [
            ("list 100", SessionQuery::default()),
            (
                "list 100 of project",
                SessionQuery {
                    project_id: Some(ProjectId::new("even")),
                    ..SessionQuery::default()
                },
            ),
            (
                "list 100 of directory",
                SessionQuery {
                    directory: Some("/srv/dir3".into()),
                    ..SessionQuery::default()
                },
            ),
        ] {
            let query = SessionQuery {
                limit: Some(100),
                ..query
            };
            let begin = Instant::now();
            for _ in 0..300 {
                assert_eq!(store.sessions(&query).await.unwrap().sessions.len(), 100);
            }
            println!(
                "{name:<22} {:>6.0} µs",
                begin.elapsed().as_secs_f64() * 1e6 / 300.0
            );
        }
        let some: Vec<_> = ids.iter().step_by(ids.len() / 500).collect();
        let begin = Instant::now();
        for id in &some {
            store.session(id).await.unwrap().unwrap();
        }
        let each = begin.elapsed().as_secs_f64() * 1e6 / some.len() as f64;
        println!("get (spread)           {each:>6.1} µs");
        let begin = Instant::now();
        let calls = some.iter().map(|id| {
            let touch = Change::UpdateSession(SessionPatch::touch());
            store.commit(commit(&store, id, 1_000_000, vec![touch]))
        });
        let calls: Vec<_> = calls.collect();
        for done in join_all(calls).await {
            done.unwrap();
        }
        let rate = some.len() as f64 / begin.elapsed().as_secs_f64();
        println!("touch (spread)      {rate:>9.0} /s");
        store.close().await.unwrap();
    }
}
