//! From the start of the process to the first answer out of the store.

use std::time::Duration;

use super::Bench;
use super::lane::Lane;
use crate::error::Result;
use crate::report::{Bound, Check, Row};
use crate::server::{Server, Who};

/// The large store may take this much longer, which is the noise of two measurements.
const FLAT: f64 = 1.25;

impl Bench {
    /// Stops and starts the servers in turns, and sessiond with a large store beside them.
    pub(super) async fn start(
        &mut self,
        lanes: Vec<Lane>,
        large: &(String, String),
    ) -> Result<Vec<Lane>> {
        let mut stopped = Vec::new();
        for lane in lanes {
            let first = lane.sessions.first().cloned().unwrap_or_default();
            stopped.push((lane.server.who, lane.sessions, lane.long, first));
            lane.server.stop().await?;
        }
        let mut times: Vec<Vec<f64>> = stopped.iter().map(|_| Vec::new()).collect();
        let mut with_large = Vec::new();
        for round in 0..self.options.rounds().max(5) {
            for ((who, _, _, first), times) in stopped.iter().zip(&mut times) {
                // OpenCode's start is slow, and no target is held against it.
                if *who == Who::OpenCode && round > 0 {
                    continue;
                }
                let server = self.serve(*who, who.name(), first).await?;
                times.push(millis(server.started_in));
                server.stop().await?;
            }
            let server = self.serve(Who::Sessiond, &large.0, &large.1).await?;
            with_large.push(millis(server.started_in));
            server.stop().await?;
        }
        let mut row = Row::new(format!(
            "start to first 200, {} sessions",
            self.options.sessions
        ));
        let (mut ours, mut sandbox) = (f64::NAN, None);
        for ((who, ..), times) in stopped.iter().zip(times) {
            let time = fastest(&times);
            row = row.value(*who, "ms", time);
            match who {
                Who::Sessiond => ours = time,
                Who::SandboxAgent => sandbox = Some(time),
                Who::OpenCode | Who::Bare => {}
            }
        }
        row = row.check(Check::new("", ours, " ms", Bound::AtMost(50.0)));
        if let Some(sandbox) = sandbox {
            row = row.check(Check::new(
                "sandbox-agent",
                ours / sandbox,
                "×",
                Bound::AtMost(0.2),
            ));
        }
        self.push(row);
        let with_large = fastest(&with_large);
        let most = self.options.growth.last().copied().unwrap_or_default();
        self.push(
            Row::new(format!("start to first 200, {most} sessions"))
                .value(Who::Sessiond, "ms", with_large)
                .check(Check::new(
                    "fewer sessions",
                    with_large / ours,
                    "×",
                    Bound::AtMost(FLAT),
                )),
        );
        let mut lanes = Vec::new();
        for (who, sessions, long, first) in stopped {
            let server = self.serve(who, who.name(), &first).await?;
            lanes.push(Lane {
                server,
                sessions,
                long,
            });
        }
        Ok(lanes)
    }

    /// Starts a server and waits until it gives a session out of its store.
    async fn serve(&self, who: Who, name: &str, session: &str) -> Result<Server> {
        let path = format!("/session/{session}");
        Server::start(who, &self.programs, &self.home(name), &path).await
    }
}

/// What else runs on the machine only ever adds to a start.
fn fastest(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::INFINITY, f64::min)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
