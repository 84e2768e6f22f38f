//! One event of the engine as events of this family. What an event says is made of the stored
//! message that it is about, so that a replay tells what was told live. The mapper remembers only
//! what its reader was told of things that still change.

use std::collections::HashMap;

use serde_json::{Value, json};
use sessiond_model::{
    AssistantInfo, Event, EventBody, EventKind, Message, MessageDoc, MessageId, MessageInfo, Part,
    PartBody, PartId, Revert, Seq, Session, SessionId, Timestamp, ToolPart, ToolState,
};

use super::told::{
    Told, about, cleared, committed, executed, kept, named, passing, passing_event, prompted,
    step_ended, step_started,
};

use crate::v2::wire::{self, Role, State};
use crate::wire::SessionDto;

/// Places for the events that one event of the engine may give.
const SLOTS: u64 = 16;
/// Most messages whose role is remembered.
const MESSAGES: usize = 512;

/// The number of an event of this family: it rises within a session, and leads back to the
/// engine's event.
pub(crate) fn position(seq: Seq, slot: u64) -> u64 {
    seq.0.saturating_mul(SLOTS).saturating_add(slot)
}

/// The last event of the engine of which all was told at this number.
pub(super) fn told(position: u64) -> Seq {
    Seq((position / SLOTS).saturating_sub(1))
}

/// How much of a tool call was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    #[default]
    Nothing,
    Begun,
    Called,
}

/// What was told of a part that still changes.
#[derive(Clone, Copy, Debug)]
enum Open {
    /// So many bytes of a text.
    Text(usize),
    Reasoning(usize),
    Call(Stage),
}

/// What a reader was told of the revert of a session.
#[derive(Debug, Default)]
struct Marker {
    is_known: bool,
    staged: Option<Revert>,
    /// The first message that went, and when.
    removed: Option<(MessageId, Timestamp)>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Mapper {
    /// Whether texts are told while they grow.
    grows: bool,
    /// Whether the reader was told things before that this mapper does not know of.
    resumed: bool,
    roles: HashMap<MessageId, Role>,
    open: HashMap<PartId, Open>,
    markers: HashMap<SessionId, Marker>,
}

impl Mapper {
    /// Of a stream that tells only what is kept.
    pub(crate) fn kept(resumed: bool) -> Self {
        Self {
            grows: false,
            resumed,
            roles: HashMap::new(),
            open: HashMap::new(),
            markers: HashMap::new(),
        }
    }

    /// Of a stream that tells everything.
    pub(crate) fn everything(resumed: bool) -> Self {
        Self {
            grows: true,
            ..Self::kept(resumed)
        }
    }

    /// The message that must be looked up for an event.
    pub(crate) fn wants<'e>(&self, event: &'e Event) -> Option<&'e MessageId> {
        match &event.body {
            EventBody::MessageUpdated(m) => Some(&m.id),
            EventBody::PartUpdated(p) if !self.roles.contains_key(&p.message_id) => {
                Some(&p.message_id)
            }
            _ => None,
        }
    }

    /// The message that must be looked up too: the one that an answer answers.
    pub(crate) fn wants_parent(&self, doc: &MessageDoc) -> Option<MessageId> {
        match doc.message()?.info {
            MessageInfo::Assistant(info)
                if info.summary != Some(true) && !self.roles.contains_key(&info.parent_id) =>
            {
                Some(info.parent_id)
            }
            _ => None,
        }
    }

    /// Remembers what a message is.
    pub(crate) fn learn(&mut self, doc: &MessageDoc) {
        let Some(message) = doc.message() else {
            return;
        };
        let parent = match &message.info {
            MessageInfo::Assistant(info) => self.roles.get(&info.parent_id).copied(),
            MessageInfo::User(_) => None,
        };
        if self.roles.len() >= MESSAGES {
            self.roles.clear();
        }
        let role = wire::role(&message, &doc.typed_parts(), parent);
        self.roles.insert(message.id, role);
    }

    /// The events that an event is, in order. `doc` is the message it wanted, when that is still
    /// there.
    pub(crate) fn event(&mut self, event: &Event, doc: Option<&MessageDoc>) -> Vec<Told> {
        let (id, at) = (&event.session_id, event.at);
        match &event.body {
            EventBody::MessageUpdated(_) => {
                doc.map_or_else(Vec::new, |doc| self.message(event, doc))
            }
            EventBody::PartUpdated(part) => self.part(event, part),
            EventBody::SessionCreated(s) => self.session("session.created", event, s),
            EventBody::SessionUpdated(s) => self.session("session.updated", event, s),
            EventBody::SessionDeleted(s) => self.session("session.deleted", event, s),
            EventBody::MessageRemoved { message_id } => {
                self.roles.remove(message_id);
                let marker = self.marker(id);
                if marker.removed.as_ref().is_none_or(|(_, when)| *when != at) {
                    marker.removed = Some((message_id.clone(), at));
                }
                self.other(kept(
                    "message.removed",
                    json!({"sessionID": id, "messageID": message_id}),
                ))
            }
            EventBody::PartRemoved {
                message_id,
                part_id,
            } => {
                self.open.remove(part_id);
                self.other(kept(
                    "message.part.removed",
                    json!({"sessionID": id, "messageID": message_id, "partID": part_id}),
                ))
            }
            EventBody::AgentBound(_) | EventBody::Superseded(EventKind::AgentBound) => {
                self.cleared_up(event)
            }
            EventBody::Superseded(EventKind::SessionUpdated)
                if self.marker(id).staged.is_some() =>
            {
                self.cleared_up(event)
            }
            body if self.grows => passing_event(id, body),
            _ => Vec::new(),
        }
    }

    /// An event that the streams of one session don't tell.
    fn other(&self, told: Told) -> Vec<Told> {
        if self.grows { vec![told] } else { Vec::new() }
    }

    fn message(&mut self, event: &Event, doc: &MessageDoc) -> Vec<Told> {
        let Some(message) = doc.message() else {
            return Vec::new();
        };
        let parts = doc.typed_parts();
        let is_first = event.seq == doc.created;
        match (self.roles.get(&message.id), &message.info) {
            (Some(Role::Prompt), MessageInfo::User(_)) if is_first => prompted(&message, &parts),
            (Some(Role::Synthetic), MessageInfo::User(_)) if is_first => vec![kept(
                "session.next.synthetic",
                json!({"timestamp": message.info.created(), "sessionID": message.session_id,
                    "messageID": message.id, "text": wire::texts(&parts)}),
            )],
            (Some(Role::Answer), MessageInfo::Assistant(info)) => {
                let mut all = Vec::new();
                if is_first {
                    all.push(step_started(&message, info, &parts));
                }
                if event.seq == doc.changed {
                    all.extend(step_ended(event.at, &message, info, &parts));
                }
                all
            }
            (Some(Role::Summary), MessageInfo::Assistant(info)) => {
                self.summary(event, doc, &message, info, &parts)
            }
            _ => Vec::new(),
        }
    }

    fn summary(
        &self,
        event: &Event,
        doc: &MessageDoc,
        message: &Message,
        info: &AssistantInfo,
        parts: &[Part],
    ) -> Vec<Told> {
        let auto = Some(&Role::CompactionRequest { auto: true });
        let reason = if self.roles.get(&info.parent_id) == auto {
            "auto"
        } else {
            "manual"
        };
        let (id, session) = (&message.id, &message.session_id);
        let mut all = Vec::new();
        if event.seq == doc.created {
            all.push(kept(
                "session.next.compaction.started",
                json!({"timestamp": message.info.created(), "sessionID": session,
                    "messageID": id, "reason": reason}),
            ));
        }
        if event.seq != doc.changed {
            return all;
        }
        if wire::is_whole(info) {
            all.push(kept(
                "session.next.compaction.ended",
                json!({"timestamp": event.at, "sessionID": session, "messageID": id,
                    "reason": reason, "text": wire::texts(parts), "recent": ""}),
            ));
        } else if info.error.is_some() {
            // One that failed is shown as an answer that failed.
            all.push(step_started(message, info, parts));
            all.extend(step_ended(event.at, message, info, parts));
        }
        all
    }

    /// A part of an answer.
    fn part(&mut self, event: &Event, part: &Part) -> Vec<Told> {
        match (self.roles.get(&part.message_id), &part.body) {
            (Some(Role::Answer), PartBody::Text { text, time, .. }) => {
                let at = time.map_or(event.at, |t| t.start);
                self.growing(event, part, text, at)
            }
            (Some(Role::Answer), PartBody::Reasoning { text, time, .. }) => {
                self.growing(event, part, text, time.start)
            }
            (Some(Role::Answer), PartBody::Tool(call)) => self.call(event, part, call),
            (Some(Role::Shell), PartBody::Tool(_)) => self.shell(event, part),
            (Some(Role::Summary), PartBody::Text { text, .. }) if self.grows => {
                let known = self.known(part, Open::Text(0));
                self.note(part, Open::Text(text.len()));
                let rest = text.get(known..).filter(|r| !r.is_empty());
                rest.map(|rest| self.grown(event.at, &event.session_id, part, rest))
                    .into_iter()
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// Bytes of a text that were told.
    fn known(&self, part: &Part, none: Open) -> usize {
        match self.open.get(&part.id).unwrap_or(&none) {
            Open::Text(known) | Open::Reasoning(known) => *known,
            Open::Call(_) => 0,
        }
    }

    fn note(&mut self, part: &Part, open: Open) {
        if part.body.is_open() {
            self.open.insert(part.id.clone(), open);
        } else {
            self.open.remove(&part.id);
        }
    }

    /// A text or reasoning: begun, grown or ended.
    fn growing(&mut self, event: &Event, part: &Part, text: &str, start: Timestamp) -> Vec<Told> {
        let is_open = part.body.is_open();
        if is_open && !self.grows {
            // Told when it has ended: what grows is not kept.
            return Vec::new();
        }
        let mut all = Vec::new();
        if !self.open.contains_key(&part.id) {
            all.push(kept(
                named(
                    part,
                    "session.next.text.started",
                    "session.next.reasoning.started",
                ),
                about(start, part),
            ));
        }
        let known = self.known(part, Open::Text(0));
        let open = match &part.body {
            PartBody::Reasoning { .. } => Open::Reasoning(text.len()),
            _ => Open::Text(text.len()),
        };
        self.note(part, open);
        if is_open {
            let rest = text.get(known..).filter(|r| !r.is_empty());
            all.extend(rest.map(|rest| self.grown(event.at, &event.session_id, part, rest)));
        } else {
            let mut data = about(event.at, part);
            data["text"] = text.into();
            let name = named(
                part,
                "session.next.text.ended",
                "session.next.reasoning.ended",
            );
            all.push(kept(name, data));
        }
        all
    }

    fn grown(&self, at: Timestamp, session: &SessionId, part: &Part, delta: &str) -> Told {
        let is_reasoning = matches!(part.body, PartBody::Reasoning { .. });
        self.delta(
            at,
            session,
            (&part.message_id, &part.id),
            is_reasoning,
            delta,
        )
    }

    fn delta(
        &self,
        at: Timestamp,
        session: &SessionId,
        (message, part): (&MessageId, &PartId),
        is_reasoning: bool,
        delta: &str,
    ) -> Told {
        if self.roles.get(message) == Some(&Role::Summary) {
            return passing(
                "session.next.compaction.delta",
                json!({"timestamp": at, "sessionID": session, "messageID": message,
                    "text": delta}),
            );
        }
        let (name, key) = if is_reasoning {
            ("session.next.reasoning.delta", "reasoningID")
        } else {
            ("session.next.text.delta", "textID")
        };
        let mut data = json!({"timestamp": at, "sessionID": session,
            "assistantMessageID": message, "delta": delta});
        data[key] = part.as_str().into();
        passing(name, data)
    }

    /// Live growth, when the reader knows what grows.
    pub(crate) fn growth(&mut self, at: Timestamp, d: &sessiond_engine::Delta) -> Option<Told> {
        let (known, is_reasoning) = match self.open.get_mut(&d.part_id)? {
            Open::Text(known) => (known, false),
            Open::Reasoning(known) => (known, true),
            Open::Call(_) => return None,
        };
        let offset = usize::try_from(d.offset).ok()?;
        if *known != offset {
            return None;
        }
        *known += d.delta.len();
        let ids = (&d.message_id, &d.part_id);
        Some(self.delta(at, &d.session_id, ids, is_reasoning, &d.delta))
    }

    fn stage(&self, part: &Part) -> Stage {
        match self.open.get(&part.id) {
            Some(Open::Call(stage)) => *stage,
            _ => Stage::Nothing,
        }
    }

    /// A tool call: as much as was not told yet.
    fn call(&mut self, event: &Event, part: &Part, call: &ToolPart) -> Vec<Told> {
        let before = self.stage(part);
        let now = if matches!(call.state, ToolState::Pending { .. }) {
            Stage::Begun
        } else {
            Stage::Called
        };
        self.note(part, Open::Call(now.max(before)));
        let say = |r#type, at: Timestamp, more: Value| {
            let mut data = json!({"timestamp": at, "sessionID": part.session_id,
                "assistantMessageID": part.message_id, "callID": call.call_id});
            if let (Some(data), Value::Object(more)) = (data.as_object_mut(), more) {
                data.extend(more);
            }
            kept(r#type, data)
        };
        let (input, start) = match &call.state {
            ToolState::Pending { input, .. } => (input, event.at),
            ToolState::Running { input, time, .. }
            | ToolState::Completed { input, time, .. }
            | ToolState::Error { input, time, .. } => (input, time.start),
        };
        let mut all = Vec::new();
        if before == Stage::Nothing {
            let name = json!({"name": call.tool});
            all.push(say("session.next.tool.input.started", start, name));
        }
        if before < Stage::Called && now == Stage::Called {
            let text = json!({"text": Value::Object(input.clone()).to_string()});
            all.push(say("session.next.tool.input.ended", start, text));
            let called = json!({"tool": call.tool, "input": input, "provider": executed()});
            all.push(say("session.next.tool.called", start, called));
        }
        let progress =
            |p: &wire::Progress| json!({"structured": p.structured, "content": p.content});
        match wire::tool(call, start).state {
            State::Pending { .. } => {}
            State::Running(p) => {
                if !p.content.is_empty() || !p.structured.is_empty() {
                    all.push(say("session.next.tool.progress", event.at, progress(&p)));
                }
            }
            State::Completed { progress: p, .. } => {
                let mut more = progress(&p);
                more["outputPaths"] = json!([]);
                more["provider"] = executed();
                all.push(say("session.next.tool.success", event.at, more));
            }
            State::Error { progress: p, error } => {
                if !p.content.is_empty() || !p.structured.is_empty() {
                    all.push(say("session.next.tool.progress", event.at, progress(&p)));
                }
                let more = json!({"error": error, "provider": executed()});
                all.push(say("session.next.tool.failed", event.at, more));
            }
        }
        all
    }

    /// A shell command.
    fn shell(&mut self, event: &Event, part: &Part) -> Vec<Told> {
        let Some(call) = wire::shell(part) else {
            return Vec::new();
        };
        let mut all = Vec::new();
        if self.stage(part) == Stage::Nothing {
            all.push(kept(
                "session.next.shell.started",
                json!({"timestamp": event.at, "sessionID": part.session_id,
                    "messageID": part.message_id, "callID": call.call_id,
                    "command": call.command}),
            ));
        }
        self.note(part, Open::Call(Stage::Called));
        if call.is_over {
            all.push(kept(
                "session.next.shell.ended",
                json!({"timestamp": event.at, "sessionID": part.session_id,
                    "callID": call.call_id, "output": call.output}),
            ));
        }
        all
    }

    fn marker(&mut self, id: &SessionId) -> &mut Marker {
        if self.markers.len() >= MESSAGES && !self.markers.contains_key(id) {
            self.markers.clear();
        }
        self.markers.entry(id.clone()).or_default()
    }

    /// A session changed, and with it perhaps its revert.
    fn session(&mut self, name: &'static str, event: &Event, s: &Session) -> Vec<Told> {
        let info = json!({"sessionID": s.id, "info": SessionDto::of(s)});
        let mut all = self.other(kept(name, info));
        if name != "session.updated" {
            return all;
        }
        let is_news = self.resumed && !self.marker(&s.id).is_known;
        let (id, at) = (&s.id, event.at);
        let marker = self.marker(id);
        marker.is_known = true;
        match (&s.revert, marker.staged.take()) {
            (Some(now), Some(before)) if *now == before => marker.staged = Some(before),
            (Some(now), _) => {
                marker.staged = Some(now.clone());
                all.push(kept(
                    "session.next.revert.staged",
                    json!({"timestamp": at, "sessionID": id, "revert": wire::RevertDto::of(now)}),
                ));
            }
            (None, Some(before)) => {
                let gone = marker.removed.take().filter(|(_, when)| *when == at);
                all.push(match gone {
                    Some(_) => committed(at, id, &before.message_id),
                    None => cleared(at, id),
                });
            }
            (None, None) if is_news => all.push(cleared(at, id)),
            (None, None) => {}
        }
        all
    }

    /// Messages went, and with them the agent's memory of them: a revert was made final.
    fn cleared_up(&mut self, event: &Event) -> Vec<Told> {
        let marker = self.marker(&event.session_id);
        let Some((first, _)) = marker.removed.take().filter(|(_, at)| *at == event.at) else {
            return Vec::new();
        };
        let staged = marker.staged.take();
        marker.is_known = true;
        let boundary = staged.map_or(first, |r| r.message_id);
        vec![committed(event.at, &event.session_id, &boundary)]
    }
}
