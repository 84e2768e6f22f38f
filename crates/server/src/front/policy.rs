//! Under which names we may be called, and from which pages.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::Uri;

use crate::Config;

/// Pages of OpenCode's own apps, as its server allows them.
const OPENCODE_APPS: &[&str] = &[
    "https://app.opencode.ai",
    "tauri://localhost",
    "http://tauri.localhost",
    "https://tauri.localhost",
];

/// Names and origins that are ours.
///
/// Against DNS rebinding: a page of a foreign name that was pointed at our address sends that
/// name as `Host`. Against other pages: browsers send `Origin` with every request of theirs
/// that could do harm.
#[derive(Debug)]
pub(crate) struct Policy {
    any_host: bool,
    /// A rebinding attack needs a name, so where we listen for everyone an address is fine.
    any_ip: bool,
    listen: IpAddr,
    names: Vec<String>,
    origins: Vec<String>,
}

impl Policy {
    pub(crate) fn new(config: &Config, listen: SocketAddr) -> Self {
        let mut names = config.allowed_hosts.clone();
        names.extend(
            config
                .public_url
                .as_ref()
                .and_then(|u| u.host())
                .map(str::to_owned),
        );
        let shares = config.share.base_url.as_ref();
        let shares = shares.and_then(|url| url.parse::<Uri>().ok());
        names.extend(shares.as_ref().and_then(Uri::host).map(str::to_owned));
        let mut origins = config.allowed_origins.clone();
        origins.extend(config.public_url.as_ref().and_then(|url| {
            Some(format!("{}://{}", url.scheme_str()?, url.authority()?).to_ascii_lowercase())
        }));
        if config.auth {
            // A page out there has no business here unless it knows the token.
            origins.extend(OPENCODE_APPS.iter().map(|o| (*o).to_owned()));
        }
        Self {
            any_host: names.iter().any(|n| n == "*"),
            any_ip: listen.ip().is_unspecified(),
            listen: listen.ip(),
            names,
            origins,
        }
    }

    /// Whether a request may call us `authority` (the `Host` header: name and maybe port).
    pub(crate) fn allows_host(&self, authority: &str) -> bool {
        let host = host_of(authority);
        self.any_host
            || host.eq_ignore_ascii_case("localhost")
            || parse_ip(host).is_some_and(|ip| self.any_ip || ip.is_loopback() || ip == self.listen)
            || self
                .names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(host))
    }

    /// Whether a page of `origin` may call us by the name `authority`.
    pub(crate) fn allows_origin(&self, origin: &str, authority: &str) -> bool {
        let Some((scheme, rest)) = origin.split_once("://") else {
            return false;
        };
        let web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        if web && rest.eq_ignore_ascii_case(authority) {
            return true;
        }
        let local = scheme.eq_ignore_ascii_case("http")
            && ["localhost", "127.0.0.1"]
                .iter()
                .any(|name| is_host_and_port(rest, name));
        local
            || self
                .origins
                .iter()
                .any(|known| known.eq_ignore_ascii_case(origin))
    }
}

/// Whether `text` is `name` or `name:PORT`.
fn is_host_and_port(text: &str, name: &str) -> bool {
    let Some((head, rest)) = text.split_at_checked(name.len()) else {
        return false;
    };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    head.eq_ignore_ascii_case(name)
        && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
}

/// The host in `host`, `host:port`, `[v6]`, `[v6]:port`.
fn host_of(authority: &str) -> &str {
    if authority.starts_with('[') {
        return authority
            .find(']')
            .map_or(authority, |end| &authority[..=end]);
    }
    authority
        .split_once(':')
        .map_or(authority, |(host, _)| host)
}

fn parse_ip(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(v6) => v6.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(change: impl FnOnce(&mut Config)) -> Policy {
        let mut config = Config::in_dir("/d");
        change(&mut config);
        Policy::new(&config, config.listen)
    }

    #[test]
    fn hosts() {
        let closed = policy(|_| {});
        for ours in [
            "localhost",
            "LocalHost:2468",
            "127.0.0.1",
            "127.0.0.1:99",
            "127.8.8.8:1",
            "[::1]:2468",
            "[::1]",
        ] {
            assert!(closed.allows_host(ours), "{ours}");
        }
        for foreign in [
            "",
            "evil.example",
            "evil.example:2468",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.168.1.7",
            "[fe80::1]:2468",
            "0.0.0.0",
            "[::1",
            "::1",
            "localhost.",
            "user@localhost",
        ] {
            assert!(!closed.allows_host(foreign), "{foreign}");
        }
    }

    #[test]
    fn more_hosts() {
        let public = policy(|c| {
            c.listen = "0.0.0.0:1".parse().unwrap();
            c.allowed_hosts = vec!["box".into()];
            c.public_url = Some("https://s.example:8443/x".parse().unwrap());
        });
        for ours in ["192.168.1.7:1", "BOX:1", "s.example", "s.example:8443"] {
            assert!(public.allows_host(ours), "{ours}");
        }
        assert!(!public.allows_host("evil.example"));
        let one = policy(|c| c.listen = "192.168.1.7:1".parse().unwrap());
        assert!(one.allows_host("192.168.1.7:1") && !one.allows_host("192.168.1.8:1"));
        assert!(policy(|c| c.allowed_hosts = vec!["*".into()]).allows_host("any.example"));
    }

    #[test]
    fn origins() {
        let closed = policy(|c| c.allowed_origins = vec!["https://mine.example".into()]);
        let allows = |origin| closed.allows_origin(origin, "127.0.0.1:2468");
        for ours in [
            "http://127.0.0.1:2468",
            "https://127.0.0.1:2468",
            "http://localhost",
            "http://localhost:5173",
            "http://127.0.0.1:1",
            "https://app.opencode.ai",
            "tauri://localhost",
            "https://mine.example",
        ] {
            assert!(allows(ours), "{ours}");
        }
        for foreign in [
            "",
            "null",
            "https://evil.example",
            "http://localhost.evil.example",
            "http://localhost:1.evil.example",
            "http://localhost:",
            "https://localhost:5173",
            "http://127.0.0.1.evil.example",
            "https://app.opencode.ai.evil.example",
            "https://x.app.opencode.ai",
            "http://app.opencode.ai",
            "https://mine.example:1",
            "file://",
            "ftp://127.0.0.1:2468",
        ] {
            assert!(!allows(foreign), "{foreign}");
        }
    }

    #[test]
    fn without_a_token_foreign_apps_stay_outside() {
        let open = policy(|c| c.auth = false);
        assert!(!open.allows_origin("https://app.opencode.ai", "127.0.0.1:2468"));
        assert!(open.allows_origin("http://localhost:3000", "127.0.0.1:2468"));
    }
}
