//! `/api/session`: the sessions themselves.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sessiond_engine::{AbortOptions, EngineError, Rendered, SessionUpdate};
use sessiond_model::{ProjectId, Session, SessionId, StatusKind, Timestamp, TurnState};
use sessiond_store::{EntityKind, SessionCursor, SessionOrder, SessionQuery, TurnQuery};

use crate::decode::{Kind, Reject, v2 as decode};
use crate::error::ApiError;
use crate::extract::{Pairs, kept};
use crate::state::App;
use crate::v2::error::Error;
use crate::v2::extract::{self, Body, InSession, Place, Query, Reply};
use crate::v2::wire::SessionDto;

/// Sessions listed when the client gives no limit.
const DEFAULT_LIMIT: u32 = 50;

/// Which way a list goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Order {
    Asc,
    Desc,
}

/// Which way from the anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Direction {
    Next,
    Previous,
}

/// `order`, the newest first when there is none.
pub(super) fn order(query: &Pairs) -> Result<Option<Order>, Reject> {
    match query.get("order") {
        None => Ok(None),
        Some("asc") => Ok(Some(Order::Asc)),
        Some("desc") => Ok(Some(Order::Desc)),
        Some(other) => Err(Reject::new(
            Kind::Query,
            format!("Expected \"asc\" | \"desc\", got {}", json!(other)),
        )
        .at("order")),
    }
}

/// A whole number of the query that is at least `least`.
pub(super) fn number(
    query: &Pairs,
    name: &str,
    least: u32,
    words: &str,
) -> Result<Option<u64>, Reject> {
    let Some(text) = query.get(name) else {
        return Ok(None);
    };
    let wrong = |reason: String| Reject::new(Kind::Query, reason).at(name);
    let number = text
        .trim()
        .parse::<f64>()
        .ok()
        .filter(|n| n.is_finite())
        .ok_or_else(|| wrong("Expected an integer, got NaN".into()))?;
    if number.fract() != 0.0 {
        return Err(wrong(format!("Expected an integer, got {number}")));
    }
    if number < f64::from(least) {
        return Err(wrong(format!("Expected a value {words}, got {number}")));
    }
    #[expect(clippy::cast_possible_truncation, reason = "saturates")]
    #[expect(clippy::cast_sign_loss, reason = "checked above")]
    Ok(Some(number as u64))
}

/// What a list is of; part of its cursors.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Filters {
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Order>,
    #[serde(skip_serializing_if = "Option::is_none")]
    search: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    directory: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subpath: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Anchor {
    id: SessionId,
    time: i64,
    direction: Direction,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Cursor {
    #[serde(flatten)]
    filters: Filters,
    anchor: Anchor,
}

impl Cursor {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(json!(self).to_string())
    }

    fn decode(text: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

pub(crate) async fn list(State(app): State<App>, Query(query): Query) -> Reply {
    let limit = number(&query, "limit", 1, "greater than 0")?;
    let limit = limit.map_or(DEFAULT_LIMIT, |n| u32::try_from(n).unwrap_or(u32::MAX));
    let order = order(&query)?;
    let text = |name| query.filled(name).map(str::to_owned);
    let (filters, anchor) = match query.filled("cursor") {
        Some(cursor) => {
            let cursor = Cursor::decode(cursor).ok_or(Error::Cursor("Invalid cursor"))?;
            (cursor.filters, Some(cursor.anchor))
        }
        None => (
            Filters {
                order,
                search: text("search"),
                directory: text("directory"),
                project: text("project"),
                subpath: text("subpath"),
            },
            None,
        ),
    };
    // There are no workspaces, and so no sessions in one.
    let is_empty = query.filled("workspace").is_some();
    let key = format!("v2 list {filters:?} {anchor:?} {limit} {is_empty}");
    let render = async {
        let sessions = if is_empty {
            Vec::new()
        } else {
            found(&app, &filters, anchor.as_ref(), limit).await?
        };
        let body = page(&sessions, &filters);
        let bytes = serde_json::to_vec(&body).map_err(|e| EngineError::Internal(e.to_string()))?;
        Ok::<Rendered, Error>(bytes.into())
    };
    Ok(kept(app.engine.replies().get(None, key, render).await?)?)
}

/// One page.
async fn found(
    app: &App,
    filters: &Filters,
    anchor: Option<&Anchor>,
    limit: u32,
) -> Result<Vec<Session>, Error> {
    let directory = match &filters.directory {
        Some(directory) => Some(
            app.engine
                .workspace(Some(directory))
                .await?
                .directory
                .clone(),
        ),
        None => None,
    };
    let is_oldest_first = filters.order == Some(Order::Asc);
    // A page before another is found from that one's beginning backwards.
    let is_back = anchor.is_some_and(|a| a.direction == Direction::Previous);
    let query = SessionQuery {
        project_id: filters.project.as_deref().map(ProjectId::new),
        directory,
        path_prefix: filters.subpath.clone(),
        search: filters.search.clone(),
        order: if is_oldest_first == is_back {
            SessionOrder::Newest
        } else {
            SessionOrder::Oldest
        },
        after: anchor.map(|a| SessionCursor {
            at: Timestamp(a.time),
            id: a.id.clone(),
        }),
        limit: Some(limit),
        ..SessionQuery::default()
    };
    let mut sessions = app.engine.sessions(&query).await?.sessions;
    if is_back {
        sessions.reverse();
    }
    Ok(sessions)
}

fn page(sessions: &[Session], filters: &Filters) -> serde_json::Value {
    let cursor = |session: Option<&Session>, direction| {
        session.map(|s| {
            let cursor = Cursor {
                filters: filters.clone(),
                anchor: Anchor {
                    id: s.id.clone(),
                    time: s.created_at.millis(),
                    direction,
                },
            };
            cursor.encode()
        })
    };
    let data: Vec<_> = sessions.iter().map(SessionDto::of).collect();
    json!({"data": data, "cursor": {
        "previous": cursor(sessions.first(), Direction::Previous),
        "next": cursor(sessions.last(), Direction::Next)}})
}

fn shown(session: &Session) -> Reply {
    extract::json(&json!({"data": SessionDto::of(session)}))
}

/// The session of an id that is known already is answered as it is.
pub(crate) async fn create(State(app): State<App>, place: Place, body: Body) -> Reply {
    let (mut new, workspace) = decode::new_session(body.0)?;
    if let Some(workspace) = workspace {
        return Err(ApiError::NoWorkspace(workspace).into());
    }
    new.directory
        .get_or_insert_with(|| place.0.directory.clone());
    let Some(id) = new.id.clone() else {
        return shown(&app.engine.create_session(new).await?.session);
    };
    match app.engine.session(&id).await {
        Err(EngineError::NotFound { .. }) => {}
        known => return shown(&known?),
    }
    match app.engine.create_session(new).await {
        // Another request with the same id was first, or the id is in the trash.
        Err(
            conflict @ EngineError::Conflict {
                kind: EntityKind::Session,
                ..
            },
        ) => match app.engine.session(&id).await {
            Ok(session) => shown(&session),
            Err(_) => Err(conflict.into()),
        },
        created => shown(&created?.session),
    }
}

pub(crate) async fn get(State(app): State<App>, InSession(id): InSession) -> Reply {
    shown(&app.engine.session(&id).await?)
}

/// The sessions in which something runs.
pub(crate) async fn active(State(app): State<App>) -> Reply {
    let statuses = app.engine.statuses(None).await?;
    let running: BTreeMap<_, _> = statuses
        .into_iter()
        .filter(|(_, status)| status.kind == StatusKind::Busy)
        .map(|(id, _)| (id, json!({"type": "running"})))
        .collect();
    extract::json(&json!({"data": running}))
}

pub(super) fn done() -> Reply {
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(crate) async fn agent(State(app): State<App>, InSession(id): InSession, body: Body) -> Reply {
    let update = SessionUpdate {
        agent: Some(decode::switch_agent(body.0)?),
        ..SessionUpdate::default()
    };
    app.engine.update_session(&id, update).await?;
    done()
}

pub(crate) async fn model(State(app): State<App>, InSession(id): InSession, body: Body) -> Reply {
    let update = SessionUpdate {
        model: Some(decode::switch_model(body.0)?),
        ..SessionUpdate::default()
    };
    app.engine.update_session(&id, update).await?;
    done()
}

pub(crate) async fn interrupt(State(app): State<App>, InSession(id): InSession) -> Reply {
    app.engine.abort(&id, AbortOptions::default()).await?;
    done()
}

/// Answers when nothing runs or waits in the session.
pub(crate) async fn wait(State(app): State<App>, InSession(id): InSession) -> Reply {
    let open = TurnQuery {
        open_only: true,
        limit: Some(1),
        ..TurnQuery::default()
    };
    while let Some(turn) = app.engine.turns(&id, &open).await?.pop() {
        app.engine.wait_turn(&turn.id, None).await?;
    }
    done()
}

/// Answers when the summary is written.
pub(crate) async fn compact(State(app): State<App>, InSession(id): InSession) -> Reply {
    let accepted = app.engine.summarize(&id, Default::default()).await?;
    let failed = |message| Error::NotDone {
        service: "session.compact",
        message,
    };
    let Some(turn) = accepted.turn else {
        return Err(failed("nothing was started".into()));
    };
    let turn = app.engine.wait_turn(&turn.id, None).await?;
    if turn.state == TurnState::Completed {
        return done();
    }
    let reason = turn.failure.map(|f| f.message);
    Err(failed(reason.unwrap_or_else(|| {
        format!("The summary was {}", turn.state.as_str())
    })))
}
