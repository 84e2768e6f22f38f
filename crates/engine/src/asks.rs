//! Permission requests and questions: the first answer wins.

use sessiond_model::{
    Change, Permission, PermissionId, PermissionOutcome, PermissionReply, Question, QuestionId,
    QuestionOutcome,
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
        if let Some(mailbox) = self
            .0
            .live
            .peek(&permission.session_id)
            .and_then(|l| l.mailbox())
        {
            let _ = mailbox
                .send(Command::Answered {
                    id: id.clone(),
                    reply,
                    message,
                })
                .await;
        }
        permission.outcome = Some(outcome);
        Ok(permission)
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
    /// `Invalid` when the number of answers is not that of the questions.
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
        self.end_question(
            question,
            QuestionOutcome::Answered {
                answers,
                at: self.0.clock.now(),
            },
        )
        .await
    }

    /// Declines a question.
    ///
    /// # Errors
    /// `NotFound` when there is none of this id, `Conflict` when it has ended before.
    pub async fn reject_question(&self, id: &QuestionId) -> Result<Question> {
        let question = self.question(id).await?;
        self.end_question(
            question,
            QuestionOutcome::Rejected {
                at: self.0.clock.now(),
            },
        )
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
    ) -> Result<Question> {
        let hold = self.0.hold(&question.session_id).await?;
        let change = Change::ResolveQuestion {
            id: question.id.clone(),
            outcome: outcome.clone(),
        };
        self.0.submit(&hold, Vec::new(), vec![change]).await?;
        question.outcome = Some(outcome);
        Ok(question)
    }
}
