//! Shared sessions from outside: who may read, and what their browsers are told.

use super::*;

/// A shared session's path, `/s/TOKEN`.
async fn shared(up: &Up, title: &str) -> (String, String) {
    let session = up
        .client
        .post("/v1/sessions", &json!({"title": title}))
        .await;
    let id = session.unwrap().json().unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let share = up
        .client
        .post(&format!("/v1/sessions/{id}/share"), &json!({}))
        .await;
    let url = share.unwrap().json().unwrap()["url"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = url
        .strip_prefix(up.server.url())
        .unwrap_or_else(|| panic!("{url}"));
    (id, path.to_owned())
}

async fn look(client: &Client, path: &str, headers: &[(&str, &str)]) -> Reply {
    client.send(Method::GET, path, None, headers).await.unwrap()
}

#[tokio::test]
async fn whoever_has_the_link_may_read_and_do_nothing_else() {
    let up = start(|_| {}).await;
    let stranger = Client::new(up.server.addr());
    let (id, path) = shared(&up, "For <everyone>").await;
    let page = look(&stranger, &path, &[]).await;
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(page.text().contains("<h1>For &#60;everyone&#62;</h1>"));
    for (suffix, kind) in [
        (".json", "application/json"),
        ("/content", "text/html; charset=utf-8"),
    ] {
        let reply = look(&stranger, &format!("{path}{suffix}"), &[]).await;
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (200, Some(kind))
        );
    }
    let json = look(&stranger, &path, &[("accept", "application/json")]).await;
    assert_eq!(json.json().unwrap()["title"], "For <everyone>");
    let browser = [("accept", "text/html,application/json;q=0.9")];
    let html = look(&stranger, &path, &browser).await;
    assert!(html.text().starts_with("<!doctype html>"));
    let head = stranger.send(Method::HEAD, &path, None, &[]).await.unwrap();
    assert_eq!((head.status, head.body.len()), (200, 0));

    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let reply = stranger
            .send(method.clone(), &path, None, &[])
            .await
            .unwrap();
        assert_eq!(reply.status, 401, "{method}");
        let reply = up
            .client
            .send(method.clone(), &path, None, &[])
            .await
            .unwrap();
        assert_eq!(reply.status, 405, "{method}");
    }
    let token = path.strip_prefix("/s/").unwrap();
    let bearer = stranger.clone().with_token(token);
    for closed in [
        "/v1/sessions",
        &format!("/v1/sessions/{id}"),
        "/v1/shares",
        "/opencode/session",
    ] {
        assert_eq!(look(&stranger, closed, &[]).await.status, 401, "{closed}");
        assert_eq!(look(&bearer, closed, &[]).await.status, 401, "{closed}");
    }
    up.server.shutdown().await;
}

#[tokio::test]
async fn browsers_are_told_to_keep_to_themselves() {
    let up = start(|_| {}).await;
    let stranger = Client::new(up.server.addr());
    let (_, path) = shared(&up, "T").await;
    let wrong = format!("/s/{}", "A".repeat(43));
    for path in [
        path.clone(),
        format!("{path}.json"),
        format!("{path}/content"),
        wrong,
    ] {
        let reply = look(&stranger, &path, &[]).await;
        let policy = reply.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'sha256-"),
            "{policy}"
        );
        assert!(
            policy.contains("frame-ancestors 'none'") && policy.contains("sandbox allow-scripts ")
        );
        assert!(!policy.contains("allow-same-origin") && !policy.contains("unsafe"));
        for (name, value) in [
            ("x-robots-tag", "noindex, nofollow, noarchive"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "private, no-store"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{name} of {path}");
        }
    }
    up.server.shutdown().await;
}

#[tokio::test]
async fn host_and_origin_are_checked_as_everywhere() {
    let up = start(|c| c.share.base_url = Some("https://share.example/x".into())).await;
    let stranger = Client::new(up.server.addr());
    let id = up
        .client
        .post("/v1/sessions", &json!({}))
        .await
        .unwrap()
        .json()
        .unwrap()["id"]
        .clone();
    let path = format!("/opencode/session/{}/share", id.as_str().unwrap());
    let session = up
        .client
        .post(&path, &json!({}))
        .await
        .unwrap()
        .json()
        .unwrap();
    let url = session["share"]["url"].as_str().unwrap();
    let path = url.strip_prefix("https://share.example/x").unwrap();
    for (host, status) in [("share.example", "200"), ("evil.example", "421")] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let said = raw(&up.server, request.as_bytes()).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
    }
    let foreign = [("origin", "https://evil.example")];
    assert_eq!(look(&stranger, path, &foreign).await.status, 403);
    // The page itself: it is sandboxed, so its origin is `null`.
    let own = look(&stranger, &format!("{path}/content"), &[("origin", "null")]).await;
    assert_eq!(own.status, 200);
    assert_eq!(own.header("access-control-allow-origin"), Some("null"));
    assert_eq!(own.header("access-control-allow-credentials"), None);
    // Nowhere else.
    for path in ["/v1/sessions", "/opencode/session", "/global/health"] {
        assert_eq!(
            look(&up.client, path, &[("origin", "null")]).await.status,
            403
        );
    }
    up.server.shutdown().await;
}

#[tokio::test]
async fn links_that_lead_nowhere_are_all_alike() {
    let up = start(|_| {}).await;
    let stranger = Client::new(up.server.addr());
    let (revoked, revoked_path) = shared(&up, "T").await;
    let (trashed, trashed_path) = shared(&up, "T").await;
    up.client
        .delete(&format!("/v1/sessions/{revoked}/share"))
        .await
        .unwrap();
    up.client
        .delete(&format!("/v1/sessions/{trashed}"))
        .await
        .unwrap();
    let never = format!("/s/{}", "A".repeat(43));
    for suffix in ["", ".json", "/content", "/events", "?before=1"] {
        let mut answers = Vec::new();
        for path in [
            &revoked_path,
            &trashed_path,
            &never,
            &"/s/short".to_owned(),
            &"/s/%FF".to_owned(),
        ] {
            let reply = look(&stranger, &format!("{path}{suffix}"), &[]).await;
            assert_eq!(reply.status, 404, "{path}{suffix}");
            let mut headers = reply.headers.clone();
            headers.remove("date");
            if path == "/s/%FF" && suffix == ".json" {
                // What cannot be read does not say what it is.
                continue;
            }
            answers.push((headers, reply.body));
        }
        let (first, rest) = answers.split_first().unwrap();
        assert!(rest.iter().all(|answer| answer == first), "{suffix}");
    }
    let (_, path) = shared(&up, "T").await;
    assert_eq!(
        look(&stranger, &format!("{path}?before=x"), &[])
            .await
            .status,
        404
    );
    assert_eq!(
        look(&stranger, &format!("{path}?before=9&other=x"), &[])
            .await
            .status,
        200
    );
    assert_eq!(look(&stranger, "/s/", &[]).await.status, 404);
    up.server.shutdown().await;
}

#[tokio::test]
async fn a_stream_tells_of_changes_and_of_the_end() {
    let up = start(|_| {}).await;
    let stranger = Client::new(up.server.addr());
    let (id, path) = shared(&up, "T").await;
    let response = stranger
        .stream(&format!("{path}/events"), &[])
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();
    let mut next = async || {
        let frame = within(body.frame()).await?.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    };
    assert_eq!(next().await.unwrap(), "event: changed\ndata: {}\n\n");
    up.client
        .patch(&format!("/v1/sessions/{id}"), &json!({"title": "New"}))
        .await
        .unwrap();
    assert_eq!(next().await.unwrap(), "event: changed\ndata: {}\n\n");
    let page = look(&stranger, &format!("{path}.json"), &[]).await;
    assert_eq!(page.json().unwrap()["title"], "New");
    up.client
        .delete(&format!("/v1/sessions/{id}/share"))
        .await
        .unwrap();
    assert_eq!(next().await.unwrap(), "event: gone\ndata: {}\n\n");
    assert_eq!(next().await, None);

    let frozen = json!({"mode": "frozen"});
    let share = up
        .client
        .post(&format!("/v1/sessions/{id}/share"), &frozen)
        .await;
    let url = share.unwrap().json().unwrap()["url"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = url.strip_prefix(up.server.url()).unwrap();
    assert_eq!(
        look(&stranger, &format!("{path}/events"), &[]).await.status,
        204
    );
    up.server.shutdown().await;
}

#[tokio::test]
async fn sharing_that_is_off_says_so() {
    let up = start(|c| c.share.enabled = false).await;
    let session = up
        .client
        .post("/v1/sessions", &json!({}))
        .await
        .unwrap()
        .json()
        .unwrap();
    let id = session["id"].as_str().unwrap();
    let core = up
        .client
        .post(&format!("/v1/sessions/{id}/share"), &json!({}))
        .await
        .unwrap();
    assert_eq!(core.status, 403);
    let problem = core.json().unwrap();
    assert_eq!(problem["type"], "urn:sessiond:problem:disabled");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("`share.enabled`"),
        "{problem}"
    );
    let opencode = up
        .client
        .post(&format!("/opencode/session/{id}/share"), &json!({}))
        .await
        .unwrap();
    assert_eq!(opencode.status, 403);
    assert_eq!(opencode.json().unwrap()["name"], "ForbiddenError");
    let config = up
        .client
        .get("/opencode/config")
        .await
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(config["share"], "disabled");
    for path in [
        format!("/v1/sessions/{id}/share"),
        format!("/opencode/session/{id}/share"),
    ] {
        assert_eq!(up.client.delete(&path).await.unwrap().status, 200, "{path}");
    }
    up.server.shutdown().await;
}

#[tokio::test]
async fn the_token_of_the_server_is_not_shown() {
    let up = start(|_| {}).await;
    let stranger = Client::new(up.server.addr());
    let secret = up.server.token().unwrap().reveal().to_owned();
    let (_, path) = shared(&up, &format!("use {secret} for it")).await;
    let page = look(&stranger, &path, &[]).await.text();
    assert!(page.contains("use [redacted: server-token] for it") && !page.contains(&secret));
    up.server.shutdown().await;
}
