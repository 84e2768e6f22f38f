//! What a request costs in a small and in a large store.

use super::lane::{self, Lane, Subject, in_turns};
use super::{Bench, Case};
use crate::error::Result;
use crate::report::{Bound, Check, Row, number};
use crate::server::Who;

const CONNECTIONS: usize = 16;
/// A cost that does not grow, and the noise of two measurements.
const FLAT: f64 = 1.25;

impl Bench {
    /// Fills both stores, measures, stops both; returns the name of the large one and one of
    /// its sessions.
    pub(super) async fn growth(&mut self) -> Result<(String, String)> {
        let mut lanes = Vec::new();
        for sessions in self.options.growth.clone() {
            let mut lane = Lane::new(self.start_server(Who::Sessiond, &name(sessions)).await?);
            lane.seed(sessions).await?;
            lanes.push((sessions, lane));
            self.say(&format!("{sessions} sessions in a store"));
        }
        if let ([(small, few), (large, many)], true) =
            (&lanes[..], self.options.wants(Case::Growth))
        {
            let cases: [(_, fn(&Lane) -> _, _); 3] = [
                ("list 100", |_| lane::read("/session?limit=100".into()), 2.0),
                ("get session", |lane| lane::get(&lane.sessions), FLAT),
                ("append 1 KiB", |lane| lane::append(&lane.sessions), FLAT),
            ];
            for (what, requests, most) in cases {
                let subjects =
                    [few, many].map(|lane| Subject::Server(&lane.server, requests(lane)));
                let (rounds, slice) = (self.options.rounds(), self.options.slice());
                let all = in_turns(&subjects, CONNECTIONS, rounds, slice).await?;
                let row = Row::new(format!("{what}: {large} sessions against {small}"));
                let row = all[1].values(row, Who::Sessiond);
                let check = Check::new("cost", all[0].ratio(&all[1]), "×", Bound::AtMost(most));
                let rate = lane::median(all[0].rates.clone());
                self.push(row.check(check).note(format!(
                    "{} req/s with {small} sessions: {}; with {large}: {}",
                    number(rate),
                    all[0].note(),
                    all[1].note()
                )));
            }
        }
        let mut last = Default::default();
        for (sessions, lane) in lanes {
            last = (
                name(sessions),
                lane.sessions.first().cloned().unwrap_or_default(),
            );
            lane.server.stop().await?;
            self.say(&format!("the store of {sessions} sessions is closed"));
        }
        Ok(last)
    }
}

fn name(sessions: u64) -> String {
    format!("sessiond-{sessions}")
}
