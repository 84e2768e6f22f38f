//! An engine over the in-memory store with the demo agent.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sessiond_agent::{AgentOverride, Catalogue};
use sessiond_engine::{
    Engine, EngineConfig, Hub, NewSession, PromptInput, PromptPart, SnapshotConfig,
};
use sessiond_model::{
    HybridIds, MessageId, ModelRef, Part, PartBody, Session, SessionId, SystemClock, ToolState,
    Turn,
};
use sessiond_store::{MemoryCluster, MemoryStore, MessageQuery, Store};
use tempfile::TempDir;

/// Long enough for a busy machine; every wait ends as soon as its condition holds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) dir: TempDir,
    demo_home: Option<PathBuf>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let hub = Arc::new(Hub::new());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(hub.clone(), 1));
        let dir = tempfile::tempdir().unwrap();
        let demo_home = Some(dir.path().join("demo-home"));
        let engine = start(&store, &hub, &dir, demo_home.as_deref(), |_| {}).await;
        Self {
            engine,
            store,
            hub,
            dir,
            demo_home,
        }
    }

    pub(crate) async fn with(change: impl FnOnce(&mut EngineConfig)) -> Self {
        let hub = Arc::new(Hub::new());
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(hub.clone(), 1));
        let dir = tempfile::tempdir().unwrap();
        let demo_home = Some(dir.path().join("demo-home"));
        let engine = start(&store, &hub, &dir, demo_home.as_deref(), change).await;
        Self {
            engine,
            store,
            hub,
            dir,
            demo_home,
        }
    }

    /// A node of a cluster, and its own view of the store.
    pub(crate) async fn node(
        cluster: &MemoryCluster,
        name: &str,
        change: impl FnOnce(&mut EngineConfig),
    ) -> (Self, Arc<MemoryStore>) {
        let hub = Arc::new(Hub::new());
        let url = format!("http://{name}");
        let memory = Arc::new(cluster.join(name, Some(&url), hub.clone()));
        let store: Arc<dyn Store> = memory.clone();
        let dir = tempfile::tempdir().unwrap();
        let demo_home = Some(dir.path().join("demo-home"));
        let engine = start(&store, &hub, &dir, demo_home.as_deref(), change).await;
        let world = Self {
            engine,
            store,
            hub,
            dir,
            demo_home,
        };
        (world, memory)
    }

    /// A second engine on the same store, as after a restart.
    pub(crate) async fn restart(&mut self) {
        self.restart_with(|_| {}).await;
    }

    /// The same with another configuration.
    pub(crate) async fn restart_with(&mut self, change: impl FnOnce(&mut EngineConfig)) {
        let home = self.demo_home.as_deref();
        self.engine = start(&self.store, &self.hub, &self.dir, home, change).await;
    }

    /// The demo agent forgets everything.
    pub(crate) fn forget_agent_memory(&self) {
        let _ = std::fs::remove_dir_all(self.dir.path().join("demo-home"));
    }

    pub(crate) fn project(&self) -> PathBuf {
        let project = self.dir.path().join("project");
        std::fs::create_dir_all(&project).unwrap();
        project.canonicalize().unwrap()
    }

    pub(crate) async fn session(&self) -> Session {
        let directory = Some(self.project().to_string_lossy().into_owned());
        let new = NewSession {
            directory,
            ..NewSession::default()
        };
        Session::clone(&self.engine.create_session(new).await.unwrap().session)
    }

    pub(crate) async fn say(&self, id: &SessionId, text: &str) -> Turn {
        self.engine
            .prompt(id, prompt(text))
            .await
            .unwrap()
            .turn
            .unwrap()
    }

    pub(crate) async fn ask(&self, id: &SessionId, text: &str) -> Turn {
        let turn = self.say(id, text).await;
        self.end(&turn).await
    }

    pub(crate) async fn end(&self, turn: &Turn) -> Turn {
        let turn = self
            .engine
            .wait_turn(&turn.id, Some(PATIENCE))
            .await
            .unwrap();
        assert!(turn.state.is_terminal(), "the turn did not end: {turn:?}");
        turn
    }

    /// The parts of the answer of a turn.
    pub(crate) async fn answer(&self, turn: &Turn) -> Vec<Part> {
        let id = turn.assistant_message_id.clone().expect("an answer");
        self.engine
            .message(&turn.session_id, &id)
            .await
            .unwrap()
            .typed_parts()
    }

    pub(crate) async fn answer_text(&self, turn: &Turn) -> String {
        texts(&self.answer(turn).await)
    }

    /// All parts of a session.
    pub(crate) async fn parts(&self, id: &SessionId) -> Vec<Part> {
        let page = self
            .engine
            .messages(id, &MessageQuery::default())
            .await
            .unwrap();
        page.messages.iter().flat_map(|m| m.typed_parts()).collect()
    }
}

async fn start(
    store: &Arc<dyn Store>,
    hub: &Arc<Hub>,
    dir: &TempDir,
    demo_home: Option<&std::path::Path>,
    change: impl FnOnce(&mut EngineConfig),
) -> Engine {
    let mut env = BTreeMap::new();
    if let Some(home) = demo_home {
        env.insert(
            "SESSIOND_DEMO_HOME".to_owned(),
            home.to_string_lossy().into_owned(),
        );
    }
    let demo = AgentOverride {
        command: Some(env!("CARGO_BIN_EXE_sessiond-engine-test-agent").into()),
        args: Some(Vec::new()),
        env: Some(env),
        ..AgentOverride::default()
    };
    let catalogue = Catalogue::new(
        PathBuf::from("unused"),
        BTreeMap::from([("demo".to_owned(), demo)]),
        std::env::var_os("PATH"),
    );
    let clock = Arc::new(SystemClock);
    let ids = Arc::new(HybridIds::new(clock.clone()));
    let mut config = EngineConfig {
        default_directory: dir.path().canonicalize().unwrap(),
        default_agent: Some("demo".into()),
        snapshots: SnapshotConfig {
            directory: Some(dir.path().join("snapshots")),
            ..SnapshotConfig::default()
        },
        ..EngineConfig::default()
    };
    change(&mut config);
    Engine::start(store.clone(), hub.clone(), catalogue, clock, ids, config)
        .await
        .unwrap()
}

pub(crate) fn prompt(text: &str) -> PromptInput {
    PromptInput {
        parts: vec![PromptPart {
            id: None,
            body: PartBody::text(text),
        }],
        ..PromptInput::default()
    }
}

pub(crate) fn prompt_with_id(text: &str, id: &str) -> PromptInput {
    PromptInput {
        message_id: Some(MessageId::parse(id).unwrap()),
        ..prompt(text)
    }
}

pub(crate) fn demo_model(id: &str) -> ModelRef {
    ModelRef {
        provider_id: "demo".into(),
        id: id.into(),
        variant: None,
    }
}

pub(crate) fn texts(parts: &[Part]) -> String {
    parts
        .iter()
        .filter_map(|p| match &p.body {
            PartBody::Text { text, .. } => Some(text.as_str()),
            _ => None,
        })
        .collect()
}

pub(crate) fn tools(parts: &[Part]) -> Vec<&ToolState> {
    parts
        .iter()
        .filter_map(|p| match &p.body {
            PartBody::Tool(tool) => Some(&tool.state),
            _ => None,
        })
        .collect()
}

/// Waits until `look` gives something.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited in vain for {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
