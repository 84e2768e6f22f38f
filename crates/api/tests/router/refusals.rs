use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::support::{DOCUMENT, World};

/// An address of an operation with ids that are well-formed.
fn address(template: &str) -> String {
    [
        "session",
        "message",
        "turn",
        "permission",
        "question",
        "project",
    ]
    .iter()
    .fold(template.to_owned(), |path, kind| {
        path.replace(&format!("{{{kind}_id}}"), &example(kind))
    })
}

fn example(kind: &str) -> String {
    let prefix = if kind == "session" || kind == "message" || kind == "turn" {
        match kind {
            "session" => "ses",
            "message" => "msg",
            _ => "trn",
        }
    } else {
        &kind[..3]
    };
    format!("{prefix}_none")
}

fn operations() -> impl Iterator<Item = (&'static str, &'static str, &'static Value)> {
    DOCUMENT["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            item.as_object()
                .unwrap()
                .iter()
                .map(move |(method, operation)| (method.as_str(), path.as_str(), operation))
        })
}

#[tokio::test]
async fn every_operation_refuses_unknown_query_keys() {
    let world = World::new().await;
    for (method, path, _) in operations() {
        let path = format!("{}?auth_token=x&bogus=1", address(path));
        let reply = world.call(&method.to_uppercase(), &path, &[], None).await;
        reply.refused(400, "invalid-request", Some("bogus"));
    }
}

#[tokio::test]
async fn every_operation_refuses_malformed_ids_by_name() {
    let world = World::new().await;
    for (method, path, operation) in operations() {
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            if parameter["in"] != "path" || name == "project_id" {
                continue;
            }
            let path = address(&path.replace(&format!("{{{name}}}"), "b%20d"));
            let reply = world
                .call(&method.to_uppercase(), &path, &[], Some(json!({})))
                .await;
            reply.refused(400, "invalid-request", Some(name));
        }
    }
}

#[tokio::test]
async fn every_body_refuses_unknown_keys_and_other_media() {
    let world = World::new().await;
    let mut bodies = 0;
    for (method, path, operation) in operations() {
        if operation.get("requestBody").is_none() {
            continue;
        }
        let (method, path) = (method.to_uppercase(), address(path));
        let reply = world
            .call(&method, &path, &[], Some(json!({"bogus": 1})))
            .await;
        reply.refused(400, "invalid-request", Some("bogus"));
        for broken in ["{", "\n{1}", "\u{0}"] {
            let request = Request::builder()
                .method(&*method)
                .uri(&path)
                .header("content-type", "application/json");
            let reply = world.send(request.body(Body::from(broken)).unwrap()).await;
            reply.refused(400, "malformed-json", Some("body"));
            assert!(
                reply.json["line"].is_u64() && reply.json["column"].is_u64(),
                "{reply:?}"
            );
        }
        for media in ["text/plain", "application/x-www-form-urlencoded"] {
            let request = Request::builder()
                .method(&*method)
                .uri(&path)
                .header("content-type", media);
            let reply = world.send(request.body(Body::from("{}")).unwrap()).await;
            reply.refused(415, "unsupported-media-type", Some("Content-Type"));
        }
        let huge = Request::builder()
            .method(&*method)
            .uri(&path)
            .header("content-type", "application/json");
        let reply = world
            .send(huge.body(Body::from(vec![b' '; 3 << 20])).unwrap())
            .await;
        reply.refused(413, "payload-too-large", None);
        bodies += 1;
    }
    assert!(bodies >= 6, "{bodies}");
}

#[tokio::test]
async fn every_operation_on_an_unknown_session_is_not_found() {
    let world = World::new().await;
    for (method, path, operation) in operations() {
        if !path.contains("{session_id}") {
            continue;
        }
        let body = operation.get("requestBody").map(|_| {
            match operation["operationId"].as_str().unwrap() {
                "prompt" => json!({"parts": [{"type": "text", "text": "x"}]}),
                "update_session" => json!({"title": "x"}),
                "revert" => json!({"message_id": "msg_x"}),
                "run_command" | "run_shell" => json!({"command": "x"}),
                _ => json!({}),
            }
        });
        let reply = world
            .call(&method.to_uppercase(), &address(path), &[], body)
            .await;
        reply.refused(404, "not-found", None);
    }
}

#[tokio::test]
async fn wrong_values_are_named() {
    let world = World::new().await;
    let at = world.session().await;
    let prompt = format!("{at}/prompt");
    let long = "x".repeat(1_001);
    let rule = |action: &str| json!({"permission": "a", "pattern": "b", "action": action});
    let bodies: Vec<(&str, &str, Value, &str)> = vec![
        ("POST", "/v1/sessions", json!({"title": 1}), "title"),
        ("POST", "/v1/sessions", json!({"title": long}), "title"),
        ("POST", "/v1/sessions", json!({"title": "a\u{0}b"}), "title"),
        ("POST", "/v1/sessions", json!({"id": "nope"}), "id"),
        (
            "POST",
            "/v1/sessions",
            json!({"parent_id": "ses_a/b"}),
            "parent_id",
        ),
        (
            "POST",
            "/v1/sessions",
            json!({"model": {"provider_id": "demo"}}),
            "model.id",
        ),
        (
            "POST",
            "/v1/sessions",
            json!({"model": {"provider_id": "demo", "id": "x", "modelID": "y"}}),
            "model.modelID",
        ),
        ("POST", "/v1/sessions", json!({"metadata": []}), "metadata"),
        (
            "POST",
            "/v1/sessions",
            json!({"metadata": {"a": "x".repeat(70_000)}}),
            "metadata",
        ),
        (
            "POST",
            "/v1/sessions",
            json!({"permission": [rule("allow"), rule("maybe")]}),
            "permission[1].action",
        ),
        (
            "POST",
            "/v1/sessions",
            json!({"permission": vec![rule("ask"); 1_001]}),
            "permission",
        ),
        (
            "POST",
            "/v1/sessions",
            json!({"directory": "a\u{0}b"}),
            "directory",
        ),
        (
            "POST",
            "/v1/sessions",
            json!({"directory": "x".repeat(5_000)}),
            "directory",
        ),
        ("POST", "/v1/sessions", json!([]), "body"),
        ("PATCH", &at, json!({"title": null}), "title"),
        ("PATCH", &at, json!({"metadata": null}), "metadata"),
        ("PATCH", &at, json!({"archived_at": "now"}), "archived_at"),
        ("PATCH", &at, json!({"archived_at": -1}), "archived_at"),
        ("PATCH", &at, json!({"revision": 3}), "revision"),
        ("POST", &prompt, json!({}), "parts"),
        ("POST", &prompt, json!({"parts": []}), "parts"),
        (
            "POST",
            &prompt,
            json!({"parts": [{"type": "text"}]}),
            "parts[0].text",
        ),
        (
            "POST",
            &prompt,
            json!({"parts": [{"type": "tool"}]}),
            "parts[0].type",
        ),
        (
            "POST",
            &prompt,
            json!({"parts": [{"type": "text", "text": "a", "txet": 1}]}),
            "parts[0].txet",
        ),
        (
            "POST",
            &prompt,
            json!({"parts": [{"type": "text", "text": "a", "id": "msg_1"}]}),
            "parts[0]",
        ),
        (
            "POST",
            &prompt,
            json!({"parts": [{"type": "text", "text": "a"}], "model": {"provider_id": "nobody", "id": "x"}}),
            "model.provider_id",
        ),
        (
            "POST",
            "/v1/permissions/per_1/reply",
            json!({"reply": "perhaps"}),
            "reply",
        ),
        (
            "POST",
            "/v1/questions/que_1/reply",
            json!({"answers": ["a"]}),
            "answers[0]",
        ),
    ];
    for (method, path, body, field) in bodies {
        let reply = world.call(method, path, &[], Some(body)).await;
        reply.refused(400, "invalid-request", Some(field));
    }
    let messages = format!("{at}/messages");
    let turn = format!("{at}/turns/trn_1");
    let queries = [
        ("/v1/sessions", "limit=0", "limit"),
        ("/v1/sessions", "limit=1001", "limit"),
        ("/v1/sessions", "limit=ten", "limit"),
        ("/v1/sessions", "roots=1", "roots"),
        ("/v1/sessions", "cursor=zzz", "cursor"),
        ("/v1/sessions", "status=idle,lazy", "status"),
        ("/v1/sessions", "parent_id=x", "parent_id"),
        ("/v1/sessions", "limit=1&limit=2", "limit"),
        (&messages, "cursor=czoxOnNlc18x", "cursor"),
        (&messages, "limit=-1", "limit"),
        (&turn, "wait=61", "wait"),
        ("/v1/events", "after=-1", "after"),
        ("/v1/events", "after=18446744073709551615", "after"),
        ("/v1/events", "session=ses_1&directory=/", "directory"),
    ];
    for (path, query, field) in queries {
        world
            .get(&format!("{path}?{query}"))
            .await
            .refused(400, "invalid-request", Some(field));
    }
    let headers = [
        (
            "POST",
            "/v1/sessions",
            "idempotency-key",
            "a b",
            "Idempotency-Key",
        ),
        ("GET", &at, "if-none-match", "x", "If-None-Match"),
        ("GET", "/v1/events", "last-event-id", "x", "Last-Event-ID"),
    ];
    for (method, path, name, value, field) in headers {
        world
            .call(method, path, &[(name, value)], None)
            .await
            .refused(400, "invalid-request", Some(field));
    }
    assert_eq!(
        world.get("/v1/sessions").await.json["sessions"]
            .as_array()
            .unwrap()
            .len(),
        1,
        "nothing was made"
    );
}

#[tokio::test]
async fn unknown_addresses_and_methods_are_problems_too() {
    let world = World::new().await;
    for path in ["/v1/nope", "/v1/sessions/ses_1/nope", "/v1"] {
        world.get(path).await.refused(404, "unknown-route", None);
    }
    for (method, path, allow) in [
        ("PUT", "/v1/sessions", "GET,HEAD,POST"),
        ("POST", "/v1/events", "GET,HEAD"),
        ("GET", "/v1/sessions/ses_1/abort", "POST"),
    ] {
        let reply = world.call(method, path, &[], None).await;
        reply.refused(405, "method-not-allowed", None);
        let mut allowed: Vec<_> = reply.header("allow").split(',').collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), allow, "{method} {path}");
    }
}

#[tokio::test]
async fn the_document_is_served() {
    let world = World::new().await;
    assert_eq!(
        world.get("/v1/openapi.json").await.with(200).json,
        *DOCUMENT
    );
}
