use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use sessiond_model::SessionId;
use sessiond_store::AskQuery;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::docs::{Always, BadBody, Clash, Missing};
use crate::dto::{
    PermissionDto, PermissionList, PermissionReplyBody, QuestionDto, QuestionList,
    QuestionReplyBody,
};
use crate::extract::{At, Body, NoQuery, Params, PermissionPath, QuestionPath};
use crate::problem::Problem;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_permissions))
        .routes(routes!(reply_permission))
        .routes(routes!(list_questions))
        .routes(routes!(reply_question))
        .routes(routes!(reject_question))
}

/// Whose requests to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListAsks {
    /// Only of this session.
    #[param(value_type = Option<String>, pattern = "^ses[A-Za-z0-9_.:-]*$", max_length = 128)]
    session: Option<SessionId>,
    /// Only of sessions in exactly this directory.
    directory: Option<String>,
}

impl ListAsks {
    async fn checked(self, state: &ApiState) -> Result<AskQuery, Problem> {
        let directory = match &self.directory {
            Some(directory) => Some(
                state
                    .engine
                    .workspace(Some(directory))
                    .await?
                    .directory
                    .clone(),
            ),
            None => None,
        };
        Ok(AskQuery {
            session_id: self.session,
            directory,
        })
    }
}

/// List pending requests for permission
///
/// Oldest first.
#[utoipa::path(get, path = "/permissions", tag = "asks", params(ListAsks), responses(
    (status = 200, description = "The pending requests", body = PermissionList), Always,
))]
async fn list_permissions(
    State(state): State<ApiState>,
    Params(params): Params<ListAsks>,
) -> Result<Json<PermissionList>, Problem> {
    let permissions = state
        .engine
        .permissions(&params.checked(&state).await?)
        .await?;
    Ok(Json(PermissionList {
        permissions: permissions.into_iter().map(Into::into).collect(),
    }))
}

/// Answer a request for permission
///
/// The first answer wins; another one gets 409.
#[utoipa::path(post, path = "/permissions/{permission_id}/reply", tag = "asks", params(PermissionPath),
    request_body = PermissionReplyBody, responses(
    (status = 200, description = "The request with its answer", body = PermissionDto),
    Always, BadBody, Missing, Clash,
))]
async fn reply_permission(
    State(state): State<ApiState>,
    At(at): At<PermissionPath>,
    _: NoQuery,
    body: Body<PermissionReplyBody>,
) -> Result<Json<PermissionDto>, Problem> {
    let (reply, message) = body.value.checked()?;
    Ok(Json(
        state
            .engine
            .reply_permission(&at.permission_id, reply, message)
            .await?
            .into(),
    ))
}

/// List pending questions
///
/// Oldest first.
#[utoipa::path(get, path = "/questions", tag = "asks", params(ListAsks), responses(
    (status = 200, description = "The pending questions", body = QuestionList), Always,
))]
async fn list_questions(
    State(state): State<ApiState>,
    Params(params): Params<ListAsks>,
) -> Result<Json<QuestionList>, Problem> {
    let questions = state
        .engine
        .questions(&params.checked(&state).await?)
        .await?;
    Ok(Json(QuestionList {
        questions: questions.into_iter().map(Into::into).collect(),
    }))
}

/// Answer a question
///
/// The first answer wins; another one gets 409.
#[utoipa::path(post, path = "/questions/{question_id}/reply", tag = "asks", params(QuestionPath),
    request_body = QuestionReplyBody, responses(
    (status = 200, description = "The question with its answer", body = QuestionDto),
    Always, BadBody, Missing, Clash,
))]
async fn reply_question(
    State(state): State<ApiState>,
    At(at): At<QuestionPath>,
    _: NoQuery,
    body: Body<QuestionReplyBody>,
) -> Result<Json<QuestionDto>, Problem> {
    Ok(Json(
        state
            .engine
            .reply_question(&at.question_id, body.value.checked()?)
            .await?
            .into(),
    ))
}

/// Decline a question
///
/// The first answer wins; another one gets 409.
#[utoipa::path(post, path = "/questions/{question_id}/reject", tag = "asks", params(QuestionPath), responses(
    (status = 200, description = "The declined question", body = QuestionDto), Always, Missing, Clash,
))]
async fn reject_question(
    State(state): State<ApiState>,
    At(at): At<QuestionPath>,
    _: NoQuery,
) -> Result<Json<QuestionDto>, Problem> {
    Ok(Json(
        state.engine.reject_question(&at.question_id).await?.into(),
    ))
}
