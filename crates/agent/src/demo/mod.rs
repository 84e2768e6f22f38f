//! The built-in demo agent.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

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
