//! Translation of what real agents said. The fixtures are cut down from recorded exchanges:
//! per line what arrived, or what was answered.

use std::path::Path;

use insta::{assert_snapshot, glob};
use serde_json::Value;
use sessiond_agent::{Outcome, PromptResult, RpcError, choose_option, translate::Effect, verdict};
use sessiond_model::{PartBody, PermissionReply, ToolState};

use crate::fold::{self, Stage};

fn lines(path: &Path) -> Vec<Value> {
    std::fs::read_to_string(path)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn result(raw: &Value) -> PromptResult {
    // As the host reads it: token counts by the names of the protocol.
    let count = &raw["usage"];
    let usage = count["inputTokens"]
        .as_u64()
        .map(|input| sessiond_model::Tokens {
            total: count["totalTokens"].as_u64(),
            input,
            output: count["outputTokens"].as_u64().unwrap_or(0),
            ..Default::default()
        });
    PromptResult {
        stop_reason: raw["stopReason"].as_str().unwrap().to_owned(),
        usage,
        raw: raw.clone(),
    }
}

/// Plays a fixture and tells, turn by turn, what became of it.
fn play(fixture: &[Value]) -> String {
    let mut told = String::new();
    let mut stage: Option<Stage> = None;
    let mut asks = Vec::new();
    for line in fixture {
        let (kind, value) = line.as_object().unwrap().iter().next().unwrap();
        if kind == "turn" {
            if let Some(done) = stage.take() {
                told.push_str(&done.report());
            }
            told.push_str(&format!("# {}\n", value.as_str().unwrap()));
            stage = Some(Stage::new());
            continue;
        }
        let stage = stage.as_mut().unwrap();
        match kind.as_str() {
            "update" => stage.update(value),
            "late" => stage.late(value),
            "ask" => {
                let ask = stage.permission(value);
                told.push_str(&format!(
                    "  ask {} {:?} always {:?} about {}\n",
                    ask.permission,
                    ask.patterns,
                    ask.always,
                    ask.metadata.keys().cloned().collect::<Vec<_>>().join(" "),
                ));
                asks.push(ask);
            }
            "reply" => {
                let ask = asks.pop().unwrap();
                let reply = match value.as_str().unwrap() {
                    "once" => PermissionReply::Once,
                    "always" => PermissionReply::Always,
                    "reject" => PermissionReply::Reject,
                    // The turn is being cancelled: nobody answered.
                    _ => continue,
                };
                let answer = choose_option(&ask.options, reply);
                told.push_str(&format!("  answer {answer:?}\n"));
                stage.answered(
                    line["call"].as_str().unwrap(),
                    reply != PermissionReply::Reject,
                );
            }
            "done" => told.push_str(&stage.finish(&Outcome::Done(result(value)))),
            "failed" => {
                let error: RpcError = serde_json::from_value(value.clone()).unwrap();
                told.push_str(&stage.finish(&Outcome::Failed(error)));
            }
            "died" => told.push_str(&stage.finish(&Outcome::Died("killed".into()))),
            "cancel" => told.push_str("  cancel\n"),
            other => panic!("{other}"),
        }
    }
    if let Some(done) = stage {
        told.push_str(&done.report());
    }
    told
}

#[test]
fn recorded_turns_of_real_agents() {
    glob!("fixtures/*.jsonl", |path| {
        assert_snapshot!(play(&lines(path)));
    });
}

fn update(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn text_chunk(text: &str) -> Value {
    serde_json::json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}})
}

#[test]
fn gemini_asks_before_it_says_anything_of_a_tool_and_nothing_after_a_refusal() {
    let mut stage = Stage::new();
    stage.update(&text_chunk("I will write."));
    let ask = stage.permission(&update(
        r#"{"sessionId":"s","options":[{"optionId":"proceed_once","name":"Allow","kind":"allow_once"},
            {"optionId":"cancel","name":"Reject","kind":"reject_once"}],
            "toolCall":{"toolCallId":"write_file__17_0","status":"pending","title":"Writing to a.txt","kind":"edit",
            "content":[{"type":"diff","path":"/p/a.txt","oldText":"","newText":"one\n"}],"locations":[{"path":"/p/a.txt"}]}}"#,
    ));
    assert_eq!(ask.permission, "edit");
    assert_eq!(ask.patterns, ["/p/a.txt"]);
    assert_eq!(
        ask.always,
        Vec::<String>::new(),
        "there is no option for it"
    );
    let tool = stage.tool("write_file__17_0");
    assert_eq!(tool.tool, "write_file");
    assert!(matches!(tool.state, ToolState::Running { .. }));
    stage.answered("write_file__17_0", false);
    let tool = stage.tool("write_file__17_0");
    let ToolState::Error { error, .. } = tool.state else {
        panic!("{tool:?}")
    };
    assert_eq!(error, "The permission for this was refused");
    stage.update(&text_chunk("I do something else."));
    stage.finish(&Outcome::Done(result(&update(
        r#"{"stopReason":"end_turn"}"#,
    ))));
    assert_eq!(
        stage.translator.text(),
        "I will write.\n\nI do something else."
    );
    assert_eq!(stage.translator.touched_files(), []);
}

#[test]
fn a_call_of_an_earlier_turn_makes_no_part_of_this_one() {
    let mut stage = Stage::new();
    stage.update(&update(
        r#"{"sessionUpdate":"tool_call_update","toolCallId":"old","name":"exec_command","status":"completed",
            "_meta":{"terminal_output_delta":{"data":"tick-9\n","terminal_id":"old"}}}"#,
    ));
    stage.finish(&Outcome::Cancelled);
    assert!(stage.tools().is_empty());
}

#[test]
fn codex_may_end_a_tool_after_the_turn() {
    let mut stage = Stage::new();
    stage.update(&update(
        r#"{"sessionUpdate":"tool_call","toolCallId":"c","kind":"execute","title":"ls","status":"in_progress",
            "rawInput":{"command":"ls"},"content":[{"type":"terminal","terminalId":"c"}]}"#,
    ));
    assert_eq!(
        stage.tool("c").tool,
        "execute",
        "a command of one word is no name"
    );
    stage.finish(&Outcome::Done(result(&update(
        r#"{"stopReason":"cancelled"}"#,
    ))));
    let ToolState::Error {
        error, metadata, ..
    } = stage.tool("c").state
    else {
        panic!()
    };
    assert_eq!(error, "Tool execution aborted");
    assert_eq!(metadata.unwrap()["interrupted"], true);
    stage.late(&update(
        r#"{"sessionUpdate":"tool_call_update","toolCallId":"c","status":"in_progress"}"#,
    ));
    assert!(!fold::is_open(&stage.tool("c")), "it is not opened again");
    stage.late(&update(
        r#"{"sessionUpdate":"tool_call_update","toolCallId":"c","name":"exec_command","status":"completed",
            "_meta":{"terminal_output_delta":{"data":"a\nb\n"},"terminal_exit":{"exit_code":0}}}"#,
    ));
    let ToolState::Completed {
        output, metadata, ..
    } = stage.tool("c").state
    else {
        panic!()
    };
    assert_eq!(output, "a\nb\n");
    assert_eq!(metadata["exit"], 0);
    stage.late(&text_chunk("too late"));
    assert_eq!(stage.translator.text(), "");
}

#[test]
fn growing_output_is_marked_as_such() {
    let mut stage = Stage::new();
    stage.update(&update(
        r#"{"sessionUpdate":"tool_call","toolCallId":"c","title":"bash","kind":"execute","status":"in_progress","rawInput":{"command":"x"}}"#,
    ));
    for text in ["1\n", "1\n2\n"] {
        let grown = serde_json::json!({
            "sessionUpdate": "tool_call_update", "toolCallId": "c", "status": "in_progress",
            "content": [{"type": "content", "content": {"type": "text", "text": text}}],
        });
        assert!(matches!(
            stage.effects_of(&grown).as_slice(),
            [Effect::PartGrew(_)]
        ));
        assert!(
            stage.effects_of(&grown).is_empty(),
            "said twice is said once"
        );
    }
    let [part] = stage.translator.open_parts().try_into().unwrap();
    let PartBody::Tool(tool) = part.body else {
        panic!()
    };
    let ToolState::Running { metadata, .. } = tool.state else {
        panic!()
    };
    assert_eq!(metadata.unwrap()["output"], "1\n2\n");
}

fn judged(outcome: &Outcome, updates: &[Value]) -> (String, String) {
    let mut stage = Stage::new();
    for update in updates {
        stage.update(update);
    }
    let verdict = verdict(outcome, &stage.translator);
    stage.finish(outcome);
    let error = verdict.error.map(|e| serde_json::to_string(&e).unwrap());
    (format!("{:?}", verdict.end), error.unwrap_or_default())
}

fn done(raw: &str) -> Outcome {
    Outcome::Done(result(&update(raw)))
}

fn failed(code: i64, message: &str, data: &str) -> Outcome {
    Outcome::Failed(RpcError {
        code,
        message: message.into(),
        data: serde_json::from_str(data).ok(),
    })
}

#[test]
fn verdicts() {
    let mut named = text_chunk("Hello");
    named["messageId"] = "m".into();
    let plain = text_chunk("We're currently experiencing high demand");
    let nothing = r#"{"stopReason":"end_turn"}"#;
    let uncounted = r#"{"stopReason":"end_turn","usage":null}"#;
    let json = text_chunk(
        "{\"type\": \"error\", \"error\": {\"code\": 400, \"message\": \"scripted 400\"}}\n\n",
    );
    let cases = [
        ("the error as JSON (Codex)", done(uncounted), vec![json]),
        ("answered", done(nothing), vec![named.clone()]),
        (
            "answered without ids (Gemini)",
            done(nothing),
            vec![plain.clone()],
        ),
        ("nothing said (Pi on HTTP 400)", done(nothing), vec![]),
        (
            "only an error said (Codex on HTTP 400)",
            done(uncounted),
            vec![plain.clone()],
        ),
        (
            "an answer, then a warning",
            done(uncounted),
            vec![named.clone(), plain],
        ),
        (
            "length",
            done(r#"{"stopReason":"max_tokens"}"#),
            vec![named.clone()],
        ),
        ("refusal", done(r#"{"stopReason":"refusal"}"#), vec![]),
        (
            "a stop reason of the future",
            done(r#"{"stopReason":"tired"}"#),
            vec![named],
        ),
        ("cancelled", done(r#"{"stopReason":"cancelled"}"#), vec![]),
        ("ended by force", Outcome::Cancelled, vec![]),
        (
            "died",
            Outcome::Died("the agent exited with code 1".into()),
            vec![],
        ),
        (
            "no log-in",
            failed(-32000, "Authentication required", ""),
            vec![],
        ),
        (
            "OpenCode on HTTP 400",
            failed(
                -32603,
                "Internal error: scripted 400",
                r#"{"errorName":"APIError"}"#,
            ),
            vec![],
        ),
        (
            "Zed's Codex",
            failed(-32603, "Internal error", r#"{"message":"scripted 400"}"#),
            vec![],
        ),
        (
            "Qwen",
            failed(-32603, "Internal error", r#"{"details":"scripted 400"}"#),
            vec![],
        ),
        (
            "Gemini on HTTP 429",
            failed(429, r#"{"error":{"message":"slow down","status":"X"}}"#, ""),
            vec![],
        ),
        ("Gemini on HTTP 401", failed(401, "bad key", ""), vec![]),
        (
            "a wrong parameter",
            failed(-32602, "session not found", ""),
            vec![],
        ),
    ];
    let mut told = String::new();
    for (name, outcome, updates) in cases {
        let (end, error) = judged(&outcome, &updates);
        told.push_str(&format!("{name}:\n  {end}\n  {error}\n"));
    }
    assert_snapshot!(told);
}

#[test]
fn todo_tools_replace_the_list_when_no_plan_is_sent() {
    // As OpenCode's, Claude's, Qwen's and Gemini's tools carry it.
    for (name, key) in [
        ("todowrite", "content"),
        ("TodoWrite", "content"),
        ("todo_write", "content"),
        ("write_todos", "description"),
    ] {
        let mut stage = Stage::new();
        let call = |status: &str, state: &str| {
            serde_json::json!({
                "sessionUpdate": "tool_call", "toolCallId": "c1", "name": name, "title": name,
                "kind": "other", "status": status,
                "rawInput": {"todos": [{key: "read the code", "status": state}]},
            })
        };
        let todos = |effects: Vec<Effect>| {
            effects.into_iter().find_map(|e| match e {
                Effect::Todos(todos) => Some(todos),
                _ => None,
            })
        };
        let list = todos(stage.effects_of(&call("pending", "in_progress"))).unwrap();
        assert_eq!(list[0].content, "read the code", "{name}");
        assert_eq!(list[0].status, "in_progress");
        // The same list again is no news.
        assert_eq!(
            todos(stage.effects_of(&call("in_progress", "in_progress"))),
            None
        );
        let list = todos(stage.effects_of(&call("completed", "completed"))).unwrap();
        assert_eq!(list[0].status, "completed");
    }
    // Any other tool with such an input is just a tool.
    let mut stage = Stage::new();
    let effects = stage.effects_of(&serde_json::json!({
        "sessionUpdate": "tool_call", "toolCallId": "c1", "name": "bash", "title": "bash",
        "kind": "execute", "status": "pending", "rawInput": {"todos": [{"content": "x"}]},
    }));
    let listed = effects.iter().any(|e| matches!(e, Effect::Todos(_)));
    assert!(!listed);
}
