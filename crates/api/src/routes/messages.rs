use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use sessiond_store::{MessageCursor, MessageQuery};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page;
use crate::cursor::Cursor as _;
use crate::docs::{Always, Missing};
use crate::dto::{MessageDto, MessagePageDto, TodoList};
use crate::extract::{At, MessagePath, NoQuery, Params, SessionPath};
use crate::problem::Problem;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_messages))
        .routes(routes!(get_message))
        .routes(routes!(list_todos))
}

/// Which messages to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListMessages {
    /// `next_cursor` of an earlier page; without it the newest messages.
    cursor: Option<String>,
    /// Number of messages on the page, 1 to 1,000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// List messages
///
/// The newest `limit` messages before the cursor with their parts, in the order of the
/// transcript. Parts that an agent writes now are shown as far as they are.
#[utoipa::path(get, path = "/sessions/{session_id}/messages", tag = "messages", params(SessionPath, ListMessages),
    responses((status = 200, description = "A page of messages", body = MessagePageDto), Always, Missing))]
async fn list_messages(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    Params(params): Params<ListMessages>,
) -> Result<Json<MessagePageDto>, Problem> {
    let before = params
        .cursor
        .as_deref()
        .map(MessageCursor::decode)
        .transpose()?;
    let query = MessageQuery {
        before,
        limit: Some(page(params.limit)?),
    };
    let page = state.engine.messages(&at.session_id, &query).await?;
    Ok(Json(MessagePageDto {
        messages: page.messages.into_iter().map(Into::into).collect(),
        next_cursor: page.older.map(|c| c.encode()),
    }))
}

/// Get a message
#[utoipa::path(get, path = "/sessions/{session_id}/messages/{message_id}", tag = "messages", params(MessagePath),
    responses((status = 200, description = "The message with its parts", body = MessageDto), Always, Missing))]
async fn get_message(
    State(state): State<ApiState>,
    At(at): At<MessagePath>,
    _: NoQuery,
) -> Result<Json<MessageDto>, Problem> {
    Ok(Json(
        state
            .engine
            .message(&at.session_id, &at.message_id)
            .await?
            .into(),
    ))
}

/// Get the agent's plan
#[utoipa::path(get, path = "/sessions/{session_id}/todos", tag = "messages", params(SessionPath),
    responses((status = 200, description = "The todo list", body = TodoList), Always, Missing))]
async fn list_todos(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
) -> Result<Json<TodoList>, Problem> {
    let todos = state.engine.todos(&at.session_id).await?;
    Ok(Json(TodoList {
        todos: todos.into_iter().map(Into::into).collect(),
    }))
}
