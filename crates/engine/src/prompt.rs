//! Accepting turns: validation, de-duplication, and the one commit that makes them durable.
//! Prompts, commands, shell commands and compactions all come through [`Engine::accept`].

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sessiond_agent::Availability;
use sessiond_model::{
    Change, IdStamp, Message, MessageDoc, MessageId, MessageInfo, MessageModel, MessageTime,
    ModelRef, Part, PartBody, PartId, PermissionAction, PermissionRule, Require, Session,
    SessionId, SessionPatch, Status, Turn, TurnId, TurnKind, TurnOptions, TurnState, UserInfo,
};
use sessiond_store::{EntityKind, StoreError};

use crate::engine::{DISABLED, Engine, Inner, Result, is_outage};
use crate::live::{Head, Live};
use crate::sessions::key_misused;
use crate::{Accepted, EngineError, PromptInput, WhenBusy};

/// Most parts of one prompt.
const MAX_PARTS: usize = 1000;
/// The OpenCode agent that every server has: it stands for the coding agent's own default mode.
pub(crate) const DEFAULT_MODE: &str = "build";
/// The model of an agent that has not told its models yet.
pub(crate) const DEFAULT_MODEL: &str = "default";

/// A request for a turn: what is stored as the user message, and what is done about it.
#[derive(Clone, Debug)]
pub(crate) struct TurnRequest {
    pub(crate) kind: TurnKind,
    pub(crate) input: PromptInput,
    pub(crate) busy: WhenBusy,
}

impl TurnRequest {
    /// Whether a coding agent is asked.
    fn asks_agent(&self) -> bool {
        !self.input.no_reply && !matches!(self.kind, TurnKind::Shell { .. })
    }

    /// Whether a stored message and its turn came of the same request. What a command's
    /// message says depends on the commands of that time, so its name and arguments count.
    fn made(&self, doc: &MessageDoc, turn: Option<&Turn>) -> bool {
        let is_user = doc
            .message()
            .is_some_and(|m| matches!(m.info, MessageInfo::User(_)));
        let same_kind = turn.map_or(TurnKind::Prompt, |t| t.kind.clone()) == self.kind;
        is_user && same_kind && (self.kind != TurnKind::Prompt || same_content(doc, &self.input))
    }
}

impl Engine {
    /// Accepts a prompt: durable when this returns. The same `message_id` (or idempotency
    /// key) again answers what the first one did.
    ///
    /// # Errors
    /// `NotFound` for the session; `Invalid` for a value that can't be used; `Conflict` for
    /// an id that belongs to another message, or a key used for another request;
    /// `Unavailable` when the queue is full, the session is being deleted, or the engine is
    /// stopping.
    pub async fn prompt(&self, id: &SessionId, input: PromptInput) -> Result<Accepted> {
        let request = TurnRequest {
            kind: TurnKind::Prompt,
            input,
            busy: WhenBusy::Queue,
        };
        self.accept(id, request).await
    }

    /// Accepts a turn of any kind.
    pub(crate) async fn accept(&self, id: &SessionId, request: TurnRequest) -> Result<Accepted> {
        let inner = &self.0;
        inner.refuse_when_stopping()?;
        let live = inner.live(id).await?;
        let input = &request.input;
        check_parts(&request)?;
        if let Some(accepted) = inner.seen_before(id, &request).await? {
            return Ok(accepted);
        }
        let undo = live.undo.lock().await;
        inner.settle_restore(&live).await?;
        let session = self.session(id).await?;
        inner.needs_directory(&session).await?;
        let options = inner.options(&session, input, request.asks_agent())?;
        let cleanup = inner.cleanup(&session).await?;
        let clears_up = !cleanup.is_empty();
        let (commit, accepted, first) = {
            let mut head = live.head();
            // Who has it now, if it is known, is who the prompt is for; here and below.
            if live.lost.load(Ordering::SeqCst) {
                drop(head);
                return inner.live(id).await.and(Err(EngineError::Unavailable {
                    reason: "this session is moving to another node".into(),
                    retry_after: std::time::Duration::from_secs(1),
                }));
            }
            if head.closed > 0 {
                return Err(EngineError::Unavailable {
                    reason: "this session is being deleted".into(),
                    retry_after: std::time::Duration::from_secs(1),
                });
            }
            if request.busy == WhenBusy::Refuse && head.open_turns > 0 {
                return Err(EngineError::Busy(id.clone()));
            }
            if !input.no_reply && head.open_turns >= inner.config.queue_limit {
                return Err(EngineError::Unavailable {
                    reason: format!("{} prompts wait in this session already", head.open_turns),
                    retry_after: std::time::Duration::from_secs(5),
                });
            }
            inner.submit_turn(&live, &mut head, &session, &request, &options, cleanup)
        };
        // From here on the session is busy for a revert. Nobody else may clear up the same
        // before that is committed.
        let _undo = clears_up.then_some(undo);
        if let Err(e) = commit.await {
            match &accepted.turn {
                Some(turn) if is_outage(&e) && inner.store.leases().is_some() => {
                    // The answer may have been lost, and not the turn.
                    inner.find_out(live.clone(), turn.id.clone());
                }
                Some(_) => inner.take_back(&live, first).await,
                None => {}
            }
            return match e {
                // Two requests with one id at the same time: the other one was first.
                StoreError::Precondition(Require::MessageAbsent(message)) => inner
                    .seen_before(id, &request)
                    .await?
                    .ok_or_else(|| EngineError::not_found(EntityKind::Message, &message)),
                StoreError::Precondition(Require::NotDeleted) => {
                    Err(EngineError::not_found(EntityKind::Session, id))
                }
                // Nothing was written.
                e @ StoreError::Fenced { .. } => inner.live(id).await.and(Err(e.into())),
                e => Err(e.into()),
            };
        }
        if accepted.turn.is_some() {
            Inner::wake(inner, &live);
        }
        Ok(accepted)
    }
}

impl Inner {
    /// The answer to a request that came before: by its message id or its idempotency key.
    async fn seen_before(&self, id: &SessionId, request: &TurnRequest) -> Result<Option<Accepted>> {
        let input = &request.input;
        if let Some((key, digest)) = &input.idempotency
            && let Some(turn) = self.store.turn_by_key(id, key).await?
        {
            if turn.idempotency_digest.as_ref() != Some(digest) || turn.kind != request.kind {
                return Err(key_misused(key));
            }
            let doc = self
                .store
                .message(id, &turn.user_message_id)
                .await?
                .ok_or_else(|| {
                    EngineError::not_found(EntityKind::Message, &turn.user_message_id)
                })?;
            return Ok(accepted_again(&doc, Some(turn)));
        }
        let Some(message_id) = &input.message_id else {
            return Ok(None);
        };
        let taken = |owner: Option<SessionId>, reason: &str| EngineError::Conflict {
            kind: EntityKind::Message,
            id: message_id.to_string(),
            owner,
            reason: reason.into(),
        };
        match self.store.message_owner(message_id).await? {
            None => return Ok(None),
            Some(owner) if owner != *id => {
                return Err(taken(
                    Some(owner),
                    "this id belongs to a message of another session",
                ));
            }
            Some(_) => {}
        }
        let Some(doc) = self.store.message(id, message_id).await? else {
            return Ok(None);
        };
        let turn = self.store.turn_of_message(id, message_id).await?;
        if !request.made(&doc, turn.as_ref()) {
            return Err(taken(None, "this id was used before for another message"));
        }
        Ok(accepted_again(&doc, turn))
    }

    /// Builds and submits the commit of a turn. Answers also whether it makes the session busy.
    fn submit_turn(
        &self,
        live: &Live,
        head: &mut Head,
        session: &Session,
        TurnRequest { kind, input, .. }: &TurnRequest,
        options: &TurnOptions,
        cleanup: Vec<Change>,
    ) -> (sessiond_store::CommitFuture, Accepted, bool) {
        let now = self.clock.now();
        let message_id = match &input.message_id {
            Some(id) => {
                head.floor = id.stamp().map_or(head.floor, |s| raised(head.floor, s));
                id.clone()
            }
            None => MessageId::mint(&*self.ids, &mut head.floor),
        };
        let agent = input
            .agent
            .clone()
            .or_else(|| session.agent.clone())
            .or_else(|| options.mode.clone())
            .unwrap_or_else(|| DEFAULT_MODE.to_owned());
        let message = Message {
            id: message_id.clone(),
            session_id: live.id.clone(),
            info: MessageInfo::User(Box::new(UserInfo {
                time: MessageTime {
                    created: head.message_time(now),
                    completed: None,
                },
                agent: agent.clone(),
                model: MessageModel {
                    provider_id: options.model.provider_id.clone(),
                    model_id: options.model.id.clone(),
                    variant: options.model.variant.clone(),
                },
                summary: None,
                system: input.system.clone(),
                tools: input.tools.clone(),
                format: input.format.clone(),
            })),
        };
        let parts: Vec<Part> = input
            .parts
            .iter()
            .map(|part| Part {
                id: match &part.id {
                    Some(id) => {
                        head.floor = id.stamp().map_or(head.floor, |s| raised(head.floor, s));
                        id.clone()
                    }
                    None => PartId::mint(&*self.ids, &mut head.floor),
                },
                session_id: live.id.clone(),
                message_id: message_id.clone(),
                body: part.body.clone(),
            })
            .collect();
        let mut changes = cleanup;
        changes.push(Change::PutMessage(message.clone()));
        changes.extend(parts.iter().cloned().map(Change::PutPart));
        let model = ModelRef {
            variant: options
                .model
                .variant
                .clone()
                .or_else(|| Some("default".into())),
            ..options.model.clone()
        };
        // A summary may be written by another model, and a shell asks none: the conversation
        // keeps its own.
        let keeps = matches!(kind, TurnKind::Compaction | TurnKind::Shell { .. });
        changes.push(Change::UpdateSession(SessionPatch {
            agent: (!keeps && session.agent.as_ref() != Some(&agent)).then_some(agent),
            model: (!keeps && session.model.as_ref() != Some(&model)).then_some(model),
            permission: input.tools.as_ref().map(|tools| {
                let rule = |(name, on): (&String, &bool)| PermissionRule {
                    permission: name.clone(),
                    pattern: "*".into(),
                    action: if *on {
                        PermissionAction::Allow
                    } else {
                        PermissionAction::Deny
                    },
                };
                tools.iter().map(rule).collect()
            }),
            ..SessionPatch::touch()
        }));
        let mut first = false;
        let turn = (!input.no_reply).then(|| {
            let turn = Turn {
                id: TurnId::mint(&*self.ids, &mut head.floor),
                session_id: live.id.clone(),
                state: TurnState::Queued,
                user_message_id: message_id.clone(),
                assistant_message_id: None,
                options: options.clone(),
                queued_at: now,
                started_at: None,
                ended_at: None,
                restore: None,
                failure: None,
                idempotency_key: input.idempotency.as_ref().map(|(key, _)| key.clone()),
                idempotency_digest: input.idempotency.as_ref().map(|(_, digest)| digest.clone()),
                kind: kind.clone(),
                worktree: None,
            };
            changes.push(Change::PutTurn(turn.clone()));
            // Turns in doubt may have made nothing busy.
            first = head.open_turns == head.doubtful;
            if first {
                changes.push(Change::SetStatus(Status::busy(now)));
            }
            head.open_turns += 1;
            turn
        });
        let require = vec![Require::NotDeleted, Require::MessageAbsent(message_id)];
        let commit = self.submit(live.hold(), require, changes);
        (
            commit,
            Accepted {
                message,
                parts,
                turn,
                replayed: false,
            },
            first,
        )
    }

    /// Who and what is to answer: what the prompt says, else what the session had, else the
    /// defaults. Anything unknown is refused before it is stored.
    pub(crate) fn options(
        &self,
        session: &Session,
        input: &PromptInput,
        asks_agent: bool,
    ) -> Result<TurnOptions> {
        // An imported session names the model of a program that is none of our agents.
        let is_ours = |m: &&ModelRef| self.catalogue.get(&m.provider_id).is_some();
        let is_foreign = session.model.as_ref().is_some_and(|m| !is_ours(&m));
        let settings = self.settings.now();
        let wanted = input.model.as_ref();
        let wanted = wanted.or(session.model.as_ref().filter(is_ours));
        let wanted = wanted.or(settings.model.as_ref().filter(is_ours));
        let agent = wanted.map_or_else(|| self.default_agent(), |m| m.provider_id.clone());
        if self.catalogue.get(&agent).is_none() {
            let known: Vec<_> = self.catalogue.iter().map(|s| s.name.as_str()).collect();
            return Err(EngineError::invalid(
                "model.providerID",
                format!(
                    "Expected the name of an agent ({}), got {agent:?}",
                    known.join(", ")
                ),
            ));
        }
        if asks_agent && settings.disabled_agents.contains(&agent) {
            return Err(EngineError::invalid(
                "model.providerID",
                format!("agent {agent:?} can't be used: {DISABLED}"),
            ));
        }
        if asks_agent && let Availability::Missing { reason } = self.catalogue.availability(&agent)
        {
            return Err(EngineError::invalid(
                "model.providerID",
                format!("agent {agent:?} can't be used: {reason}"),
            ));
        }
        let profiles = self.profiles.lock();
        let profile = profiles.get(&agent);
        let model = match wanted {
            Some(m) => m.clone(),
            None => ModelRef {
                provider_id: agent.clone(),
                id: profile
                    .and_then(|p| p.current_model.clone())
                    .unwrap_or_else(|| DEFAULT_MODEL.to_owned()),
                variant: None,
            },
        };
        if let Some(asked) = &input.model
            && let Some(profile) = profile.filter(|p| !p.models.is_empty())
            && asked.id != DEFAULT_MODEL
            && !profile.models.iter().any(|m| m.id == asked.id)
        {
            let known: Vec<_> = profile.models.iter().map(|m| m.id.as_str()).collect();
            return Err(EngineError::invalid(
                "model.modelID",
                format!(
                    "Expected a model of {agent} ({}), got {:?}",
                    known.join(", "),
                    asked.id
                ),
            ));
        }
        let kept = session.agent.as_ref().filter(|_| !is_foreign);
        let name = input.agent.as_ref().or(kept);
        let mode = match name {
            None => settings
                .mode
                .clone()
                .filter(|mode| profile.is_some_and(|p| p.modes.iter().any(|m| m.id == *mode))),
            Some(name) => match profile {
                Some(p) if p.modes.iter().any(|m| m.id == *name) => Some(name.clone()),
                _ if name == DEFAULT_MODE => None,
                // A mode of another agent, e.g. after a switch: this one's default.
                _ if profiles
                    .values()
                    .any(|p| p.modes.iter().any(|m| m.id == *name)) =>
                {
                    None
                }
                // Nobody has said its modes yet: the agent will judge.
                None => Some(name.clone()),
                Some(p) => {
                    let known: Vec<_> = p.modes.iter().map(|m| m.id.as_str()).collect();
                    return Err(EngineError::invalid(
                        "agent",
                        format!(
                            "Expected {DEFAULT_MODE:?} or a mode of {agent} ({}), got {name:?}",
                            known.join(", ")
                        ),
                    ));
                }
            },
        };
        Ok(TurnOptions { agent, mode, model })
    }

    /// Makes sure that the session has an actor and that it looks at the queue.
    pub(crate) fn wake(inner: &Arc<Self>, live: &Arc<Live>) {
        crate::actor::wake(inner, live);
    }
}

/// The later of two stamps; the very first one counts as none.
fn raised(floor: IdStamp, seen: IdStamp) -> IdStamp {
    if floor == IdStamp::default() {
        seen
    } else {
        floor.max(seen)
    }
}

fn check_parts(TurnRequest { kind, input, .. }: &TurnRequest) -> Result<()> {
    if input.parts.len() > MAX_PARTS {
        return Err(EngineError::invalid(
            "parts",
            format!("Expected at most {MAX_PARTS} parts"),
        ));
    }
    let mut ids = std::collections::HashSet::new();
    for (i, part) in input.parts.iter().enumerate() {
        if let Some(id) = &part.id
            && !ids.insert(id)
        {
            return Err(EngineError::invalid(
                format!("parts[{i}].id"),
                format!("{id} is given twice"),
            ));
        }
        let fits = match part.body {
            PartBody::Text { .. }
            | PartBody::File { .. }
            | PartBody::Agent { .. }
            | PartBody::Subtask { .. } => true,
            PartBody::Compaction { .. } => *kind == TurnKind::Compaction,
            _ => false,
        };
        if !fits {
            return Err(EngineError::invalid(
                format!("parts[{i}].type"),
                "Expected \"text\", \"file\", \"agent\" or \"subtask\"",
            ));
        }
    }
    Ok(())
}

fn accepted_again(doc: &MessageDoc, turn: Option<Turn>) -> Option<Accepted> {
    let message = doc.message()?;
    Some(Accepted {
        message,
        parts: doc.typed_parts(),
        turn,
        replayed: true,
    })
}

/// Whether a stored message says what a prompt says; ids of parts aside.
fn same_content(doc: &MessageDoc, input: &PromptInput) -> bool {
    let mut stored: Vec<_> = doc.typed_parts().into_iter().map(|p| p.body).collect();
    // Parts are listed by id, which a client may have chosen out of order.
    input.parts.len() == stored.len()
        && input.parts.iter().all(|part| {
            let at = stored.iter().position(|body| *body == part.body);
            at.map(|i| stored.swap_remove(i)).is_some()
        })
}
