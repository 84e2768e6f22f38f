//! Nodes behind lines that can be cut.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sessiond_model::{Change, Commit, Seq, SessionId, SessionPatch, Timestamp};
use sessiond_store::UnavailableReason;
use sessiond_store::contract::Recorder;
use sessiond_store::contract::fixtures as fx;
use sessiond_store::{Committed, EventQuery, Leases, Scope, Store, StoreError, StoreResult};
use sessiond_store_postgres::{PostgresOptions, PostgresStore};
use sessiond_testkit::line::Line;

/// A store of which the way to the database is in our hands.
pub(crate) struct Node {
    pub(crate) store: PostgresStore,
    pub(crate) line: Line,
    pub(crate) heard: Arc<Recorder>,
}

/// The address of a database by another port.
pub(crate) fn by_port(url: &str, port: u16) -> String {
    let (user, rest) = url.split_once('@').unwrap();
    let (_, database) = rest.split_once('/').unwrap();
    format!("{user}@127.0.0.1:{port}/{database}")
}

fn upstream(url: &str) -> SocketAddr {
    let (_, rest) = url.split_once('@').unwrap();
    let (place, _) = rest.split_once('/').unwrap();
    let (_, port) = place.rsplit_once(':').unwrap();
    (Ipv4Addr::LOCALHOST, port.parse().unwrap()).into()
}

impl Node {
    pub(crate) async fn open(url: &str, name: &str) -> Self {
        Self::with(url, name, |options| options).await
    }

    pub(crate) async fn with(
        url: &str,
        name: &str,
        change: impl FnOnce(PostgresOptions) -> PostgresOptions,
    ) -> Self {
        let line = Line::to(upstream(url)).await.unwrap();
        let heard = Arc::<Recorder>::default();
        let options = super::common::options(&by_port(url, line.port()), heard.clone());
        let options = change(PostgresOptions {
            node: name.to_owned(),
            patience: Duration::from_secs(3),
            ..options
        });
        let store = PostgresStore::open(&options).await.unwrap();
        Self { store, line, heard }
    }

    pub(crate) async fn session(&self, name: &str) -> SessionId {
        let session = fx::session(name);
        let id = session.id.clone();
        self.commit(&id, vec![fx::create(session)]).await.unwrap();
        id
    }

    pub(crate) fn commit(
        &self,
        session: &SessionId,
        changes: Vec<Change>,
    ) -> impl Future<Output = StoreResult<Committed>> + Send + 'static {
        self.commit_as(session, self.store.epoch(), changes)
    }

    pub(crate) fn commit_as(
        &self,
        session: &SessionId,
        fence: u64,
        changes: Vec<Change>,
    ) -> impl Future<Output = StoreResult<Committed>> + Send + 'static {
        self.store.commit(Commit {
            session_id: session.clone(),
            fence,
            at: Timestamp(2_000),
            require: Vec::new(),
            changes,
        })
    }

    /// Sets a title, which can be told apart.
    pub(crate) fn title(
        &self,
        session: &SessionId,
        title: &str,
    ) -> impl Future<Output = StoreResult<Committed>> + Send + 'static {
        let patch = SessionPatch {
            title: Some(title.to_owned()),
            ..SessionPatch::default()
        };
        self.commit(session, vec![Change::UpdateSession(patch)])
    }

    pub(crate) fn leases(&self) -> &dyn Leases {
        self.store.leases().unwrap()
    }

    /// The numbers of all events in the store, which must be without a gap.
    pub(crate) async fn log(&self) -> Vec<u64> {
        let query = EventQuery {
            after: Seq(0),
            until: None,
            scope: Scope::All,
            limit: 100_000,
        };
        let page = self.store.events(&query).await.unwrap();
        let log: Vec<u64> = page.events.iter().map(|e| e.seq.0).collect();
        assert_eq!(log, (1..=log.len() as u64).collect::<Vec<_>>());
        log
    }

    /// Waits until everything in the store was heard, in order and once.
    pub(crate) async fn hears_all(&self) {
        let log = self.log().await;
        let heard = || {
            self.heard
                .heard()
                .iter()
                .map(|e| e.seq.0)
                .collect::<Vec<_>>()
        };
        until(async || heard().len() >= log.len()).await;
        assert_eq!(heard(), log);
    }
}

/// Waits for something that comes about by itself.
pub(crate) async fn until(holds: impl AsyncFn() -> bool) {
    for _ in 0..1_500 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not come about");
}

pub(crate) fn is_unavailable<T>(result: &StoreResult<T>, wanted: UnavailableReason) -> bool {
    matches!(result, Err(StoreError::Unavailable { reason }) if *reason == wanted)
}
