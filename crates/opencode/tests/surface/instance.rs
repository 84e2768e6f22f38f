use serde_json::{Value, json};

use crate::support::{World, request};

#[tokio::test]
async fn clients_find_what_they_need_to_start() {
    let w = World::new().await;
    let directory = w.directory();
    assert_eq!(
        w.get("/global/health").await.ok(),
        json!({"healthy": true, "version": "9.9.9"})
    );
    let path = w.get("/path").await.ok();
    assert_eq!(path["directory"], directory);
    assert_eq!(path["home"], "/home/ann");
    let providers = w.get("/provider").await.ok();
    assert_eq!(providers["connected"], json!(["demo"]));
    assert_eq!(providers["default"]["demo"], "default");
    assert_eq!(providers["all"][0]["models"]["default"]["id"], "default");
    let configured = w.get("/config/providers").await.ok();
    assert_eq!(configured["providers"], providers["all"]);
    assert_eq!(w.get("/agent").await.ok()[0]["name"], "build");
    assert_eq!(w.get("/config").await.ok()["model"], "demo/default");
    let project = w.get("/project/current").await.ok();
    assert!(project["id"].is_string() && project["sandboxes"].is_array());
    for empty in [
        "/session",
        "/lsp",
        "/formatter",
        "/skill",
        "/permission",
        "/question",
        "/experimental/workspace",
        "/experimental/workspace/status",
        "/project/x/directories",
    ] {
        assert_eq!(w.get(empty).await.ok(), json!([]), "{empty}");
    }
    for empty in [
        "/session/status",
        "/mcp",
        "/provider/auth",
        "/experimental/resource",
    ] {
        assert_eq!(w.get(empty).await.ok(), json!({}), "{empty}");
    }
    for any in [
        "/global/config",
        "/vcs",
        "/project",
        "/experimental/capabilities",
        "/experimental/console",
    ] {
        w.get(any).await.ok();
    }
}

#[tokio::test]
async fn what_is_not_offered_says_so() {
    let w = World::new().await;
    for (method, path) in [
        ("GET", "/find/symbol?query=x"),
        ("POST", "/global/upgrade"),
        ("GET", "/api/pty"),
        ("GET", "/pty"),
    ] {
        let answer = w.send(request(method, path, None)).await;
        assert_eq!(answer.status, 501, "{method} {path}");
        let body = answer.json();
        assert_eq!(body["name"], "NotImplementedError");
        let message = body["data"]["message"].as_str().unwrap();
        assert!(message.starts_with("sessiond does not offer"), "{message}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused_in_json() {
    let w = World::new().await;
    for path in ["/nothing", "/session/ses_x/nothing", "/global"] {
        let answer = w.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.json()["name"], "NotFoundError");
    }
    for (method, path) in [
        ("PUT", "/session"),
        ("POST", "/path"),
        ("GET", "/session/ses_x/abort"),
    ] {
        let answer = w.send(request(method, path, None)).await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert_eq!(answer.headers["content-type"], "application/json");
        assert!(answer.headers.contains_key("allow"), "{method} {path}");
        let message: Value = answer.json()["data"]["message"].take();
        assert!(message.as_str().unwrap().contains(method));
    }
}
