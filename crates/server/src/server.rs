//! A server from start to stop.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sessiond_engine::Engine;
use sessiond_model::SystemClock;
use sessiond_store::{NoFeed, StoreError};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::front::{Forward, Front, Metrics};
use crate::net;
use crate::node::NodeSeat;
use crate::rooms::{RoomVitals, Rooms, open_store};
use crate::{Config, StartError, Token};

/// From the request to stop to the end of the process.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// Of this, for turns and agents to end.
const ENGINE_STOP: Duration = Duration::from_secs(7);
/// Of this, twice, for replies and event streams to be sent to their end.
const DRAIN: Duration = Duration::from_millis(750);

/// The way to a running server.
#[derive(Debug)]
pub struct Server;

/// A server that answers. It goes on when this is dropped; see [`Running::shutdown`].
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    url: String,
    token: Option<Token>,
    first_start: bool,
    config: Config,
    rooms: Rooms,
    connections: TaskTracker,
    stop: Stop,
}

/// The steps of stopping.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    /// No more connections; those that are open close after their request.
    pub(crate) stopping: CancellationToken,
    /// Event streams end when they have nothing more to say.
    pub(crate) draining: CancellationToken,
    /// Requests that wait for a turn which did not end are let go.
    pub(crate) released: CancellationToken,
    /// What is still open is cut.
    pub(crate) cut: CancellationToken,
}

impl Server {
    /// Opens the data directory and serves it.
    ///
    /// The address is bound first: clients that come early wait instead of being refused,
    /// and the lock of the data directory can tell its URL.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config) -> Result<Running, StartError> {
        config.check()?;
        create_private(&config.data_dir).map_err(|source| StartError::DataDir {
            path: config.data_dir.clone(),
            source,
        })?;
        let metrics = Arc::new(Metrics::new());
        let listener = match TcpListener::bind(config.listen).await {
            Ok(listener) => listener,
            Err(e) => return Err(cannot_listen(&config, e).await),
        };
        let addr = listener.local_addr().map_err(|source| StartError::Listen {
            listen: config.listen,
            source,
        })?;
        let url = local_url(addr);
        let rooms = Rooms::open(&config, &url, &metrics).await?;
        let (token, first_start) = token(&config)?;
        for token in token.iter().chain(&config.cluster.token) {
            rooms.engine.keep_secret(token.reveal());
        }
        let stop = Stop::default();
        let vitals = RoomVitals {
            engine: rooms.engine.clone(),
            stopping: stop.stopping.clone(),
        };
        let node = rooms.engine.node().map(|node| node.name);
        let forward = match &node {
            Some(name) => {
                Forward::new(&config.cluster, name, &rooms.engine).map_err(StartError::Client)?
            }
            None => None,
        };
        let front = Arc::new(
            Front::new(
                rooms.routers(&config, stop.released.clone()),
                &config,
                token.as_ref(),
                addr,
                metrics,
                Arc::new(vitals),
                stop.draining.clone(),
            )
            .with_forward(forward),
        );
        let connections = TaskTracker::new();
        let accept = net::accept(
            listener,
            front,
            config.limits,
            connections.clone(),
            stop.clone(),
        );
        tokio::spawn(accept);
        tracing::info!(%url, data_dir = %config.data_dir.display(), "serving");
        Ok(Running {
            addr,
            url,
            token,
            first_start,
            config,
            rooms,
            connections,
            stop,
        })
    }
}

impl Running {
    /// The address that is listened on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL for clients on this machine, without `/` at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The token that clients show; `None` when none is needed.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Whether the token was made at this start.
    #[must_use]
    pub fn first_start(&self) -> bool {
        self.first_start
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.rooms.engine
    }

    /// Stops in order, within 10 s: no new connections; running turns become `interrupted`
    /// and agents end; replies and event streams get what is theirs; the store is closed.
    pub async fn shutdown(self) {
        let deadline = Instant::now() + STOP_WITHIN;
        self.stop.stopping.cancel();
        if timeout(ENGINE_STOP, self.rooms.engine.shutdown(ENGINE_STOP))
            .await
            .is_err()
        {
            tracing::warn!("some work did not end in time; the next start will end it");
        }
        self.stop.draining.cancel();
        self.connections.close();
        let steps = [&self.stop.released, &self.stop.cut];
        for step in steps {
            if timeout(DRAIN, self.connections.wait()).await.is_ok() {
                break;
            }
            tracing::debug!(open = self.connections.len(), "connections are still open");
            step.cancel();
        }
        match timeout_at(deadline, self.rooms.store.close()).await {
            Ok(Ok(())) => tracing::info!("stopped"),
            Ok(Err(error)) => tracing::error!(%error, "the store did not close cleanly"),
            Err(_) => tracing::error!("the store did not close in time"),
        }
    }
}

/// Creates a directory that only its owner can look into.
pub(crate) fn create_private(dir: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

/// When the address is taken by another sessiond on the same data, that is the better news.
async fn cannot_listen(config: &Config, source: io::Error) -> StartError {
    let listen = config.listen;
    if source.kind() != io::ErrorKind::AddrInUse {
        return StartError::Listen { listen, source };
    }
    if config.store.is_some() {
        // The database is for many: only the data directory says who is on it.
        return match NodeSeat::take(&config.data_dir, None) {
            Err(e) => e.into(),
            Ok(_) => StartError::AddressInUse { listen },
        };
    }
    match open_store(config, None, None, Arc::new(NoFeed), Arc::new(SystemClock)).await {
        Err(e @ StoreError::Locked { .. }) => e.into(),
        Err(_) => StartError::AddressInUse { listen },
        Ok(store) => {
            if let Err(error) = store.close().await {
                tracing::debug!(%error, "the store did not close cleanly");
            }
            StartError::AddressInUse { listen }
        }
    }
}

fn token(config: &Config) -> Result<(Option<Token>, bool), StartError> {
    if !config.auth {
        return Ok((None, false));
    }
    if let Some(token) = &config.token {
        return Ok((Some(token.clone()), false));
    }
    let path = config.token_file();
    let (token, new) =
        Token::read_or_create(&path).map_err(|source| StartError::Token { path, source })?;
    Ok((Some(token), new))
}

/// The URL of `addr` for clients on this machine.
fn local_url(addr: SocketAddr) -> String {
    let host = match addr {
        SocketAddr::V4(a) if a.ip().is_unspecified() => "127.0.0.1".to_owned(),
        SocketAddr::V6(a) if a.ip().is_unspecified() => "[::1]".to_owned(),
        SocketAddr::V4(a) => a.ip().to_string(),
        SocketAddr::V6(a) => format!("[{}]", a.ip()),
    };
    format!("http://{host}:{}", addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_clients_can_use() {
        let url = |addr: &str| local_url(addr.parse().unwrap());
        assert_eq!(url("127.0.0.1:1"), "http://127.0.0.1:1");
        assert_eq!(url("0.0.0.0:1"), "http://127.0.0.1:1");
        assert_eq!(url("[::]:1"), "http://[::1]:1");
        assert_eq!(url("[fe80::1]:1"), "http://[fe80::1]:1");
    }
}
