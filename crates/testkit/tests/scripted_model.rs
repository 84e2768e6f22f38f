//! The scripted model server over its real wire.

use serde_json::{Value, json};
use sessiond_testkit::http::Client;
use sessiond_testkit::scripted::ScriptedModel;

fn tools_chat() -> Value {
    json!([{"type": "function", "function": {"name": "bash",
        "parameters": {"type": "object", "properties": {"command": {"type": "string"}}}}}])
}

#[tokio::test]
async fn chat_completions_stream_text_and_log_the_request() {
    let model = ScriptedModel::start(0).await.unwrap();
    let client = Client::new(model.address());
    let body = json!({"model": "m", "stream": true, "tools": tools_chat(),
        "messages": [{"role": "user", "content": "please @@TEXT"}]});
    let reply = client.post("/v1/chat/completions", &body).await.unwrap();
    assert_eq!(reply.status, 200);
    let text: String = reply
        .text()
        .lines()
        .filter_map(|l| l.strip_prefix("data: "))
        .filter_map(|d| serde_json::from_str::<Value>(d).ok())
        .filter_map(|v| {
            v.pointer("/choices/0/delta/content")?
                .as_str()
                .map(str::to_owned)
        })
        .collect();
    assert_eq!(text, "Hello from the scripted model.");
    let log = model.log();
    assert_eq!(log.len(), 1);
    assert_eq!(log[0].script.as_deref(), Some("TEXT"));
    assert_eq!(log[0].body["messages"][0]["content"], "please @@TEXT");
}

#[tokio::test]
async fn anthropic_calls_the_tool_and_then_talks() {
    let model = ScriptedModel::start(0).await.unwrap();
    let client = Client::new(model.address());
    let tools = json!([{"name": "Bash", "input_schema": {"properties": {"command": {}}}}]);
    let ask = json!({"role": "user", "content": [{"type": "text", "text": "@@BASH:/tmp/x"}]});
    let first = client
        .post("/v1/messages", &json!({"tools": tools, "messages": [ask]}))
        .await
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(first["stop_reason"], "tool_use");
    let call = &first["content"][1];
    assert_eq!(call["name"], "Bash");
    let again = json!({"tools": tools, "messages": [ask,
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call["id"],
            "content": "out"}]}]});
    let second = client
        .post("/v1/messages", &again)
        .await
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(second["stop_reason"], "end_turn");
}

#[tokio::test]
async fn responses_offer_a_patch_as_free_text() {
    let model = ScriptedModel::start(0).await.unwrap();
    let client = Client::new(model.address());
    let body = json!({"stream": false, "tools": [{"type": "custom", "name": "apply_patch"}],
        "input": [{"type": "message", "role": "user",
            "content": [{"type": "input_text", "text": "@@WRITE:/tmp/x"}]}]});
    let reply = client
        .post("/v1/responses", &body)
        .await
        .unwrap()
        .json()
        .unwrap();
    assert_eq!(reply["output"][1]["type"], "custom_tool_call");
    assert!(
        reply["output"][1]["input"]
            .as_str()
            .unwrap()
            .contains("+line one\n")
    );
}

#[tokio::test]
async fn it_refuses_and_cuts_when_told_to() {
    let model = ScriptedModel::start(0).await.unwrap();
    let client = Client::new(model.address());
    let body = |marker: &str| {
        json!({"stream": true, "tools": tools_chat(),
            "messages": [{"role": "user", "content": marker}]})
    };
    let refused = client
        .post("/v1/chat/completions", &body("@@ERR429"))
        .await
        .unwrap();
    assert_eq!(refused.status, 429);
    let cut = client.post("/v1/chat/completions", &body("@@DROP")).await;
    assert!(cut.is_err(), "the body has no end");
}
