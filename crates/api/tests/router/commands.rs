//! Slash commands, shell commands, init and summaries.

use serde_json::json;

use crate::support::{World, text};

#[tokio::test]
async fn a_shell_command_is_a_turn_of_its_kind() {
    let world = World::new().await;
    let at = world.session().await;
    let accepted = world
        .post(
            &format!("{at}/shell"),
            json!({"command": "echo here; exit 4"}),
        )
        .await
        .with(202);
    assert_eq!(
        accepted.json["turn"]["kind"],
        json!({"type": "shell", "command": "echo here; exit 4"})
    );
    let turn = world.end(accepted.header("location")).await;
    assert_eq!(turn["state"], "completed");
    assert_eq!(turn["restore"], json!(null));
    let page = world.get(&format!("{at}/messages")).await.with(200).json;
    let part = &page["messages"][1]["parts"][0];
    assert_eq!(part["tool"], "bash");
    assert_eq!(part["state"]["output"], "here\n");
    assert_eq!(part["state"]["metadata"]["exit"], 4);
}

#[tokio::test]
async fn commands_are_listed_and_run() {
    let world = World::new().await;
    let at = world.session().await;
    world.ask(&at, "hello").await;
    let listed = world.get("/v1/commands").await.with(200).json;
    let named = |name: &str| {
        let mut all = listed["commands"].as_array().unwrap().iter();
        all.find(|c| c["name"] == name).unwrap().clone()
    };
    assert_eq!(named("init")["source"], json!({"type": "built_in"}));
    assert_eq!(
        named("plan")["source"],
        json!({"type": "agent", "name": "demo"})
    );
    assert_eq!(named("write")["argument_hint"], "PATH TEXT");

    let accepted = world
        .post(
            &format!("{at}/commands"),
            json!({"command": "think", "arguments": "of it"}),
        )
        .await
        .with(202);
    assert_eq!(accepted.json["parts"][0]["text"], "/think of it");
    let turn = world.end(accepted.header("location")).await;
    assert_eq!(
        turn["kind"],
        json!({"type": "command", "name": "think", "arguments": "of it"})
    );
    assert_eq!(turn["state"], "completed");
}

#[tokio::test]
async fn init_and_summarize_do_without_a_body() {
    let world = World::new().await;
    let at = world.session().await;
    let rules = json!([{"permission": "*", "pattern": "*", "action": "allow"}]);
    world
        .patch(&at, json!({"permission": rules}))
        .await
        .with(200);
    let accepted = world
        .call("POST", &format!("{at}/init"), &[], None)
        .await
        .with(202);
    assert_eq!(
        world.end(accepted.header("location")).await["state"],
        "completed"
    );
    let written = std::path::Path::new(&world.directory()).join("AGENTS.md");
    assert!(written.is_file());

    let key = [("idempotency-key", "once")];
    let path = format!("{at}/summarize");
    let accepted = world.call("POST", &path, &key, None).await.with(202);
    let again = world.call("POST", &path, &key, None).await.with(202);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.json["turn"]["id"], accepted.json["turn"]["id"]);
    // The same key and body, but another thing to do.
    world
        .call("POST", &format!("{at}/init"), &key, None)
        .await
        .refused(422, "idempotency-key-reused", Some("Idempotency-Key"));
    let turn = world.end(accepted.header("location")).await;
    assert_eq!(
        (&turn["state"], &turn["kind"]),
        (&json!("completed"), &json!({"type": "compaction"}))
    );
    let page = world.get(&format!("{at}/messages")).await.with(200).json;
    let summary = page["messages"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(summary["is_summary"], true);
    assert!(text(&summary).contains("What was asked so far"));
}

#[tokio::test]
async fn what_can_not_be_done_is_refused_by_name() {
    let world = World::new().await;
    let at = world.session().await;
    for (path, body, field) in [
        ("shell", json!({}), "command"),
        ("shell", json!({"command": " "}), "command"),
        ("shell", json!({"command": "x".repeat(100_001)}), "command"),
        (
            "shell",
            json!({"command": "true", "message_id": "x"}),
            "message_id",
        ),
        ("commands", json!({"command": "no-such-command"}), "command"),
        (
            "commands",
            json!({"command": "init", "arguments": "a\u{0}b"}),
            "arguments",
        ),
        ("init", json!({"agent": "x".repeat(257)}), "agent"),
        (
            "summarize",
            json!({"model": {"provider_id": "nobody", "id": "x"}}),
            "model.provider_id",
        ),
    ] {
        let refused = world.post(&format!("{at}/{path}"), body).await;
        refused.refused(400, "invalid-request", Some(field));
    }
    world.get("/v1/commands?directory=%00").await.refused(
        400,
        "invalid-request",
        Some("directory"),
    );
    assert_eq!(
        world.get(&format!("{at}/turns")).await.with(200).json,
        json!({"turns": []})
    );
    let unknown = "/v1/sessions/ses_unknown/shell";
    world
        .post(unknown, json!({"command": "true"}))
        .await
        .refused(404, "not-found", None);
}
