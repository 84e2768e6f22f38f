//! What is measured, and in which order.

mod disk;
pub(crate) mod fanout;
mod growth;
pub(crate) mod lane;
mod start;
mod throughput;

use std::path::PathBuf;
use std::time::Instant;

use clap::ValueEnum;

use crate::Options;
use crate::error::{BenchError, Result};
use crate::report::{Bound, Check, Report, Row};
use crate::server::{Server, Who};
use crate::setup::{self, Programs};
use lane::Lane;

/// One kind of measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Case {
    Get,
    List,
    Page,
    Patch,
    Append,
    Create,
    /// Cost against the size of the store
    Growth,
    /// Start to first answer
    Start,
    /// Resident memory
    Memory,
    /// Many subscribers
    Fanout,
    /// Bytes on disk
    Disk,
    /// Bytes on disk after streamed turns
    Turns,
}

/// A run of the bench.
#[derive(Debug)]
pub(crate) struct Bench {
    options: Options,
    programs: Programs,
    /// Where the servers of this run live; removed at the end.
    root: tempfile::TempDir,
    report: Report,
    began: Instant,
}

impl Bench {
    pub(crate) async fn prepare(options: Options) -> Result<Self> {
        let target = setup::target_dir()?;
        // Not in /tmp, which may be memory: a disk is part of what is measured.
        let dir = target.join("bench");
        std::fs::create_dir_all(&dir).map_err(BenchError::file("cannot create", &dir))?;
        let peers = if options.no_peers {
            None
        } else {
            Some(setup::install_peers(&dir).await?)
        };
        let sessiond = match &options.sessiond {
            Some(program) => {
                std::path::absolute(program).map_err(BenchError::file("cannot find", program))?
            }
            None => setup::build(&target).await?,
        };
        let root = tempfile::Builder::new()
            .prefix("run-")
            .tempdir_in(&dir)
            .map_err(BenchError::file("cannot create a folder in", &dir))?;
        let mut report = Report::default();
        report.context.insert("machine", machine());
        report.context.insert(
            "rounds",
            format!("{} of {:?} per server", options.rounds(), options.slice()),
        );
        Ok(Self {
            options,
            programs: Programs { sessiond, peers },
            root,
            report,
            began: Instant::now(),
        })
    }

    pub(crate) async fn run(mut self) -> Result<Report> {
        let wants = |case| self.options.wants(case);
        let main = [
            Case::Get,
            Case::List,
            Case::Page,
            Case::Patch,
            Case::Append,
            Case::Create,
            Case::Memory,
            Case::Fanout,
        ];
        let needs_main = main.into_iter().any(wants);
        let (start, disk, turns) = (wants(Case::Start), wants(Case::Disk), wants(Case::Turns));
        let large = if wants(Case::Growth) || start {
            Some(self.growth().await?)
        } else {
            None
        };
        if needs_main || start {
            let mut lanes = self.lanes().await?;
            self.reads(&lanes).await?;
            self.writes(&lanes).await?;
            self.memory_after_load(&lanes)?;
            self.fanout(&lanes).await?;
            if let (true, Some(large)) = (start, &large) {
                lanes = self.start(lanes, large).await?;
            }
            self.create(&lanes).await?;
            for lane in lanes {
                lane.server.stop().await?;
            }
        }
        if disk {
            self.disk().await?;
        }
        if turns {
            self.turns().await?;
        }
        let took = format!("{} s without building", self.began.elapsed().as_secs());
        self.report.context.insert("took", took);
        Ok(self.report)
    }

    /// sessiond and the peers that are measured.
    fn servers(&self) -> Vec<Who> {
        match self.programs.peers {
            Some(_) => vec![Who::Sessiond, Who::OpenCode, Who::SandboxAgent],
            None => vec![Who::Sessiond],
        }
    }

    fn home(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    async fn start_server(&self, who: Who, name: &str) -> Result<Server> {
        let path = if who == Who::Bare {
            "/session/x"
        } else {
            "/session?limit=1"
        };
        Server::start(who, &self.programs, &self.home(name), path).await
    }

    fn push(&mut self, row: Row) {
        let results: Vec<_> = row.checks.iter().map(Check::line).collect();
        self.say(&format!("{}: {}", row.name, results.join(", ")));
        self.report.rows.push(row);
    }

    /// Progress goes to the other output, so that the table can be piped.
    fn say(&self, what: &str) {
        use std::io::Write as _;
        // A run is worth more than its progress lines.
        let _ = writeln!(
            std::io::stderr(),
            "{:4} s  {what}",
            self.began.elapsed().as_secs()
        );
    }

    /// Starts every server with `sessions` sessions and one long session in its store.
    async fn lanes(&mut self) -> Result<Vec<Lane>> {
        let mut lanes = Vec::new();
        let mut idle = Row::new("resident memory, idle");
        for who in self.servers() {
            let server = self.start_server(who, who.name()).await?;
            self.say(&format!("{} answers", who.name()));
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            let mib = server.resident_mib()?;
            idle = idle.value(who, "MiB", mib);
            if who == Who::Sessiond {
                idle = idle.check(Check::new("", mib, " MiB", Bound::AtMost(30.0)));
            }
            lanes.push(Lane::new(server));
        }
        if self.options.wants(Case::Memory) {
            self.push(idle);
        }
        let mut seeding = tokio::task::JoinSet::new();
        for mut lane in lanes {
            let options = self.options.clone();
            seeding.spawn(async move {
                lane.seed(options.sessions).await?;
                // sandbox-agent cannot page, so that it needs no long session.
                if options.wants(Case::Page) && lane.server.who != Who::SandboxAgent {
                    lane.lengthen(options.messages).await?;
                }
                Result::Ok(lane)
            });
        }
        let mut lanes = Vec::new();
        while let Some(lane) = seeding.join_next().await {
            lanes.push(lane??);
        }
        lanes.sort_by_key(|lane| lane.server.who);
        self.say(&format!(
            "{} sessions in every store",
            self.options.sessions
        ));
        Ok(lanes)
    }

    fn memory_after_load(&mut self, lanes: &[Lane]) -> Result<()> {
        if !self.options.wants(Case::Memory) {
            return Ok(());
        }
        let mut row = Row::new(format!(
            "resident memory, {} sessions, after load",
            self.options.sessions
        ));
        for lane in lanes {
            let mib = lane.server.resident_mib()?;
            row = row.value(lane.server.who, "MiB", mib);
            if lane.server.who == Who::Sessiond {
                row = row.check(Check::new("", mib, " MiB", Bound::AtMost(96.0)));
            }
        }
        self.push(row);
        Ok(())
    }
}

pub(crate) fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "{cpus} × {}, load {load} at the start",
        model.map_or("unknown", |(_, name)| name)
    )
}
