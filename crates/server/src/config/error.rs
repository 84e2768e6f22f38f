use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;

/// Why there is no configuration to start with. Each message says what to do.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file that was asked for cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{}, line {line}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A key that means nothing.
    #[error(
        "{}, line {line}: there is no setting `{key}`{}",
        path.display(),
        nearest.as_ref().map_or_else(
            || "; `sessiond serve --help` lists what there is".to_owned(),
            |n| format!("; did you mean `{n}`?")
        )
    )]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// The key, with its table.
        key: String,
        /// The known key that is most like it.
        nearest: Option<String>,
    },
    /// A variable of the environment has a wrong value.
    #[error("the environment variable {name}: {reason}")]
    Env {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A setting has a value of the right type that cannot be used.
    #[error("the setting `{key}`: {reason}")]
    Value {
        /// Its key.
        key: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// No authentication where others could connect.
    #[error(
        "without authentication sessiond listens on loopback only, and {listen} can be reached by others: \
         listen on 127.0.0.1, or leave `--no-auth` (`auth = false`) away"
    )]
    OpenToOthers {
        /// The address asked for.
        listen: SocketAddr,
    },
    /// There is no home directory to derive the data directory from.
    #[error("there is no home directory to keep data in: set `--data-dir` or SESSIOND_DATA_DIR")]
    NoHome,
}
