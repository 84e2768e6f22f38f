//! What holds for every exchange, also for one that no agent would make. The checks are in
//! [`fold::Stage`]: ids ascend, offsets and deltas make the text, closed parts stay closed,
//! and what the translator holds is what a subscriber has.

use proptest::prelude::*;
use serde_json::{Value, json};
use sessiond_agent::{Outcome, PromptResult, RpcError};
use sessiond_model::{PartBody, ToolState};

use crate::fold::Stage;

#[derive(Clone, Debug)]
enum Act {
    Update(Value),
    Permission(Value),
    Answer(String, bool),
}

/// A value that is what it should be, mostly.
fn odd(usual: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => usual.boxed(),
        1 => Just(Value::Null).boxed(),
        1 => prop_oneof![
            Just(json!(7)), Just(json!([])), Just(json!({})), Just(json!("")), Just(json!([null, {"type": 3}])),
        ].boxed(),
    ]
}

fn call_id() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("write_file__1"), Just("d")].prop_map(str::to_owned)
}

fn words() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-zé\u{1f600} \\n`]{1,12}"]
}

fn chunk() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![
        Just("agent_message_chunk"),
        Just("agent_thought_chunk"),
        Just("user_message_chunk")
    ];
    let id = prop_oneof![Just(Value::Null), Just(json!("m1")), Just(json!("m2"))];
    let content = odd(prop_oneof![
        6 => words().prop_map(|text| json!({"type": "text", "text": text})),
        1 => Just(json!({"type": "image", "mimeType": "image/png", "data": "AAAA"})),
        1 => Just(json!({"type": "resource_link", "uri": "file:///x", "name": "x"})),
    ]);
    (kind, id, content).prop_map(
        |(kind, id, content)| json!({"sessionUpdate": kind, "messageId": id, "content": content}),
    )
}

fn tool_content() -> impl Strategy<Value = Value> {
    let text =
        words().prop_map(|t| json!({"type": "content", "content": {"type": "text", "text": t}}));
    let diff = (words(), words())
        .prop_map(|(a, b)| json!({"type": "diff", "path": "/f", "oldText": a, "newText": b}));
    let item = prop_oneof![
        text,
        diff,
        Just(json!({"type": "terminal", "terminalId": "t"}))
    ];
    prop::collection::vec(item, 0..3).prop_map(Value::from)
}

fn call() -> impl Strategy<Value = Value> {
    let status = odd(prop_oneof![
        Just(json!("pending")),
        Just(json!("in_progress")),
        Just(json!("completed")),
        Just(json!("failed")),
        Just(json!("dreaming")),
    ]);
    let kind = odd(prop_oneof![
        Just(json!("edit")),
        Just(json!("execute")),
        Just(json!("delete"))
    ]);
    let input = odd(prop_oneof![
        Just(json!({})),
        Just(json!({"command": "ls"})),
        Just(json!({"todos": [{"content": "x"}, 3]})),
    ]);
    let output = odd(words().prop_map(|t| json!({"output": t, "metadata": {"exit": 1}})));
    (call_id(), status, kind, input, odd(tool_content()), output, words()).prop_map(
        |(id, status, kind, input, content, output, terminal)| {
            json!({
                "toolCallId": id, "status": status, "kind": kind, "title": "todowrite", "rawInput": input,
                "content": content, "rawOutput": output,
                "_meta": {"terminal_output_delta": {"data": terminal}},
            })
        },
    )
}

fn update() -> impl Strategy<Value = Value> {
    let tool = (call(), any::<bool>(), any::<[bool; 5]>()).prop_map(|(mut call, first, keep)| {
        let fields = ["status", "kind", "rawInput", "content", "rawOutput"];
        for (field, _) in fields.iter().zip(keep).filter(|(_, keep)| !keep) {
            call.as_object_mut().unwrap().remove(*field);
        }
        call["sessionUpdate"] = if first {
            "tool_call"
        } else {
            "tool_call_update"
        }
        .into();
        call
    });
    prop_oneof![
        6 => chunk(),
        6 => tool,
        1 => Just(json!({"sessionUpdate": "plan", "entries": [{"content": "x", "status": "pending"}]})),
        1 => Just(json!({"sessionUpdate": "usage_update", "used": 5, "size": 9, "cost": {"amount": 0.5, "currency": "USD"}})),
        1 => odd(Just(json!({"sessionUpdate": "weather_update", "sky": "blue"}))),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let options = json!([{"optionId": "y", "name": "Yes", "kind": "allow_once"}, 5]);
    prop_oneof![
        8 => update().prop_map(Act::Update),
        1 => odd(call()).prop_map(move |call| Act::Permission(json!({"toolCall": call, "options": options}))),
        1 => (call_id(), any::<bool>()).prop_map(|(id, yes)| Act::Answer(id, yes)),
    ]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let done = |reason: &str| {
        Outcome::Done(PromptResult {
            stop_reason: reason.into(),
            usage: None,
            raw: Value::Null,
        })
    };
    prop_oneof![
        Just(done("end_turn")),
        Just(done("cancelled")),
        Just(Outcome::Cancelled),
        Just(Outcome::Died("gone".into())),
        Just(Outcome::Failed(RpcError {
            code: -32603,
            message: "no".into(),
            data: None
        })),
    ]
}

proptest! {
    #[test]
    fn every_exchange_ends_with_closed_parts_that_add_up(
        acts in prop::collection::vec(act(), 0..40),
        outcome in outcome(),
        late in prop::collection::vec(update(), 0..12),
    ) {
        let mut stage = Stage::new();
        for act in &acts {
            match act {
                Act::Update(update) => stage.update(update),
                Act::Permission(params) => {
                    stage.permission(params);
                }
                Act::Answer(call, allowed) => stage.answered(call, *allowed),
            }
        }
        stage.finish(&outcome);
        for update in &late {
            stage.late(update);
        }
        for part in stage.parts() {
            prop_assert!(!part.body.is_open());
            // What is told can be stored and read again.
            let stored = serde_json::to_string(&part.body).unwrap();
            prop_assert_eq!(&PartBody::from_stored(&stored), &part.body);
            if let PartBody::Tool(tool) = &part.body
                && let ToolState::Completed { time, .. } | ToolState::Error { time, .. } = &tool.state
            {
                prop_assert!(time.end >= Some(time.start));
            }
        }
    }

    /// An update taken apart into one field each says the same as the whole.
    #[test]
    fn merged_updates_say_the_same_as_one(mut whole in call()) {
        whole["_meta"] = Value::Null;
        whole["sessionUpdate"] = "tool_call".into();
        let id = whole["toolCallId"].clone();
        let mut one = Stage::new();
        one.update(&whole);

        let mut many = Stage::new();
        many.update(&json!({"sessionUpdate": "tool_call", "toolCallId": id, "title": whole["title"]}));
        for field in ["kind", "rawInput", "content", "rawOutput", "status"] {
            let mut piece = json!({"sessionUpdate": "tool_call_update", "toolCallId": id});
            piece[field] = whole[field].clone();
            many.update(&piece);
        }
        let plain = |stage: &Stage| {
            let mut tool = serde_json::to_value(&stage.tools()[0]).unwrap();
            tool["state"]["time"] = Value::Null;
            tool
        };
        prop_assert_eq!(plain(&one), plain(&many));
    }
}
