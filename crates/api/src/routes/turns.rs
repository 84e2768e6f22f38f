use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Deserialize;
use sessiond_model::{Turn, TurnId};
use sessiond_store::TurnQuery;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{accepted, page};
use crate::docs::{Always, BadBody, Clash, Missing, Reused};
use crate::dto::{
    AbortBody, AbortReply, ChangeList, PromptBody, PromptReply, TurnDto, TurnList, UsageList,
};
use crate::extract::{
    At, Body, IdempotencyKey, NoQuery, OptionalBody, Params, SessionPath, TurnPath, in_range,
};
use crate::limits::WAIT_MAX_SECONDS;
use crate::problem::Problem;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(prompt))
        .routes(routes!(list_turns))
        .routes(routes!(get_turn))
        .routes(routes!(list_changes))
        .routes(routes!(abort))
        .routes(routes!(list_usage))
}

/// Prompt a session
///
/// The answer comes as soon as the prompt is on disk; its turn runs when those before it have
/// ended. Follow it with the turn's address (`?wait=`) or the events. The same `message_id`,
/// or the same `Idempotency-Key` with the same body, is the same prompt. With `no_reply` there is
/// no turn to keep a key with: use `message_id`.
#[utoipa::path(post, path = "/sessions/{session_id}/prompt", tag = "turns", params(
    SessionPath,
    ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, unique per request",
        min_length = 1, max_length = 255, pattern = "^[!-~]+$"),
), request_body = PromptBody, responses(
    (status = 202, description = "It is accepted, or was by an earlier request", body = PromptReply,
        headers(("Location" = String, description = "Address of the turn; with `no_reply` of the message"),
            ("Idempotency-Replayed" = String, description = "`true` when an earlier request made it"))),
    Always, BadBody, Missing, Clash, Reused,
))]
async fn prompt(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
    key: IdempotencyKey,
    body: Body<PromptBody>,
) -> Result<impl IntoResponse, Problem> {
    let idempotency = key.with(|| body.digest());
    let input = body.value.checked(idempotency)?;
    let prompted = state.engine.prompt(&at.session_id, input).await?;
    Ok(accepted(&at.session_id, prompted))
}

/// Which turns to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListTurns {
    /// `true`: only turns that have not ended.
    open: Option<bool>,
    /// Only turns before this one: the first of a page gives the page before it.
    #[param(value_type = Option<String>, pattern = "^trn[A-Za-z0-9_.:-]*$", max_length = 128)]
    before: Option<TurnId>,
    /// At most so many, the newest ones, 1 to 1,000.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// List turns
///
/// The newest `limit` turns, those before `before` if that is given, oldest first.
#[utoipa::path(get, path = "/sessions/{session_id}/turns", tag = "turns", params(SessionPath, ListTurns),
    responses((status = 200, description = "The turns", body = TurnList), Always, Missing))]
async fn list_turns(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    Params(params): Params<ListTurns>,
) -> Result<Json<TurnList>, Problem> {
    let query = TurnQuery {
        open_only: params.open.unwrap_or(false),
        before: params.before,
        limit: Some(page(params.limit)?),
    };
    let turns = state.engine.turns(&at.session_id, &query).await?;
    Ok(Json(TurnList {
        turns: turns.into_iter().map(Into::into).collect(),
    }))
}

/// How to get a turn.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GetTurn {
    /// Wait up to so many seconds for the turn to end, 0 to 60. The turn is answered as it is then.
    #[param(minimum = 0, maximum = 60, default = 0)]
    wait: Option<u32>,
}

/// Get a turn
///
/// With `wait` the answer comes when the turn has ended, at the latest after that time.
#[utoipa::path(get, path = "/sessions/{session_id}/turns/{turn_id}", tag = "turns", params(TurnPath, GetTurn),
    responses((status = 200, description = "The turn, ended or not", body = TurnDto), Always, Missing))]
async fn get_turn(
    State(state): State<ApiState>,
    At(at): At<TurnPath>,
    Params(params): Params<GetTurn>,
) -> Result<Json<TurnDto>, Problem> {
    let wait = in_range("wait", params.wait.unwrap_or(0), 0, WAIT_MAX_SECONDS)?;
    let turn = state.engine.turn(&at.session_id, &at.turn_id).await?;
    Ok(Json(ended(&state, turn, wait).await?.into()))
}

/// The turn once it has ended, `seconds` have passed or the server stops.
async fn ended(state: &ApiState, turn: Turn, seconds: u32) -> Result<Turn, Problem> {
    if seconds == 0 || turn.state.is_terminal() {
        return Ok(turn);
    }
    let timeout = Some(Duration::from_secs(seconds.into()));
    tokio::select! {
        () = state.stopping.cancelled() => Ok(turn),
        ended = state.engine.wait_turn(&turn.id, timeout) => Ok(ended?),
    }
}

/// List the file changes of a turn
#[utoipa::path(get, path = "/sessions/{session_id}/turns/{turn_id}/changes", tag = "turns", params(TurnPath),
    responses((status = 200, description = "The files that this session changed in the turn", body = ChangeList),
        Always, Missing))]
async fn list_changes(
    State(state): State<ApiState>,
    At(at): At<TurnPath>,
    _: NoQuery,
) -> Result<Json<ChangeList>, Problem> {
    let turn = state.engine.turn(&at.session_id, &at.turn_id).await?;
    let changes = state.engine.file_changes(&turn.id).await?;
    Ok(Json(ChangeList {
        changes: changes.into_iter().map(Into::into).collect(),
    }))
}

/// Stop a session's work
///
/// Answers when the work has stopped: the agent is asked first, then its processes are ended.
#[utoipa::path(post, path = "/sessions/{session_id}/abort", tag = "turns", params(SessionPath),
    request_body(content = AbortBody, description = "May be left out"), responses(
    (status = 200, description = "The work has stopped", body = AbortReply), Always, BadBody, Missing,
))]
async fn abort(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
    OptionalBody(body): OptionalBody<AbortBody>,
) -> Result<Json<AbortReply>, Problem> {
    let aborted = state
        .engine
        .abort(&at.session_id, body.value.into())
        .await?;
    let session = state.engine.session(&at.session_id).await?.into();
    Ok(Json(AbortReply { aborted, session }))
}

/// Get the usage ledger
#[utoipa::path(get, path = "/sessions/{session_id}/usage", tag = "turns", params(SessionPath),
    responses((status = 200, description = "What each turn cost", body = UsageList), Always, Missing))]
async fn list_usage(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
) -> Result<Json<UsageList>, Problem> {
    let usage = state.engine.usage(&at.session_id).await?;
    Ok(Json(UsageList {
        usage: usage.into_iter().map(Into::into).collect(),
    }))
}
