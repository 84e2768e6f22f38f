//! The real `sessiond` binary as a child process.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::http::Client;

/// Longest that a start may take.
const START: Duration = Duration::from_secs(60);
/// Longest that an orderly end may take.
const STOP: Duration = Duration::from_secs(20);

/// The token of test servers.
pub const TOKEN: &str = "testkit-token-0123456789abcdef01234567";

/// Why there is no server.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// The program or a file of it could not be had.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// It ended before it was ready.
    #[error("sessiond ended before it was ready: {0:?}")]
    Ended(Option<ExitStatus>),
    /// It did not become ready.
    #[error("sessiond was not ready within {START:?}")]
    NotReady,
    /// It did not obey SIGTERM.
    #[error("sessiond did not end within {STOP:?} of SIGTERM")]
    NoEnd,
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> DaemonError {
    let what = what.into();
    move |source| DaemonError::Io { what, source }
}

/// Where a test server lives: data, configuration, log and project in one directory.
#[derive(Clone, Debug)]
pub struct Home {
    dir: PathBuf,
    binary: PathBuf,
}

impl Home {
    /// Lays out a home. `settings` are further lines of its configuration file.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn new(dir: &Path, binary: &Path, settings: &str) -> Result<Self, DaemonError> {
        let home = Self {
            dir: dir.to_owned(),
            binary: binary.to_owned(),
        };
        for sub in ["project", "home"] {
            fs::create_dir_all(dir.join(sub)).map_err(io_error(sub))?;
        }
        let config = format!(
            "token = {TOKEN:?}\ndirectory = {:?}\ndefault_agent = \"demo\"\n{settings}",
            home.project()
        );
        fs::write(dir.join("config.toml"), config).map_err(io_error("config.toml"))?;
        Ok(home)
    }

    /// Directory that its sessions work in.
    #[must_use]
    pub fn project(&self) -> PathBuf {
        self.dir.join("project")
    }

    /// What the servers wrote so far.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("sessiond.log")
    }

    fn log_file(&self) -> Result<File, DaemonError> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log())
            .map_err(io_error("sessiond.log"))
    }

    /// Processes that work in the project and do not descend from `server`: agents and
    /// commands that a server left behind.
    #[must_use]
    pub fn orphans(&self, server: Option<u32>) -> BTreeSet<u32> {
        let project = self.project();
        let processes = processes();
        processes
            .iter()
            .filter(|p| p.cwd.as_deref().is_some_and(|c| c.starts_with(&project)))
            .filter(|p| Some(p.pid) != server && !descends(p, server, &processes))
            .map(|p| p.pid)
            .collect()
    }
}

#[derive(Debug)]
struct Process {
    pid: u32,
    parent: u32,
    cwd: Option<PathBuf>,
}

/// All processes that have not ended (zombies have).
fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name before the last `)` may hold anything.
            let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
            if fields.next()? == "Z" {
                return None;
            }
            let parent = fields.next()?.parse().ok()?;
            let cwd = fs::read_link(entry.path().join("cwd")).ok();
            Some(Process { pid, parent, cwd })
        })
        .collect()
}

fn descends(process: &Process, ancestor: Option<u32>, all: &[Process]) -> bool {
    let mut parent = process.parent;
    // Bounded, because parents change while this looks.
    for _ in 0..64 {
        if Some(parent) == ancestor {
            return true;
        }
        match all.iter().find(|p| p.pid == parent) {
            Some(p) if p.parent != parent => parent = p.parent,
            _ => return false,
        }
    }
    false
}

/// A running server. It is killed when this is dropped.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    pid: u32,
    address: SocketAddr,
    _stdout: tokio::task::JoinHandle<()>,
}

impl Daemon {
    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start(home: &Home, env: &[(&str, &str)]) -> Result<Self, DaemonError> {
        let mut command = Command::new(&home.binary);
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(home.dir.join("data"))
            .arg("--config")
            .arg(home.dir.join("config.toml"))
            .current_dir(home.project())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.dir.join("home"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(home.log_file()?)
            .kill_on_drop(true);
        let mut child = command
            .spawn()
            .map_err(io_error(home.binary.display().to_string()))?;
        let pid = child.id().unwrap_or_default();
        let stdout = child.stdout.take();
        let starting = Self::address_of(stdout);
        let found = tokio::time::timeout(START, starting)
            .await
            .map_err(|_| DaemonError::NotReady)?;
        let Some((address, stdout)) = found else {
            return Err(DaemonError::Ended(child.wait().await.ok()));
        };
        let mut daemon = Self {
            child,
            pid,
            address,
            _stdout: tokio::spawn(drain(stdout)),
        };
        daemon.ready().await?;
        Ok(daemon)
    }

    /// The address on the first line that names one.
    async fn address_of(
        stdout: Option<ChildStdout>,
    ) -> Option<(SocketAddr, BufReader<ChildStdout>)> {
        let mut reader = BufReader::new(stdout?);
        let mut line = String::new();
        while reader.read_line(&mut line).await.ok()? > 0 {
            if let Some((_, rest)) = line.split_once("http://") {
                let end = rest
                    .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))
                    .unwrap_or(rest.len());
                if let Ok(address) = rest[..end].parse() {
                    return Some((address, reader));
                }
            }
            line.clear();
        }
        None
    }

    async fn ready(&mut self) -> Result<(), DaemonError> {
        let client = Client::new(self.address);
        let end = Instant::now() + START;
        while Instant::now() < end {
            if client.get("/readyz").await.is_ok_and(|r| r.ok()) {
                return Ok(());
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(DaemonError::Ended(Some(status)));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(DaemonError::NotReady)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// A client with its token.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.address).with_token(TOKEN)
    }

    /// `kill -9`: the server alone, not its agents.
    pub async fn kill(mut self) {
        // It may have ended by itself.
        let _ = self.child.kill().await;
    }

    /// Waits until it ends by itself, which a failpoint makes it do; whether it did in time.
    pub async fn ends_within(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.child.wait()).await.is_ok()
    }

    /// SIGTERM, and waits.
    ///
    /// # Errors
    /// When it does not obey.
    pub async fn stop(mut self) -> Result<(), DaemonError> {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        tokio::time::timeout(STOP, self.child.wait())
            .await
            .map_err(|_| DaemonError::NoEnd)?
            .map_err(io_error("wait"))?;
        Ok(())
    }
}

/// Reads what nobody needs, so that the pipe does not fill up.
async fn drain(mut stdout: BufReader<ChildStdout>) {
    let mut line = Vec::new();
    while stdout
        .read_until(b'\n', &mut line)
        .await
        .is_ok_and(|n| n > 0)
    {
        line.clear();
    }
}

/// The `sessiond` binary: what `SESSIOND_BIN` names, else the one beside this program.
///
/// # Errors
/// When there is none; the text says what to do.
pub fn binary() -> Result<PathBuf, String> {
    let named = std::env::var_os("SESSIOND_BIN").map(PathBuf::from);
    let candidates = named
        .into_iter()
        .chain(std::env::current_exe().into_iter().flat_map(|exe| {
            exe.ancestors()
                .skip(1)
                .take(2)
                .map(|d| d.join("sessiond"))
                .collect::<Vec<_>>()
        }));
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .and_then(|path| path.canonicalize().ok())
        .ok_or_else(|| {
            "no sessiond binary: run `cargo build -p sessiond-cli` first, or set SESSIOND_BIN"
                .into()
        })
}
