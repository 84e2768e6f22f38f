//! Damage is contained: the store opens every time, and what is not touched can be read.
#![expect(clippy::unwrap_used, reason = "test code outside of test functions")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::options;
use rusqlite::Connection;
use sessiond_model::{
    Change, Commit, Health, PartBody, Session, SessionId, SessionPatch, Timestamp,
};
use sessiond_store::contract::fixtures as fx;
use sessiond_store::{EventQuery, MessageQuery, NoFeed, Scope, SessionQuery, Store, StoreError};
use sessiond_store_sqlite::SqliteStore;
use tempfile::TempDir;

const SESSIONS: usize = 20;
const MESSAGES: usize = 8;

fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(&options(dir, Arc::new(NoFeed))).unwrap()
}

async fn commit(store: &SqliteStore, session: &SessionId, changes: Vec<Change>) {
    let commit = Commit {
        session_id: session.clone(),
        fence: store.epoch(),
        at: Timestamp(2_000),
        require: Vec::new(),
        changes,
    };
    store.commit(commit).await.unwrap();
}

/// A closed store with some sessions.
async fn filled() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for s in 0..SESSIONS {
        let session = fx::full_session(&format!("s{s}"));
        let id = session.id.clone();
        commit(&store, &id, vec![fx::create(session)]).await;
        for m in 0..MESSAGES {
            let name = format!("s{s}m{m}");
            let changes = vec![
                Change::PutMessage(fx::user(&id, &name, 2_000)),
                Change::PutPart(fx::text(&id, &name, &name, &"lorem ipsum ".repeat(60))),
                Change::UpdateSession(SessionPatch::touch()),
            ];
            commit(&store, &id, changes).await;
        }
    }
    store.close().await.unwrap();
    dir
}

async fn listed(store: &SqliteStore) -> Vec<Session> {
    store
        .sessions(&SessionQuery::default())
        .await
        .unwrap()
        .sessions
}

/// Reads all there is; nothing may fail. Gives the number of sessions and of whole messages.
async fn read_all(store: &SqliteStore) -> (usize, usize) {
    let sessions = listed(store).await;
    let mut whole = 0;
    for session in &sessions {
        assert!(store.session(&session.id).await.unwrap().is_some());
        let page = store
            .messages(&session.id, &MessageQuery::default())
            .await
            .unwrap();
        for message in &page.messages {
            serde_json::from_str::<serde_json::Value>(&message.info).unwrap();
            let parts = message.typed_parts();
            let text = parts
                .iter()
                .filter(|p| matches!(p.body, PartBody::Text { .. }));
            whole += usize::from(text.count() == 1);
        }
    }
    let query = EventQuery {
        after: Default::default(),
        until: None,
        scope: Scope::All,
        limit: 100_000,
    };
    store.events(&query).await.unwrap();
    store.unfinished_sessions().await.unwrap();
    (sessions.len(), whole)
}

fn edit(dir: &Path, sql: &str) {
    let db = Connection::open(dir.join("sessiond.db")).unwrap();
    let changed = db.execute(sql, []).unwrap();
    assert_eq!(changed, 1, "{sql}");
}

async fn wait_for_degraded(store: &SqliteStore, id: &SessionId) {
    for _ in 0..2_000 {
        let session = store.session(id).await.unwrap().unwrap();
        if session.health == Health::Degraded {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("the session was never marked");
}

#[tokio::test]
async fn a_bad_part_is_kept_as_an_opaque_one() {
    let dir = filled().await;
    edit(
        dir.path(),
        "UPDATE part SET body = '{\"type\":\"te' WHERE id = 'prt_s3m2'",
    );
    let store = open(dir.path());
    let page = store
        .messages(&fx::sid("s3"), &MessageQuery::default())
        .await
        .unwrap();
    assert_eq!(page.messages.len(), MESSAGES);
    let parts = page.messages[2].typed_parts();
    assert!(matches!(&parts[0].body, PartBody::Opaque { raw } if raw == "{\"type\":\"te"));
    serde_json::from_str::<serde_json::Value>(&page.messages[2].parts[0].body).unwrap();
    wait_for_degraded(&store, &fx::sid("s3")).await;
    let degraded = listed(&store).await;
    let degraded = degraded.iter().filter(|s| s.health == Health::Degraded);
    assert_eq!(degraded.count(), 1);
    let incidents = store.health().await.unwrap().incidents;
    assert!(
        incidents[0].contains("prt_s3m2") && incidents[0].contains("ses_s3"),
        "{incidents:?}"
    );
    // Marked for good.
    store.close().await.unwrap();
    wait_for_degraded(&open(dir.path()), &fx::sid("s3")).await;
}

#[tokio::test]
async fn a_flipped_bit_in_a_text_is_noticed() {
    let dir = filled().await;
    let sql = "UPDATE part SET body = replace(body, 'lorem', 'larem') WHERE id = 'prt_s3m2'";
    edit(dir.path(), sql);
    let store = open(dir.path());
    let doc = store
        .message(&fx::sid("s3"), &fx::mid("s3m2"))
        .await
        .unwrap()
        .unwrap();
    assert!(
        matches!(&doc.typed_parts()[0].body, PartBody::Text { text, .. }
        if text.starts_with("larem"))
    );
    wait_for_degraded(&store, &fx::sid("s3")).await;
}

#[tokio::test]
async fn a_bad_message_keeps_its_place_and_its_bytes() {
    let dir = filled().await;
    edit(
        dir.path(),
        "UPDATE message SET info = x'ff00fe' WHERE id = 'msg_s3m2'",
    );
    let store = open(dir.path());
    let page = store
        .messages(&fx::sid("s3"), &MessageQuery::default())
        .await
        .unwrap();
    assert_eq!(page.messages.len(), MESSAGES);
    let bad = &page.messages[2];
    assert!(bad.message().is_some(), "clients can read it");
    let opaque = bad.typed_parts().into_iter();
    assert_eq!(
        opaque
            .filter(|p| matches!(p.body, PartBody::Opaque { .. }))
            .count(),
        1
    );
    assert_eq!(bad.parts.len(), 2);
    wait_for_degraded(&store, &fx::sid("s3")).await;
}

#[tokio::test]
async fn bad_columns_do_not_hide_a_session() {
    let dir = filled().await;
    edit(
        dir.path(),
        "UPDATE session SET metadata = '{', tokens = 7 WHERE id = 'ses_s3'",
    );
    edit(
        dir.path(),
        "UPDATE session SET title = x'ff41', status = 'odd' WHERE id = 'ses_s4'",
    );
    let store = open(dir.path());
    assert_eq!(read_all(&store).await, (SESSIONS, SESSIONS * MESSAGES));
    for (name, title) in [("s3", "Session s3"), ("s4", "\u{fffd}A")] {
        let session = store.session(&fx::sid(name)).await.unwrap().unwrap();
        assert_eq!(
            (session.health, session.title.as_str()),
            (Health::Degraded, title)
        );
    }
}

#[tokio::test]
async fn a_bad_column_is_told_when_its_session_goes_on() {
    let dir = filled().await;
    edit(
        dir.path(),
        "UPDATE session SET metadata = '{' WHERE id = 'ses_s3'",
    );
    let store = open(dir.path());
    let id = fx::sid("s3");
    let touch = Change::UpdateSession(SessionPatch::touch());
    commit(&store, &id, vec![touch]).await;
    let health = store.health().await.unwrap();
    assert!(health.incidents[0].contains("ses_s3"), "{health:?}");
    wait_for_degraded(&store, &id).await;
}

fn copy_of(dir: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

/// Deterministic noise.
fn noise(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[tokio::test]
async fn flipped_bytes_lose_only_what_they_hit() {
    let dir = filled().await;
    let bytes = fs::read(dir.path().join("sessiond.db")).unwrap();
    let mut seed = 0x9e37_79b9_7f4a_7c15;
    let rounds = std::env::var("DAMAGE_ROUNDS").map_or(40, |n| n.parse().unwrap());
    let (mut sessions, mut messages) = (0, 0);
    for round in 0..rounds {
        let copy = copy_of(dir.path());
        let mut damaged = bytes.clone();
        let at = noise(&mut seed) as usize % (bytes.len() - 6_000);
        let run = [1, 16, 256, 6_000][round % 4];
        for byte in &mut damaged[at..at + run] {
            *byte ^= (noise(&mut seed) | 1) as u8;
        }
        fs::write(copy.path().join("sessiond.db"), &damaged).unwrap();
        let store = open(copy.path());
        let (s, m) = read_all(&store).await;
        sessions += s;
        messages += m;
        // And it goes on.
        let id = fx::sid("fresh");
        commit(&store, &id, vec![fx::create(fx::session("fresh"))]).await;
        assert!(store.session(&id).await.unwrap().is_some());
        store.close().await.unwrap();
        read_all(&open(copy.path())).await;
    }
    let (all_sessions, all_messages) = (rounds * SESSIONS, rounds * SESSIONS * MESSAGES);
    println!("sessions {sessions}/{all_sessions}, whole messages {messages}/{all_messages}");
    assert!(
        sessions * 10 >= all_sessions * 9,
        "{sessions} of {all_sessions} sessions"
    );
    assert!(
        messages * 10 >= all_messages * 8,
        "{messages} of {all_messages} messages"
    );
}

#[tokio::test]
async fn a_truncated_file_keeps_what_is_left() {
    let dir = filled().await;
    let bytes = fs::read(dir.path().join("sessiond.db")).unwrap();
    for (part, least) in [
        (100, 0),
        (5_000, 0),
        (bytes.len() / 2, 0),
        (bytes.len() * 3 / 4, 5),
        (bytes.len() - 700, 15),
    ] {
        let copy = copy_of(dir.path());
        fs::write(copy.path().join("sessiond.db"), &bytes[..part]).unwrap();
        let store = open(copy.path());
        let (sessions, _) = read_all(&store).await;
        let health = store.health().await.unwrap();
        assert!(
            sessions >= least,
            "{sessions} sessions of a file cut at {part}: {health:?}"
        );
        assert!(!health.incidents.is_empty(), "{health:?}");
    }
}

#[tokio::test]
async fn a_lost_first_page_is_replaced() {
    let dir = filled().await;
    let path = dir.path().join("sessiond.db");
    let mut bytes = fs::read(&path).unwrap();
    bytes[..4096].fill(0);
    fs::write(&path, &bytes).unwrap();
    let store = open(dir.path());
    assert_eq!(read_all(&store).await, (SESSIONS, SESSIONS * MESSAGES));
    // The damaged file is kept as it was.
    let aside = fs::read_dir(dir.path().join("quarantine"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(fs::read(aside.path().join("sessiond.db")).unwrap(), bytes);
    let health = store.health().await.unwrap();
    assert!(
        health.incidents[0].contains("no row was lost"),
        "{health:?}"
    );
}

#[tokio::test]
async fn lost_inner_pages_lose_no_row() {
    let dir = filled().await;
    let path = dir.path().join("sessiond.db");
    let whole = fs::read(&path).unwrap();
    for table in ["session", "message", "part", "event"] {
        let copy = copy_of(dir.path());
        let root: u32 = Connection::open(&path)
            .unwrap()
            .query_row(
                "SELECT rootpage FROM sqlite_schema WHERE name = ?1",
                [table],
                |row| row.get(0),
            )
            .unwrap();
        let root = root as usize;
        let mut bytes = whole.clone();
        assert_eq!(bytes[(root - 1) * 4096], 5, "{table} has inner pages");
        bytes[(root - 1) * 4096..root * 4096].fill(0x5a);
        fs::write(copy.path().join("sessiond.db"), &bytes).unwrap();
        let store = open(copy.path());
        let all = (SESSIONS, SESSIONS * MESSAGES);
        assert_eq!(read_all(&store).await, all, "{table}");
        let health = store.health().await.unwrap();
        assert!(
            health.incidents[0].contains("no row was lost"),
            "{health:?}"
        );
    }
}

#[tokio::test]
async fn an_empty_file_is_told() {
    let dir = filled().await;
    fs::write(dir.path().join("sessiond.db"), b"").unwrap();
    let store = open(dir.path());
    assert_eq!(read_all(&store).await, (0, 0));
    let health = store.health().await.unwrap();
    assert!(
        health.incidents[0].contains("missing or empty"),
        "{health:?}"
    );
}

#[tokio::test]
async fn a_file_that_is_no_database_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(
        dir.path().join("sessiond.db"),
        "this is no database ".repeat(1_000),
    )
    .unwrap();
    let store = open(dir.path());
    assert_eq!(read_all(&store).await, (0, 0));
    assert!(dir.path().join("quarantine").exists());
}

#[tokio::test]
async fn a_salvage_that_was_cut_off_is_finished() {
    let dir = filled().await;
    // As after a crash between the two renames.
    let path = dir.path().join("sessiond.db");
    fs::rename(&path, dir.path().join("sessiond.db.new")).unwrap();
    let store = open(dir.path());
    assert_eq!(read_all(&store).await, (SESSIONS, SESSIONS * MESSAGES));
}

#[tokio::test]
async fn a_check_follows_an_unclean_stop() {
    let dir = filled().await;
    let path = dir.path().join("sessiond.db");
    {
        let db = Connection::open(&path).unwrap();
        db.execute("UPDATE meta SET value = '0' WHERE name = 'clean'", [])
            .unwrap();
        let root: i64 = db
            .query_row(
                "SELECT rootpage FROM sqlite_schema WHERE name = 'session_updated'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        drop(db);
        let mut bytes = fs::read(&path).unwrap();
        let at = (root as usize - 1) * 4096;
        bytes[at..at + 64].fill(0xee);
        fs::write(&path, bytes).unwrap();
    }
    let store = open(dir.path());
    // Found without anyone reading the list.
    for _ in 0..2_000 {
        if !store.health().await.unwrap().incidents.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let health = store.health().await.unwrap();
    assert!(
        health
            .incidents
            .iter()
            .any(|i| i.contains("no row was lost")),
        "{health:?}"
    );
    assert_eq!(read_all(&store).await, (SESSIONS, SESSIONS * MESSAGES));
}

#[tokio::test]
async fn a_newer_store_is_refused_in_one_sentence() {
    let dir = filled().await;
    let path = dir.path().join("sessiond.db");
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "INSERT INTO migration VALUES (9999999999, 'later', 'x', 0);
         UPDATE meta SET value = '9999999999' WHERE name = 'min_writer';
         UPDATE meta SET value = '9.9.9' WHERE name = 'written_by';",
    )
    .unwrap();
    drop(db);
    let before = fs::read(&path).unwrap();
    let error = SqliteStore::open(&options(dir.path(), Arc::new(NoFeed))).unwrap_err();
    assert!(matches!(&error, StoreError::TooNew { needed, .. } if needed == "9.9.9"));
    assert!(!error.to_string().contains('\n'));
    assert_eq!(fs::read(&path).unwrap(), before, "untouched");
}
