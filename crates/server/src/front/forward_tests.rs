//! Two nodes over one store: what reaches the wrong one is done by the right one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::body::to_bytes;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use sessiond_agent::Catalogue;
use sessiond_api::ApiState;
use sessiond_engine::{Engine, EngineConfig, Hub};
use sessiond_model::{HybridIds, SystemClock};
use sessiond_opencode::{OpenCodeState, ServerPaths};
use sessiond_store::{MemoryCluster, MemoryStore, Store};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::*;
use crate::ClusterConfig;
use crate::server::Stop;

const TOKEN: &str = "what-clients-show-all-nodes";
const CLUSTER: &str = "what-nodes-show-each-other";

#[derive(Debug)]
struct Well;

impl Vitals for Well {
    fn look(&self) -> BoxFuture<'_, Vital> {
        Box::pin(async { Vital::default() })
    }
}

struct Node {
    url: String,
    engine: Engine,
    store: Arc<MemoryStore>,
    front: Arc<Front>,
    stop: Stop,
    _dir: tempfile::TempDir,
}

async fn node(cluster: &MemoryCluster, name: &str) -> Node {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    let url = format!("http://{addr}");
    node_known_as(cluster, name, listener, &url).await
}

/// A node that listens in one place and tells others of another.
async fn node_known_as(
    cluster: &MemoryCluster,
    name: &str,
    listener: TcpListener,
    known_as: &str,
) -> Node {
    let addr: SocketAddr = listener.local_addr().unwrap();
    let url = format!("http://{addr}");
    let hub = Arc::new(Hub::new());
    let store = Arc::new(cluster.join(name, Some(known_as), hub.clone()));
    let clock = Arc::new(SystemClock);
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(
        store.clone(),
        hub,
        Catalogue::new(PathBuf::from("unused"), BTreeMap::new(), None),
        clock.clone(),
        Arc::new(HybridIds::new(clock)),
        EngineConfig {
            default_directory: dir.path().to_owned(),
            ..EngineConfig::default()
        },
    )
    .await
    .unwrap();
    let state = OpenCodeState {
        engine: engine.clone(),
        version: "0".into(),
        paths: ServerPaths {
            home: dir.path().to_owned(),
            state: dir.path().to_owned(),
            config: dir.path().to_owned(),
        },
    };
    let routers = Routers {
        opencode: sessiond_opencode::router(state),
        core: sessiond_api::router(ApiState::new(engine.clone(), CancellationToken::new())),
        root: errands(engine.clone()),
    };
    let mut config = Config::in_dir(dir.path());
    config.cluster = ClusterConfig {
        token: Some(Token::parse(CLUSTER).unwrap()),
        ..ClusterConfig::default()
    };
    let stop = Stop::default();
    let front = Front::new(
        routers,
        &config,
        Some(&Token::parse(TOKEN).unwrap()),
        addr,
        Arc::new(Metrics::new()),
        Arc::new(Well),
        stop.draining.clone(),
    );
    let front = Arc::new(front.with_forward(Forward::new(&config.cluster, name, &engine).unwrap()));
    let accept = crate::net::accept(
        listener,
        front.clone(),
        config.limits,
        TaskTracker::new(),
        stop.clone(),
    );
    tokio::spawn(accept);
    Node {
        url,
        engine,
        store,
        front,
        stop,
        _dir: dir,
    }
}

impl Node {
    async fn ask(&self, method: &str, path: &str, body: &Value) -> (u16, HeaderMap, Value) {
        let authority = self.url.trim_start_matches("http://");
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", authority)
            .header("authorization", format!("Bearer {TOKEN}"));
        let mut bytes = Vec::new();
        if !body.is_null() {
            request = request.header("content-type", "application/json");
            bytes = body.to_string().into_bytes();
        }
        self.send(request.body(Body::from(bytes)).unwrap()).await
    }

    async fn send(&self, request: Request<Body>) -> (u16, HeaderMap, Value) {
        let (head, body) = self.front.answer(request).await.into_parts();
        let body = to_bytes(body, 1 << 20).await.unwrap();
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        (head.status.as_u16(), head.headers, body)
    }

    fn passed_on(&self) -> u64 {
        self.front.metrics.forwards.load(Ordering::SeqCst)
    }
}

fn cluster() -> MemoryCluster {
    MemoryCluster::new(Arc::new(SystemClock), Duration::from_secs(60))
}

#[tokio::test]
async fn what_reaches_the_wrong_node_is_done_by_the_right_one() {
    let cluster = cluster();
    let (a, b) = (node(&cluster, "a").await, node(&cluster, "b").await);
    let (status, _, made) = a
        .ask("POST", "/v1/sessions", &json!({"title": "one"}))
        .await;
    assert_eq!(status, 201, "{made}");
    let id = made["id"].as_str().unwrap();
    assert_eq!(a.passed_on(), 0);

    let at = format!("/v1/sessions/{id}");
    let (status, headers, patched) = b.ask("PATCH", &at, &json!({"title": "by b"})).await;
    assert_eq!((status, &patched["title"]), (200, &json!("by b")));
    assert!(headers.contains_key("etag"), "{headers:?}");
    assert_eq!(b.passed_on(), 1);
    let (status, _, read) = b.ask("GET", &at, &Value::Null).await;
    assert_eq!((status, &read["title"]), (200, &json!("by b")));
    assert_eq!(b.passed_on(), 1, "reads are answered where they arrive");

    // OpenCode's surfaces, too, with what the right node has to say against it.
    let at = format!("/opencode/session/{id}");
    let (status, _, patched) = b.ask("PATCH", &at, &json!({"title": "by c"})).await;
    assert_eq!((status, &patched["title"]), (200, &json!("by c")));
    let (status, _, error) = b.ask("PATCH", &at, &json!({"title": 7})).await;
    assert_eq!(status, 400, "{error}");
    let prompt = json!({"noReply": true, "parts": [{"type": "text", "text": "hello"}]});
    let at = format!("/opencode/session/{id}/message");
    let (status, _, said) = b.ask("POST", &at, &prompt).await;
    assert_eq!(status, 200, "{said}");
    let read = a.ask("GET", &at, &Value::Null).await.2;
    assert_eq!(read.as_array().map(Vec::len), Some(1));

    let (status, _, nodes) = b.ask("GET", "/v1/nodes", &Value::Null).await;
    assert_eq!(status, 200);
    let nodes = nodes["nodes"].as_array().unwrap();
    let told: Vec<_> = nodes
        .iter()
        .map(|n| {
            (
                n["name"].as_str(),
                n["alive"].as_bool(),
                n["is_this"].as_bool(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (Some("a"), Some(true), Some(false)),
            (Some("b"), Some(true), Some(true))
        ]
    );
}

#[tokio::test]
async fn what_is_below_a_session_is_deleted_and_restored_where_it_is_held() {
    let cluster = cluster();
    let (a, b) = (node(&cluster, "a").await, node(&cluster, "b").await);
    let above = a.ask("POST", "/v1/sessions", &json!({})).await.2;
    let above = above["id"].as_str().unwrap();
    let below = json!({"parent_id": above});
    let below = b.ask("POST", "/v1/sessions", &below).await.2;
    let below = below["id"].as_str().unwrap();
    assert_eq!(a.passed_on() + b.passed_on(), 0, "held by both");

    let at = |id: &str| format!("/v1/sessions/{id}");
    let (status, _, gone) = a.ask("DELETE", &at(above), &Value::Null).await;
    assert_eq!(status, 200, "{gone}");
    let trash = b.ask("GET", "/v1/trash", &Value::Null).await.2;
    let trash = trash["sessions"].as_array().unwrap();
    assert_eq!(trash.len(), 2, "{trash:?}");
    assert_eq!(trash[0]["deleted_at"], trash[1]["deleted_at"]);

    let restore = format!("{}/restore", at(above));
    let (status, _, back) = a.ask("POST", &restore, &Value::Null).await;
    assert_eq!(status, 200, "{back}");
    for id in [above, below] {
        assert_eq!(b.ask("GET", &at(id), &Value::Null).await.0, 200);
    }

    // A node that can't be asked is named.
    b.stop.stopping.cancel();
    b.stop.cut.cancel();
    let away = async || {
        let (status, _, problem) = a.ask("DELETE", &at(above), &Value::Null).await;
        (status == 503).then_some(problem)
    };
    let detail = away().await.unwrap()["detail"].to_string();
    assert!(
        detail.contains(below) && detail.contains("node b"),
        "{detail}"
    );
}

#[tokio::test]
async fn errands_are_for_nodes() {
    let cluster = cluster();
    let a = node(&cluster, "a").await;
    let made = a.ask("POST", "/v1/sessions", &json!({})).await.2;
    let id = made["id"].as_str().unwrap();
    let order = json!({"session": id, "do": "trash", "at": 1});
    assert_eq!(a.ask("POST", "/node/errand", &order).await.0, 404);
    let from_node = |order: &Value| {
        Request::builder()
            .method("POST")
            .uri("/node/errand")
            .header(FORWARDED, "b")
            .header("authorization", format!("Bearer {CLUSTER}"))
            .header("content-type", "application/json")
            .body(Body::from(order.to_string()))
            .unwrap()
    };
    let idle = json!({"session": id, "do": "stop", "keep_queue": false});
    let (status, _, ran) = a.send(from_node(&idle)).await;
    assert_eq!((status, ran), (200, json!(false)));
    let unknown = json!({"session": "ses_unknown", "do": "restore"});
    assert_eq!(a.send(from_node(&unknown)).await.0, 404);
    assert_eq!(
        a.send(from_node(&json!({"session": id, "do": "x"})))
            .await
            .0,
        422
    );
    assert_eq!(a.send(from_node(&order)).await.0, 200);
    assert_eq!(
        a.ask("GET", &format!("/v1/sessions/{id}"), &Value::Null)
            .await
            .0,
        404
    );
}

#[tokio::test]
async fn a_node_that_is_away_is_named_and_one_that_ended_is_followed() {
    let cluster = cluster();
    let (a, b) = (node(&cluster, "a").await, node(&cluster, "b").await);
    let made = a.ask("POST", "/v1/sessions", &json!({})).await.2;
    let at = format!("/v1/sessions/{}", made["id"].as_str().unwrap());
    a.stop.stopping.cancel();
    a.stop.cut.cancel();
    // Nobody listens there any more.
    let gone = async || tokio::net::TcpStream::connect(a.url.trim_start_matches("http://")).await;
    while gone().await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (status, headers, problem) = b.ask("PATCH", &at, &json!({"title": "x"})).await;
    assert_eq!((status, &problem["code"]), (503, &json!("node_away")));
    assert!(problem["detail"].as_str().unwrap().contains("Node a"));
    assert_eq!(headers["retry-after"], "1");

    a.engine.shutdown(Duration::from_secs(5)).await;
    a.store.close().await.unwrap();
    let (status, _, patched) = b.ask("PATCH", &at, &json!({"title": "x"})).await;
    assert_eq!((status, &patched["title"]), (200, &json!("x")));
}

#[tokio::test]
async fn only_nodes_pass_requests_on_and_only_once() {
    let cluster = cluster();
    let (a, b) = (node(&cluster, "a").await, node(&cluster, "b").await);
    let made = a.ask("POST", "/v1/sessions", &json!({})).await.2;
    let at = format!("/v1/sessions/{}", made["id"].as_str().unwrap());
    let forwarded = |token: &str| {
        Request::builder()
            .method("PATCH")
            .uri(&at)
            // As another node calls it, not as clients do.
            .header("host", "node-b.internal:9")
            .header(FORWARDED, "a")
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .body(Body::from(r#"{"title":"y"}"#))
            .unwrap()
    };
    for wrong in [TOKEN, "", "what-nodes-show-each-othes"] {
        assert_eq!(a.send(forwarded(wrong)).await.0, 401, "{wrong}");
    }
    assert_eq!(a.send(forwarded(CLUSTER)).await.0, 200);
    // A token of nodes is none of clients.
    let client = Request::builder()
        .uri(&at)
        .header("host", a.url.trim_start_matches("http://"))
        .header("authorization", format!("Bearer {CLUSTER}"));
    assert_eq!(a.send(client.body(Body::empty()).unwrap()).await.0, 401);
    // It is not passed on again.
    let (status, headers, problem) = b.send(forwarded(CLUSTER)).await;
    assert_eq!(status, 503, "{problem}");
    assert_eq!(headers["retry-after"], "2");
    assert_eq!(b.passed_on(), 0);
}

#[tokio::test]
async fn nobody_waits_for_a_node_that_stands_still() {
    let cluster = MemoryCluster::new(Arc::new(SystemClock), Duration::from_secs(3));
    let b = node(&cluster, "b").await;
    // Takes connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let known_as = format!("http://{}", silent.local_addr().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let a = node_known_as(&cluster, "a", listener, &known_as).await;
    let made = a.ask("POST", "/v1/sessions", &json!({})).await.2;
    let at = format!("/opencode/session/{}/message", made["id"].as_str().unwrap());
    let prompt = json!({"noReply": true, "parts": [{"type": "text", "text": "hello"}]});
    let asked = b.ask("POST", &at, &prompt);
    let stand_still = async {
        let taken = silent.accept().await;
        a.store.pause(true);
        taken.unwrap()
    };
    let (answer, _taken) = tokio::time::timeout(Duration::from_secs(60), async {
        tokio::join!(asked, stand_still)
    })
    .await
    .expect("an answer");
    assert_eq!(answer.0, 503, "{answer:?}");
    assert!(answer.1.contains_key("retry-after"));

    let (status, _, said) = b.ask("POST", &at, &prompt).await;
    assert_eq!(status, 200, "{said}");
}
