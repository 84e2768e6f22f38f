//! What must be there before anything can be measured.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::error::{BenchError, Result};

const PEERS: [&str; 2] = ["opencode-ai@1.18.33", "@sandbox-agent/cli@0.4.2"];

/// The programs that are measured.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) sessiond: PathBuf,
    /// None when only sessiond is measured.
    pub(crate) peers: Option<Peers>,
}

#[derive(Clone, Debug)]
pub(crate) struct Peers {
    pub(crate) opencode: PathBuf,
    pub(crate) sandbox_agent: PathBuf,
}

/// The folder that this program was built into (`target`).
pub(crate) fn target_dir() -> Result<PathBuf> {
    let program = std::env::current_exe().map_err(BenchError::io("cannot find this program"))?;
    Ok(program
        .ancestors()
        .nth(2)
        .map_or_else(|| PathBuf::from("target"), Path::to_path_buf))
}

/// Builds sessiond in release mode, beside this program.
pub(crate) async fn build(target: &Path) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--release",
            "--quiet",
            "-p",
            "sessiond-cli",
            "--target-dir",
        ])
        .arg(target)
        .current_dir(workspace);
    run(command).await?;
    Ok(target.join("release/sessiond"))
}

/// Installs the peers from npm, once.
pub(crate) async fn install_peers(dir: &Path) -> Result<Peers> {
    let npm = dir.join("npm");
    let modules = npm.join("node_modules");
    let platform = match std::env::consts::ARCH {
        "x86_64" => "linux-x64",
        "aarch64" => "linux-arm64",
        other => other,
    };
    // The programs themselves: npm's wrappers would add the start of a Node process.
    let peers = Peers {
        opencode: modules.join(format!("opencode-{platform}/bin/opencode")),
        sandbox_agent: modules.join(format!("@sandbox-agent/cli-{platform}/bin/sandbox-agent")),
    };
    let done = npm.join("installed");
    if std::fs::read_to_string(&done).is_ok_and(|what| what == PEERS.join("\n")) {
        return Ok(peers);
    }
    std::fs::create_dir_all(&npm).map_err(BenchError::file("cannot create", &npm))?;
    let package = npm.join("package.json");
    std::fs::write(&package, r#"{"private":true}"#)
        .map_err(BenchError::file("cannot write", &package))?;
    let mut command = Command::new("npm");
    command
        .args([
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--loglevel=error",
        ])
        .args(PEERS)
        .current_dir(&npm);
    run(command).await?;
    make_executable(&peers.opencode)?;
    make_executable(&peers.sandbox_agent)?;
    std::fs::write(&done, PEERS.join("\n")).map_err(BenchError::file("cannot write", &done))?;
    Ok(peers)
}

/// `PATH` without the folders that hold an agent: a server that finds one may start it.
pub(crate) fn path_without_agents() -> OsString {
    const AGENTS: [&str; 4] = ["opencode", "claude", "codex", "gemini"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let without = std::env::split_paths(&path)
        .filter(|dir| !AGENTS.iter().any(|agent| dir.join(agent).exists()));
    std::env::join_paths(without).unwrap_or_default()
}

fn make_executable(program: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755))
        .map_err(BenchError::file("cannot make executable", program))
}

async fn run(mut command: Command) -> Result<()> {
    let name = format!("{:?}", command.as_std());
    let status = command
        .stdin(Stdio::null())
        .status()
        .await
        .map_err(BenchError::io(format!("cannot start {name}")))?;
    if status.success() {
        Ok(())
    } else {
        Err(BenchError::Command {
            command: name,
            status,
        })
    }
}
