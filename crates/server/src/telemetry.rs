//! Logging, to standard error, from a thread of its own: who collects the log may stop to read,
//! and nothing here waits for that.

use std::io::IsTerminal as _;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::{ConfigError, LogConfig, LogFormat};

/// Lines that may wait to be written; later ones are dropped.
const WAITING: usize = 8192;

/// Writes out what still waits when it is dropped, a second at the most.
#[must_use]
#[derive(Debug)]
pub struct Logging {
    _writer: WorkerGuard,
}

/// Sends what is logged, panics too, to standard error, while the answer is kept. The first
/// call counts.
///
/// # Errors
/// When `log.level` is neither a level nor directives.
pub fn init_logging(config: &LogConfig) -> Result<Logging, ConfigError> {
    let filter = EnvFilter::builder().parse(&config.level).map_err(|e| ConfigError::Value {
        key: "log.level",
        reason: format!("{e}; it is a level (error, warn, info, debug, trace) or as in `info,sessiond_engine=debug`"),
    })?;
    let (stderr, writer) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(WAITING)
        .thread_name("log")
        .finish(std::io::stderr());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr);
    let set = match config.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if set.is_ok() {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic
                .location()
                .map(ToString::to_string)
                .unwrap_or_default();
            let message = panic.payload_as_str().unwrap_or("(no message)");
            tracing::error!(place, message, "panic");
        }));
    }
    Ok(Logging { _writer: writer })
}
