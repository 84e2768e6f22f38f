//! The data directory: its lock, a full disk, a read-only one, and how much of it is used.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::options;
use rusqlite::Connection;
use sessiond_model::{Change, Commit, SessionId, SessionPatch, Timestamp};
use sessiond_store::contract::fixtures as fx;
use sessiond_store::rules::LARGE_BODY;
use sessiond_store::{
    Committed, MessageQuery, NoFeed, Store, StoreError, StoreResult, UnavailableReason,
};
use sessiond_store_sqlite::{SqliteOptions, SqliteStore};

fn opts(dir: &Path) -> SqliteOptions {
    options(dir, Arc::new(NoFeed))
}

async fn commit(
    store: &SqliteStore,
    session: &SessionId,
    changes: Vec<Change>,
) -> StoreResult<Committed> {
    let commit = Commit {
        session_id: session.clone(),
        fence: store.epoch(),
        at: Timestamp(2_000),
        require: Vec::new(),
        changes,
    };
    store.commit(commit).await
}

#[tokio::test]
async fn one_process_owns_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = opts(dir.path());
    first.holder_url = Some("http://127.0.0.1:1".into());
    let store = SqliteStore::open(&first).unwrap();
    let refused = |url: &str| {
        let error = SqliteStore::open(&opts(dir.path())).unwrap_err();
        let told = error.to_string();
        assert!(
            told.contains(url) && told.contains(&std::process::id().to_string()),
            "{told}"
        );
        assert!(matches!(error, StoreError::Locked { pid, .. } if pid == std::process::id()));
    };
    refused("http://127.0.0.1:1");
    store.set_holder_url("http://127.0.0.1:4096").unwrap();
    refused("http://127.0.0.1:4096");
    drop(store);
    SqliteStore::open(&opts(dir.path())).unwrap();
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    let mut full = opts(dir.path());
    // So many that a few are left when the next large message no longer fits.
    full.max_pages = Some(410);
    let store = SqliteStore::open(&full).unwrap();
    let id = fx::sid("a");
    commit(&store, &id, vec![fx::create(fx::session("a"))])
        .await
        .unwrap();
    let big = "x".repeat(100_000);
    let put = |n: usize| {
        let name = format!("m{n}");
        let text = format!("{n}{big}");
        vec![
            Change::PutMessage(fx::user(&id, &name, 2_000)),
            Change::PutPart(fx::text(&id, &name, &name, &text)),
        ]
    };
    let mut kept = 0;
    let error = loop {
        match commit(&store, &id, put(kept)).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(kept > 5);
    let reason = UnavailableReason::DiskFull;
    assert!(
        matches!(error, StoreError::Unavailable { reason: r } if r == reason),
        "{error}"
    );
    let page = store.messages(&id, &MessageQuery::default()).await.unwrap();
    assert_eq!(page.messages.len(), kept, "nothing is half there");
    assert!(!store.health().await.unwrap().writable);
    // It notices by itself that there is room for a little.
    for _ in 0..4_000 {
        if store.health().await.unwrap().writable {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert!(store.health().await.unwrap().writable);
    // After a removal there is room for more.
    let touch = Change::UpdateSession(SessionPatch::touch());
    let committed = commit(&store, &id, vec![touch]).await.unwrap();
    assert_eq!(
        committed.events[0].session_seq.0,
        2 * kept as u64 + 2,
        "no number was used"
    );
    commit(&store, &id, vec![Change::RemoveMessage(fx::mid("m0"))])
        .await
        .unwrap();
    commit(&store, &id, put(kept)).await.unwrap();
    store.close().await.unwrap();

    // More room.
    let store = SqliteStore::open(&opts(dir.path())).unwrap();
    for n in 1..20 {
        commit(&store, &id, put(kept + n)).await.unwrap();
    }
}

#[tokio::test]
async fn a_full_queue_refuses_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut small = opts(dir.path());
    small.queue = 4;
    let store = SqliteStore::open(&small).unwrap();
    let id = fx::sid("a");
    commit(&store, &id, vec![fx::create(fx::session("a"))])
        .await
        .unwrap();
    let calls: Vec<_> = (0..2_000)
        .map(|n| {
            let message = Change::PutMessage(fx::user(&id, &format!("m{n}"), n));
            store.commit(Commit {
                session_id: id.clone(),
                fence: store.epoch(),
                at: Timestamp(n),
                require: Vec::new(),
                changes: vec![message],
            })
        })
        .collect();
    let (mut done, mut refused) = (0, 0);
    for call in calls {
        match call.await {
            Ok(_) => done += 1,
            Err(StoreError::Unavailable {
                reason: UnavailableReason::Overloaded,
            }) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(done > 0 && refused > 0, "{done} done, {refused} refused");
    let page = store.messages(&id, &MessageQuery::default()).await.unwrap();
    assert_eq!(page.messages.len(), done);
}

#[cfg(unix)]
#[tokio::test]
async fn a_read_only_directory_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let closed = dir.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(closed.join("probe"), "").is_ok() {
        // The superuser may write everywhere.
        return;
    }
    let error = SqliteStore::open(&opts(&closed)).unwrap_err();
    let reason = UnavailableReason::ReadOnly;
    assert!(
        matches!(error, StoreError::Unavailable { reason: r } if r == reason),
        "{error}"
    );
}

#[tokio::test]
async fn equal_large_content_is_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&opts(dir.path())).unwrap();
    let big = "x".repeat(LARGE_BODY * 2);
    for name in ["a", "b"] {
        let id = fx::sid(name);
        let changes = vec![
            fx::create(fx::session(name)),
            Change::PutMessage(fx::user(&id, name, 2_000)),
            Change::PutPart(fx::text(&id, name, &format!("{name}1"), &big)),
            Change::PutPart(fx::text(&id, name, &format!("{name}2"), &big)),
            // While it grows it stays with its part.
            Change::CheckpointPart(fx::open_text(&id, name, &format!("{name}3"), &big)),
        ];
        commit(&store, &id, changes).await.unwrap();
    }
    let blobs = || {
        let db = Connection::open(dir.path().join("sessiond.db")).unwrap();
        let mut select = db.prepare("SELECT refs FROM blob").unwrap();
        let refs = select.query_map([], |row| row.get::<_, i64>(0)).unwrap();
        refs.map(Result::unwrap).collect::<Vec<_>>()
    };
    assert_eq!(blobs(), [4]);
    let remove = |name: &str| vec![Change::RemoveMessage(fx::mid(name))];
    commit(&store, &fx::sid("a"), remove("a")).await.unwrap();
    assert_eq!(blobs(), [2]);
    let small = Change::PutPart(fx::text(&fx::sid("b"), "b", "b1", "small"));
    commit(&store, &fx::sid("b"), vec![small]).await.unwrap();
    assert_eq!(blobs(), [1]);
    commit(&store, &fx::sid("b"), remove("b")).await.unwrap();
    assert_eq!(blobs(), [0i64; 0]);
}

#[tokio::test]
async fn messages_take_little_more_than_their_json() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&opts(dir.path())).unwrap();
    let ids = sessiond_model::HybridIds::new(Arc::new(sessiond_model::SystemClock));
    let mut floor = sessiond_model::IdStamp::default();
    let (mut json, mut calls) = (0, Vec::new());
    for s in 0..20 {
        let mut session = fx::session("x");
        session.id = SessionId::mint(&ids, &mut floor);
        let id = session.id.clone();
        commit(&store, &id, vec![fx::create(session)])
            .await
            .unwrap();
        for _ in 0..150 {
            let mut message = fx::user(&id, "m", 1_795_364_893_636 + s);
            message.id = sessiond_model::MessageId::mint(&ids, &mut floor);
            let mut part = fx::text(&id, "m", "p", &"a bit of text of ".repeat(61)[..1024]);
            part.id = sessiond_model::PartId::mint(&ids, &mut floor);
            part.message_id = message.id.clone();
            let doc = serde_json::json!({"info": &message, "parts": [&part]});
            json += doc.to_string().len();
            let changes = vec![
                Change::PutMessage(message),
                Change::PutPart(part),
                Change::UpdateSession(SessionPatch::touch()),
            ];
            calls.push(store.commit(Commit {
                session_id: id.clone(),
                fence: store.epoch(),
                at: Timestamp(1_795_364_893_636),
                require: Vec::new(),
                changes,
            }));
        }
    }
    for call in calls {
        call.await.unwrap();
    }
    store.close().await.unwrap();
    let files = std::fs::read_dir(dir.path()).unwrap();
    let bytes: u64 = files.map(|f| f.unwrap().metadata().unwrap().len()).sum();
    let ratio = bytes as f64 / json as f64;
    println!("bytes on disk / JSON of the messages = {ratio:.3}");
    assert!(ratio <= 1.5, "{ratio}");
}

/// A listener with a fault.
#[derive(Debug)]
struct Faulty;

impl sessiond_store::Feed for Faulty {
    fn publish(&self, _: &Arc<[Arc<sessiond_model::Event>]>) {
        panic!("a fault of the listener");
    }
}

#[tokio::test]
async fn a_listener_that_panics_does_not_end_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&options(dir.path(), Arc::new(Faulty))).unwrap();
    let id = fx::sid("a");
    let create = vec![fx::create(fx::session("a"))];
    commit(&store, &id, create).await.unwrap();
    let touch = vec![Change::UpdateSession(SessionPatch::touch())];
    commit(&store, &id, touch).await.unwrap();
    assert_eq!(store.last_seq().await.unwrap().0, 2);
}
