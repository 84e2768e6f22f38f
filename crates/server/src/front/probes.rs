//! Probes of whoever runs us.

use std::fmt;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, Response, StatusCode};
use futures::future::BoxFuture;

use super::metrics::{Gauges, Metrics};

/// Looks at the rooms behind the door.
pub(crate) trait Vitals: Send + Sync + fmt::Debug {
    fn look(&self) -> BoxFuture<'_, Vital>;
}

/// How the rooms are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Vital {
    /// Why no work is taken on now, in a few words.
    pub(crate) unready: Option<String>,
    pub(crate) gauges: Gauges,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// The process lives.
    Health,
    /// It takes on work.
    Ready,
    /// Numbers.
    Metrics,
}

/// Whether this path needs no token: probes that tell nothing but their status.
pub(super) fn is_open(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

impl Probe {
    pub(super) fn of(method: &Method, path: &str) -> Option<Self> {
        let probe = match path {
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            _ => return None,
        };
        matches!(*method, Method::GET | Method::HEAD).then_some(probe)
    }

    pub(super) async fn answer(self, metrics: &Metrics, vitals: &dyn Vitals) -> Response<Body> {
        let (status, body, kind) = match self {
            Self::Health => (
                StatusCode::OK,
                "ok\n".to_owned(),
                "text/plain; charset=utf-8",
            ),
            Self::Ready => match vitals.look().await.unready {
                None => (
                    StatusCode::OK,
                    "ready\n".to_owned(),
                    "text/plain; charset=utf-8",
                ),
                Some(why) => (
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!("not ready: {why}\n"),
                    "text/plain; charset=utf-8",
                ),
            },
            Self::Metrics => (
                StatusCode::OK,
                metrics.render(&vitals.look().await.gauges),
                "text/plain; version=0.0.4; charset=utf-8",
            ),
        };
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
