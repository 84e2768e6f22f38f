//! Logging, to standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::{ConfigError, LogConfig, LogFormat};

/// Sends what is logged, panics too, to standard error. The first call counts.
///
/// # Errors
/// When `log.level` is neither a level nor directives.
pub fn init_logging(config: &LogConfig) -> Result<(), ConfigError> {
    let filter = EnvFilter::builder().parse(&config.level).map_err(|e| ConfigError::Value {
        key: "log.level",
        reason: format!("{e}; it is a level (error, warn, info, debug, trace) or as in `info,sessiond_engine=debug`"),
    })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
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
    Ok(())
}
