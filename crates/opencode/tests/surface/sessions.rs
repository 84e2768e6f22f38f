use serde_json::json;

use crate::support::{World, request};

#[tokio::test]
async fn a_session_comes_back_as_it_was_made() {
    let w = World::new().await;
    let body = json!({"title": "T1", "metadata": {"a": 1}, "agent": "build",
        "permission": [{"permission": "bash", "pattern": "*", "action": "allow"}],
        "model": {"id": "m1", "providerID": "demo"}, "foo": 5, "id": "ses_x"});
    let made = w.call("POST", "/session", body).await.ok();
    assert_ne!(made["id"], "ses_x");
    assert_eq!(made["title"], "T1");
    assert_eq!(made["version"], "9.9.9");
    assert_eq!(made["directory"], w.directory());
    assert_eq!(made["model"], json!({"id": "m1", "providerID": "demo"}));
    assert!(!made.to_string().contains("null"), "{made}");
    let id = made["id"].as_str().unwrap();
    assert_eq!(w.get(&format!("/session/{id}")).await.ok(), made);
    assert_eq!(w.get("/session").await.ok(), json!([made]));
}

#[tokio::test]
async fn the_body_of_a_creation_may_be_empty_and_of_any_type() {
    let w = World::new().await;
    let empty = w.send(request("POST", "/session", None)).await.ok();
    assert!(
        empty["title"]
            .as_str()
            .unwrap()
            .starts_with("New session - ")
    );
    let mut plain = request("POST", "/session", Some("{\"title\":\"x\"}".into()));
    plain
        .headers_mut()
        .insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(w.send(plain).await.ok()["title"], "x");
}

#[tokio::test]
async fn directories_are_selected_by_query_or_header() {
    let w = World::new().await;
    for name in ["a b", "c"] {
        std::fs::create_dir(w.dir.path().join(name)).unwrap();
    }
    let root = w.directory();
    let mut in_header = request("POST", "/session", None);
    let value = format!("{root}/a b")
        .replace('/', "%2F")
        .replace(' ', "%20");
    in_header
        .headers_mut()
        .insert("x-opencode-directory", value.parse().unwrap());
    let a = w.send(in_header).await.ok();
    assert_eq!(a["directory"], format!("{root}/a b"));
    let path = format!("/session?directory={root}/c");
    let c = w.call("POST", &path, json!({})).await.ok();
    assert_eq!(c["directory"], format!("{root}/c"));
    // A query lists one directory, a header or nothing the whole project.
    assert_eq!(w.get(&path).await.ok(), json!([c]));
    assert_eq!(w.get("/session").await.ok().as_array().unwrap().len(), 2);
    let wide = w.get(&format!("{path}&scope=project")).await.ok();
    assert_eq!(wide.as_array().unwrap().len(), 2);
    let relative = c["path"].as_str().unwrap();
    let by_path = w.get(&format!("{path}&path={relative}")).await.ok();
    assert_eq!(by_path, json!([c]));
    assert_eq!(w.get("/session?limit=0").await.ok(), json!([]));
    assert_eq!(
        w.get("/session?limit=1")
            .await
            .ok()
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_patch_changes_what_it_names_with_one_event() {
    let w = World::new().await;
    let id = w.session().await;
    let path = format!("/session/{id}");
    let mut events = w.stream("/event", None).await;
    events.up_to("server.connected").await;
    let before = w.get(&path).await.ok();
    let same = w
        .call("PATCH", &path, json!({"time": {"archived": null}}))
        .await;
    assert_eq!(same.ok(), before);
    let rule = json!({"permission": "bash", "pattern": "*", "action": "deny"});
    let after = w
        .call(
            "PATCH",
            &path,
            json!({"title": "", "metadata": {"z": 1}, "permission": [rule],
                "time": {"archived": 0}}),
        )
        .await
        .ok();
    assert_eq!(after["title"], "");
    assert_eq!(after["metadata"], json!({"z": 1}));
    assert_eq!(after["time"]["archived"], 0);
    let again = w
        .call("PATCH", &path, json!({"permission": [rule]}))
        .await
        .ok();
    assert_eq!(again["permission"], json!([rule, rule]), "appended");
    let updates = [events.next().await, events.next().await];
    assert_eq!(updates[0].properties()["info"], after);
    assert_eq!(updates[1].properties()["info"], again);
}

#[tokio::test]
async fn a_deleted_session_takes_its_children_along() {
    let w = World::new().await;
    let id = w.session().await;
    let body = json!({"parentID": id});
    let child = w.call("POST", "/session", body).await.ok();
    let path = format!("/session/{id}");
    assert_eq!(
        w.get(&format!("{path}/children")).await.ok(),
        json!([child])
    );
    assert_eq!(w.get("/session?roots=true").await.ok()[0]["id"], id);
    let mut events = w.stream("/event", None).await;
    assert_eq!(w.call("DELETE", &path, json!({})).await.ok(), json!(true));
    let gone = events.up_to("session.deleted").await;
    assert_eq!(gone.last().unwrap().properties()["sessionID"], child["id"]);
    let gone = events.up_to("session.deleted").await;
    assert_eq!(gone.last().unwrap().properties()["sessionID"], id);
    assert_eq!(w.get(&path).await.status, 404);
    assert_eq!(w.call("DELETE", &path, json!({})).await.status, 404);
}

#[tokio::test]
async fn an_unknown_parent_is_refused() {
    let w = World::new().await;
    let answer = w
        .call("POST", "/session", json!({"parentID": "ses_nope"}))
        .await;
    assert_eq!(answer.status, 404);
    assert_eq!(
        answer.json(),
        json!({"name": "NotFoundError", "data": {"message": "Session not found: ses_nope"}})
    );
}
