//! The built-in demo agent: a real ACP agent over stdio that needs no network and no model.
//! What it does is written in the prompt, a command a line; everything else it answers with
//! a friendly text. It is what a first run shows and what many tests drive.

mod script;
mod server;
mod session;
mod tools;
mod turn;

use std::io;
use std::path::PathBuf;

use tokio::io::{AsyncRead, AsyncWrite};

/// Variable that names the directory where the demo agent keeps its sessions.
pub(crate) const HOME: &str = "SESSIOND_DEMO_HOME";

/// Where sessions are kept when [`HOME`] does not say.
fn default_home() -> PathBuf {
    let state = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))
        .filter(|dir| dir.is_absolute())
        .unwrap_or_else(std::env::temp_dir);
    state.join("sessiond/demo-agent")
}

/// Serves the demo agent over stdio until the input ends. Its sessions are kept as files in
/// `$SESSIOND_DEMO_HOME`, else in the user's state directory.
///
/// # Errors
/// When input or output break.
pub async fn run_demo_agent(
    stdin: impl AsyncRead + Unpin,
    stdout: impl AsyncWrite + Unpin + Send + 'static,
) -> io::Result<()> {
    let home = std::env::var_os(HOME).map_or_else(default_home, PathBuf::from);
    server::serve(stdin, stdout, home).await
}
