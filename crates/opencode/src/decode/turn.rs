//! Bodies of `POST /session/{id}/command`, `shell`, `init` and `summarize`.

use serde_json::Value;
use sessiond_engine::{CommandInput, ShellInput, TurnInput, WhenBusy};
use sessiond_model::{MessageId, ModelRef};

use super::prompt::{prompt_model, prompt_part};
use super::{Decoded, Fields, Node};

/// A slash command.
pub(crate) fn command(body: Option<Value>) -> Decoded<CommandInput> {
    let mut f = Node::root(body).object()?;
    let name = f.take("command").string()?;
    let arguments = f.take("arguments").string()?;
    let variant = f.take("variant").optional(Node::string)?;
    let model = f.take("model").optional(|n| named_model(&n))?;
    Ok(CommandInput {
        name,
        arguments,
        parts: f
            .take("parts")
            .optional(|n| n.list("array", prompt_part))?
            .unwrap_or_default(),
        turn: TurnInput {
            message_id: message_id(&mut f)?,
            agent: f.take("agent").optional(Node::string)?,
            model: model.map(|m| ModelRef {
                variant: variant.filter(|v| v != "default"),
                ..m
            }),
            idempotency: None,
        },
    })
}

/// A shell command; refused when the session is busy, as on OpenCode.
pub(crate) fn shell(body: Option<Value>) -> Decoded<ShellInput> {
    let mut f = Node::root(body).object()?;
    Ok(ShellInput {
        command: f.take("command").string()?,
        busy: WhenBusy::Refuse,
        turn: TurnInput {
            agent: Some(f.take("agent").string()?),
            model: f.take("model").optional(prompt_model)?,
            message_id: message_id(&mut f)?,
            idempotency: None,
        },
    })
}

/// What `init` is run with.
pub(crate) fn init(body: Option<Value>) -> Decoded<TurnInput> {
    let mut f = Node::root(body).object()?;
    let id = f.take("modelID").string()?;
    let provider_id = f.take("providerID").string()?;
    Ok(TurnInput {
        message_id: Some(f.take("messageID").id(MessageId::parse)?),
        model: Some(model(provider_id, id)),
        ..TurnInput::default()
    })
}

/// What a summary is written with.
pub(crate) fn summarize(body: Option<Value>) -> Decoded<TurnInput> {
    let mut f = Node::root(body).object()?;
    let provider_id = f.take("providerID").string()?;
    let id = f.take("modelID").string()?;
    // Whether the client decided it by itself: all the same here.
    f.take("auto").optional(Node::boolean)?;
    Ok(TurnInput {
        model: Some(model(provider_id, id)),
        ..TurnInput::default()
    })
}

fn message_id(f: &mut Fields) -> Decoded<Option<MessageId>> {
    f.take("messageID").optional(|n| n.id(MessageId::parse))
}

fn model(provider_id: String, id: String) -> ModelRef {
    ModelRef {
        provider_id,
        id,
        variant: None,
    }
}

/// `provider/model`.
fn named_model(node: &Node) -> Decoded<ModelRef> {
    let split = node
        .value
        .as_ref()
        .and_then(Value::as_str)
        .and_then(|text| {
            let (provider, id) = text.split_once('/')?;
            Some(model(provider.to_owned(), id.to_owned()))
        });
    split.ok_or_else(|| node.expected("a string such as \"provider/model\""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal<T>(decoded: Decoded<T>) -> String {
        match decoded {
            Err(reject) => reject.to_string(),
            Ok(_) => panic!("it was taken"),
        }
    }

    #[test]
    fn refusals_are_those_of_opencode() {
        let missing = |field: &str| format!("Missing key\n  at [\"{field}\"]");
        let body = |value| Some(value);
        assert_eq!(
            refusal(command(body(json!({"command": "hello"})))),
            missing("arguments")
        );
        assert_eq!(
            refusal(shell(body(json!({"command": "x"})))),
            missing("agent")
        );
        assert_eq!(refusal(init(body(json!({})))), missing("modelID"));
        assert_eq!(refusal(summarize(body(json!({})))), missing("providerID"));
        let model = json!({"command": "a", "arguments": "", "model": "b"});
        assert_eq!(
            refusal(command(body(model))),
            "Expected a string such as \"provider/model\" | null, got \"b\"\n  at [\"model\"]"
        );
    }

    #[test]
    fn a_command_of_a_client() {
        let input = command(Some(json!({
            "command": "plan", "arguments": "it", "model": "demo/a/b", "variant": "high",
            "messageID": "msg_1", "agent": "build",
            "parts": [{"type": "file", "mime": "text/plain", "url": "file:///a"}],
        })))
        .unwrap();
        let model = input.turn.model.unwrap();
        assert_eq!(
            (model.provider_id.as_str(), model.id.as_str()),
            ("demo", "a/b")
        );
        assert_eq!(model.variant.as_deref(), Some("high"));
        assert_eq!(input.parts.len(), 1);
        assert!(shell(Some(json!({"command": "x", "agent": "build"}))).is_ok());
    }
}
