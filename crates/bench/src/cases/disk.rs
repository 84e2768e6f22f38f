//! What is on disk after an orderly end, against what a client can read.

use std::sync::Arc;

use serde_json::json;

use super::Bench;
use super::lane::{self, Lane};
use crate::error::Result;
use crate::http::Endpoint;
use crate::load::{self, Call, Until};
use crate::report::{Bound, Check, Row};
use crate::server::{Server, Who};

const SESSIONS: u64 = 16;
const MOST: f64 = 1.5;
/// Words that the demo agent streams in each turn: about 1 KiB, as in the other measurement.
const WORDS: u32 = 128;

impl Bench {
    /// Messages of 1 KiB.
    pub(super) async fn disk(&mut self) -> Result<()> {
        let mut row = Row::new("bytes on disk, messages of 1 KiB");
        for who in self.servers() {
            // Enough that the empty store does not count.
            let messages = if who == Who::Sessiond { 8_000 } else { 1_000 };
            let name = format!("disk-{}", who.name());
            let mut lane = Lane::new(self.start_server(who, &name).await?);
            lane.seed(SESSIONS).await?;
            let append = lane::append(&lane.sessions);
            load::run(
                &lane.server.endpoint,
                16,
                Until::Count(messages),
                &append,
                None,
            )
            .await?;
            let (json, stored, disk) = self.weigh(lane, &name).await?;
            row = row.value(who, "× JSON", disk as f64 / json as f64).value(
                who,
                "bytes/message",
                disk as f64 / stored as f64,
            );
            if who == Who::Sessiond {
                let ratio = disk as f64 / json as f64;
                row = row
                    .check(Check::new("JSON", ratio, "×", Bound::AtMost(MOST)))
                    .note(format!(
                        "{json} bytes of JSON in {stored} messages, {disk} on disk"
                    ));
            }
        }
        self.push(row);
        Ok(())
    }

    /// Turns that the demo agent streams.
    pub(super) async fn turns(&mut self) -> Result<()> {
        let (who, name) = (Who::Sessiond, "turns");
        let mut lane = Lane::new(self.start_server(who, name).await?);
        lane.seed(SESSIONS).await?;
        let sessions = Arc::clone(&lane.sessions);
        let body =
            json!({"parts": [{"type": "text", "text": format!("/slow {WORDS} 1")}]}).to_string();
        let prompt: load::Requests = Arc::new(move |call: Call, endpoint: &Endpoint, out| {
            let id = &sessions[call.connection % sessions.len()];
            endpoint.write("POST", &format!("/session/{id}/message"), Some(&body), out);
        });
        let turns = Until::Count(self.options.turns);
        let connections = usize::try_from(SESSIONS).unwrap_or(1);
        let sample = load::run(&lane.server.endpoint, connections, turns, &prompt, None).await?;
        let rate = sample.per_second();
        let (json, stored, disk) = self.weigh(lane, name).await?;
        let ratio = disk as f64 / json as f64;
        self.push(
            Row::new(format!(
                "bytes on disk, {} streamed turns",
                self.options.turns
            ))
            .value(who, "× JSON", ratio)
            .value(who, "bytes/message", disk as f64 / stored as f64)
            .value(who, "turns/s", rate)
            .check(Check::new("JSON", ratio, "×", Bound::AtMost(MOST)))
            .note(format!(
                "{json} bytes of JSON in {stored} messages, {disk} on disk"
            )),
        );
        Ok(())
    }

    /// Bytes of the messages as clients get them, their number, and bytes on disk after the
    /// server has ended.
    async fn weigh(&self, lane: Lane, name: &str) -> Result<(u64, u64, u64)> {
        let (mut json, mut stored) = (0, 0);
        for id in lane.sessions.iter() {
            let path = format!("/session/{id}/message");
            let body = lane.server.endpoint.ask("GET", &path, None).await?;
            let messages: Vec<serde::de::IgnoredAny> =
                serde_json::from_slice(&body).unwrap_or_default();
            json += body.len() as u64;
            stored += messages.len() as u64;
        }
        lane.server.stop().await?;
        Ok((json, stored, Server::bytes_on_disk(&self.home(name))))
    }
}
