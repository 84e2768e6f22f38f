//! Settings that clients change, and what comes of them.

use serde_json::{Value, json};

use crate::support::World;

async fn patch(w: &World, body: Value) -> Value {
    w.call("PATCH", "/global/config", body).await.ok()
}

// Q-config-one
#[tokio::test]
async fn settings_of_clients_are_kept_and_given_back() {
    let w = World::new().await;
    let mut global = w.stream("/global/event", None).await;
    let mut one = w.stream("/event", None).await;
    let now = patch(
        &w,
        json!({"username": "ann", "nonsense": 5, "autoupdate": "notify"}),
    )
    .await;
    assert_eq!(
        (&now["username"], &now["nonsense"]),
        (&json!("ann"), &Value::Null)
    );
    assert_eq!(w.get("/config").await.ok(), now);
    assert_eq!(w.get("/global/config").await.ok(), now);
    one.up_to("server.instance.disposed").await;
    let frames = global.up_to("global.disposed").await;
    assert!(frames.iter().any(|f| f.is("server.instance.disposed")));
    // The whole of it can be sent back, and one can be taken away.
    assert_eq!(w.call("PATCH", "/config", now.clone()).await.ok(), now);
    assert_eq!(
        patch(&w, json!({"username": null})).await["username"],
        Value::Null
    );
}

// Q-config-refused
#[tokio::test]
async fn settings_that_mean_nothing_here_are_refused() {
    let w = World::new().await;
    let before = w.get("/config").await.ok();
    let refusals = [
        (
            json!({"mcp": {"x": {"type": "local", "command": ["x"]}}}),
            400,
            "mcp",
        ),
        (json!({"share": "auto"}), 400, "share"),
        (json!({"username": "ann", "plugin": ["x"]}), 400, "plugin"),
        (json!({"share": "never"}), 400, "share"),
        (json!({"model": 5}), 400, "model"),
        (json!({"model": "nobody/x"}), 400, "model"),
        (json!({"default_agent": "nothing"}), 400, "default_agent"),
        (json!({"username": "x".repeat(300_000)}), 400, "bytes"),
        (json!([]), 400, "Config"),
    ];
    for (body, status, named) in refusals {
        for path in ["/config", "/global/config"] {
            let answer = w.call("PATCH", path, body.clone()).await;
            answer.refused(status);
            assert!(answer.json().to_string().contains(named), "{named}");
        }
    }
    assert_eq!(w.get("/config").await.ok(), before);
}

#[tokio::test]
async fn prompts_without_agent_and_model_get_those_that_were_set() {
    let w = World::new().await;
    // The agent tells its modes and models when it runs.
    w.say(&w.session().await, "hello").await.ok();
    let now = patch(&w, json!({"model": "demo/demo-2", "default_agent": "plan"})).await;
    assert_eq!(
        (&now["model"], &now["default_agent"]),
        (&json!("demo/demo-2"), &json!("plan"))
    );
    let said = w.say(&w.session().await, "hello").await.ok();
    let info = &said["info"];
    assert_eq!(
        (&info["modelID"], &info["mode"]),
        (&json!("demo-2"), &json!("plan"))
    );
}

#[tokio::test]
async fn commands_that_were_set_can_be_run() {
    let w = World::new().await;
    let commands = json!({"greet": {"template": "hello $1", "description": "D"}});
    patch(&w, json!({"command": commands})).await;
    let list = w.get("/command").await.ok();
    let greet = list
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["name"] == "greet");
    assert_eq!(greet.unwrap()["description"], "D");
    let session = w.session().await;
    let body = json!({"command": "greet", "arguments": "world"});
    w.call("POST", &format!("/session/{session}/command"), body)
        .await
        .ok();
    let messages = w.get(&format!("/session/{session}/message")).await.ok();
    assert_eq!(messages[0]["parts"][0]["text"], "hello world");
}

#[tokio::test]
async fn permissions_that_were_set_come_before_those_of_a_session() {
    let w = World::new().await;
    patch(&w, json!({"permission": "deny"})).await;
    let session = w.session().await;
    w.say(&session, "/run touch denied").await.ok();
    patch(&w, json!({"permission": "allow"})).await;
    w.say(&session, "/run touch allowed").await.ok();
    assert!(w.dir.path().join("allowed").exists());
    assert!(!w.dir.path().join("denied").exists());
    assert_eq!(w.get("/permission").await.ok(), json!([]));
}

#[tokio::test]
async fn what_was_switched_off_is_off() {
    let w = World::new().await;
    let session = w.session().await;
    let path = format!("/session/{session}/share");
    assert_eq!(
        patch(&w, json!({"share": "disabled"})).await["share"],
        "disabled"
    );
    w.call("POST", &path, json!({})).await.refused(403);
    assert_eq!(
        patch(&w, json!({"share": "manual"})).await["share"],
        "manual"
    );
    w.call("POST", &path, json!({})).await.ok();
    patch(&w, json!({"disabled_providers": ["demo"]})).await;
    assert_eq!(w.get("/provider").await.ok()["connected"], json!([]));
    w.say(&session, "hello").await.refused(400);
    patch(&w, json!({"disabled_providers": []})).await;
    w.say(&session, "hello").await.ok();
}
