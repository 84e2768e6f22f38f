//! Permission requests and questions: the first answer wins.

use std::sync::Arc;

use sessiond_agent::{Form, QuestionAnswer};
use sessiond_model::{
    Change, Permission, PermissionId, PermissionOutcome, PermissionReply, Question, QuestionId,
    QuestionOutcome, SessionId,
};
use sessiond_store::{AskQuery, EntityKind};

use crate::EngineError;
use crate::actor::Command;
use crate::engine::{Engine, Result};

impl Engine {
    /// Pending permission requests, oldest first.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn permissions(&self, query: &AskQuery) -> Result<Vec<Permission>> {
        Ok(self.0.store.pending_permissions(query).await?)
    }

    /// A permission request, pending or ended.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn permission(&self, id: &PermissionId) -> Result<Permission> {
        self.0
            .store
            .permission(id)
            .await?
            .ok_or_else(|| EngineError::not_found(EntityKind::Permission, id))
    }

    /// Answers a permission request; the first answer wins.
    ///
    /// # Errors
    /// `NotFound` when there is none of this id, `Conflict` when it has ended before.
    pub async fn reply_permission(
        &self,
        id: &PermissionId,
        reply: PermissionReply,
        message: Option<String>,
    ) -> Result<Permission> {
        let mut permission = self.permission(id).await?;
        let hold = self.0.hold(&permission.session_id).await?;
        let at = self.0.clock.now();
        let outcome = PermissionOutcome::Answered {
            reply,
            message: message.clone(),
            at,
        };
        let change = Change::ResolvePermission {
            id: id.clone(),
            outcome: outcome.clone(),
        };
        self.0.submit(&hold, Vec::new(), vec![change]).await?;
        // The answer is durable; the agent gets it now. If the actor has just ended the turn,
        // nobody waits for it any more.
        let id = id.clone();
        let answered = Command::Answered { id, reply, message };
        self.tell_actor(&permission.session_id, answered).await;
        permission.outcome = Some(outcome);
        Ok(permission)
    }

    async fn tell_actor(&self, session: &SessionId, command: Command) {
        let live = self.0.live.peek(session);
        if let Some(mailbox) = live.and_then(|live| live.mailbox()) {
            let _ = mailbox.send(command).await;
        }
    }

    /// Pending questions, oldest first.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn questions(&self, query: &AskQuery) -> Result<Vec<Question>> {
        Ok(self.0.store.pending_questions(query).await?)
    }

    /// Answers a question; the first answer wins.
    ///
    /// # Errors
    /// `NotFound` when there is none of this id, `Conflict` when it has ended before,
    /// `Invalid` when the number of answers is not that of the questions, or one is not of the kind
    /// that the agent waits for.
    pub async fn reply_question(
        &self,
        id: &QuestionId,
        answers: Vec<Vec<String>>,
    ) -> Result<Question> {
        let question = self.question(id).await?;
        if answers.len() != question.questions.len() {
            return Err(EngineError::invalid(
                "answers",
                format!(
                    "Expected {} answers, got {}",
                    question.questions.len(),
                    answers.len()
                ),
            ));
        }
        let form = self.form(&question);
        let answer = match form.map(|form| form.answer(&answers)) {
            Some(Ok(answer)) => answer,
            Some(Err(unfit)) => {
                let field = format!("answers.{}", unfit.index);
                return Err(EngineError::invalid(field, unfit.reason.to_owned()));
            }
            None => QuestionAnswer::Cancelled,
        };
        let at = self.0.clock.now();
        let outcome = QuestionOutcome::Answered { answers, at };
        self.end_question(question, outcome, answer).await
    }

    /// What the agent wants filled in, while it waits for that.
    fn form(&self, question: &Question) -> Option<Arc<Form>> {
        let live = self.0.live.peek(&question.session_id)?;
        live.forms.lock().get(&question.id).cloned()
    }

    /// Declines a question.
    ///
    /// # Errors
    /// `NotFound` when there is none of this id, `Conflict` when it has ended before.
    pub async fn reject_question(&self, id: &QuestionId) -> Result<Question> {
        let question = self.question(id).await?;
        let at = self.0.clock.now();
        let outcome = QuestionOutcome::Rejected { at };
        self.end_question(question, outcome, QuestionAnswer::Declined)
            .await
    }

    async fn question(&self, id: &QuestionId) -> Result<Question> {
        self.0
            .store
            .question(id)
            .await?
            .ok_or_else(|| EngineError::not_found(EntityKind::Question, id))
    }

    async fn end_question(
        &self,
        mut question: Question,
        outcome: QuestionOutcome,
        answer: QuestionAnswer,
    ) -> Result<Question> {
        let hold = self.0.hold(&question.session_id).await?;
        let change = Change::ResolveQuestion {
            id: question.id.clone(),
            outcome: outcome.clone(),
        };
        self.0.submit(&hold, Vec::new(), vec![change]).await?;
        // The answer is durable; the agent gets it now, if it still waits.
        self.tell_actor(
            &question.session_id,
            Command::QuestionEnded {
                id: question.id.clone(),
                answer,
            },
        )
        .await;
        question.outcome = Some(outcome);
        Ok(question)
    }
}
