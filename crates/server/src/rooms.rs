//! Putting the rooms together.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use sessiond_api::ApiState;
use sessiond_engine::{Engine, EngineConfig, EngineError, Hub, ShareConfig, SnapshotConfig};
use sessiond_model::{Clock, Event, HybridIds, Part, ProjectId, SystemClock};
use sessiond_opencode::{OpenCodeState, ServerPaths};
use sessiond_store::{Feed, Store, StoreError};
use sessiond_store_postgres::{PostgresOptions, PostgresStore};
use sessiond_store_sqlite::{SqliteOptions, SqliteStore};
use tokio_util::sync::CancellationToken;

use crate::front::{Gauge, Metrics, Routers, Vital, Vitals};
use crate::node::{NodeSeat, host, host_name};
use crate::{Config, StartError};

/// The version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The hub, with what goes through it counted.
#[derive(Debug)]
struct CountedFeed {
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
}

impl Feed for CountedFeed {
    fn publish(&self, events: &Arc<[Arc<Event>]>) {
        self.metrics.commits.fetch_add(1, Ordering::Relaxed);
        self.metrics
            .events
            .fetch_add(events.len() as u64, Ordering::Relaxed);
        self.hub.publish(events);
    }

    fn checkpointed(&self, part: &Part, directory: &Arc<str>, project: &ProjectId) {
        self.hub.checkpointed(part, directory, project);
    }
}

/// The rooms of one server.
#[derive(Debug)]
pub(crate) struct Rooms {
    pub(crate) engine: Engine,
    pub(crate) store: Arc<dyn Store>,
    /// The data directory of a node of a shared database.
    _seat: Option<NodeSeat>,
}

impl Rooms {
    /// Opens the store, which tells others that it is served at `url`, and starts the engine.
    pub(crate) async fn open(
        config: &Config,
        url: &str,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, StartError> {
        let hub = Arc::new(Hub::new());
        let feed = Arc::new(CountedFeed {
            hub: hub.clone(),
            metrics: metrics.clone(),
        });
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let seat = (config.store.is_some())
            .then(|| NodeSeat::take(&config.data_dir, config.cluster.node.as_deref()))
            .transpose()?;
        let node = seat.as_ref().map(NodeSeat::name);
        let store = open_store(config, Some(url), node, feed, clock.clone()).await?;
        let ids = Arc::new(HybridIds::new(clock.clone()));
        let engine = Engine::start(
            store.clone(),
            hub,
            config.catalogue(),
            clock,
            ids,
            engine_config(config, url),
        )
        .await?;
        Ok(Self {
            engine,
            store,
            _seat: seat,
        })
    }

    /// Everything that is served, by path. Requests that wait for a turn are let go, without
    /// its end, when `released` is cancelled.
    pub(crate) fn routers(&self, config: &Config, released: CancellationToken) -> Routers {
        let opencode = sessiond_opencode::router(OpenCodeState {
            engine: self.engine.clone(),
            version: VERSION.to_owned(),
            paths: paths(config),
        });
        let api = sessiond_api::router(ApiState::new(self.engine.clone(), released));
        let health = async || sessiond_opencode::root_health(VERSION);
        Routers {
            opencode,
            core: api,
            root: Router::new()
                .route("/global/health", get(health))
                .merge(crate::share::router(self.engine.clone()))
                .merge(crate::front::errands(self.engine.clone())),
        }
    }
}

/// The OpenAPI document of `/v1`.
#[must_use]
pub fn openapi_json() -> String {
    sessiond_api::openapi().to_pretty_json().unwrap_or_default()
}

/// Opens the store: the database that is configured, for the node of that name, or that of the
/// data directory, which tells others that it is served at `url`.
pub(crate) async fn open_store(
    config: &Config,
    url: Option<&str>,
    node: Option<&str>,
    feed: Arc<dyn Feed>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn Store>, StoreError> {
    if let Some(address) = &config.store {
        let options = PostgresOptions {
            // A tool is no node that others would look for.
            node: match node {
                Some(node) => node.to_owned(),
                None => format!("{} (tool {})", host_name(), std::process::id()),
            },
            url: node.and(config.cluster.advertise_url.clone()),
            lease: config.cluster.lease,
            host: host(),
            ..PostgresOptions::new(address.clone(), feed, clock, VERSION)
        };
        return Ok(Arc::new(PostgresStore::open(&options).await?));
    }
    let options = SqliteOptions {
        holder_url: url.map(str::to_owned),
        ..SqliteOptions::new(&config.data_dir, feed, clock, VERSION)
    };
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&options)).await;
    match opened {
        Ok(store) => Ok(Arc::new(store?)),
        Err(e) => Err(StoreError::Internal {
            operation: "open",
            source: Box::new(e),
        }),
    }
}

/// Directories that OpenCode clients show.
fn paths(config: &Config) -> ServerPaths {
    let home = directories::BaseDirs::new().map(|dirs| dirs.home_dir().to_owned());
    let file_dir = config.file.as_deref().and_then(Path::parent);
    ServerPaths {
        home: home.unwrap_or_else(|| "/".into()),
        state: config.data_dir.clone(),
        config: file_dir.unwrap_or(&config.data_dir).to_owned(),
    }
}

pub(crate) fn engine_config(config: &Config, url: &str) -> EngineConfig {
    let home = directories::BaseDirs::new().map(|dirs| dirs.home_dir().display().to_string());
    let public = config.public_url.as_ref().map(ToString::to_string);
    EngineConfig {
        share: ShareConfig {
            enabled: config.share.enabled,
            base_url: config
                .share
                .base_url
                .clone()
                .or(public)
                .unwrap_or_else(|| url.to_owned()),
            homes: home.into_iter().collect(),
        },
        version: VERSION.to_owned(),
        default_directory: config.directory.clone(),
        default_agent: config.default_agent.clone(),
        turn_timeout: config.limits.turn_timeout,
        agent_idle: config.limits.agent_idle,
        queue_limit: config.limits.queue,
        context_budget: config.limits.context_bytes,
        commands: config.commands.clone(),
        settings: Some(config.data_dir.join("settings.json")),
        roots: config.cluster.roots.clone(),
        trash_term: Duration::from_secs(u64::from(config.trash_days) * 24 * 3600),
        snapshots: SnapshotConfig {
            directory: (config.snapshots.enabled).then(|| config.data_dir.join("snapshots")),
            limits: sessiond_snapshot::Limits {
                file_bytes: config.snapshots.file_size,
                project_bytes: config.snapshots.project_size,
                deadline: config.snapshots.deadline,
                ..sessiond_snapshot::Limits::default()
            },
        },
        ..EngineConfig::default()
    }
}

const SESSIONS: Gauge = Gauge::new(
    "sessiond_sessions",
    "Sessions in the store, the trash included.",
);
const LIVE: Gauge = Gauge::new(
    "sessiond_sessions_live",
    "Sessions with work to do or just done.",
);
const AGENTS: Gauge = Gauge::new("sessiond_agents", "Agent processes.");
const SUBSCRIBERS: Gauge = Gauge::new("sessiond_subscribers", "Event streams.");
const BYTES: Gauge = Gauge::new("sessiond_store_bytes", "Bytes of the store on disk.");
const LEASES: Gauge = Gauge::new("sessiond_leases", "Sessions that this node holds.");
const WRITABLE: Gauge = Gauge::new("sessiond_store_writable", "1 when commits are accepted.");

/// The rooms as probes see them.
#[derive(Debug)]
pub(crate) struct RoomVitals {
    pub(crate) engine: Engine,
    pub(crate) stopping: CancellationToken,
}

impl Vitals for RoomVitals {
    fn look(&self) -> BoxFuture<'_, Vital> {
        async {
            let health = match self.engine.health().await {
                Ok(health) => health,
                Err(e) => {
                    tracing::warn!(error = %e, "the store cannot be asked how it is");
                    let unready = Some(match e {
                        EngineError::Unavailable { reason, .. } => reason,
                        _ => "the store does not answer".to_owned(),
                    });
                    return Vital {
                        unready,
                        gauges: Vec::new(),
                    };
                }
            };
            let unready = if health.stopping || self.stopping.is_cancelled() {
                Some("stopping".to_owned())
            } else {
                (!health.store.writable).then(|| "the store is not writable".to_owned())
            };
            let mut gauges = vec![
                (SESSIONS, health.store.sessions as f64),
                (LIVE, health.live_sessions as f64),
                (AGENTS, health.agents as f64),
                (SUBSCRIBERS, health.subscribers as f64),
                (WRITABLE, f64::from(u8::from(health.store.writable))),
            ];
            gauges.extend(health.store.bytes.map(|b| (BYTES, b as f64)));
            let measures = health.store.measures.iter();
            gauges.extend(measures.map(|m| (Gauge::new(m.name, m.help), m.value)));
            if self.engine.node().is_some() {
                gauges.push((LEASES, self.engine.held() as f64));
            }
            Vital { unready, gauges }
        }
        .boxed()
    }
}
