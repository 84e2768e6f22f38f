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
                "time": {"archived": 7}}),
        )
        .await
        .ok();
    assert_eq!(after["title"], "");
    assert_eq!(after["metadata"], json!({"z": 1}));
    assert_eq!(after["time"]["archived"], 7);
    let again = w
        .call("PATCH", &path, json!({"permission": [rule]}))
        .await
        .ok();
    assert_eq!(again["permission"], json!([rule, rule]), "appended");
    let out = w
        .call("PATCH", &path, json!({"time": {"archived": null}}))
        .await
        .ok();
    assert!(out["time"].get("archived").is_none(), "{out}");
    let updates = [
        events.next().await,
        events.next().await,
        events.next().await,
    ];
    assert_eq!(updates[0].properties()["info"], after);
    assert_eq!(updates[1].properties()["info"], again);
    assert_eq!(updates[2].properties()["info"], out);
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

/// What a fork is like beside the recorded one, whose text and tokens are a model's.
fn shape(value: &serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), shape(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(_) => "".into(),
        Value::Number(_) => 0.into(),
        other => other.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_has_the_messages_before_one() {
    let w = World::new().await;
    let made = json!({"title": "fork lab", "metadata": {"k": 1},
        "permission": [{"permission": "bash", "pattern": "*", "action": "ask"}]});
    let id = w.call("POST", "/session", made).await.ok()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for text in ["a1", "a2"] {
        w.say(&id, text).await.ok();
    }
    let path = format!("/session/{id}");
    let origin = w.get(&path).await.ok();
    let messages = w.get(&format!("{path}/message")).await.ok();
    let mut events = w.stream("/event", None).await;
    events.up_to("server.connected").await;

    let second = &messages[2]["info"]["id"];
    let fork = format!("{path}/fork");
    let body = json!({"messageID": second});
    let one = w.call("POST", &fork, body).await.ok();
    assert_eq!(one["title"], "fork lab (fork #1)");
    assert_eq!(one["metadata"], json!({"k": 1}));
    assert_eq!(one["permission"], origin["permission"]);
    assert!(
        one.get("parentID").is_none() && one.get("fork").is_none(),
        "{one}"
    );
    assert_ne!(one["slug"], origin["slug"]);
    assert_eq!(one["directory"], origin["directory"]);
    let one_path = format!("/session/{}", one["id"].as_str().unwrap());
    assert_eq!(
        w.get(&one_path).await.ok(),
        one,
        "cost and tokens are there at once"
    );
    assert_ne!(
        one["tokens"],
        json!({"input": 0, "output": 0, "reasoning": 0,
        "cache": {"read": 0, "write": 0}})
    );
    let copies = w.get(&format!("{one_path}/message")).await.ok();
    assert_eq!(copies.as_array().unwrap().len(), 2);
    for (copy, original) in copies
        .as_array()
        .unwrap()
        .iter()
        .zip(messages.as_array().unwrap())
    {
        assert_eq!(shape(copy), shape(original));
        assert_eq!(copy["info"]["sessionID"], one["id"]);
        assert_ne!(copy["info"]["id"], original["info"]["id"]);
        assert_eq!(copy["info"]["time"], original["info"]["time"]);
        for (part, old) in copy["parts"]
            .as_array()
            .unwrap()
            .iter()
            .zip(original["parts"].as_array().unwrap())
        {
            assert_eq!(
                (&part["messageID"], &part["sessionID"]),
                (&copy["info"]["id"], &one["id"])
            );
            assert_eq!((&part["type"], &part["text"]), (&old["type"], &old["text"]));
            assert_ne!(part["id"], old["id"]);
        }
    }
    assert_eq!(copies[1]["info"]["parentID"], copies[0]["info"]["id"]);
    // As recorded: the session, then each message with its parts.
    let created = events.next().await;
    assert!(created.is("session.created"), "{created:?}");
    assert_eq!(created.properties()["info"], one);
    for message in copies.as_array().unwrap() {
        let updated = events.next().await;
        assert!(updated.is("message.updated"), "{updated:?}");
        assert_eq!(updated.properties()["info"], message["info"]);
        for part in message["parts"].as_array().unwrap() {
            let updated = events.next().await;
            assert!(updated.is("message.part.updated"), "{updated:?}");
            assert_eq!(&updated.properties()["part"], part);
        }
    }

    // Whole, of a fork, at the first message: numbered through the family.
    let all = w.send(request("POST", &fork, None)).await.ok();
    assert_eq!(all["title"], "fork lab (fork #2)");
    assert_eq!(
        (&all["cost"], &all["tokens"]),
        (&origin["cost"], &origin["tokens"])
    );
    let again = w
        .call("POST", &format!("{one_path}/fork"), json!({}))
        .await
        .ok();
    assert_eq!(again["title"], "fork lab (fork #3)");
    let first = json!({"messageID": messages[0]["info"]["id"]});
    let none = w.call("POST", &fork, first).await.ok();
    let none_path = format!("/session/{}/message", none["id"].as_str().unwrap());
    assert_eq!(w.get(&none_path).await.ok(), json!([]));
    let children = w.get(&format!("{path}/children")).await.ok();
    assert_eq!(children, json!([]), "forks are no children");
    assert_eq!(w.get(&format!("{path}/message")).await.ok(), messages);
}

#[tokio::test]
async fn forks_of_what_is_not_there_are_refused() {
    let w = World::new().await;
    let fork = format!("/session/{}/fork", w.session().await);
    let unknown = w
        .call("POST", &fork, json!({"messageID": "msg_nope"}))
        .await;
    assert_eq!(unknown.status, 404);
    assert_eq!(
        unknown.json(),
        json!({"name": "NotFoundError", "data": {"message": "Message not found: msg_nope"}})
    );
    let bad = w.call("POST", &fork, json!({"messageID": "zzz"})).await;
    assert_eq!(
        (bad.status, &bad.json()["_tag"]),
        (400, &json!("BadRequest"))
    );
    let bad = w.send(request("POST", &fork, Some("{x".into()))).await;
    assert_eq!(
        (bad.status, &bad.json()["_tag"]),
        (400, &json!("BadRequest"))
    );
    let nobody = w.call("POST", "/session/ses_unknown/fork", json!({})).await;
    assert_eq!(nobody.status, 404);
}
