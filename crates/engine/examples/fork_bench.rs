//! How long it takes to fork a session of 1,000 messages, beside a bare rusqlite loop that
//! inserts as many rows of the same sizes in one transaction.
//!
//! `cargo run --release -p sessiond-engine --example fork_bench [rounds]`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement for people"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};
use sessiond_agent::Catalogue;
use sessiond_engine::{Engine, EngineConfig, ForkOptions, Hub, NewSession};
use sessiond_model::{
    Change, Commit, HybridIds, IdStamp, MessageId, PartId, SessionId, SystemClock, Timestamp,
    TurnId,
};
use sessiond_store::contract::fixtures as fx;
use sessiond_store::{MessageQuery, Store, TurnQuery};
use sessiond_store_sqlite::{SqliteOptions, SqliteStore};

const MESSAGES: usize = 1_000;

#[tokio::main]
async fn main() {
    let rounds = std::env::args().nth(1).map_or(10, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(SystemClock);
    let hub = Arc::new(Hub::new());
    let options = SqliteOptions::new(dir.path(), hub.clone(), clock.clone(), "bench");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&options).unwrap());
    let ids = Arc::new(HybridIds::new(clock.clone()));
    let engine = Engine::start(
        store.clone(),
        hub,
        Catalogue::new(PathBuf::from("unused"), BTreeMap::new(), None),
        clock,
        ids.clone(),
        EngineConfig::default(),
    )
    .await
    .unwrap();
    let new = NewSession {
        directory: Some("/".into()),
        ..NewSession::default()
    };
    let session = engine.create_session(new).await.unwrap().session;
    fill(&*store, &ids, &session.id).await;
    let query = MessageQuery::default();
    let parts = store.messages(&session.id, &query).await.unwrap().messages;
    let rows: Vec<usize> = parts
        .iter()
        .flat_map(|m| std::iter::once(m.info.len()).chain(m.parts.iter().map(|p| p.body.len())))
        .collect();
    println!(
        "{MESSAGES} messages, {} rows, {} bytes",
        rows.len(),
        rows.iter().sum::<usize>()
    );
    let mut forks = Vec::new();
    let mut bare = Vec::new();
    for round in 0..rounds {
        let begun = Instant::now();
        let fork = engine.fork_session(&session.id, ForkOptions::default());
        let fork = fork.await.unwrap().session;
        forks.push(begun.elapsed());
        let turns = store.turns(&fork.id, &TurnQuery::default()).await.unwrap();
        assert_eq!(turns.len(), MESSAGES / 2);
        bare.push(inserted(&dir.path().join(format!("bare{round}.db")), &rows));
    }
    forks.sort();
    bare.sort();
    let show = |name: &str, times: &[Duration]| {
        println!(
            "{name:6} best {:.1?}, median {:.1?}",
            times[0],
            times[times.len() / 2]
        );
    };
    show("fork", &forks);
    show("bare", &bare);
    let ratio = forks[0].as_secs_f64() / bare[0].as_secs_f64();
    println!("ratio of the best: {ratio:.2}");
}

/// Prompts with one text each; answers with a step, a tool, a text and the step's end.
async fn fill(store: &dyn Store, ids: &HybridIds, session: &SessionId) {
    let mut floor = IdStamp::default();
    for n in 0..MESSAGES / 2 {
        let at = 1_000_000 + 10 * i64::try_from(n).unwrap();
        let (user, answer) = (
            MessageId::mint(ids, &mut floor),
            MessageId::mint(ids, &mut floor),
        );
        let mut question = fx::user(session, "u", at);
        question.id = user.clone();
        let mut assistant = fx::assistant(session, "a", "u", at + 1);
        assistant.id = answer.clone();
        if let sessiond_model::MessageInfo::Assistant(info) = &mut assistant.info {
            info.parent_id = user.clone();
        }
        let mut changes = vec![Change::PutMessage(question), Change::PutMessage(assistant)];
        let bodies = [
            (
                &user,
                fx::text(session, "m", "p", &"What is it? ".repeat(10)),
            ),
            (
                &answer,
                fx::text(session, "m", "p", &"A thought. ".repeat(30)),
            ),
            (
                &answer,
                fx::text(session, "m", "p", &"The answer. ".repeat(80)),
            ),
            (&answer, fx::step(session, "m", "p", 0.01, 5)),
        ];
        for (message, mut part) in bodies {
            part.id = PartId::mint(ids, &mut floor);
            part.message_id = message.clone();
            changes.push(Change::PutPart(part));
        }
        let mut turn = fx::turn(session, "t", "m");
        turn.id = TurnId::mint(ids, &mut floor);
        turn.user_message_id = user;
        let mut turn = fx::completed(&turn);
        turn.assistant_message_id = Some(answer);
        turn.idempotency_key = None;
        changes.push(Change::PutTurn(turn));
        let commit = Commit {
            session_id: session.clone(),
            fence: store.epoch(),
            at: Timestamp(at),
            require: Vec::new(),
            changes,
        };
        store.commit(commit).await.unwrap();
    }
}

/// As many rows of the same sizes in one durable transaction.
fn inserted(path: &Path, rows: &[usize]) -> Duration {
    let db = Connection::open(path).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         CREATE TABLE row (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, body TEXT NOT NULL);",
    )
    .unwrap();
    let bodies: Vec<String> = rows.iter().map(|size| "x".repeat(*size)).collect();
    let begun = Instant::now();
    let tx = db.unchecked_transaction().unwrap();
    {
        let sql = "INSERT INTO row (name, body) VALUES (?1, ?2)";
        let mut insert = tx.prepare(sql).unwrap();
        for (n, body) in bodies.iter().enumerate() {
            insert
                .execute(params![format!("prt_{n:030}"), body])
                .unwrap();
        }
    }
    tx.commit().unwrap();
    begun.elapsed()
}
