//! What stands before the rooms: every request passes here first, and most of what is said no
//! to is said here.
//!
//! One hand-written step instead of a stack of layers, because this runs for every request
//! and does little: host, origin and token are checked against tables made at the start, and
//! nothing is allocated unless somebody is refused.

mod auth;
mod errands;
mod forward;
mod metrics;
mod mount;
mod policy;
mod probes;
mod stream;
mod surface;

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::BoxError;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::DefaultBodyLimit;
use axum::http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, CONTENT_TYPE, HOST, ORIGIN, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::PathAndQuery;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use futures::FutureExt as _;
use http_body_util::Limited;
use sessiond_engine::Elsewhere;
use tokio_util::sync::CancellationToken;
use tower_http::timeout::TimeoutBody;
use tracing::Level;

use crate::{Config, Limits, Token};
use auth::Auth;
use forward::FORWARDED;
use mount::Mounts;
use policy::Policy;
use surface::{Refusal, Surface};

pub(crate) use errands::router as errands;
pub(crate) use forward::Forward;
pub(crate) use metrics::{Gauge, Metrics};
pub(crate) use mount::Routers;
pub(crate) use probes::{Vital, Vitals};

/// Longest pause within a request body.
const BODY_PAUSE: Duration = Duration::from_secs(30);

const PREFLIGHT_METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, PUT, PATCH, POST, DELETE");
const PREFLIGHT_MAX_AGE: HeaderValue = HeaderValue::from_static("86400");
const EXPOSED: HeaderValue = HeaderValue::from_static("Link, X-Next-Cursor");
const EXPOSED_CORE: HeaderValue =
    HeaderValue::from_static("Link, X-Next-Cursor, ETag, Location, Retry-After");
const VARY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const EVENT_STREAM: &[u8] = b"text/event-stream";

/// The front door of one server.
pub(crate) struct Front {
    mounts: Mounts,
    /// `None`: everyone may come in.
    auth: Option<Auth>,
    policy: Policy,
    limits: Limits,
    metrics: Arc<Metrics>,
    vitals: Arc<dyn Vitals>,
    /// The other nodes, where there are some.
    forward: Option<Forward>,
    /// Cancelled when event streams are to end.
    draining: CancellationToken,
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl Front {
    pub(crate) fn new(
        routers: Routers,
        config: &Config,
        token: Option<&Token>,
        listen: std::net::SocketAddr,
        metrics: Arc<Metrics>,
        vitals: Arc<dyn Vitals>,
        draining: CancellationToken,
    ) -> Self {
        Self {
            mounts: Mounts::new(routers),
            auth: token.map(Auth::new),
            policy: Policy::new(config, listen),
            limits: config.limits,
            metrics,
            vitals,
            forward: None,
            draining,
        }
    }

    /// Passes requests on to the other nodes.
    pub(crate) fn with_forward(self, forward: Option<Forward>) -> Self {
        Self { forward, ..self }
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Answers one request, whatever happens.
    pub(crate) async fn answer<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let surface = Surface::of(request.uri().path());
        // The path only, and not that of a share: a token may be in the rest.
        let noted = tracing::enabled!(Level::DEBUG).then(|| {
            (
                request.method().clone(),
                surface.loggable(request.uri().path()).to_owned(),
                Instant::now(),
            )
        });
        let origin = request.headers().get(ORIGIN).cloned();
        let checked = self.check(&request, surface);
        let known_origin = match checked {
            Err(Refusal::Host | Refusal::Origin) => None,
            _ => origin,
        };
        let mut response = match checked {
            Err(refusal) => refusal.into_response(surface),
            Ok(()) if request.method() == Method::OPTIONS => preflight(request.headers()),
            Ok(()) => self.serve(request, surface).await,
        };
        let headers = response.headers_mut();
        headers.append(VARY, VARY_ORIGIN);
        headers.insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        if let Some(origin) = known_origin {
            let exposed = if surface == Surface::Core {
                EXPOSED_CORE
            } else {
                EXPOSED
            };
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        let status = response.status().as_u16();
        self.metrics.count(surface, status);
        if let Some((method, path, start)) = noted {
            tracing::debug!(%method, path, status, ms = start.elapsed().as_millis() as u64, "answered");
        }
        response
    }

    /// Host, origin and token.
    fn check<B>(&self, request: &Request<B>, surface: Surface) -> Result<(), Refusal> {
        let (headers, uri) = (request.headers(), request.uri());
        if headers.contains_key(FORWARDED) {
            // The node that the client asked has looked at host and origin.
            let known = self.forward.as_ref().is_some_and(|f| f.admits(headers));
            return known.then_some(()).ok_or(Refusal::Unauthorized);
        }
        // Whoever has the link may read what is shared.
        let shared = surface == Surface::Share
            && (request.method() == Method::GET || request.method() == Method::HEAD);
        let host = headers
            .get(HOST)
            .and_then(|h| h.to_str().ok())
            .unwrap_or_default();
        // A request line with a full URL names the host as well.
        let named = uri
            .authority()
            .is_none_or(|a| self.policy.allows_host(a.as_str()));
        if !named || !self.policy.allows_host(host) {
            return Err(Refusal::Host);
        }
        if let Some(origin) = headers.get(ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            // Shared pages have an origin of their own, which browsers call `null`.
            let own = shared && origin == "null";
            if !own && !self.policy.allows_origin(origin, host) {
                return Err(Refusal::Origin);
            }
        }
        let open = shared || request.method() == Method::OPTIONS || probes::is_open(uri.path());
        match &self.auth {
            Some(auth) if !open && !auth.admits(headers, uri.query()) => Err(Refusal::Unauthorized),
            _ => Ok(()),
        }
    }

    async fn serve<B>(&self, request: Request<B>, surface: Surface) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if surface == Surface::Root
            && let Some(probe) = probes::Probe::of(request.method(), request.uri().path())
        {
            return probe.answer(&self.metrics, &*self.vitals).await;
        }
        let limit = self.limits.request_size;
        if request.body().size_hint().lower() > limit {
            return Refusal::TooLarge { limit }.into_response(surface);
        }
        let request = self.prepare(request);
        let waits = surface != Surface::Share && waits(request.method(), request.uri());
        let outcome = if waits {
            Ok(self.call_somewhere(request, surface).await)
        } else {
            let Some(_seat) = Seat::take(&self.metrics.in_flight, self.limits.requests) else {
                return Refusal::Overloaded.into_response(surface);
            };
            let longest = self.limits.request_timeout;
            tokio::time::timeout(longest, self.call_somewhere(request, surface))
                .await
                .map_err(|_| Refusal::TooSlow {
                    seconds: longest.as_secs(),
                })
        };
        let response = outcome.unwrap_or_else(|refusal| refusal.into_response(surface));
        let kind = response.headers().get(CONTENT_TYPE);
        if kind.is_some_and(|k| k.as_bytes().starts_with(EVENT_STREAM)) {
            let stopping = self.draining.clone();
            return response.map(|body| Body::new(stream::UntilStopped::new(body, stopping)));
        }
        response
    }

    /// Bounds the body, and takes the token out of the URL.
    fn prepare<B>(&self, request: Request<B>) -> Request<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (mut head, body) = request.into_parts();
        if let Some(rest) = head.uri.query().and_then(auth::without_token) {
            head.uri = with_query(&head.uri, &rest);
        }
        if body.is_end_stream() {
            return Request::from_parts(head, Body::empty());
        }
        let limit = usize::try_from(self.limits.request_size).unwrap_or(usize::MAX);
        let body = Body::new(Limited::new(
            Body::new(TimeoutBody::new(BODY_PAUSE, body)),
            limit,
        ));
        let mut request = Request::from_parts(head, body);
        // Ours counts; axum's own limit would be lower.
        DefaultBodyLimit::disable().apply(&mut request);
        request
    }

    /// Calls the handler, and passes the request on when the session is another node's.
    async fn call_somewhere(&self, request: Request<Body>, surface: Surface) -> Response<Body> {
        let Some(forward) = &self.forward else {
            return self.call(request, surface).await;
        };
        if request.headers().contains_key(FORWARDED) || request.method().is_safe() {
            return self.call(request, surface).await;
        }
        let (head, body) = request.into_parts();
        // Kept as long as it may have to be sent again; its size is bounded already.
        let body = match axum::body::to_bytes(body, usize::MAX).await {
            Ok(body) => body,
            Err(error) => {
                // The handler says what it thinks of it.
                let error = error.into_inner();
                let broken = futures::stream::once(async { Err::<Bytes, BoxError>(error) });
                let request = Request::from_parts(head, Body::from_stream(broken));
                return self.call(request, surface).await;
            }
        };
        let again = head.clone();
        let request = Request::from_parts(head, Body::from(body.clone()));
        let response = self.call(request, surface).await;
        match response.extensions().get::<Elsewhere>() {
            Some(to) if to.url.is_some() => {
                let to = to.clone();
                drop(response);
                self.metrics.forwards.fetch_add(1, Ordering::Relaxed);
                forward
                    .pass_on(&to, &again, &again.uri, body, surface)
                    .await
            }
            _ => response,
        }
    }

    /// Calls the handler; a panic becomes an answer.
    async fn call(&self, request: Request<Body>, surface: Surface) -> Response<Body> {
        let zip = request.headers().get(ACCEPT_ENCODING).is_some_and(|v| {
            v.as_bytes()
                .windows(4)
                .any(|w| w.eq_ignore_ascii_case(b"gzip"))
        });
        let handled = AssertUnwindSafe(self.mounts.call(request, zip))
            .catch_unwind()
            .await;
        match handled {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(panic) => {
                let reference = format!("err_{:08x}", rand::random::<u32>());
                self.metrics.panics.fetch_add(1, Ordering::Relaxed);
                tracing::error!(
                    reference,
                    message = panic_message(&*panic),
                    "a request panicked"
                );
                Refusal::Panic { reference }.into_response(surface)
            }
        }
    }
}

/// The answer to `OPTIONS`, like the real server's.
fn preflight(request: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    if request.contains_key(ORIGIN) {
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, PREFLIGHT_METHODS);
        headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE);
        if let Some(wanted) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
    }
    response
}

/// Whether this request may wait for an agent, for as long as the agent takes.
fn waits(method: &Method, uri: &Uri) -> bool {
    const WAITING: [&str; 6] = ["message", "command", "shell", "init", "summarize", "abort"];
    let asked = || {
        uri.query()
            .is_some_and(|q| q.split('&').any(|pair| pair.starts_with("wait")))
    };
    let last = || uri.path().rsplit('/').next().unwrap_or_default();
    (method == Method::POST && WAITING.contains(&last())) || asked()
}

fn with_query(uri: &Uri, query: &str) -> Uri {
    let path = uri.path();
    let text = if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = PathAndQuery::try_from(text).ok().or(parts.path_and_query);
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
}

/// A place among the requests at work; free again when dropped.
struct Seat<'a>(&'a AtomicUsize);

impl<'a> Seat<'a> {
    fn take(count: &'a AtomicUsize, most: usize) -> Option<Self> {
        let seat = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < most).then_some(seat)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod forward_tests;
#[cfg(test)]
mod tests;
