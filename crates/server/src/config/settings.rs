use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use axum::http::Uri;
use serde::Deserialize;
use sessiond_agent::AgentOverride;
use sessiond_engine::CommandTemplate;
use sessiond_model::ModelRef;

use super::{
    ClusterSettings, Config, ConfigError, Limits, LogConfig, Period, ShareConfig, Size,
    SnapshotSettings, StoreText,
};
use crate::Token;

/// What one source (flags, environment, file) says; `None` leaves it to the next one.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `ADDRESS:PORT`.
    pub listen: Option<String>,
    /// Where sessions are kept.
    pub data_dir: Option<PathBuf>,
    /// The store, when it is not in `data_dir`: `postgres://…`.
    pub store: Option<StoreText>,
    /// Directory of requests that name none.
    pub directory: Option<PathBuf>,
    /// Whether a token is asked for.
    pub auth: Option<bool>,
    /// The token.
    pub token: Option<Token>,
    /// More values of `Host` that are ours.
    pub allowed_hosts: Option<Vec<String>>,
    /// More origins that browsers may call from.
    pub allowed_origins: Option<Vec<String>>,
    /// The address by which clients reach us through a proxy.
    pub public_url: Option<String>,
    /// Agent of prompts that name none.
    pub default_agent: Option<String>,
    /// How many days deleted sessions are kept in the trash.
    pub trash_days: Option<u32>,
    /// `[limits]`.
    pub limits: LimitSettings,
    /// `[snapshots]`.
    pub snapshots: SnapshotSettings,
    /// `[share]`.
    pub share: ShareSettings,
    /// `[cluster]`.
    pub cluster: ClusterSettings,
    /// `[log]`.
    pub log: LogSettings,
    /// `[agents.NAME]`.
    pub agents: BTreeMap<String, AgentOverride>,
    /// `[commands.NAME]`.
    pub commands: BTreeMap<String, CommandSettings>,
}

/// `[commands.NAME]`: a slash command.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CommandSettings {
    /// The prompt, with `$1`…, `$ARGUMENTS` and ``!`command` `` in it.
    pub template: String,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// OpenCode agent (mode) to run it with.
    pub agent: Option<String>,
    /// Model to run it with: `AGENT/MODEL`.
    pub model: Option<String>,
}

/// `[limits]`; see [`Limits`].
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is explained in Limits")]
pub struct LimitSettings {
    pub turn_timeout: Option<Period>,
    pub agent_idle: Option<Period>,
    pub queue: Option<usize>,
    pub context_bytes: Option<usize>,
    pub request_size: Option<Size>,
    pub request_timeout: Option<Period>,
    pub idle_timeout: Option<Period>,
    pub write_timeout: Option<Period>,
    pub connections: Option<usize>,
    pub requests: Option<usize>,
}

/// `[share]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShareSettings {
    /// Whether sessions may be shared, and links work.
    pub enabled: Option<bool>,
    /// What comes before `/s/TOKEN` in a link.
    pub base_url: Option<String>,
}

/// `[log]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// A level, or directives as in `info,sessiond_engine=debug`.
    pub level: Option<String>,
    /// Lines for people or JSON.
    pub format: Option<LogFormat>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Settings {
    /// These settings, and where they say nothing, those of `lower`.
    #[must_use]
    pub fn or(self, lower: Self) -> Self {
        let mut agents = lower.agents;
        agents.extend(self.agents);
        let mut commands = lower.commands;
        commands.extend(self.commands);
        Self {
            listen: self.listen.or(lower.listen),
            data_dir: self.data_dir.or(lower.data_dir),
            store: self.store.or(lower.store),
            directory: self.directory.or(lower.directory),
            auth: self.auth.or(lower.auth),
            token: self.token.or(lower.token),
            allowed_hosts: self.allowed_hosts.or(lower.allowed_hosts),
            allowed_origins: self.allowed_origins.or(lower.allowed_origins),
            public_url: self.public_url.or(lower.public_url),
            default_agent: self.default_agent.or(lower.default_agent),
            trash_days: self.trash_days.or(lower.trash_days),
            limits: self.limits.or(lower.limits),
            snapshots: self.snapshots.or(lower.snapshots),
            cluster: self.cluster.or(lower.cluster),
            share: ShareSettings {
                enabled: self.share.enabled.or(lower.share.enabled),
                base_url: self.share.base_url.or(lower.share.base_url),
            },
            log: LogSettings {
                level: self.log.level.or(lower.log.level),
                format: self.log.format.or(lower.log.format),
            },
            agents,
            commands,
        }
    }

    /// The configuration, with defaults where nothing was said.
    pub(super) fn into_config(self, data_dir: PathBuf) -> Result<Config, ConfigError> {
        let default = Config::in_dir(absolute("data_dir", data_dir)?);
        let config = Config {
            listen: self
                .listen
                .as_deref()
                .map_or(Ok(default.listen), parse_listen)?,
            store: self
                .store
                .as_ref()
                .map(StoreText::parse)
                .transpose()?
                .flatten(),
            directory: self
                .directory
                .map_or(Ok(default.directory), |dir| absolute("directory", dir))?,
            auth: self.auth.unwrap_or(default.auth),
            token: self.token,
            allowed_hosts: self.allowed_hosts.unwrap_or_default(),
            allowed_origins: self
                .allowed_origins
                .unwrap_or_default()
                .iter()
                .map(|o| parse_origin(o))
                .collect::<Result<_, _>>()?,
            public_url: self
                .public_url
                .as_deref()
                .map(|text| parse_url("public_url", text))
                .transpose()?,
            default_agent: self.default_agent,
            trash_days: self.trash_days.unwrap_or(default.trash_days),
            limits: self.limits.into_limits()?,
            snapshots: self.snapshots.into_limits()?,
            share: ShareConfig {
                enabled: self.share.enabled.unwrap_or(default.share.enabled),
                base_url: self
                    .share
                    .base_url
                    .as_deref()
                    .map(parse_base_url)
                    .transpose()?,
            },
            cluster: self.cluster.into_config()?,
            log: LogConfig {
                level: self.log.level.unwrap_or(default.log.level),
                format: self.log.format.unwrap_or(default.log.format),
            },
            agents: self.agents,
            commands: self
                .commands
                .into_iter()
                .map(|(name, command)| command.checked(name))
                .collect::<Result<_, _>>()?,
            data_dir: default.data_dir,
            program: default.program,
            path: default.path,
            file: None,
        };
        config.check()?;
        Ok(config)
    }
}

/// Longest name of a slash command, in bytes.
const COMMAND_NAME_MAX: usize = 100;

impl CommandSettings {
    fn checked(self, name: String) -> Result<(String, CommandTemplate), ConfigError> {
        let wrong = |reason: String| ConfigError::Value {
            key: "commands",
            reason: format!("`{name}`: {reason}"),
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
        if name.is_empty() || name.len() > COMMAND_NAME_MAX || !name.chars().all(fits) {
            return Err(wrong(format!(
                "a command is named with up to {COMMAND_NAME_MAX} of A-Z a-z 0-9 - _ . : /"
            )));
        }
        if self.template.trim().is_empty() {
            return Err(wrong("the `template` is empty".into()));
        }
        let model = match self.model.as_deref().map(|m| (m, m.split_once('/'))) {
            None => None,
            Some((_, Some((agent, id)))) if !agent.is_empty() && !id.is_empty() => Some(ModelRef {
                provider_id: agent.to_owned(),
                id: id.to_owned(),
                variant: None,
            }),
            Some((text, _)) => {
                return Err(wrong(format!(
                    "`{text}` is not a model such as claude/sonnet"
                )));
            }
        };
        let template = CommandTemplate {
            description: self.description,
            template: self.template,
            agent: self.agent,
            model,
        };
        Ok((name, template))
    }
}

impl LimitSettings {
    fn or(self, lower: Self) -> Self {
        Self {
            turn_timeout: self.turn_timeout.or(lower.turn_timeout),
            agent_idle: self.agent_idle.or(lower.agent_idle),
            queue: self.queue.or(lower.queue),
            context_bytes: self.context_bytes.or(lower.context_bytes),
            request_size: self.request_size.or(lower.request_size),
            request_timeout: self.request_timeout.or(lower.request_timeout),
            idle_timeout: self.idle_timeout.or(lower.idle_timeout),
            write_timeout: self.write_timeout.or(lower.write_timeout),
            connections: self.connections.or(lower.connections),
            requests: self.requests.or(lower.requests),
        }
    }

    fn into_limits(self) -> Result<Limits, ConfigError> {
        let d = Limits::default();
        let limits = Limits {
            turn_timeout: self.turn_timeout.map_or(d.turn_timeout, |p| p.0),
            agent_idle: self.agent_idle.map_or(d.agent_idle, |p| p.0),
            queue: self.queue.unwrap_or(d.queue),
            context_bytes: self.context_bytes.unwrap_or(d.context_bytes),
            request_size: self.request_size.map_or(d.request_size, |s| s.0),
            request_timeout: self.request_timeout.map_or(d.request_timeout, |p| p.0),
            idle_timeout: self.idle_timeout.map_or(d.idle_timeout, |p| p.0),
            write_timeout: self.write_timeout.map_or(d.write_timeout, |p| p.0),
            connections: self.connections.unwrap_or(d.connections),
            requests: self.requests.unwrap_or(d.requests),
        };
        let zero = [
            ("limits.turn_timeout", limits.turn_timeout.is_zero()),
            ("limits.queue", limits.queue == 0),
            ("limits.request_size", limits.request_size == 0),
            ("limits.request_timeout", limits.request_timeout.is_zero()),
            ("limits.idle_timeout", limits.idle_timeout.is_zero()),
            ("limits.write_timeout", limits.write_timeout.is_zero()),
            ("limits.connections", limits.connections == 0),
            ("limits.requests", limits.requests == 0),
        ];
        match zero.into_iter().find(|(_, zero)| *zero) {
            Some((key, _)) => Err(ConfigError::Value {
                key,
                reason: "must be more than 0".into(),
            }),
            None => Ok(limits),
        }
    }
}

fn parse_listen(text: &str) -> Result<SocketAddr, ConfigError> {
    let local = text
        .strip_prefix("localhost:")
        .and_then(|port| port.parse().ok())
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    local
        .or_else(|| text.parse().ok())
        .ok_or_else(|| ConfigError::Value {
            key: "listen",
            reason: format!("`{text}` is not ADDRESS:PORT, e.g. 127.0.0.1:2468 or [::1]:2468"),
        })
}

pub(super) fn parse_url(key: &'static str, text: &str) -> Result<Uri, ConfigError> {
    let uri: Option<Uri> = text.trim_end_matches('/').parse().ok();
    uri.filter(|u| matches!(u.scheme_str(), Some("http" | "https")) && u.host().is_some())
        .ok_or_else(|| ConfigError::Value {
            key,
            reason: format!("`{text}` is not an address such as https://sessions.example.org"),
        })
}

fn parse_base_url(text: &str) -> Result<String, ConfigError> {
    parse_url("share.base_url", text).map(|_| text.trim_end_matches('/').to_owned())
}

fn parse_origin(text: &str) -> Result<String, ConfigError> {
    let origin = text.trim_end_matches('/');
    let after_scheme = origin.split_once("://").map(|(_, rest)| rest);
    match after_scheme {
        Some(rest) if !rest.is_empty() && !rest.contains(['/', '*']) => {
            Ok(origin.to_ascii_lowercase())
        }
        _ => Err(ConfigError::Value {
            key: "allowed_origins",
            reason: format!("`{text}` is not an origin such as https://app.example.org"),
        }),
    }
}

/// An absolute path; `~/` is the home directory.
pub(super) fn absolute(key: &'static str, path: PathBuf) -> Result<PathBuf, ConfigError> {
    let path = match (path.strip_prefix("~"), directories::BaseDirs::new()) {
        (Ok(rest), Some(dirs)) => dirs.home_dir().join(rest),
        _ => path,
    };
    std::path::absolute(&path).map_err(|e| ConfigError::Value {
        key,
        reason: format!("{}: {e}", path.display()),
    })
}
