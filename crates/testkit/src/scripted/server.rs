//! The HTTP server around the scripts.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use futures::stream;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::script::{Answer, Block, answer};
use super::wire::{Encoder, Ids, WireFormat};

/// Requests that are kept; older ones are forgotten.
const KEPT: usize = 2_000;
/// Between two deltas, so that they do not arrive as one.
const BREATH: Duration = Duration::from_millis(4);

/// A request as it was seen.
#[derive(Clone, Debug, Serialize)]
pub struct Logged {
    /// Its number, from 1.
    pub n: u64,
    /// Method and path.
    pub method: String,
    /// Path.
    pub path: String,
    /// Wire format; absent when the path is of none.
    pub wire: Option<&'static str>,
    /// The script that was played.
    pub script: Option<String>,
    /// The step in the script.
    pub step: usize,
    /// Names of the tools on offer.
    pub tools: Vec<String>,
    /// The body.
    pub body: Value,
}

#[derive(Debug)]
struct Shared {
    log: Mutex<(u64, VecDeque<Logged>)>,
    ids: Ids,
}

impl Shared {
    fn record(&self, mut entry: Logged) {
        let mut log = self.log.lock();
        log.0 += 1;
        entry.n = log.0;
        if log.1.len() == KEPT {
            log.1.pop_front();
        }
        log.1.push_back(entry);
    }
}

/// A running scripted model server. It stops when this is dropped.
#[derive(Debug)]
pub struct ScriptedModel {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl ScriptedModel {
    /// Starts one on loopback; port 0 takes a free one.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn start(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            log: Mutex::default(),
            ids: Ids::new(rand::random()),
        });
        let app = Router::new()
            .route("/__health", get(|| async { Json(json!({"ok": true})) }))
            .route("/__log", get(read_log).delete(clear_log))
            .fallback(any(serve))
            .with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // Serving on a bound listener only ends with the task.
            let _ = axum::serve(listener, app).await;
        });
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far.
    #[must_use]
    pub fn log(&self) -> Vec<Logged> {
        self.shared.log.lock().1.iter().cloned().collect()
    }

    /// Waits until it ends, which it does not by itself.
    pub async fn wait(mut self) {
        // A task that panicked has ended too.
        let _ = (&mut self.task).await;
    }
}

impl Drop for ScriptedModel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Deserialize)]
struct LogQuery {
    /// Only requests after this number.
    #[serde(default)]
    since: u64,
}

async fn read_log(
    State(shared): State<Arc<Shared>>,
    Query(query): Query<LogQuery>,
) -> Json<Vec<Logged>> {
    let log = shared.log.lock();
    Json(
        log.1
            .iter()
            .filter(|l| l.n > query.since)
            .cloned()
            .collect(),
    )
}

async fn clear_log(State(shared): State<Arc<Shared>>) -> StatusCode {
    shared.log.lock().1.clear();
    StatusCode::NO_CONTENT
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> Response {
    let path = uri.path();
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let mut entry = Logged {
        n: 0,
        method: method.to_string(),
        path: path.to_owned(),
        wire: None,
        script: None,
        step: 0,
        tools: Vec::new(),
        body: body.clone(),
    };
    if method == Method::HEAD {
        return StatusCode::OK.into_response();
    }
    if path.ends_with("/models") {
        return Json(models()).into_response();
    }
    if path.ends_with("/count_tokens") {
        return Json(json!({"input_tokens": 100})).into_response();
    }
    let wire = (method == Method::POST)
        .then(|| WireFormat::of_path(path))
        .flatten();
    let Some(wire) = wire else {
        shared.record(entry);
        return refuse(404);
    };
    let conversation = wire.read(&body);
    let (answer, script, step) = answer(&conversation);
    entry.wire = Some(wire.name());
    entry.script = Some(script);
    entry.step = step;
    entry.tools = conversation.offer.0.keys().cloned().collect();
    shared.record(entry);
    match answer {
        Answer::Refuse(status) => refuse(status),
        Answer::Play(blocks) => {
            let encoder = wire.encoder(&body, &shared.ids);
            if body["stream"] == json!(true) {
                streamed(encoder, blocks)
            } else {
                whole(encoder, &blocks)
            }
        }
    }
}

fn models() -> Value {
    let models: Vec<Value> = ["scripted-1", "scripted-2"]
        .iter()
        .map(|id| {
            json!({"id": id, "object": "model", "type": "model", "display_name": id,
                "created": 1_700_000_000, "created_at": "2025-01-01T00:00:00Z",
                "owned_by": "scripted"})
        })
        .collect();
    json!({"object": "list", "data": models, "has_more": false})
}

fn refuse(status: u16) -> Response {
    let kind = match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        _ => "api_error",
    };
    let body = json!({"type": "error", "error": {"type": kind, "code": status,
        "message": format!("scripted {status}")}});
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(body)).into_response()
}

fn whole(mut encoder: Box<dyn Encoder>, blocks: &[Block]) -> Response {
    encoder.begin();
    for block in blocks {
        encoder.block(block);
    }
    encoder.end();
    Json(encoder.whole()).into_response()
}

/// What a stream does next.
enum Step {
    Begin,
    Blocks(std::vec::IntoIter<Block>),
    Done,
}

fn streamed(encoder: Box<dyn Encoder>, blocks: Vec<Block>) -> Response {
    let state = (encoder, blocks, Step::Begin);
    let frames = stream::unfold(state, |(mut encoder, mut blocks, step)| async move {
        let (frame, step): (Result<String, io::Error>, Step) = match step {
            Step::Begin => {
                let rest = std::mem::take(&mut blocks).into_iter();
                (Ok(encoder.begin()), Step::Blocks(rest))
            }
            Step::Blocks(mut rest) => match rest.next() {
                Some(Block::Cut) => (Err(io::ErrorKind::ConnectionReset.into()), Step::Done),
                Some(Block::Pause(time)) => {
                    tokio::time::sleep(time).await;
                    (Ok(String::new()), Step::Blocks(rest))
                }
                Some(block) => {
                    tokio::time::sleep(BREATH).await;
                    (Ok(encoder.block(&block)), Step::Blocks(rest))
                }
                None => (Ok(encoder.end()), Step::Done),
            },
            Step::Done => return None,
        };
        Some((frame.map(Bytes::from), (encoder, blocks, step)))
    });
    let mut response = Response::new(Body::from_stream(frames));
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    response
}
