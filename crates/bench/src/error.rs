use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a bench could not be run. A number that misses its target is no error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error("{what} {}: {source}", path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("`{command}` ended with {status}")]
    Command { command: String, status: ExitStatus },
    #[error("{what}: {source}")]
    Io {
        what: String,
        source: std::io::Error,
    },
    #[error("{who} did not answer within {seconds} s after its start; its output is in {}", log.display())]
    NotReady {
        who: &'static str,
        seconds: u64,
        log: PathBuf,
    },
    #[error("the answer to {request} breaks off or is no HTTP: {reason}")]
    Protocol {
        request: String,
        reason: &'static str,
    },
    #[error("{request} was answered with {status}: {body}")]
    Status {
        request: String,
        status: u16,
        body: String,
    },
    #[error("{request} was not answered within {seconds} s")]
    Timeout { request: String, seconds: u64 },
    #[error("the answer to {request} has no {missing}: {body}")]
    Shape {
        request: String,
        missing: &'static str,
        body: String,
    },
    #[error("the reference loop: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("a part of the bench ended early: {0}")]
    Task(String),
}

pub(crate) type Result<T> = std::result::Result<T, BenchError>;

impl BenchError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn file(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }
}

impl From<tokio::task::JoinError> for BenchError {
    fn from(error: tokio::task::JoinError) -> Self {
        Self::Task(error.to_string())
    }
}
