//! How fast the store appends 1 KiB messages at 1, 16 and 64 concurrent sessions, beside plain
//! inserts of the same six rows over the same driver, prepared, on as many connections: each
//! statement committed by itself, and all six in one transaction (which is as durable as ours,
//! but neither checks anything nor numbers the events in one order); and beside the SQLite store.
//! All on one machine, in turns; the ratios are the middle ones of the rounds. PostgreSQL is a
//! private one that writes as in earnest (fsync), or that of `SESSIOND_TEST_POSTGRES`.
//!
//! `cargo run --release -p sessiond-store-postgres --example append_bench [seconds] [rounds]`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement for people"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{FuturesUnordered, StreamExt as _};
use sessiond_model::{
    Change, Commit, HybridIds, IdStamp, MessageId, PartId, Require, SessionId, SessionPatch,
    SystemClock, Timestamp,
};
use sessiond_store::contract::fixtures as fx;
use sessiond_store::{NoFeed, Store};
use sessiond_store_postgres::{PostgresOptions, PostgresStore};
use sessiond_store_sqlite::{SqliteOptions, SqliteStore};
use sessiond_testkit::postgres::{Database, ENV, Server, Setup, database};
use tokio_postgres::NoTls;

fn text() -> String {
    let words = "The quick brown fox jumps over the lazy dog. ";
    words.chars().cycle().take(1024).collect()
}

/// One appended message as the engine commits it.
fn append(fence: u64, ids: &HybridIds, session: &SessionId, at: i64) -> Commit {
    let mut floor = IdStamp::default();
    let mut message = fx::user(session, "m", at);
    message.id = MessageId::mint(ids, &mut floor);
    let mut part = fx::text(session, "m", "p", &text());
    part.id = PartId::mint(ids, &mut floor);
    part.message_id = message.id.clone();
    Commit {
        session_id: session.clone(),
        fence,
        at: Timestamp(at),
        require: vec![Require::MessageAbsent(message.id.clone())],
        changes: vec![
            Change::PutMessage(message),
            Change::PutPart(part),
            Change::UpdateSession(SessionPatch::touch()),
        ],
    }
}

async fn sessions(store: &dyn Store, ids: &HybridIds, count: usize) -> Vec<SessionId> {
    let mut sessions = Vec::new();
    for n in 0..count {
        let mut session = fx::session("x");
        session.id = SessionId::mint(ids, &mut IdStamp::default());
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
    sessions
}

/// Appends a second through a store, with so many waiting at any time.
async fn through(store: &dyn Store, concurrent: usize, length: Duration) -> f64 {
    let ids = HybridIds::new(Arc::new(SystemClock));
    let sessions = sessions(store, &ids, concurrent).await;
    let (begin, mut done, mut at) = (Instant::now(), 0u64, 0);
    let mut waiting = FuturesUnordered::new();
    loop {
        while waiting.len() < concurrent && begin.elapsed() < length {
            at += 1;
            let session = &sessions[at as usize % concurrent];
            waiting.push(store.commit(append(store.epoch(), &ids, session, at)));
        }
        let Some(result) = waiting.next().await else {
            break;
        };
        result.unwrap();
        done += 1;
    }
    done as f64 / begin.elapsed().as_secs_f64()
}

async fn postgres(database: &Database, concurrent: usize, length: Duration) -> f64 {
    let address = database.url().parse().unwrap();
    let clock = Arc::new(SystemClock);
    let options = PostgresOptions::new(address, Arc::new(NoFeed), clock, "bench");
    let store = PostgresStore::open(&options).await.unwrap();
    let rate = through(&store, concurrent, length).await;
    store.close().await.unwrap();
    rate
}

async fn sqlite(concurrent: usize, length: Duration) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(SystemClock);
    let options = SqliteOptions::new(dir.path(), Arc::new(NoFeed), clock, "bench");
    let store = SqliteStore::open(&options).unwrap();
    let rate = through(&store, concurrent, length).await;
    store.close().await.unwrap();
    rate
}

/// How plain statements are committed.
#[derive(Clone, Copy, PartialEq)]
enum Plain {
    Each,
    Together,
}

/// The same rows, each by a statement of its own.
async fn plain(database: &Database, how: Plain, concurrent: usize, length: Duration) -> f64 {
    let (client, connection) = tokio_postgres::connect(database.url(), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
        .batch_execute("CREATE SEQUENCE IF NOT EXISTS sessiond.plain")
        .await
        .unwrap();
    let rows = client
        .query("SELECT sid FROM sessiond.session ORDER BY sid DESC", &[])
        .await
        .unwrap();
    let sids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let begin = Instant::now();
    let loops: Vec<_> = (0..concurrent)
        .map(|n| {
            tokio::spawn(plain_loop(
                database.url().to_owned(),
                how,
                sids[n],
                begin,
                length,
            ))
        })
        .collect();
    let mut done = 0;
    for one in loops {
        done += one.await.unwrap();
    }
    f64::from(done) / begin.elapsed().as_secs_f64()
}

async fn plain_loop(url: String, how: Plain, sid: i64, begin: Instant, length: Duration) -> u32 {
    let (db, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
    tokio::spawn(connection);
    db.batch_execute("SET search_path = sessiond")
        .await
        .unwrap();
    let message = db
        .prepare(
            "INSERT INTO message (sid, position, id, created_seq, seq, sum, info) VALUES \
             ($1, 1000000000 + nextval('plain'), $2, 1, 1, 77777777, $3) RETURNING mid",
        )
        .await
        .unwrap();
    let part = db
        .prepare("INSERT INTO part (mid, id, seq, sum, body) VALUES ($1, $2, 1, 77777777, $3)")
        .await
        .unwrap();
    let event = db
        .prepare(
            "INSERT INTO event (seq, sid, session_seq, kind, entity, at) VALUES \
             (1000000000 + nextval('plain'), $1, 1, $2, $3, 1795364893636)",
        )
        .await
        .unwrap();
    let session = db
        .prepare("UPDATE session SET updated_at = $2, last_seq = $2 WHERE sid = $1")
        .await
        .unwrap();
    let ids = HybridIds::new(Arc::new(SystemClock));
    let mut floor = IdStamp::default();
    let mut done = 0;
    while begin.elapsed() < length {
        let id = MessageId::mint(&ids, &mut floor);
        let commit = append(1, &ids, &SessionId::trusted("ses_x"), i64::from(done));
        let (Change::PutMessage(put), Change::PutPart(body)) =
            (&commit.changes[0], &commit.changes[1])
        else {
            return done;
        };
        let info = serde_json::to_string(&put.info).unwrap();
        if how == Plain::Together {
            db.batch_execute("BEGIN").await.unwrap();
        }
        let row = db.query_one(&message, &[&sid, &id.as_str(), &info]).await;
        let mid: i64 = row.unwrap().get(0);
        let id = PartId::mint(&ids, &mut floor);
        let body = serde_json::to_string(&body.body).unwrap();
        db.execute(&part, &[&mid, &id.as_str(), &body])
            .await
            .unwrap();
        for kind in [5i64, 7, 2] {
            db.execute(&event, &[&sid, &kind, &mid]).await.unwrap();
        }
        db.execute(&session, &[&sid, &i64::from(done)])
            .await
            .unwrap();
        if how == Plain::Together {
            db.batch_execute("COMMIT").await.unwrap();
        }
        done += 1;
    }
    done
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let seconds = args.next().and_then(|s| s.parse().ok());
    let rounds = args.next().and_then(|s| s.parse().ok()).unwrap_or(3);
    let length = Duration::from_secs_f64(seconds.unwrap_or(3.0));
    let server = std::env::var(ENV).is_err().then(|| {
        let setup = Setup {
            durable: true,
            ..Setup::default()
        };
        Server::start(&setup).unwrap()
    });
    println!(
        "| sessions | PostgreSQL store, appends/s | plain, each statement | ratio | plain, one transaction | ratio | SQLite store | ratio |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for concurrent in [1, 16, 64] {
        let database = match &server {
            Some(server) => server.database().unwrap(),
            None => database(),
        };
        let mut rates: [Vec<f64>; 4] = Default::default();
        for _ in 0..rounds {
            rates[0].push(postgres(&database, concurrent, length).await);
            rates[1].push(plain(&database, Plain::Each, concurrent, length).await);
            rates[2].push(plain(&database, Plain::Together, concurrent, length).await);
            rates[3].push(sqlite(concurrent, length).await);
        }
        let [ours, others @ ..] = &rates;
        print!("| {concurrent} | {:.0} |", median(ours.clone()));
        for other in others {
            let ratios = ours.iter().zip(other).map(|(own, other)| own / other);
            let ratio = median(ratios.collect());
            print!(" {:.0} | {ratio:.2}× |", median(other.clone()));
        }
        println!();
    }
}
