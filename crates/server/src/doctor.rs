//! Looking at what a start needs, without starting: nothing is made, but a store that is there
//! is opened as a start would open it (and so brought to the newest schema).

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use sessiond_model::SystemClock;
use sessiond_store::{NoFeed, StoreError};

use crate::rooms::open_store;
use crate::{Config, StartError, Token};

/// What one look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    name: String,
    verdict: Verdict,
    detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Note,
    Bad,
}

impl Check {
    /// All is well.
    pub fn good(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            verdict: Verdict::Good,
            detail: detail.into(),
        }
    }

    /// Not there, and need not be.
    pub fn note(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            verdict: Verdict::Note,
            detail: detail.into(),
        }
    }

    /// A start would fail, or something would be missing; `detail` says what to do.
    pub fn bad(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            verdict: Verdict::Bad,
            detail: detail.into(),
        }
    }

    /// Whether nothing need be done.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.verdict != Verdict::Bad
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.verdict {
            Verdict::Good => "ok  ",
            Verdict::Note => "-   ",
            Verdict::Bad => "BAD ",
        };
        write!(f, "{mark} {}: {}", self.name, self.detail)
    }
}

/// Looks at data directory, store, token and address.
pub async fn check_data(config: &Config) -> Vec<Check> {
    let mut checks = Vec::new();
    let dir = config.data_dir.display();
    if !config.data_dir.exists() {
        checks.push(Check::note(
            "data directory",
            format!("{dir} is made at the first start"),
        ));
        checks.push(check_address(config));
        return checks;
    }
    checks.push(check_writable(config));
    checks.push(check_token(config));
    match open_store(config, None, None, Arc::new(NoFeed), Arc::new(SystemClock)).await {
        Ok(store) => {
            match store.health().await {
                Ok(health) => {
                    let size = health
                        .bytes
                        .map(|b| format!(", {} KiB", b / 1024))
                        .unwrap_or_default();
                    let what = format!("{}, {} sessions{size}", health.backend, health.sessions);
                    checks.push(if health.writable {
                        Check::good("store", what)
                    } else {
                        Check::bad("store", format!("{what}: not writable"))
                    });
                    checks.extend(
                        health
                            .incidents
                            .into_iter()
                            .map(|i| Check::note("store", i)),
                    );
                }
                Err(e) => checks.push(Check::bad("store", e.to_string())),
            }
            if let Err(e) = store.close().await {
                checks.push(Check::bad("store", e.to_string()));
            }
            checks.push(check_address(config));
        }
        // Not a fault: it is being served, and then its address is taken too.
        Err(e @ StoreError::Locked { .. }) => checks.push(Check::note("store", e.to_string())),
        Err(e) => checks.push(Check::bad("store", StartError::from(e).to_string())),
    }
    checks
}

fn check_writable(config: &Config) -> Check {
    let dir = &config.data_dir;
    let probe = dir.join(format!(".probe-{}", std::process::id()));
    let tried = std::fs::write(&probe, b"x").and_then(|()| std::fs::remove_file(&probe));
    match tried {
        Ok(()) => Check::good("data directory", dir.display().to_string()),
        Err(source) => {
            let error = StartError::DataDir {
                path: dir.clone(),
                source,
            };
            Check::bad("data directory", error.to_string())
        }
    }
}

fn check_token(config: &Config) -> Check {
    let path = config.token_file();
    if !config.auth {
        return Check::note("token", "none needed: `auth` is off");
    }
    if config.token.is_some() {
        return Check::good("token", "as configured");
    }
    match Token::read(&path) {
        Ok(Some(_)) => Check::good("token", path.display().to_string()),
        Ok(None) => Check::note("token", "made at the next start"),
        Err(source) => Check::bad("token", StartError::Token { path, source }.to_string()),
    }
}

fn check_address(config: &Config) -> Check {
    let listen = config.listen;
    match TcpListener::bind(listen) {
        Ok(_) => Check::good("address", format!("{listen} is free")),
        Err(e) if e.kind() == io::ErrorKind::AddrInUse => {
            Check::bad("address", StartError::AddressInUse { listen }.to_string())
        }
        Err(source) => Check::bad("address", StartError::Listen { listen, source }.to_string()),
    }
}
