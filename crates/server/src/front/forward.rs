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
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, ORIGIN, REFERER, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE, VARY,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri};
use futures::{Stream, StreamExt as _, stream};
use sessiond_engine::{Elsewhere, Engine, Peers};
use tokio::sync::Mutex;

use super::auth::Auth;
use super::errands::Errands;
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
    line: Arc<Line>,
    admits: Auth,
    /// The engine asks through it as long as it is here.
    _errands: Arc<dyn Peers>,
}

/// What it takes to reach another node.
pub(super) struct Line {
    client: reqwest::Client,
    token: Token,
    node: HeaderValue,
    roll: Arc<Roll>,
}

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Forward {
    /// `None` when there is no token that nodes show each other. `node` is this node's name. The
    /// engine learns the way, too.
    pub(crate) fn new(
        config: &ClusterConfig,
        node: &str,
        engine: &Engine,
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
        let line = Arc::new(Line {
            client,
            token: token.clone(),
            node: HeaderValue::from_str(node).unwrap_or(HeaderValue::from_static("node")),
            roll: Arc::new(Roll {
                engine: engine.clone(),
                alive: Mutex::default(),
            }),
        });
        let errands: Arc<dyn Peers> = Arc::new(Errands(line.clone()));
        engine.set_peers(&errands);
        Ok(Some(Self {
            line,
            _errands: errands,
            admits: Auth::new(&token),
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
        let request = self
            .line
            .client
            .request(head.method.clone(), format!("{base}{path}"));
        let asked = self.line.ask(to, request.headers(headers).body(body)).await;
        match asked {
            Ok(answer) => {
                let death = death(self.line.roll.clone(), to.node.clone());
                answered(answer, Box::pin(death))
            }
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

impl Line {
    /// Sends a request as this node, as long as the other lives.
    async fn ask(
        &self,
        to: &Elsewhere,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, String> {
        let asked = request
            .header(FORWARDED, self.node.clone())
            .bearer_auth(self.token.reveal())
            .send();
        // A prompt is answered when it is done, however long that takes; but a node that stands
        // still, or whose machine is gone, would be waited for without end.
        tokio::select! {
            asked = asked => asked.map_err(|error| error.without_url().to_string()),
            () = death(self.roll.clone(), to.node.clone()) => Err("its lease has ended".to_owned()),
        }
    }

    /// Asks for something that is answered in a few words.
    pub(super) async fn post(
        &self,
        to: &Elsewhere,
        path: &str,
        json: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), String> {
        let base = to.url.as_deref().unwrap_or_default();
        let request = self.client.post(format!("{base}{path}"));
        let request = request.header(CONTENT_TYPE, "application/json").body(json);
        let answer = self.ask(to, request).await?;
        let status = answer.status();
        let body = answer.bytes().await;
        Ok((status, body.map_err(|e| e.without_url().to_string())?))
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
