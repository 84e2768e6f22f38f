use serde::Serialize;
use serde_json::{Map, Value};
use sessiond_model::{
    Permission, PermissionId, Question, QuestionId, QuestionInfo, SessionId, ToolRef,
};

/// A pending permission request.
#[derive(Debug, Serialize)]
pub(crate) struct PermissionDto<'a> {
    id: &'a PermissionId,
    #[serde(rename = "sessionID")]
    session_id: &'a SessionId,
    permission: &'a str,
    patterns: &'a [String],
    metadata: &'a Map<String, Value>,
    always: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<&'a ToolRef>,
}

impl<'a> PermissionDto<'a> {
    pub(crate) fn of(p: &'a Permission) -> Self {
        Self {
            id: &p.id,
            session_id: &p.session_id,
            permission: &p.permission,
            patterns: &p.patterns,
            metadata: &p.metadata,
            always: &p.always,
            tool: p.tool.as_ref(),
        }
    }
}

/// A pending question.
#[derive(Debug, Serialize)]
pub(crate) struct QuestionDto<'a> {
    id: &'a QuestionId,
    #[serde(rename = "sessionID")]
    session_id: &'a SessionId,
    questions: &'a [QuestionInfo],
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<&'a ToolRef>,
}

impl<'a> QuestionDto<'a> {
    pub(crate) fn of(q: &'a Question) -> Self {
        Self {
            id: &q.id,
            session_id: &q.session_id,
            questions: &q.questions,
            tool: q.tool.as_ref(),
        }
    }
}
