//! `/s/{token}`: shared sessions for people, their JSON form, and the stream that follows them.
//!
//! Whoever has the link may read; nothing else of the server opens with it. A link that leads
//! nowhere is answered in one way, whatever the reason.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER,
    X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use futures::stream;
use sessiond_engine::{
    Engine, EngineError, Followed, Rendered, ShareFollower, SharedSession, Transcript,
};
use tokio::sync::Semaphore;

/// Pages made at the same time.
const AT_ONCE: usize = 4;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");

#[derive(Clone, Debug)]
struct Shares {
    engine: Engine,
    making: Arc<Semaphore>,
}

/// The forms of a shared session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The whole page.
    Page,
    /// What is in it.
    Content,
    /// The same for programs.
    Json,
}

impl Form {
    fn media_type(self) -> &'static str {
        match self {
            Self::Page | Self::Content => HTML,
            Self::Json => JSON,
        }
    }

    fn render(self, transcript: &Transcript) -> Result<Vec<u8>, EngineError> {
        let broken = |e: &dyn std::error::Error| EngineError::Internal(e.to_string());
        match self {
            Self::Page => sessiond_share::page(transcript).map_err(|e| broken(&e)),
            Self::Content => sessiond_share::content(transcript).map_err(|e| broken(&e)),
            Self::Json => serde_json::to_string(transcript).map_err(|e| broken(&e)),
        }
        .map(String::into_bytes)
    }
}

/// The routes.
pub(crate) fn router(engine: Engine) -> Router {
    Router::new()
        .route("/s/{token}", get(page))
        .route("/s/{token}/content", get(content))
        .route("/s/{token}/events", get(events))
        .with_state(Shares {
            engine,
            making: Arc::new(Semaphore::new(AT_ONCE)),
        })
}

type Token = Result<Path<String>, PathRejection>;

async fn page(
    State(shares): State<Shares>,
    token: Token,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let Path(token) = token.unwrap_or_else(|_| Path(String::new()));
    let (token, form) = match token.strip_suffix(".json") {
        Some(token) => (token, Form::Json),
        None if wants_json(&headers) => (token.as_str(), Form::Json),
        None => (token.as_str(), Form::Page),
    };
    answer(&shares, token, query.as_deref(), form).await
}

async fn content(
    State(shares): State<Shares>,
    token: Token,
    RawQuery(query): RawQuery,
) -> Response {
    let Path(token) = token.unwrap_or_else(|_| Path(String::new()));
    answer(&shares, &token, query.as_deref(), Form::Content).await
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accepts = |kind| {
        let mut values = headers.get_all(ACCEPT).iter();
        values.any(|v| v.to_str().is_ok_and(|v| v.contains(kind)))
    };
    accepts(JSON) && !accepts("text/html")
}

async fn answer(shares: &Shares, token: &str, query: Option<&str>, form: Form) -> Response {
    match make(shares, token, query, form).await {
        Ok(Some(body)) => reply(StatusCode::OK, form.media_type(), body),
        Ok(None) => nothing(form),
        Err(e) => fault(&e),
    }
}

async fn make(
    shares: &Shares,
    token: &str,
    query: Option<&str>,
    form: Form,
) -> Result<Option<Bytes>, EngineError> {
    let Some(shared) = shares.engine.open_share(token).await? else {
        return Ok(None);
    };
    let Ok(before) = before(query) else {
        return Ok(None);
    };
    let id = shared.session.id.clone();
    let mode = shared.share.mode;
    let key = format!("share {form:?} {mode:?} {before:?} {id}");
    let render = render(shares, &shared, before, form);
    match shares.engine.replies().get(Some(&id), key, render).await {
        Ok(rendered) => Ok(Some(rendered.body)),
        // It has gone to the trash meanwhile.
        Err(EngineError::NotFound { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

async fn render(
    shares: &Shares,
    shared: &SharedSession,
    before: Option<u64>,
    form: Form,
) -> Result<Rendered, EngineError> {
    let broken = |e: &dyn std::error::Error| EngineError::Internal(e.to_string());
    let _seat = shares.making.acquire().await.map_err(|e| broken(&e))?;
    let transcript = shares.engine.shared_transcript(shared, before).await?;
    let made = tokio::task::spawn_blocking(move || form.render(&transcript)).await;
    Ok(made.map_err(|e| broken(&e))??.into())
}

/// `before` of the query; others are not looked at.
fn before(query: Option<&str>) -> Result<Option<u64>, std::num::ParseIntError> {
    let mut pairs = query.unwrap_or_default().split('&');
    pairs
        .find_map(|pair| pair.strip_prefix("before="))
        .map(str::parse)
        .transpose()
}

async fn events(State(shares): State<Shares>, token: Token) -> Response {
    let Path(token) = token.unwrap_or_else(|_| Path(String::new()));
    let follower = match shares.engine.open_share(&token).await {
        Ok(Some(shared)) => shares.engine.follow_share(&shared),
        Ok(None) => return nothing(Form::Page),
        Err(e) => Err(e),
    };
    match follower {
        Ok(Some(follower)) => {
            let body = Body::from_stream(stream::unfold(Some(follower), word));
            let mut response = reply(StatusCode::OK, "text/event-stream", body);
            let no = HeaderValue::from_static("no");
            // Proxies that buffer would hold words back.
            let name = HeaderName::from_static("x-accel-buffering");
            response.headers_mut().insert(name, no);
            response
        }
        // Tells browsers not to come back: a frozen share does not change.
        Ok(None) => reply(StatusCode::NO_CONTENT, HTML, Body::empty()),
        Err(e) => fault(&e),
    }
}

type Chunk = Result<&'static str, Infallible>;

async fn word(follower: Option<ShareFollower>) -> Option<(Chunk, Option<ShareFollower>)> {
    let mut follower = follower?;
    Some(match follower.next().await {
        Followed::Changed => (Ok("event: changed\ndata: {}\n\n"), Some(follower)),
        Followed::Quiet => (Ok(": quiet\n\n"), Some(follower)),
        Followed::Gone => (Ok("event: gone\ndata: {}\n\n"), None),
    })
}

/// The answer to a link that leads nowhere.
fn nothing(form: Form) -> Response {
    let body = match form {
        Form::Json => r#"{"status":404,"title":"Nothing is shared here"}"#.to_owned(),
        Form::Page | Form::Content => sessiond_share::gone().unwrap_or_default(),
    };
    reply(StatusCode::NOT_FOUND, form.media_type(), body)
}

fn fault(error: &EngineError) -> Response {
    let (status, seconds) = match error {
        EngineError::Unavailable { retry_after, .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            retry_after.as_secs().max(1),
        ),
        error => {
            tracing::error!(%error, "a shared session could not be shown");
            (StatusCode::INTERNAL_SERVER_ERROR, 5)
        }
    };
    let mut response = reply(status, "text/plain", "Not now; try again later.");
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// An answer that is for one reader only, is not to be found, and tells nobody where it was.
fn reply(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = (status, body.into()).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, sessiond_share::policy()),
        (ROBOTS, "noindex, nofollow, noarchive"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "private, no-store"),
        (X_FRAME_OPTIONS, "DENY"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
