//! OpenAI chat completions.

use serde_json::{Value, json};

use super::super::conversation::{Conversation, Item};
use super::super::script::Block;
use super::{Encoder, Ids, frame, halves, text_of};

pub(super) fn read(body: &Value) -> Conversation {
    let mut conversation = Conversation::default();
    for message in body["messages"].as_array().into_iter().flatten() {
        match message["role"].as_str() {
            Some("user") => conversation
                .items
                .push(Item::User(text_of(&message["content"]))),
            Some("assistant") => {
                if message["tool_calls"]
                    .as_array()
                    .is_some_and(|c| !c.is_empty())
                {
                    conversation.items.push(Item::ToolRound);
                }
                conversation
                    .items
                    .push(Item::Assistant(text_of(&message["content"])));
            }
            _ => {}
        }
    }
    for tool in body["tools"].as_array().into_iter().flatten() {
        let function = &tool["function"];
        if let Some(name) = function["name"].as_str() {
            conversation
                .offer
                .function(name, function.get("parameters"), None);
        }
    }
    conversation
}

pub(super) struct Stream {
    id: String,
    model: String,
    ids: Ids,
    text: String,
    calls: Vec<Value>,
}

impl Stream {
    pub(super) fn new(model: String, ids: Ids) -> Self {
        Self {
            id: ids.make("chatcmpl-"),
            model,
            ids,
            text: String::new(),
            calls: Vec::new(),
        }
    }

    fn chunk(&self, delta: &Value, finish: Option<&str>) -> String {
        frame(
            None,
            &json!({"id": self.id, "object": "chat.completion.chunk", "created": 1_700_000_000,
                "model": self.model,
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}),
        )
    }

    fn finish(&self) -> &'static str {
        if self.calls.is_empty() {
            "stop"
        } else {
            "tool_calls"
        }
    }

    fn usage() -> Value {
        json!({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120})
    }
}

impl Encoder for Stream {
    fn begin(&mut self) -> String {
        self.chunk(&json!({"role": "assistant", "content": ""}), None)
    }

    fn block(&mut self, block: &Block) -> String {
        match block {
            Block::Text(text) => {
                self.text += text;
                self.chunk(&json!({"content": text}), None)
            }
            Block::Think(text) => self.chunk(&json!({"reasoning_content": text}), None),
            Block::Call(call) => {
                let index = self.calls.len();
                let id = self.ids.make("call_");
                let args = call.args.to_json();
                let [head, tail] = halves(&args);
                self.calls.push(json!({"id": id, "type": "function",
                    "function": {"name": call.tool, "arguments": args}}));
                let first = json!({"tool_calls": [{"index": index, "id": id, "type": "function",
                    "function": {"name": call.tool, "arguments": head}}]});
                let second =
                    json!({"tool_calls": [{"index": index, "function": {"arguments": tail}}]});
                self.chunk(&first, None) + &self.chunk(&second, None)
            }
            Block::Pause(_) | Block::Cut => String::new(),
        }
    }

    fn end(&mut self) -> String {
        let mut out = self.chunk(&json!({}), Some(self.finish()));
        out += &frame(
            None,
            &json!({"id": self.id, "object": "chat.completion.chunk", "created": 1_700_000_000,
                "model": self.model, "choices": [], "usage": Self::usage()}),
        );
        out + "data: [DONE]\n\n"
    }

    fn whole(&self) -> Value {
        let mut message = json!({"role": "assistant", "content": self.text});
        if !self.calls.is_empty() {
            message["tool_calls"] = json!(self.calls);
        }
        json!({"id": self.id, "object": "chat.completion", "created": 1_700_000_000,
            "model": self.model, "usage": Self::usage(),
            "choices": [{"index": 0, "message": message, "finish_reason": self.finish()}]})
    }
}
