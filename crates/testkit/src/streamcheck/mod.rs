//! The stream checker: subscribers whose connections are cut at random bytes, who read slowly,
//! and whose server is killed under them, see all the same what a `GET` shows.
//!
//! Each subscriber folds what it is sent into sessions, messages and parts, as a client does,
//! and comes back with `Last-Event-ID`. At the end the fold equals the answers of the API;
//! on `/v1/events` no number comes twice, none is missing, and a delta always continues the
//! text that was there.

mod fold;
mod subscriber;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::task::JoinSet;

use crate::daemon::{Daemon, Home};
use crate::http::Client;
use crate::killloop::clients::Writer;
use crate::killloop::ledger::Ledger;
use crate::killloop::verify::settle;
use fold::Surface;
use subscriber::{Shared, Subscriber};

/// How long each run of the server is written to.
const WRITING: Duration = Duration::from_millis(2_500);
/// Longest that the subscribers may take to get to the end.
const CATCH_UP: Duration = Duration::from_secs(60);
/// Title of the last thing that happens.
const THE_END: &str = "the end of the stream check";

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often the server is killed.
    pub kills: u32,
    /// Where the randomness starts.
    pub seed: u64,
    /// The program.
    pub binary: PathBuf,
    /// Directory of data, log and project.
    pub dir: PathBuf,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Messages of all streams.
    pub frames: u64,
    /// Connections that were made.
    pub connections: u64,
    /// Sessions that were compared, by each subscriber.
    pub sessions: usize,
}

/// Subscribes, writes, cuts, kills and compares.
///
/// # Errors
/// What a subscriber saw wrong, with the seed.
pub async fn run(options: &Options) -> Result<Report, String> {
    check(options).await.map_err(|broken| {
        format!(
            "{broken}\nseed {}, everything is in {}",
            options.seed,
            options.dir.display()
        )
    })
}

async fn check(options: &Options) -> Result<Report, String> {
    let mut rng = StdRng::seed_from_u64(options.seed);
    let home = Home::new(
        &options.dir,
        &options.binary,
        "[limits]\nagent_idle = \"2s\"\n",
    )
    .map_err(|e| e.to_string())?;
    let start = async || Daemon::start(&home, &[]).await.map_err(|e| e.to_string());
    let mut server = start().await?;
    let shared = Arc::new(Mutex::new(Shared::new(server.client())));
    let mut subscribers = JoinSet::new();
    for surface in [Surface::Core, Surface::Opencode, Surface::OpencodeGlobal] {
        for slow in [false, true] {
            let rng = StdRng::seed_from_u64(rng.random());
            let subscriber = Subscriber::new(surface, slow, Arc::clone(&shared), rng);
            subscribers.spawn(subscriber.run());
        }
    }
    let ledger: Arc<Mutex<Ledger>> = Arc::default();
    for _ in 0..options.kills {
        let mut writers = JoinSet::new();
        for number in 0..4 {
            let rng = StdRng::seed_from_u64(rng.random());
            writers.spawn(Writer::new(number, server.client(), Arc::clone(&ledger), rng).run());
        }
        tokio::time::sleep(WRITING).await;
        server.kill().await;
        while let Some(end) = writers.join_next().await {
            end.map_err(|e| e.to_string())??;
        }
        server = start().await?;
        shared.lock().client = server.client();
    }
    let client = server.client();
    settle(&client).await?;
    the_end(&client).await?;
    shared.lock().ending = Some(Instant::now() + CATCH_UP);
    let mut report = Report::default();
    while let Some(end) = subscribers.join_next().await {
        let subscriber = end.map_err(|e| e.to_string())??;
        report.frames += subscriber.frames;
        report.connections += subscriber.connections;
        report.sessions = subscriber.compare(&client).await?;
    }
    server.stop().await.map_err(|e| e.to_string())?;
    Ok(report)
}

/// The last event: who has seen it has seen all.
async fn the_end(client: &Client) -> Result<(), String> {
    let reply = client
        .post("/opencode/session", &json!({"title": THE_END}))
        .await
        .map_err(|e| e.to_string())?;
    if reply.ok() {
        Ok(())
    } else {
        Err(reply.text())
    }
}
