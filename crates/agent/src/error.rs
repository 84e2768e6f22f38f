//! What can go wrong between us and an agent.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::RpcError;

/// Why something asked of an agent did not work.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The program could not be started.
    #[error("could not start the agent `{command}`: {source}")]
    Spawn {
        /// Its command.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// The working directory is not usable. Agents disagree on what a relative one means.
    #[error("the directory {path} {why}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The agent answered with an error.
    #[error("{method}: {error}")]
    Rpc {
        /// What was asked.
        method: &'static str,
        /// Its answer.
        error: RpcError,
    },
    /// The agent did not answer in time.
    #[error("the agent did not answer `{method}` within {} s", after.as_secs_f32())]
    Timeout {
        /// What was asked.
        method: &'static str,
        /// How long we waited.
        after: Duration,
    },
    /// The agent is gone, or closed its input or output.
    #[error("the agent is gone (`{method}`)")]
    Gone {
        /// What was asked.
        method: &'static str,
    },
    /// The agent's answer lacks what the protocol demands.
    #[error("the agent's answer to `{method}` has no {missing}")]
    Answer {
        /// What was asked.
        method: &'static str,
        /// What is missing.
        missing: &'static str,
    },
    /// Nobody waits for this answer any more.
    #[error("the agent does not wait for an answer to request {request}")]
    NoSuchRequest {
        /// The agent's id of the request.
        request: String,
    },
}

impl AgentError {
    /// The agent's own answer, when there was one.
    #[must_use]
    pub fn rpc(&self) -> Option<&RpcError> {
        match self {
            Self::Rpc { error, .. } => Some(error),
            _ => None,
        }
    }
}
