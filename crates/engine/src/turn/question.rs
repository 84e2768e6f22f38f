//! Questions that an agent asks people in the middle of a turn.

use std::sync::Arc;

use sessiond_agent::{Form, QuestionAnswer, RequestId};
use sessiond_model::{Change, Question, QuestionId, ToolRef};
use sessiond_store::StoreError;

use super::Run;
use crate::actor::Actor;

impl Actor {
    /// The agent wants a form filled in: people get it as a question.
    pub(super) async fn questioned(
        &mut self,
        run: &mut Run,
        request: RequestId,
        params: &serde_json::Value,
    ) -> Result<(), StoreError> {
        let form = Form::read(params).filter(|_| run.stopping.is_none());
        let Some(form) = form else {
            self.answer(&request, &QuestionAnswer::Cancelled).await;
            return Ok(());
        };
        let id = self.with_env(|env| QuestionId::mint(env.ids, env.floor));
        let question = Question {
            id: id.clone(),
            session_id: self.live.id.clone(),
            turn_id: run.turn.id.clone(),
            questions: form.questions.clone(),
            tool: form.call_id.clone().map(|call_id| ToolRef {
                message_id: run.assistant.id.clone(),
                call_id,
            }),
            asked_at: self.inner.clock.now(),
            outcome: None,
        };
        // Before the commit: a fast client answers as soon as it sees the event.
        run.asking.insert(id.clone(), request);
        self.live.forms.lock().insert(id, Arc::new(form));
        self.apply(run, Vec::new(), vec![Change::AskQuestion(question)])
            .await
    }

    /// A person has answered, or does not want to.
    pub(super) async fn question_ended(
        &mut self,
        run: &mut Run,
        id: &QuestionId,
        answer: &QuestionAnswer,
    ) {
        self.live.forms.lock().remove(id);
        if let Some(request) = run.asking.remove(id) {
            self.answer(&request, answer).await;
        }
    }

    async fn answer(&self, request: &RequestId, answer: &QuestionAnswer) {
        if let Some(slot) = &self.slot
            && let Err(e) = slot.agent.answer_question(request, answer).await
        {
            tracing::warn!(session = %self.live.id, error = %e, "the agent did not take the answer");
        }
    }
}
