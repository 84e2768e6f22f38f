//! Anthropic Messages.

use serde_json::{Value, json};

use super::super::conversation::{Conversation, Item};
use super::super::script::Block;
use super::{Encoder, Ids, frame, halves, text_of};

pub(super) fn read(body: &Value) -> Conversation {
    let mut conversation = Conversation::default();
    for message in body["messages"].as_array().into_iter().flatten() {
        let content = &message["content"];
        if message["role"] == "user" {
            conversation.items.push(Item::User(text_of(content)));
            continue;
        }
        let called = content
            .as_array()
            .is_some_and(|c| c.iter().any(|b| b["type"] == "tool_use"));
        if called {
            conversation.items.push(Item::ToolRound);
        }
        conversation.items.push(Item::Assistant(text_of(content)));
    }
    for tool in body["tools"].as_array().into_iter().flatten() {
        if let Some(name) = tool["name"].as_str() {
            conversation
                .offer
                .function(name, tool.get("input_schema"), None);
        }
    }
    conversation
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Open {
    Text,
    Thinking,
    ToolUse,
}

pub(super) struct Stream {
    id: String,
    model: String,
    ids: Ids,
    open: Option<Open>,
    /// The finished content; the last one may still be open.
    content: Vec<Value>,
    stop: &'static str,
}

impl Stream {
    pub(super) fn new(model: String, ids: Ids) -> Self {
        Self {
            id: ids.make("msg_"),
            model,
            ids,
            open: None,
            content: Vec::new(),
            stop: "end_turn",
        }
    }

    fn event(value: &Value) -> String {
        frame(value["type"].as_str(), value)
    }

    fn index(&self) -> usize {
        self.content.len().saturating_sub(1)
    }

    fn close(&mut self) -> String {
        let Some(open) = self.open.take() else {
            return String::new();
        };
        let index = self.index();
        let mut out = String::new();
        if open == Open::Thinking {
            out += &Self::event(&json!({"type": "content_block_delta", "index": index,
                "delta": {"type": "signature_delta", "signature": "c2lnbmVk"}}));
        }
        out + &Self::event(&json!({"type": "content_block_stop", "index": index}))
    }

    fn open(&mut self, kind: Open, block: &Value) -> String {
        let mut out = self.close();
        self.open = Some(kind);
        self.content.push(block.clone());
        out += &Self::event(
            &json!({"type": "content_block_start", "index": self.index(),
            "content_block": block}),
        );
        out
    }

    fn delta(&self, delta: &Value) -> String {
        Self::event(&json!({"type": "content_block_delta", "index": self.index(), "delta": delta}))
    }

    fn append(&mut self, field: &str, text: &str) {
        if let Some(last) = self.content.last_mut() {
            let so_far = last[field].as_str().unwrap_or_default();
            last[field] = Value::String(so_far.to_owned() + text);
        }
    }
}

impl Encoder for Stream {
    fn begin(&mut self) -> String {
        Self::event(&json!({"type": "message_start", "message": {
            "id": self.id, "type": "message", "role": "assistant", "model": self.model,
            "content": [], "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": 100, "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0, "output_tokens": 1}}}))
    }

    fn block(&mut self, block: &Block) -> String {
        match block {
            Block::Text(text) => {
                let mut out = String::new();
                if self.open != Some(Open::Text) {
                    out = self.open(Open::Text, &json!({"type": "text", "text": ""}));
                }
                self.append("text", text);
                out + &self.delta(&json!({"type": "text_delta", "text": text}))
            }
            Block::Think(text) => {
                let mut out = String::new();
                if self.open != Some(Open::Thinking) {
                    let block = json!({"type": "thinking", "thinking": "", "signature": ""});
                    out = self.open(Open::Thinking, &block);
                }
                self.append("thinking", text);
                out + &self.delta(&json!({"type": "thinking_delta", "thinking": text}))
            }
            Block::Call(call) => {
                self.stop = "tool_use";
                let id = self.ids.make("toolu_");
                let block = json!({"type": "tool_use", "id": id, "name": call.tool, "input": {}});
                let mut out = self.open(Open::ToolUse, &block);
                for half in halves(&call.args.to_json()) {
                    out += &self.delta(&json!({"type": "input_json_delta", "partial_json": half}));
                }
                if let Some(last) = self.content.last_mut() {
                    last["input"] = call.args.to_value();
                }
                out
            }
            Block::Pause(_) | Block::Cut => String::new(),
        }
    }

    fn end(&mut self) -> String {
        let mut out = self.close();
        out += &Self::event(&json!({"type": "message_delta",
            "delta": {"stop_reason": self.stop, "stop_sequence": null},
            "usage": {"output_tokens": 20}}));
        out + &Self::event(&json!({"type": "message_stop"}))
    }

    fn whole(&self) -> Value {
        json!({"id": self.id, "type": "message", "role": "assistant", "model": self.model,
            "content": self.content, "stop_reason": self.stop, "stop_sequence": null,
            "usage": {"input_tokens": 100, "output_tokens": 20}})
    }
}
