//! A router to ask, and streams to read.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sessiond_agent::{AgentOverride, Catalogue};
use sessiond_engine::{Engine, EngineConfig, Hub, SnapshotConfig};
use sessiond_model::{HybridIds, SystemClock};
use sessiond_opencode::{OpenCodeState, ServerPaths, router};
use sessiond_store::{MemoryStore, Store};
use tempfile::TempDir;
use tower::ServiceExt as _;

/// Long enough for a busy machine; every wait ends as soon as its condition holds.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) dir: TempDir,
    /// The server's and the agent's own files.
    _state: TempDir,
    router: Router,
    pub(crate) engine: Engine,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.bytes)))
    }

    pub(crate) fn refused(&self, status: u16) {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.bytes)
        );
    }

    pub(crate) fn ok(&self) -> Value {
        assert_eq!(self.status, 200, "{}", String::from_utf8_lossy(&self.bytes));
        assert_eq!(self.headers["content-type"], "application/json");
        self.json()
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let hub = Arc::new(Hub::new());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(hub.clone(), 1));
        let dir = tempfile::tempdir().unwrap();
        let state = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock);
        let ids = Arc::new(HybridIds::new(clock.clone()));
        let config = EngineConfig {
            version: "9.9.9".into(),
            default_directory: dir.path().canonicalize().unwrap(),
            default_agent: Some("demo".into()),
            snapshots: SnapshotConfig {
                directory: Some(state.path().join("snapshots")),
                ..SnapshotConfig::default()
            },
            ..EngineConfig::default()
        };
        let engine = Engine::start(store, hub, catalogue(&state), clock, ids, config)
            .await
            .unwrap();
        let router = router(OpenCodeState {
            engine: engine.clone(),
            version: "9.9.9".into(),
            paths: ServerPaths {
                home: "/home/ann".into(),
                ..ServerPaths::default()
            },
        });
        Self {
            dir,
            _state: state,
            router: Router::new().nest("/opencode", router),
            engine,
        }
    }

    pub(crate) fn directory(&self) -> String {
        let path = self.dir.path().canonicalize().unwrap();
        path.to_str().unwrap().to_owned()
    }

    async fn response(&self, request: Request<Body>) -> axum::response::Response {
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = tokio::time::timeout(PATIENCE, self.response(request))
            .await
            .expect("an answer in time");
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            bytes: body.collect().await.unwrap().to_bytes().to_vec(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request("GET", path, None)).await
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        self.send(request(method, path, Some(body.to_string())))
            .await
    }

    /// A new session's id.
    pub(crate) async fn session(&self) -> String {
        let session = self.call("POST", "/session", json!({})).await.ok();
        session["id"].as_str().unwrap().to_owned()
    }

    /// A message without an answer; its id and its part's.
    pub(crate) async fn note(&self, session: &str, text: &str) -> (String, String) {
        let body = json!({"noReply": true, "parts": [{"type": "text", "text": text}]});
        let path = format!("/session/{session}/message");
        let message = self.call("POST", &path, body).await.ok();
        let id = |v: &Value| v["id"].as_str().unwrap().to_owned();
        (id(&message["info"]), id(&message["parts"][0]))
    }

    pub(crate) async fn say(&self, session: &str, text: &str) -> Answer {
        let body = json!({"parts": [{"type": "text", "text": text}]});
        let path = format!("/session/{session}/message");
        self.call("POST", &path, body).await
    }

    /// An open event stream.
    pub(crate) async fn stream(&self, path: &str, last: Option<u64>) -> Stream {
        let mut request = request("GET", path, None);
        if let Some(last) = last {
            let value = last.to_string().parse().unwrap();
            request.headers_mut().insert("last-event-id", value);
        }
        let response = self.response(request).await;
        assert_eq!(response.status(), StatusCode::OK);
        let (parts, body) = response.into_parts();
        Stream {
            headers: parts.headers,
            body,
            text: String::new(),
            frames: VecDeque::new(),
        }
    }

    /// Waits until `look` gives something.
    pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
        &self,
        what: &str,
        look: impl Fn() -> F,
    ) -> T {
        let wait = async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }
}

fn catalogue(dir: &TempDir) -> Catalogue {
    let home = dir.path().join("demo-home");
    let env = BTreeMap::from([(
        "SESSIOND_DEMO_HOME".to_owned(),
        home.to_str().unwrap().to_owned(),
    )]);
    let demo = AgentOverride {
        command: Some(demo_agent().to_str().unwrap().to_owned()),
        args: Some(Vec::new()),
        env: Some(env),
        ..AgentOverride::default()
    };
    // An empty PATH: no agent that happens to be installed here is seen.
    let overrides = BTreeMap::from([("demo".to_owned(), demo)]);
    Catalogue::new(PathBuf::from("unused"), overrides, None)
}

/// The example that cargo builds beside the tests.
fn demo_agent() -> PathBuf {
    let me = std::env::current_exe().unwrap();
    let target = me.ancestors().nth(2).unwrap();
    let agent = target.join("examples/sessiond-opencode-test-agent");
    assert!(agent.exists(), "build the examples first (cargo test does)");
    agent
}

/// A request under the prefix.
pub(crate) fn request(method: &str, path: &str, body: Option<String>) -> Request<Body> {
    let request = Request::builder()
        .method(method)
        .uri(format!("/opencode{path}"))
        .header("host", "127.0.0.1:4096");
    match body {
        Some(body) => request
            .header("content-type", "application/json")
            .body(body.into()),
        None => request.body(Body::empty()),
    }
    .unwrap()
}

/// One frame of a stream.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) id: Option<u64>,
    pub(crate) data: Value,
}

impl Frame {
    /// The event itself, out of its envelope.
    pub(crate) fn event(&self) -> &Value {
        self.data.get("payload").unwrap_or(&self.data)
    }

    pub(crate) fn is(&self, r#type: &str) -> bool {
        self.event()["type"] == r#type
    }

    pub(crate) fn properties(&self) -> &Value {
        &self.event()["properties"]
    }
}

pub(crate) struct Stream {
    pub(crate) headers: HeaderMap,
    body: Body,
    text: String,
    frames: VecDeque<Frame>,
}

impl Stream {
    /// The next frame.
    pub(crate) async fn next(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return frame;
            }
            let bytes = tokio::time::timeout(PATIENCE, self.body.frame())
                .await
                .expect("a frame in time")
                .expect("a stream without an end")
                .expect("a healthy stream")
                .into_data()
                .unwrap();
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
            while let Some((frame, rest)) = self.text.split_once("\n\n") {
                if frame != ": heartbeat" {
                    self.frames.push_back(parse(frame));
                }
                self.text = rest.to_owned();
            }
        }
    }

    /// Waits for a comment that only keeps the connection.
    pub(crate) async fn heartbeat(&mut self) {
        let frame = self.body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), ": heartbeat\n\n");
    }

    /// All frames up to the first one of that type, and it.
    pub(crate) async fn up_to(&mut self, r#type: &str) -> Vec<Frame> {
        let mut all = Vec::new();
        loop {
            let frame = self.next().await;
            all.push(frame.clone());
            if frame.is(r#type) {
                return all;
            }
        }
    }
}

fn parse(frame: &str) -> Frame {
    let mut id = None;
    let mut data = Value::Null;
    for line in frame.lines() {
        if let Some(text) = line.strip_prefix("id: ") {
            id = Some(text.parse().unwrap());
        } else if let Some(text) = line.strip_prefix("data: ") {
            data = serde_json::from_str(text).unwrap();
        } else {
            panic!("a line that OpenCode does not send: {line}");
        }
    }
    Frame { id, data }
}
