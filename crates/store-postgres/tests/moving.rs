//! Sessions moved between SQLite and PostgreSQL.
#![expect(clippy::unwrap_used, reason = "test code outside of test functions")]

#[path = "common/backend.rs"]
mod backend;
mod common;

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;

use futures::FutureExt as _;
use sessiond_model::{Change, Commit, ManualClock, Session, SessionPatch, Timestamp};
use sessiond_store::contract::fixtures as fx;
use sessiond_store::contract::model::{each_program, everything, play};
use sessiond_store::contract::{Backend, Recorder};
use sessiond_store::{Feed, Store, StoreError};
use sessiond_store_postgres::{PostgresSite, PostgresStore};
use sessiond_store_sql::moving::{self, MOVED, MoveError, Moved, Progress, Report, Site};
use sessiond_store_sqlite::{SqliteOptions, SqliteSite, SqliteStore};
use sessiond_testkit::postgres::{Database, database};
use tokio::runtime::Runtime;

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp(1_000)))
}

struct Sqlite(tempfile::TempDir);

impl Sqlite {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn options(&self, feed: Arc<dyn Feed>) -> SqliteOptions {
        SqliteOptions::new(self.0.path(), feed, clock(), "0.1.0")
    }

    fn source(&self) -> Result<SqliteSite, MoveError> {
        SqliteSite::source(self.0.path())
    }

    fn target(&self) -> SqliteSite {
        SqliteSite::target(self.0.path(), "0.1.0", Timestamp(1_000)).unwrap()
    }
}

#[async_trait::async_trait]
impl Backend for Sqlite {
    async fn open(&mut self, feed: Arc<dyn Feed>) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.options(feed)).unwrap())
    }

    fn is_durable(&self) -> bool {
        true
    }
}

async fn source(database: &Database) -> Result<PostgresSite, MoveError> {
    PostgresSite::source(&database.url().parse().unwrap(), clock()).await
}

async fn target(database: &Database) -> Result<PostgresSite, MoveError> {
    PostgresSite::target(&database.url().parse().unwrap(), clock(), "0.1.0").await
}

async fn run(mut from: impl Site, mut to: impl Site) -> Result<Report, MoveError> {
    moving::run(&mut from, &mut to, &mut |_| {}).await
}

async fn postgres(database: &Database) -> Arc<dyn Store> {
    let options = common::options(database.url(), Arc::<Recorder>::default());
    Arc::new(PostgresStore::open(&options).await.unwrap())
}

/// What a store says when it is opened; what changes by being opened is left out.
async fn read(store: &Arc<dyn Store>) -> String {
    let all = everything(store.as_ref()).await;
    store.close().await.unwrap();
    all
}

#[test]
fn a_program_says_the_same_everywhere_and_after_every_move() {
    each_program(6, |steps| {
        Runtime::new().unwrap().block_on(async {
            let (mut sqlite, mut pg) = (Sqlite::new(), backend::Postgres::new(false));
            let in_sqlite = read(&play(&mut sqlite, steps).await).await;
            let in_postgres = read(&play(&mut pg, steps).await).await;
            assert_eq!(in_sqlite, in_postgres);

            let there = database();
            let out = run(sqlite.source().unwrap(), target(&there).await.unwrap());
            let out = out.await.unwrap();
            assert_eq!(out.mended, 0);
            let moved = postgres(&there).await;
            assert!(moved.epoch() > 2);
            assert_eq!(read(&moved).await, in_sqlite);

            let back = Sqlite::new();
            let home = run(source(&there).await.unwrap(), back.target());
            let home = home.await.unwrap();
            assert_eq!(home.tables, out.tables);
            let store: Arc<dyn Store> =
                Arc::new(SqliteStore::open(&back.options(Arc::<Recorder>::default())).unwrap());
            assert_eq!(read(&store).await, in_sqlite);
            // The sources are still what they were.
            let store = sqlite.open(Arc::<Recorder>::default()).await;
            assert_eq!(read(&store).await, in_sqlite);
            assert_eq!(read(&postgres(&there).await).await, in_sqlite);
        });
    });
}

#[tokio::test]
async fn the_columns_that_are_moved_are_all_there_are() {
    let (sqlite, there) = (Sqlite::new(), database());
    let (mut lite, mut pg) = (sqlite.target(), target(&there).await.unwrap());
    for table in MOVED {
        let names: Vec<_> = table.columns.iter().map(|(name, _)| *name).collect();
        let sql = format!("SELECT name FROM pragma_table_info('{}')", table.name);
        let rows = lite.query(&sql, &[]).await.unwrap();
        let there: Vec<String> = rows.into_iter().map(|mut row| row.text()).collect();
        assert_eq!(there, names, "{}", table.name);
        let sql = format!(
            "SELECT CAST(column_name AS TEXT) FROM information_schema.columns \
             WHERE table_schema = 'sessiond' AND table_name = '{}' ORDER BY ordinal_position",
            table.name
        );
        let rows = pg.query(&sql, &[]).await.unwrap();
        let there: Vec<String> = rows.into_iter().map(|mut row| row.text()).collect();
        assert_eq!(there, names, "{}", table.name);
    }
}

/// A store with a session of so many messages, some with texts that are no fun.
async fn filled(sqlite: &mut Sqlite, messages: usize) {
    let store = sqlite.open(Arc::<Recorder>::default()).await;
    let session = Session {
        title: "nasty \u{1f980} \\u0000 \"quotes\" \u{2028}".into(),
        ..fx::session("big")
    };
    let id = session.id.clone();
    let mut changes = vec![fx::create(session)];
    for n in 0..messages {
        let name = format!("m{n}");
        let text = format!("{n} \0 \u{10ffff} {}", "x".repeat(n % 7 * 40_000 / 7));
        changes.push(Change::PutMessage(fx::user(&id, &name, 100)));
        changes.push(Change::PutPart(fx::text(&id, &name, &name, &text)));
        if changes.len() >= 200 {
            write(&store, &id, std::mem::take(&mut changes)).await;
        }
    }
    write(&store, &id, changes).await;
    store.close().await.unwrap();
}

async fn write(store: &Arc<dyn Store>, id: &sessiond_model::SessionId, changes: Vec<Change>) {
    let commit = Commit {
        session_id: id.clone(),
        fence: store.epoch(),
        at: Timestamp(2_000),
        require: Vec::new(),
        changes,
    };
    store.commit(commit).await.unwrap();
}

/// Runs a move that ends when so many rows were written, as a kill would.
async fn cut_off(from: &mut impl Site, to: &mut impl Site, after: u64) {
    let mut tell = |at: Progress| assert!(at.done < after, "cut off");
    let moving = AssertUnwindSafe(moving::run(from, to, &mut tell));
    let done = moving.catch_unwind().await;
    assert!(done.is_err(), "it was over: {done:?}");
}

fn rows(tables: &[Moved]) -> u64 {
    tables.iter().map(|table| table.rows).sum()
}

#[tokio::test]
async fn a_move_that_was_cut_off_goes_on() {
    let (mut sqlite, there) = (Sqlite::new(), database());
    filled(&mut sqlite, 6_000).await;
    {
        let mut to = target(&there).await.unwrap();
        cut_off(&mut sqlite.source().unwrap(), &mut to, 9_000).await;
    }
    // Nobody serves half of it.
    let options = common::options(there.url(), Arc::<Recorder>::default());
    let half = PostgresStore::open(&options).await.unwrap_err();
    assert!(matches!(half, StoreError::HalfMoved { .. }), "{half}");
    let half = source(&there).await.unwrap_err();
    assert!(half.to_string().contains("only a part"), "{half}");
    let living = "SELECT count(*) FROM sessiond.node WHERE ended_at IS NULL";
    assert_eq!(there.psql(living).unwrap(), "0");

    let report = run(sqlite.source().unwrap(), target(&there).await.unwrap())
        .await
        .unwrap();
    assert!(report.resumed >= 5_000, "{}", report.resumed);
    assert!(rows(&report.tables) > 18_000);
    let store = sqlite.open(Arc::<Recorder>::default()).await;
    assert_eq!(read(&postgres(&there).await).await, read(&store).await);
}

#[tokio::test]
async fn a_source_that_went_on_is_copied_anew() {
    let (mut sqlite, back) = (Sqlite::new(), Sqlite::new());
    filled(&mut sqlite, 3_000).await;
    cut_off(&mut sqlite.source().unwrap(), &mut back.target(), 6_000).await;
    let half = SqliteStore::open(&back.options(Arc::<Recorder>::default()));
    assert!(matches!(half, Err(StoreError::HalfMoved { .. })));

    let store = sqlite.open(Arc::<Recorder>::default()).await;
    let id = fx::sid("big");
    let patch = SessionPatch {
        title: Some("went on".into()),
        ..SessionPatch::default()
    };
    write(&store, &id, vec![Change::UpdateSession(patch)]).await;
    let wanted = read(&store).await;
    let report = run(sqlite.source().unwrap(), back.target()).await;
    assert_eq!(report.unwrap().resumed, 0);
    let store = SqliteStore::open(&back.options(Arc::<Recorder>::default())).unwrap();
    let title = store.session(&id).await.unwrap().unwrap().title;
    assert_eq!(title, "went on");
    assert_eq!(read(&(Arc::new(store) as Arc<dyn Store>)).await, wanted);
}

#[tokio::test]
async fn what_is_in_use_or_not_empty_is_left_alone() {
    let (mut sqlite, there) = (Sqlite::new(), database());
    filled(&mut sqlite, 10).await;
    let store = sqlite.open(Arc::<Recorder>::default()).await;
    let refused = sqlite.source().unwrap_err();
    assert!(matches!(refused, MoveError::InUse { .. }), "{refused}");
    store.close().await.unwrap();

    let node = postgres(&there).await;
    let refused = source(&there).await.unwrap_err();
    assert!(
        matches!(&refused, MoveError::InUse { by, .. } if by == "sessiond"),
        "{refused}"
    );
    let to = target(&there).await.unwrap();
    let refused = run(sqlite.source().unwrap(), to).await.unwrap_err();
    assert!(matches!(refused, MoveError::InUse { .. }), "{refused}");
    // It was not marked.
    let session = fx::session("here");
    let id = session.id.clone();
    write(&node, &id, vec![fx::create(session)]).await;
    node.close().await.unwrap();

    let to = target(&there).await.unwrap();
    let refused = run(sqlite.source().unwrap(), to).await.unwrap_err();
    let is_told = matches!(
        refused,
        MoveError::Occupied {
            table: "session",
            rows: 1,
            ..
        }
    );
    assert!(is_told, "{refused}");
    let node = postgres(&there).await;
    assert!(node.session(&id).await.unwrap().is_some());
    node.close().await.unwrap();

    let nothing = SqliteSite::source(Path::new("/nonexistent/place")).unwrap_err();
    assert!(matches!(nothing, MoveError::Absent { .. }), "{nothing}");
    let nothing = source(&database()).await.unwrap_err();
    assert!(matches!(nothing, MoveError::Absent { .. }), "{nothing}");
}

#[tokio::test]
async fn a_source_that_a_node_opens_meanwhile_is_no_source() {
    let (mut sqlite, there) = (Sqlite::new(), database());
    filled(&mut sqlite, 10).await;
    run(sqlite.source().unwrap(), target(&there).await.unwrap())
        .await
        .unwrap();
    let back = Sqlite::new();
    let from = source(&there).await.unwrap();
    postgres(&there).await.close().await.unwrap();
    // The copy is of what was there before; it must not pass for what is there now.
    let refused = run(from, back.target()).await.unwrap_err();
    assert!(
        matches!(refused, MoveError::SourceChanged { .. }),
        "{refused}"
    );
    let half = SqliteStore::open(&back.options(Arc::<Recorder>::default()));
    assert!(matches!(half, Err(StoreError::HalfMoved { .. })));
    let report = run(source(&there).await.unwrap(), back.target()).await;
    report.unwrap();
}

#[tokio::test]
async fn two_moves_into_one_database_are_one_too_many() {
    let there = database();
    let first = target(&there).await.unwrap();
    let second = target(&there).await.unwrap_err();
    assert!(second.to_string().contains("sessiond migrate"), "{second}");
    drop(first);
}

#[tokio::test]
async fn what_differs_afterwards_is_not_used() {
    let (mut sqlite, there) = (Sqlite::new(), database());
    filled(&mut sqlite, 2_000).await;
    {
        let mut to = target(&there).await.unwrap();
        cut_off(&mut sqlite.source().unwrap(), &mut to, 6_000).await;
    }
    let bend = "UPDATE sessiond.session SET title = 'bent'; SELECT 1";
    there.psql(bend).unwrap();
    let to = target(&there).await.unwrap();
    let refused = run(sqlite.source().unwrap(), to).await.unwrap_err();
    assert!(
        matches!(
            refused,
            MoveError::Differs {
                table: "session",
                ..
            }
        ),
        "{refused}"
    );
    // The next run begins anew.
    let to = target(&there).await.unwrap();
    let report = run(sqlite.source().unwrap(), to).await.unwrap();
    assert_eq!(report.resumed, 0);
}

#[tokio::test]
async fn what_a_text_of_postgres_cannot_hold_is_replaced_and_told() {
    let (mut sqlite, there) = (Sqlite::new(), database());
    let store = sqlite.open(Arc::<Recorder>::default()).await;
    let session = Session {
        title: "a\0b".into(),
        ..fx::session("a")
    };
    let id = session.id.clone();
    write(&store, &id, vec![fx::create(session)]).await;
    store.close().await.unwrap();
    let to = target(&there).await.unwrap();
    let report = run(sqlite.source().unwrap(), to).await.unwrap();
    assert_eq!(report.mended, 1);
    let node = postgres(&there).await;
    let title = node.session(&id).await.unwrap().unwrap().title;
    assert_eq!(title, "a\u{fffd}b");
    node.close().await.unwrap();
}
