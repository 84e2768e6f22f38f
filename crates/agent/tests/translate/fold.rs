//! Folds effects as a subscriber would, and checks on the way what must always hold.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use sessiond_agent::{Effect, Env, Outcome, PermissionAsk, Translator, TurnContext, verdict};
use sessiond_model::{
    IdGen, IdStamp, MessageId, Part, PartBody, PartId, SessionId, Timestamp, ToolPart, ToolState,
};

/// Ids that count, so that snapshots stay as they are.
#[derive(Debug, Default)]
struct Counting(AtomicU64);

impl IdGen for Counting {
    fn stamp(&self, _floor: IdStamp) -> IdStamp {
        IdStamp::from_bits(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn tail(&self) -> String {
        "0".repeat(14)
    }
}

pub(crate) fn is_open(tool: &ToolPart) -> bool {
    matches!(
        tool.state,
        ToolState::Pending { .. } | ToolState::Running { .. }
    )
}

/// One turn: the translator, and what a subscriber has seen of it.
pub(crate) struct Stage {
    pub(crate) translator: Translator,
    ids: Counting,
    floor: IdStamp,
    now: i64,
    parts: BTreeMap<PartId, Part>,
    asides: Vec<String>,
    finished: bool,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let mut stage = Self {
            translator: Translator::new(TurnContext {
                session_id: SessionId::trusted("ses_1"),
                message_id: MessageId::trusted("msg_1"),
                agent: "agent".into(),
                directory: "/project".into(),
            }),
            ids: Counting::default(),
            floor: IdStamp::default(),
            now: 1000,
            parts: BTreeMap::new(),
            asides: Vec::new(),
            finished: false,
        };
        stage.step(|t, env| t.begin(env));
        stage
    }

    fn step(
        &mut self,
        act: impl FnOnce(&mut Translator, &mut Env<'_>) -> Vec<Effect>,
    ) -> Vec<Effect> {
        self.now += 1;
        let mut env = Env {
            ids: &self.ids,
            floor: &mut self.floor,
            now: Timestamp(self.now),
        };
        let effects = act(&mut self.translator, &mut env);
        for effect in &effects {
            self.see(effect);
        }
        self.check();
        effects
    }

    fn see(&mut self, effect: &Effect) {
        match effect {
            Effect::Part(part) | Effect::PartGrew(part) => self.put(part),
            Effect::Delta {
                part_id,
                delta,
                offset,
                ..
            } => {
                let part = self
                    .parts
                    .get_mut(part_id)
                    .expect("a delta's part was told before");
                assert!(part.body.is_open(), "a closed part does not grow");
                let (PartBody::Text { text, .. } | PartBody::Reasoning { text, .. }) =
                    &mut part.body
                else {
                    panic!("{part:?}")
                };
                assert_eq!(u64::try_from(text.len()).unwrap(), *offset);
                assert!(!delta.is_empty());
                text.push_str(delta);
            }
            Effect::Todos(todos) => {
                let all: Vec<String> = todos
                    .iter()
                    .map(|t| format!("{} ({})", t.content, t.status))
                    .collect();
                self.asides.push(format!("todos: {}", all.join(", ")));
            }
            Effect::Title(title) => self.asides.push(format!("title: {title}")),
            Effect::Profile(news) => self.asides.push(format!(
                "profile: mode {:?}, model {:?}, {:?} commands",
                news.current_mode,
                news.current_model,
                news.commands.as_ref().map(Vec::len)
            )),
            Effect::Usage {
                cost_total: Some(cost),
                ..
            } => self.asides.push(format!("cost so far: {cost:.4}")),
            Effect::Usage { .. } => {}
            Effect::FileEdited(path) => self.asides.push(format!("edited: {path}")),
        }
    }

    fn put(&mut self, part: &Part) {
        match self.parts.get(&part.id) {
            None => {
                let newest = self.parts.keys().next_back();
                assert!(newest.is_none_or(|n| *n < part.id), "new parts come last");
            }
            Some(before) => {
                assert!(
                    before.body.is_open() || self.finished || is_final_tool(&before.body),
                    "a closed part does not change in its turn: {before:?}"
                );
                if let (
                    PartBody::Text { text: told, .. } | PartBody::Reasoning { text: told, .. },
                    PartBody::Text { text: full, .. } | PartBody::Reasoning { text: full, .. },
                ) = (&before.body, &part.body)
                {
                    assert_eq!(told, full, "the deltas make the text");
                }
            }
        }
        self.parts.insert(part.id.clone(), part.clone());
    }

    /// What the translator holds is what a subscriber has.
    fn check(&self) {
        let open: Vec<&Part> = self.parts.values().filter(|p| p.body.is_open()).collect();
        let held = self.translator.open_parts();
        assert_eq!(held.iter().collect::<Vec<_>>(), open);
        if self.finished {
            assert_eq!(open, Vec::<&Part>::new(), "nothing is open after the end");
        }
        let texts: Vec<&str> = self
            .parts
            .values()
            .filter_map(|p| match &p.body {
                PartBody::Text { text, .. } => Some(text.as_str()),
                _ => None,
            })
            .collect();
        assert_eq!(self.translator.text(), texts.join("\n\n"));
    }

    pub(crate) fn effects_of(&mut self, update: &Value) -> Vec<Effect> {
        self.step(|t, env| t.update(update, env))
    }

    pub(crate) fn update(&mut self, update: &Value) {
        self.effects_of(update);
    }

    pub(crate) fn late(&mut self, update: &Value) {
        let before = self.parts.len();
        self.step(|t, env| t.late(update, env));
        assert_eq!(self.parts.len(), before, "no new parts after the end");
    }

    pub(crate) fn permission(&mut self, params: &Value) -> PermissionAsk {
        let mut asked = None;
        self.step(|t, env| {
            let (effects, ask) = t.permission(params, env);
            asked = Some(ask);
            effects
        });
        asked.unwrap()
    }

    pub(crate) fn answered(&mut self, call: &str, allowed: bool) {
        self.step(|t, env| t.permission_answered(call, allowed, env));
    }

    /// Ends the turn and tells how it was judged.
    pub(crate) fn finish(&mut self, outcome: &Outcome) -> String {
        let verdict = verdict(outcome, &self.translator);
        self.finished = true;
        self.step(|t, env| t.finish(outcome, env));
        let last = self.parts.values().next_back().unwrap();
        assert!(matches!(last.body, PartBody::StepFinish { .. }));
        format!("  end {:?}\n", verdict.end)
    }

    pub(crate) fn parts(&self) -> Vec<Part> {
        self.parts.values().cloned().collect()
    }

    pub(crate) fn tools(&self) -> Vec<ToolPart> {
        self.parts
            .values()
            .filter_map(|p| match &p.body {
                PartBody::Tool(tool) => Some((**tool).clone()),
                _ => None,
            })
            .collect()
    }

    pub(crate) fn tool(&self, call: &str) -> ToolPart {
        let found = self.tools().into_iter().find(|t| t.call_id == call);
        found.unwrap_or_else(|| panic!("no tool {call}"))
    }

    /// All parts as they are now, and what else was said.
    pub(crate) fn report(&self) -> String {
        let mut report = String::new();
        for part in self.parts.values() {
            let body = serde_json::to_string(&part.body).unwrap();
            report.push_str(&format!("  {body}\n"));
        }
        for aside in &self.asides {
            report.push_str(&format!("  {aside}\n"));
        }
        for file in self.translator.touched_files() {
            report.push_str(&format!(
                "  file {} {:?} +{} -{}\n",
                file.file, file.status, file.additions, file.deletions
            ));
        }
        report.push('\n');
        report
    }
}

/// A refused or failed call may still get its real end.
fn is_final_tool(body: &PartBody) -> bool {
    matches!(body, PartBody::Tool(tool) if !is_open(tool))
}
