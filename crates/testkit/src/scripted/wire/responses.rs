//! OpenAI Responses.

use serde_json::{Value, json};

use super::super::conversation::{Conversation, Item};
use super::super::script::Block;
use super::super::tools::{Args, Offer, ToolKind};
use super::{Encoder, Ids, frame, text_of};

pub(super) fn read(body: &Value) -> Conversation {
    let mut conversation = Conversation::default();
    if let Some(text) = body["input"].as_str() {
        conversation.items.push(Item::User(text.to_owned()));
    }
    for item in body["input"].as_array().into_iter().flatten() {
        match item["type"].as_str().unwrap_or("message") {
            "message" => {
                let text = text_of(&item["content"]);
                conversation.items.push(match item["role"].as_str() {
                    Some("user") => Item::User(text),
                    Some("assistant") => Item::Assistant(text),
                    _ => continue,
                });
            }
            "function_call" | "custom_tool_call" | "local_shell_call" => {
                conversation.items.push(Item::ToolRound);
            }
            _ => {}
        }
    }
    for tool in body["tools"].as_array().into_iter().flatten() {
        offer(&mut conversation.offer, tool, None);
    }
    conversation
}

fn offer(offer_: &mut Offer, tool: &Value, namespace: Option<&str>) {
    let kind = tool["type"].as_str().unwrap_or("function");
    let name = tool["name"].as_str().unwrap_or(kind);
    match kind {
        "custom" => offer_.custom(name),
        "namespace" => {
            for inner in tool["tools"].as_array().into_iter().flatten() {
                offer(offer_, inner, tool["name"].as_str());
            }
        }
        _ => offer_.function(name, tool.get("parameters"), namespace),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Open {
    Message,
    Reasoning,
}

pub(super) struct Stream {
    response: Value,
    ids: Ids,
    offer: Offer,
    sequence: u64,
    open: Option<(Open, String)>,
    text: String,
    output: Vec<Value>,
}

impl Stream {
    pub(super) fn new(model: &str, ids: Ids, offer: Offer) -> Self {
        Self {
            response: json!({"id": ids.make("resp_"), "object": "response",
                "created_at": 1_700_000_000, "model": model, "status": "in_progress",
                "output": [], "usage": null}),
            ids,
            offer,
            sequence: 0,
            open: None,
            text: String::new(),
            output: Vec::new(),
        }
    }

    fn event(&mut self, kind: &str, mut value: Value) -> String {
        value["type"] = json!(kind);
        value["sequence_number"] = json!(self.sequence);
        self.sequence += 1;
        frame(Some(kind), &value)
    }

    fn at(&self) -> usize {
        self.output.len()
    }

    fn close(&mut self) -> String {
        let Some((open, id)) = self.open.take() else {
            return String::new();
        };
        let (at, text) = (self.at(), std::mem::take(&mut self.text));
        let mut out = String::new();
        let item = match open {
            Open::Message => {
                let part = json!({"type": "output_text", "text": text, "annotations": []});
                out += &self.event(
                    "response.output_text.done",
                    json!({"item_id": id, "output_index": at, "content_index": 0, "text": text}),
                );
                out += &self.event(
                    "response.content_part.done",
                    json!({"item_id": id, "output_index": at, "content_index": 0, "part": part}),
                );
                json!({"type": "message", "id": id, "role": "assistant", "status": "completed",
                    "content": [part]})
            }
            Open::Reasoning => {
                out += &self.event(
                    "response.reasoning_summary_text.done",
                    json!({"item_id": id, "output_index": at, "summary_index": 0, "text": text}),
                );
                json!({"type": "reasoning", "id": id, "encrypted_content": null,
                    "summary": [{"type": "summary_text", "text": text}]})
            }
        };
        out += &self.event(
            "response.output_item.done",
            json!({"output_index": at, "item": item}),
        );
        self.output.push(item);
        out
    }

    fn ensure(&mut self, kind: Open) -> String {
        if matches!(&self.open, Some((open, _)) if *open == kind) {
            return String::new();
        }
        let mut out = self.close();
        let at = self.at();
        match kind {
            Open::Message => {
                let id = self.ids.make("msg_");
                out += &self.event(
                    "response.output_item.added",
                    json!({"output_index": at, "item": {"type": "message", "id": id,
                        "role": "assistant", "status": "in_progress", "content": []}}),
                );
                out += &self.event(
                    "response.content_part.added",
                    json!({"item_id": id, "output_index": at, "content_index": 0,
                        "part": {"type": "output_text", "text": "", "annotations": []}}),
                );
                self.open = Some((kind, id));
            }
            Open::Reasoning => {
                let id = self.ids.make("rs_");
                out += &self.event(
                    "response.output_item.added",
                    json!({"output_index": at,
                        "item": {"type": "reasoning", "id": id, "summary": []}}),
                );
                out += &self.event(
                    "response.reasoning_summary_part.added",
                    json!({"item_id": id, "output_index": at, "summary_index": 0,
                        "part": {"type": "summary_text", "text": ""}}),
                );
                self.open = Some((kind, id));
            }
        }
        out
    }

    fn delta(&mut self, kind: Open, text: &str) -> String {
        let mut out = self.ensure(kind);
        self.text += text;
        let id = self.open.as_ref().map(|(_, id)| id.clone());
        let at = self.at();
        out += &match kind {
            Open::Message => self.event(
                "response.output_text.delta",
                json!({"item_id": id, "output_index": at, "content_index": 0, "delta": text}),
            ),
            Open::Reasoning => self.event(
                "response.reasoning_summary_text.delta",
                json!({"item_id": id, "output_index": at, "summary_index": 0, "delta": text}),
            ),
        };
        out
    }

    fn finished(&self) -> Value {
        let mut response = self.response.clone();
        response["status"] = json!("completed");
        response["output"] = json!(self.output);
        response["usage"] = json!({"input_tokens": 100,
            "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 20,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 120});
        response
    }
}

impl Encoder for Stream {
    fn begin(&mut self) -> String {
        let response = self.response.clone();
        self.event("response.created", json!({"response": response}))
    }

    fn block(&mut self, block: &Block) -> String {
        match block {
            Block::Text(text) => self.delta(Open::Message, text),
            Block::Think(text) => self.delta(Open::Reasoning, text),
            Block::Call(call) => {
                let mut out = self.close();
                let call_id = self.ids.make("call_");
                let free = matches!(
                    self.offer.0.get(&call.tool).map(|t| &t.kind),
                    Some(ToolKind::Custom)
                );
                let mut item = match &call.args {
                    Args::Free(text) if free => json!({"type": "custom_tool_call",
                        "id": self.ids.make("ctc_"), "call_id": call_id, "name": call.tool,
                        "input": text, "status": "completed"}),
                    args => json!({"type": "function_call", "id": self.ids.make("fc_"),
                        "call_id": call_id, "name": call.tool, "arguments": args.to_json(),
                        "status": "completed"}),
                };
                if let Some(namespace) = &call.namespace {
                    item["namespace"] = json!(namespace);
                }
                let at = self.at();
                for event in ["response.output_item.added", "response.output_item.done"] {
                    out += &self.event(event, json!({"output_index": at, "item": item}));
                }
                self.output.push(item);
                out
            }
            Block::Pause(_) | Block::Cut => String::new(),
        }
    }

    fn end(&mut self) -> String {
        let out = self.close();
        let response = self.finished();
        out + &self.event("response.completed", json!({"response": response}))
    }

    fn whole(&self) -> Value {
        self.finished()
    }
}
