//! How a command gets at the sessions of a data directory: through the server that serves it, or,
//! where none does, by opening it alone. Either way through `/v1`.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::DefaultBodyLimit;
use http_body_util::BodyExt as _;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use sessiond_api::ApiState;
use sessiond_engine::{Engine, Hub};
use sessiond_model::{Clock, HybridIds, SystemClock};
use sessiond_store::{Store, StoreError};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::rooms::{engine_config, open_store};
use crate::{Config, StartError, Token};

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AccessError {
    /// The data directory can't be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Another process has the data directory, and serves nothing.
    #[error("process {pid} works on the data directory; try again when it has ended")]
    Taken {
        /// The process.
        pid: u32,
    },
    /// The server has a token that is not known here.
    #[error("the token of the server at {url} can't be read: {reason}")]
    Token {
        /// The server.
        url: String,
        /// Why.
        reason: String,
    },
    /// The server can't be reached.
    #[error("cannot reach the server at {url}: {source}")]
    Unreachable {
        /// Its address.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// The exchange broke off.
    #[error("the answer broke off: {0}")]
    Broken(String),
}

/// The way to the sessions of a data directory.
#[derive(Debug)]
pub struct Access(Way);

#[derive(Debug)]
enum Way {
    Served {
        url: String,
        token: Option<Token>,
    },
    Alone {
        store: Arc<dyn Store>,
        router: Router,
    },
}

impl Access {
    /// Finds the server of the data directory, or opens that alone: then nobody can serve it until
    /// [`close`](Self::close), turns of an earlier run stay as they are, and no agent is started.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub async fn open(config: &Config) -> Result<Self, AccessError> {
        crate::server::create_private(&config.data_dir).map_err(|source| StartError::DataDir {
            path: config.data_dir.clone(),
            source,
        })?;
        let hub = Arc::new(Hub::new());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = match open_store(config, None, None, hub.clone(), clock.clone()).await {
            Ok(store) => store,
            Err(StoreError::Locked { url: Some(url), .. }) => {
                let token = token(config, &url)?;
                return Ok(Self(Way::Served { url, token }));
            }
            Err(StoreError::Locked { pid, .. }) => return Err(AccessError::Taken { pid }),
            Err(e) => return Err(StartError::from(e).into()),
        };
        let ids = Arc::new(HybridIds::new(clock.clone()));
        let engine = Engine::open(
            store.clone(),
            hub,
            config.catalogue(),
            clock,
            ids,
            engine_config(config, "http://localhost"),
        )
        .await
        .map_err(StartError::from)?;
        let api = sessiond_api::router(ApiState::new(engine, CancellationToken::new()));
        Ok(Self(Way::Alone {
            store,
            // What comes is ours: the limit of a server is for strangers.
            router: Router::new()
                .nest("/v1", api)
                .layer(DefaultBodyLimit::disable()),
        }))
    }

    /// The address of the server, when there is one.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        match &self.0 {
            Way::Served { url, .. } => Some(url),
            Way::Alone { .. } => None,
        }
    }

    /// Sends a request; `path` begins with `/v1`, a body is JSON.
    ///
    /// # Errors
    /// When there is no answer. A refusal is one.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Response<Body>, AccessError> {
        let mut request = Request::builder().method(method);
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map_or_else(Body::empty, Body::from);
        match &self.0 {
            Way::Alone { router, .. } => {
                let request = request.uri(path).body(body).map_err(|e| broken(&e))?;
                router
                    .clone()
                    .oneshot(request)
                    .await
                    .map_err(|e| broken(&e))
            }
            Way::Served { url, token } => {
                let authority = url.trim_start_matches("http://");
                let mut request = request.uri(path).header(HOST, authority);
                if let Some(token) = token {
                    request = request.header(AUTHORIZATION, format!("Bearer {}", token.reveal()));
                }
                let request = request.body(body).map_err(|e| broken(&e))?;
                exchange(url, authority, request).await
            }
        }
    }

    /// Lets go of the data directory.
    pub async fn close(self) {
        if let Way::Alone { store, .. } = self.0
            && let Err(error) = store.close().await
        {
            tracing::warn!(%error, "the store did not close cleanly");
        }
    }
}

fn broken(e: &impl ToString) -> AccessError {
    AccessError::Broken(e.to_string())
}

async fn exchange(
    url: &str,
    authority: &str,
    request: Request<Body>,
) -> Result<Response<Body>, AccessError> {
    let stream =
        TcpStream::connect(authority)
            .await
            .map_err(|source| AccessError::Unreachable {
                url: url.to_owned(),
                source,
            })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| broken(&e))?;
    tokio::spawn(async move {
        // What goes wrong here is told by the request or the body of its answer.
        let _ = connection.await;
    });
    let response = sender.send_request(request).await.map_err(|e| broken(&e))?;
    Ok(response.map(|body| Body::new(body.map_err(axum::Error::new))))
}

fn token(config: &Config, url: &str) -> Result<Option<Token>, AccessError> {
    if !config.auth {
        return Ok(None);
    }
    if let Some(token) = &config.token {
        return Ok(Some(token.clone()));
    }
    Token::read(&config.token_file()).map_err(|e| AccessError::Token {
        url: url.to_owned(),
        reason: e.to_string(),
    })
}
