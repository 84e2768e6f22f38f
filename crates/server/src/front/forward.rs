//! Requests for a session that another node holds are passed on to that node.
//!
//! The handler says so, in an extension of its answer; the request, whose body was kept, is then
//! sent to the other node, and the answer is that node's. A request is passed on once: two nodes
//! that each believe the other has a session say so instead of asking each other for ever.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::BoxError;
use axum::body::{Body, Bytes};
use axum::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, ORIGIN, REFERER, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, VARY,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, Uri};
use futures::{Stream, StreamExt as _, stream};
use sessiond_engine::{Elsewhere, Engine};
use tokio::sync::Mutex;

use super::auth::Auth;
use super::surface::{Refusal, Surface};
use crate::{ClusterConfig, Token};

/// The name of the node that passes a request on.
pub(super) const FORWARDED: HeaderName = HeaderName::from_static("x-sessiond-forwarded");
/// Longest until another node takes the connection.
const CONNECT: Duration = Duration::from_secs(2);
/// Between two looks whether a node lives that has not answered yet.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
    roll: Arc<Roll>,
}

impl Forward {
    /// `None` when there is no token that nodes show each other. `node` is this node's name.
    pub(crate) fn new(
        config: &ClusterConfig,
        node: &str,
        engine: Engine,
    ) -> Result<Option<Self>, reqwest::Error> {
        let Some(token) = config.token.clone() else {
            return Ok(None);
        };
        // Fails when the process has one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            // Nodes reach each other themselves; nobody between is to see their token.
            .no_proxy()
            .build()?;
        Ok(Some(Self {
            client,
            admits: Auth::new(&token),
            token,
            node: HeaderValue::from_str(node).unwrap_or(HeaderValue::from_static("node")),
            roll: Arc::new(Roll {
                engine,
                alive: Mutex::default(),
            }),
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
            .send();
        // A prompt is answered when it is done, however long that takes; but a node that stands
        // still, or whose machine is gone, would be waited for without end.
        let asked = tokio::select! {
            asked = asked => asked.map_err(|error| error.without_url().to_string()),
            () = death(self.roll.clone(), to.node.clone()) => Err("its lease has ended".to_owned()),
        };
        match asked {
            Ok(answer) => answered(answer, Box::pin(death(self.roll.clone(), to.node.clone()))),
            Err(error) => {
                tracing::warn!(node = to.node, error, "a request could not be passed on");
                Refusal::NodeAway {
                    node: to.node.clone(),
                }
                .into_response(surface)
            }
        }
    }
}

/// Which nodes live.
struct Roll {
    engine: Engine,
    /// The names of those that lived at the last look.
    alive: Mutex<Option<(Instant, Vec<String>)>>,
}

impl Roll {
    async fn is_alive(&self, node: &str) -> bool {
        // Held while the store is asked: many requests ask it once.
        let mut alive = self.alive.lock().await;
        if alive
            .as_ref()
            .is_none_or(|(at, _)| at.elapsed() >= LOOK_EVERY)
        {
            // Who can't look believes no one dead.
            let Ok(nodes) = self.engine.nodes().await else {
                return true;
            };
            let names = nodes.into_iter().filter(|n| n.alive).map(|n| n.name);
            *alive = Some((Instant::now(), names.collect()));
        }
        alive
            .as_ref()
            .is_some_and(|(_, names)| names.iter().any(|name| name == node))
    }
}

/// Returns when a node lives no more.
async fn death(roll: Arc<Roll>, node: String) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if !roll.is_alive(&node).await {
            return;
        }
    }
}

/// A body that breaks off when its sender dies.
fn until<S>(
    body: S,
    death: impl Future<Output = ()> + Unpin + Send,
) -> impl Stream<Item = Result<Bytes, BoxError>> + Send
where
    S: Stream<Item = reqwest::Result<Bytes>> + Unpin + Send,
{
    stream::unfold(Some((body, death)), |rest| async {
        let (mut body, mut death) = rest?;
        tokio::select! {
            chunk = body.next() => match chunk? {
                Ok(chunk) => Some((Ok(chunk), Some((body, death)))),
                Err(error) => Some((Err(error.without_url().into()), None)),
            },
            () = &mut death => Some((Err("the node that answers is gone".into()), None)),
        }
    })
}

fn answered(
    answer: reqwest::Response,
    death: impl Future<Output = ()> + Unpin + Send + 'static,
) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    let mut headers = answer.headers().clone();
    for name in OWN.iter().chain(&[VARY]) {
        headers.remove(name);
    }
    *response.headers_mut() = headers;
    *response.body_mut() = Body::from_stream(until(answer.bytes_stream(), death));
    response
}
