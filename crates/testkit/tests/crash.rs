//! A short kill loop and a short stream check; `scripts/test` runs the long ones.
//!
//! They need the real binary: `cargo build -p sessiond-cli` first, or `SESSIOND_BIN`.

use sessiond_testkit::{daemon, killloop, streamcheck};

#[tokio::test(flavor = "multi_thread")]
async fn a_few_kills_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let options = killloop::Options {
        kills: 6,
        seed: 1,
        clients: 4,
        binary: daemon::binary().unwrap(),
        dir: dir.path().to_owned(),
    };
    let report = killloop::run(&options, |_| {}).await.unwrap();
    assert!(report.acknowledged > 0 && report.killed > 0, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cut_streams_fold_to_what_the_api_shows() {
    let dir = tempfile::tempdir().unwrap();
    let options = streamcheck::Options {
        kills: 1,
        seed: 1,
        binary: daemon::binary().unwrap(),
        dir: dir.path().to_owned(),
    };
    let report = streamcheck::run(&options).await.unwrap();
    assert!(report.sessions > 0 && report.connections > 6, "{report:?}");
}
