//! How several nodes on one PostgreSQL scale: with sessions, events, subscribers and nodes. All in
//! one run, on one machine, printed as the tables of docs/benchmarks.md.

mod delivery;
mod fleet;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use crate::cases::lane::{self, median};
use crate::cases::machine;
use crate::error::{BenchError, Result};
use crate::load::{Requests, quantile_ms};
use crate::report::number;
use crate::setup::{self, Programs};
use delivery::Plan;
use fleet::Fleet;

/// What is measured with how many nodes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Measure this sessiond instead of building one
    #[arg(long, value_name = "PROGRAM")]
    sessiond: Option<PathBuf>,
    /// Nodes
    #[arg(long, default_value_t = 3, value_name = "N")]
    nodes: usize,
    /// Sessions in the store, one size after the other
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000], value_name = "N,…")]
    sessions: Vec<u64>,
    /// Rounds of each measurement
    #[arg(long, default_value_t = 3, value_name = "N")]
    rounds: usize,
    /// Milliseconds of load per round
    #[arg(long, default_value_t = 2_000, value_name = "MS")]
    slice: u64,
}

/// Events a second and subscribers, measured one after the other.
const DELIVERIES: [(u64, usize); 6] = [
    (50, 1),
    (50, 500),
    (200, 1),
    (200, 50),
    (200, 200),
    (500, 10),
];
/// The target at 200 events a second.
const P99_MS: f64 = 250.0;
/// The target of three nodes against one.
const READS: f64 = 1.5;

struct Bench {
    options: Options,
    fleet: Fleet,
    began: Instant,
    out: String,
}

/// Measures all, and gives the tables.
pub(crate) async fn run(options: Options) -> Result<String> {
    let target = setup::target_dir()?;
    let dir = target.join("bench");
    std::fs::create_dir_all(&dir).map_err(BenchError::file("cannot create", &dir))?;
    let sessiond = match &options.sessiond {
        Some(program) => {
            std::path::absolute(program).map_err(BenchError::file("cannot find", program))?
        }
        None => setup::build(&target).await?,
    };
    let root = tempfile::Builder::new()
        .prefix("nodes-")
        .tempdir_in(&dir)
        .map_err(BenchError::file("cannot create a folder in", &dir))?;
    let programs = Programs {
        sessiond,
        peers: None,
    };
    let machine = machine();
    let mut bench = Bench {
        fleet: Fleet::start(&programs, root.path(), options.nodes.max(1)).await?,
        options,
        began: Instant::now(),
        out: String::new(),
    };
    let nodes = bench.options.nodes;
    bench.line(&format!(
        "{machine}; {nodes} nodes and PostgreSQL on it, with this program"
    ));
    bench.store().await?;
    bench.nodes().await?;
    bench.deliveries().await?;
    let seconds = bench.began.elapsed().as_secs();
    bench.line(&format!("\n{seconds} s without building"));
    bench.fleet.stop().await?;
    Ok(bench.out)
}

impl Bench {
    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
        // The other output shows how far it is; a run is worth more than that.
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    fn row(&mut self, cells: &[String]) {
        self.line(&format!("| {} |", cells.join(" | ")));
    }

    fn head(&mut self, title: &str, columns: &[&str]) {
        self.line(&format!("\n{title}\n"));
        let columns: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
        self.row(&columns);
        let rules = vec!["---".to_owned(); columns.len()];
        self.row(&rules);
    }

    /// Loads some nodes for all rounds; the rate, the latencies and who used the processors.
    async fn measure(
        &self,
        nodes: usize,
        connections: usize,
        requests: impl Fn(usize) -> Requests,
    ) -> Result<Measured> {
        let slice = Duration::from_millis(self.options.slice);
        self.fleet
            .load(nodes, connections, slice / 4, &requests)
            .await?;
        let (mut rates, mut latencies) = (Vec::new(), Vec::new());
        let before = self.fleet.usage();
        for _ in 0..self.options.rounds.max(1) {
            let sample = self
                .fleet
                .load(nodes, connections, slice, &requests)
                .await?;
            rates.push(sample.per_second());
            latencies.extend(sample.latencies);
        }
        latencies.sort_unstable();
        Ok(Measured {
            rate: median(rates),
            p50: quantile_ms(&latencies, 0.5),
            p99: quantile_ms(&latencies, 0.99),
            used: before.until(&self.fleet.usage()),
        })
    }

    /// What requests cost in stores of all sizes; leaves the largest.
    async fn store(&mut self) -> Result<()> {
        let nodes = self.options.nodes;
        let title = format!("Sessions in the store ({nodes} nodes, 16 connections)");
        let columns = [
            "sessions",
            "create/s",
            "get/s",
            "list 100/s",
            "append 1 KiB/s",
            "append p99, ms",
            "MiB",
        ];
        self.head(&title, &columns);
        for total in self.options.sessions.clone() {
            let (had, began) = (self.fleet.sessions().len() as u64, Instant::now());
            self.fleet.seed(total).await?;
            let created = (total.saturating_sub(had)) as f64 / began.elapsed().as_secs_f64();
            let all = self.fleet.sessions();
            let get = self.measure(nodes, 16, |_| lane::get(&all)).await?;
            let list = |_| lane::read("/session?limit=100".into());
            let list = self.measure(nodes, 16, list).await?;
            let own = |n: usize| lane::append(&self.fleet.nodes[n].sessions);
            let append = self.measure(nodes, 16, own).await?;
            let mib = self.fleet.bytes() / f64::from(1 << 20);
            let numbers = [created, get.rate, list.rate, append.rate, append.p99, mib];
            let mut cells = vec![total.to_string()];
            cells.extend(numbers.map(number));
            self.row(&cells);
        }
        Ok(())
    }

    /// What more nodes bring.
    async fn nodes(&mut self) -> Result<()> {
        let sessions = self.fleet.sessions();
        let title = format!("Nodes ({} sessions)", sessions.len());
        self.head(
            &title,
            &[
                "",
                "nodes",
                "requests/s",
                "against 1 node",
                "p50 / p99, ms",
                "processors: nodes, PostgreSQL, driver",
            ],
        );
        let cases: [(&str, usize); 4] = [
            ("get, 18 connections", 18),
            ("list 100, 18 connections", 18),
            ("append 1 KiB, 18 sessions", 18),
            ("append 1 KiB, 63 sessions", 63),
        ];
        for (place, (what, connections)) in cases.into_iter().enumerate() {
            let mut one = f64::NAN;
            for nodes in 1..=self.options.nodes {
                let requests = |n: usize| match place {
                    0 => lane::get(&sessions),
                    1 => lane::read("/session?limit=100".into()),
                    _ => lane::append(&self.fleet.nodes[n].sessions),
                };
                let m = self.measure(nodes, connections, requests).await?;
                if nodes == 1 {
                    one = m.rate;
                }
                let against = match (place, nodes) {
                    (_, 1) => String::new(),
                    (0, 3) => format!(
                        "{}× (target ≥ {READS}× if the machine allows it)",
                        number(m.rate / one)
                    ),
                    _ => format!("{}×", number(m.rate / one)),
                };
                let cells = [
                    what.to_owned(),
                    nodes.to_string(),
                    number(m.rate),
                    against,
                    m.latency(),
                    m.processors(),
                ];
                self.row(&cells);
            }
        }
        if self.options.nodes > 1 {
            // The sessions of the next node: each request is passed on.
            let other = |n: usize| {
                lane::append(&self.fleet.nodes[(n + 1) % self.fleet.nodes.len()].sessions)
            };
            let nodes = self.options.nodes;
            let m = self.measure(nodes, 18, other).await?;
            let what = "append 1 KiB, 18 sessions, all passed on".to_owned();
            let cells = [
                what,
                nodes.to_string(),
                number(m.rate),
                String::new(),
                m.latency(),
                m.processors(),
            ];
            self.row(&cells);
        }
        Ok(())
    }

    /// How long events take to subscribers on other nodes.
    async fn deliveries(&mut self) -> Result<()> {
        let title =
            "Delivery: from the request at one node to its event at subscribers of the others";
        self.head(
            title,
            &[
                "events/s",
                "subscribers",
                "reached/s",
                "p50 / p99, ms",
                "told with a later one",
                "missed",
                "target",
                "processors: nodes, PostgreSQL, driver",
            ],
        );
        let length = Duration::from_millis(self.options.slice * self.options.rounds.max(1) as u64);
        let mut plans: Vec<Plan> = DELIVERIES
            .map(|(events_per_second, subscribers)| Plan {
                events_per_second,
                subscribers,
                same_node: false,
                length,
            })
            .to_vec();
        let on_the_same = Plan {
            same_node: true,
            ..plans[2]
        };
        plans.push(on_the_same);
        for plan in plans {
            let before = self.fleet.usage();
            let heard = delivery::measure(&self.fleet, plan).await?;
            let used = before.until(&self.fleet.usage());
            let p99 = quantile_ms(&heard.delays, 0.99);
            let target = match plan.events_per_second {
                200 if !plan.same_node => {
                    let met = if p99 < P99_MS { "met" } else { "**missed**" };
                    format!("p99 < {P99_MS} ms: {met}")
                }
                _ => String::new(),
            };
            let place = if plan.same_node {
                " on the same node"
            } else {
                ""
            };
            let latency = format!(
                "{} / {}",
                number(quantile_ms(&heard.delays, 0.5)),
                number(p99)
            );
            let cells = [
                plan.events_per_second.to_string(),
                format!("{}{place}", plan.subscribers),
                number(heard.rate),
                latency,
                heard.replaced.to_string(),
                heard.missed.to_string(),
                target,
                processors(used),
            ];
            self.row(&cells);
        }
        Ok(())
    }
}

struct Measured {
    rate: f64,
    p50: f64,
    p99: f64,
    /// Processors in use: nodes, PostgreSQL, this program.
    used: [f64; 3],
}

impl Measured {
    fn latency(&self) -> String {
        format!("{} / {}", number(self.p50), number(self.p99))
    }

    fn processors(&self) -> String {
        processors(self.used)
    }
}

fn processors(used: [f64; 3]) -> String {
    used.map(|one| format!("{one:.2}")).join(", ")
}
