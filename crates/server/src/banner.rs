//! What a person sees when the server has started.

use std::fmt::Write as _;

use sessiond_agent::{Availability, Catalogue};

use crate::Running;

/// Stands for the token where it must not be shown.
const HIDDEN: &str = "$(sessiond token)";

impl Running {
    /// What to tell the person who started this: where it is, what it found, and what to
    /// type next. `show_token` is for a terminal, or the first start; never for a log.
    #[must_use]
    pub fn banner(&self, show_token: bool) -> String {
        Banner {
            url: self.url(),
            public_url: self.config().public_url.as_ref().map(ToString::to_string),
            data_dir: &self.config().data_dir.display().to_string(),
            store: self.config().store.as_ref().map(ToString::to_string),
            token: self
                .token()
                .map(|t| if show_token { t.reveal() } else { HIDDEN }),
            token_file: self
                .config()
                .token
                .is_none()
                .then(|| self.config().token_file().display().to_string()),
            others_can_connect: !self.addr().ip().is_loopback(),
        }
        .render(
            &self.config().catalogue(),
            self.config().default_agent.as_deref(),
        )
    }
}

struct Banner<'a> {
    url: &'a str,
    public_url: Option<String>,
    data_dir: &'a str,
    store: Option<String>,
    token: Option<&'a str>,
    token_file: Option<String>,
    others_can_connect: bool,
}

impl Banner<'_> {
    fn render(&self, catalogue: &Catalogue, default_agent: Option<&str>) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out, catalogue, default_agent);
        out
    }

    fn write(
        &self,
        out: &mut String,
        catalogue: &Catalogue,
        default_agent: Option<&str>,
    ) -> std::fmt::Result {
        let url = self
            .public_url
            .as_deref()
            .map_or(self.url, |u| u.trim_end_matches('/'));
        writeln!(out, "sessiond {} at {url}", env!("CARGO_PKG_VERSION"))?;
        writeln!(out)?;
        writeln!(out, "  data    {}", self.data_dir)?;
        if let Some(store) = &self.store {
            writeln!(out, "  store   {store}")?;
        }
        match (self.token, &self.token_file) {
            (None, _) => writeln!(
                out,
                "  token   none needed: whoever can connect can do everything"
            )?,
            (Some(_), Some(file)) => writeln!(out, "  token   {file}")?,
            (Some(_), None) => writeln!(out, "  token   as configured")?,
        }
        if self.others_can_connect {
            writeln!(
                out,
                "  note    other machines can connect, without encryption: put a TLS proxy before it"
            )?;
        }
        write_agents(out, catalogue, default_agent)?;
        writeln!(out)?;
        writeln!(out, "Connect OpenCode:")?;
        let password = self.token.map(|t| format!(" -p {t}")).unwrap_or_default();
        writeln!(out, "  opencode attach {url}/opencode{password}")?;
        writeln!(out, "Or one prompt:")?;
        let password = self.token.map(|t| format!(" -p {t}")).unwrap_or_default();
        writeln!(
            out,
            "  opencode run --attach {url}/opencode{password} 'Hello'"
        )?;
        writeln!(out, "Or curl, SDKs, your own program:")?;
        let header = self
            .token
            .map(|t| format!(" -H \"Authorization: Bearer {t}\""))
            .unwrap_or_default();
        writeln!(out, "  curl{header} {url}/v1/sessions")?;
        writeln!(
            out,
            "  SDK base URL {url}/opencode · API document {url}/v1/openapi.json"
        )
    }
}

fn write_agents(
    out: &mut String,
    catalogue: &Catalogue,
    default: Option<&str>,
) -> std::fmt::Result {
    let default = default.unwrap_or(&catalogue.default_agent().name);
    let (mut ready, mut missing) = (Vec::new(), Vec::new());
    for agent in catalogue.iter() {
        match catalogue.availability(&agent.name) {
            Availability::Ready { .. } if agent.name == default => {
                ready.push(format!("{} (default)", agent.name));
            }
            Availability::Ready { .. } => ready.push(agent.name.clone()),
            Availability::Missing { reason } => missing.push((agent.name.as_str(), reason)),
        }
    }
    writeln!(out, "  agents  {}", ready.join(", "))?;
    for (name, reason) in missing {
        writeln!(out, "          not {name}: {reason}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn banner(token: Option<&str>) -> String {
        let catalogue = Catalogue::new("/bin/sh".into(), BTreeMap::new(), Some("".into()));
        Banner {
            url: "http://127.0.0.1:2468",
            public_url: None,
            data_dir: "/d",
            store: None,
            token,
            token_file: Some("/d/token".into()),
            others_can_connect: false,
        }
        .render(&catalogue, None)
    }

    #[test]
    fn tells_the_line_to_paste_and_what_is_missing() {
        let said = banner(Some("T0KEN"));
        assert!(
            said.contains("\n  opencode attach http://127.0.0.1:2468/opencode -p T0KEN\n"),
            "{said}"
        );
        assert!(said.contains("agents  demo (default)\n"), "{said}");
        assert!(
            said.contains("not claude: `claude-agent-acp` is not on PATH: npm i -g"),
            "{said}"
        );
    }

    #[test]
    fn without_a_token_asks_for_none() {
        let said = banner(None);
        assert!(
            said.contains("\n  opencode attach http://127.0.0.1:2468/opencode\n"),
            "{said}"
        );
        assert!(
            said.contains("\n  curl http://127.0.0.1:2468/v1/sessions\n"),
            "{said}"
        );
    }
}
