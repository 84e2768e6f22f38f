use std::error::Error;
use std::fmt::Write as _;

use http_body_util::BodyExt as _;
use hyper::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sessiond_port::{Outlined, Unreadable};
use sessiond_server::Access;
use tokio::runtime::Runtime;

use super::report::Report;
use super::source::{Source, Whole};

/// Size at which a batch is sent, in bytes of JSON.
const BATCH_BYTES: usize = 4 << 20;
/// Most messages of a batch.
const BATCH_MESSAGES: usize = 500;

/// Sends sessions to where they are kept.
pub(super) struct Sender<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) access: &'a Access,
}

/// What to do about a session.
#[derive(Debug, Deserialize)]
pub(super) struct Plan {
    pub(super) action: Action,
    pub(super) first: usize,
    pub(super) new: usize,
    #[serde(default)]
    pub(super) reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Action {
    Create,
    Resume,
    Append,
    Present,
    Refuse,
}

impl Action {
    pub(super) fn is_work(self) -> bool {
        matches!(self, Self::Create | Self::Resume | Self::Append)
    }
}

/// What batches did.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Done {
    pub(super) added: usize,
    pub(super) finished: usize,
    pub(super) skipped: Vec<Skipped>,
    pub(super) lost: Vec<String>,
    pub(super) notes: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Skipped {
    pub(super) what: String,
    pub(super) reason: String,
}

impl Sender<'_> {
    pub(super) fn plan(&self, id: &str, outline: &[Outlined]) -> Result<Plan, Box<dyn Error>> {
        let messages: Vec<Value> = outline
            .iter()
            .map(|(id, at)| json!({"id": id, "created_at": at}))
            .collect();
        let body = json!({"session_id": id, "messages": messages});
        self.post("/v1/imports/plan", body.to_string())
    }

    /// Sends the messages from `first` on.
    pub(super) fn batches(
        &self,
        source: &Source,
        whole: &Whole,
        first: usize,
        report: &mut Report,
    ) -> Result<Done, Box<dyn Error>> {
        let id = whole.info.get("id").and_then(Value::as_str);
        let id = id.unwrap_or_default();
        let mut batch = Batch::default();
        let mut done = Done::default();
        let mut failed = None;
        let mut each = |read: Result<Value, Unreadable>| {
            let text = match read {
                Ok(message) => message.to_string(),
                Err(e) => {
                    report.skipped(id, &e.what, &e.reason);
                    return true;
                }
            };
            // What came before is not the last batch: this message follows.
            if batch.is_full_with(text.len())
                && let Err(e) = self.send(whole, &batch.take(), true, &mut done)
            {
                failed = Some(e);
                return false;
            }
            batch.push(&text);
            true
        };
        source.messages(id, &whole.outline, first, &mut each)?;
        if let Some(e) = failed {
            return Err(e);
        }
        self.send(whole, &batch.take(), false, &mut done)?;
        for item in done.skipped.drain(..) {
            report.skipped(id, &item.what, &item.reason);
        }
        Ok(done)
    }

    fn send(
        &self,
        whole: &Whole,
        messages: &str,
        more: bool,
        done: &mut Done,
    ) -> Result<(), Box<dyn Error>> {
        let Whole {
            info,
            project,
            todos,
            ..
        } = whole;
        let project = project.as_ref().unwrap_or(&Value::Null);
        let body = format!(
            "{{\"format\":\"opencode\",\"info\":{info},\"project\":{project},\"todos\":{},\"more\":{more},\
             \"messages\":[{messages}]}}",
            json!(todos)
        );
        let now: Done = self.post("/v1/imports", body)?;
        done.added += now.added;
        done.finished += now.finished;
        done.skipped.extend(now.skipped);
        done.lost.extend(now.lost);
        done.notes.extend(now.notes);
        Ok(())
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: String) -> Result<T, Box<dyn Error>> {
        self.runtime.block_on(async {
            let response = self.access.send(Method::POST, path, Some(body)).await?;
            let status = response.status();
            let bytes = response.into_body().collect().await?.to_bytes();
            if status.is_success() {
                return Ok(serde_json::from_slice(&bytes)?);
            }
            let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let detail = problem.get("detail").and_then(Value::as_str);
            Err(detail
                .map_or_else(|| format!("the server says {status}"), str::to_owned)
                .into())
        })
    }
}

/// Messages that go together.
#[derive(Default)]
struct Batch {
    text: String,
    messages: usize,
}

impl Batch {
    fn is_full_with(&self, more: usize) -> bool {
        self.messages > 0
            && (self.text.len() + more > BATCH_BYTES || self.messages >= BATCH_MESSAGES)
    }

    fn push(&mut self, message: &str) {
        let comma = if self.messages > 0 { "," } else { "" };
        // Writing to a text can't fail.
        let _ = write!(self.text, "{comma}{message}");
        self.messages += 1;
    }

    fn take(&mut self) -> String {
        self.messages = 0;
        std::mem::take(&mut self.text)
    }
}
