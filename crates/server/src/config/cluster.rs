//! `[cluster]`: several nodes on one store.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::settings::{absolute, parse_url};
use super::{ConfigError, Period};
use crate::Token;

/// A node whose pauses are shorter than this keeps its sessions.
const LEASE: Duration = Duration::from_secs(10);
/// Shorter, and an ordinary pause of a busy machine would cost sessions.
const LEASE_MIN: Duration = Duration::from_secs(2);
const LEASE_MAX: Duration = Duration::from_secs(300);
/// Longest name of a node, in bytes.
const NAME_MAX: usize = 64;

/// What a node of a shared store is called, where the others reach it, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Its name, the same after a restart; otherwise the host's, with something of its own.
    pub node: Option<String>,
    /// Where the other nodes reach it, without `/` at the end.
    pub advertise_url: Option<String>,
    /// What nodes show each other when they pass on requests.
    pub token: Option<Token>,
    /// How long others wait before they take over from a node that is not heard of.
    pub lease: Duration,
    /// Directories under which agents can work here; empty for all that there are.
    pub roots: Vec<PathBuf>,
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            node: None,
            advertise_url: None,
            token: None,
            lease: LEASE,
            roots: Vec::new(),
        }
    }
}

/// `[cluster]`; see [`ClusterConfig`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "each field is explained in ClusterConfig")]
pub struct ClusterSettings {
    pub node: Option<String>,
    pub advertise_url: Option<String>,
    pub token: Option<Token>,
    pub lease: Option<Period>,
    pub roots: Option<Vec<PathBuf>>,
}

impl ClusterSettings {
    pub(super) fn or(self, lower: Self) -> Self {
        Self {
            node: self.node.or(lower.node),
            advertise_url: self.advertise_url.or(lower.advertise_url),
            token: self.token.or(lower.token),
            lease: self.lease.or(lower.lease),
            roots: self.roots.or(lower.roots),
        }
    }

    pub(super) fn into_config(self) -> Result<ClusterConfig, ConfigError> {
        let wrong = |key: &'static str, reason: String| Err(ConfigError::Value { key, reason });
        if let Some(name) = &self.node {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(fits) {
                let reason =
                    format!("`{name}`: a node is named with up to {NAME_MAX} of A-Z a-z 0-9 - _ .");
                return wrong("cluster.node", reason);
            }
        }
        let lease = self.lease.map_or(LEASE, |p| p.0);
        if !(LEASE_MIN..=LEASE_MAX).contains(&lease) {
            let (min, max) = (LEASE_MIN.as_secs(), LEASE_MAX.as_secs());
            return wrong("cluster.lease", format!("must be from {min}s to {max}s"));
        }
        if self.advertise_url.is_some() && self.token.is_none() {
            let reason = "is needed with `cluster.advertise_url`: a secret that all nodes share, \
                          e.g. of `openssl rand -hex 32`";
            return wrong("cluster.token", reason.into());
        }
        if let Some(url) = &self.advertise_url {
            let uri = parse_url("cluster.advertise_url", url)?;
            if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
                let reason = format!("`{url}` must be an origin such as http://10.0.0.7:2468");
                return wrong("cluster.advertise_url", reason);
            }
        }
        let roots = self.roots.unwrap_or_default().into_iter();
        Ok(ClusterConfig {
            node: self.node,
            advertise_url: self
                .advertise_url
                .map(|url| url.trim_end_matches('/').to_owned()),
            token: self.token,
            lease,
            roots: roots
                .map(|dir| absolute("cluster.roots", dir))
                .collect::<Result<_, _>>()?,
        })
    }
}
