//! `/api/*`: the same sessions, seen the other way.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Frame, Stream, World};

mod events;
mod sessions;

fn api(session: &str, rest: &str) -> String {
    format!("/api/session/{session}{rest}")
}

async fn prompt(w: &World, session: &str, text: &str) -> Value {
    let body = json!({"prompt": {"text": text}});
    let answer = w.call("POST", &api(session, "/prompt"), body).await.ok();
    answer["data"].clone()
}

async fn wait(w: &World, session: &str) {
    let answer = w.call("POST", &api(session, "/wait"), json!({})).await;
    answer.refused(204);
}

/// From now on the demo agent asks nobody.
async fn unattended(w: &World, session: &str) {
    let switch = json!({"agent": "auto"});
    let switched = w.call("POST", &api(session, "/agent"), switch).await;
    switched.refused(204);
}

/// The transcript, oldest first.
async fn messages(w: &World, session: &str) -> Vec<Value> {
    let listed = w.get(&api(session, "/message?order=asc")).await.ok();
    listed["data"].as_array().unwrap().clone()
}

/// What a client makes of a session's events.
#[derive(Default)]
struct Fold {
    messages: Vec<Value>,
    numbers: Vec<u64>,
}

impl Fold {
    fn assistant(&mut self, data: &Value) -> &mut Value {
        let id = &data["assistantMessageID"];
        let mut all = self.messages.iter_mut();
        all.rfind(|m| m["id"] == *id).expect("a known answer")
    }

    fn piece(&mut self, data: &Value, key: &str, like: Value) -> &mut Value {
        let id = data[key].clone();
        let message = self.assistant(data);
        let content = message["content"].as_array_mut().unwrap();
        if !content.iter().any(|p| p["id"] == id) {
            content.push(like);
        }
        content.iter_mut().find(|p| p["id"] == id).unwrap()
    }

    fn take(&mut self, event: &Value) {
        let data = &event["data"];
        if let Some(number) = event["durable"]["seq"].as_u64() {
            self.numbers.push(number);
        }
        let name = event["type"].as_str().unwrap();
        match name.trim_start_matches("session.next.") {
            "prompted" => {
                let mut message = json!({"id": data["messageID"], "type": "user"});
                let prompt = data["prompt"].as_object().unwrap().clone();
                message.as_object_mut().unwrap().extend(prompt);
                self.messages.push(message);
            }
            "step.started" => self.messages.push(json!({"id": data["assistantMessageID"],
                "type": "assistant", "agent": data["agent"], "content": []})),
            "step.ended" => {
                let message = self.assistant(data);
                message["finish"] = data["finish"].clone();
                message["tokens"] = data["tokens"].clone();
            }
            "step.failed" => {
                let message = self.assistant(data);
                message["finish"] = "error".into();
                message["error"] = data["error"].clone();
            }
            "text.ended" => {
                let piece = json!({"type": "text", "id": data["textID"]});
                self.piece(data, "textID", piece)["text"] = data["text"].clone();
            }
            "reasoning.ended" => {
                let piece = json!({"type": "reasoning", "id": data["reasoningID"]});
                self.piece(data, "reasoningID", piece)["text"] = data["text"].clone();
            }
            "tool.input.started" => {
                let state = json!({"status": "pending", "input": ""});
                let piece = json!({"type": "tool", "id": data["callID"], "name": data["name"],
                    "state": state});
                self.piece(data, "callID", piece);
            }
            "tool.called" => {
                self.piece(data, "callID", Value::Null)["state"] = json!({"status": "running",
                    "input": data["input"], "structured": {}, "content": []});
            }
            "tool.progress" => {
                let state = &mut self.piece(data, "callID", Value::Null)["state"];
                state["structured"] = data["structured"].clone();
                state["content"] = data["content"].clone();
            }
            "tool.success" => {
                let state = &mut self.piece(data, "callID", Value::Null)["state"];
                state["status"] = "completed".into();
                for key in ["structured", "content", "outputPaths"] {
                    state[key] = data[key].clone();
                }
            }
            "tool.failed" => {
                let state = &mut self.piece(data, "callID", Value::Null)["state"];
                state["status"] = "error".into();
                state["error"] = data["error"].clone();
            }
            "shell.started" => self.messages.push(json!({"id": data["messageID"],
                "type": "shell", "callID": data["callID"], "command": data["command"]})),
            "shell.ended" => {
                let call = &data["callID"];
                let mut all = self.messages.iter_mut();
                let message = all.find(|m| m["callID"] == *call).unwrap();
                message["output"] = data["output"].clone();
            }
            "compaction.ended" => self.messages.push(json!({"id": data["messageID"],
                "type": "compaction", "summary": data["text"], "reason": data["reason"],
                "recent": data["recent"]})),
            _ => {}
        }
    }
}

/// Leaves only what a fold has: times, models and captures are told elsewhere.
fn bare(message: &Value) -> Value {
    let mut message = message.clone();
    let object = message.as_object_mut().unwrap();
    for key in ["time", "model", "cost", "snapshot"] {
        object.remove(key);
    }
    for piece in object
        .get_mut("content")
        .into_iter()
        .flat_map(|c| c.as_array_mut().unwrap())
    {
        let piece = piece.as_object_mut().unwrap();
        piece.remove("time");
        piece.remove("provider");
    }
    message
}

async fn until_step_ended(stream: &mut Stream, times: usize) -> Vec<Frame> {
    let mut all = Vec::new();
    let ends = ["session.next.step.ended", "session.next.step.failed"];
    while all
        .iter()
        .filter(|f: &&Frame| ends.iter().any(|e| f.is(e)))
        .count()
        < times
    {
        all.push(stream.next().await);
    }
    all
}
