//! Requests per second and how long they take.

use super::lane::{self, Lane, Series, Subject, in_turns};
use super::{Bench, Case};
use crate::bare::Writer;
use crate::error::Result;
use crate::load::Requests;
use crate::report::{Bound, Check, Row};
use crate::server::Who;

/// What sessiond must reach, as a ratio to others.
struct Targets {
    opencode: Option<f64>,
    sandbox_agent: Option<f64>,
    bare: Option<f64>,
    /// Whether the slow requests must be faster than half of OpenCode's.
    tail: bool,
}

const WRITE: Targets = Targets {
    opencode: Some(20.0),
    sandbox_agent: Some(2.0),
    bare: None,
    tail: false,
};
const READ: Targets = Targets {
    opencode: Some(30.0),
    sandbox_agent: None,
    bare: None,
    tail: false,
};

impl Bench {
    pub(super) async fn reads(&mut self, lanes: &[Lane]) -> Result<()> {
        if self.options.wants(Case::Get) {
            let bare = self.start_server(Who::Bare, "bare").await?;
            let mut subjects = servers(lanes, |lane| lane::get(&lane.sessions));
            subjects.push((
                Who::Bare,
                Subject::Server(&bare, lane::read("/session/x".into())),
            ));
            let targets = Targets {
                opencode: None,
                sandbox_agent: Some(1.5),
                bare: Some(0.5),
                tail: false,
            };
            self.throughput("get session", 16, subjects, &targets)
                .await?;
            bare.stop().await?;
        }
        let able = |lane: &&Lane| lane.server.who != Who::SandboxAgent;
        if self.options.wants(Case::List) {
            let name = format!("list 100 of {} sessions", self.options.sessions);
            let subjects = servers(lanes.iter().filter(able), |_| {
                lane::read("/session?limit=100".into())
            });
            self.throughput(&name, 16, subjects, &READ).await?;
        }
        if self.options.wants(Case::Page) {
            let name = format!("page 50 of {} messages", self.options.messages);
            let subjects = servers(lanes.iter().filter(able), |lane| {
                lane::read(format!("/session/{}/message?limit=50", lane.long))
            });
            self.throughput(&name, 16, subjects, &READ).await?;
        }
        Ok(())
    }

    pub(super) async fn writes(&mut self, lanes: &[Lane]) -> Result<()> {
        for connections in [16, 64] {
            let tail = connections == 64;
            if self.options.wants(Case::Patch) {
                let subjects = servers(lanes, |lane| lane::patch(&lane.sessions));
                let targets = Targets { tail, ..WRITE };
                self.throughput("patch title", connections, subjects, &targets)
                    .await?;
            }
            if self.options.wants(Case::Append) {
                let mut subjects = servers(lanes, |lane| lane::append(&lane.sessions));
                let writer = Writer::open(&self.home(&format!("writer-{connections}")))?;
                subjects.push((Who::Bare, Subject::Writer(&writer)));
                let bare = tail.then_some(0.5);
                let targets = Targets {
                    tail,
                    bare,
                    ..WRITE
                };
                self.throughput("append 1 KiB", connections, subjects, &targets)
                    .await?;
                let transactions = writer.close()?;
                self.say(&format!(
                    "the reference loop committed {transactions} times"
                ));
            }
        }
        Ok(())
    }

    pub(super) async fn create(&mut self, lanes: &[Lane]) -> Result<()> {
        if !self.options.wants(Case::Create) {
            return Ok(());
        }
        for connections in [16, 64] {
            let targets = Targets {
                tail: connections == 64,
                ..WRITE
            };
            let subjects = servers(lanes, |_| lane::create());
            self.throughput("create session", connections, subjects, &targets)
                .await?;
        }
        Ok(())
    }

    async fn throughput(
        &mut self,
        name: &str,
        connections: usize,
        subjects: Vec<(Who, Subject<'_>)>,
        targets: &Targets,
    ) -> Result<()> {
        let (who, subjects): (Vec<_>, Vec<_>) = subjects.into_iter().unzip();
        let (rounds, slice) = (self.options.rounds(), self.options.slice());
        let all = in_turns(&subjects, connections, rounds, slice).await?;
        let find = |wanted: Who| who.iter().position(|who| *who == wanted).map(|n| &all[n]);
        let Some(ours) = find(Who::Sessiond) else {
            return Ok(());
        };
        let mut row = Row::new(format!("{name}, {connections} connections"));
        for (who, series) in who.iter().zip(&all) {
            row = series.values(row, *who);
        }
        let ratios = [
            ("OpenCode", find(Who::OpenCode), targets.opencode),
            (
                "sandbox-agent",
                find(Who::SandboxAgent),
                targets.sandbox_agent,
            ),
            ("bare reference", find(Who::Bare), targets.bare),
        ];
        for (what, theirs, target) in ratios {
            if let (Some(theirs), Some(target)) = (theirs, target) {
                let ratio = ours.ratio(theirs);
                row = row.check(Check::new(what, ratio, "×", Bound::AtLeast(target)));
            }
        }
        if let (true, Some(opencode)) = (targets.tail, find(Who::OpenCode)) {
            let bound = Bound::AtMost(opencode.p50());
            row = row.check(Check::new("p99, OpenCode's p50", ours.p99(), " ms", bound));
        }
        self.push(row.note(Series::note(ours)));
        Ok(())
    }
}

fn servers<'a>(
    lanes: impl IntoIterator<Item = &'a Lane>,
    requests: impl Fn(&Lane) -> Requests,
) -> Vec<(Who, Subject<'a>)> {
    lanes
        .into_iter()
        .map(|lane| {
            (
                lane.server.who,
                Subject::Server(&lane.server, requests(lane)),
            )
        })
        .collect()
}
