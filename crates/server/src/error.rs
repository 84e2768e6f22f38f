use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use sessiond_engine::EngineError;
use sessiond_store::StoreError;
use thiserror::Error;

use crate::ConfigError;

/// Why the server did not start. Each message says what to do.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Somebody listens there already.
    #[error(
        "{listen} is in use by another program: stop it, or choose another address, \
         e.g. `--listen 127.0.0.1:0` for any free port"
    )]
    AddressInUse {
        /// The address asked for.
        listen: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: {source}; choose another address with `--listen`")]
    Listen {
        /// The address asked for.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error(
        "cannot use the data directory {}: {source}; make it writable, or choose another one with `--data-dir`",
        path.display()
    )]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file of the token cannot be used.
    #[error(
        "cannot use the token in {}: {source}; remove the file to have a new token made",
        path.display()
    )]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store cannot be opened.
    #[error("{source}{}", advice(source))]
    Store {
        /// Why.
        source: StoreError,
    },
    /// The certificates of this machine cannot be used to reach other nodes.
    #[error("cannot make requests to other nodes: {0}")]
    Client(reqwest::Error),
    /// The engine could not finish what an earlier process left.
    #[error("cannot start on this store: {0}; `sessiond doctor` tells more")]
    Engine(#[from] EngineError),
}

impl From<StoreError> for StartError {
    fn from(source: StoreError) -> Self {
        Self::Store { source }
    }
}

/// What to do about a store that does not open.
fn advice(error: &StoreError) -> &'static str {
    match error {
        StoreError::Locked { .. } => {
            ": use that one, stop it, or choose another directory with `--data-dir`"
        }
        StoreError::TooNew { .. } => {
            "; install that version, or choose another directory with `--data-dir`"
        }
        StoreError::Corrupt { .. } => {
            "; move it away, put a backup in its place, or choose another directory with `--data-dir`"
        }
        StoreError::Unavailable { .. } => "; `sessiond doctor` tells more",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_store_names_its_holder_and_the_way_out() {
        let error = StartError::from(StoreError::Locked {
            path: "/d".into(),
            pid: 42,
            url: Some("http://127.0.0.1:2468".into()),
        });
        assert_eq!(
            error.to_string(),
            "/d is in use by process 42 (http://127.0.0.1:2468): use that one, stop it, \
             or choose another directory with `--data-dir`"
        );
    }
}
