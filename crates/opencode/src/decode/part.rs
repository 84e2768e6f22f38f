//! Parts as clients send them: whole ones in `PATCH …/part/{id}`, bodies in prompts.

use serde_json::Value;
use sessiond_model::{
    MessageId, Part, PartBody, PartId, PartTime, SessionId, Tokens, ToolPart, ToolState, ToolTime,
};

use super::{Decoded, Fields, Kind, Node, Reject};

/// Largest cost and token count of one step.
const MAX_COUNT: u64 = 1_000_000_000_000;

/// A whole part.
pub(crate) fn part(body: Option<Value>) -> Decoded<Part> {
    part_at(Node::root(body))
}

/// The same, within a body.
pub(super) fn part_at(node: Node) -> Decoded<Part> {
    if !matches!(node.value, Some(Value::Object(_))) {
        return Err(node.expected("Part"));
    }
    let mut f = node.object()?;
    if f.text("type").is_none() {
        return Err(f.whole().expected("Part"));
    }
    Ok(Part {
        id: f.take("id").id(PartId::parse)?,
        session_id: f.take("sessionID").id(SessionId::parse)?,
        message_id: f.take("messageID").id(MessageId::parse)?,
        body: body(f)?,
    })
}

/// What a part says, by its `type`.
pub(super) fn body(mut f: Fields) -> Decoded<PartBody> {
    match f.text("type").unwrap_or_default() {
        "text" => Ok(PartBody::Text {
            text: f.take("text").string()?,
            synthetic: f.take("synthetic").optional(Node::boolean)?,
            ignored: f.take("ignored").optional(Node::boolean)?,
            time: f.take("time").optional(part_time)?,
            metadata: f.take("metadata").optional(|n| n.map("object"))?,
        }),
        "reasoning" => Ok(PartBody::Reasoning {
            text: f.take("text").string()?,
            time: part_time(f.take("time"))?,
            metadata: f.take("metadata").optional(|n| n.map("object"))?,
        }),
        "file" => Ok(PartBody::File {
            mime: f.take("mime").string()?,
            filename: f.take("filename").optional(Node::string)?,
            url: f.take("url").string()?,
            source: f.take("source").optional(object)?,
        }),
        "agent" => Ok(PartBody::Agent {
            name: f.take("name").string()?,
            source: f.take("source").optional(object)?,
        }),
        "subtask" => Ok(PartBody::Subtask {
            prompt: f.take("prompt").string()?,
            description: f.take("description").string()?,
            agent: f.take("agent").string()?,
            model: f.take("model").optional(object)?,
            command: f.take("command").optional(Node::string)?,
        }),
        "tool" => Ok(PartBody::Tool(Box::new(ToolPart {
            call_id: f.take("callID").string()?,
            tool: f.take("tool").string()?,
            state: tool_state(f.take("state"))?,
            metadata: f.take("metadata").optional(|n| n.map("object"))?,
        }))),
        "step-start" | "step-finish" | "snapshot" | "patch" | "retry" | "compaction" => plain(f),
        _ => Err(f.whole().expected("Part")),
    }
}

/// Kinds that only programs write: the model's own reader is exact enough, and its message
/// names the field.
fn plain(f: Fields) -> Decoded<PartBody> {
    let place = f.place;
    let refuse = |reason: String| Reject {
        kind: Kind::Payload,
        reason,
        place,
    };
    match serde_json::from_value(Value::Object(f.map)) {
        Ok(PartBody::StepFinish { cost, tokens, .. }) if !countable(cost, &tokens) => Err(refuse(
            format!("Expected cost and tokens up to {MAX_COUNT}"),
        )),
        Ok(body) => Ok(body),
        Err(e) => Err(refuse(format!("Expected Part: {e}"))),
    }
}

/// Whether many such counts can still be added up.
fn countable(cost: f64, t: &Tokens) -> bool {
    let counts = [t.input, t.output, t.reasoning, t.cache.read, t.cache.write];
    cost.abs() <= MAX_COUNT as f64
        && counts
            .iter()
            .chain(&t.total)
            .all(|count| *count <= MAX_COUNT)
}

fn object(node: Node) -> Decoded<Value> {
    node.map("object").map(Value::Object)
}

fn part_time(node: Node) -> Decoded<PartTime> {
    let mut f = node.object()?;
    Ok(PartTime {
        start: f.take("start").time()?,
        end: f.take("end").optional(Node::time)?,
    })
}

fn tool_time(node: Node) -> Decoded<ToolTime> {
    let mut f = node.object()?;
    Ok(ToolTime {
        start: f.take("start").time()?,
        end: f.take("end").optional(Node::time)?,
        compacted: f.take("compacted").optional(Node::time)?,
    })
}

fn tool_state(node: Node) -> Decoded<ToolState> {
    let mut f = node.object()?;
    let status = f.text("status").unwrap_or_default().to_owned();
    let input = |f: &mut Fields| f.take("input").map("object");
    match status.as_str() {
        "pending" => Ok(ToolState::Pending {
            input: input(&mut f)?,
            raw: f.take("raw").string()?,
        }),
        "running" => Ok(ToolState::Running {
            input: input(&mut f)?,
            title: f.take("title").optional(Node::string)?,
            metadata: f.take("metadata").optional(|n| n.map("object"))?,
            time: tool_time(f.take("time"))?,
        }),
        "completed" => Ok(ToolState::Completed {
            input: input(&mut f)?,
            output: f.take("output").string()?,
            title: f.take("title").string()?,
            metadata: f.take("metadata").map("object")?,
            time: tool_time(f.take("time"))?,
            attachments: f
                .take("attachments")
                .optional(|n| n.list("array", object))?,
        }),
        "error" => Ok(ToolState::Error {
            input: input(&mut f)?,
            error: f.take("error").string()?,
            metadata: f.take("metadata").optional(|n| n.map("object"))?,
            time: tool_time(f.take("time"))?,
        }),
        _ => Err(f.whole().expected("ToolState")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with_ids(mut body: Value) -> Value {
        body["id"] = "prt_1".into();
        body["sessionID"] = "ses_1".into();
        body["messageID"] = "msg_1".into();
        body
    }

    #[test]
    fn every_kind_is_read_as_it_was_written() {
        for body in [
            json!({"type": "text", "text": "a", "time": {"start": 1, "end": 2}}),
            json!({"type": "reasoning", "text": "a", "time": {"start": 1}}),
            json!({"type": "file", "mime": "text/plain", "url": "data:,x", "filename": "x"}),
            json!({"type": "agent", "name": "plan"}),
            json!({"type": "subtask", "prompt": "p", "description": "d", "agent": "a"}),
            json!({"type": "tool", "callID": "c", "tool": "bash",
                "state": {"status": "completed", "input": {"command": "ls"}, "output": "o",
                    "title": "t", "metadata": {"exit": 0}, "time": {"start": 1, "end": 2}}}),
            json!({"type": "step-start", "snapshot": "abc"}),
            json!({"type": "step-finish", "reason": "stop", "cost": 0.5,
                "tokens": {"input": 1, "output": 2, "reasoning": 0, "cache": {"read": 0, "write": 0}}}),
            json!({"type": "patch", "hash": "h", "files": ["/a"]}),
            json!({"type": "compaction", "auto": true}),
        ] {
            let whole = with_ids(body);
            let read = part(Some(whole.clone())).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), whole);
        }
    }

    #[test]
    fn refusals_are_those_of_opencode() {
        let refusal = |body| part(Some(with_ids(body))).unwrap_err().to_string();
        assert_eq!(
            refusal(json!({"type": "text", "text": 5})),
            "Expected string, got 5\n  at [\"text\"]"
        );
        assert_eq!(
            refusal(json!({"type": "tool", "callID": "c"})),
            "Missing key\n  at [\"tool\"]"
        );
        assert_eq!(
            refusal(json!({"type": "tool", "callID": "c", "tool": "x",
                "state": {"status": "running", "input": {}}})),
            "Missing key\n  at [\"state\"][\"time\"]"
        );
        assert!(refusal(json!({"type": "patch", "hash": "h"})).contains("`files`"));
        let step = |cost: f64, input: u64| {
            refusal(
                json!({"type": "step-finish", "reason": "stop", "cost": cost, "tokens":
                {"input": input, "output": 2, "reasoning": 0, "cache": {"read": 0, "write": 0}}}),
            )
        };
        assert!(
            step(1e308, 1).starts_with("Expected cost"),
            "sums must stay finite"
        );
        assert!(step(1.0, u64::MAX).starts_with("Expected cost"));
        assert_eq!(
            part(Some(json!({}))).unwrap_err().to_string(),
            "Expected Part, got {}"
        );
        assert!(
            refusal(json!({"type": "x-opaque", "raw": "{}"})).starts_with("Expected Part, got"),
            "clients can't write opaque parts"
        );
    }
}
