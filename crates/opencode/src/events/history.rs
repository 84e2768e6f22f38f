//! The events that OpenCode keeps, as its `/sync/history` lists them: those that `/global/event`
//! tells a second time as `sync`, with the same ids and numbers.

use std::collections::HashMap;
use std::io;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use futures::stream::{self, StreamExt as _};
use serde::Serialize;
use sessiond_model::{Event, Seq, SessionId};
use sessiond_store::{EventQuery, Scope};

use super::ids::{self, Slot};
use super::map::{self, Properties};
use crate::error::ApiError;
use crate::state::App;

/// Events read from the log at once.
const PAGE: u32 = 256;

#[derive(Serialize)]
struct Row<'a> {
    id: &'a str,
    aggregate_id: &'a SessionId,
    seq: u64,
    r#type: String,
    data: &'a Properties<'a>,
}

/// Answers with all kept events after the numbers that the client knows, by session. The list
/// is written while the log is read, so that its length is no matter of memory.
pub(crate) async fn history(app: &App, known: HashMap<String, u64>) -> Result<Response, ApiError> {
    let mut reader = Reader {
        app: app.clone(),
        known,
        after: Seq(0),
        rows: 0,
        is_begun: false,
        is_done: false,
    };
    // Read before the answer begins: a store that does not answer is told as such.
    let first = reader.next().await?;
    let rest = stream::try_unfold(reader, |mut reader| async move {
        let bytes = reader.next().await.map_err(io::Error::other)?;
        Ok::<_, io::Error>(bytes.map(|bytes| (bytes, reader)))
    });
    let body = stream::iter(first.map(Ok)).chain(rest);
    let headers = [(header::CONTENT_TYPE, "application/json")];
    Ok((headers, Body::from_stream(body)).into_response())
}

struct Reader {
    app: App,
    /// The last number that the client has, by session.
    known: HashMap<String, u64>,
    after: Seq,
    rows: u64,
    is_begun: bool,
    is_done: bool,
}

impl Reader {
    /// The next piece of the list.
    async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        if self.is_done {
            return Ok(None);
        }
        let query = EventQuery {
            after: self.after,
            until: None,
            scope: Scope::All,
            limit: PAGE,
        };
        let page = self.app.engine.events(&query).await?;
        self.after = page.next;
        let mut out = Vec::new();
        if !self.is_begun {
            out.push(b'[');
            self.is_begun = true;
        }
        for event in &page.events {
            self.write(event, &mut out);
        }
        if !page.more {
            out.push(b']');
            self.is_done = true;
        }
        Ok(Some(out.into()))
    }

    fn write(&mut self, e: &Event, out: &mut Vec<u8>) {
        let seq = map::sync_seq(e);
        let known = self.known.get(e.session_id.as_str());
        if known.is_some_and(|known| seq <= *known) {
            return;
        }
        let id = ids::durable(e.at, e.seq.0, Slot::First);
        for told in map::outs(&e.session_id, e.at, &e.body)
            .iter()
            .filter(|o| o.kept)
        {
            if self.rows > 0 {
                out.push(b',');
            }
            self.rows += 1;
            out.append(&mut map::json(&Row {
                id: &id,
                aggregate_id: &e.session_id,
                seq,
                r#type: format!("{}.1", told.r#type),
                data: &told.properties,
            }));
        }
    }
}
