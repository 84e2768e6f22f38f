//! The process ends at each named point of a commit; what was acknowledged is there
//! afterwards, and nothing is half there.
#![cfg(feature = "failpoints")]
#![expect(clippy::unwrap_used, reason = "test code outside of test functions")]

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use common::options;
use sessiond_model::{Change, Commit, Timestamp};
use sessiond_store::contract::fixtures as fx;
use sessiond_store::{MessageQuery, NoFeed, Store};
use sessiond_store_sqlite::SqliteStore;

const DIR: &str = "SESSIOND_TEST_DIR";

fn open(dir: &Path) -> SqliteStore {
    SqliteStore::open(&options(dir, Arc::new(NoFeed))).unwrap()
}

/// Not a test of its own: the process that ends. It writes a line for each acknowledgement.
#[tokio::test]
#[ignore = "run by the other test of this file"]
async fn child() {
    let dir = std::env::var(DIR).unwrap();
    let dir = Path::new(&dir);
    let store = open(dir);
    let id = fx::sid("a");
    for n in 0..20 {
        let name = format!("m{n}");
        let mut changes = vec![
            Change::PutMessage(fx::user(&id, &name, 2_000)),
            Change::PutPart(fx::text(&id, &name, &name, "text")),
        ];
        if n == 0 {
            changes.insert(0, fx::create(fx::session("a")));
        }
        let commit = Commit {
            session_id: id.clone(),
            fence: store.epoch(),
            at: Timestamp(2_000),
            require: Vec::new(),
            changes,
        };
        store.commit(commit).await.unwrap();
        std::fs::write(dir.join("acknowledged"), (n + 1).to_string()).unwrap();
    }
}

#[tokio::test]
async fn every_point_is_survived() {
    let points = [
        "commit.before_begin",
        "commit.after_apply",
        "commit.before_commit",
        "commit.after_commit",
        "commit.before_reply",
    ];
    for point in points {
        for nth in [1, 2, 7] {
            let dir = tempfile::tempdir().unwrap();
            let status = Command::new(std::env::current_exe().unwrap())
                .args(["child", "--exact", "--ignored"])
                .env(DIR, dir.path())
                .env("SESSIOND_FAILPOINT", format!("{point}:{nth}"))
                .output()
                .unwrap()
                .status;
            assert!(!status.success(), "{point}:{nth} was never reached");
            let told = std::fs::read_to_string(dir.path().join("acknowledged"));
            let acknowledged: usize = told.map_or(0, |n| n.parse().unwrap());
            assert_eq!(acknowledged, nth - 1);

            let store = open(dir.path());
            let page = store
                .messages(&fx::sid("a"), &MessageQuery::default())
                .await
                .unwrap();
            let kept = page.messages.len();
            let durable = point == "commit.after_commit" || point == "commit.before_reply";
            assert_eq!(kept, nth - usize::from(!durable), "{point}:{nth}");
            assert!(page.messages.iter().all(|m| m.parts.len() == 1));
            let last = store.last_seq().await.unwrap().0;
            let expected = if kept == 0 { 0 } else { 2 * kept as u64 + 1 };
            assert_eq!(last, expected);
        }
    }
}
