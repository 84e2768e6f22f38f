//! `/experimental/*`: sessions of all projects, and what there is none of.

use std::collections::HashMap;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::routing::{get, post};
use serde_json::{Value, json};
use sessiond_model::{Session, SessionId, Timestamp};
use sessiond_store::{SessionCursor, SessionQuery};

use super::{instance, offered};
use crate::decode::{Kind, Reject};
use crate::error::ApiError;
use crate::extract::{self, InSession, Pairs, Reply, Selected};
use crate::state::App;
use crate::wire::GlobalSessionDto;

/// Sessions listed when the client gives no limit.
const DEFAULT_LIMIT: u32 = 100;
/// Most sessions listed at once.
const MAX_LIMIT: u32 = 10_000;
/// The answer's header with the next page's `cursor`.
const NEXT: &str = "x-next-cursor";

pub(crate) fn router() -> Router<App> {
    let none = || get(instance::none_listed);
    Router::new()
        .route("/experimental/session", get(sessions))
        .route(
            "/experimental/session/{sessionID}/background",
            post(background),
        )
        .route("/experimental/capabilities", get(capabilities))
        .route("/experimental/console", get(console))
        .route("/experimental/console/orgs", get(organisations))
        .route("/experimental/resource", get(instance::none_mapped))
        .route("/experimental/workspace", none().post(offered::not_offered))
        .route("/experimental/workspace/status", none())
        .route("/experimental/workspace/adapter", none())
        .route(
            "/experimental/worktree",
            get(worktrees)
                .post(offered::not_offered)
                .delete(offered::not_offered),
        )
}

/// Sessions of all projects, newest change first. Its cursor is a time, which cannot tell
/// sessions of one millisecond apart: a page is as much longer as it takes to have all of them.
async fn sessions(State(app): State<App>, at: Selected, query: Pairs) -> Reply {
    let mut filter = filter(&query)?;
    if at.by_query {
        let workspace = app.engine.workspace(at.directory.as_deref()).await?;
        filter.directory = Some(workspace.directory.clone());
    }
    if filter.limit == Some(0) {
        return extract::json(&[(); 0]);
    }
    let mut page = app.engine.sessions(&filter).await?;
    let mut next = None;
    if let (Some(after), Some(last)) = (page.next.take(), page.sessions.last()) {
        let last = last.updated_at;
        let same_time = SessionQuery {
            after: Some(after),
            updated_since: Some(last),
            limit: Some(MAX_LIMIT),
            ..filter.clone()
        };
        page.sessions
            .extend(app.engine.sessions(&same_time).await?.sessions);
        let older = SessionQuery {
            after: Some(before(last)),
            limit: Some(1),
            ..filter
        };
        let is_more = !app.engine.sessions(&older).await?.sessions.is_empty();
        next = is_more.then_some(last);
    }
    let mut response = rendered(&app, &page.sessions).await?;
    if let Some(at) = next {
        let headers = response.headers_mut();
        headers.insert(NEXT, HeaderValue::from(at.millis()));
    }
    Ok(response)
}

async fn rendered(app: &App, sessions: &[Session]) -> Reply {
    let projects = app.engine.projects().await?;
    let by_id: HashMap<_, _> = projects.iter().map(|p| (&p.id, p)).collect();
    let rows: Vec<_> = sessions
        .iter()
        .map(|s| GlobalSessionDto::of(s, by_id.get(&s.project_id).copied()))
        .collect();
    extract::json(&rows)
}

/// The position before everything that is older than `at`: after every id of that millisecond.
fn before(at: Timestamp) -> SessionCursor {
    SessionCursor {
        at: at.plus_millis(-1),
        id: SessionId::trusted(""),
    }
}

fn filter(query: &Pairs) -> Result<SessionQuery, ApiError> {
    let cursor = time(query, "cursor")?;
    let archived = flag(query, "archived")?;
    Ok(SessionQuery {
        roots: flag(query, "roots")?,
        updated_since: time(query, "start")?,
        search: query.filled("search").map(str::to_owned),
        // Without it the archive is left out; with it, it is listed among the others.
        archived: (!archived).then_some(false),
        after: cursor.map(before),
        limit: Some(limit(query)?),
        ..SessionQuery::default()
    })
}

fn refused(query: &Pairs, name: &str, what: &str) -> ApiError {
    let got = Value::from(query.get(name).unwrap_or_default());
    Reject::new(Kind::Query, format!("Expected {what}, got {got}"))
        .at(name)
        .into()
}

fn flag(query: &Pairs, name: &str) -> Result<bool, ApiError> {
    match query.get(name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(refused(query, name, "\"true\" | \"false\"")),
    }
}

fn number(query: &Pairs, name: &str) -> Result<Option<f64>, ApiError> {
    let Some(text) = query.filled(name) else {
        return Ok(None);
    };
    let number = text.parse::<f64>().ok().filter(|n| n.is_finite());
    number
        .map(Some)
        .ok_or_else(|| refused(query, name, "a number"))
}

/// A time in milliseconds; a fraction counts as the next whole one, so that it stays after
/// (for a cursor: includes) what it was read from.
fn time(query: &Pairs, name: &str) -> Result<Option<Timestamp>, ApiError> {
    #[expect(clippy::cast_possible_truncation, reason = "saturates")]
    Ok(number(query, name)?.map(|ms| Timestamp(ms.ceil() as i64)))
}

fn limit(query: &Pairs) -> Result<u32, ApiError> {
    let Some(number) = number(query, "limit")? else {
        return Ok(DEFAULT_LIMIT);
    };
    if number < 0.0 {
        return Err(refused(query, "limit", "a number that is not negative"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "saturates")]
    #[expect(clippy::cast_sign_loss, reason = "not negative")]
    Ok((number as u32).min(MAX_LIMIT))
}

/// Moves sub-tasks of a session to the background: agents have none that could be, so
/// nothing is moved, and the answer says so.
async fn background(State(app): State<App>, InSession(id): InSession) -> Reply {
    app.engine.session(&id).await?;
    extract::json(&false)
}

async fn capabilities() -> Reply {
    extract::json(&json!({"backgroundSubagents": false}))
}

async fn console() -> Reply {
    extract::json(&json!({"consoleManagedProviders": [], "switchableOrgCount": 0}))
}

/// There is no console to log in to, so nobody belongs to an organisation of it.
async fn organisations() -> Reply {
    extract::json(&json!({"orgs": []}))
}

/// The worktrees that the project was seen in beside its first one.
async fn worktrees(State(app): State<App>, at: Selected) -> Reply {
    let project = app.engine.project_of(at.directory.as_deref()).await?;
    extract::json(&project.sandboxes)
}
