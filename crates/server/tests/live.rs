//! Whole servers in this process, on free ports.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

use std::time::Duration;

use axum::http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use sessiond_server::{Config, Running, Server, openapi_json};
use sessiond_testkit::http::{Client, Reply};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[path = "live/shares.rs"]
mod shares;

const PATIENCE: Duration = Duration::from_secs(60);

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("this hangs")
}

struct Up {
    server: Running,
    client: Client,
    _dir: TempDir,
}

async fn start(change: impl FnOnce(&mut Config)) -> Up {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::in_dir(dir.path().join("data"));
    config.listen = "127.0.0.1:0".parse().unwrap();
    change(&mut config);
    let server = Server::start(config).await.unwrap();
    let client = Client::new(server.addr()).with_token(server.token().unwrap().reveal());
    Up {
        server,
        client,
        _dir: dir,
    }
}

/// Sends bytes and reads until the server closes the connection.
async fn raw(server: &Running, bytes: &[u8]) -> String {
    let mut socket = TcpStream::connect(server.addr()).await.unwrap();
    socket.write_all(bytes).await.unwrap();
    read_to_end(&mut socket).await
}

async fn read_to_end(socket: &mut TcpStream) -> String {
    let mut said = Vec::new();
    // A reset after the answer is an end too.
    let _ = within(socket.read_to_end(&mut said)).await;
    String::from_utf8_lossy(&said).into_owned()
}

fn fill(path: &str) -> String {
    path.split('/')
        .map(|piece| if piece.starts_with('{') { "x" } else { piece })
        .collect::<Vec<_>>()
        .join("/")
}

#[tokio::test]
async fn every_documented_route_is_closed_by_default() {
    let up = start(|_| {}).await;
    let bare = Client::new(up.server.addr());
    let wrong = bare.clone().with_token("a-token-that-is-wrong-here");
    let document: Value = serde_json::from_str(&openapi_json()).unwrap();
    let mut checked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        let prefix = if path.starts_with("/v1") { "" } else { "/v1" };
        let path = format!("{prefix}{}", fill(path));
        for method in methods.as_object().unwrap().keys().filter(|m| m.len() < 7) {
            let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap();
            let status = async |client: &Client, headers: &[(&str, &str)]| {
                client
                    .send(method.clone(), &path, None, headers)
                    .await
                    .unwrap()
                    .status
            };
            assert_eq!(status(&bare, &[]).await, 401, "{method} {path}");
            assert_eq!(status(&wrong, &[]).await, 401, "{method} {path}");
            let origin = [("origin", "https://evil.example")];
            assert_eq!(status(&up.client, &origin).await, 403, "{method} {path}");
            checked += 1;
        }
    }
    assert!(checked > 15, "{checked}");
    let answer = raw(
        &up.server,
        b"GET /v1/sessions HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
}

#[tokio::test]
async fn heads_are_bounded_in_time_and_size() {
    let up = start(|c| c.limits.idle_timeout = Duration::from_millis(200)).await;
    let slow = raw(&up.server, b"GET /healthz HTTP/1.1\r\nhost: local").await;
    assert!(!slow.contains("200 OK"), "{slow}");
    // An idle connection ends too, after its request was answered.
    let idle = raw(
        &up.server,
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
    )
    .await;
    assert!(idle.starts_with("HTTP/1.1 200 OK"), "{idle}");
    let large = format!(
        "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    let answer = raw(&up.server, large.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 431 ") || answer.is_empty(),
        "{answer}"
    );
    assert!(up.client.get("/v1/sessions").await.unwrap().ok());
}

#[tokio::test]
async fn bodies_are_bounded_on_every_surface() {
    let up = start(|c| c.limits.request_size = 100_000).await;
    let big = json!({"title": "x".repeat(200_000)});
    for path in ["/v1/sessions", "/opencode/session"] {
        let reply = up.client.post(path, &big).await.unwrap();
        assert_eq!(reply.status, 413, "{path}: {reply:?}");
        assert!(reply.text().contains("100000"), "{reply:?}");

        // The same without saying so before.
        let token = up.server.token().unwrap().reveal().to_owned();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let mut socket = TcpStream::connect(up.server.addr()).await.unwrap();
        socket.write_all(head.as_bytes()).await.unwrap();
        let chunk = format!("2710\r\n{}\r\n", "[".repeat(10_000));
        for _ in 0..20 {
            // The answer may come, and the connection end, before all is sent.
            if socket.write_all(chunk.as_bytes()).await.is_err() {
                break;
            }
        }
        let answer = read_to_end(&mut socket).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{path}: {answer}");
        assert!(answer.contains("json"), "{path}: {answer}");
    }
    let normal = json!({"title": "x".repeat(50_000)});
    assert!(
        up.client
            .post("/v1/sessions", &normal)
            .await
            .unwrap()
            .status
            < 500
    );
}

#[tokio::test]
async fn connections_are_bounded() {
    let up = start(|c| c.limits.connections = 1).await;
    let held = TcpStream::connect(up.server.addr()).await.unwrap();
    // One more than the limit is told so; the held one may not have been accepted yet.
    let answer = within(async {
        loop {
            let answer = raw(&up.server, b"").await;
            if !answer.is_empty() {
                return answer;
            }
        }
    })
    .await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let announced = format!("content-length: {}", body.len());
    assert!(head.contains(&announced), "{answer}");
    assert!(serde_json::from_str::<Value>(body).is_ok(), "{body}");
    drop(held);
    within(async { while up.client.get("/healthz").await.map(|r| r.status).ok() != Some(200) {} })
        .await;
}

async fn gauge(client: &Client, name: &str) -> f64 {
    let text = client.get("/metrics").await.unwrap().text();
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(name))
        .unwrap_or_else(|| panic!("{text}"));
    line.trim().parse().unwrap()
}

async fn new_session(client: &Client) -> String {
    let reply = client.post("/v1/sessions", &json!({})).await.unwrap();
    assert!(reply.ok(), "{reply:?}");
    reply.json().unwrap()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_subscriber_that_never_reads_is_let_go() {
    let up = start(|c| c.limits.write_timeout = Duration::from_millis(300)).await;
    let token = up.server.token().unwrap().reveal();
    let mut deaf = TcpStream::connect(up.server.addr()).await.unwrap();
    let ask = format!(
        "GET /opencode/global/event HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    deaf.write_all(ask.as_bytes()).await.unwrap();
    within(async { while gauge(&up.client, "sessiond_subscribers ").await < 1.0 {} }).await;
    let path = format!("/v1/sessions/{}", new_session(&up.client).await);
    let filler = "x".repeat(8000);
    within(async {
        let mut n = 0;
        while gauge(&up.client, "sessiond_subscribers ").await > 0.0 {
            n += 1;
            let change = json!({"metadata": {"n": n, "filler": filler}});
            let reply = up.client.patch(&path, &change).await.unwrap();
            assert!(reply.ok(), "others are not harmed: {reply:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_stop_ends_streams_with_what_was_theirs_and_keeps_all_else() {
    let up = start(|_| {}).await;
    let other = start(|_| {}).await;
    let session = new_session(&up.client).await;
    let mut stream = up
        .client
        .stream("/opencode/global/event", &[])
        .await
        .unwrap()
        .into_body();
    let path = format!("/v1/sessions/{session}");
    let patched = up
        .client
        .patch(&path, &json!({"title": "the last word"}))
        .await;
    assert!(patched.unwrap().ok());

    let addr = up.server.addr();
    let config = up.server.config().clone();
    up.server.shutdown().await;
    let mut seen = String::new();
    while let Some(Ok(frame)) = within(stream.frame()).await {
        seen.push_str(&String::from_utf8_lossy(frame.data_ref().unwrap()));
    }
    assert!(seen.contains("the last word"), "{seen}");
    assert!(TcpStream::connect(addr).await.is_err());

    let again = Server::start(config).await.unwrap();
    let client = Client::new(again.addr()).with_token(again.token().unwrap().reveal());
    let kept: Reply = client
        .get(&format!("/v1/sessions/{session}"))
        .await
        .unwrap();
    assert_eq!(kept.json().unwrap()["title"], "the last word");
    assert!(
        other.client.get("/v1/sessions").await.unwrap().ok(),
        "a server of its own"
    );
}

#[tokio::test]
async fn the_root_answers_what_clients_probe() {
    let up = start(|_| {}).await;
    for path in ["/global/health", "/opencode/global/health"] {
        let origin = [("origin", "http://localhost:3000")];
        let reply = up
            .client
            .send(Method::GET, path, None, &origin)
            .await
            .unwrap();
        assert_eq!(reply.json().unwrap()["healthy"], true, "{path}");
        assert_eq!(
            reply.header("access-control-allow-origin"),
            Some("http://localhost:3000")
        );
        assert_eq!(
            Client::new(up.server.addr())
                .get(path)
                .await
                .unwrap()
                .status,
            401,
            "{path}"
        );
    }
    assert_eq!(up.client.get("/readyz").await.unwrap().text(), "ready\n");
    for path in ["/", "/v1/nothing", "/opencode/nothing", "/api/health"] {
        let reply = up.client.get(path).await.unwrap();
        assert_eq!(reply.status, 404, "{path}");
        assert!(
            reply.header("content-type").unwrap().contains("json"),
            "{path}"
        );
    }
}
