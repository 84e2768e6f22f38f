use serde_json::{Value, json};

use crate::support::{World, id};

#[tokio::test]
async fn a_session_lives_from_creation_to_trash_and_back() {
    let world = World::new().await;
    let body = json!({
        "title": "First", "metadata": {"a": [1, null]}, "agent": "build",
        "model": {"provider_id": "demo", "id": "default"},
        "permission": [{"permission": "bash", "pattern": "*", "action": "ask"}],
    });
    let made = world.post("/v1/sessions", body).await.with(201);
    let at = made.header("location").to_owned();
    let session = &made.json;
    assert_eq!(
        at,
        format!("/v1/sessions/{}", session["id"].as_str().unwrap())
    );
    assert_eq!(made.header("etag"), format!("\"{}\"", session["revision"]));
    assert_eq!(session["title"], "First");
    assert_eq!(session["metadata"], json!({"a": [1, null]}));
    assert_eq!(session["permission"][0]["action"], "ask");
    assert_eq!(session["directory"], world.directory());
    assert_eq!(session["status"]["kind"], "idle");
    assert_eq!(session["created_at"], session["status"]["since"]);
    for absent in [
        "parent_id",
        "share_url",
        "archived_at",
        "deleted_at",
        "revert",
        "fork",
    ] {
        assert_eq!(session.get(absent), Some(&Value::Null), "{absent}");
    }
    assert_eq!(world.get(&at).await.with(200).json, *session);

    let child = world
        .post("/v1/sessions", json!({"parent_id": session["id"]}))
        .await
        .with(201)
        .json;
    let children = world.get(&format!("{at}/children")).await.with(200).json;
    assert_eq!(children["sessions"], json!([child]));

    let changed = world
        .patch(&at, json!({"title": "Second", "archived_at": 5}))
        .await
        .with(200);
    assert_eq!(
        (&changed.json["title"], &changed.json["archived_at"]),
        (&json!("Second"), &json!(5))
    );
    assert_eq!(
        changed.json["metadata"], session["metadata"],
        "fields left out stay"
    );
    let cleared = world
        .patch(&at, json!({"archived_at": null, "metadata": {}}))
        .await
        .with(200)
        .json;
    assert_eq!(
        (&cleared["archived_at"], &cleared["metadata"]),
        (&Value::Null, &json!({}))
    );

    let deleted = world.call("DELETE", &at, &[], None).await.with(200).json;
    assert_eq!(deleted, json!({"deleted": [child["id"], session["id"]]}));
    world.get(&at).await.refused(404, "not-found", None);
    let trash = world.get("/v1/sessions?trashed=true").await.with(200).json;
    assert_eq!(trash["sessions"].as_array().unwrap().len(), 2);
    assert!(trash["sessions"][0]["deleted_at"].is_i64());
    let restored = world
        .call("POST", &format!("{at}/restore"), &[], None)
        .await
        .with(200);
    assert_eq!(
        (&restored.json["title"], &restored.json["deleted_at"]),
        (&json!("Second"), &Value::Null)
    );
    world.get(&at).await.with(200);
}

#[tokio::test]
async fn entity_tags_guard_updates_and_spare_reads() {
    let world = World::new().await;
    let at = world.session().await;
    let tag = world.get(&at).await.header("etag").to_owned();
    let unchanged = world
        .call("GET", &at, &[("if-none-match", &tag)], None)
        .await
        .with(304);
    assert_eq!(
        (unchanged.header("etag"), &unchanged.json),
        (tag.as_str(), &Value::Null)
    );

    let title = |t: &str| Some(json!({"title": t}));
    let one = world
        .call("PATCH", &at, &[("if-match", &tag)], title("one"))
        .await
        .with(200);
    assert_ne!(one.header("etag"), tag);
    let late = world
        .call("PATCH", &at, &[("if-match", &tag)], title("two"))
        .await;
    late.refused(412, "precondition-failed", Some("If-Match"));
    world
        .call("PATCH", &at, &[("if-match", "\"other\"")], title("two"))
        .await
        .with(412);
    world
        .call("PATCH", &at, &[("if-match", "7")], title("two"))
        .await
        .refused(400, "invalid-request", Some("If-Match"));
    assert_eq!(
        world.get(&at).await.json["title"],
        "one",
        "refused updates change nothing"
    );
    world
        .call("PATCH", &at, &[("if-match", "*")], title("three"))
        .await
        .with(200);
    world
        .call("GET", &at, &[("if-none-match", &tag)], None)
        .await
        .with(200);
}

#[tokio::test]
async fn the_same_key_makes_one_session() {
    let world = World::new().await;
    let key = [("idempotency-key", "k-1")];
    let body = || Some(json!({"title": "once"}));
    let first = world
        .call("POST", "/v1/sessions", &key, body())
        .await
        .with(201);
    assert_eq!(first.header("idempotency-replayed"), "");
    let again = world
        .call("POST", "/v1/sessions", &key, body())
        .await
        .with(201);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(
        (&again.json, again.header("location")),
        (&first.json, first.header("location"))
    );
    let other = world
        .call(
            "POST",
            "/v1/sessions",
            &key,
            Some(json!({"title": "twice"})),
        )
        .await;
    other.refused(422, "idempotency-key-reused", Some("Idempotency-Key"));
    assert_eq!(
        world.get("/v1/sessions").await.json["sessions"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    // Without a body it is another request too.
    world
        .call("POST", "/v1/sessions", &key, None)
        .await
        .with(422);
    world
        .call("POST", "/v1/sessions", &[("idempotency-key", "k-2")], None)
        .await
        .with(201);
}

#[tokio::test]
async fn a_taken_id_is_a_conflict() {
    let world = World::new().await;
    world
        .post("/v1/sessions", json!({"id": "ses_mine"}))
        .await
        .with(201);
    world
        .post("/v1/sessions", json!({"id": "ses_mine"}))
        .await
        .refused(409, "conflict", None);
    world
        .post("/v1/sessions", json!({"parent_id": "ses_none"}))
        .await
        .refused(404, "not-found", None);
}

#[tokio::test]
async fn pages_hold_every_session_once() {
    let world = World::new().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(id(&world.session().await).to_owned());
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world
            .get(&format!("/v1/sessions?limit=2{cursor}"))
            .await
            .with(200)
            .json;
        let sessions = page["sessions"].as_array().unwrap();
        assert!((1..=2).contains(&sessions.len()));
        seen.extend(
            sessions
                .iter()
                .map(|s| s["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    seen.sort();
    made.sort();
    assert_eq!(seen, made);
}

#[tokio::test]
async fn filters_choose_sessions() {
    let world = World::new().await;
    let a = world
        .post("/v1/sessions", json!({"title": "Fix Login"}))
        .await
        .json;
    let b = world
        .post(
            "/v1/sessions",
            json!({"title": "Other", "parent_id": a["id"]}),
        )
        .await
        .json;
    let c = world
        .post(
            "/v1/sessions",
            json!({"title": "Else", "directory": "sub/../sub"}),
        )
        .await
        .json;
    world
        .patch(
            &format!("/v1/sessions/{}", c["id"].as_str().unwrap()),
            json!({"archived_at": 9}),
        )
        .await
        .with(200);
    let sub = format!("{}/sub", world.directory());
    let table = [
        ("search=LOGIN".to_owned(), vec![&a]),
        ("roots=true&archived=false".to_owned(), vec![&a]),
        (format!("parent_id={}", a["id"].as_str().unwrap()), vec![&b]),
        (format!("directory={sub}"), vec![&c]),
        ("directory=sub".to_owned(), vec![&c]),
        ("archived=true".to_owned(), vec![&c]),
        ("status=busy,error".to_owned(), vec![]),
        ("status=idle&search=other".to_owned(), vec![&b]),
        ("project_id=nope".to_owned(), vec![]),
        ("updated_since=99999999999999".to_owned(), vec![]),
    ];
    for (query, expected) in table {
        let page = world
            .get(&format!("/v1/sessions?{query}"))
            .await
            .with(200)
            .json;
        let ids: Vec<_> = page["sessions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| &s["id"])
            .collect();
        assert_eq!(
            ids,
            expected.iter().map(|s| &s["id"]).collect::<Vec<_>>(),
            "{query}"
        );
    }
}

#[tokio::test]
async fn projects_and_agents_are_listed() {
    let world = World::new().await;
    world.session().await;
    let projects = world.get("/v1/projects").await.with(200).json;
    let project = &projects["projects"][0];
    let address = format!("/v1/projects/{}", project["id"].as_str().unwrap());
    assert_eq!(world.get(&address).await.with(200).json, *project);
    world
        .get("/v1/projects/nope")
        .await
        .refused(404, "not-found", None);
    let agents = world.get("/v1/agents").await.with(200).json;
    let first = &agents["agents"][0];
    assert_eq!(
        (&first["name"], &first["is_default"], &first["available"]),
        (&json!("demo"), &json!(true), &json!(true))
    );
}
