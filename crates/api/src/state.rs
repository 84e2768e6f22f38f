use sessiond_engine::Engine;
use tokio_util::sync::CancellationToken;

/// What the handlers need.
#[derive(Clone, Debug)]
pub struct ApiState {
    pub(crate) engine: Engine,
    pub(crate) stopping: CancellationToken,
}

impl ApiState {
    /// Handlers over `engine`. Once `stopping` is cancelled event streams and waiting requests
    /// end, so that a graceful shutdown need not wait for them.
    #[must_use]
    pub fn new(engine: Engine, stopping: CancellationToken) -> Self {
        Self { engine, stopping }
    }
}
