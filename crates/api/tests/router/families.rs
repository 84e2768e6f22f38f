//! Forks and their trees; the trash.

use serde_json::{Value, json};

use crate::support::{World, id, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_forked_and_shows_its_tree() {
    let world = World::new().await;
    let at = world.session().await;
    world.patch(&at, json!({"title": "Mine"})).await.with(200);
    world.ask(&at, "one").await;
    let second = world.ask(&at, "two").await;
    let before = &second["user_message_id"];
    let key = [("idempotency-key", "once")];
    let body = json!({"before_message_id": before});
    let fork = format!("{at}/fork");
    let made = world
        .call("POST", &fork, &key, Some(body.clone()))
        .await
        .with(201);
    assert_eq!(made.json["title"], "Mine (fork #1)");
    let origin =
        json!({"session_id": id(&at), "message_id": before, "root_id": id(&at), "number": 1});
    assert_eq!(made.json["fork"], origin);
    assert_eq!(made.json["parent_id"], Value::Null);
    let made_at = made.header("location").to_owned();
    assert_eq!(world.get(&made_at).await.with(200).json, made.json);
    let again = world.call("POST", &fork, &key, Some(body)).await.with(201);
    assert_eq!(again.json["id"], made.json["id"]);
    assert_eq!(again.header("idempotency-replayed"), "true");
    let other = world.call("POST", &fork, &key, Some(json!({}))).await;
    other.refused(422, "idempotency-key-reused", Some("Idempotency-Key"));
    let copies = world
        .get(&format!("{made_at}/messages"))
        .await
        .with(200)
        .json;
    let copies = copies["messages"].as_array().unwrap();
    assert_eq!(copies.len(), 2);
    assert_eq!(text(&copies[0]), "one");
    let turns = world.get(&format!("{made_at}/turns")).await.with(200).json;
    assert_eq!(turns["turns"][0]["user_message_id"], copies[0]["id"]);
    assert_eq!(turns["turns"][0]["assistant_message_id"], copies[1]["id"]);

    // Without a body: all of it, here of the fork.
    let all = world
        .call("POST", &format!("{made_at}/fork"), &[], None)
        .await
        .with(201)
        .json;
    assert_eq!(all["title"], "Mine (fork #2)");
    assert_eq!(
        (&all["fork"]["root_id"], &all["fork"]["message_id"]),
        (&json!(id(&at)), &Value::Null)
    );
    let named = json!({"title": "My fork"});
    let named = world.post(&fork, named).await.with(201).json;
    assert_eq!(named["title"], "My fork");

    let forks = world
        .get(&format!("/v1/sessions?fork_of={}", id(&at)))
        .await;
    let mut forks: Vec<_> = forks.with(200).json["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["id"].clone())
        .collect();
    forks.sort_by_key(Value::to_string);
    let mut wanted = vec![made.json["id"].clone(), named["id"].clone()];
    wanted.sort_by_key(Value::to_string);
    assert_eq!(forks, wanted, "not the fork of a fork");
    let child = json!({"parent_id": made.json["id"]});
    let child = world.post("/v1/sessions", child).await.with(201).json;
    let child_at = format!("/v1/sessions/{}", child["id"].as_str().unwrap());
    let tree = world.get(&format!("{child_at}/tree")).await.with(200).json;
    let nodes: Vec<_> = tree["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|n| {
            (
                n["depth"].as_u64().unwrap(),
                n["relation"].as_str().unwrap(),
                n["session"]["id"].clone(),
            )
        })
        .collect();
    assert_eq!(nodes[0], (0, "root", json!(id(&at))));
    assert_eq!(nodes[1], (1, "fork", made.json["id"].clone()));
    assert_eq!(nodes[2], (2, "fork", all["id"].clone()));
    assert_eq!(nodes[3], (2, "child", child["id"].clone()));
    assert_eq!(nodes[4], (1, "fork", named["id"].clone()));
    assert_eq!((nodes.len(), &tree["truncated"]), (5, &json!(false)));
}

#[tokio::test]
async fn forks_of_what_is_not_there_are_refused() {
    let world = World::new().await;
    let fork = format!("{}/fork", world.session().await);
    let unknown = json!({"before_message_id": "msg_none"});
    world
        .post(&fork, unknown)
        .await
        .refused(404, "not-found", None);
    world
        .post(&fork, json!({"before_message_id": "ses_none"}))
        .await
        .refused(400, "invalid-request", Some("before_message_id"));
    world
        .post(&fork, json!({"title": "x".repeat(1001)}))
        .await
        .refused(400, "invalid-request", Some("title"));
    for path in ["/v1/sessions/ses_none/fork", "/v1/sessions/ses_none/tree"] {
        let method = if path.ends_with("fork") {
            "POST"
        } else {
            "GET"
        };
        let refused = world.call(method, path, &[], None).await;
        refused.refused(404, "not-found", None);
    }
}

#[tokio::test]
async fn the_trash_is_listed_restored_and_emptied() {
    let world = World::new().await;
    let at = world.session().await;
    let child = json!({"parent_id": id(&at)});
    let child = world.post("/v1/sessions", child).await.with(201).json;
    let child_id = child["id"].as_str().unwrap();
    world.call("DELETE", &at, &[], None).await.with(200);
    let trash = world.get("/v1/trash?limit=1").await.with(200).json;
    let next = trash["next_cursor"].as_str().unwrap();
    let rest = world.get(&format!("/v1/trash?cursor={next}")).await;
    let rest = rest.with(200).json;
    let first = &trash["sessions"][0];
    assert_eq!(rest["sessions"].as_array().unwrap().len(), 1);
    assert_eq!(rest["next_cursor"], Value::Null);
    let term =
        first["purge_at"].as_i64().unwrap() - first["session"]["deleted_at"].as_i64().unwrap();
    assert_eq!(term, 30 * 24 * 3600 * 1000);

    let restore = format!("/v1/sessions/{child_id}/restore");
    let alone = world.call("POST", &restore, &[], None).await;
    alone.refused(409, "conflict", None);
    let restore = format!("{at}/restore");
    world.call("POST", &restore, &[], None).await.with(200);
    let children = world.get(&format!("{at}/children")).await.with(200).json;
    assert_eq!(children["sessions"][0]["id"], child_id);

    let purge = format!("/v1/trash/{}", id(&at));
    let kept = world.call("DELETE", &purge, &[], None).await;
    kept.refused(404, "not-found", None);
    world.call("DELETE", &at, &[], None).await.with(200);
    let purged = world.call("DELETE", &purge, &[], None).await.with(200).json;
    assert_eq!(purged, json!({"purged": [child_id, id(&at)]}));
    let gone = world.call("POST", &restore, &[], None).await;
    gone.refused(404, "not-found", None);
    let at = world.session().await;
    world.call("DELETE", &at, &[], None).await.with(200);
    let emptied = world.call("DELETE", "/v1/trash", &[], None).await;
    assert_eq!(emptied.with(200).json, json!({"purged": 1}));
    let trash = world.get("/v1/trash").await.with(200).json;
    assert_eq!(trash["sessions"], json!([]));
}
