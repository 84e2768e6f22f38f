//! Measures sessiond beside OpenCode and sandbox-agent: the same requests, on one machine, in
//! turns, held against the targets of the project.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

mod bare;
mod cases;
mod error;
mod http;
mod load;
mod nodes;
mod report;
mod server;
mod setup;

use cases::{Bench, Case};
use error::{BenchError, Result};

#[derive(Debug, Parser)]
#[command(about, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measure several nodes on one PostgreSQL, which is started for it
    Nodes(nodes::Options),
    /// Serve an axum handler that does nothing; used by the bench itself
    #[command(hide = true)]
    Bare { addr: SocketAddr },
}

/// What to measure and how long.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// A short run; the default
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// More rounds, each longer
    #[arg(long)]
    full: bool,
    /// Measure only this; may be repeated
    #[arg(long, value_enum)]
    only: Vec<Case>,
    /// Write all numbers to a file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure sessiond alone
    #[arg(long)]
    no_peers: bool,
    /// Measure this sessiond instead of building one
    #[arg(long, value_name = "PROGRAM")]
    sessiond: Option<PathBuf>,
    /// Sessions in the store
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    sessions: u64,
    /// Sessions in the small and the large store between which nothing may grow
    #[arg(long, num_args = 2, default_values_t = [1_000, 100_000], value_names = ["N", "M"])]
    growth: Vec<u64>,
    /// Messages in the long session
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    messages: u64,
    /// Streamed turns before the disk is measured
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    turns: u64,
    /// Subscribers of the event stream
    #[arg(long, default_value_t = 500, value_name = "N")]
    subscribers: usize,
    /// Rounds of each measurement; every server has its turn in each
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Milliseconds of load per server and round
    #[arg(long, value_name = "MS")]
    slice: Option<u64>,
}

impl Options {
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.full { 7 } else { 3 })
    }

    pub(crate) fn slice(&self) -> Duration {
        Duration::from_millis(self.slice.unwrap_or(if self.full { 3_000 } else { 800 }))
    }

    pub(crate) fn wants(&self, case: Case) -> bool {
        self.only.is_empty() || self.only.contains(&case)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do when this fails.
            let _ = writeln!(std::io::stderr(), "sessiond-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    if let Some(Command::Bare { addr }) = cli.command {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(BenchError::io("cannot start the runtime"))?;
        return runtime.block_on(bare::serve(addr));
    }
    // One thread: more of them would only take the processors from the servers.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(BenchError::io("cannot start the runtime"))?;
    if let Some(Command::Nodes(options)) = cli.command {
        let report = runtime.block_on(nodes::run(options))?;
        return std::io::stdout()
            .write_all(report.as_bytes())
            .map_err(BenchError::io("cannot print"));
    }
    let json = cli.options.json.clone();
    let report = runtime.block_on(async { Bench::prepare(cli.options).await?.run().await })?;
    if let Some(path) = json {
        let text =
            serde_json::to_string_pretty(&report).map_err(|e| BenchError::Task(e.to_string()))?;
        std::fs::write(&path, text).map_err(BenchError::file("cannot write", &path))?;
    }
    std::io::stdout()
        .write_all(report.render().as_bytes())
        .map_err(BenchError::io("cannot print"))
}
