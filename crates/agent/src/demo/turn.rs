//! One prompt of the demo agent.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::script::{COMMANDS, PLAN, Step, read};
use super::server::Demo;
use super::session::Session;
use crate::wire::{self, AUTH_REQUIRED, RequestId, RpcError};

/// US dollars that a prompt costs, whatever it is.
const COST: f64 = 0.0016;
/// Size of the context that the demo model claims to have.
const CONTEXT: usize = 100_000;

/// How a prompt ends.
#[derive(Debug)]
pub(super) enum End {
    /// With a stop reason.
    Stop(&'static str),
    /// With a stop reason, though nothing was counted.
    Uncounted,
    /// With an error.
    Error(RpcError),
}

/// A running prompt.
pub(super) struct Turn {
    pub(super) demo: Arc<Demo>,
    pub(super) session: Arc<Mutex<Session>>,
    pub(super) session_id: String,
    request: RequestId,
    prompt: String,
    context: Vec<String>,
    cancelled: watch::Receiver<bool>,
    /// What was said in this turn.
    said: String,
    message_id: String,
    /// The tool call that has not ended yet.
    pub(super) open_call: Option<String>,
    /// A tool call to be ended after the turn.
    late_call: Option<String>,
}

impl Turn {
    pub(super) fn new(
        demo: Arc<Demo>,
        session: Arc<Mutex<Session>>,
        request: RequestId,
        blocks: &[Value],
        cancelled: watch::Receiver<bool>,
    ) -> Self {
        // The last text is the prompt; everything else was given along with it.
        let is_text = |b: &Value| b["type"] == "text";
        let last = blocks.iter().rposition(is_text);
        let mut prompt = String::new();
        let mut context = Vec::new();
        for (index, block) in blocks.iter().enumerate() {
            let text = block["text"].as_str();
            match text.or_else(|| block["resource"]["text"].as_str()) {
                Some(text) if Some(index) == last => text.clone_into(&mut prompt),
                Some(text) => context.push(text.to_owned()),
                None => {}
            }
        }
        let session_id = session.lock().id.clone();
        let message_id = demo.fresh_id("msg");
        Self {
            demo,
            session,
            session_id,
            request,
            prompt,
            context,
            cancelled,
            said: String::new(),
            message_id,
            open_call: None,
            late_call: None,
        }
    }

    pub(super) async fn run(mut self) {
        self.take_prompt().await;
        let mut end = End::Stop("end_turn");
        let script = self.session.lock().next.take();
        for step in read(script.as_ref().unwrap_or(&self.prompt)) {
            let deaf = matches!(step, Step::Hang | Step::Stubborn(_));
            let mut cancelled = self.cancelled.clone();
            let result = if deaf {
                self.step(step).await
            } else {
                tokio::select! {
                    biased;
                    _ = cancelled.wait_for(|c| *c) => Err(End::Stop("cancelled")),
                    result = self.step(step) => result,
                }
            };
            if let Err(early) = result {
                end = early;
                break;
            }
        }
        self.finish(end).await;
    }

    /// Writes the prompt down before anything is done about it.
    async fn take_prompt(&mut self) {
        let title = {
            let mut session = self.session.lock();
            for context in &self.context {
                session.remember("context", context);
            }
            session.remember("user", &self.prompt);
            let fresh = session.title.is_none();
            let first: String = self
                .prompt
                .lines()
                .next()
                .unwrap_or("")
                .chars()
                .take(50)
                .collect();
            if fresh && !first.is_empty() {
                session.title = Some(first.clone());
            }
            (fresh && !first.is_empty()).then_some(first)
        };
        self.save();
        if let Some(title) = title {
            self.title(&title).await;
        }
    }

    async fn title(&self, title: &str) {
        self.tell(json!({"sessionUpdate": "session_info_update", "title": title}))
            .await;
    }

    fn save(&self) {
        let session = self.session.lock().clone();
        if let Err(error) = self.demo.files.save(&session) {
            tracing::warn!(%error, "the demo session could not be saved");
        }
    }

    async fn finish(mut self, end: End) {
        let cancelled = matches!(end, End::Stop("cancelled")) && self.late_call.is_none();
        if let Some(call) = self.open_call.take().filter(|_| cancelled) {
            let update = json!({"status": "failed", "rawOutput": {"error": "Cancelled"}});
            self.call_update(&call, update).await;
        }
        let counted = !matches!(end, End::Uncounted | End::Error(_));
        let (input, output) = (self.prompt.len().div_ceil(4), self.said.len().div_ceil(4));
        let (cost, used) = {
            let mut session = self.session.lock();
            session.remember("agent", &self.said);
            if counted {
                session.cost += COST;
            }
            let used: usize = session.history.iter().map(|s| s.text.len()).sum();
            (session.cost, used.div_ceil(4))
        };
        self.save();
        if counted {
            self.tell(json!({
                "sessionUpdate": "usage_update", "used": used, "size": CONTEXT,
                "cost": {"amount": cost, "currency": "USD"},
            }))
            .await;
        }
        let usage = json!({
            "inputTokens": input, "outputTokens": output, "totalTokens": input + output,
            "cachedReadTokens": 0, "cachedWriteTokens": 0,
        });
        let answer = match end {
            End::Stop(reason) => Ok(json!({"stopReason": reason, "usage": usage})),
            End::Uncounted => Ok(json!({"stopReason": "end_turn", "usage": null})),
            End::Error(error) => Err(error),
        };
        // First free, then answered: the next prompt may follow at once.
        self.demo.turn_ended(&self.session_id);
        self.demo.answer(&self.request, answer).await;
        if let Some(call) = self.late_call.take() {
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.call_update(
                &call,
                json!({"status": "completed", "rawOutput": "better late than never"}),
            )
            .await;
        }
    }

    pub(super) async fn tell(&self, update: Value) {
        self.demo.tell(&self.session_id, update).await;
    }

    async fn chunk(&self, kind: &str, text: &str, message_id: Option<&str>) {
        let mut update = json!({"sessionUpdate": kind, "content": {"type": "text", "text": text}});
        if let Some(id) = message_id {
            update["messageId"] = id.into();
        }
        self.tell(update).await;
    }

    /// Streams a text word by word.
    pub(super) async fn say(&mut self, text: &str) {
        for word in text.split_inclusive(' ') {
            self.chunk("agent_message_chunk", word, Some(&self.message_id))
                .await;
            self.said.push_str(word);
        }
    }

    /// Begins a new message: what follows a tool is another call of the model.
    pub(super) fn next_message(&mut self) {
        self.message_id = self.demo.fresh_id("msg");
        if !self.said.is_empty() {
            self.said.push('\n');
        }
    }

    pub(super) async fn call_update(&self, call: &str, mut update: Value) {
        update["sessionUpdate"] = "tool_call_update".into();
        update["toolCallId"] = call.into();
        self.tell(update).await;
    }

    async fn step(&mut self, step: Step) -> Result<(), End> {
        match step {
            Step::Talk(text) => self.talk(&text).await,
            Step::Help => self.help().await,
            Step::Think(text) => {
                for word in text.split_inclusive(' ') {
                    self.chunk("agent_thought_chunk", word, Some(&self.message_id))
                        .await;
                }
                self.say("I have thought about it.").await;
            }
            Step::Write { .. } | Step::Edit { .. } | Step::Run(_) | Step::Ask(_) => {
                self.use_tool(step).await?;
            }
            Step::Question {
                text,
                options,
                several,
            } => self.question(&text, &options, several).await?,
            Step::Plan(done) => self.plan(done).await,
            Step::Fail(message) => {
                self.say("I try. ").await;
                return Err(End::Error(RpcError {
                    code: -32603,
                    message: format!("Internal error: {message}"),
                    data: Some(json!({"errorName": "APIError", "statusCode": 500})),
                }));
            }
            Step::FailAuth => {
                return Err(End::Error(RpcError {
                    code: AUTH_REQUIRED,
                    message: "Authentication required".into(),
                    data: None,
                }));
            }
            Step::Hang => {
                self.say("I do nothing now, whatever you say.").await;
                std::future::pending::<()>().await;
            }
            Step::Stubborn(command) => self.be_stubborn(&command).await?,
            Step::Crash => {
                self.say("I crash in the middle of this sen").await;
                self.demo.crash().await;
            }
            Step::Slow { count, millis } => {
                for number in 1..=count {
                    self.say(&format!("tick-{number} ")).await;
                    tokio::time::sleep(Duration::from_millis(millis)).await;
                }
            }
            Step::Big(bytes) => self.big(bytes).await,
            Step::History => self.history().await,
            Step::Late => {
                let call = self.quiet_call("A tool that reports late").await;
                self.late_call = Some(call);
                self.say("It still runs.").await;
            }
            Step::SilentTool => {
                self.quiet_call("A tool that never reports").await;
                self.say("I started it.").await;
            }
            Step::ErrorText(message) => {
                self.chunk("agent_message_chunk", &message, None).await;
                return Err(End::Uncounted);
            }
            Step::Nothing => {}
            Step::Title(title) => {
                self.session.lock().title = Some(title.clone());
                self.title(&title).await;
                self.say("The session has a new name.").await;
            }
            Step::Next(command) => {
                self.session.lock().next = Some(command);
                self.say("At the next prompt.").await;
            }
            Step::Summarise => self.summarise().await,
            Step::Noise => self.noise().await,
            Step::Request(method) => {
                let params = json!({"sessionId": self.session_id, "path": "/"});
                let text = match self.demo.ask(&method, &params).await {
                    Ok(result) => format!("The client answered {method}: {result}"),
                    Err(e) => format!("The client refused {method} with code {}", e.code),
                };
                self.say(&text).await;
            }
            Step::Usage(usage) => self.say(&format!("Use it like this: {usage}")).await,
        }
        Ok(())
    }

    async fn talk(&mut self, text: &str) {
        self.say(&format!(
            "Hello, I am the demo agent of sessiond: no model, no network, but everything else \
             is real. You said: {text}\n\nTry /help, /think, /plan, /write hello.txt Hello, or \
             /run ls."
        ))
        .await;
    }

    async fn help(&mut self) {
        let mut text = String::from("I understand these commands, one a line:\n");
        for (name, hint, description) in COMMANDS {
            text.push_str(&format!("- `/{name} {hint}`: {description}\n"));
        }
        self.say(&text).await;
    }

    async fn plan(&mut self, end: usize) {
        for done in [0, 1, PLAN.len()] {
            if done > end {
                self.say("So far I went through the plan.").await;
                return;
            }
            let entries: Vec<Value> = PLAN
                .iter()
                .enumerate()
                .map(|(i, step)| {
                    let status = match i {
                        _ if i < done => "completed",
                        _ if i == done => "in_progress",
                        _ => "pending",
                    };
                    json!({"content": step, "status": status, "priority": "medium"})
                })
                .collect();
            self.tell(json!({"sessionUpdate": "plan", "entries": entries}))
                .await;
        }
        self.say("I went through the plan.").await;
    }

    async fn big(&mut self, bytes: usize) {
        let call = self
            .start_call(
                "big",
                "other",
                &format!("{bytes} bytes"),
                json!({"bytes": bytes}),
            )
            .await;
        let mut output = "0123456789abcde\n".repeat(bytes.div_ceil(16));
        output.truncate(bytes);
        self.end_call(&call, "completed", &output, json!({"output": output}))
            .await;
        self.say("That was big.").await;
    }

    async fn history(&mut self) {
        let history = self.session.lock().history.clone();
        let by = |who: &str| -> Vec<String> {
            let said = history.iter().filter(|s| s.by == who);
            said.map(|s| s.text.clone()).collect()
        };
        let prompts = by("user");
        let mut text = format!("I remember {} prompts:\n", prompts.len());
        for (number, prompt) in prompts.iter().enumerate() {
            text.push_str(&format!(
                "{}. {}\n",
                number + 1,
                prompt.replace('\n', " / ")
            ));
        }
        let context = by("context");
        if !context.is_empty() {
            text.push_str("I was given this along:\n");
            text.push_str(&context.join("\n"));
        }
        self.say(&text).await;
    }

    async fn summarise(&mut self) {
        let history = self.session.lock().history.clone();
        let prompts = history.iter().filter(|s| s.by == "user").map(|s| &s.text);
        let mut text = String::from("What was asked so far:\n");
        // The last one is the request for this summary.
        let count = prompts.clone().count().saturating_sub(1);
        for prompt in prompts.take(count) {
            text.push_str(&format!("- {}\n", prompt.replace('\n', " / ")));
        }
        for context in history.iter().filter(|s| s.by == "context") {
            text.push_str(&format!("I was told: {}\n", context.text));
        }
        self.say(&text).await;
    }

    /// A call that runs and says no more.
    async fn quiet_call(&mut self, title: &str) -> String {
        let call = self
            .start_call("sleep", "other", title, json!({"seconds": 1}))
            .await;
        self.call_update(&call, json!({"status": "in_progress"}))
            .await;
        call
    }

    async fn noise(&mut self) {
        self.demo.send(b"Debugger attached.\n".to_vec()).await;
        self.demo.send(b"\n".to_vec()).await;
        self.demo.send(b"[1,2]\n".to_vec()).await;
        self.tell(json!({"sessionUpdate": "weather_update", "sky": "blue"}))
            .await;
        self.demo
            .send(wire::notification("_demo/weather", &json!({"sky": "blue"})))
            .await;
        let half = format!(
            r#"{{"jsonrpc":"2.0","method":"session/update","params":{{"sessionId":"{}","update":{{"sessionUpdate":"agent_message_chunk","messageId":"{}","content":{{"type":"text","text":"half \ud83d. "}}}}}}}}"#,
            self.session_id, self.message_id
        );
        self.demo.send(format!("{half}\n").into_bytes()).await;
        self.said.push_str("half \u{fffd}. ");
        self.say("That was noise.").await;
    }
}
