//! The address of a database.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// The schema used when the address names none.
const SCHEMA: &str = "sessiond";

/// Parameters of libpq that tokio-postgres does not take, and ours.
const OWN: [&str; 5] = ["sslmode", "sslrootcert", "sslcert", "sslkey", "schema"];

/// How far the server is to be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// Nothing is checked: the channel is only encrypted.
    Anyone,
    /// Its certificate is signed by somebody we trust.
    Authority,
    /// And it is for the name that was connected to.
    Name,
}

/// What is to be known for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    pub(crate) trust: Trust,
    /// Who signs certificates; the system's authorities when there is none.
    pub(crate) root: Option<PathBuf>,
    /// Our own certificate and its key.
    pub(crate) own: Option<(PathBuf, PathBuf)>,
}

/// Why an address can't be used. Never holds the password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Not of the form of a PostgreSQL URL.
    #[error("not a PostgreSQL address (postgres://user@host:port/database): {0}")]
    Form(String),
    /// A parameter has a value that it can't have.
    #[error("the parameter `{name}` of the PostgreSQL address must be {expected}")]
    Parameter {
        /// Its name.
        name: &'static str,
        /// What it may be.
        expected: &'static str,
    },
}

/// The address of a database: `postgres://user:password@host:port/database`, with the parameters
/// of libpq for TLS (`sslmode`, `sslrootcert`, `sslcert`, `sslkey`), those of tokio-postgres, and
/// `schema`: the namespace of the tables (`sessiond` when none is given). Shown without password.
#[derive(Clone)]
pub struct Address {
    pub(crate) config: Config,
    pub(crate) tls: TlsSettings,
    pub(crate) schema: String,
}

impl Address {
    /// Whether a text is the address of a PostgreSQL database.
    #[must_use]
    pub fn is_one(text: &str) -> bool {
        text.starts_with("postgres://") || text.starts_with("postgresql://")
    }

    /// The namespace of the tables.
    #[must_use]
    pub fn schema(&self) -> &str {
        &self.schema
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if !Self::is_one(text) {
            return Err(AddressError::Form("it has no postgres://".into()));
        }
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let mut passed = Vec::new();
        let mut own: [Option<String>; OWN.len()] = Default::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match OWN.iter().position(|known| *known == name) {
                Some(place) => own[place] = Some(decoded(value)),
                None => passed.push(pair),
            }
        }
        let [mode, root, cert, key, schema] = own;
        let base = match passed.as_slice() {
            [] => base.to_owned(),
            passed => format!("{base}?{}", passed.join("&")),
        };
        let mut config: Config = base
            .parse()
            .map_err(|error: tokio_postgres::Error| AddressError::Form(cause(&error)))?;
        if config.get_hosts().is_empty() {
            return Err(AddressError::Form("it names no host".into()));
        }
        let root = root.map(PathBuf::from);
        let (ssl, trust) = match mode.as_deref() {
            Some("disable") => (SslMode::Disable, Trust::Anyone),
            None | Some("prefer" | "allow") => (SslMode::Prefer, Trust::Anyone),
            // As libpq does it: with an authority at hand, its word counts.
            Some("require") if root.is_some() => (SslMode::Require, Trust::Authority),
            Some("require") => (SslMode::Require, Trust::Anyone),
            Some("verify-ca") => (SslMode::Require, Trust::Authority),
            Some("verify-full") => (SslMode::Require, Trust::Name),
            Some(_) => {
                return Err(AddressError::Parameter {
                    name: "sslmode",
                    expected: "disable, prefer, require, verify-ca or verify-full",
                });
            }
        };
        config.ssl_mode(ssl);
        let own = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert.into(), key.into())),
            (None, None) => None,
            _ => {
                return Err(AddressError::Parameter {
                    name: "sslkey",
                    expected: "given together with `sslcert`",
                });
            }
        };
        let schema = schema.unwrap_or_else(|| SCHEMA.to_owned());
        if !is_plain(&schema) {
            return Err(AddressError::Parameter {
                name: "schema",
                expected: "lower-case letters, digits and _, a letter first, 48 at most",
            });
        }
        let tls = TlsSettings { trust, root, own };
        Ok(Self {
            config,
            tls,
            schema,
        })
    }
}

/// Whether a name needs no quotes in any place of SQL.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.len() <= 48
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(plain)
        && !name.starts_with("pg_")
}

fn decoded(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = (*first == b'%').then(|| tail.get(..2)).flatten();
        let code = code.and_then(|two| std::str::from_utf8(two).ok());
        match code.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The innermost cause, which says what is wrong.
fn cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        let ports = self.config.get_ports();
        for (place, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if place > 0 { "," } else { "" };
            let port = ports.get(place).or(ports.first()).copied().unwrap_or(5432);
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}:{port}")?,
                #[cfg(unix)]
                Host::Unix(path) => write!(f, "{comma}{}:{port}", path.display())?,
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())?;
        if self.schema != SCHEMA {
            write!(f, "?schema={}", self.schema)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_password() {
        let text = "postgres://me:se%20cret@db.example:5433/work?sslmode=verify-full&schema=two";
        let address: Address = text.parse().unwrap();
        let shown = format!("{address} {address:?}");
        assert_eq!(
            address.to_string(),
            "postgres://me@db.example:5433/work?schema=two"
        );
        assert!(!shown.contains("cret"), "{shown}");
        assert_eq!(address.tls.trust, Trust::Name);
        assert_eq!(address.config.get_password(), Some(b"se cret".as_slice()));
    }

    #[test]
    fn parameters_of_others_are_passed_on() {
        let text = "postgresql://db/work?connect_timeout=7&sslmode=require&sslrootcert=/a%20b.pem";
        let address: Address = text.parse().unwrap();
        let timeout = address.config.get_connect_timeout().unwrap();
        assert_eq!(timeout.as_secs(), 7);
        assert_eq!(address.tls.trust, Trust::Authority);
        assert_eq!(address.tls.root, Some("/a b.pem".into()));
        assert_eq!(address.schema, "sessiond");
    }

    #[test]
    fn what_can_not_be_used_is_refused_by_name() {
        let refused = |text: &str| text.parse::<Address>().unwrap_err().to_string();
        assert!(refused("mysql://db/x").contains("postgres://"));
        assert!(refused("postgres://db/x?sslmode=maybe").contains("`sslmode`"));
        assert!(refused("postgres://db/x?schema=My%22Schema").contains("`schema`"));
        assert!(refused("postgres://db/x?sslcert=/c.pem").contains("`sslkey`"));
        assert!(refused("postgres://db/x?shoe=9").contains("shoe"));
    }
}
