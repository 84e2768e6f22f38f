//! What happens when the way to the database is cut, or the database restarts: nothing that was
//! acknowledged is lost, nothing is applied twice, nobody waits for ever, and no reader skips.
#![expect(clippy::unwrap_used, reason = "test code outside of test functions")]

mod common;
#[path = "common/nodes.rs"]
mod nodes;

use std::time::{Duration, Instant};

use nodes::{Node, is_unavailable, until};
use sessiond_store::{Lease, Store as _, StoreError, UnavailableReason};
use sessiond_store_postgres::PostgresOptions;
use sessiond_testkit::line::AtCommit;
use sessiond_testkit::postgres::{Server, Setup, database};

const WRITER: &str = "sessiond writer";

async fn lost_commit(what: AtCommit) {
    let database = database();
    let node = Node::open(database.url(), "a").await;
    let id = node.session("s").await;
    node.line.at_commit(what, WRITER);
    let done = node.title(&id, "once").await.unwrap();
    assert_eq!(node.line.met(), 1, "the line was cut");
    assert_eq!(done.events[0].seq.0, 2);
    assert_eq!(node.log().await, [1, 2]);
    let after = node.title(&id, "after").await.unwrap();
    assert_eq!(after.events[0].seq.0, 3);
    node.hears_all().await;
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_applied_once() {
    lost_commit(AtCommit::CutAfter).await;
}

#[tokio::test]
async fn a_commit_that_did_not_arrive_is_applied_once() {
    lost_commit(AtCommit::CutBefore).await;
}

/// The answer is lost, and nobody can be asked until patience has ended: the commit stands, and is
/// heard of in its place.
#[tokio::test]
async fn a_commit_that_stays_undecided_is_decided_before_the_next() {
    for what in [AtCommit::CutAfter, AtCommit::CutBefore] {
        let database = database();
        let node = Node::open(database.url(), "a").await;
        let id = node.session("s").await;
        node.line.at_commit(what, WRITER);
        let first = tokio::spawn(node.title(&id, "first"));
        until(async || node.line.met() == 1).await;
        node.line.cut_off();
        let first = first.await.unwrap();
        let was_lost = is_unavailable(&first, UnavailableReason::Unreachable);
        // On a fast machine it may have been decided before the line was cut for good.
        assert!(was_lost || first.is_ok(), "{first:?}");
        node.line.mend();
        let mut next = node.title(&id, "next").await;
        while is_unavailable(&next, UnavailableReason::Unreachable) {
            next = node.title(&id, "next").await;
        }
        let expected = if what == AtCommit::CutAfter || first.is_ok() {
            3
        } else {
            2
        };
        assert_eq!(next.unwrap().events[0].seq.0, expected);
        node.hears_all().await;
        assert_eq!(node.log().await.len() as u64, expected);
    }
}

#[tokio::test]
async fn an_unreachable_database_is_told_in_time_and_comes_back_by_itself() {
    let database = database();
    let node = Node::open(database.url(), "a").await;
    let id = node.session("s").await;
    node.line.cut_off();
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
    until(async || {
        let health = node.store.health().await;
        is_unavailable(&health, UnavailableReason::Unreachable)
    })
    .await;
    // A bound, not a measure: nobody hangs.
    assert!(began.elapsed() < Duration::from_secs(30));
    node.line.mend();
    until(async || node.title(&id, "y").await.is_ok()).await;
    until(async || {
        node.store
            .health()
            .await
            .is_ok_and(|health| health.writable)
    })
    .await;
    node.hears_all().await;
}

/// Whatever the moment at which connections end: what was acknowledged is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_under_load_lose_and_double_nothing() {
    let database = database();
    let node = Node::open(database.url(), "a").await;
    let ids = [node.session("s").await, node.session("t").await];
    let mut commits = Vec::new();
    for round in 0..30 {
        for (n, id) in ids.iter().enumerate() {
            let commit = node.title(id, &format!("{n} {round}"));
            commits.push(tokio::spawn(commit));
        }
        if round % 3 == 0 {
            tokio::time::sleep(Duration::from_millis(round * 2)).await;
            node.line.cut();
        }
    }
    let mut numbers = Vec::new();
    for commit in commits {
        // Patience outlasts a cut.
        numbers.push(commit.await.unwrap().unwrap().events[0].seq.0);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (3..=62).collect::<Vec<_>>());
    assert_eq!(node.log().await.len(), 62);
    node.hears_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_database_under_load_loses_nothing() {
    let mut server = Server::start(&Setup::default()).unwrap();
    let database = server.database().unwrap();
    let patient = |options| PostgresOptions {
        patience: Duration::from_secs(30),
        ..options
    };
    let node = Node::with(database.url(), "a", patient).await;
    let id = node.session("s").await;
    for round in 0..3 {
        let commits: Vec<_> = (0..40)
            .map(|n| tokio::spawn(node.title(&id, &format!("{round} {n}"))))
            .collect();
        server.crash().unwrap();
        server.restart().unwrap();
        for commit in commits {
            commit.await.unwrap().unwrap();
        }
    }
    assert_eq!(node.log().await.len(), 121);
    node.hears_all().await;
    node.store.close().await.unwrap();
}

/// One node stands still between its last statement and its COMMIT. Others wait for it, so that
/// its events come before theirs; or the server ends its transaction, and they come after.
async fn paused(hold: Duration, first: &str) {
    let database = database();
    let patient = |options| PostgresOptions {
        patience: Duration::from_secs(20),
        ..options
    };
    let (a, b) = (
        Node::with(database.url(), "a", patient).await,
        Node::with(database.url(), "b", patient).await,
    );
    let (s, t) = (a.session("s").await, b.session("t").await);
    a.line.at_commit(AtCommit::Hold, WRITER);
    let held = tokio::spawn(a.title(&s, "held"));
    until(async || a.line.met() == 1).await;
    let waiting = tokio::spawn(b.title(&t, "waiting"));
    tokio::time::sleep(hold).await;
    a.line.mend();
    let (held, waiting) = (
        held.await.unwrap().unwrap(),
        waiting.await.unwrap().unwrap(),
    );
    let (held, waiting) = (held.events[0].seq.0, waiting.events[0].seq.0);
    let expected = if first == "held" { (3, 4) } else { (4, 3) };
    assert_eq!((held, waiting), expected);
    a.hears_all().await;
    b.hears_all().await;
}

#[tokio::test]
async fn a_reader_does_not_skip_a_transaction_that_commits_late() {
    paused(Duration::from_millis(600), "held").await;
}

#[tokio::test]
async fn a_node_that_stands_still_in_a_transaction_does_not_stop_the_others() {
    paused(Duration::from_millis(3_500), "waiting").await;
}

/// As a process that is stopped, and goes on after its lease has ended.
#[tokio::test]
async fn a_node_that_was_away_writes_nothing_after_another_took_over() {
    let database = database();
    let short = |options| PostgresOptions {
        lease: Duration::from_secs(2),
        ..options
    };
    let a = Node::with(database.url(), "a", short).await;
    let b = Node::with(database.url(), "b", short).await;
    let id = a.session("s").await;
    let (old, lost) = (a.store.epoch(), a.leases().lost());
    a.line.stall();
    let late = tokio::spawn(a.title(&id, "late"));
    until(async || {
        // As the engine does every second.
        b.leases().orphans(10).await.unwrap();
        matches!(b.leases().acquire(&id).await, Ok(Lease::Held { .. }))
    })
    .await;
    let Ok(Lease::Held { epoch, .. }) = b.leases().acquire(&id).await else {
        panic!("b holds it");
    };
    let retitle = sessiond_model::SessionPatch {
        title: Some("b's".into()),
        ..sessiond_model::SessionPatch::default()
    };
    let change = sessiond_model::Change::UpdateSession(retitle);
    b.commit_as(&id, epoch, vec![change]).await.unwrap();
    a.line.mend();
    let late = late.await.unwrap();
    assert!(late.is_err(), "{late:?}");
    until(async || *lost.borrow() == 1).await;
    let again = a.commit_as(&id, old, Vec::new()).await;
    assert!(matches!(again, Err(StoreError::Fenced { .. })), "{again:?}");
    assert_eq!(b.log().await, [1, 2]);
    assert_eq!(b.store.session(&id).await.unwrap().unwrap().title, "b's");
    a.hears_all().await;
}

/// The database was away for longer than a lease, and a node starts before the others are back.
#[tokio::test]
async fn whoever_comes_after_an_outage_takes_nobody_for_dead() {
    let database = database();
    let short = |options| PostgresOptions {
        lease: Duration::from_secs(2),
        ..options
    };
    let a = Node::with(database.url(), "a", short).await;
    let id = a.session("s").await;
    a.line.stall();
    let ended = "SELECT expires_at < extract(epoch FROM clock_timestamp()) * 1000 \
                 FROM sessiond.node WHERE name = 'a'";
    until(async || database.psql(ended).is_ok_and(|said| said == "t")).await;
    let b = Node::with(database.url(), "b", short).await;
    b.leases().orphans(10).await.unwrap();
    let taken = b.leases().acquire(&id).await.unwrap();
    assert!(matches!(taken, Lease::Elsewhere(_)), "{taken:?}");
    a.line.mend();
    until(async || a.title(&id, "mine").await.is_ok()).await;
    assert_eq!(*a.leases().lost().borrow(), 0);
    a.hears_all().await;
}

/// Another program locks the session's row, then wants the clock that we hold: PostgreSQL ends one
/// of the two.
#[tokio::test]
async fn a_group_that_was_ended_for_another_is_applied_again() {
    let database = database();
    let node = Node::open(database.url(), "a").await;
    let id = node.session("s").await;
    let url = database.url().to_owned();
    let other = tokio::task::spawn_blocking(move || {
        let sql = "BEGIN; UPDATE sessiond.session SET slug = slug; SELECT pg_sleep(1); \
                   SELECT seq FROM sessiond.clock FOR UPDATE; COMMIT;";
        sessiond_testkit::postgres::psql(&url, sql)
    });
    until(async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        database.psql(sql).is_ok_and(|count| count == "1")
    })
    .await;
    let done = node.title(&id, "once").await.unwrap();
    assert_eq!(done.events[0].seq.0, 2);
    // It may be the other that was ended.
    let _ = other.await.unwrap();
    assert_eq!(node.log().await, [1, 2]);
    node.hears_all().await;
}

#[tokio::test]
async fn a_lock_that_is_not_given_up_is_not_waited_for_without_end() {
    let database = database();
    let short = |options| PostgresOptions {
        statement_timeout: Duration::from_millis(400),
        patience: Duration::from_millis(600),
        ..options
    };
    let node = Node::with(database.url(), "a", short).await;
    let id = node.session("s").await;
    let url = database.url().to_owned();
    let other = tokio::task::spawn_blocking(move || {
        let sql = "BEGIN; SELECT seq FROM sessiond.clock FOR UPDATE; SELECT pg_sleep(3); COMMIT;";
        sessiond_testkit::postgres::psql(&url, sql)
    });
    until(async || {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        database.psql(sql).is_ok_and(|count| count == "1")
    })
    .await;
    let refused = node.title(&id, "x").await;
    assert!(
        is_unavailable(&refused, UnavailableReason::Busy),
        "{refused:?}"
    );
    other.await.unwrap().unwrap();
    node.title(&id, "y").await.unwrap();
    assert_eq!(node.log().await, [1, 2]);
}
