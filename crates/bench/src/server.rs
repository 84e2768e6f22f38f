//! The servers under load: started on loopback, offline, each with a home of its own.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::{Child, Command};

use crate::error::{BenchError, Result};
use crate::http::Endpoint;
use crate::setup::{Programs, path_without_agents};

const TOKEN: &str = "bench-0123456789abcdef0123456789abcdef";
const AUTH: &str = "authorization: Bearer bench-0123456789abcdef0123456789abcdef\r\n";
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a request may wait before another one is tried while a server starts.
const FIRST_ANSWER: Duration = Duration::from_secs(3);

/// A model that is never asked; without one OpenCode refuses messages.
const OPENCODE_CONFIG: &str = r#"{"autoupdate":false,"share":"disabled","model":"bench/none","small_model":"bench/none",
"provider":{"bench":{"npm":"@ai-sdk/openai-compatible","name":"Bench",
"options":{"baseURL":"http://127.0.0.1:9/v1","apiKey":"none"},"models":{"none":{"name":"none"}}}}}"#;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Who {
    Sessiond,
    OpenCode,
    SandboxAgent,
    /// What nothing of the kind can be faster than.
    Bare,
}

impl Who {
    pub(crate) const ALL: [Self; 4] = [
        Self::Sessiond,
        Self::OpenCode,
        Self::SandboxAgent,
        Self::Bare,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sessiond => "sessiond",
            Self::OpenCode => "OpenCode",
            Self::SandboxAgent => "sandbox-agent",
            Self::Bare => "bare reference",
        }
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) who: Who,
    pub(crate) endpoint: Endpoint,
    /// From the start of the process to the first answer with status 200.
    pub(crate) started_in: Duration,
    pid: u32,
    child: Child,
}

impl Server {
    /// Starts a server and waits until `path` is answered with 200.
    pub(crate) async fn start(
        who: Who,
        programs: &Programs,
        home: &Path,
        path: &str,
    ) -> Result<Self> {
        Self::start_with(who, programs, home, path, |_| Vec::new()).await
    }

    /// Starts a server with more environment, which may depend on its address.
    pub(crate) async fn start_with(
        who: Who,
        programs: &Programs,
        home: &Path,
        path: &str,
        environment: impl FnOnce(SocketAddr) -> Vec<(&'static str, String)>,
    ) -> Result<Self> {
        for dir in ["home", "work", "data"] {
            let dir = home.join(dir);
            std::fs::create_dir_all(&dir).map_err(BenchError::file("cannot create", &dir))?;
        }
        let endpoint = Endpoint {
            addr: free_address()?,
            base: if matches!(who, Who::OpenCode | Who::Bare) {
                ""
            } else {
                "/opencode"
            },
            auth: if who == Who::Sessiond { AUTH } else { "" },
        };
        let log = home.join("log");
        let output = || {
            let file = File::options().create(true).append(true).open(&log);
            file.map(Stdio::from)
                .map_err(BenchError::file("cannot open", &log))
        };
        let mut command = command(who, programs, home, endpoint.addr)?;
        command
            .envs(environment(endpoint.addr))
            .current_dir(home.join("work"))
            .stdin(Stdio::null())
            .stdout(output()?)
            .stderr(output()?)
            .kill_on_drop(true);
        let start = Instant::now();
        let child = command
            .spawn()
            .map_err(BenchError::io(format!("cannot start {}", who.name())))?;
        let mut server = Self {
            who,
            endpoint,
            started_in: Duration::ZERO,
            pid: child.id().unwrap_or_default(),
            child,
        };
        while !answers(&server.endpoint, path).await {
            let ended = server.child.try_wait().is_ok_and(|status| status.is_some());
            if ended || start.elapsed() > PATIENCE {
                let seconds = start.elapsed().as_secs();
                return Err(BenchError::NotReady {
                    who: who.name(),
                    seconds,
                    log,
                });
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        server.started_in = start.elapsed();
        Ok(server)
    }

    /// Resident memory in MiB.
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        let path = format!("/proc/{}/status", self.pid);
        let text =
            std::fs::read_to_string(&path).map_err(BenchError::file("cannot read", &path))?;
        let kib = text.lines().find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        });
        Ok(kib.unwrap_or(f64::NAN) / 1024.0)
    }

    /// Processor time used so far, to 10 ms.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(self.pid, 2)
    }

    /// Commits so far, where the server counts them.
    pub(crate) async fn commits(&self) -> Option<f64> {
        if self.who != Who::Sessiond {
            return None;
        }
        let root = Endpoint {
            base: "",
            ..self.endpoint.clone()
        };
        let text = root.ask("GET", "/metrics", None).await.ok()?;
        let text = String::from_utf8(text).ok()?;
        text.lines().find_map(|line| {
            line.strip_prefix("sessiond_commits_total ")?
                .trim()
                .parse()
                .ok()
        })
    }

    /// Ends the server in its own orderly way.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .map_err(|e| BenchError::io("cannot send SIGTERM")(e.into()))?;
        }
        // OpenCode takes long when a project was opened; both peers keep what was written.
        let patience = Duration::from_secs(if self.who == Who::Sessiond { 15 } else { 2 });
        if tokio::time::timeout(patience, self.child.wait())
            .await
            .is_err()
        {
            self.child
                .kill()
                .await
                .map_err(BenchError::io("cannot end a server"))?;
        }
        Ok(())
    }

    /// Bytes of the files it keeps sessions in.
    pub(crate) fn bytes_on_disk(home: &Path) -> u64 {
        size_of_tree(&home.join("data"))
    }
}

/// Processor time of a process, to 10 ms: `2` for its own, `4` with that of its ended children.
pub(crate) fn cpu_of(pid: u32, fields: usize) -> Duration {
    let ticks = stat_of(pid)
        .iter()
        .skip(11)
        .take(fields)
        .filter_map(|f| f.parse::<u64>().ok())
        .sum::<u64>();
    Duration::from_millis(ticks * 10)
}

/// What `/proc/PID/stat` says after the name, which may hold blanks: the first is the state, the
/// second the parent, the 12th to 15th are times.
pub(crate) fn stat_of(pid: u32) -> Vec<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    fields.split(' ').map(str::to_owned).collect()
}

fn command(who: Who, programs: &Programs, home: &Path, addr: SocketAddr) -> Result<Command> {
    let missing = || BenchError::Task(format!("{} is not installed", who.name()));
    let peers = programs.peers.as_ref().ok_or_else(missing);
    let data = home.join("data");
    let (ip, port) = (addr.ip().to_string(), addr.port().to_string());
    let mut command = Command::new(match who {
        Who::Sessiond => programs.sessiond.clone(),
        Who::OpenCode => peers?.opencode.clone(),
        Who::SandboxAgent => peers?.sandbox_agent.clone(),
        Who::Bare => std::env::current_exe().map_err(BenchError::io("cannot find this program"))?,
    });
    command
        .env_clear()
        .env("PATH", path_without_agents())
        .env("HOME", home.join("home"));
    match who {
        Who::Sessiond => {
            command.arg("serve").arg("--listen").arg(addr.to_string());
            command
                .arg("--data-dir")
                .arg(data)
                .env("SESSIOND_TOKEN", TOKEN);
        }
        Who::OpenCode => {
            let config = home.join("opencode.json");
            std::fs::write(&config, OPENCODE_CONFIG)
                .map_err(BenchError::file("cannot write", &config))?;
            command.args(["serve", "--hostname", &ip, "--port", &port]);
            command
                .env("OPENCODE_CONFIG", config)
                .env("XDG_DATA_HOME", data);
            for name in [
                "OPENCODE_DISABLE_AUTOUPDATE",
                "OPENCODE_DISABLE_MODELS_FETCH",
                "OPENCODE_DISABLE_DEFAULT_PLUGINS",
                "OPENCODE_DISABLE_LSP_DOWNLOAD",
                "OPENCODE_DISABLE_SHARE",
            ] {
                command.env(name, "1");
            }
        }
        Who::SandboxAgent => {
            command.args([
                "server",
                "--no-token",
                "--no-telemetry",
                "--host",
                &ip,
                "--port",
                &port,
            ]);
            command
                .env("OPENCODE_COMPAT_DB_PATH", data.join("sandbox-agent.db"))
                .env("SANDBOX_AGENT_LOG_DIR", home.join("logs"));
        }
        Who::Bare => {
            command.args(["bare", &addr.to_string()]);
        }
    }
    Ok(command)
}

async fn answers(endpoint: &Endpoint, path: &str) -> bool {
    // A request that reaches OpenCode early in its start is never answered.
    let answer = tokio::time::timeout(FIRST_ANSWER, endpoint.ask("GET", path, None)).await;
    answer.is_ok_and(|answer| answer.is_ok())
}

fn free_address() -> Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map_err(BenchError::io("cannot find a free port"))
}

fn size_of_tree(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size_of_tree(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
