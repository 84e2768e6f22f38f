//! What `/api/*` does to sessions.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn both_families_see_the_same() {
    let w = World::new().await;
    let created = w
        .call("POST", "/api/session", json!({"id": "ses_mine"}))
        .await
        .ok();
    let session = &created["data"];
    assert_eq!(session["id"], "ses_mine");
    assert_eq!(session["location"], json!({"directory": w.directory()}));
    let again = w
        .call(
            "POST",
            "/api/session",
            json!({"id": "ses_mine", "agent": "zz"}),
        )
        .await
        .ok();
    assert_eq!(again["data"], *session);
    let first = w.get("/session/ses_mine").await.ok();
    assert_eq!(first["title"], session["title"]);
    // A prompt of one family is a message of the other.
    let admitted = prompt(&w, "ses_mine", "from here").await;
    assert_eq!(admitted["prompt"], json!({"text": "from here"}));
    assert_eq!(admitted["delivery"], "steer");
    wait(&w, "ses_mine").await;
    let answer = w.say("ses_mine", "from there").await.ok();
    let old = w.get("/session/ses_mine/message").await.ok();
    let new = messages(&w, "ses_mine").await;
    let of = |all: &[Value], id: &dyn Fn(&Value) -> Value| all.iter().map(id).collect::<Vec<_>>();
    assert_eq!(
        of(old.as_array().unwrap(), &|m| m["info"]["id"].clone()),
        of(&new, &|m| m["id"].clone())
    );
    assert_eq!(new[0]["id"], admitted["id"]);
    assert_eq!(new[2]["text"], "from there");
    assert_eq!(new[3]["id"], answer["info"]["id"]);
    let last = format!("/message/{}", new[3]["id"].as_str().unwrap());
    assert_eq!(w.get(&api("ses_mine", &last)).await.ok()["data"], new[3]);
    let context = w.get(&api("ses_mine", "/context")).await.ok();
    assert_eq!(context["data"], json!(new));
    // And so is the list.
    let listed = w.get("/api/session?limit=1").await.ok();
    assert_eq!(listed["data"][0]["id"], "ses_mine");
    let next = listed["cursor"]["next"].as_str().unwrap();
    let rest = w.get(&format!("/api/session?cursor={next}")).await.ok();
    assert_eq!(
        rest,
        json!({"data": [], "cursor": {"previous": null, "next": null}})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_with_an_id_runs_once() {
    let w = World::new().await;
    let id = w.session().await;
    let body = json!({"id": "msg_once", "prompt": {"text": "hello"}, "delivery": "queue"});
    let path = api(&id, "/prompt");
    let first = w.call("POST", &path, body.clone()).await.ok();
    wait(&w, &id).await;
    let again = w.call("POST", &path, body).await.ok();
    let mut without = again["data"].clone();
    let promoted = without
        .as_object_mut()
        .unwrap()
        .remove("promotedSeq")
        .unwrap();
    assert_eq!(without, first["data"]);
    assert!(promoted.as_u64() > first["data"]["admittedSeq"].as_u64());
    assert_eq!(messages(&w, &id).await.len(), 2);
    let other = json!({"id": "msg_once", "prompt": {"text": "other"}});
    let refused = w.call("POST", &path, other).await;
    refused.refused(409);
    assert_eq!(
        refused.json(),
        json!({"_tag": "ConflictError", "resource": "msg_once",
            "message": "Prompt message ID conflicts with an existing durable record: msg_once"})
    );
    // The number of the prompt is where its events begin.
    let seq = first["data"]["admittedSeq"].as_u64().unwrap();
    let history = w
        .get(&api(&id, &format!("/history?after={}", seq - 1)))
        .await
        .ok();
    assert_eq!(history["data"][0]["type"], "session.next.prompt.admitted");
    assert_eq!(history["data"][0]["durable"]["seq"], seq);
}

// Q-api-resume
#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_is_only_stored_goes_along_with_the_next() {
    let w = World::new().await;
    let id = w.session().await;
    let path = api(&id, "/prompt");
    let body = json!({"id": "msg_later", "prompt": {"text": "remember"}, "resume": false});
    w.call("POST", &path, body.clone()).await.ok();
    assert_eq!(w.get("/api/session/active").await.ok(), json!({"data": {}}));
    let body = json!({"id": "msg_later", "prompt": {"text": "remember"}});
    w.call("POST", &path, body).await.refused(409);
}

/// A page of a list: its ids, and its cursors.
async fn page(w: &World, path: &str, query: &str) -> (Vec<String>, Value) {
    let page = w.get(&format!("{path}?limit=2&{query}")).await.ok();
    let ids = page["data"].as_array().unwrap().iter();
    let ids = ids.map(|m| m["id"].as_str().unwrap().to_owned()).collect();
    (ids, page["cursor"].clone())
}

fn cursor(of: &Value, to: &str) -> String {
    format!("cursor={}", of[to].as_str().unwrap())
}

/// Walks a list of five, given the oldest first, in both orders and both ways.
async fn both_ways(w: &World, path: &str, all: &[String]) {
    let newest: Vec<_> = all.iter().rev().cloned().collect();
    for (order, want) in [("order=asc", all), ("order=desc", &newest), ("", &newest)] {
        let (first, c) = page(w, path, order).await;
        assert_eq!(first, want[..2]);
        let (second, c) = page(w, path, &cursor(&c, "next")).await;
        assert_eq!(second, want[2..4]);
        let (back, _) = page(w, path, &cursor(&c, "previous")).await;
        assert_eq!(back, want[..2]);
        let (third, c) = page(w, path, &cursor(&c, "next")).await;
        assert_eq!(third, want[4..]);
        let (middle, _) = page(w, path, &cursor(&c, "previous")).await;
        assert_eq!(middle, want[2..4]);
        let (none, c) = page(w, path, &cursor(&c, "next")).await;
        assert_eq!((none.len(), &c["next"]), (0, &Value::Null));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_sessions_go_both_ways() {
    let w = World::new().await;
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push(w.session().await);
    }
    // Their order is that of their creation, whatever happens to them later.
    let title = json!({"title": "changed"});
    let path = format!("/session/{}", all[1]);
    w.call("PATCH", &path, title).await.ok();
    both_ways(&w, "/api/session", &all).await;
    let changed = page(&w, "/api/session", "search=CHANGED").await.0;
    assert_eq!(changed, all[1..2]);
    let bad = w.get("/api/session?cursor=zz").await;
    bad.refused(400);
    assert_eq!(bad.json()["_tag"], "InvalidCursorError");
}

// Q-api-cursor
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_messages_go_both_ways() {
    let w = World::new().await;
    let id = w.session().await;
    let mut all = Vec::new();
    for n in 0..5 {
        all.push(w.note(&id, &format!("note {n}")).await.0);
    }
    let path = api(&id, "/message");
    both_ways(&w, &path, &all).await;
    let (_, c) = page(&w, &path, "order=asc").await;
    let both = api(&id, &format!("/message?order=asc&{}", cursor(&c, "next")));
    let refused = w.get(&both).await;
    refused.refused(400);
    assert_eq!(
        refused.json(),
        json!({"_tag": "InvalidCursorError", "message": "Cursor cannot be combined with order"})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_is_asked_and_answered() {
    let w = World::new().await;
    let id = w.session().await;
    let mut events = w.stream("/api/event", None).await;
    prompt(&w, &id, "/ask run true").await;
    let asked = events.up_to("permission.v2.asked").await;
    let asked = asked.last().unwrap().data["data"].clone();
    let request = asked["id"].as_str().unwrap();
    let listed = w.get(&api(&id, "/permission")).await.ok();
    assert_eq!(listed["data"], json!([asked]));
    let here = w.get("/api/permission/request").await.ok();
    assert_eq!(here["data"], json!([asked]));
    assert_eq!(here["location"]["directory"], w.directory());
    let path = api(&id, &format!("/permission/{request}"));
    assert_eq!(w.get(&path).await.ok()["data"], asked);
    let active = w.get("/api/session/active").await.ok();
    assert_eq!(active["data"][&id], json!({"type": "running"}));
    let other = w.session().await;
    let foreign = api(&other, &format!("/permission/{request}/reply"));
    w.call("POST", &foreign, json!({"reply": "once"}))
        .await
        .refused(404);
    let reply = format!("{path}/reply");
    w.call("POST", &reply, json!({"reply": "once"}))
        .await
        .refused(204);
    let replied = events.up_to("permission.v2.replied").await;
    assert_eq!(
        replied.last().unwrap().data["data"],
        json!({"sessionID": id, "requestID": request, "reply": "once"})
    );
    let again = w.call("POST", &reply, json!({"reply": "once"})).await;
    again.refused(404);
    assert_eq!(again.json()["_tag"], "PermissionNotFoundError");
    wait(&w, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_the_turn() {
    let w = World::new().await;
    let id = w.session().await;
    prompt(&w, &id, "/hang").await;
    let mut events = w.stream(&api(&id, "/event"), None).await;
    events.up_to("session.next.step.started").await;
    w.call("POST", &api(&id, "/interrupt"), json!({}))
        .await
        .refused(204);
    let failed = events.up_to("session.next.step.failed").await;
    assert_eq!(
        failed.last().unwrap().data["data"]["error"]["type"],
        "unknown"
    );
    assert_eq!(w.get("/api/session/active").await.ok()["data"], json!({}));
    let last = messages(&w, &id).await.pop().unwrap();
    assert_eq!(
        (&last["finish"], &last["error"]["type"]),
        (&json!("error"), &json!("unknown"))
    );
    // With nothing to do it is done.
    w.call("POST", &api(&id, "/interrupt"), json!({}))
        .await
        .refused(204);
    wait(&w, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revert_is_staged_cleared_and_committed() {
    let w = World::new().await;
    let id = w.session().await;
    unattended(&w, &id).await;
    prompt(&w, &id, "hello").await;
    wait(&w, &id).await;
    let second = prompt(&w, &id, "/write made.txt words").await;
    wait(&w, &id).await;
    let file = w.dir.path().join("made.txt");
    assert!(file.exists());
    let mut events = w.stream("/api/event", None).await;
    let none = w.call("POST", &api(&id, "/revert/commit"), json!({})).await;
    none.refused(204);
    let stage = json!({"messageID": second["id"]});
    let staged = w
        .call("POST", &api(&id, "/revert/stage"), stage.clone())
        .await
        .ok();
    assert!(!file.exists());
    let revert = &staged["data"];
    assert_eq!(revert["messageID"], second["id"]);
    assert_eq!(revert["files"][0]["status"], "deleted");
    assert_eq!(revert["files"][0]["deletions"], 1);
    let told = events.up_to("session.next.revert.staged").await;
    assert_eq!(told.last().unwrap().data["data"]["revert"], *revert);
    let shown = w.get(&api(&id, "")).await.ok();
    assert_eq!(shown["data"]["revert"], *revert);
    let context = w.get(&api(&id, "/context")).await.ok();
    assert_eq!(context["data"].as_array().unwrap().len(), 2);
    w.call("POST", &api(&id, "/revert/clear"), json!({}))
        .await
        .refused(204);
    assert!(file.exists());
    events.up_to("session.next.revert.cleared").await;
    w.call("POST", &api(&id, "/revert/stage"), stage).await.ok();
    w.call("POST", &api(&id, "/revert/commit"), json!({}))
        .await
        .refused(204);
    assert!(!file.exists());
    let told = events.up_to("session.next.revert.committed").await;
    assert_eq!(told.last().unwrap().data["data"]["messageID"], second["id"]);
    assert!(!told.iter().any(|f| f.is("session.next.revert.cleared")));
    assert_eq!(messages(&w, &id).await.len(), 2);
    assert!(
        w.get(&api(&id, "")).await.ok()["data"]
            .get("revert")
            .is_none()
    );
    let unknown = w
        .call(
            "POST",
            &api(&id, "/revert/stage"),
            json!({"messageID": "msg_zz"}),
        )
        .await;
    unknown.refused(404);
    assert_eq!(
        unknown.json(),
        json!({"_tag": "MessageNotFoundError", "sessionID": id, "messageID": "msg_zz",
            "message": "Message not found: msg_zz"})
    );
    // The agent is told the conversation as it is.
    prompt(&w, &id, "go on").await;
    wait(&w, &id).await;
    assert_eq!(messages(&w, &id).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_and_model_are_switched() {
    let w = World::new().await;
    let id = w.session().await;
    w.say(&id, "hello").await.ok();
    let mut events = w.stream(&api(&id, "/event"), None).await;
    until_step_ended(&mut events, 1).await;
    let known = w.get("/api/model").await.ok();
    let model = known["data"].as_array().unwrap().last().unwrap();
    let model = json!({"id": model["id"], "providerID": model["providerID"]});
    let switch = json!({"model": model});
    w.call("POST", &api(&id, "/model"), switch)
        .await
        .refused(204);
    let told = events.up_to("session.next.model.switched").await;
    assert_eq!(told.last().unwrap().data["data"]["model"], model);
    let shown = w.get(&api(&id, "")).await.ok();
    assert_eq!(shown["data"]["model"]["id"], model["id"]);
    w.call("POST", &api(&id, "/agent"), json!({"agent": "build"}))
        .await
        .refused(204);
    let told = events.up_to("session.next.agent.switched").await;
    assert_eq!(told.last().unwrap().data["data"]["agent"], "build");
    let unknown = json!({"model": {"id": "zz", "providerID": "zz"}});
    let refused = w.call("POST", &api(&id, "/model"), unknown).await;
    refused.refused(400);
    assert_eq!(refused.json()["_tag"], "InvalidRequestError");
    let shown = w.get(&api(&id, "")).await.ok();
    assert_eq!(
        shown["data"]["model"]["id"], model["id"],
        "nothing was stored"
    );
}

// Q-api-context
#[tokio::test(flavor = "multi_thread")]
async fn a_summary_stands_for_what_came_before() {
    let w = World::new().await;
    let id = w.session().await;
    prompt(&w, &id, "hello").await;
    wait(&w, &id).await;
    w.call("POST", &api(&id, "/compact"), json!({}))
        .await
        .refused(204);
    let all = messages(&w, &id).await;
    assert_eq!(all.len(), 3);
    assert_eq!(
        (&all[2]["type"], &all[2]["reason"]),
        (&json!("compaction"), &json!("manual"))
    );
    assert!(!all[2]["summary"].as_str().unwrap().is_empty());
    let context = w.get(&api(&id, "/context")).await.ok();
    assert_eq!(context["data"], json!([all[2]]));
    let history = w.get(&api(&id, "/history")).await.ok();
    let types: Vec<_> = history["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["type"])
        .collect();
    let last: Vec<_> = types[types.len() - 2..].to_vec();
    assert_eq!(
        last,
        [
            "session.next.compaction.started",
            "session.next.compaction.ended"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn places_tell_what_they_offer() {
    let w = World::new().await;
    std::fs::create_dir(w.dir.path().join("sub")).unwrap();
    let sub = format!("{}/sub", w.directory());
    let query = format!("?location%5Bdirectory%5D={sub}");
    let location = w.get(&format!("/api/location{query}")).await.ok();
    assert_eq!(location["directory"], sub);
    for (path, some) in [
        ("agent", true),
        ("model", true),
        ("provider", true),
        ("command", true),
        ("skill", false),
        ("reference", false),
        ("integration", false),
        ("question/request", false),
    ] {
        let listed = w.get(&format!("/api/{path}{query}")).await.ok();
        assert_eq!(listed["location"], location, "{path}");
        assert_eq!(
            listed["data"].as_array().unwrap().is_empty(),
            !some,
            "{path}"
        );
    }
    let demo = w.get("/api/provider/demo").await.ok();
    assert_eq!(demo["data"]["id"], "demo");
    let unknown = w.get("/api/provider/nope").await;
    unknown.refused(404);
    assert_eq!(
        unknown.json(),
        json!({"_tag": "ProviderNotFoundError", "providerID": "nope",
            "message": "Provider not found: nope"})
    );
    w.get("/api/location?location[workspace]=wrk_1")
        .await
        .refused(400);
    for path in ["/api/pty", "/api/pty/x/connect"] {
        w.get(path).await.refused(501);
    }
    w.call(
        "POST",
        "/api/integration/x/connect/key",
        json!({"key": "k"}),
    )
    .await
    .refused(501);
    w.get("/api/nothing").await.refused(404);
    assert_eq!(w.get("/api/health").await.ok(), json!({"healthy": true}));
}
