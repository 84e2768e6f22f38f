use std::net::SocketAddr;
use std::time::Duration;

use axum::body::to_bytes;
use axum::response::IntoResponse as _;
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::*;

const TOKEN: &str = "a-token-for-these-tests";
const GOOD: &str = "Bearer a-token-for-these-tests";

#[derive(Debug, Default)]
struct Rooms(Option<&'static str>);

impl Vitals for Rooms {
    fn look(&self) -> BoxFuture<'_, Vital> {
        let unready = self.0.map(str::to_owned);
        Box::pin(async {
            Vital {
                unready,
                gauges: vec![(Gauge::new("sessiond_agents", "Agents."), 2.0)],
            }
        })
    }
}

/// Routes that show what comes through.
fn rooms() -> Routers {
    let echo = async |uri: Uri| Json(json!({"uri": uri.to_string()}));
    let size = async |body: Result<Bytes, axum::extract::rejection::BytesRejection>| match body {
        Ok(body) => Json(body.len()).into_response(),
        Err(e) => e.status().into_response(),
    };
    let crash = async || -> Json<Value> { panic!("a bug") };
    let slow = async || -> Json<Value> { std::future::pending().await };
    let events = async || {
        (
            [(CONTENT_TYPE, "text/event-stream")],
            format!("data: {}\n\n", "x".repeat(9000)),
        )
    };
    let group = || {
        Router::new()
            .route("/session", get(echo).post(size))
            .route("/session/{id}/message", post(slow))
            .route("/crash", get(crash))
            .route("/slow", get(slow))
            .route("/big", get(async || Json("x".repeat(9000))))
            .route("/event", get(events))
    };
    Routers {
        opencode: group().nest("/api", group()),
        core: group(),
        root: Router::new().route(
            "/global/health",
            get(async || Json(json!({"healthy": true}))),
        ),
    }
}

fn front_with(change: impl FnOnce(&mut Config), vitals: Rooms) -> Front {
    let mut config = Config::in_dir("/d");
    change(&mut config);
    let token = config.auth.then(|| Token::parse(TOKEN).unwrap());
    let listen: SocketAddr = config.listen;
    Front::new(
        rooms(),
        &config,
        token.as_ref(),
        listen,
        Arc::new(Metrics::new()),
        Arc::new(vitals),
        CancellationToken::new(),
    )
}

fn front() -> Front {
    front_with(|_| {}, Rooms::default())
}

fn request(
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "127.0.0.1:2468");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

async fn ask(front: &Front, method: &str, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    front
        .answer(request(method, path, headers, Body::empty()))
        .await
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(
        to_bytes(response.into_body(), 1 << 20)
            .await
            .unwrap()
            .to_vec(),
    )
    .unwrap()
}

async fn body(response: Response<Body>) -> Value {
    serde_json::from_str(&text(response).await).unwrap()
}

/// Every kind of route, also such as do not exist.
const PATHS: &[&str] = &[
    "/",
    "/opencode",
    "/opencode/session",
    "/opencode/event",
    "/opencode/api/session",
    "/opencode/nothing",
    "/v1/session",
    "/v1/event",
    "/v1/nothing",
    "/global/health",
    "/metrics",
    "/nothing",
    "/healthz/",
    "//healthz",
    "/opencode/../healthz",
    "/readyz.",
];

#[tokio::test]
async fn without_a_token_nothing_opens() {
    let front = front();
    let credentials: [&[(&str, &str)]; 3] = [
        &[],
        &[("authorization", "Bearer wrong")],
        &[("authorization", "Basic b3BlbmNvZGU6d3Jvbmc=")],
    ];
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "BREW"] {
        for (headers, path) in credentials
            .iter()
            .flat_map(|h| PATHS.iter().map(move |p| (*h, *p)))
        {
            let response = ask(&front, method, path, headers).await;
            assert_eq!(response.status(), 401, "{method} {path}");
            assert!(
                response.headers().contains_key("www-authenticate"),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn each_surface_has_its_own_401() {
    let front = front();
    let opencode = ask(&front, "GET", "/opencode/session", &[]).await;
    assert_eq!(
        opencode.headers()["www-authenticate"],
        r#"Basic realm="Secure Area""#
    );
    assert_eq!(text(opencode).await, "");
    let v2 = ask(&front, "GET", "/opencode/api/session", &[]).await;
    assert_eq!(
        v2.headers()["www-authenticate"],
        r#"Basic realm="Secure Area""#
    );
    assert_eq!(
        body(v2).await,
        json!({"_tag": "UnauthorizedError", "message": "Authentication required"})
    );
    let core = ask(&front, "GET", "/v1/session", &[]).await;
    assert_eq!(core.headers()["content-type"], "application/problem+json");
    assert_eq!(body(core).await["status"], 401);
}

#[tokio::test]
async fn with_the_token_in_any_form_all_open() {
    let front = front();
    let basic = "Basic b3BlbmNvZGU6YS10b2tlbi1mb3ItdGhlc2UtdGVzdHM=";
    for header in [GOOD, basic] {
        for path in [
            "/opencode/session",
            "/v1/session",
            "/global/health",
            "/metrics",
        ] {
            let response = ask(&front, "GET", path, &[("authorization", header)]).await;
            assert_eq!(response.status(), 200, "{header} {path}");
        }
        let response = ask(&front, "GET", "/nothing", &[("authorization", header)]).await;
        assert_eq!(response.status(), 404);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
    }
    let path = "/v1/session?a=1&auth_token=a-token-for-these-tests";
    let response = ask(&front, "GET", path, &[]).await;
    assert_eq!(response.status(), 200);
    assert_eq!(
        body(response).await["uri"],
        "/session?a=1",
        "the rooms do not see the token"
    );
    let path = "/v1/session?auth_token=a-token-for-these-tests";
    assert_eq!(
        body(ask(&front, "GET", path, &[]).await).await["uri"],
        "/session"
    );
}

#[tokio::test]
async fn foreign_hosts_and_origins_are_refused_everywhere() {
    let front = front();
    let open = ["/healthz", "/readyz"];
    for path in PATHS.iter().chain(&open) {
        for method in ["GET", "POST", "PATCH", "DELETE", "OPTIONS"] {
            let headers = [("host", "evil.example"), ("authorization", GOOD)];
            let response = ask(&front, method, path, &headers).await;
            assert_eq!(response.status(), 421, "{method} {path}");

            let headers = [("origin", "https://evil.example"), ("authorization", GOOD)];
            let response = ask(&front, method, path, &headers).await;
            assert_eq!(response.status(), 403, "{method} {path}");
            assert!(
                !response
                    .headers()
                    .contains_key("access-control-allow-origin"),
                "{path}"
            );
        }
    }
    let full = "http://evil.example/v1/session";
    assert_eq!(
        ask(&front, "GET", full, &[("authorization", GOOD)])
            .await
            .status(),
        421
    );
    let nameless = Request::get("/healthz").body(Body::empty()).unwrap();
    assert_eq!(front.answer(nameless).await.status(), 421);
}

#[tokio::test]
async fn pages_of_known_origins_may_call() {
    let front = front();
    for origin in [
        "http://localhost:5173",
        "https://app.opencode.ai",
        "http://127.0.0.1:2468",
    ] {
        let headers = [("origin", origin), ("authorization", GOOD)];
        let response = ask(&front, "GET", "/opencode/session", &headers).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["access-control-allow-origin"], origin);
        assert_eq!(
            response.headers()["access-control-expose-headers"],
            "Link, X-Next-Cursor"
        );
        assert_eq!(response.headers()["vary"], "Origin");
        // They can see a refusal too.
        let refused = ask(&front, "GET", "/opencode/session", &[("origin", origin)]).await;
        assert_eq!(refused.status(), 401);
        assert_eq!(refused.headers()["access-control-allow-origin"], origin);
    }
}

#[tokio::test]
async fn preflights_need_no_token() {
    let headers = [
        ("origin", "http://localhost:3000"),
        ("access-control-request-method", "PATCH"),
        (
            "access-control-request-headers",
            "authorization,x-opencode-directory",
        ),
    ];
    let response = ask(&front(), "OPTIONS", "/opencode/session", &headers).await;
    assert_eq!(response.status(), 204);
    let said = response.headers();
    assert_eq!(said["access-control-allow-origin"], "http://localhost:3000");
    assert_eq!(
        said["access-control-allow-methods"],
        "GET, HEAD, PUT, PATCH, POST, DELETE"
    );
    assert_eq!(
        said["access-control-allow-headers"],
        "authorization,x-opencode-directory"
    );
    assert_eq!(said["access-control-max-age"], "86400");
    assert_eq!(said["vary"], "Origin");
}

#[tokio::test]
async fn without_auth_foreign_pages_stay_outside() {
    let front = front_with(|c| c.auth = false, Rooms::default());
    assert_eq!(ask(&front, "GET", "/v1/session", &[]).await.status(), 200);
    let headers = [("origin", "https://app.opencode.ai")];
    assert_eq!(
        ask(&front, "POST", "/v1/session", &headers).await.status(),
        403
    );
}

#[tokio::test]
async fn bodies_are_bounded_announced_or_not() {
    let front = front_with(|c| c.limits.request_size = 3 << 20, Rooms::default());
    let post = async |path: &str, body: Body, announced: Option<usize>| {
        let mut request = request("POST", path, &[("authorization", GOOD)], body);
        if let Some(len) = announced {
            request.headers_mut().insert("content-length", len.into());
        }
        front.answer(request).await
    };
    let bytes = |n: usize| Body::from(vec![b'x'; n]);
    let stream = |n: usize| {
        let chunks = (0..n >> 10).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 1024]));
        Body::from_stream(futures::stream::iter(chunks))
    };
    // Larger than axum's own limit, within ours.
    assert_eq!(
        post("/v1/session", bytes(3 << 20), None).await.status(),
        200
    );
    assert_eq!(
        post("/v1/session", stream(3 << 20), None).await.status(),
        200
    );
    assert_eq!(
        post("/v1/session", stream(4 << 20), None).await.status(),
        413
    );
    let response = post("/v1/session", bytes((3 << 20) + 1), None).await;
    assert_eq!(response.status(), 413);
    assert_eq!(body(response).await["code"], "too_large");
    let response = post("/opencode/session", bytes((3 << 20) + 1), None).await;
    assert_eq!(body(response).await["name"], "PayloadTooLarge");
}

#[tokio::test]
async fn a_panic_is_answered_and_has_a_reference() {
    let front = front();
    let auth = [("authorization", GOOD)];
    let response = ask(&front, "GET", "/opencode/crash", &auth).await;
    assert_eq!(response.status(), 500);
    let said = body(response).await;
    assert_eq!(said["name"], "UnknownError");
    assert!(
        said["data"]["ref"].as_str().unwrap().starts_with("err_"),
        "{said}"
    );
    let said = body(ask(&front, "GET", "/v1/crash", &auth).await).await;
    assert_eq!(said["status"], 500);
    // With gzip it takes another path.
    let zipped = [("authorization", GOOD), ("accept-encoding", "gzip")];
    assert_eq!(ask(&front, "GET", "/v1/crash", &zipped).await.status(), 500);
}

#[tokio::test(start_paused = true)]
async fn slow_answers_are_given_up_waiting_ones_are_not() {
    let front = front();
    let auth = [("authorization", GOOD)];
    let response = ask(&front, "GET", "/opencode/slow", &auth).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
    let day = Duration::from_secs(86_400);
    for (method, path) in [
        ("POST", "/opencode/session/x/message"),
        ("GET", "/v1/slow?wait=60"),
    ] {
        let waiting = ask(&front, method, path, &auth);
        assert!(tokio::time::timeout(day, waiting).await.is_err(), "{path}");
    }
}

#[tokio::test]
async fn too_much_at_once_is_refused_and_ends() {
    let front = front_with(|c| c.limits.requests = 1, Rooms::default());
    let auth = [("authorization", GOOD)];
    let mut first = Box::pin(ask(&front, "GET", "/v1/slow", &auth));
    assert!((&mut first).now_or_never().is_none());
    let refused = ask(&front, "GET", "/v1/session", &auth).await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    drop(first);
    assert_eq!(ask(&front, "GET", "/v1/session", &auth).await.status(), 200);
}

#[tokio::test]
async fn gzip_for_what_is_large_and_no_stream() {
    let front = front();
    let encoding = async |path: &str, accept: &str| {
        let headers = [("authorization", GOOD), ("accept-encoding", accept)];
        ask(&front, "GET", path, &headers)
            .await
            .headers()
            .get("content-encoding")
            .cloned()
    };
    assert_eq!(encoding("/v1/big", "gzip, br").await.unwrap(), "gzip");
    assert_eq!(encoding("/v1/big", "identity").await, None);
    assert_eq!(encoding("/v1/big", "gzip;q=0").await, None);
    assert_eq!(encoding("/v1/session", "gzip").await, None);
    assert_eq!(encoding("/v1/event", "gzip").await, None);
}

#[tokio::test]
async fn probes() {
    let up = front();
    assert_eq!(ask(&up, "GET", "/healthz", &[]).await.status(), 200);
    assert_eq!(ask(&up, "GET", "/readyz", &[]).await.status(), 200);
    assert_eq!(ask(&up, "POST", "/readyz", &[]).await.status(), 404);
    let said = text(ask(&up, "GET", "/metrics", &[("authorization", GOOD)]).await).await;
    assert!(
        said.contains(r#"sessiond_http_requests_total{surface="root",status="200"} 2"#),
        "{said}"
    );
    assert!(said.contains("sessiond_agents 2"), "{said}");

    let down = front_with(|_| {}, Rooms(Some("the disk is full")));
    assert_eq!(ask(&down, "GET", "/healthz", &[]).await.status(), 200);
    let response = ask(&down, "GET", "/readyz", &[]).await;
    assert_eq!(response.status(), 503);
    assert_eq!(text(response).await, "not ready: the disk is full\n");
}
