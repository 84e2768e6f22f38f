//! A private PostgreSQL, and nodes on it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sessiond_testkit::postgres::{self, Database, Setup};

use crate::cases::lane::Lane;
use crate::error::{BenchError, Result};
use crate::load::{self, Requests, Sample, Until};
use crate::server::{Server, Who, cpu_of, stat_of};
use crate::setup::Programs;

/// Nodes on one database.
pub(super) struct Fleet {
    pub(super) nodes: Vec<Lane>,
    // Dropped before its server.
    database: Database,
    postgres: postgres::Server,
}

/// Processor time used so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    at: Instant,
    nodes: Duration,
    postgres: Duration,
    driver: Duration,
}

impl Fleet {
    /// Starts a PostgreSQL that writes as in earnest, and `count` nodes.
    pub(super) async fn start(programs: &Programs, root: &Path, count: usize) -> Result<Self> {
        let setup = Setup {
            durable: true,
            settings: vec!["shared_buffers = 256MB".into(), "max_wal_size = 4GB".into()],
            ..Setup::default()
        };
        let failed = BenchError::io("cannot start PostgreSQL");
        let postgres = postgres::Server::start(&setup).map_err(failed)?;
        let database = postgres
            .database()
            .map_err(BenchError::io("cannot make a database"))?;
        let work = root.join("work");
        std::fs::create_dir_all(&work).map_err(BenchError::file("cannot create", &work))?;
        let mut nodes = Vec::new();
        for n in 1..=count {
            let (url, directory) = (database.url().to_owned(), work.display().to_string());
            let environment = move |addr| {
                vec![
                    ("SESSIOND_STORE", url),
                    ("SESSIOND_DIRECTORY", directory),
                    ("SESSIOND_CLUSTER_NODE", format!("node-{n}")),
                    ("SESSIOND_CLUSTER_ADVERTISE_URL", format!("http://{addr}")),
                    (
                        "SESSIOND_CLUSTER_TOKEN",
                        "nodes-of-the-bench-0123456789".into(),
                    ),
                ]
            };
            let home = root.join(format!("node-{n}"));
            let path = "/session?limit=1";
            let server = Server::start_with(Who::Sessiond, programs, &home, path, environment);
            nodes.push(Lane::new(server.await?));
        }
        Ok(Self {
            nodes,
            database,
            postgres,
        })
    }

    /// Creates sessions until there are so many, the nodes in turns.
    pub(super) async fn seed(&mut self, total: u64) -> Result<()> {
        let nodes = self.nodes.len() as u64;
        for (n, lane) in self.nodes.iter_mut().enumerate() {
            lane.seed(total / nodes + u64::from((n as u64) < total % nodes))
                .await?;
        }
        let failed = BenchError::io("cannot analyze the database");
        self.database
            .psql("VACUUM ANALYZE")
            .map_err(failed)
            .map(drop)
    }

    /// All sessions.
    pub(super) fn sessions(&self) -> Arc<Vec<String>> {
        let all = self.nodes.iter().flat_map(|lane| lane.sessions.iter());
        Arc::new(all.cloned().collect())
    }

    /// Puts load on the first `nodes` nodes, the connections shared out.
    pub(super) async fn load(
        &self,
        nodes: usize,
        connections: usize,
        time: Duration,
        requests: impl Fn(usize) -> Requests,
    ) -> Result<Sample> {
        let mut tasks = tokio::task::JoinSet::new();
        for (n, lane) in self.nodes.iter().take(nodes).enumerate() {
            let (endpoint, requests) = (lane.server.endpoint.clone(), requests(n));
            let share = connections / nodes + usize::from(n < connections % nodes);
            let until = Until::Elapsed { time, least: 3 };
            tasks.spawn(async move { load::run(&endpoint, share, until, &requests, None).await });
        }
        let mut all = Sample::default();
        while let Some(sample) = tasks.join_next().await {
            let sample = sample??;
            all.elapsed = all.elapsed.max(sample.elapsed);
            all.latencies.extend(sample.latencies);
        }
        all.latencies.sort_unstable();
        Ok(all)
    }

    pub(super) fn usage(&self) -> Usage {
        let main = self.postgres.pid().unwrap_or_default();
        Usage {
            at: Instant::now(),
            nodes: self.nodes.iter().map(|lane| lane.server.cpu()).sum(),
            postgres: cpu_of(main, 4) + children(main).into_iter().map(|pid| cpu_of(pid, 4)).sum(),
            driver: cpu_of(std::process::id(), 2),
        }
    }

    /// Bytes of the database.
    pub(super) fn bytes(&self) -> f64 {
        let size = self
            .database
            .psql("SELECT pg_database_size(current_database())");
        size.ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(f64::NAN)
    }

    pub(super) async fn stop(self) -> Result<()> {
        for lane in self.nodes {
            lane.server.stop().await?;
        }
        Ok(())
    }
}

impl Usage {
    /// Processors in use since `self`: by nodes, PostgreSQL and this program.
    pub(super) fn until(&self, later: &Self) -> [f64; 3] {
        let seconds = later.at.duration_since(self.at).as_secs_f64();
        [
            (self.nodes, later.nodes),
            (self.postgres, later.postgres),
            (self.driver, later.driver),
        ]
        .map(|(from, to)| to.saturating_sub(from).as_secs_f64() / seconds)
    }
}

fn children(of: u32) -> Vec<u32> {
    let of = of.to_string();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat_of(*pid).get(1) == Some(&of))
        .collect()
}
