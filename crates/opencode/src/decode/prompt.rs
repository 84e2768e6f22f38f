//! Bodies of `POST /session/{id}/message` and `prompt_async`.

use serde_json::Value;
use sessiond_engine::{PromptInput, PromptPart};
use sessiond_model::{MessageId, ModelRef, PartBody, PartId};

use super::{Decoded, Node, part};

const PROMPT_PARTS: &str = "{ readonly \"type\": \"text\", ... } | { readonly \"type\": \"file\", ... } | { readonly \"type\": \"agent\", ... } | { readonly \"type\": \"subtask\", ... }";

/// A prompt.
pub(crate) fn prompt(body: Option<Value>) -> Decoded<PromptInput> {
    let mut f = Node::root(body).object()?;
    let variant = f.take("variant").optional(Node::string)?;
    Ok(PromptInput {
        message_id: f.take("messageID").optional(|n| n.id(MessageId::parse))?,
        model: f.take("model").optional(prompt_model)?.map(|m| ModelRef {
            variant: variant.filter(|v| v != "default"),
            ..m
        }),
        agent: f.take("agent").optional(Node::string)?,
        no_reply: f
            .take("noReply")
            .optional(Node::boolean)?
            .unwrap_or_default(),
        tools: f.take("tools").optional(|n| {
            n.object()?
                .entries()
                .map(|(tool, on)| Ok((tool, on.boolean()?)))
                .collect()
        })?,
        format: f.take("format").optional(format)?,
        system: f.take("system").optional(Node::string)?,
        parts: f.take("parts").list("array", prompt_part)?,
        idempotency: None,
    })
}

/// `{providerID, modelID}`.
pub(super) fn prompt_model(node: Node) -> Decoded<ModelRef> {
    let mut f = node.object()?;
    Ok(ModelRef {
        provider_id: f.take("providerID").string()?,
        id: f.take("modelID").string()?,
        variant: None,
    })
}

fn format(node: Node) -> Decoded<Value> {
    let known = match &node.value {
        Some(Value::Object(o)) => match o.get("type").and_then(Value::as_str) {
            Some("text") => true,
            Some("json_schema") => o.get("schema").is_some_and(Value::is_object),
            _ => false,
        },
        _ => false,
    };
    match node.value {
        Some(value) if known => Ok(value),
        _ => Err(Node {
            nullable: false,
            ..node
        }
        .expected("OutputFormat")),
    }
}

pub(super) fn prompt_part(node: Node) -> Decoded<PromptPart> {
    if !matches!(node.value, Some(Value::Object(_))) {
        return Err(node.expected(PROMPT_PARTS));
    }
    let mut f = node.object()?;
    if !matches!(f.text("type"), Some("text" | "file" | "agent" | "subtask")) {
        return Err(f.whole().expected(PROMPT_PARTS));
    }
    let id = f.take("id").optional(|n| n.id(PartId::parse))?;
    let mut body = part::body(f)?;
    // Nobody writes on at a prompt: a text without an end would count as open for ever.
    if let PartBody::Text {
        time: Some(time), ..
    } = &mut body
    {
        time.end.get_or_insert(time.start);
    }
    Ok(PromptPart { id, body })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(body: Value) -> String {
        prompt(Some(body)).unwrap_err().to_string()
    }

    #[test]
    fn refusals_are_those_of_opencode() {
        assert_eq!(refusal(json!({})), "Missing key\n  at [\"parts\"]");
        assert_eq!(
            refusal(json!({"parts": "x"})),
            "Expected array, got \"x\"\n  at [\"parts\"]"
        );
        assert_eq!(
            refusal(json!({"parts": [{"type": "nope"}]})),
            "Expected { readonly \"type\": \"text\", ... } | { readonly \"type\": \"file\", ... } | { readonly \"type\": \"agent\", ... } | { readonly \"type\": \"subtask\", ... }, got {\"type\":\"nope\"}\n  at [\"parts\"][0]"
        );
        assert_eq!(
            refusal(json!({"parts": [], "messageID": "custom1"})),
            "Expected a string starting with \"msg\", got \"custom1\"\n  at [\"messageID\"]"
        );
        assert_eq!(
            refusal(json!({"parts": [{"id": "x", "type": "text", "text": "a"}]})),
            "Expected a string starting with \"prt\", got \"x\"\n  at [\"parts\"][0][\"id\"]"
        );
        assert_eq!(
            refusal(json!({"parts": [{"type": "file", "url": "x"}]})),
            "Missing key\n  at [\"parts\"][0][\"mime\"]"
        );
        assert_eq!(
            refusal(json!({"parts": [], "noReply": "x"})),
            "Expected boolean | null, got \"x\"\n  at [\"noReply\"]"
        );
        assert_eq!(
            refusal(json!({"parts": [], "tools": {"a": 1}})),
            "Expected boolean, got 1\n  at [\"tools\"][\"a\"]"
        );
        assert_eq!(
            refusal(json!({"parts": [], "model": {"providerID": "x"}})),
            "Missing key\n  at [\"model\"][\"modelID\"]"
        );
        assert_eq!(
            refusal(json!({"parts": [], "format": {"type": "zz"}})),
            "Expected OutputFormat, got {\"type\":\"zz\"}\n  at [\"format\"]"
        );
    }

    #[test]
    fn a_prompt_of_the_web_client() {
        let input = prompt(Some(json!({
            "messageID": "msg_abc",
            "agent": "build",
            "model": {"providerID": "demo", "modelID": "default"},
            "variant": "high",
            "parts": [{"id": "prt_abc", "type": "text", "text": "hi", "time": {"start": 5}}],
        })))
        .unwrap();
        assert_eq!(input.message_id.unwrap().as_str(), "msg_abc");
        assert_eq!(input.model.unwrap().variant.as_deref(), Some("high"));
        assert_eq!(input.parts[0].id.as_ref().unwrap().as_str(), "prt_abc");
        assert!(!input.parts[0].body.is_open());
        assert!(!input.no_reply);
    }
}
