use std::path::PathBuf;
use std::sync::Arc;

use sessiond_engine::Engine;

/// What the handlers need.
#[derive(Clone, Debug)]
pub struct OpenCodeState {
    /// The engine.
    pub engine: Engine,
    /// Version shown by `/global/health`.
    pub version: String,
    /// Directories shown by `/path`.
    pub paths: ServerPaths,
}

/// Directories of the server, as `/path` shows them.
#[derive(Clone, Debug, Default)]
pub struct ServerPaths {
    /// The user's home.
    pub home: PathBuf,
    /// Where the server keeps its state.
    pub state: PathBuf,
    /// Where its configuration is.
    pub config: PathBuf,
}

/// The state as the router holds it: one pointer to clone per request.
pub(crate) type App = Arc<OpenCodeState>;
