//! A small HTTP client: JSON requests over kept connections, and raw event streams that a
//! test can cut at any byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::Value;
use thiserror::Error;
use tokio::net::TcpStream;

/// Longest that an answer may take. Nothing that sessiond does takes as long, so more is a
/// hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum HttpError {
    /// Connecting failed.
    #[error("connect: {0}")]
    Connect(#[from] std::io::Error),
    /// The exchange broke off.
    #[error("exchange: {0}")]
    Exchange(#[from] hyper::Error),
    /// The request could not be built.
    #[error("request: {0}")]
    Request(#[from] hyper::http::Error),
    /// The answer is not JSON.
    #[error("not JSON ({source}): {text}")]
    Json {
        /// What the parser says.
        source: serde_json::Error,
        /// The answer.
        text: String,
    },
    /// There was no answer in time.
    #[error("no answer to {what} within {PATIENCE:?}")]
    Hang {
        /// The request.
        what: String,
    },
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Reply {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn json(&self) -> Result<Value, HttpError> {
        serde_json::from_slice(&self.body).map_err(|source| HttpError::Json {
            source,
            text: self.text(),
        })
    }

    /// Whether the status is a 2xx.
    #[must_use]
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A client of one server. Clones share its idle connections.
#[derive(Clone, Debug)]
pub struct Client {
    address: SocketAddr,
    token: Option<Arc<str>>,
    idle: Arc<Mutex<Vec<SendRequest<Full<Bytes>>>>>,
}

impl Client {
    /// A client without a token.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            token: None,
            idle: Arc::default(),
        }
    }

    /// The same client with a bearer token.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.into());
        self
    }

    /// The server's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `GET`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Result<Reply, HttpError> {
        self.send(Method::GET, path, None, &[]).await
    }

    /// `POST` with a JSON body.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Reply, HttpError> {
        self.send(Method::POST, path, Some(body), &[]).await
    }

    /// `PATCH` with a JSON body.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Reply, HttpError> {
        self.send(Method::PATCH, path, Some(body), &[]).await
    }

    /// `DELETE`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn delete(&self, path: &str) -> Result<Reply, HttpError> {
        self.send(Method::DELETE, path, None, &[]).await
    }

    /// Any request. A broken connection is not retried: the caller cannot know whether the
    /// request was acted on.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Reply, HttpError> {
        let what = format!("{method} {path}");
        let exchange = async {
            let request = self.request(method, path, body, headers)?;
            let mut sender = self.connection().await?;
            let response = sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            if sender.ready().await.is_ok() {
                self.idle.lock().push(sender);
            }
            Ok(Reply {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
            })
        };
        tokio::time::timeout(PATIENCE, exchange)
            .await
            .map_err(|_| HttpError::Hang { what })?
    }

    /// Opens a stream; its body comes as it is sent. It has a connection of its own, which
    /// closes when the stream is dropped.
    ///
    /// # Errors
    /// When there is no head of an answer.
    pub async fn stream(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Response<Incoming>, HttpError> {
        let request = self.request(Method::GET, path, None, headers)?;
        let mut sender = self.connect().await?;
        let exchange = sender.send_request(request);
        let response = tokio::time::timeout(PATIENCE, exchange)
            .await
            .map_err(|_| HttpError::Hang {
                what: format!("GET {path}"),
            })??;
        Ok(response)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        headers: &[(&str, &str)],
    ) -> Result<Request<Full<Bytes>>, HttpError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let bytes = match body {
            Some(value) => {
                request = request.header(CONTENT_TYPE, "application/json");
                Bytes::from(value.to_string())
            }
            None => Bytes::new(),
        };
        Ok(request.body(Full::new(bytes))?)
    }

    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, HttpError> {
        loop {
            let idle = self.idle.lock().pop();
            match idle {
                Some(sender) if sender.is_closed() => {}
                Some(sender) => return Ok(sender),
                None => return self.connect().await,
            }
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, HttpError> {
        let socket = TcpStream::connect(self.address).await?;
        socket.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(socket)).await?;
        tokio::spawn(async move {
            // Its failure is seen by whoever waits for the answer.
            let _ = connection.await;
        });
        Ok(sender)
    }
}
