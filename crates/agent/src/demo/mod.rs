//! The built-in demo agent.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

/// Variable that names the directory where the demo agent keeps its sessions.
pub(crate) const HOME: &str = "SESSIOND_DEMO_HOME";

/// Serves the demo agent over stdio until the input ends.
///
/// # Errors
/// When input or output break.
pub async fn run_demo_agent(
    stdin: impl AsyncRead + Unpin,
    stdout: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let _ = (stdin, stdout);
    Ok(())
}
