//! Requests for a session that another node holds are passed on to that node.
//!
//! The handler says so, in an extension of its answer; the request, whose body was kept, is then
//! sent to the other node, and the answer is that node's. A request is passed on once: two nodes
//! that each believe the other has a session say so instead of asking each other for ever.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, ORIGIN, REFERER, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VARY,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, Uri};
use sessiond_engine::Elsewhere;

use super::auth::Auth;
use super::surface::{Refusal, Surface};
use crate::{ClusterConfig, Token};

/// The name of the node that passes a request on.
pub(super) const FORWARDED: HeaderName = HeaderName::from_static("x-sessiond-forwarded");
/// Longest until another node takes the connection.
const CONNECT: Duration = Duration::from_secs(2);

/// What is about one connection, or about the client and this node alone.
const OWN: [HeaderName; 12] = [
    AUTHORIZATION,
    CONNECTION,
    CONTENT_LENGTH,
    COOKIE,
    HOST,
    HeaderName::from_static("keep-alive"),
    ORIGIN,
    REFERER,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The way to the other nodes.
pub(crate) struct Forward {
    client: reqwest::Client,
    token: Token,
    admits: Auth,
    node: HeaderValue,
    /// Requests passed on.
    pub(super) count: AtomicU64,
}

impl Forward {
    /// `None` when there is no token that nodes show each other. `node` is this node's name.
    pub(crate) fn new(config: &ClusterConfig, node: &str) -> Result<Option<Self>, reqwest::Error> {
        let Some(token) = config.token.clone() else {
            return Ok(None);
        };
        // Fails when the process has one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Some(Self {
            client,
            admits: Auth::new(&token),
            token,
            node: HeaderValue::from_str(node).unwrap_or(HeaderValue::from_static("node")),
            count: AtomicU64::new(0),
        }))
    }

    /// Whether another node has sent this, and shows it.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        self.admits.admits(headers, None)
    }

    /// Sends a request to the node that it is for; `uri` is what the client asked for.
    pub(super) async fn pass_on(
        &self,
        to: &Elsewhere,
        head: &Parts,
        uri: &Uri,
        body: Bytes,
        surface: Surface,
    ) -> Response<Body> {
        self.count.fetch_add(1, Ordering::Relaxed);
        let base = to.url.as_deref().unwrap_or_default();
        let path = uri.path_and_query().map_or("/", |p| p.as_str());
        let mut headers = head.headers.clone();
        for name in &OWN {
            headers.remove(name);
        }
        headers.insert(FORWARDED, self.node.clone());
        let asked = self
            .client
            .request(head.method.clone(), format!("{base}{path}"))
            .headers(headers)
            .bearer_auth(self.token.reveal())
            .body(body)
            .send()
            .await;
        match asked {
            Ok(answer) => answered(answer),
            Err(error) => {
                tracing::warn!(node = to.node, error = %error.without_url(), "a request could not be passed on");
                Refusal::NodeAway {
                    node: to.node.clone(),
                }
                .into_response(surface)
            }
        }
    }
}

fn answered(answer: reqwest::Response) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    let mut headers = answer.headers().clone();
    for name in OWN.iter().chain(&[VARY]) {
        headers.remove(name);
    }
    *response.headers_mut() = headers;
    *response.body_mut() = Body::from_stream(answer.bytes_stream());
    response
}
