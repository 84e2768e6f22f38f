//! The kill loop: concurrent clients write to the real server, the server is killed, and what
//! it had promised is looked for.
//!
//! A *life* is one run of the server. At its end it is killed with signal 9 at a random
//! moment, or ends itself at a failpoint of its store. Then it is started again and held to
//! its word:
//!
//! 1. every acknowledged write is there, and nothing else is there by halves;
//! 2. the events of a session are numbered from 1 without a gap;
//! 3. every durable event that a subscriber saw is in the log, at the same place;
//! 4. no session is busy for ever, no part and no turn is open, each accepted prompt has ended
//!    exactly once, and an ended turn stays as it was;
//! 5. a new prompt works, and no process of an agent is left behind.

pub(crate) mod clients;
pub(crate) mod ledger;
pub(crate) mod verify;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;

use crate::daemon::{Daemon, DaemonError, Home};
use ledger::Ledger;

/// The points at which the store can end the process.
const FAILPOINTS: [&str; 5] = [
    "commit.before_begin",
    "commit.after_apply",
    "commit.before_commit",
    "commit.after_commit",
    "commit.before_reply",
];
/// A server with a failpoint that was not reached is killed after this time.
const FAILPOINT_PATIENCE: Duration = Duration::from_secs(4);
/// Lives between two checks of everything.
const FULL_CHECK: u32 = 50;

/// What to do.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often to kill.
    pub kills: u32,
    /// Where the randomness starts.
    pub seed: u64,
    /// Concurrent clients.
    pub clients: usize,
    /// The program.
    pub binary: PathBuf,
    /// Directory of data, log and project.
    pub dir: PathBuf,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// Times the server was killed from outside.
    pub killed: u32,
    /// Times it ended at a failpoint.
    pub failed: u32,
    /// Acknowledged writes.
    pub acknowledged: u64,
    /// Sessions at the end.
    pub sessions: usize,
    /// Prompts that were accepted.
    pub prompts: usize,
}

/// Kills and checks. `tell` hears of progress.
///
/// # Errors
/// The broken promises, one a line, with the seed.
pub async fn run(options: &Options, tell: impl Fn(&str)) -> Result<Report, String> {
    let outcome = Loop::new(options)
        .map_err(|e| e.to_string())?
        .run(&tell)
        .await;
    outcome.map_err(|broken| {
        format!(
            "{broken}\nseed {}, everything is in {}",
            options.seed,
            options.dir.display()
        )
    })
}

struct Loop {
    options: Options,
    home: Home,
    ledger: Arc<Mutex<Ledger>>,
    rng: StdRng,
    report: Report,
}

impl Loop {
    fn new(options: &Options) -> Result<Self, DaemonError> {
        // Agents go soon, so that many sessions do not mean many processes.
        let settings = "[limits]\nagent_idle = \"2s\"\n[log]\nlevel = \"info\"\n";
        Ok(Self {
            home: Home::new(&options.dir, &options.binary, settings)?,
            ledger: Arc::default(),
            rng: StdRng::seed_from_u64(options.seed),
            report: Report::default(),
            options: options.clone(),
        })
    }

    async fn run(mut self, tell: &impl Fn(&str)) -> Result<Report, String> {
        let mut server = self.start(None).await?;
        for life in 1..=self.options.kills {
            let failpoint = self.rng.random_bool(0.5).then(|| {
                let name = FAILPOINTS
                    .choose(&mut self.rng)
                    .copied()
                    .unwrap_or_default();
                format!("{name}:{}", self.rng.random_range(1..60))
            });
            let seen = match &failpoint {
                Some(point) => {
                    server
                        .stop()
                        .await
                        .map_err(|e| format!("life {life}: {e}"))?;
                    match Daemon::start(&self.home, &[("SESSIOND_FAILPOINT", point)]).await {
                        Ok(armed) => self.live_and_fail(armed).await?,
                        // It failed while it started: a crash like any other.
                        Err(DaemonError::Ended(_)) => {
                            self.report.failed += 1;
                            verify::Seen::default()
                        }
                        Err(e) => return Err(format!("life {life}: {e}")),
                    }
                }
                None => self.live_and_die(server).await?,
            };
            server = self.start(failpoint.as_deref()).await?;
            let all = life % FULL_CHECK == 0 || life == self.options.kills;
            let check = verify::Check {
                client: server.client(),
                home: &self.home,
                server: server.pid(),
                ledger: &self.ledger,
                all,
            };
            check.run(&seen, &mut self.rng).await.map_err(|broken| {
                let how = failpoint.as_deref().unwrap_or("kill -9");
                format!("life {life} ({how}):\n{broken}")
            })?;
            if life % 10 == 0 {
                let acknowledged = self.ledger.lock().acknowledged;
                tell(&format!(
                    "{life} kills, {acknowledged} acknowledged writes, all kept"
                ));
            }
        }
        server.stop().await.map_err(|e| e.to_string())?;
        let left = verify::orphans_after_patience(&self.home, None).await;
        if !left.is_empty() {
            return Err(format!("processes left after the end: {left:?}"));
        }
        let ledger = self.ledger.lock();
        self.report.acknowledged = ledger.acknowledged;
        self.report.sessions = ledger.sessions.len();
        self.report.prompts = ledger.sessions.values().map(|s| s.prompts.len()).sum();
        Ok(self.report)
    }

    async fn start(&self, after: Option<&str>) -> Result<Daemon, String> {
        Daemon::start(&self.home, &[])
            .await
            .map_err(|e| format!("start after {}: {e}", after.unwrap_or("kill -9")))
    }

    /// Clients write until a random moment, then the server is killed.
    async fn live_and_die(&mut self, server: Daemon) -> Result<verify::Seen, String> {
        let (mut clients, watcher) = self.clients(&server);
        let moment = Duration::from_millis(self.rng.random_range(10..600));
        tokio::time::sleep(moment).await;
        server.kill().await;
        self.report.killed += 1;
        collect(&mut clients).await?;
        watcher.await.map_err(|e| e.to_string())?
    }

    /// Clients write until the server ends itself.
    async fn live_and_fail(&mut self, mut server: Daemon) -> Result<verify::Seen, String> {
        let (mut clients, watcher) = self.clients(&server);
        if server.ends_within(FAILPOINT_PATIENCE).await {
            self.report.failed += 1;
        } else {
            self.report.killed += 1;
        }
        server.kill().await;
        collect(&mut clients).await?;
        watcher.await.map_err(|e| e.to_string())?
    }

    fn clients(&mut self, server: &Daemon) -> (Clients, Watcher) {
        let watcher = tokio::spawn(clients::watch(server.client()));
        let mut set = JoinSet::new();
        for number in 0..self.options.clients {
            let client = clients::Writer::new(
                number,
                server.client(),
                Arc::clone(&self.ledger),
                StdRng::seed_from_u64(self.rng.random()),
            );
            set.spawn(client.run());
        }
        (set, watcher)
    }
}

type Clients = JoinSet<Result<(), String>>;
type Watcher = tokio::task::JoinHandle<Result<verify::Seen, String>>;

/// Waits for the clients, who stop when the server is gone.
async fn collect(clients: &mut Clients) -> Result<(), String> {
    while let Some(end) = clients.join_next().await {
        end.map_err(|e| e.to_string())??;
    }
    Ok(())
}
