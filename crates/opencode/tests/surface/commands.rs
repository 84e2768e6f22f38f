//! Slash commands, `init`, shell commands and `summarize`.

use serde_json::{Value, json};

use crate::support::{Stream, World};

/// The types of the frames up to one of this type.
async fn types_up_to(events: &mut Stream, r#type: &str) -> Vec<String> {
    let frames = events.up_to(r#type).await;
    let types = frames.iter().map(|f| f.event()["type"].as_str().unwrap());
    types.map(str::to_owned).collect()
}

async fn allow_everything(w: &World, id: &str) {
    let rules = json!([{"permission": "*", "pattern": "*", "action": "allow"}]);
    let path = format!("/session/{id}");
    w.call("PATCH", &path, json!({"permission": rules}))
        .await
        .ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_command_is_shown_as_opencode_shows_it() {
    let w = World::new().await;
    let id = w.session().await;
    let mut events = w.stream("/event", None).await;
    let path = format!("/session/{id}/shell");
    let body = json!({"agent": "build", "command": "echo out; echo err >&2; sleep 0.6; exit 3"});
    let answer = w.call("POST", &path, body).await.ok();
    assert_eq!(answer["info"]["role"], "assistant");
    assert!(answer["info"].get("finish").is_none());
    let state = &answer["parts"][0]["state"];
    assert_eq!(state["status"], "completed");
    assert_eq!(state["output"], "out\nerr\n");
    assert_eq!(
        state["metadata"],
        json!({"output": "out\nerr\n", "exit": 3})
    );
    let listed = w.get(&format!("/session/{id}/message")).await.ok();
    assert_eq!(listed[0]["parts"][0]["synthetic"], true);
    assert_eq!(
        listed[0]["parts"][0]["text"],
        "The following tool was executed by the user"
    );
    assert_eq!(listed[1], answer);

    let frames = events.up_to("session.idle").await;
    let parts: Vec<Value> = frames
        .iter()
        .filter(|f| f.is("message.part.updated"))
        .map(|f| f.properties()["part"].clone())
        .filter(|p| p["type"] == "tool")
        .collect();
    let [first, grown @ .., last] = &parts[..] else {
        panic!("{parts:?}")
    };
    assert_eq!(first["state"]["status"], "running");
    assert!(first["state"].get("metadata").is_none());
    assert_eq!(last["state"], *state);
    let shown = grown.last().unwrap();
    assert!(grown.iter().all(|p| p["state"]["status"] == "running"));
    assert_eq!(shown["state"]["metadata"]["output"], "out\nerr\n");
    assert!(parts.iter().all(|p| p["tool"] == "bash"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_session_refuses_a_shell_command() {
    let w = World::new().await;
    let id = w.session().await;
    let prompt = json!({"parts": [{"type": "text", "text": "/slow 100000 20"}]});
    w.call("POST", &format!("/session/{id}/prompt_async"), prompt)
        .await;
    let path = format!("/session/{id}/shell");
    let body = json!({"agent": "build", "command": "echo hi"});
    let refused = w.call("POST", &path, body).await;
    assert_eq!(refused.status, 409);
    assert_eq!(
        refused.json(),
        json!({"_tag": "SessionBusyError", "sessionID": id,
            "message": format!("Session is busy: {id}")})
    );
    let abort = format!("/session/{id}/abort");
    assert_eq!(w.call("POST", &abort, json!({})).await.ok(), json!(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_shell_command_keeps_its_output() {
    let w = World::new().await;
    let id = w.session().await;
    let path = format!("/session/{id}/shell");
    let body = json!({"agent": "build", "command": "echo begun; exec sleep 600"});
    let running = w.call("POST", &path, body);
    let abort = async {
        let messages = format!("/session/{id}/message");
        let begun = || async {
            let all = w.get(&messages).await.ok();
            let output = all.get(1)?["parts"][0]["state"]["metadata"]["output"].clone();
            (output == "begun\n").then_some(())
        };
        w.until("output", begun).await;
        let path = format!("/session/{id}/abort");
        w.call("POST", &path, json!({})).await.ok()
    };
    let (answer, _) = tokio::join!(running, abort);
    let answer = answer.ok();
    assert!(answer["info"].get("error").is_none(), "{answer}");
    assert!(answer["info"]["time"]["completed"].is_i64());
    let state = &answer["parts"][0]["state"];
    assert_eq!(state["status"], "completed");
    let said = "begun\n\n\n<metadata>\nUser aborted the command\n</metadata>";
    assert_eq!(state["output"], said);
    assert_eq!(state["metadata"]["exit"], Value::Null);
}

// Q-agent-commands
#[tokio::test(flavor = "multi_thread")]
async fn commands_are_listed_and_run() {
    let w = World::new().await;
    let id = w.session().await;
    let listed = w.get("/command").await.ok();
    let init = &listed[0];
    assert_eq!(
        (&init["name"], &init["source"], &init["hints"]),
        (&json!("init"), &json!("command"), &json!(["$ARGUMENTS"]))
    );
    assert!(init["template"].as_str().unwrap().contains("AGENTS.md"));

    let path = format!("/session/{id}/command");
    let plan = json!({"command": "plan", "arguments": ""});
    let refused = w.call("POST", &path, plan.clone()).await;
    assert_eq!(refused.status, 400);
    let message = refused.json()["data"]["message"].clone();
    let message = message.as_str().unwrap();
    assert!(message.starts_with("Command not found: \"plan\". Available commands: init"));
    assert!(message.ends_with("at [\"command\"]"), "{message}");

    w.say(&id, "hello").await.ok();
    let listed = w.get("/command").await.ok();
    let plan_listed = listed
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["name"] == "plan")
        .unwrap();
    assert_eq!(plan_listed["template"], "/plan $ARGUMENTS");
    let mut events = w.stream("/event", None).await;
    let answer = w.call("POST", &path, plan).await.ok();
    assert_eq!(answer["info"]["role"], "assistant");
    let frames = events.up_to("command.executed").await;
    let idle = frames.iter().position(|f| f.is("session.idle")).unwrap();
    assert!(idle < frames.len() - 1);
    assert_eq!(
        *frames.last().unwrap().properties(),
        json!({"name": "plan", "sessionID": id, "arguments": "",
            "messageID": answer["info"]["id"]})
    );
}

// Q-summarize-failed, Q-summarize-aborted
#[tokio::test(flavor = "multi_thread")]
async fn init_is_true_only_when_the_agent_is_done() {
    let w = World::new().await;
    let id = w.session().await;
    allow_everything(&w, &id).await;
    let path = format!("/session/{id}/init");
    let body = |id: &str| json!({"providerID": "demo", "modelID": "default", "messageID": id});
    let mut events = w.stream("/event", None).await;
    assert_eq!(w.call("POST", &path, body("msg_a")).await.ok(), json!(true));
    let written = std::path::Path::new(&w.directory()).join("AGENTS.md");
    assert!(written.is_file());
    let types = types_up_to(&mut events, "command.executed").await;
    assert!(types.contains(&"session.idle".to_owned()));
    assert_eq!(w.call("POST", &path, body("msg_a")).await.ok(), json!(true));

    w.say(&id, "/next /fail no tokens left").await.ok();
    let failed = w.call("POST", &path, body("msg_b")).await;
    assert_eq!(failed.status, 424);
    let said = failed.json()["data"]["message"].clone();
    assert!(said.as_str().unwrap().contains("no tokens left"), "{said}");

    w.say(&id, "/next /slow 100000 10").await.ok();
    let running = w.call("POST", &path, body("msg_c"));
    let abort = async {
        let messages = format!("/session/{id}/message");
        let begun = || async {
            let all = w.get(&messages).await.ok();
            let last = all.as_array()?.last()?.to_string();
            last.contains("tick-").then_some(())
        };
        w.until("the answer", begun).await;
        let abort = format!("/session/{id}/abort");
        w.call("POST", &abort, json!({})).await.ok()
    };
    let (stopped, _) = tokio::join!(running, abort);
    assert_eq!(stopped.status, 409);
    assert_eq!(stopped.json()["name"], "MessageAbortedError");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_is_marked_and_told() {
    let w = World::new().await;
    let id = w.session().await;
    w.say(&id, "the first word is apple").await.ok();
    let mut events = w.stream("/event", None).await;
    let path = format!("/session/{id}/summarize");
    let body = json!({"providerID": "demo", "modelID": "demo-2", "auto": false});
    assert_eq!(w.call("POST", &path, body).await.ok(), json!(true));
    let types = types_up_to(&mut events, "session.compacted").await;
    assert!(types.contains(&"session.idle".to_owned()));
    let listed = w.get(&format!("/session/{id}/message")).await.ok();
    let [asked, summary] = &listed.as_array().unwrap()[2..] else {
        panic!("{listed}")
    };
    let parts = asked["parts"].as_array().unwrap();
    assert_eq!(parts.len(), 1);
    assert_eq!(
        (&parts[0]["type"], &parts[0]["auto"]),
        (&json!("compaction"), &json!(false))
    );
    let info = &summary["info"];
    assert_eq!(
        (&info["summary"], &info["mode"], &info["agent"]),
        (&json!(true), &json!("compaction"), &json!("compaction"))
    );
    assert_eq!(
        (&info["modelID"], &info["finish"]),
        (&json!("demo-2"), &json!("stop"))
    );
    assert!(summary.to_string().contains("apple"));
    // The conversation keeps its model.
    let session = w.get(&format!("/session/{id}")).await.ok();
    assert_ne!(session["model"]["id"], "demo-2");

    // D12: a summary that failed does not swallow the next prompt.
    w.say(&id, "/next /fail boom").await.ok();
    let body = json!({"providerID": "demo", "modelID": "default"});
    assert_eq!(w.call("POST", &path, body).await.status, 424);
    let answer = w.say(&id, "and now an answer").await.ok();
    assert!(answer.to_string().contains("You said: and now an answer"));
}
