use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::accepted;
use crate::docs::{Always, BadBody, Clash, Missing, Reused};
use crate::dto::{CommandBody, CommandList, PromptReply, ShellBody, TurnBody};
use crate::extract::{At, Body, IdempotencyKey, NoQuery, OptionalBody, Params, SessionPath};
use crate::problem::Problem;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_commands))
        .routes(routes!(run_command))
        .routes(routes!(run_shell))
        .routes(routes!(init_session))
        .routes(routes!(summarize))
}

/// Which commands to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListCommands {
    /// The directory that they are to be used in, absolute. So far they are the same in all.
    #[param(max_length = 4096)]
    directory: Option<String>,
}

/// List the slash commands
///
/// The built-in ones, those of the configuration, and those that the coding agents told when they
/// last ran, the default agent's first.
#[utoipa::path(get, path = "/commands", tag = "turns", params(ListCommands), responses(
    (status = 200, description = "The commands", body = CommandList), Always,
))]
async fn list_commands(
    State(state): State<ApiState>,
    Params(params): Params<ListCommands>,
) -> Result<Json<CommandList>, Problem> {
    state.engine.workspace(params.directory.as_deref()).await?;
    let commands = state.engine.commands().await?;
    Ok(Json(CommandList {
        commands: commands.into_iter().map(Into::into).collect(),
    }))
}

/// Run a slash command
///
/// Accepted as a prompt is: its turn runs when those before it have ended. A template is expanded,
/// and its text is stored and sent; a coding agent's own command is sent as it is typed.
#[utoipa::path(post, path = "/sessions/{session_id}/commands", tag = "turns", params(
    SessionPath,
    ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, unique per request",
        min_length = 1, max_length = 255, pattern = "^[!-~]+$"),
), request_body = CommandBody, responses(
    (status = 202, description = "It is accepted, or was by an earlier request", body = PromptReply,
        headers(("Location" = String, description = "Address of the turn"),
            ("Idempotency-Replayed" = String, description = "`true` when an earlier request made it"))),
    Always, BadBody, Missing, Clash, Reused,
))]
async fn run_command(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
    key: IdempotencyKey,
    body: Body<CommandBody>,
) -> Result<impl IntoResponse, Problem> {
    let idempotency = key.with(|| body.digest());
    let input = body.value.checked(idempotency)?;
    Ok(accepted(
        &at.session_id,
        state.engine.command(&at.session_id, input).await?,
    ))
}

/// Run a shell command
///
/// In the session's directory, in the user's shell, without input; a session that is busy runs it when
/// the turns before it have ended. Its output grows in a `bash` tool part, cut in the middle beyond
/// 128 KiB; `metadata.exit` is the exit code. No coding agent is asked; it is told with the next
/// prompt. An abort ends the command and everything that it started, and so does its own end: nothing
/// runs on in the background.
#[utoipa::path(post, path = "/sessions/{session_id}/shell", tag = "turns", params(
    SessionPath,
    ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, unique per request",
        min_length = 1, max_length = 255, pattern = "^[!-~]+$"),
), request_body = ShellBody, responses(
    (status = 202, description = "It is accepted, or was by an earlier request", body = PromptReply,
        headers(("Location" = String, description = "Address of the turn"),
            ("Idempotency-Replayed" = String, description = "`true` when an earlier request made it"))),
    Always, BadBody, Missing, Clash, Reused,
))]
async fn run_shell(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
    key: IdempotencyKey,
    body: Body<ShellBody>,
) -> Result<impl IntoResponse, Problem> {
    let idempotency = key.with(|| body.digest());
    let input = body.value.checked(idempotency)?;
    Ok(accepted(
        &at.session_id,
        state.engine.shell(&at.session_id, input).await?,
    ))
}

/// Have AGENTS.md written
///
/// The command `init`: the coding agent looks at the project and writes AGENTS.md in the session's
/// directory. It is done when the turn is `completed`.
#[utoipa::path(post, path = "/sessions/{session_id}/init", tag = "turns", params(
    SessionPath,
    ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, unique per request",
        min_length = 1, max_length = 255, pattern = "^[!-~]+$"),
), request_body(content = TurnBody, description = "May be left out"), responses(
    (status = 202, description = "It is accepted, or was by an earlier request", body = PromptReply,
        headers(("Location" = String, description = "Address of the turn"),
            ("Idempotency-Replayed" = String, description = "`true` when an earlier request made it"))),
    Always, BadBody, Missing, Clash, Reused,
))]
async fn init_session(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
    key: IdempotencyKey,
    OptionalBody(body): OptionalBody<TurnBody>,
) -> Result<impl IntoResponse, Problem> {
    let idempotency = key.with(|| body.digest());
    let input = body.value.checked(idempotency)?;
    Ok(accepted(
        &at.session_id,
        state.engine.init(&at.session_id, input).await?,
    ))
}

/// Summarise a session
///
/// The coding agent writes a summary of the conversation. Once the turn is `completed`, the next prompt
/// opens a new agent session, which is told the summary and what came after it. A summary that failed,
/// was aborted or interrupted is never used.
#[utoipa::path(post, path = "/sessions/{session_id}/summarize", tag = "turns", params(
    SessionPath,
    ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, unique per request",
        min_length = 1, max_length = 255, pattern = "^[!-~]+$"),
), request_body(content = TurnBody, description = "May be left out"), responses(
    (status = 202, description = "It is accepted, or was by an earlier request", body = PromptReply,
        headers(("Location" = String, description = "Address of the turn"),
            ("Idempotency-Replayed" = String, description = "`true` when an earlier request made it"))),
    Always, BadBody, Missing, Clash, Reused,
))]
async fn summarize(
    State(state): State<ApiState>,
    At(at): At<SessionPath>,
    _: NoQuery,
    key: IdempotencyKey,
    OptionalBody(body): OptionalBody<TurnBody>,
) -> Result<impl IntoResponse, Problem> {
    let idempotency = key.with(|| body.digest());
    let input = body.value.checked(idempotency)?;
    Ok(accepted(
        &at.session_id,
        state.engine.summarize(&at.session_id, input).await?,
    ))
}
