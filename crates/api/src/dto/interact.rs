use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sessiond_model as model;
use utoipa::ToSchema;

use crate::extract::{at_most, text};
use crate::limits::{ANSWER_MAX, ANSWERS_MAX, PATTERN_MAX, REMARK_MAX};
use crate::problem::Problem;

/// A rule on what an agent may do.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PermissionRule, example = json!({"permission": "bash", "pattern": "git *", "action": "allow"}))]
pub(crate) struct RuleDto {
    /// Kind of permission, e.g. `edit`, `bash`; `*` matches all.
    #[schema(max_length = 4096)]
    permission: String,
    /// Pattern of the thing asked for; `*` and `?` are wildcards.
    #[schema(max_length = 4096)]
    pattern: String,
    /// What then.
    action: ActionDto,
}

impl RuleDto {
    /// The rule, with texts that are not too long; `at` is its place in the list.
    pub(super) fn checked(self, at: usize) -> Result<model::PermissionRule, Problem> {
        text(
            &format!("permission[{at}].permission"),
            &self.permission,
            PATTERN_MAX,
        )?;
        text(
            &format!("permission[{at}].pattern"),
            &self.pattern,
            PATTERN_MAX,
        )?;
        Ok(model::PermissionRule {
            permission: self.permission,
            pattern: self.pattern,
            action: match self.action {
                ActionDto::Allow => model::PermissionAction::Allow,
                ActionDto::Deny => model::PermissionAction::Deny,
                ActionDto::Ask => model::PermissionAction::Ask,
            },
        })
    }
}

impl From<model::PermissionRule> for RuleDto {
    fn from(r: model::PermissionRule) -> Self {
        Self {
            permission: r.permission,
            pattern: r.pattern,
            action: match r.action {
                model::PermissionAction::Allow => ActionDto::Allow,
                model::PermissionAction::Deny => ActionDto::Deny,
                model::PermissionAction::Ask => ActionDto::Ask,
            },
        }
    }
}

/// What a permission rule does.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PermissionAction)]
pub(crate) enum ActionDto {
    /// Allowed without asking.
    Allow,
    /// Refused without asking.
    Deny,
    /// A person is asked.
    Ask,
}

/// The tool call that a request belongs to.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ToolRef)]
pub(crate) struct ToolRefDto {
    /// The assistant message.
    message_id: String,
    /// The agent's id of the call.
    call_id: String,
}

impl From<model::ToolRef> for ToolRefDto {
    fn from(t: model::ToolRef) -> Self {
        Self {
            message_id: t.message_id.to_string(),
            call_id: t.call_id,
        }
    }
}

/// A request for permission.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Permission, example = json!({
    "id": "per_0123456789abExamplePermis", "session_id": "ses_0123456789abExampleSession",
    "turn_id": "trn_0123456789abExampleTurn00", "permission": "bash", "patterns": ["git push"],
    "metadata": {}, "always": ["git push*"],
    "tool": {"message_id": "msg_0123456789abExampleMessag", "call_id": "call_1"},
    "options": [{"id": "allow", "name": "Allow", "kind": "allow_once"}],
    "asked_at": 1_795_364_893_636_i64, "outcome": null,
}))]
pub(crate) struct PermissionDto {
    /// Its id.
    id: String,
    /// Its session.
    session_id: String,
    /// The turn that waits for it.
    turn_id: String,
    /// Kind of permission, e.g. `edit`, `bash`.
    permission: String,
    /// The things asked for: paths or commands.
    patterns: Vec<String>,
    /// More for people: diff, input, …
    metadata: Map<String, Value>,
    /// What `always` would cover.
    always: Vec<String>,
    /// The tool call.
    tool: Option<ToolRefDto>,
    /// The agent's own options.
    options: Vec<PermissionOptionDto>,
    /// When it was asked. Integer milliseconds since the Unix epoch, UTC.
    asked_at: i64,
    /// How it ended; `null` while pending.
    outcome: Option<PermissionOutcomeDto>,
}

impl From<model::Permission> for PermissionDto {
    fn from(p: model::Permission) -> Self {
        Self {
            id: p.id.to_string(),
            session_id: p.session_id.to_string(),
            turn_id: p.turn_id.to_string(),
            permission: p.permission,
            patterns: p.patterns,
            metadata: p.metadata,
            always: p.always,
            tool: p.tool.map(Into::into),
            options: p.options.into_iter().map(Into::into).collect(),
            asked_at: p.asked_at.millis(),
            outcome: p.outcome.map(Into::into),
        }
    }
}

/// One answer that the agent offers.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = PermissionOption)]
pub(crate) struct PermissionOptionDto {
    /// The agent's id of it.
    id: String,
    /// For people.
    name: String,
    /// `allow_once`, `allow_always`, `reject_once` or `reject_always`.
    kind: String,
}

impl From<model::PermissionOption> for PermissionOptionDto {
    fn from(o: model::PermissionOption) -> Self {
        Self {
            id: o.id,
            name: o.name,
            kind: o.kind,
        }
    }
}

/// A person's answer to a request for permission.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PermissionReply)]
pub(crate) enum ReplyDto {
    /// This time.
    Once,
    /// From now on.
    Always,
    /// No.
    Reject,
}

impl From<ReplyDto> for model::PermissionReply {
    fn from(r: ReplyDto) -> Self {
        match r {
            ReplyDto::Once => Self::Once,
            ReplyDto::Always => Self::Always,
            ReplyDto::Reject => Self::Reject,
        }
    }
}

/// How a request for permission ended.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = PermissionOutcome)]
pub(crate) enum PermissionOutcomeDto {
    /// It was answered.
    Answered {
        /// The answer.
        reply: ReplyDto,
        /// A remark for the agent.
        message: Option<String>,
        /// When. Integer milliseconds since the Unix epoch, UTC.
        at: i64,
    },
    /// Its turn ended before anyone answered.
    Expired {
        /// Why.
        reason: String,
        /// When. Integer milliseconds since the Unix epoch, UTC.
        at: i64,
    },
}

impl From<model::PermissionOutcome> for PermissionOutcomeDto {
    fn from(o: model::PermissionOutcome) -> Self {
        match o {
            model::PermissionOutcome::Answered { reply, message, at } => Self::Answered {
                reply: match reply {
                    model::PermissionReply::Once => ReplyDto::Once,
                    model::PermissionReply::Always => ReplyDto::Always,
                    model::PermissionReply::Reject => ReplyDto::Reject,
                },
                message,
                at: at.millis(),
            },
            model::PermissionOutcome::Expired { reason, at } => Self::Expired {
                reason,
                at: at.millis(),
            },
        }
    }
}

/// Pending requests for permission, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PermissionList {
    /// The requests.
    pub(crate) permissions: Vec<PermissionDto>,
}

/// An answer to a request for permission.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"reply": "once"}))]
pub(crate) struct PermissionReplyBody {
    /// The answer.
    pub(crate) reply: ReplyDto,
    /// A remark for the agent, at most 10,000 characters.
    #[schema(max_length = 10000)]
    pub(crate) message: Option<String>,
}

impl PermissionReplyBody {
    /// The checked answer.
    pub(crate) fn checked(self) -> Result<(model::PermissionReply, Option<String>), Problem> {
        text(
            "message",
            self.message.as_deref().unwrap_or_default(),
            REMARK_MAX,
        )?;
        Ok((self.reply.into(), self.message))
    }
}

/// Questions that an agent asks a person, shown together.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Question, example = json!({
    "id": "que_0123456789abExampleQuesti", "session_id": "ses_0123456789abExampleSession",
    "turn_id": "trn_0123456789abExampleTurn00",
    "questions": [{"question": "Which database?", "header": "Database", "multiple": false, "custom": true,
        "options": [{"label": "SQLite", "description": "One file"}]}],
    "tool": null, "asked_at": 1_795_364_893_636_i64, "outcome": null,
}))]
pub(crate) struct QuestionDto {
    /// Its id.
    id: String,
    /// Its session.
    session_id: String,
    /// The turn that waits for it.
    turn_id: String,
    /// The questions.
    questions: Vec<QuestionInfoDto>,
    /// The tool call.
    tool: Option<ToolRefDto>,
    /// When it was asked. Integer milliseconds since the Unix epoch, UTC.
    asked_at: i64,
    /// How it ended; `null` while pending.
    outcome: Option<QuestionOutcomeDto>,
}

impl From<model::Question> for QuestionDto {
    fn from(q: model::Question) -> Self {
        Self {
            id: q.id.to_string(),
            session_id: q.session_id.to_string(),
            turn_id: q.turn_id.to_string(),
            questions: q.questions.into_iter().map(Into::into).collect(),
            tool: q.tool.map(Into::into),
            asked_at: q.asked_at.millis(),
            outcome: q.outcome.map(Into::into),
        }
    }
}

/// One question.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = QuestionInfo)]
pub(crate) struct QuestionInfoDto {
    /// The question itself.
    question: String,
    /// A short heading.
    header: String,
    /// Answers to choose from.
    options: Vec<QuestionOptionDto>,
    /// Whether several may be chosen.
    multiple: bool,
    /// Whether an answer of one's own may be typed.
    custom: bool,
}

impl From<model::QuestionInfo> for QuestionInfoDto {
    fn from(q: model::QuestionInfo) -> Self {
        Self {
            question: q.question,
            header: q.header,
            options: q
                .options
                .into_iter()
                .map(|o| QuestionOptionDto {
                    label: o.label,
                    description: o.description,
                })
                .collect(),
            multiple: q.multiple.unwrap_or(false),
            // Clients offer a free answer unless told not to.
            custom: q.custom.unwrap_or(true),
        }
    }
}

/// One answer to choose from.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = QuestionOption)]
pub(crate) struct QuestionOptionDto {
    /// The answer.
    label: String,
    /// What it means.
    description: String,
}

/// How a question ended.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schema(as = QuestionOutcome)]
pub(crate) enum QuestionOutcomeDto {
    /// It was answered.
    Answered {
        /// For each question the chosen labels.
        answers: Vec<Vec<String>>,
        /// When. Integer milliseconds since the Unix epoch, UTC.
        at: i64,
    },
    /// A person declined to answer.
    Rejected {
        /// When. Integer milliseconds since the Unix epoch, UTC.
        at: i64,
    },
    /// Its turn ended before anyone answered.
    Expired {
        /// Why.
        reason: String,
        /// When. Integer milliseconds since the Unix epoch, UTC.
        at: i64,
    },
}

impl From<model::QuestionOutcome> for QuestionOutcomeDto {
    fn from(o: model::QuestionOutcome) -> Self {
        match o {
            model::QuestionOutcome::Answered { answers, at } => Self::Answered {
                answers,
                at: at.millis(),
            },
            model::QuestionOutcome::Rejected { at } => Self::Rejected { at: at.millis() },
            model::QuestionOutcome::Expired { reason, at } => Self::Expired {
                reason,
                at: at.millis(),
            },
        }
    }
}

/// Pending questions, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuestionList {
    /// The questions.
    pub(crate) questions: Vec<QuestionDto>,
}

/// An answer to a question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"answers": [["SQLite"]]}))]
pub(crate) struct QuestionReplyBody {
    /// For each question the chosen labels, in the order of the questions; at most 100 of each.
    #[schema(max_items = 100)]
    pub(crate) answers: Vec<Vec<String>>,
}

impl QuestionReplyBody {
    /// The checked answers.
    pub(crate) fn checked(self) -> Result<Vec<Vec<String>>, Problem> {
        at_most("answers", self.answers.len(), ANSWERS_MAX)?;
        for (at, labels) in self.answers.iter().enumerate() {
            let field = format!("answers[{at}]");
            at_most(&field, labels.len(), ANSWERS_MAX)?;
            labels
                .iter()
                .try_for_each(|label| text(&field, label, ANSWER_MAX))?;
        }
        Ok(self.answers)
    }
}

/// One item of an agent's plan.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Todo, example = json!({"content": "Write the test", "status": "in_progress", "priority": "high"}))]
pub(crate) struct TodoDto {
    /// What to do.
    content: String,
    /// `pending`, `in_progress`, `completed` or `cancelled`.
    status: String,
    /// `high`, `medium` or `low`.
    priority: String,
}

impl From<model::Todo> for TodoDto {
    fn from(t: model::Todo) -> Self {
        Self {
            content: t.content,
            status: t.status,
            priority: t.priority,
        }
    }
}

/// An agent's plan.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TodoList {
    /// The items, in the agent's order.
    pub(crate) todos: Vec<TodoDto>,
}
