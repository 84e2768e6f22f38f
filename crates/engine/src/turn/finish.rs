//! The end of a turn, whatever ended it.

use sessiond_agent::{Effect, Outcome, verdict};
use sessiond_model::{
    Change, MessageError, MessageId, MessageInfo, PartBody, PermissionOutcome, QuestionOutcome,
    SessionPatch, Status, Timestamp, Tokens, Turn, TurnEnd, TurnFailure, TurnState, Usage, rules,
};
use sessiond_store::{AskQuery, EntityKind, StoreError, TurnQuery};

use super::{Cause, RETRY, Run, blank_answer, compaction, shell};
use crate::actor::{Actor, Ended};
use crate::bind::NotReady;
use crate::engine::is_transient;
use crate::{QueuePolicy, echo};

impl Actor {
    /// Ends the turn: everything open is closed, cost and files are booked, and the session
    /// is idle unless more turns wait.
    pub(super) async fn finish(&mut self, mut run: Run, outcome: Result<Outcome, NotReady>) {
        let booked = self.book_files(&mut run).await;
        let (end, error, outcome) = judge(&run, outcome);
        let now = self.inner.clock.now();
        let effects = if run.agentless {
            Vec::new()
        } else {
            self.with_env(|env| run.translator.finish(&outcome, env))
        };
        let mut changes = std::mem::take(&mut run.ending);
        let mut cost = self.turn_cost(&run);
        let mut tokens = Tokens::default();
        for effect in effects {
            match effect {
                Effect::Part(mut part) => {
                    if let PartBody::StepFinish {
                        cost: part_cost,
                        tokens: part_tokens,
                        snapshot,
                        ..
                    } = &mut part.body
                    {
                        snapshot.clone_from(&booked.worktree.after);
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
        self.live.forms.lock().clear();
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
        changes.extend(self.expired_questions(&run, &end, now).await);
        if let MessageInfo::Assistant(info) = &mut run.assistant.info {
            info.cost = cost;
            info.tokens = tokens;
            info.error.clone_from(&error);
        }
        let ended = run
            .is_shell()
            .then(|| shell::ended_message(&run.assistant, &end, now))
            .flatten()
            .unwrap_or_else(|| rules::ended_message(&run.assistant, &end, now));
        changes.push(Change::PutMessage(ended));
        let compacted = run.is_compaction() && end.state() == TurnState::Completed;
        if compacted {
            changes.extend(self.let_go().await);
        }
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
        let summary = self.tell_files(&mut run, booked, &mut changes).await;
        let changed_files = summary.is_some();
        if changed_files {
            run.session.summary.clone_from(&summary);
        }
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
        // Of what is another's nothing more is told.
        let is_ours = !self.is_lost();
        if changed_files && is_ours {
            self.inner.tell_changes(&run.session).await;
        }
        let said = echo::said_of(&run.turn.kind, &run.assistant.id, compacted);
        if let Some(said) = said.filter(|_| is_ours) {
            self.inner.notice(&run.session, said);
        }
        for id in &run.open {
            self.inner.hub.close_part(id);
        }
        self.live.turn_changed();
        if let Some(slot) = self.slot.as_mut().filter(|_| !run.agentless) {
            slot.cost_before = run.cost_total.or(slot.cost_before);
            self.last = Some(Ended {
                translator: run.translator,
                auto_title: run.auto_title,
            });
        }
        for done in run.stopping.into_iter().flat_map(|s| s.done) {
            let _ = done.send(());
        }
        if compacted {
            self.end_agent().await;
        }
    }

    /// Takes back what the turn still asks of people.
    async fn expired_questions(&self, run: &Run, end: &TurnEnd, now: Timestamp) -> Vec<Change> {
        let query = AskQuery {
            session_id: Some(self.live.id.clone()),
            directory: None,
        };
        let pending = self.inner.store.pending_questions(&query).await;
        let pending = pending.unwrap_or_else(|e| {
            tracing::error!(session = %self.live.id, error = %e, "open questions could not be read");
            Vec::new()
        });
        let of_turn = pending.into_iter().filter(|q| q.turn_id == run.turn.id);
        of_turn
            .map(|question| Change::ResolveQuestion {
                id: question.id,
                outcome: QuestionOutcome::Expired {
                    reason: end.state().as_str().into(),
                    at: now,
                },
            })
            .collect()
    }

    /// What this turn cost: the agent counts over its whole session.
    pub(super) fn turn_cost(&self, run: &Run) -> f64 {
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
    pub(super) async fn drop_queue(&self, changes: &mut Vec<Change>, now: Timestamp) -> usize {
        let query = TurnQuery {
            open_only: true,
            ..TurnQuery::default()
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
    pub(super) async fn unanswered(
        &self,
        turn: &Turn,
        end: &TurnEnd,
        now: Timestamp,
    ) -> Vec<Change> {
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
    pub(super) async fn drop_turn(&mut self, turn: Turn) {
        let now = self.inner.clock.now();
        let changes = rules::close_turn(&turn, None, &[], &[], &[], &TurnEnd::Aborted, now);
        self.settle(changes, 1, &TurnEnd::Aborted).await;
        self.live.turn_changed();
    }

    /// Commits the end of `ended` turns with the status that follows. The store may be out of
    /// order for a while (full disk): the end of a turn is worth waiting for.
    pub(super) async fn settle(&self, mut changes: Vec<Change>, ended: usize, end: &TurnEnd) {
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
                self.inner.submit(self.live.hold(), Vec::new(), changes)
            };
            match commit.await {
                Ok(_) => return,
                Err(e) if is_transient(&e) && !self.is_over() => {
                    tracing::error!(session = %self.live.id, error = %e, "the end of a turn can't be stored yet");
                    tokio::time::sleep(RETRY).await;
                }
                Err(e @ StoreError::Fenced { .. }) => {
                    tracing::warn!(session = %self.live.id, error = %e, "the end of a turn is another node's");
                    self.inner.lose(&self.live);
                    return;
                }
                // A person's answer came at the same moment and was first.
                Err(StoreError::Conflict {
                    kind: EntityKind::Permission | EntityKind::Question,
                    id,
                    ..
                }) => {
                    changes.retain(|c| match c {
                        Change::ResolvePermission { id: i, .. } => i.as_str() != id,
                        Change::ResolveQuestion { id: i, .. } => i.as_str() != id,
                        _ => true,
                    });
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
                (!run.is_shell()).then(|| MessageError::Aborted {
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
        Ok(outcome) if run.agentless => {
            let finish = "stop".to_owned();
            (TurnEnd::Completed { finish }, None, outcome)
        }
        Ok(outcome) if run.is_compaction() => compaction::judge(run, outcome),
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
