//! Configuration: flags, then the environment, then `sessiond.toml`, then defaults.

mod cluster;
mod error;
mod keys;
mod settings;
mod snapshots;
mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::Uri;
use sessiond_agent::{AgentOverride, Catalogue};
use sessiond_engine::CommandTemplate;
use sessiond_store_postgres::Address;

pub use cluster::{ClusterConfig, ClusterSettings};
pub use error::ConfigError;
pub use settings::{
    CommandSettings, LimitSettings, LogFormat, LogSettings, Settings, ShareSettings,
};
pub use snapshots::{SnapshotLimits, SnapshotSettings};
pub use values::{Period, Size, StoreText};

use crate::Token;

/// The port of `sessiond serve`.
pub const DEFAULT_PORT: u16 = 2468;

/// Everything a server needs to know to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on; port 0 means any free one.
    pub listen: SocketAddr,
    /// Where sessions are kept, unless `store` says otherwise, and what is of this node only.
    pub data_dir: PathBuf,
    /// The database that sessions are kept in instead, and that several nodes may share.
    pub store: Option<Address>,
    /// Directory of requests that name none.
    pub directory: PathBuf,
    /// Whether a token is asked for.
    pub auth: bool,
    /// The token; otherwise the one kept in the data directory.
    pub token: Option<Token>,
    /// More values of `Host` that are ours, without port; `*` means any.
    pub allowed_hosts: Vec<String>,
    /// More origins that browsers may call from.
    pub allowed_origins: Vec<String>,
    /// The address by which clients reach us through a proxy.
    pub public_url: Option<Uri>,
    /// Agent of prompts that name none; otherwise the first one found.
    pub default_agent: Option<String>,
    /// How many days deleted sessions are kept in the trash; 0: not at all.
    pub trash_days: u32,
    /// Bounds.
    pub limits: Limits,
    /// Captures of worktrees.
    pub snapshots: SnapshotLimits,
    /// Sharing.
    pub share: ShareConfig,
    /// Several nodes on one store.
    pub cluster: ClusterConfig,
    /// Logging.
    pub log: LogConfig,
    /// `[agents.NAME]`.
    pub agents: BTreeMap<String, AgentOverride>,
    /// `[commands.NAME]`.
    pub commands: BTreeMap<String, CommandTemplate>,
    /// The `sessiond` program: it is its own demo agent.
    pub program: PathBuf,
    /// Where agents are looked for.
    pub path: Option<OsString>,
    /// The file that was read.
    pub file: Option<PathBuf>,
}

/// Bounds, all of them settings of `[limits]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest a turn may run.
    pub turn_timeout: Duration,
    /// How long an agent process is kept without work.
    pub agent_idle: Duration,
    /// Most turns that may wait in one session.
    pub queue: usize,
    /// Size of a context rebuilt for an agent that forgot.
    pub context_bytes: usize,
    /// Largest request body.
    pub request_size: u64,
    /// Longest until the head of a reply, waiting prompts and event streams apart.
    pub request_timeout: Duration,
    /// Longest a connection may idle, or take to send its headers.
    pub idle_timeout: Duration,
    /// Longest a client may take to receive anything at all of what is sent.
    pub write_timeout: Duration,
    /// Most connections.
    pub connections: usize,
    /// Most requests at work at once, waiting prompts and event streams apart.
    pub requests: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            turn_timeout: Duration::from_secs(3600),
            agent_idle: Duration::from_secs(600),
            queue: 100,
            context_bytes: 200_000,
            request_size: 32 << 20,
            request_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(75),
            write_timeout: Duration::from_secs(60),
            connections: 4096,
            requests: 1024,
        }
    }
}

/// Sharing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareConfig {
    /// Whether sessions may be shared, and links work.
    pub enabled: bool,
    /// What comes before `/s/TOKEN` in a link; otherwise `public_url`, or where we listen.
    pub base_url: Option<String>,
}

impl Default for ShareConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            base_url: None,
        }
    }
}

/// Logging, to standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A level, or directives as in `info,sessiond_engine=debug`.
    pub level: String,
    /// Lines for people or JSON.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: "info".into(),
            format: LogFormat::Text,
        }
    }
}

/// Where a configuration comes from; tests pass their own.
pub struct Sources<'a> {
    /// `--config`; otherwise the file in the user's configuration directory, if there.
    pub file: Option<PathBuf>,
    /// What the command line says.
    pub flags: Settings,
    /// A variable of the environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

impl std::fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// The defaults, with data in `data_dir`.
    #[must_use]
    pub fn in_dir(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, DEFAULT_PORT).into(),
            data_dir: data_dir.into(),
            store: None,
            directory: std::env::current_dir().unwrap_or_else(|_| "/".into()),
            auth: true,
            token: None,
            allowed_hosts: Vec::new(),
            allowed_origins: Vec::new(),
            public_url: None,
            default_agent: None,
            trash_days: 30,
            limits: Limits::default(),
            snapshots: SnapshotLimits::default(),
            share: ShareConfig::default(),
            cluster: ClusterConfig::default(),
            log: LogConfig::default(),
            agents: BTreeMap::new(),
            commands: BTreeMap::new(),
            program: std::env::current_exe().unwrap_or_else(|_| "sessiond".into()),
            path: std::env::var_os("PATH"),
            file: None,
        }
    }

    /// Reads flags, environment and file.
    ///
    /// # Errors
    /// See [`ConfigError`]; nothing is created or changed.
    pub fn load(sources: Sources<'_>) -> Result<Self, ConfigError> {
        let named = sources
            .file
            .or_else(|| (sources.env)("SESSIOND_CONFIG").map(PathBuf::from));
        let dirs = directories::ProjectDirs::from("", "", "sessiond");
        let (file, settings) = match named {
            Some(path) => (Some(path.clone()), read(&path)?),
            None => match dirs.as_ref().map(|d| d.config_dir().join("sessiond.toml")) {
                Some(path) if path.exists() => (Some(path.clone()), read(&path)?),
                _ => (None, Settings::default()),
            },
        };
        let settings = sources.flags.or(from_env(sources.env)?).or(settings);
        let data_dir = settings
            .data_dir
            .clone()
            .or_else(|| dirs.map(|d| d.data_dir().to_owned()))
            .ok_or(ConfigError::NoHome)?;
        let mut config = settings.into_config(data_dir)?;
        config.file = file;
        Ok(config)
    }

    /// The agents this configuration knows.
    #[must_use]
    pub fn catalogue(&self) -> Catalogue {
        Catalogue::new(self.program.clone(), self.agents.clone(), self.path.clone())
    }

    /// The file that keeps the token.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        self.data_dir.join("token")
    }

    /// What must hold between settings.
    ///
    /// # Errors
    /// `OpenToOthers`, or a default agent that nobody knows.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !self.auth && !self.listen.ip().is_loopback() {
            return Err(ConfigError::OpenToOthers {
                listen: self.listen,
            });
        }
        if let Some(name) = &self.default_agent {
            let catalogue = self.catalogue();
            if catalogue.get(name).is_none() {
                let known: Vec<&str> = catalogue.iter().map(|a| a.name.as_str()).collect();
                return Err(ConfigError::Value {
                    key: "default_agent",
                    reason: format!("there is no agent `{name}`; there are {}", known.join(", ")),
                });
            }
        }
        Ok(())
    }
}

/// Reads a configuration file. Its relative paths start at its own directory.
fn read(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut settings = parse(path, &text)?;
    let base = path.parent().unwrap_or(Path::new(""));
    for dir in [&mut settings.data_dir, &mut settings.directory]
        .into_iter()
        .flatten()
    {
        *dir = base.join(&*dir);
    }
    Ok(settings)
}

fn parse(path: &Path, text: &str) -> Result<Settings, ConfigError> {
    let line = |at: usize| {
        text.as_bytes()
            .iter()
            .take(at)
            .filter(|b| **b == b'\n')
            .count()
            + 1
    };
    let wrong = |e: toml::de::Error| ConfigError::File {
        path: path.to_owned(),
        line: line(e.span().map_or(0, |s| s.start)),
        reason: e.message().trim().to_owned(),
    };
    let table = toml::de::DeTable::parse(text).map_err(wrong)?;
    if let Some(unknown) = keys::find_unknown(table.get_ref()) {
        return Err(ConfigError::UnknownKey {
            path: path.to_owned(),
            line: line(unknown.at.start),
            key: unknown.key,
            nearest: unknown.nearest,
        });
    }
    toml::from_str(text).map_err(wrong)
}

fn from_env(var: &dyn Fn(&str) -> Option<String>) -> Result<Settings, ConfigError> {
    let mut all = Settings::default();
    for keys::EnvSetting { name, value } in keys::from_env(var) {
        let one = value
            .and_then(|table| {
                table
                    .try_into()
                    .map_err(|e: toml::de::Error| e.message().to_owned())
            })
            .map_err(|reason| ConfigError::Env { name, reason })?;
        all = all.or(one);
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
