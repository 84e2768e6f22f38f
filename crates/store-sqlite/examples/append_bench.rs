//! How fast the store appends 1 KiB messages at 64 concurrent commits, beside a bare rusqlite
//! loop that inserts the same rows in groups of 64; and what reads cost.
//!
//! `cargo run --release -p sessiond-store-sqlite --example append_bench [seconds]`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement for people"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt as _};
use rusqlite::{Connection, params};
use sessiond_model::{
    Change, Commit, HybridIds, IdStamp, MessageId, PartId, Require, SessionId, SessionPatch,
    SystemClock, Timestamp,
};
use sessiond_store::contract::fixtures as fx;
use sessiond_store::{MessageQuery, NoFeed, SessionQuery, Store};
use sessiond_store_sql::{Dialect, MIGRATIONS};
use sessiond_store_sqlite::{SqliteOptions, SqliteStore};

const CONCURRENT: usize = 64;

fn text() -> String {
    "The quick brown fox jumps over the lazy dog. "
        .chars()
        .cycle()
        .take(1024)
        .collect()
}

/// One appended message as the engine commits it.
fn append(store: &SqliteStore, ids: &HybridIds, session: &SessionId, at: i64) -> Commit {
    let mut floor = IdStamp::default();
    let mut message = fx::user(session, "m", at);
    message.id = MessageId::mint(ids, &mut floor);
    let mut part = fx::text(session, "m", "p", &text());
    part.id = PartId::mint(ids, &mut floor);
    part.message_id = message.id.clone();
    Commit {
        session_id: session.clone(),
        fence: store.epoch(),
        at: Timestamp(at),
        require: vec![Require::MessageAbsent(message.id.clone())],
        changes: vec![
            Change::PutMessage(message),
            Change::PutPart(part),
            Change::UpdateSession(SessionPatch::touch()),
        ],
    }
}

/// The bytes of the JSON of one message, as served.
fn json_len(session: &SessionId) -> u64 {
    let mut message = fx::user(session, "m", 1_795_364_893_636);
    message.id = MessageId::parse(&format!("msg_{}", "0".repeat(26))).unwrap();
    let mut part = fx::text(session, "m", "p", &text());
    part.id = PartId::parse(&format!("prt_{}", "0".repeat(26))).unwrap();
    part.message_id = message.id.clone();
    let json = serde_json::json!({"info": &message, "parts": [&part]});
    json.to_string().len() as u64
}

async fn through_the_store(dir: &Path, length: Duration) -> f64 {
    let options = SqliteOptions::new(dir, Arc::new(NoFeed), Arc::new(SystemClock), "bench");
    let store = SqliteStore::open(&options).unwrap();
    let ids = HybridIds::new(Arc::new(SystemClock));
    let mut sessions = Vec::new();
    for n in 0..CONCURRENT {
        let mut session = fx::session("x");
        session.id = SessionId::mint(&ids, &mut IdStamp::default());
        session.updated_at = Timestamp(n as i64);
        let id = session.id.clone();
        let commit = Commit {
            session_id: id.clone(),
            fence: store.epoch(),
            at: Timestamp(1),
            require: Vec::new(),
            changes: vec![fx::create(session)],
        };
        store.commit(commit).await.unwrap();
        sessions.push(id);
    }
    let begin = Instant::now();
    let (mut done, mut at) = (0u64, 0);
    let mut waiting = FuturesUnordered::new();
    loop {
        while waiting.len() < CONCURRENT && begin.elapsed() < length {
            at += 1;
            let session = &sessions[at as usize % CONCURRENT];
            let commit = append(&store, &ids, session, at);
            waiting.push(store.commit(commit));
        }
        let Some(result) = waiting.next().await else {
            break;
        };
        result.unwrap();
        done += 1;
    }
    let rate = done as f64 / begin.elapsed().as_secs_f64();
    println!("store  append {rate:>9.0}/s  ({done} messages)");
    reads(&store, &sessions[0]).await;
    store.close().await.unwrap();
    let bytes: u64 = std::fs::read_dir(dir)
        .unwrap()
        .map(|f| f.unwrap().metadata().unwrap().len())
        .sum();
    println!(
        "bytes on disk / JSON of the messages = {:.3}  ({} bytes a message)",
        bytes as f64 / (json_len(&sessions[0]) * done) as f64,
        bytes / done
    );
    rate
}

async fn reads(store: &SqliteStore, session: &SessionId) {
    let time = |name: &str, n: u32, took: Duration| {
        println!(
            "{name:<28} {:>9.1} µs",
            took.as_secs_f64() * 1e6 / f64::from(n)
        );
    };
    let n = 20_000;
    let begin = Instant::now();
    for _ in 0..n {
        store.session(session).await.unwrap().unwrap();
    }
    time("get session", n, begin.elapsed());
    let page = MessageQuery {
        before: None,
        limit: Some(50),
    };
    let n = 500;
    let begin = Instant::now();
    for _ in 0..n {
        assert_eq!(
            store.messages(session, &page).await.unwrap().messages.len(),
            50
        );
    }
    time("page of 50", n, begin.elapsed());
    let begin = Instant::now();
    let pages = (0..n).map(|_| store.messages(session, &page));
    join_all(pages).await;
    time("page of 50, many at once", n, begin.elapsed());
    let list = SessionQuery {
        limit: Some(50),
        ..SessionQuery::default()
    };
    let begin = Instant::now();
    for _ in 0..n {
        store.sessions(&list).await.unwrap();
    }
    time("list of 50", n, begin.elapsed());
}

fn bare(dir: &Path, length: Duration) -> f64 {
    let db = Connection::open(dir.join("bare.db")).unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")
        .unwrap();
    db.execute_batch(&Dialect::SQLITE.render(MIGRATIONS[0].sql))
        .unwrap();
    let session = fx::session("x");
    for n in 0..CONCURRENT {
        db.execute(
            "INSERT INTO session (id, slug, project_id, directory, title, version, created_at, \
             updated_at, status, status_since, cost, tokens, health, revision, epoch, last_seq, \
             last_position, id_floor, last_message_at, row_seq, status_seq) VALUES \
             (?1, 'a', 'global', '/srv/dir', 't', '1', 1, 1, 'idle', 1, 0.0, '{}', 'ok', 1, 1, 1, \
             1, 1, 1, 1, 1)",
            [format!("ses_{n}")],
        )
        .unwrap();
    }
    let ids = HybridIds::new(Arc::new(SystemClock));
    let (begin, mut done, mut seq) = (Instant::now(), 0i64, 0i64);
    while begin.elapsed() < length {
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        for sid in 1..=CONCURRENT as i64 {
            let mut floor = IdStamp::default();
            let message = fx::user(&session.id, "m", done);
            let id = MessageId::mint(&ids, &mut floor);
            let info = serde_json::to_string(&message.info).unwrap();
            db.prepare_cached(
                "INSERT INTO message (sid, position, id, created_seq, seq, sum, info) \
                 VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6)",
            )
            .unwrap()
            .execute(params![sid, done, id.as_str(), seq, 77_777_777, info])
            .unwrap();
            let mid = db.last_insert_rowid();
            let id = PartId::mint(&ids, &mut floor);
            let part = fx::text(&session.id, "m", "p", &text());
            let body = serde_json::to_string(&part.body).unwrap();
            db.prepare_cached(
                "INSERT INTO part (mid, id, seq, sum, body, bid) VALUES (?1, ?2, ?3, ?4, ?5, NULL)",
            )
            .unwrap()
            .execute(params![mid, id.as_str(), seq, 77_777_777, body])
            .unwrap();
            for kind in [5, 7, 2] {
                seq += 1;
                db.prepare_cached(
                    "INSERT INTO event (seq, sid, session_seq, kind, entity, at) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                )
                .unwrap()
                .execute(params![seq, sid, seq / 64, kind, mid, 1_795_364_893_636i64])
                .unwrap();
            }
            db.prepare_cached("UPDATE session SET updated_at = ?2, last_seq = ?3 WHERE sid = ?1")
                .unwrap()
                .execute(params![sid, done, seq])
                .unwrap();
            done += 1;
        }
        db.execute_batch("COMMIT").unwrap();
    }
    let rate = done as f64 / begin.elapsed().as_secs_f64();
    println!("bare   append {rate:>9.0}/s  ({done} messages)");
    rate
}

#[tokio::main]
async fn main() {
    let seconds = std::env::args().nth(1).and_then(|s| s.parse().ok());
    let length = Duration::from_secs_f64(seconds.unwrap_or(3.0));
    let mut ratios = Vec::new();
    for _ in 0..2 {
        let dir = tempfile::tempdir().unwrap();
        let ours = through_the_store(dir.path(), length).await;
        let dir = tempfile::tempdir().unwrap();
        let bare = bare(dir.path(), length);
        ratios.push(ours / bare);
    }
    println!("ratio  {ratios:.2?}");
}
