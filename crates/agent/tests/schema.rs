//! What the demo agent says is what the protocol says: the published types read it and write
//! the same again.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::BTreeMap;

use agent_client_protocol_schema::v1::{
    InitializeResponse, NewSessionResponse, PromptResponse, RequestPermissionRequest,
    SessionNotification,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, Lines};

/// Without what the types leave out: nulls, empty lists, and what a
/// call is when nothing is said.
fn lean(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(k, v)| (k, lean(v)))
            .filter(|(_, v)| !v.is_null() && *v != json!([]) && *v != "pending" && *v != "other")
            .collect(),
        Value::Array(items) => items.into_iter().map(lean).collect(),
        other => other,
    }
}

fn same_as<T: DeserializeOwned + Serialize>(value: &Value) {
    let typed: T = serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{e}: {value}"));
    let again = serde_json::to_value(typed).unwrap();
    let (again, said) = (lean(again), lean(value.clone()));
    // The types add defaults; nothing that was said may be lost.
    assert!(contains(&again, &said), "said: {said}\nread: {again}");
}

fn contains(all: &Value, some: &Value) -> bool {
    match (all, some) {
        (Value::Object(all), Value::Object(some)) => some
            .iter()
            .all(|(k, v)| all.get(k).is_some_and(|a| contains(a, v))),
        (Value::Array(all), Value::Array(some)) => {
            all.len() == some.len() && all.iter().zip(some).all(|(a, s)| contains(a, s))
        }
        _ => all == some,
    }
}

struct Client {
    input: DuplexStream,
    output: Lines<BufReader<DuplexStream>>,
    last: u64,
    seen: BTreeMap<String, usize>,
}

impl Client {
    async fn send(&mut self, message: Value) {
        let line = format!("{message}\n");
        self.input.write_all(line.as_bytes()).await.unwrap();
    }

    /// Asks, checks what comes, allows what is asked, and gives the answer.
    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let id = self.last;
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
            .await;
        loop {
            let line = self.output.next_line().await.unwrap().unwrap();
            let message: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(message["jsonrpc"], "2.0");
            match message["method"].as_str() {
                Some("session/update") => {
                    same_as::<SessionNotification>(&message["params"]);
                    let kind = message["params"]["update"]["sessionUpdate"]
                        .as_str()
                        .unwrap();
                    *self.seen.entry(kind.to_owned()).or_default() += 1;
                }
                Some("session/request_permission") => {
                    same_as::<RequestPermissionRequest>(&message["params"]);
                    let outcome = json!({"outcome": {"outcome": "selected", "optionId": "once"}});
                    self.send(json!({"jsonrpc": "2.0", "id": message["id"], "result": outcome}))
                        .await;
                }
                Some(other) => panic!("{other}"),
                None if message["id"] == id => return message["result"].clone(),
                None => panic!("{message}"),
            }
        }
    }
}

#[tokio::test]
async fn the_demo_agent_speaks_the_protocol() {
    let dir = tempfile::tempdir().unwrap();
    let (input, stdin) = tokio::io::duplex(64 << 10);
    let (stdout, output) = tokio::io::duplex(64 << 10);
    let agent = tokio::spawn(sessiond_agent::run_demo_agent(stdin, stdout));
    let mut client = Client {
        input,
        output: BufReader::new(output).lines(),
        last: 0,
        seen: BTreeMap::new(),
    };
    let init = client
        .call(
            "initialize",
            json!({"protocolVersion": 1, "clientCapabilities": {}}),
        )
        .await;
    same_as::<InitializeResponse>(&init);
    let opened = client
        .call("session/new", json!({"cwd": dir.path(), "mcpServers": []}))
        .await;
    same_as::<NewSessionResponse>(&opened);
    let id = opened["sessionId"].clone();
    let script = "hello\n/think\n/plan\n/write a.txt one\n/edit a.txt one two\n/run echo hi; exit 3\n\
                  /edit a.txt none x\n/big 100\n/title A name\n/silent-tool\n/help\n/history";
    let prompt = json!([{"type": "text", "text": script}]);
    let mut done = client
        .call("session/prompt", json!({"sessionId": id, "prompt": prompt}))
        .await;
    let usage = done.as_object_mut().unwrap().remove("usage").unwrap();
    assert!(
        usage["outputTokens"].as_u64() > Some(0),
        "not in the types yet"
    );
    same_as::<PromptResponse>(&done);
    assert_eq!(done["stopReason"], "end_turn");
    assert_eq!(
        std::fs::read_to_string(dir.path().join("a.txt")).unwrap(),
        "two"
    );
    client
        .call(
            "session/set_mode",
            json!({"sessionId": id, "modeId": "plan"}),
        )
        .await;
    let kinds: Vec<&str> = client.seen.keys().map(String::as_str).collect();
    assert_eq!(
        kinds,
        [
            "agent_message_chunk",
            "agent_thought_chunk",
            "available_commands_update",
            "current_mode_update",
            "plan",
            "session_info_update",
            "tool_call",
            "tool_call_update",
            "usage_update",
        ]
    );
    drop(client);
    agent.await.unwrap().unwrap();
}
