//! `/session`: the sessions themselves.

use std::collections::BTreeMap;

use axum::extract::State;
use serde_json::{Value, json};
use sessiond_engine::{AbortOptions, EngineError, Rendered};
use sessiond_model::{Session, StatusKind, Timestamp};
use sessiond_store::SessionQuery;

use crate::decode::{self, Kind, Reject};
use crate::error::ApiError;
use crate::extract::{self, InSession, Pairs, Payload, RawPayload, Reply, Selected};
use crate::state::App;
use crate::wire::{self, SessionDto};

/// Sessions listed when the client gives no limit.
const DEFAULT_LIMIT: u32 = 100;

fn listed(sessions: &[Session]) -> Reply {
    extract::json(&sessions.iter().map(SessionDto::of).collect::<Vec<_>>())
}

pub(crate) async fn list(State(app): State<App>, at: Selected, query: Pairs) -> Reply {
    let workspace = app.engine.workspace(at.directory.as_deref()).await?;
    let mut filter = list_filter(&query)?;
    let wide = query.get("scope").is_some() || filter.path_prefix.is_some();
    if at.by_query && !wide {
        filter.directory = Some(workspace.directory.clone());
    }
    filter.project_id = Some(workspace.project.id.clone());
    if filter.limit == Some(0) {
        return listed(&[]);
    }
    let key = format!("list {filter:?}");
    let render = async {
        let sessions = app.engine.sessions(&filter).await?.sessions;
        rendered(&sessions.iter().map(SessionDto::of).collect::<Vec<_>>())
    };
    extract::kept(app.engine.replies().get(None, key, render).await?)
}

fn rendered(value: &impl serde::Serialize) -> Result<Rendered, ApiError> {
    Ok(serde_json::to_vec(value)
        .map_err(|e| EngineError::Internal(e.to_string()))?
        .into())
}

/// The filters of the query, those of the directory aside.
fn list_filter(query: &Pairs) -> Result<SessionQuery, Reject> {
    let wrong = |what: &str, got: &str, name: &str| {
        Reject::new(
            Kind::Query,
            format!("Expected {what}, got {}", Value::from(got)),
        )
        .at(name)
    };
    if let Some(scope) = query.get("scope").filter(|s| *s != "project") {
        return Err(wrong("\"project\"", scope, "scope"));
    }
    let roots = match query.get("roots") {
        None | Some("false") => false,
        Some("true") => true,
        Some(other) => return Err(wrong("\"true\" | \"false\"", other, "roots")),
    };
    #[expect(clippy::cast_possible_truncation, reason = "saturates")]
    let since = query
        .filled("start")
        .and_then(|s| s.parse::<f64>().ok())
        .filter(|ms| ms.is_finite())
        .map(|ms| Timestamp(ms.ceil() as i64));
    Ok(SessionQuery {
        path_prefix: query.filled("path").map(str::to_owned),
        roots,
        updated_since: since,
        search: query.filled("search").map(str::to_owned),
        limit: list_limit(query.get("limit")),
        ..SessionQuery::default()
    })
}

/// As OpenCode reads it: nothing is 0, what is no number or negative is no limit.
fn list_limit(text: Option<&str>) -> Option<u32> {
    let Some(text) = text else {
        return Some(DEFAULT_LIMIT);
    };
    if text.is_empty() {
        return Some(0);
    }
    let number = text.parse::<f64>().ok().filter(|n| *n >= 0.0)?;
    #[expect(clippy::cast_possible_truncation, reason = "saturates")]
    #[expect(clippy::cast_sign_loss, reason = "not negative")]
    Some(number as u32)
}

pub(crate) async fn create(State(app): State<App>, at: Selected, body: RawPayload) -> Reply {
    let (mut new, workspace) = decode::new_session(body.0).map_err(ApiError::RejectedRaw)?;
    if let Some(workspace) = workspace {
        return Err(ApiError::NoWorkspace(workspace));
    }
    new.directory = at.directory;
    let created = app.engine.create_session(new).await?;
    extract::json(&SessionDto::of(&created.session))
}

pub(crate) async fn get(State(app): State<App>, InSession(id): InSession) -> Reply {
    let render = async { rendered(&SessionDto::of(&app.engine.session(&id).await?)) };
    extract::kept(
        app.engine
            .replies()
            .get(Some(&id), format!("get {id}"), render)
            .await?,
    )
}

pub(crate) async fn update(
    State(app): State<App>,
    InSession(id): InSession,
    body: Payload,
) -> Reply {
    let Some(update) = decode::session_update(body.0)? else {
        return extract::json(&SessionDto::of(&app.engine.session(&id).await?));
    };
    let session = app.engine.update_session(&id, update).await?;
    extract::json(&SessionDto::of(&session))
}

pub(crate) async fn delete(State(app): State<App>, InSession(id): InSession) -> Reply {
    app.engine.delete_session(&id).await?;
    extract::json(&true)
}

pub(crate) async fn status(State(app): State<App>, at: Selected) -> Reply {
    let workspace = app.engine.workspace(at.directory.as_deref()).await?;
    let statuses = app.engine.statuses(Some(&workspace.directory)).await?;
    let busy: BTreeMap<_, _> = statuses
        .iter()
        .filter(|(_, status)| status.kind == StatusKind::Busy)
        .map(|(id, status)| (id, json!({"type": wire::status(status.kind)})))
        .collect();
    extract::json(&busy)
}

pub(crate) async fn children(State(app): State<App>, InSession(id): InSession) -> Reply {
    listed(&app.engine.children(&id).await?)
}

pub(crate) async fn abort(State(app): State<App>, InSession(id): InSession) -> Reply {
    app.engine.abort(&id, AbortOptions::default()).await?;
    extract::json(&true)
}

pub(crate) async fn fork(
    State(app): State<App>,
    InSession(id): InSession,
    body: RawPayload,
) -> Reply {
    let options = decode::fork(body.0).map_err(ApiError::RejectedRaw)?;
    let forked = app.engine.fork_session(&id, options).await?;
    extract::json(&SessionDto::of(&forked.session))
}

pub(crate) async fn todo(State(app): State<App>, InSession(id): InSession) -> Reply {
    extract::json(&app.engine.todos(&id).await?)
}
