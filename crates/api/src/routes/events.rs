use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use sessiond_engine::SubscribeOptions;
use sessiond_model::{Seq, SessionId};
use sessiond_store::{EventQuery, Scope};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page;
use crate::docs::Always;
use crate::dto::{EventDto, EventPageDto};
use crate::extract::{LastEventId, Params, WantsStream, in_range};
use crate::limits::HEARTBEAT;
use crate::problem::Problem;
use crate::sse;
use crate::state::ApiState;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list_events))
}

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListEvents {
    /// Only events after this `seq`. A page starts at 0 without it, a stream begins now.
    after: Option<u64>,
    /// Number of events on a page, 1 to 1,000; without meaning for a stream.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// Only of this session.
    #[param(value_type = Option<String>, pattern = "^ses[A-Za-z0-9_.:-]*$", max_length = 128)]
    session: Option<SessionId>,
    /// Only of sessions in exactly this directory; not together with `session`.
    directory: Option<String>,
}

impl ListEvents {
    fn after(&self) -> Result<Option<Seq>, Problem> {
        // Stores count in signed 64-bit numbers.
        self.after
            .map(|after| in_range("after", after, 0, i64::MAX as u64).map(Seq))
            .transpose()
    }

    async fn scope(self, state: &ApiState) -> Result<Scope, Problem> {
        match (self.session, self.directory) {
            (Some(_), Some(_)) => Err(Problem::invalid(
                "directory",
                "Expected either `session` or `directory`",
            )),
            (Some(session), None) => Ok(Scope::Session(session)),
            (None, Some(directory)) => Ok(Scope::Directory(
                state
                    .engine
                    .workspace(Some(&directory))
                    .await?
                    .directory
                    .clone(),
            )),
            (None, None) => Ok(Scope::All),
        }
    }
}

/// Read or follow the events
///
/// A page of the log as JSON; with `Accept: text/event-stream` a live stream that begins after
/// `Last-Event-ID` or `after`, or now.
///
/// A stream's messages are JSON objects with a `type`. First comes `connected`; then the events
/// after the cursor; then, without positions, the present state of what is going on (busy
/// sessions, parts being written, pending permissions and questions); then live events, and
/// `part.delta` for text as it is written. Durable events carry their `seq` as `id`. When the
/// cursor is unknown here, `resync` says to fetch everything anew. Every 10 seconds
/// comes a comment and a `heartbeat`. A client that is too slow for the live events gets them
/// from the log, none is lost.
#[utoipa::path(get, path = "/events", tag = "events", params(
    ListEvents,
    ("Accept" = Option<String>, Header, description = "`text/event-stream` for a live stream",
        example = "text/event-stream"),
    ("Last-Event-ID" = Option<u64>, Header, description = "Stream only: `id` of the last message seen; wins over `after`"),
), responses(
    (status = 200, description = "A page of events, or the stream", content(
        (EventPageDto = "application/json"),
        (String = "text/event-stream", example = "id: 12\ndata: {\"type\":\"connected\",\"data\":{\"cursor\":12}}\n\n"),
    )),
    Always,
))]
async fn list_events(
    State(state): State<ApiState>,
    WantsStream(stream): WantsStream,
    LastEventId(last): LastEventId,
    Params(params): Params<ListEvents>,
) -> Result<Response, Problem> {
    let (after, limit) = (params.after()?, page(params.limit)?);
    let scope = params.scope(&state).await?;
    if stream {
        let options = SubscribeOptions {
            notices: false,
            scope,
            after: last.or(after),
            pending: true,
            changed_since: None,
        };
        let subscription = state.engine.subscribe(options).await?;
        return Ok(sse::response(
            subscription,
            state.engine,
            state.stopping,
            HEARTBEAT,
        ));
    }
    let page = state
        .engine
        .events(&EventQuery {
            after: after.unwrap_or_default(),
            until: None,
            scope,
            limit,
        })
        .await?;
    let events = page.events.iter().map(EventDto::from).collect();
    Ok(Json(EventPageDto {
        events,
        next: page.next.0,
        more: page.more,
    })
    .into_response())
}
