//! ACP updates to parts: a pure function of what came before, the clock and the id source.

mod content;
mod diff;
mod permission;
mod question;
mod tool;
mod types;
mod verdict;

use serde_json::Value;
use sessiond_model::{FileDiff, Part, PartBody, PartId, PartTime, Timestamp, Todo, Tokens};

use self::content::text;
use self::tool::{Status, ToolCall, only_grew};

use crate::{ProfileUpdate, usage};

pub use permission::{PermissionAsk, choose_option};
pub use question::{Form, QuestionAnswer, Unfit};
pub use types::{Call, Effect, Env, Outcome, TurnContext};
pub use verdict::{Verdict, verdict};

/// Which part a stream of chunks makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Reasoning,
}

/// The text that is being written.
#[derive(Debug)]
struct Stream {
    id: PartId,
    kind: Kind,
    /// The agent's id of the message, when it gives any.
    said_as: Option<String>,
    text: String,
    start: Timestamp,
}

impl Stream {
    fn body(&self, end: Option<Timestamp>) -> PartBody {
        let text = self.text.clone();
        let time = PartTime {
            start: self.start,
            end: end.map(|end| end.max(self.start)),
        };
        match self.kind {
            Kind::Text => PartBody::Text {
                text,
                synthetic: None,
                ignored: None,
                time: Some(time),
                metadata: None,
            },
            Kind::Reasoning => PartBody::Reasoning {
                text,
                time,
                metadata: None,
            },
        }
    }
}

/// What was heard of a model in this turn, to tell an answer from a failure.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    /// Text with a message id.
    named_text: bool,
    /// Text without one: from some agents all of it, from Codex only warnings and errors.
    unnamed_text: bool,
    /// Anything else that only a working model causes.
    other: bool,
}

/// Turns the updates of one turn into parts of one assistant message.
#[derive(Debug)]
pub struct Translator {
    ctx: TurnContext,
    stream: Option<Stream>,
    tools: Vec<ToolCall>,
    /// The closed texts, in order.
    texts: Vec<String>,
    todos: Vec<Todo>,
    heard: Heard,
    /// Tokens counted chunk by chunk.
    counted: Option<Tokens>,
    context_used: Option<u64>,
}

impl Translator {
    /// A translator for one turn.
    #[must_use]
    pub fn new(ctx: TurnContext) -> Self {
        Self {
            ctx,
            stream: None,
            tools: Vec::new(),
            texts: Vec::new(),
            todos: Vec::new(),
            heard: Heard::default(),
            counted: None,
            context_used: None,
        }
    }

    /// The prompt was sent.
    pub fn begin(&mut self, env: &mut Env<'_>) -> Vec<Effect> {
        let id = PartId::mint(env.ids, env.floor);
        vec![Effect::Part(
            self.part(id, PartBody::StepStart { snapshot: None }),
        )]
    }

    /// An update of the running turn. One that it does not know means nothing.
    pub fn update(&mut self, update: &Value, env: &mut Env<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        match update["sessionUpdate"].as_str().unwrap_or_default() {
            "agent_message_chunk" => self.chunk(Kind::Text, update, env, &mut effects),
            "agent_thought_chunk" => self.chunk(Kind::Reasoning, update, env, &mut effects),
            "tool_call" => self.tool_update(update, env, &mut effects),
            // A late word on a call of an earlier turn says no more than what is new.
            "tool_call_update"
                if self.find(update).is_some()
                    || text(update, "kind").is_some()
                    || text(update, "title").is_some() =>
            {
                self.tool_update(update, env, &mut effects);
            }
            "plan" => {
                self.heard.other = true;
                self.end_stream(env.now, &mut effects);
                self.plan(&update["entries"], &mut effects);
            }
            _ => self.aside(update, &mut effects),
        }
        effects
    }

    /// The agent asks for permission. Gemini says nothing of a call before it asks. A call that
    /// is asked about has begun: OpenCode's clients show what they ask about only then.
    pub fn permission(
        &mut self,
        params: &Value,
        env: &mut Env<'_>,
    ) -> (Vec<Effect>, PermissionAsk) {
        let mut effects = Vec::new();
        let call = &params["toolCall"];
        let index = self.find_or_create(call, env, &mut effects);
        if let Some(index) = index {
            self.tools[index].merge_request(call);
            self.tools[index].advance(Status::Running, env.now);
            self.tell(index, &mut effects);
        }
        let ask = permission::ask(params, index.map(|i| &self.tools[i]));
        (effects, ask)
    }

    /// The permission for a call was given (it runs, though Claude never says so) or refused
    /// (it is over, though Gemini never says so).
    pub fn permission_answered(
        &mut self,
        call_id: &str,
        allowed: bool,
        env: &mut Env<'_>,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(index) = self.tools.iter().position(|t| t.call_id == call_id) {
            if allowed {
                self.tools[index].advance(Status::Running, env.now);
            } else {
                self.tools[index].refuse(env.now);
            }
            self.tell(index, &mut effects);
        }
        effects
    }

    /// The turn is over: closes what is still open and ends the step.
    pub fn finish(&mut self, outcome: &Outcome, env: &mut Env<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.end_stream(env.now, &mut effects);
        let why = match outcome {
            Outcome::Done(result) if result.stop_reason != "cancelled" => {
                "The agent ended its turn without a result for this call".to_owned()
            }
            Outcome::Done(_) | Outcome::Cancelled => "Tool execution aborted".to_owned(),
            Outcome::Failed(error) => format!("Tool execution aborted: {}", error.message),
            Outcome::Died(why) => format!("Tool execution aborted: {why}"),
        };
        for index in 0..self.tools.len() {
            self.tools[index].close(&why, env.now);
            self.tell(index, &mut effects);
        }
        let body = PartBody::StepFinish {
            reason: verdict::finish_reason(outcome, self).to_owned(),
            snapshot: None,
            // Agents tell the cost of their whole session: the engine knows what was before.
            cost: 0.0,
            tokens: self.tokens(outcome),
        };
        let id = PartId::mint(env.ids, env.floor);
        effects.push(Effect::Part(self.part(id, body)));
        effects
    }

    /// An update after the end. Tools of this turn may still change (Codex goes on for up to
    /// 16 s); what is not of the turn (title, profile, cost) is taken as always; texts are not.
    pub fn late(&mut self, update: &Value, env: &mut Env<'_>) -> Vec<Effect> {
        let mut effects = Vec::new();
        match update["sessionUpdate"].as_str().unwrap_or_default() {
            "tool_call" | "tool_call_update" => {
                if let Some(index) = self.find(update) {
                    self.tools[index].merge(update, env.now);
                    self.tell(index, &mut effects);
                }
            }
            "agent_message_chunk" | "agent_thought_chunk" | "plan" => {}
            _ => self.aside(update, &mut effects),
        }
        effects
    }

    /// Whether the agent has said a word, reasoning apart.
    #[must_use]
    pub fn has_text(&self) -> bool {
        let open = self.stream.iter().filter(|s| s.kind == Kind::Text);
        let texts = self.texts.iter().chain(open.map(|s| &s.text));
        texts.into_iter().any(|text| !text.trim().is_empty())
    }

    /// The parts that may still change, as they are now.
    #[must_use]
    pub fn open_parts(&self) -> Vec<Part> {
        let stream = self
            .stream
            .iter()
            .map(|s| self.part(s.id.clone(), s.body(None)));
        let tools = self
            .tools
            .iter()
            .filter(|t| !t.status.is_final())
            .map(|t| self.tool_part(t));
        let mut parts: Vec<Part> = tools.chain(stream).collect();
        parts.sort_by(|a, b| a.id.cmp(&b.id));
        parts
    }

    /// The files that the turn changed, as far as the agent said, each once.
    #[must_use]
    pub fn touched_files(&self) -> Vec<FileDiff> {
        let done = self.tools.iter().filter(|t| t.status == Status::Completed);
        diff::file_diffs(done.flat_map(|t| &t.edits))
    }

    /// The tool calls so far, and what they may do to files.
    pub fn calls(&self) -> impl Iterator<Item = Call<'_>> {
        let directory = std::path::Path::new(&self.ctx.directory);
        self.tools.iter().map(move |tool| Call {
            id: &tool.call_id,
            may_write: tool.may_write(),
            files: (tool.written().iter())
                .map(|file| directory.join(file))
                .collect(),
            ended: tool.status.is_final(),
        })
    }

    /// The agent's text so far, its pieces parted by blank lines.
    #[must_use]
    pub fn text(&self) -> String {
        let open = self.stream.iter().filter(|s| s.kind == Kind::Text);
        let pieces: Vec<&str> = self
            .texts
            .iter()
            .map(String::as_str)
            .chain(open.map(|s| s.text.as_str()))
            .collect();
        pieces.join("\n\n")
    }

    /// The tokens of the turn, from the best count there is.
    #[must_use]
    pub fn tokens(&self, outcome: &Outcome) -> Tokens {
        let Outcome::Done(result) = outcome else {
            return self.counted.unwrap_or_default();
        };
        // Zed's Codex adapter tells only how full the context is.
        let context = self.context_used.map(|used| Tokens {
            total: Some(used),
            input: used,
            ..Tokens::default()
        });
        result
            .usage
            .or(self.counted)
            .or(context)
            .unwrap_or_default()
    }

    fn part(&self, id: PartId, body: PartBody) -> Part {
        Part {
            id,
            session_id: self.ctx.session_id.clone(),
            message_id: self.ctx.message_id.clone(),
            body,
        }
    }

    fn tool_part(&self, tool: &ToolCall) -> Part {
        let body = PartBody::Tool(Box::new(tool.part()));
        self.part(tool.part_id.clone(), body)
    }

    fn chunk(&mut self, kind: Kind, update: &Value, env: &mut Env<'_>, effects: &mut Vec<Effect>) {
        if let Some(tokens) = usage::of_count(&update["_meta"]["usage"]) {
            self.counted = Some(self.counted.map_or(tokens, |sum| sum.plus(tokens)));
        }
        let block = &update["content"];
        if block["type"] != "text" {
            if let (Kind::Text, Some(file)) = (kind, content::file(block)) {
                self.heard.other = true;
                self.end_stream(env.now, effects);
                let id = PartId::mint(env.ids, env.floor);
                effects.push(Effect::Part(self.part(id, file)));
            }
            return;
        }
        let Some(delta) = text(block, "text") else {
            return;
        };
        let said_as = text(update, "messageId");
        match (kind, said_as) {
            (Kind::Text, Some(_)) => self.heard.named_text = true,
            (Kind::Text, None) => self.heard.unnamed_text = true,
            (Kind::Reasoning, _) => self.heard.other = true,
        }
        let goes_on = self
            .stream
            .as_ref()
            .is_some_and(|s| s.kind == kind && s.said_as.as_deref() == said_as);
        if !goes_on {
            self.end_stream(env.now, effects);
            let stream = Stream {
                id: PartId::mint(env.ids, env.floor),
                kind,
                said_as: said_as.map(str::to_owned),
                text: String::new(),
                start: env.now,
            };
            effects.push(Effect::Part(
                self.part(stream.id.clone(), stream.body(None)),
            ));
            self.stream = Some(stream);
        }
        if let Some(stream) = &mut self.stream {
            effects.push(Effect::Delta {
                part_id: stream.id.clone(),
                message_id: self.ctx.message_id.clone(),
                field: "text",
                delta: delta.to_owned(),
                offset: u64::try_from(stream.text.len()).unwrap_or(u64::MAX),
            });
            stream.text.push_str(delta);
        }
    }

    fn end_stream(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        if let Some(stream) = self.stream.take() {
            effects.push(Effect::Part(
                self.part(stream.id.clone(), stream.body(Some(now))),
            ));
            if stream.kind == Kind::Text {
                self.texts.push(stream.text);
            }
        }
    }

    fn find(&self, call: &Value) -> Option<usize> {
        let id = call["toolCallId"].as_str()?;
        self.tools.iter().position(|t| t.call_id == id)
    }

    fn find_or_create(
        &mut self,
        call: &Value,
        env: &mut Env<'_>,
        effects: &mut Vec<Effect>,
    ) -> Option<usize> {
        if let Some(index) = self.find(call) {
            return Some(index);
        }
        let id = text(call, "toolCallId")?;
        self.heard.other = true;
        self.end_stream(env.now, effects);
        let part_id = PartId::mint(env.ids, env.floor);
        self.tools.push(ToolCall::new(part_id, id, env.now));
        Some(self.tools.len() - 1)
    }

    fn tool_update(&mut self, update: &Value, env: &mut Env<'_>, effects: &mut Vec<Effect>) {
        if let Some(index) = self.find_or_create(update, env, effects) {
            self.tools[index].merge(update, env.now);
            self.tell(index, effects);
        }
    }

    /// Tells what changed about a tool, if anything did.
    fn tell(&mut self, index: usize, effects: &mut Vec<Effect>) {
        let tool = &mut self.tools[index];
        let now = tool.part();
        let before = tool.told.replace(now.clone());
        if before.as_ref() == Some(&now) {
            return;
        }
        let was_done = before
            .as_ref()
            .is_some_and(|b| matches!(b.state, sessiond_model::ToolState::Completed { .. }));
        let grew = before.as_ref().is_some_and(|b| only_grew(b, &now));
        let edited = if tool.status == Status::Completed && !was_done {
            tool.written()
        } else {
            Vec::new()
        };
        let todos = tool.todos().cloned();
        let body = PartBody::Tool(Box::new(now));
        let part = self.part(self.tools[index].part_id.clone(), body);
        effects.push(if grew {
            Effect::PartGrew(part)
        } else {
            Effect::Part(part)
        });
        if let Some(todos) = todos {
            self.plan(&todos, effects);
        }
        effects.extend(edited.into_iter().map(Effect::FileEdited));
    }

    fn plan(&mut self, entries: &Value, effects: &mut Vec<Effect>) {
        let Some(entries) = entries.as_array() else {
            return;
        };
        let todos: Vec<Todo> = entries
            .iter()
            .filter_map(|e| {
                Some(Todo {
                    // Gemini's tool says it otherwise.
                    content: text(e, "content").or(text(e, "description"))?.to_owned(),
                    status: text(e, "status").unwrap_or("pending").to_owned(),
                    priority: text(e, "priority").unwrap_or("medium").to_owned(),
                })
            })
            .collect();
        if todos != self.todos {
            self.todos.clone_from(&todos);
            effects.push(Effect::Todos(todos));
        }
    }

    /// Updates that are about the session, not about a part.
    fn aside(&mut self, update: &Value, effects: &mut Vec<Effect>) {
        match update["sessionUpdate"].as_str().unwrap_or_default() {
            "session_info_update" => {
                if let Some(title) = text(update, "title") {
                    effects.push(Effect::Title(title.to_owned()));
                }
            }
            "usage_update" => {
                let in_dollars = update["cost"]["currency"].as_str().unwrap_or("USD") == "USD";
                let cost_total = update["cost"]["amount"].as_f64().filter(|_| in_dollars);
                let context_used = update["used"].as_u64();
                self.context_used = context_used.or(self.context_used);
                effects.push(Effect::Usage {
                    cost_total,
                    context_used,
                    context_size: update["size"].as_u64(),
                });
            }
            _ => effects.extend(ProfileUpdate::from_update(update).map(Effect::Profile)),
        }
    }
}
