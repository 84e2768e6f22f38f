//! What goes wrong for one is no harm to others: reads that were given up, commits that the
//! database refuses, reads that take long, a database that says nothing.
#![expect(clippy::unwrap_used, reason = "test code outside of test functions")]

mod common;
#[expect(dead_code, reason = "other tests use more of it")]
#[path = "common/nodes.rs"]
mod nodes;

use std::time::{Duration, Instant};

use nodes::{Node, is_unavailable, until};
use sessiond_store::{MessageQuery, Store as _, StoreError, UnavailableReason};
use sessiond_store_postgres::PostgresOptions;
use sessiond_testkit::postgres::{Database, database, psql};

/// A table that nobody else can read until it is unlocked.
struct Locked<'a>(&'a Database, &'static str);

impl<'a> Locked<'a> {
    async fn new(database: &'a Database, table: &'static str) -> Self {
        let url = database.url().to_owned();
        let sql = format!(
            "BEGIN; LOCK TABLE sessiond.{table} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(60)"
        );
        // It is ended with its connection.
        tokio::task::spawn_blocking(move || psql(&url, &sql));
        let locked = Self(database, table);
        until(async || locked.counts("wait_event = 'PgSleep'", 1)).await;
        locked
    }

    fn counts(&self, which: &str, count: usize) -> bool {
        let sql = format!(
            "SELECT count(*) = {count} FROM pg_stat_activity \
             WHERE datname = current_database() AND {which}"
        );
        self.0.psql(&sql).is_ok_and(|said| said == "t")
    }

    /// How many wait for it.
    fn keeps(&self, count: usize) -> bool {
        let which = format!("wait_event_type = 'Lock' AND query LIKE '%{}%'", self.1);
        self.counts(&which, count)
    }

    fn unlock(self) {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event = 'PgSleep'";
        self.0.psql(sql).unwrap();
    }
}

/// As when a client hangs up: its read is dropped wherever it was.
#[tokio::test]
async fn a_read_that_was_given_up_leaves_nothing_to_the_next() {
    let database = database();
    // Nobody else uses the only connection that reads, and nobody tidies up.
    let lonely = |options| PostgresOptions {
        readers: 1,
        poll: Duration::from_secs(3_600),
        ..options
    };
    let node = Node::with(database.url(), "a", lonely).await;
    let id = node.session("s").await;
    let query = MessageQuery::default();
    // All its statements are known to the connection.
    node.store.messages(&id, &query).await.unwrap();
    for round in 0..5 {
        node.line.stall();
        let read = node.store.messages(&id, &query);
        let given_up = tokio::time::timeout(Duration::from_millis(100), read).await;
        assert!(given_up.is_err(), "it was on its way");
        node.line.mend();
        for title in ["before", "after"] {
            let title = format!("{title} {round}");
            node.title(&id, &title).await.unwrap();
            let session = node.store.session(&id).await.unwrap().unwrap();
            assert_eq!(session.title, title);
        }
    }
}

/// What the rules do not know of, the database refuses when the statement is on its way already.
#[tokio::test]
async fn a_commit_that_the_database_refuses_takes_no_other_with_it() {
    let database = database();
    let node = Node::open(database.url(), "a").await;
    let (s, t) = (node.session("s").await, node.session("t").await);
    let trap = "CREATE FUNCTION sessiond.trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                IF NEW.title = 'bad' THEN RAISE EXCEPTION 'it is bad'; END IF; RETURN NEW; \
                END $$; CREATE TRIGGER trap BEFORE UPDATE ON sessiond.session \
                FOR EACH ROW EXECUTE FUNCTION sessiond.trap();";
    database.psql(trap).unwrap();
    for round in 0..2 {
        if round == 1 {
            // A new connection knows no statements.
            node.line.cut();
        }
        // They wait together: nothing is awaited in between.
        let (bad, first, second) = (
            node.title(&s, "bad"),
            node.title(&t, "first"),
            node.title(&t, "second"),
        );
        let (bad, first, second) = tokio::join!(bad, first, second);
        assert!(matches!(bad, Err(StoreError::Internal { .. })), "{bad:?}");
        let before = 3 + round * 2;
        assert_eq!(first.unwrap().events[0].seq.0, before);
        assert_eq!(second.unwrap().events[0].seq.0, before + 1);
    }
    assert_eq!(
        node.store.session(&t).await.unwrap().unwrap().title,
        "second"
    );
    node.hears_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_that_take_long_keep_no_listener_waiting() {
    let database = database();
    let few = |options| PostgresOptions {
        readers: 2,
        ..options
    };
    let a = Node::with(database.url(), "a", few).await;
    let b = Node::open(database.url(), "b").await;
    let (s, t) = (a.session("s").await, b.session("t").await);
    a.hears_all().await;
    let locked = Locked::new(&database, "usage").await;
    let reads = async { tokio::join!(a.store.usage(&s), a.store.usage(&s)) };
    let heard = async {
        until(async || locked.keeps(2)).await;
        b.title(&t, "b's").await.unwrap();
        a.title(&s, "a's").await.unwrap();
        assert_eq!(a.heard.heard().len(), 4);
        assert!(locked.keeps(2), "the reads still wait");
        locked.unlock();
    };
    let (reads, ()) = tokio::join!(reads, heard);
    reads.0.unwrap();
    reads.1.unwrap();
}

/// The way stays open, and no answer comes: as when the server's processes are stopped.
#[tokio::test]
async fn nobody_waits_long_for_a_database_that_says_nothing() {
    let database = database();
    let hasty = |options| PostgresOptions {
        lease: Duration::from_secs(2),
        patience: Duration::from_secs(1),
        ..options
    };
    let node = Node::with(database.url(), "a", hasty).await;
    let id = node.session("s").await;
    for _ in 0..2 {
        // The second time the connections that there were are given up already.
        node.line.stall();
        let began = Instant::now();
        let (commit, read) = tokio::join!(node.title(&id, "x"), node.store.session(&id));
        assert!(
            is_unavailable(&commit, UnavailableReason::Unreachable),
            "{commit:?}"
        );
        assert!(
            is_unavailable(&read, UnavailableReason::Unreachable),
            "{read:?}"
        );
        // A statement may take twenty seconds; who does not answer at all does not get them.
        assert!(
            began.elapsed() < Duration::from_secs(15),
            "{:?}",
            began.elapsed()
        );
        node.line.mend();
        until(async || node.title(&id, "y").await.is_ok()).await;
    }
    node.hears_all().await;
}
