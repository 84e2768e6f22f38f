//! The life of one turn, from the queue to its end.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use sessiond_agent::{
    Effect, Env, Incoming, Outcome, PermissionAnswer, RequestId, Translator, TurnContext,
    choose_option, verdict,
};
use sessiond_model::{
    AssistantInfo, Change, DiffSummary, Message, MessageDoc, MessageError, MessageId, MessageInfo,
    MessagePath, MessageTime, ModelRef, Part, PartBody, PartId, Permission, PermissionAction,
    PermissionId, PermissionOption, PermissionOutcome, PermissionReply, RestoreRung, Session,
    SessionPatch, Status, Timestamp, Tokens, ToolRef, ToolState, Turn, TurnEnd, TurnFailure,
    TurnState, Usage, UserSummary, rules,
};
use sessiond_store::{EntityKind, MessageCursor, StoreError, TurnQuery};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::QueuePolicy;
use crate::actor::{Actor, Command};
use crate::bind::{NotReady, stop_group};
use crate::engine::is_transient;
use crate::hub::Delta;

/// How far the stored rows of open parts may be behind.
const CHECKPOINT: Duration = Duration::from_millis(250);
/// Time for each step of a shutdown: cancel, SIGTERM.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);
/// Wait between two attempts to store the end of a turn.
const RETRY: Duration = Duration::from_secs(1);

/// Why a turn is stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Abort(QueuePolicy),
    Shutdown,
    Timeout,
}

/// How far the stopping has got.
#[derive(Debug)]
struct Stopping {
    cause: Cause,
    /// When the agent's group is ended, whatever it does.
    until: Instant,
    /// Who waits for the end.
    done: Vec<oneshot::Sender<()>>,
}

struct Waiting {
    request: RequestId,
    options: Vec<PermissionOption>,
    call_id: Option<String>,
}

/// A running turn.
struct Run {
    turn: Turn,
    session: Session,
    user: Message,
    position: MessageCursor,
    assistant: Message,
    translator: Translator,
    waiting: HashMap<PermissionId, Waiting>,
    /// Open texts whose rows are behind.
    behind: BTreeSet<PartId>,
    /// Running tools whose output grew since their last event.
    grown: HashMap<PartId, Part>,
    /// Parts told to the hub as open.
    open: BTreeSet<PartId>,
    /// The title that may give way to a better one.
    auto_title: Option<String>,
    cost_total: Option<f64>,
    stopping: Option<Stopping>,
}

impl Actor {
    pub(crate) async fn turn(&mut self, turn: Turn, commands: &mut mpsc::Receiver<Command>) {
        let mut run = match self.begin(turn.clone()).await {
            Ok(Some(run)) => run,
            Ok(None) => return self.drop_turn(turn).await,
            Err(e) => {
                tracing::error!(session = %self.live.id, turn = %turn.id, error = %e, "the turn could not begin");
                tokio::time::sleep(RETRY).await;
                return;
            }
        };
        let ready = {
            let prepare = self.prepare(&run.turn.options, run.position);
            tokio::select! {
                ready = prepare => Ok(ready),
                stopping = stopped(commands) => Err(stopping),
            }
        };
        let outcome = match ready {
            Ok(Ok(rung)) => match self.send(&mut run, rung).await {
                Ok(()) => self.drive(&mut run, commands).await,
                Err(not_ready) => Err(not_ready),
            },
            Ok(Err(not_ready)) => Err(not_ready),
            Err(stopping) => {
                run.stopping = Some(stopping);
                Ok(Outcome::Cancelled)
            }
        };
        let is_open = self.slot.as_ref().is_some_and(|s| s.session_id.is_some());
        if outcome.is_err() || !is_open || matches!(outcome, Ok(Outcome::Died(_))) {
            self.end_agent().await;
        }
        self.finish(run, outcome).await;
    }

    /// Puts the turn into `running` with an assistant message to fill. `None` when its prompt
    /// is gone.
    async fn begin(&mut self, mut turn: Turn) -> Result<Option<Run>, StoreError> {
        let store = &self.inner.store;
        let Some(doc) = store.message(&self.live.id, &turn.user_message_id).await? else {
            return Ok(None);
        };
        let (Some(user), Some(session)) = (doc.message(), store.session(&self.live.id).await?)
        else {
            return Ok(None);
        };
        let auto_title = self.auto_title(&session, &doc).await?;
        let worktree = store
            .project(&session.project_id)
            .await?
            .map_or_else(|| "/".to_owned(), |p| p.worktree);
        let now = self.inner.clock.now();
        turn.state = TurnState::Running;
        turn.started_at = Some(now);
        let (commit, assistant) = {
            let mut head = self.live.head();
            let id = MessageId::mint(&*self.inner.ids, &mut head.floor);
            let created = head.message_time(now);
            let assistant = blank_answer(id, &turn, &user, &session, worktree, created);
            turn.assistant_message_id = Some(assistant.id.clone());
            let mut changes = vec![
                Change::PutTurn(turn.clone()),
                Change::PutMessage(assistant.clone()),
            ];
            if let Some((old, new)) = auto_title.clone().filter(|(old, new)| old != new) {
                changes.push(Change::UpdateSession(SessionPatch {
                    title_if: Some((old, new)),
                    ..SessionPatch::default()
                }));
            }
            (
                self.inner.submit(&self.live.id, Vec::new(), changes),
                assistant,
            )
        };
        commit.await?;
        self.live.turn_changed();
        let translator = Translator::new(TurnContext {
            session_id: self.live.id.clone(),
            message_id: assistant.id.clone(),
            agent: turn.options.agent.clone(),
            directory: session.directory.clone(),
        });
        Ok(Some(Run {
            turn,
            user,
            position: MessageCursor(doc.position),
            assistant,
            translator,
            waiting: HashMap::new(),
            behind: BTreeSet::new(),
            grown: HashMap::new(),
            open: BTreeSet::new(),
            auto_title: auto_title.map(|(_, new)| new),
            cost_total: None,
            stopping: None,
            session,
        }))
    }

    /// The present title and the one to show instead, when the present one was not given by
    /// a person: the default one, or the one we had made from the first prompt.
    async fn auto_title(
        &self,
        session: &Session,
        doc: &MessageDoc,
    ) -> Result<Option<(String, String)>, StoreError> {
        if rules::is_default_title(&session.title) {
            let title = rules::title_from_prompt(&prompt_text(doc));
            return Ok(title.map(|t| (session.title.clone(), t)));
        }
        let query = sessiond_store::MessageQuery {
            before: Some(MessageCursor(2)),
            limit: Some(1),
        };
        let page = self.inner.store.messages(&session.id, &query).await?;
        let ours = page
            .messages
            .first()
            .and_then(|d| rules::title_from_prompt(&prompt_text(d)));
        Ok(ours
            .filter(|title| *title == session.title)
            .map(|title| (title.clone(), title)))
    }

    /// Sends the prompt.
    async fn send(&mut self, run: &mut Run, rung: RestoreRung) -> Result<(), NotReady> {
        run.turn.restore = Some(rung);
        let blocks = self.blocks(&run.user, run.position, rung).await?;
        let effects = self.with_env(|env| run.translator.begin(env));
        self.apply(run, effects, vec![Change::PutTurn(run.turn.clone())])
            .await?;
        let Some(slot) = &self.slot else {
            return Err(gone());
        };
        let id = slot.session_id.clone().unwrap_or_default();
        slot.agent.prompt(&id, blocks).await.map_err(|_| gone())
    }

    fn with_env<T>(&self, f: impl FnOnce(&mut Env<'_>) -> T) -> T {
        let mut head = self.live.head();
        let mut env = Env {
            ids: &*self.inner.ids,
            floor: &mut head.floor,
            now: self.inner.clock.now(),
        };
        f(&mut env)
    }

    /// Runs until the agent has answered, died, or was ended.
    async fn drive(
        &mut self,
        run: &mut Run,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<Outcome, NotReady> {
        let limit = Instant::now() + self.inner.config.turn_timeout;
        let mut checkpoint = tokio::time::interval(CHECKPOINT);
        checkpoint.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let Some(slot) = &mut self.slot else {
                return Err(gone());
            };
            let until = run.stopping.as_ref().map_or(limit, |s| s.until);
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Wake) => {}
                    Some(Command::Answered { id, reply, message }) => {
                        self.answered(run, &id, reply, message).await?;
                    }
                    Some(Command::Abort { queue, done }) => {
                        self.stop(run, Cause::Abort(queue), Some(done)).await;
                    }
                    Some(Command::Retire) => self.stop(run, Cause::Abort(QueuePolicy::Drop), None).await,
                    Some(Command::Stop) | None => self.stop(run, Cause::Shutdown, None).await,
                },
                incoming = slot.incoming.recv() => match incoming {
                    Some(Incoming::Update { update, replay: false, .. }) => {
                        let effects = self.with_env(|env| run.translator.update(&update, env));
                        self.apply(run, effects, Vec::new()).await?;
                    }
                    Some(Incoming::Permission { request, params }) => {
                        self.asked(run, request, &params).await?;
                    }
                    Some(Incoming::PromptDone(result)) => {
                        let outcome = match result {
                            Ok(result) => Outcome::Done(result),
                            Err(error) => Outcome::Failed(error),
                        };
                        if run.stopping.is_some() {
                            return Ok(self.stopped(run, outcome).await);
                        }
                        return Ok(outcome);
                    }
                    Some(Incoming::Exited { code, signal, stderr_tail }) => {
                        return Ok(Outcome::Died(obituary(code, signal, &stderr_tail)));
                    }
                    Some(Incoming::Update { .. } | Incoming::Other(_)) => {}
                    None => return Ok(Outcome::Died("the agent closed its output".into())),
                },
                _ = checkpoint.tick(), if !run.behind.is_empty() || !run.grown.is_empty() => {
                    self.checkpoint(run).await?;
                }
                () = tokio::time::sleep_until(until) => {
                    if run.stopping.is_none() {
                        self.stop(run, Cause::Timeout, None).await;
                    } else {
                        // It had its time to obey.
                        self.end_group(run).await;
                        return Ok(Outcome::Cancelled);
                    }
                }
            }
        }
    }

    /// Asks the agent to stop, and takes back what it asks of people.
    async fn stop(&mut self, run: &mut Run, cause: Cause, done: Option<oneshot::Sender<()>>) {
        let Some(slot) = &self.slot else { return };
        if let Some(stopping) = &mut run.stopping {
            // A shutdown is in more of a hurry than an abort.
            if cause == Cause::Shutdown {
                stopping.until = stopping.until.min(Instant::now() + SHUTDOWN_GRACE);
            }
            stopping.done.extend(done);
            return;
        }
        let grace = match cause {
            Cause::Shutdown => SHUTDOWN_GRACE,
            Cause::Abort(_) | Cause::Timeout => self.inner.config.cancel_grace,
        };
        run.stopping = Some(Stopping {
            cause,
            until: Instant::now() + grace,
            done: done.into_iter().collect(),
        });
        if let Some(id) = &slot.session_id {
            let _ = slot.agent.cancel(id).await;
        }
        for waiting in run.waiting.values() {
            let _ = slot
                .agent
                .answer_permission(&waiting.request, PermissionAnswer::Cancelled)
                .await;
        }
    }

    /// The agent says that it has stopped. A tool that it left running may run on (Codex lets
    /// its command go on): then the whole group is ended, because "idle" must mean idle.
    async fn stopped(&mut self, run: &mut Run, outcome: Outcome) -> Outcome {
        let left = run.translator.open_parts().into_iter().any(|p| {
            matches!(p.body, PartBody::Tool(tool) if matches!(tool.state, ToolState::Running { .. }))
        });
        if left {
            self.end_group(run).await;
        }
        outcome
    }

    async fn end_group(&mut self, run: &Run) {
        let grace = match run.stopping.as_ref().map(|s| s.cause) {
            Some(Cause::Shutdown) => SHUTDOWN_GRACE,
            _ => self.inner.config.term_grace,
        };
        if let Some(slot) = &self.slot
            && !stop_group(&slot.agent, grace).await
        {
            tracing::error!(session = %self.live.id, pid = slot.agent.process().pid, "an agent can't be killed");
        }
        self.end_agent().await;
    }

    /// The agent asks for permission: the session's rules answer, or a person is asked.
    async fn asked(
        &mut self,
        run: &mut Run,
        request: RequestId,
        params: &serde_json::Value,
    ) -> Result<(), StoreError> {
        let (effects, ask) = self.with_env(|env| run.translator.permission(params, env));
        let rules = self
            .inner
            .store
            .session(&self.live.id)
            .await?
            .and_then(|s| s.permission);
        let action = rules::evaluate(
            rules.as_deref().unwrap_or_default(),
            &ask.permission,
            &ask.patterns,
        );
        let by_rule = match action {
            _ if run.stopping.is_some() => Some(PermissionReply::Reject),
            PermissionAction::Allow => Some(PermissionReply::Once),
            PermissionAction::Deny => Some(PermissionReply::Reject),
            PermissionAction::Ask => None,
        };
        if let Some(reply) = by_rule {
            self.apply(run, effects, Vec::new()).await?;
            let waiting = Waiting {
                request,
                options: ask.options,
                call_id: ask.call_id,
            };
            return self.tell(run, waiting, reply).await;
        }
        let id = self.with_env(|env| PermissionId::mint(env.ids, env.floor));
        let permission = Permission {
            id: id.clone(),
            session_id: self.live.id.clone(),
            turn_id: run.turn.id.clone(),
            permission: ask.permission,
            patterns: ask.patterns,
            metadata: ask.metadata,
            always: ask.always,
            tool: ask.call_id.clone().map(|call_id| ToolRef {
                message_id: run.assistant.id.clone(),
                call_id,
            }),
            options: ask.options.clone(),
            asked_at: self.inner.clock.now(),
            outcome: None,
        };
        // Before the commit: a fast client answers as soon as it sees the event.
        run.waiting.insert(
            id,
            Waiting {
                request,
                options: ask.options,
                call_id: ask.call_id,
            },
        );
        self.apply(run, effects, vec![Change::AskPermission(permission)])
            .await
    }

    /// A person has answered.
    async fn answered(
        &mut self,
        run: &mut Run,
        id: &PermissionId,
        reply: PermissionReply,
        message: Option<String>,
    ) -> Result<(), StoreError> {
        let Some(waiting) = run.waiting.remove(id) else {
            return Ok(());
        };
        if let Some(message) = message {
            // ACP has no place for a remark; it is kept with the answer and shown to people.
            tracing::debug!(session = %self.live.id, permission = %id, remark = message.len(), "remark not sent");
        }
        self.tell(run, waiting, reply).await
    }

    async fn tell(
        &mut self,
        run: &mut Run,
        waiting: Waiting,
        reply: PermissionReply,
    ) -> Result<(), StoreError> {
        let allowed = reply != PermissionReply::Reject;
        if let Some(call_id) = &waiting.call_id {
            let effects =
                self.with_env(|env| run.translator.permission_answered(call_id, allowed, env));
            self.apply(run, effects, Vec::new()).await?;
        }
        if let Some(slot) = &self.slot {
            let answer = choose_option(&waiting.options, reply);
            if let Err(e) = slot.agent.answer_permission(&waiting.request, answer).await {
                tracing::warn!(session = %self.live.id, error = %e, "the agent did not take the answer");
            }
        }
        Ok(())
    }

    /// Carries out what the translator found, in order. Text is shown only after the part it
    /// belongs to is durable.
    async fn apply(
        &mut self,
        run: &mut Run,
        effects: Vec<Effect>,
        mut changes: Vec<Change>,
    ) -> Result<(), StoreError> {
        for effect in effects {
            match effect {
                Effect::Part(part) => {
                    run.grown.remove(&part.id);
                    run.behind.remove(&part.id);
                    changes.push(Change::PutPart(part));
                }
                Effect::Delta {
                    part_id,
                    message_id,
                    field,
                    delta,
                    offset,
                } => {
                    self.flush(run, &mut changes).await?;
                    run.behind.insert(part_id.clone());
                    self.inner.hub.grow(Delta {
                        session_id: self.live.id.clone(),
                        message_id,
                        part_id,
                        field,
                        delta,
                        offset,
                        directory: self.live.directory(),
                        project_id: self.live.project_id(),
                    });
                }
                Effect::PartGrew(part) => {
                    self.inner.hub.open_part(
                        part.clone(),
                        self.live.directory(),
                        self.live.project_id(),
                    );
                    run.open.insert(part.id.clone());
                    run.grown.insert(part.id.clone(), part);
                }
                Effect::Todos(todos) => {
                    changes.push(Change::SetTodos {
                        todos,
                        turn_id: Some(run.turn.id.clone()),
                    });
                }
                Effect::Title(title) => {
                    if let Some(old) = run.auto_title.clone().filter(|old| *old != title) {
                        let patch = SessionPatch {
                            title_if: Some((old, title.clone())),
                            ..SessionPatch::default()
                        };
                        changes.push(Change::UpdateSession(patch));
                        run.auto_title = Some(title);
                    }
                }
                Effect::Profile(news) => changes.extend(self.profile_news(&news)),
                Effect::Usage { cost_total, .. } => run.cost_total = cost_total.or(run.cost_total),
                Effect::FileEdited(_) => {}
            }
        }
        self.flush(run, &mut changes).await
    }

    async fn flush(&mut self, run: &mut Run, changes: &mut Vec<Change>) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let changes = std::mem::take(changes);
        let parts: Vec<Part> = changes
            .iter()
            .filter_map(|c| match c {
                Change::PutPart(part) => Some(part.clone()),
                _ => None,
            })
            .collect();
        self.inner
            .submit(&self.live.id, Vec::new(), changes)
            .await?;
        for part in parts {
            if part.body.is_open() {
                run.open.insert(part.id.clone());
                self.inner
                    .hub
                    .open_part(part, self.live.directory(), self.live.project_id());
            } else {
                run.open.remove(&part.id);
                self.inner.hub.close_part(&part.id);
            }
        }
        Ok(())
    }

    /// Brings the rows of open parts up to date.
    async fn checkpoint(&mut self, run: &mut Run) -> Result<(), StoreError> {
        let behind = std::mem::take(&mut run.behind);
        let mut changes: Vec<_> = std::mem::take(&mut run.grown)
            .into_values()
            .map(Change::PutPart)
            .collect();
        if !behind.is_empty() {
            let open = run.translator.open_parts();
            changes.extend(
                open.into_iter()
                    .filter(|p| behind.contains(&p.id))
                    .map(Change::CheckpointPart),
            );
        }
        self.flush(run, &mut changes).await
    }

    /// Ends the turn: everything open is closed, cost and files are booked, and the session
    /// is idle unless more turns wait.
    async fn finish(&mut self, mut run: Run, outcome: Result<Outcome, NotReady>) {
        let (end, error, outcome) = judge(&run, outcome);
        let now = self.inner.clock.now();
        let effects = self.with_env(|env| run.translator.finish(&outcome, env));
        let mut changes = Vec::new();
        let mut cost = self.turn_cost(&run);
        let mut tokens = Tokens::default();
        for effect in effects {
            match effect {
                Effect::Part(mut part) => {
                    if let PartBody::StepFinish {
                        cost: part_cost,
                        tokens: part_tokens,
                        ..
                    } = &mut part.body
                    {
                        if cost > 0.0 {
                            *part_cost = cost;
                        }
                        cost = *part_cost;
                        tokens = *part_tokens;
                    }
                    changes.push(Change::PutPart(part));
                }
                Effect::Todos(todos) => {
                    changes.push(Change::SetTodos {
                        todos,
                        turn_id: Some(run.turn.id.clone()),
                    });
                }
                _ => {}
            }
        }
        for id in run.waiting.keys() {
            let outcome = PermissionOutcome::Expired {
                reason: end.state().as_str().into(),
                at: now,
            };
            changes.push(Change::ResolvePermission {
                id: id.clone(),
                outcome,
            });
        }
        if let MessageInfo::Assistant(info) = &mut run.assistant.info {
            info.cost = cost;
            info.tokens = tokens;
            info.error.clone_from(&error);
        }
        let ended = rules::ended_message(&run.assistant, &end, now);
        changes.push(Change::PutMessage(ended));
        if tokens != Tokens::default() || cost > 0.0 {
            changes.push(Change::RecordUsage(Usage {
                turn_id: run.turn.id.clone(),
                message_id: run.assistant.id.clone(),
                model: run.turn.options.model.clone(),
                tokens,
                cost,
                at: now,
            }));
        }
        let summary = book_files(&mut run, &mut changes);
        changes.push(Change::UpdateSession(SessionPatch {
            summary,
            ..SessionPatch::touch()
        }));
        if let Some(error) = error {
            changes.push(Change::ReportError(error));
        }
        changes.extend(rules::close_turn(&run.turn, None, &[], &[], &[], &end, now));
        let cause = run.stopping.as_ref().map(|s| s.cause);
        let dropped = match cause {
            Some(Cause::Abort(QueuePolicy::Drop)) => self.drop_queue(&mut changes, now).await,
            _ => 0,
        };
        self.settle(changes, 1 + dropped, &end).await;
        for id in &run.open {
            self.inner.hub.close_part(id);
        }
        self.live.turn_changed();
        if let Some(slot) = &mut self.slot {
            slot.cost_before = run.cost_total.or(slot.cost_before);
            self.last = Some(run.translator);
        }
        for done in run.stopping.into_iter().flat_map(|s| s.done) {
            let _ = done.send(());
        }
    }

    /// What this turn cost: the agent counts over its whole session.
    fn turn_cost(&self, run: &Run) -> f64 {
        let Some(total) = run.cost_total else {
            return 0.0;
        };
        let before = self.slot.as_ref().and_then(|s| s.cost_before).unwrap_or({
            // A restored agent session may go on counting or begin anew.
            if total >= run.session.cost {
                run.session.cost
            } else {
                0.0
            }
        });
        (total - before).max(0.0)
    }

    /// Ends all waiting turns as aborted, each with an answer of its own that says so.
    async fn drop_queue(&self, changes: &mut Vec<Change>, now: Timestamp) -> usize {
        let query = TurnQuery {
            open_only: true,
            limit: None,
        };
        let waiting = match self.inner.store.turns(&self.live.id, &query).await {
            Ok(turns) => turns
                .into_iter()
                .filter(|t| t.state == TurnState::Queued)
                .collect(),
            Err(e) => {
                tracing::error!(session = %self.live.id, error = %e, "waiting turns could not be read; they will run");
                Vec::new()
            }
        };
        for turn in &waiting {
            changes.extend(self.unanswered(turn, &TurnEnd::Aborted, now).await);
        }
        waiting.len()
    }

    /// The end of a turn that never ran: its prompt gets an answer that says why.
    async fn unanswered(&self, turn: &Turn, end: &TurnEnd, now: Timestamp) -> Vec<Change> {
        let mut turn = turn.clone();
        let mut changes = Vec::new();
        let store = &self.inner.store;
        let user = store
            .message(&self.live.id, &turn.user_message_id)
            .await
            .ok()
            .flatten();
        let session = store.session(&self.live.id).await.ok().flatten();
        if let (Some(user), Some(session)) = (user.and_then(|d| d.message()), session) {
            let mut head = self.live.head();
            let id = MessageId::mint(&*self.inner.ids, &mut head.floor);
            let created = head.message_time(now);
            let answer = blank_answer(
                id,
                &turn,
                &user,
                &session,
                session.directory.clone(),
                created,
            );
            turn.assistant_message_id = Some(answer.id.clone());
            changes.push(Change::PutMessage(rules::ended_message(&answer, end, now)));
        }
        changes.extend(rules::close_turn(&turn, None, &[], &[], &[], end, now));
        changes
    }

    /// A turn whose prompt was deleted while it waited.
    async fn drop_turn(&mut self, turn: Turn) {
        let now = self.inner.clock.now();
        let changes = rules::close_turn(&turn, None, &[], &[], &[], &TurnEnd::Aborted, now);
        self.settle(changes, 1, &TurnEnd::Aborted).await;
        self.live.turn_changed();
    }

    /// Commits the end of `ended` turns with the status that follows. The store may be out of
    /// order for a while (full disk): the end of a turn is worth waiting for.
    async fn settle(&self, mut changes: Vec<Change>, ended: usize, end: &TurnEnd) {
        let mut counted = false;
        loop {
            let commit = {
                let mut head = self.live.head();
                if !counted {
                    head.open_turns = head.open_turns.saturating_sub(ended);
                    counted = true;
                }
                let mut changes = changes.clone();
                if head.open_turns == 0 {
                    let now = self.inner.clock.now();
                    changes.push(Change::SetStatus(match end {
                        TurnEnd::Failed(f) => Status::error(now, f.message.clone()),
                        _ => Status::idle(now),
                    }));
                }
                self.inner.submit(&self.live.id, Vec::new(), changes)
            };
            match commit.await {
                Ok(_) => return,
                Err(e)
                    if is_transient(&e)
                        && !self
                            .inner
                            .stopping
                            .load(std::sync::atomic::Ordering::SeqCst) =>
                {
                    tracing::error!(session = %self.live.id, error = %e, "the end of a turn can't be stored yet");
                    tokio::time::sleep(RETRY).await;
                }
                // A person's answer came at the same moment and was first.
                Err(StoreError::Conflict {
                    kind: EntityKind::Permission,
                    id,
                    ..
                }) => {
                    changes.retain(
                        |c| !matches!(c, Change::ResolvePermission { id: i, .. } if i.as_str() == id),
                    );
                }
                Err(e) => {
                    // The next start ends it as interrupted.
                    tracing::error!(session = %self.live.id, error = %e, "the end of a turn could not be stored");
                    return;
                }
            }
        }
    }
}

impl From<NotReady> for Outcome {
    fn from(e: NotReady) -> Self {
        Self::Died(e.failure.message)
    }
}

/// The turn's end, the error on its message, and the outcome for the translator.
fn judge(
    run: &Run,
    outcome: Result<Outcome, NotReady>,
) -> (TurnEnd, Option<MessageError>, Outcome) {
    if let Some(stopping) = &run.stopping {
        let outcome = outcome.unwrap_or_else(Outcome::from);
        return match stopping.cause {
            Cause::Abort(_) => (
                TurnEnd::Aborted,
                Some(MessageError::Aborted {
                    message: "Aborted".into(),
                }),
                outcome,
            ),
            Cause::Shutdown => {
                let message = "interrupted: sessiond was shut down".to_owned();
                let failure = TurnFailure {
                    code: "shutdown".into(),
                    message: message.clone(),
                };
                (
                    TurnEnd::Interrupted(failure),
                    Some(MessageError::Aborted { message }),
                    outcome,
                )
            }
            Cause::Timeout => {
                let message = "the turn took longer than its time limit and was stopped".to_owned();
                let failure = TurnFailure {
                    code: "timeout".into(),
                    message: message.clone(),
                };
                (
                    TurnEnd::Failed(failure),
                    Some(MessageError::Unknown {
                        message,
                        reference: None,
                    }),
                    outcome,
                )
            }
        };
    }
    match outcome {
        Ok(outcome) => {
            let verdict = verdict(&outcome, &run.translator);
            (verdict.end, verdict.error, outcome)
        }
        Err(not_ready) => {
            let error = not_ready.error.clone();
            (
                TurnEnd::Failed(not_ready.failure.clone()),
                Some(error),
                not_ready.into(),
            )
        }
    }
}

/// Books the files that the agent said it changed; answers the session's new totals.
fn book_files(run: &mut Run, changes: &mut Vec<Change>) -> Option<DiffSummary> {
    let files = run.translator.touched_files();
    if files.is_empty() {
        return None;
    }
    let mut summary = run.session.summary.clone().unwrap_or_default();
    summary.files += files.len() as u64;
    summary.additions += files.iter().map(|f| f.additions).sum::<u64>();
    summary.deletions += files.iter().map(|f| f.deletions).sum::<u64>();
    if let MessageInfo::User(info) = &mut run.user.info {
        info.summary = Some(UserSummary {
            title: None,
            body: None,
            diffs: files.clone(),
        });
        changes.push(Change::PutMessage(run.user.clone()));
    }
    changes.push(Change::SetFileChanges {
        turn_id: run.turn.id.clone(),
        files,
    });
    Some(summary)
}

/// An assistant message without content.
fn blank_answer(
    id: MessageId,
    turn: &Turn,
    user: &Message,
    session: &Session,
    root: String,
    created: Timestamp,
) -> Message {
    let ModelRef {
        provider_id,
        id: model_id,
        variant,
    } = turn.options.model.clone();
    let agent = match &user.info {
        MessageInfo::User(info) => info.agent.clone(),
        MessageInfo::Assistant(info) => info.agent.clone(),
    };
    Message {
        id,
        session_id: session.id.clone(),
        info: MessageInfo::Assistant(Box::new(AssistantInfo {
            time: MessageTime {
                created,
                completed: None,
            },
            parent_id: user.id.clone(),
            model_id,
            provider_id,
            mode: agent.clone(),
            agent,
            path: MessagePath {
                cwd: session.directory.clone(),
                root,
            },
            summary: None,
            cost: 0.0,
            tokens: Tokens::default(),
            variant,
            finish: None,
            error: None,
            structured: None,
        })),
    }
}

/// What a person typed in a prompt.
fn prompt_text(doc: &MessageDoc) -> String {
    doc.typed_parts()
        .into_iter()
        .filter_map(|p| match p.body {
            PartBody::Text {
                text,
                synthetic,
                ignored,
                ..
            } if synthetic != Some(true) && ignored != Some(true) => Some(text),
            _ => None,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Waits for a command that stops a turn whose agent is not ready yet.
async fn stopped(commands: &mut mpsc::Receiver<Command>) -> Stopping {
    let (cause, done) = loop {
        match commands.recv().await {
            Some(Command::Wake | Command::Answered { .. }) => {}
            Some(Command::Abort { queue, done }) => break (Cause::Abort(queue), vec![done]),
            Some(Command::Retire) => break (Cause::Abort(QueuePolicy::Drop), Vec::new()),
            Some(Command::Stop) | None => break (Cause::Shutdown, Vec::new()),
        }
    };
    Stopping {
        cause,
        until: Instant::now(),
        done,
    }
}

fn gone() -> NotReady {
    NotReady {
        failure: TurnFailure {
            code: "agent_exited".into(),
            message: "the agent is gone".into(),
        },
        error: MessageError::Unknown {
            message: "the agent is gone".into(),
            reference: None,
        },
    }
}

fn obituary(code: Option<i32>, signal: Option<i32>, stderr: &str) -> String {
    let how = match (code, signal) {
        (_, Some(signal)) => format!("the agent was killed by signal {signal}"),
        (Some(code), None) => format!("the agent exited with code {code}"),
        (None, None) => "the agent exited".to_owned(),
    };
    match stderr.trim().lines().last() {
        Some(line) => format!("{how}: {line}"),
        None => how,
    }
}
