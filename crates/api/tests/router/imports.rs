//! Sessions that come from elsewhere and go there.

use serde_json::{Value, json};

use crate::support::{World, id};

fn info(directory: &str) -> Value {
    json!({"id": "ses_there", "directory": directory, "title": "There", "slug": "s", "projectID": "global",
        "version": "1.18.33", "time": {"created": 10, "updated": 90}})
}

fn message(n: i64) -> Value {
    let id = format!("msg_{n}");
    json!({"info": {"id": id, "sessionID": "ses_there", "role": "user", "time": {"created": n}, "agent": "build",
            "model": {"providerID": "p", "modelID": "m"}},
        "parts": [{"id": format!("prt_{n}"), "sessionID": "ses_there", "messageID": id,
            "type": "text", "text": format!("words {n}")}]})
}

fn outline(n: i64) -> Value {
    let all: Vec<_> = (1..=n)
        .map(|n| json!({"id": format!("msg_{n}"), "created_at": n}))
        .collect();
    json!({"session_id": "ses_there", "messages": all})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_comes_and_goes() {
    let w = World::new().await;
    let plan = w.post("/v1/imports/plan", outline(2)).await.with(200).json;
    assert_eq!(
        plan,
        json!({"action": "create", "first": 0, "new": 2, "reason": null})
    );
    let mut bad = message(3);
    bad["info"]["role"] = "robot".into();
    let body = json!({"format": "opencode", "info": info(&w.directory()), "messages": [message(1), message(2), bad],
        "todos": [{"content": "c", "status": "pending", "priority": "low"}]});
    let done = w.post("/v1/imports", body.clone()).await.with(200).json;
    assert_eq!(
        (&done["created"], &done["added"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(done["skipped"][0]["what"], "message msg_3");
    assert_eq!(w.post("/v1/imports", body).await.with(200).json["added"], 0);
    let plan = w.post("/v1/imports/plan", outline(2)).await.with(200).json;
    assert_eq!(plan["action"], "present");
    let plan = w.post("/v1/imports/plan", outline(5)).await.with(200).json;
    assert_eq!(
        (&plan["action"], &plan["first"]),
        (&json!("append"), &json!(2))
    );

    let session = w.get("/v1/sessions/ses_there").await.with(200).json;
    assert_eq!(
        (&session["title"], &session["updated_at"]),
        (&json!("There"), &json!(90))
    );
    let export = w.get("/v1/sessions/ses_there/export").await.with(200);
    assert_eq!(export.json["messages"], json!([message(1), message(2)]));
    assert_eq!(export.json["todos"][0]["content"], "c");
    assert!(
        export
            .header("content-disposition")
            .contains("ses_there.json")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_session_is_in_the_trash() {
    let w = World::new().await;
    let directory = w.directory();
    let batch = |n, more| {
        let messages = [message(n)];
        json!({"info": info(&directory), "messages": messages, "more": more})
    };
    w.post("/v1/imports", batch(1, true)).await.with(200);
    w.get("/v1/sessions/ses_there")
        .await
        .refused(404, "not-found", None);
    let trash = w.get("/v1/trash").await.with(200).json;
    let status = &trash["sessions"][0]["session"]["status"];
    assert!(
        status["message"].as_str().unwrap().contains("cut off"),
        "{trash}"
    );
    let plan = w.post("/v1/imports/plan", outline(2)).await.with(200).json;
    assert_eq!(
        (&plan["action"], &plan["first"]),
        (&json!("resume"), &json!(1))
    );
    w.post("/v1/imports", batch(2, false)).await.with(200);
    let export = w.get("/v1/sessions/ses_there/export").await.with(200).json;
    assert_eq!(export["messages"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named() {
    let w = World::new().await;
    let at = w.session().await;
    let taken = id(&at).to_owned();
    let post = |body: Value| w.post("/v1/imports", body);
    let missing = post(json!({"messages": []})).await;
    missing.refused(400, "invalid-request", Some("info"));
    let nowhere = post(json!({"info": {"id": "ses_1"}, "messages": []})).await;
    nowhere.refused(400, "invalid-request", Some("info"));
    let unknown = post(json!({"info": info("/p"), "messages": [], "format": "x"})).await;
    unknown.refused(400, "invalid-request", Some("format"));
    let outline = json!({"session_id": "nonsense", "messages": []});
    let plan = w.post("/v1/imports/plan", outline).await;
    plan.refused(400, "invalid-request", Some("session_id"));
    let format = w.get(&format!("{at}/export?format=x")).await;
    format.refused(400, "invalid-request", Some("format"));
    w.get("/v1/sessions/ses_unknown/export")
        .await
        .refused(404, "not-found", None);

    w.call("DELETE", &at, &[], None).await.with(200);
    let mut deleted = info(&w.directory());
    deleted["id"] = taken.into();
    let in_trash = post(json!({"info": deleted, "messages": []})).await;
    in_trash.refused(409, "conflict", None);
}
