use std::sync::Arc;

use sessiond_model::{Change, Commit, Event, Seq, SessionPatch, SessionSeq, Timestamp};

use super::Bench;
use super::fixtures as fx;
use crate::{EventQuery, Scope};

const SESSIONS: usize = 4;
const COMMITS: usize = 25;

fn touch(bench: &Bench, session: &sessiond_model::SessionId, at: i64) -> Commit {
    Commit {
        session_id: session.clone(),
        fence: bench.store().epoch(),
        at: Timestamp(at),
        require: Vec::new(),
        changes: vec![
            Change::UpdateSession(SessionPatch::touch()),
            Change::PutMessage(fx::user(session, &format!("{session}_{at}"), at)),
        ],
    }
}

pub async fn session_seq_has_no_gaps_under_load(bench: &mut Bench) {
    let mut pending = Vec::new();
    for n in 0..SESSIONS {
        let id = bench.session(&format!("s{n}")).await;
        for at in 0..COMMITS {
            pending.push(bench.store().commit(touch(bench, &id, at as i64)));
            // Some fail in between; they must not leave holes.
            let mut failing = touch(bench, &id, at as i64);
            failing
                .changes
                .push(Change::PutPart(fx::text(&id, "none", "p", "x")));
            pending.push(bench.store().commit(failing));
        }
    }
    let results = futures::future::join_all(pending).await;
    assert_eq!(
        results.iter().filter(|r| r.is_ok()).count(),
        SESSIONS * COMMITS
    );
    bench.step().await;
    let query = EventQuery {
        after: Seq(0),
        until: None,
        scope: Scope::All,
        limit: 10_000,
    };
    let log = bench.store().events(&query).await.unwrap().events;
    let all: Vec<_> = log.iter().map(|e| e.seq.0).collect();
    let expected: Vec<_> = (1..=(SESSIONS * (1 + 2 * COMMITS)) as u64).collect();
    assert_eq!(all, expected);
    for n in 0..SESSIONS {
        let id = fx::sid(&format!("s{n}"));
        let own = log.iter().filter(|e| e.session_id == id);
        let own: Vec<_> = own.map(|e| e.session_seq.0).collect();
        assert_eq!(own, (1..=(1 + 2 * COMMITS) as u64).collect::<Vec<_>>());
    }
}

pub async fn commits_keep_the_order_of_their_calls(bench: &mut Bench) {
    let id = bench.session("a").await;
    let calls: Vec<_> = (0..50)
        .map(|n| {
            let mut commit = touch(bench, &id, n);
            commit.changes.truncate(1);
            commit.changes[0] = Change::UpdateSession(SessionPatch {
                title: Some(format!("title {n}")),
                ..SessionPatch::default()
            });
            bench.store().commit(commit)
        })
        .collect();
    // Awaited backwards: the order is that of the calls all the same.
    let mut numbers = Vec::new();
    for call in calls.into_iter().rev() {
        numbers.push(call.await.unwrap().events[0].session_seq);
    }
    numbers.reverse();
    assert_eq!(numbers, (2..=51).map(SessionSeq).collect::<Vec<_>>());
    let stored = bench.read(&id).await;
    assert_eq!(stored.title, "title 49");
}

pub async fn a_dropped_future_commits_all_the_same(bench: &mut Bench) {
    let id = bench.session("a").await;
    drop(bench.store().commit(touch(bench, &id, 5)));
    // The next one is behind it.
    let committed = bench.commit(&id, 6, vec![Change::TrashSession]).await;
    assert_eq!(committed.events[0].session_seq, SessionSeq(4));
}

pub async fn the_feed_hears_each_event_once_in_order_before_the_answer(bench: &mut Bench) {
    let mut answered: Vec<Arc<Event>> = Vec::new();
    for n in 0..3 {
        let session = fx::session(&format!("s{n}"));
        let id = session.id.clone();
        let committed = bench
            .try_commit(&id, 1, vec![fx::create(session)])
            .await
            .unwrap();
        answered.extend(committed.events.iter().cloned());
        let calls: Vec<_> = (0..10)
            .map(|at| bench.store().commit(touch(bench, &id, at)))
            .collect();
        for call in calls {
            let committed = call.await.unwrap();
            let heard = bench.recorder.heard();
            for event in committed.events.iter() {
                assert!(
                    heard.contains(event),
                    "{:?} was answered before it was told",
                    event.seq
                );
            }
            answered.extend(committed.events.iter().cloned());
        }
    }
    bench.step().await;
    let heard = bench.recorder.heard();
    let numbers: Vec<_> = heard.iter().map(|e| e.seq.0).collect();
    assert_eq!(numbers, (1..=63).collect::<Vec<_>>());
    answered.sort_by_key(|e| e.seq);
    assert_eq!(heard, answered);
}

pub async fn a_read_sees_what_was_acknowledged(bench: &mut Bench) {
    let id = bench.session("a").await;
    for at in 0..20 {
        let committed = bench
            .try_commit(&id, at, touch(bench, &id, at).changes)
            .await
            .unwrap();
        let head = bench.head(&id).await;
        assert_eq!(
            Some(head.last_seq),
            committed.events.last().map(|e| e.session_seq)
        );
        assert_eq!(Some(&head.session), committed.session.as_deref());
    }
}
