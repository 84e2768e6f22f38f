//! A world to call the router in.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sessiond_agent::{AgentOverride, Catalogue};
use sessiond_api::{ApiState, PROBLEM_JSON};
use sessiond_engine::{Engine, EngineConfig, Hub};
use sessiond_model::{HybridIds, SystemClock};
use sessiond_store::{MemoryStore, Store};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Long enough for a busy machine; every wait ends as soon as its condition holds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(sessiond_api::openapi()).unwrap());

pub(crate) struct World {
    pub(crate) router: Router,
    pub(crate) stopping: CancellationToken,
    dir: TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

impl Reply {
    /// The reply, when it has that status.
    pub(crate) fn with(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }

    /// Checks a problem: its status, the end of its `type`, and its `field`.
    pub(crate) fn refused(&self, status: u16, kind: &str, field: Option<&str>) {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), PROBLEM_JSON, "{self:?}");
        assert_eq!(
            self.json["type"],
            format!("urn:sessiond:problem:{kind}"),
            "{self:?}"
        );
        assert_eq!(self.json["status"], status, "{self:?}");
        assert_eq!(self.json["field"].as_str(), field, "{self:?}");
        let detail = self.json["detail"].as_str().unwrap();
        let named = field.is_none_or(|f| detail.contains(f) || f == "body" || f == "If-Match");
        assert!(
            named && detail.len() > 10,
            "the detail says too little: {self:?}"
        );
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let hub = Arc::new(Hub::new());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(hub.clone(), 1));
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("demo-home").to_string_lossy().into_owned();
        let demo = AgentOverride {
            command: Some(env!("CARGO_BIN_EXE_sessiond-api-test-agent").into()),
            args: Some(Vec::new()),
            env: Some(BTreeMap::from([("SESSIOND_DEMO_HOME".to_owned(), home)])),
            ..AgentOverride::default()
        };
        let catalogue = Catalogue::new(
            PathBuf::from("unused"),
            BTreeMap::from([("demo".to_owned(), demo)]),
            std::env::var_os("PATH"),
        );
        let clock = Arc::new(SystemClock);
        let ids = Arc::new(HybridIds::new(clock.clone()));
        let config = EngineConfig {
            default_directory: dir.path().canonicalize().unwrap(),
            default_agent: Some("demo".into()),
            cancel_grace: Duration::from_millis(200),
            ..EngineConfig::default()
        };
        let engine = Engine::start(store, hub, catalogue, clock, ids, config)
            .await
            .unwrap();
        let stopping = CancellationToken::new();
        let router = Router::new().nest(
            "/v1",
            sessiond_api::router(ApiState::new(engine, stopping.clone())),
        );
        Self {
            router,
            stopping,
            dir,
        }
    }

    /// The server's default directory.
    pub(crate) fn directory(&self) -> String {
        self.dir
            .path()
            .canonicalize()
            .unwrap()
            .to_string_lossy()
            .into_owned()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let json = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap()
        };
        let reply = Reply {
            status: parts.status,
            headers: parts.headers,
            json,
        };
        check(&method, &path, &reply);
        reply
    }

    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some(json) => {
                request = request.header("content-type", "application/json");
                Body::from(json.to_string())
            }
            None => Body::empty(),
        };
        self.send(request.body(body).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &[], None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        self.call("POST", path, &[], Some(body)).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Reply {
        self.call("PATCH", path, &[], Some(body)).await
    }

    /// A fresh session's address.
    pub(crate) async fn session(&self) -> String {
        self.post("/v1/sessions", json!({}))
            .await
            .with(201)
            .header("location")
            .to_owned()
    }

    /// Sends a prompt; answers the address of its turn.
    pub(crate) async fn say(&self, session: &str, text: &str) -> String {
        let reply = self
            .post(&format!("{session}/prompt"), said(text))
            .await
            .with(202);
        reply.header("location").to_owned()
    }

    /// Sends a prompt and waits until its turn has ended; answers the turn.
    pub(crate) async fn ask(&self, session: &str, text: &str) -> Value {
        let turn = self.say(session, text).await;
        self.end(&turn).await
    }

    pub(crate) async fn end(&self, turn: &str) -> Value {
        let turn = self.get(&format!("{turn}?wait=60")).await.with(200).json;
        assert!(turn["ended_at"].is_i64(), "the turn did not end: {turn}");
        turn
    }

    /// The first thing of a list that is not empty.
    pub(crate) async fn first(&self, path: &str, list: &str) -> Value {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let reply = self.get(path).await.with(200);
            if let Some(first) = reply.json[list].get(0) {
                return first.clone();
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "waited in vain for {list}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

pub(crate) fn said(text: &str) -> Value {
    json!({"parts": [{"type": "text", "text": text}]})
}

/// The last segment of an address: an id.
pub(crate) fn id(address: &str) -> &str {
    address.rsplit('/').next().unwrap()
}

/// The text of all parts of a message.
pub(crate) fn text(message: &Value) -> String {
    let parts = message["parts"].as_array().unwrap();
    parts
        .iter()
        .filter(|p| p["type"] == "text")
        .filter_map(|p| p["text"].as_str())
        .collect()
}

/// Checks an answer against the document: the status is documented and the body has its shape.
fn check(method: &Method, path: &str, reply: &Reply) {
    let Some((name, item)) = template(path) else {
        return;
    };
    let Some(operation) = item.get(method.as_str().to_ascii_lowercase()) else {
        return;
    };
    let documented = &operation["responses"][reply.status.as_str()];
    assert!(
        documented.is_object(),
        "{method} {name}: {} is not documented: {reply:?}",
        reply.status
    );
    let media = reply.header("content-type").split(';').next().unwrap();
    if media.is_empty() {
        assert_eq!(reply.json, Value::Null);
        return;
    }
    let schema = &documented["content"][media]["schema"];
    assert!(
        schema.is_object(),
        "{method} {name}: {media} is not documented for {}",
        reply.status
    );
    let root = json!({"components": DOCUMENT["components"], "allOf": [schema]});
    let errors: Vec<String> = jsonschema::validator_for(&root)
        .unwrap()
        .iter_errors(&reply.json)
        .map(|e| format!("{} at {}", e, e.instance_path()))
        .collect();
    assert!(
        errors.is_empty(),
        "{method} {name}: {errors:#?}\n{:#}",
        reply.json
    );
}

fn template(path: &str) -> Option<(&'static String, &'static Value)> {
    let fits = |template: &str| {
        let (mut a, mut b) = (template.split('/'), path.split('/'));
        loop {
            match (a.next(), b.next()) {
                (None, None) => return true,
                (Some(t), Some(p)) if t == p || t.starts_with('{') => {}
                _ => return false,
            }
        }
    };
    DOCUMENT["paths"]
        .as_object()
        .unwrap()
        .iter()
        .find(|(template, _)| fits(template))
}
