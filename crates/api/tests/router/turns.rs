use serde_json::{Value, json};

use crate::support::{World, id, said, text};

#[tokio::test]
async fn turns_are_paged_back_from_the_newest() {
    let world = World::new().await;
    let at = world.session().await;
    let mut all = Vec::new();
    for n in 0..5 {
        let path = format!("{at}/prompt");
        let accepted = world.post(&path, said(&n.to_string())).await.with(202);
        let turn_at = accepted.header("location").to_owned();
        all.push(world.end(&turn_at).await["id"].clone());
    }
    let mut walked: Vec<Value> = Vec::new();
    loop {
        let before = walked.first().and_then(Value::as_str);
        let before = before.map_or(String::new(), |id| format!("&before={id}"));
        let page = world.get(&format!("{at}/turns?limit=2{before}")).await;
        let turns = page.with(200).json["turns"].clone();
        let ids = turns.as_array().unwrap().iter().map(|t| t["id"].clone());
        let ids: Vec<_> = ids.collect();
        if ids.is_empty() {
            break;
        }
        assert!(ids.len() <= 2);
        walked.splice(..0, ids);
    }
    assert_eq!(walked, all);

    let other = world.session().await;
    for bad in ["trn_none", "x", all[0].as_str().unwrap()] {
        let refused = world.get(&format!("{other}/turns?before={bad}")).await;
        assert!(
            refused.json.to_string().contains("before"),
            "{}",
            refused.json
        );
        refused.with(400);
    }
}

#[tokio::test]
async fn a_prompt_is_accepted_answered_and_accounted_for() {
    let world = World::new().await;
    let at = world.session().await;
    assert_eq!(
        world.get(&format!("{at}/binding")).await.with(200).json,
        json!({"binding": null})
    );

    let accepted = world
        .post(&format!("{at}/prompt"), said("hello"))
        .await
        .with(202);
    let turn_at = accepted.header("location").to_owned();
    assert_eq!(
        turn_at,
        format!(
            "{at}/turns/{}",
            accepted.json["turn"]["id"].as_str().unwrap()
        )
    );
    assert_eq!(accepted.json["message"]["role"], "user");
    assert_eq!(accepted.json["parts"][0]["text"], "hello");

    let turn = world.end(&turn_at).await;
    assert_eq!(
        (&turn["state"], &turn["agent"], &turn["restore"]),
        (&json!("completed"), &json!("demo"), &json!("new"))
    );
    assert_eq!(
        world.get(&turn_at).await.with(200).json,
        turn,
        "an ended turn does not change"
    );
    assert_eq!(
        world.get(&format!("{at}/turns")).await.with(200).json,
        json!({"turns": [turn]})
    );
    assert_eq!(
        world
            .get(&format!("{at}/turns?open=true"))
            .await
            .with(200)
            .json,
        json!({"turns": []})
    );

    let page = world.get(&format!("{at}/messages")).await.with(200).json;
    let messages = page["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 2);
    assert_eq!(
        (&messages[0]["role"], text(&messages[0])),
        (&json!("user"), "hello".to_owned())
    );
    assert_eq!(messages[1]["role"], "assistant");
    assert_eq!(messages[1]["parent_id"], messages[0]["id"]);
    assert!(!text(&messages[1]).is_empty() && messages[1]["completed_at"].is_i64());
    assert_eq!(turn["assistant_message_id"], messages[1]["id"]);
    let one = format!("{at}/messages/{}", messages[1]["id"].as_str().unwrap());
    assert_eq!(world.get(&one).await.with(200).json, messages[1]);
    world
        .get(&format!("{at}/messages/msg_none"))
        .await
        .refused(404, "not-found", None);

    let binding = world.get(&format!("{at}/binding")).await.with(200).json;
    assert_eq!(
        (&binding["binding"]["agent"], &binding["binding"]["rung"]),
        (&json!("demo"), &json!("new"))
    );
    world.get(&format!("{at}/usage")).await.with(200);
}

#[tokio::test]
async fn tools_plans_and_changes_are_shown() {
    let world = World::new().await;
    let allow = json!({"permission": [{"permission": "*", "pattern": "*", "action": "allow"}]});
    let made = world.post("/v1/sessions", allow).await.with(201);
    let at = made.header("location").to_owned();
    let turn = world.ask(&at, "/plan\n/run echo one").await;
    assert_eq!(turn["state"], "completed", "{turn}");
    let todos = world.get(&format!("{at}/todos")).await.with(200).json;
    assert_eq!(todos["todos"].as_array().unwrap().len(), 3);
    let page = world.get(&format!("{at}/messages")).await.with(200).json;
    let parts = page["messages"][1]["parts"].as_array().unwrap();
    let tool = parts.iter().find(|p| p["type"] == "tool").unwrap();
    assert_eq!(tool["state"]["status"], "completed");
    assert!(
        tool["state"]["output"].as_str().unwrap().contains("one"),
        "{tool}"
    );
    let changes = format!("{at}/turns/{}/changes", turn["id"].as_str().unwrap());
    assert!(world.get(&changes).await.with(200).json["changes"].is_array());
}

#[tokio::test]
async fn a_failed_turn_says_why() {
    let world = World::new().await;
    let at = world.session().await;
    let turn = world.ask(&at, "/fail out of luck").await;
    assert_eq!(turn["state"], "failed");
    assert!(
        turn["failure"]["message"]
            .as_str()
            .unwrap()
            .contains("out of luck"),
        "{turn}"
    );
    let session = world.get(&at).await.json;
    assert_eq!(session["status"]["kind"], "error");
    let page = world.get(&format!("{at}/messages")).await.with(200).json;
    assert!(page["messages"][1]["error"]["message"].is_string());
}

#[tokio::test]
async fn the_same_prompt_is_accepted_once() {
    let world = World::new().await;
    let at = world.session().await;
    let to = format!("{at}/prompt");
    let key = [("idempotency-key", "p-1")];
    let first = world
        .call("POST", &to, &key, Some(said("hello")))
        .await
        .with(202);
    let again = world
        .call("POST", &to, &key, Some(said("hello")))
        .await
        .with(202);
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.header("location"), first.header("location"));
    assert_eq!(again.json["message"], first.json["message"]);
    let other = world.call("POST", &to, &key, Some(said("bye"))).await;
    other.refused(422, "idempotency-key-reused", Some("Idempotency-Key"));
    world.end(first.header("location")).await;

    let named = json!({"message_id": "msg_mine", "parts": [{"type": "text", "text": "again"}]});
    let one = world.post(&to, named.clone()).await.with(202);
    let two = world.post(&to, named.clone()).await.with(202);
    assert_eq!(
        (one.header("location"), two.header("idempotency-replayed")),
        (two.header("location"), "true")
    );
    world.end(one.header("location")).await;
    let elsewhere = format!("{}/prompt", world.session().await);
    world
        .post(&elsewhere, named)
        .await
        .refused(409, "conflict", None);
    assert_eq!(
        world.get(&format!("{at}/turns")).await.json["turns"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn a_prompt_without_reply_is_only_kept() {
    let world = World::new().await;
    let at = world.session().await;
    let body = json!({"no_reply": true, "parts": [{"type": "text", "text": "for later"}]});
    let kept = world
        .post(&format!("{at}/prompt"), body.clone())
        .await
        .with(202);
    assert_eq!(kept.json["turn"], Value::Null);
    let message = world.get(kept.header("location")).await.with(200).json;
    assert_eq!(text(&message), "for later");
    let key = [("idempotency-key", "k")];
    let refused = world
        .call("POST", &format!("{at}/prompt"), &key, Some(body))
        .await;
    refused.refused(400, "invalid-request", Some("Idempotency-Key"));
}

#[tokio::test]
async fn every_kind_of_prompt_part_is_taken() {
    let world = World::new().await;
    let at = world.session().await;
    let body = json!({"no_reply": true, "system": "be kind", "tools": {"bash": false}, "format": {"type": "text"},
    "parts": [
        {"type": "text", "id": "prt_1", "text": "a", "synthetic": true, "metadata": {"k": 1}},
        {"type": "file", "id": "prt_2", "mime": "text/plain", "filename": "a", "url": "data:text/plain,a"},
        {"type": "agent", "id": "prt_3", "name": "build"},
        {"type": "subtask", "id": "prt_4", "prompt": "p", "description": "d", "agent": "build",
            "model": {"provider_id": "demo", "id": "default"}},
    ]});
    let kept = world.post(&format!("{at}/prompt"), body).await.with(202);
    let message = world.get(kept.header("location")).await.with(200).json;
    assert_eq!(
        (&message["system"], &message["tools"]),
        (&json!("be kind"), &json!({"bash": false}))
    );
    let kinds: Vec<_> = message["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["type"].clone())
        .collect();
    assert_eq!(kinds, ["text", "file", "agent", "subtask"]);
    assert_eq!(message["parts"][0]["synthetic"], true);
}

#[tokio::test]
async fn messages_are_paged_from_the_newest() {
    let world = World::new().await;
    let at = world.session().await;
    for n in 0..5 {
        let body = json!({"no_reply": true, "parts": [{"type": "text", "text": n.to_string()}]});
        world.post(&format!("{at}/prompt"), body).await.with(202);
    }
    let (mut texts, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world
            .get(&format!("{at}/messages?limit=2{cursor}"))
            .await
            .with(200)
            .json;
        let page_texts: Vec<String> = page["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(text)
            .collect();
        texts.splice(0..0, page_texts);
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(texts, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn an_abort_stops_the_work_and_drops_or_keeps_the_queue() {
    let world = World::new().await;
    for (queue, state) in [("drop", "aborted"), ("keep", "completed")] {
        let at = world.session().await;
        let running = world.say(&at, "/hang").await;
        let waiting = world.say(&at, "hello").await;
        let busy = world.get("/v1/sessions?status=busy").await.json;
        assert_eq!(busy["sessions"][0]["id"], id(&at));
        let reply = world
            .post(&format!("{at}/abort"), json!({"queue": queue}))
            .await
            .with(200)
            .json;
        assert_eq!(reply["aborted"], true);
        assert_eq!(world.end(&running).await["state"], "aborted");
        assert_eq!(world.end(&waiting).await["state"], state, "{queue}");
        let idle = world
            .call("POST", &format!("{at}/abort"), &[], None)
            .await
            .with(200)
            .json;
        assert_eq!(
            (&idle["aborted"], &idle["session"]["status"]["kind"]),
            (&json!(false), &json!("idle"))
        );
    }
}

#[tokio::test]
async fn waiting_ends_when_the_server_stops() {
    let world = World::new().await;
    let at = world.session().await;
    let turn = world.say(&at, "/hang").await;
    let early = world.get(&format!("{turn}?wait=0")).await.with(200).json;
    assert_eq!(early["ended_at"], Value::Null);
    let path = format!("{turn}?wait=60");
    let waiting = world.get(&path);
    let stop = async { world.stopping.cancel() };
    let (reply, ()) = tokio::join!(waiting, stop);
    assert_eq!(reply.with(200).json["ended_at"], Value::Null);
    world
        .post(&format!("{at}/abort"), json!({}))
        .await
        .with(200);
}
