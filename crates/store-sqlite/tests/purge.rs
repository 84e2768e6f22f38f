//! What a purge leaves in the files of the data directory: nothing.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::options;
use sessiond_model::{Change, Commit, Part, PartBody, SessionId, SessionPatch, Timestamp};
use sessiond_store::contract::fixtures as fx;
use sessiond_store::{MessageQuery, NoFeed, Store};
use sessiond_store_sqlite::SqliteStore;

/// In every text of the session that goes.
const CANARY: &str = "canary-8f1d2c";

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

/// The files of the directory in which the canary can be found.
fn found(dir: &Path) -> Vec<String> {
    let needle = CANARY.as_bytes();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(self::found(&path));
        } else if std::fs::read(&path)
            .unwrap()
            .windows(needle.len())
            .any(|bytes| bytes == needle)
        {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

/// Writes what a session may hold; every text carries `word`. `n` makes names and sizes differ.
async fn write(store: &SqliteStore, session: &SessionId, word: &str, n: usize) {
    let name = |what: &str| format!("{}-{what}{n}", &session.as_str()[4..]);
    let message = name("m");
    let text = |part: &str, size: usize| {
        let text = format!("{word} {}", word.repeat(size / word.len()));
        fx::text(session, &message, &name(part), &text)
    };
    let mut user = fx::user(session, &message, 2_000);
    if let sessiond_model::MessageInfo::User(info) = &mut user.info {
        info.system = Some(word.into());
    }
    let mut turn = fx::turn(session, &name("t"), &message);
    turn.options.agent = word.into();
    let mut permission = fx::permission(session, &name("p"));
    permission.patterns = vec![word.into()];
    let mut question = fx::question(session, &name("q"));
    question.questions[0].question = word.into();
    commit(
        store,
        session,
        vec![
            Change::UpdateSession(SessionPatch {
                title: Some(format!("{word} {n}")),
                metadata: Some(serde_json::Map::from_iter([("k".into(), word.into())])),
                ..SessionPatch::default()
            }),
            Change::PutMessage(user),
            Change::PutPart(text("a", 40 * (n % 200))),
            Change::PutPart(text("b", 3_000 + n)),
            Change::PutTurn(turn.clone()),
            Change::SetTodos {
                todos: vec![fx::todo(word)],
                turn_id: Some(turn.id.clone()),
            },
            Change::SetFileChanges {
                turn_id: turn.id.clone(),
                files: vec![fx::file(&format!("/{word}"))],
            },
            Change::AskPermission(permission),
            Change::AskQuestion(question),
            Change::ReportError(sessiond_model::MessageError::Unknown {
                message: word.into(),
                reference: None,
            }),
        ],
    )
    .await;
    // An answer that grows, as they do: every version of its row lies somewhere else.
    for size in [10, 200, 900, 5_000] {
        let part = Part {
            body: PartBody::text(format!("{word} {}", "y".repeat(size))),
            ..text("c", 1)
        };
        commit(store, session, vec![Change::CheckpointPart(part)]).await;
    }
    if n.is_multiple_of(20) {
        commit(store, session, vec![Change::PutPart(text("d", 150_000))]).await;
    }
}

#[tokio::test]
async fn a_purge_leaves_no_byte() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&options(dir.path(), Arc::new(NoFeed))).unwrap();
    let (kept, gone) = (fx::sid("kept"), fx::sid("gone"));
    for id in [&kept, &gone] {
        let mut session = fx::session(&id.as_str()[4..]);
        session.directory = format!("/{}", if *id == gone { CANARY } else { "kept" });
        commit(&store, id, vec![fx::create(session)]).await;
    }
    for n in 0..60 {
        // Between each other, so that their rows share pages.
        write(&store, &kept, "harmless", n).await;
        write(&store, &gone, CANARY, n).await;
    }
    // What was removed or replaced before leaves nothing either.
    for n in 0..20 {
        let message = fx::mid(&format!("gone-m{n}"));
        commit(&store, &gone, vec![Change::RemoveMessage(message)]).await;
    }
    let before = store
        .messages(&kept, &MessageQuery::default())
        .await
        .unwrap();
    assert!(!found(dir.path()).is_empty(), "the search finds it");
    commit(&store, &gone, vec![Change::TrashSession]).await;
    commit(&store, &gone, vec![Change::PurgeSession]).await;
    assert_eq!(found(dir.path()), Vec::<String>::new());
    let after = store
        .messages(&kept, &MessageQuery::default())
        .await
        .unwrap();
    assert_eq!(before, after);
    store.close().await.unwrap();
    assert_eq!(found(dir.path()), Vec::<String>::new());
}

/// A reader that is in the log at that moment does not keep it there.
#[tokio::test(flavor = "multi_thread")]
async fn readers_do_not_keep_what_was_purged() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(&options(dir.path(), Arc::new(NoFeed))).unwrap());
    let kept = fx::sid("kept");
    commit(&store, &kept, vec![fx::create(fx::session("kept"))]).await;
    for n in 0..30 {
        write(&store, &kept, "harmless", n).await;
    }
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (store, kept) = (store.clone(), kept.clone());
            tokio::spawn(async move {
                loop {
                    store
                        .messages(&kept, &MessageQuery::default())
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for round in 0..10 {
        let id = fx::sid(&format!("gone{round}"));
        let session = fx::session(&format!("gone{round}"));
        commit(&store, &id, vec![fx::create(session)]).await;
        write(&store, &id, CANARY, round).await;
        commit(&store, &id, vec![Change::TrashSession]).await;
        commit(&store, &id, vec![Change::PurgeSession]).await;
        assert_eq!(found(dir.path()), Vec::<String>::new());
    }
    for reader in readers {
        reader.abort();
    }
}
