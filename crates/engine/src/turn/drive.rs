//! Between a prompt and its answer: what the agent says and what people say meanwhile.

use std::time::Duration;

use sessiond_agent::{
    Incoming, Outcome, PermissionAnswer, QuestionAnswer, RequestId, choose_option,
};
use sessiond_model::{
    Change, PartBody, Permission, PermissionAction, PermissionId, PermissionReply, ToolRef,
    ToolState, rules,
};
use sessiond_store::StoreError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{Cause, Run, Stopping, Waiting, gone, is_newer};
use crate::QueuePolicy;
use crate::actor::{Actor, Command};
use crate::bind::{NotReady, stop_group};

/// How far the stored rows of open parts may be behind.
pub(super) const CHECKPOINT: Duration = Duration::from_millis(250);
/// Time for each step of a shutdown: cancel, SIGTERM.
pub(super) const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

impl Actor {
    /// Runs until the agent has answered, died, or was ended.
    pub(super) async fn drive(
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
                    Some(Command::Wake | Command::Release) => {}
                    Some(Command::Answered { id, reply, message }) => {
                        self.answered(run, &id, reply, message).await?;
                    }
                    Some(Command::QuestionEnded { id, answer }) => {
                        self.question_ended(run, &id, &answer).await;
                    }
                    Some(Command::Abort { upto, done, .. }) if is_newer(&run.turn.id, upto) => {
                        let _ = done.send(());
                    }
                    Some(Command::Abort { queue, done, .. }) => {
                        self.stop(run, Cause::Abort(queue), Some(done)).await;
                    }
                    Some(Command::Retire) => self.stop(run, Cause::Abort(QueuePolicy::Drop), None).await,
                    Some(Command::Stop) | None if self.is_lost() => return Err(gone()),
                    Some(Command::Stop) | None => self.stop(run, Cause::Shutdown, None).await,
                },
                incoming = slot.incoming.recv() => match incoming {
                    Some(Incoming::Update { update, replay: false, .. }) => {
                        let effects = self.with_env(|env| run.translator.update(&update, env));
                        // First of all: the agent may be about to write.
                        self.watch_files(run).await;
                        self.apply(run, effects, Vec::new()).await?;
                    }
                    Some(Incoming::Permission { request, params }) => {
                        self.asked(run, request, &params).await?;
                    }
                    Some(Incoming::Question { request, params }) => {
                        self.questioned(run, request, &params).await?;
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
    pub(super) async fn stop(
        &mut self,
        run: &mut Run,
        cause: Cause,
        done: Option<oneshot::Sender<()>>,
    ) {
        let Some(slot) = &self.slot else { return };
        if let Some(stopping) = &mut run.stopping {
            // A shutdown is in more of a hurry than an abort.
            if cause == Cause::Shutdown {
                stopping.until = stopping.until.min(Instant::now() + SHUTDOWN_GRACE);
            }
            stopping.again(cause, done);
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
        for request in run.asking.values() {
            let _ = slot
                .agent
                .answer_question(request, &QuestionAnswer::Cancelled)
                .await;
        }
    }

    /// The agent says that it has stopped. A tool that it left running may run on (Codex lets
    /// its command go on): then the whole group is ended, because "idle" must mean idle.
    pub(super) async fn stopped(&mut self, run: &mut Run, outcome: Outcome) -> Outcome {
        let left = run.translator.open_parts().into_iter().any(|p| {
            matches!(p.body, PartBody::Tool(tool) if matches!(tool.state, ToolState::Running { .. }))
        });
        if left {
            self.end_group(run).await;
        }
        outcome
    }

    pub(super) async fn end_group(&mut self, run: &Run) {
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
    pub(super) async fn asked(
        &mut self,
        run: &mut Run,
        request: RequestId,
        params: &serde_json::Value,
    ) -> Result<(), StoreError> {
        let (effects, ask) = self.with_env(|env| run.translator.permission(params, env));
        self.watch_files(run).await;
        let session = self
            .read(|| self.inner.store.session(&self.live.id))
            .await?;
        let rules = session.and_then(|s| s.permission);
        let mut all = self.inner.settings.now().permission.clone();
        all.extend(rules.unwrap_or_default());
        let action = rules::evaluate(&all, &ask.permission, &ask.patterns);
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
    pub(super) async fn answered(
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

    pub(super) async fn tell(
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
