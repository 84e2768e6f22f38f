//! The agents that can be used: built-in ones and those of `sessiond.toml`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// How to start an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AgentSpec {
    /// Its name in the catalogue.
    pub name: String,
    /// For people.
    pub title: String,
    /// The program: a name to be found on PATH, or a path.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Added to its environment.
    pub env: BTreeMap<String, String>,
    /// Directory of the process, when it is not the session's.
    pub cwd: Option<PathBuf>,
    /// The mode to set after every start: agents forget it.
    pub default_mode: Option<String>,
    /// The model to set after every start.
    pub default_model: Option<String>,
    /// Known to sessiond without configuration.
    pub builtin: bool,
}

/// Whether an agent can be started here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Availability {
    /// Yes.
    Ready {
        /// The program.
        path: PathBuf,
    },
    /// No.
    Missing {
        /// Why, and what to do.
        reason: String,
    },
}

/// An `[agents.NAME]` table of `sessiond.toml`: a new agent, or other values for a known one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentOverride {
    /// The program.
    pub command: Option<String>,
    /// Its arguments.
    pub args: Option<Vec<String>>,
    /// Added to its environment.
    pub env: Option<BTreeMap<String, String>>,
    /// Directory of the process, when it is not the session's.
    pub cwd: Option<PathBuf>,
    /// The mode to set after every start.
    pub default_mode: Option<String>,
    /// The model to set after every start.
    pub default_model: Option<String>,
    /// For people.
    pub title: Option<String>,
}

/// Name of the built-in agent that needs nothing.
const DEMO: &str = "demo";

struct Builtin {
    name: &'static str,
    title: &'static str,
    command: &'static str,
    args: &'static [&'static str],
    /// A mode in which it asks before it changes anything.
    mode: Option<&'static str>,
    install: &'static str,
}

const BUILTINS: [Builtin; 4] = [
    Builtin {
        name: "claude",
        title: "Claude Code",
        command: "claude-agent-acp",
        args: &[],
        mode: Some("default"),
        install: "npm i -g @agentclientprotocol/claude-agent-acp",
    },
    Builtin {
        name: "codex",
        title: "Codex",
        command: "codex-acp",
        args: &[],
        mode: Some("read-only"),
        install: "npm i -g @agentclientprotocol/codex-acp",
    },
    Builtin {
        name: "opencode",
        title: "OpenCode",
        command: "opencode",
        args: &["acp"],
        mode: None,
        install: "npm i -g opencode-ai",
    },
    Builtin {
        name: "gemini",
        title: "Gemini CLI",
        command: "gemini",
        args: &["--acp"],
        mode: Some("default"),
        install: "npm i -g @google/gemini-cli",
    },
];

/// All known agents, in a stable order.
#[derive(Clone, Debug)]
pub struct Catalogue {
    agents: Vec<AgentSpec>,
    path: OsString,
}

impl Catalogue {
    /// The agents of the configuration, then the built-in ones; the demo agent, which is
    /// `self_exe demo-agent`, comes last. A built-in one that the configuration changes
    /// keeps its place.
    #[must_use]
    pub fn new(
        self_exe: PathBuf,
        mut overrides: BTreeMap<String, AgentOverride>,
        path_env: Option<OsString>,
    ) -> Self {
        let mut builtins: Vec<AgentSpec> = BUILTINS
            .iter()
            .map(|b| AgentSpec {
                name: b.name.into(),
                title: b.title.into(),
                command: b.command.into(),
                args: b.args.iter().map(|a| (*a).to_owned()).collect(),
                default_mode: b.mode.map(str::to_owned),
                builtin: true,
                ..AgentSpec::default()
            })
            .collect();
        builtins.push(AgentSpec {
            name: DEMO.into(),
            title: "Demo agent".into(),
            command: self_exe
                .into_os_string()
                .into_string()
                .unwrap_or_else(|path| path.to_string_lossy().into_owned()),
            args: vec!["demo-agent".into()],
            builtin: true,
            ..AgentSpec::default()
        });
        for spec in &mut builtins {
            if let Some(over) = overrides.remove(&spec.name) {
                over.apply(spec);
            }
        }
        let mut agents: Vec<AgentSpec> = overrides
            .into_iter()
            .map(|(name, over)| {
                let mut spec = AgentSpec {
                    title: name.clone(),
                    name,
                    ..AgentSpec::default()
                };
                over.apply(&mut spec);
                spec
            })
            .collect();
        agents.append(&mut builtins);
        Self {
            agents,
            path: path_env.unwrap_or_default(),
        }
    }

    /// The agent of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&AgentSpec> {
        self.agents.iter().find(|a| a.name == name)
    }

    /// All agents.
    pub fn iter(&self) -> impl Iterator<Item = &AgentSpec> {
        self.agents.iter()
    }

    /// Whether that agent can be started here, and if not, what to do.
    #[must_use]
    pub fn availability(&self, name: &str) -> Availability {
        let Some(spec) = self.get(name) else {
            return missing(format!(
                "there is no agent `{name}`; add [agents.{name}] to sessiond.toml"
            ));
        };
        if spec.command.is_empty() {
            return missing(format!("[agents.{name}] in sessiond.toml has no `command`"));
        }
        if let Some(dir) = spec.cwd.as_ref().filter(|dir| !dir.is_dir()) {
            return missing(format!(
                "the `cwd` of [agents.{name}], {}, is not a directory",
                dir.display()
            ));
        }
        if spec.command.contains('/') && !Path::new(&spec.command).is_absolute() {
            // Relative to what? The daemon's directory is not the session's.
            return missing(format!("`{}` is not an absolute path", spec.command));
        }
        if let Some(path) = find_program(&spec.command, &self.path) {
            return Availability::Ready { path };
        }
        let install = BUILTINS
            .iter()
            .find(|b| b.name == name && b.command == spec.command)
            .map_or_else(String::new, |b| format!(": {}", b.install));
        missing(if spec.command.contains('/') {
            format!("`{}` is not an executable file{install}", spec.command)
        } else {
            format!("`{}` is not on PATH{install}", spec.command)
        })
    }

    /// The agent used when nobody names one: the first that can be started, the demo agent
    /// only when there is no other.
    #[must_use]
    pub fn default_agent(&self) -> &AgentSpec {
        let usable = |a: &&AgentSpec| {
            a.name != DEMO && matches!(self.availability(&a.name), Availability::Ready { .. })
        };
        self.agents
            .iter()
            .find(usable)
            .or_else(|| self.get(DEMO))
            .unwrap_or(&self.agents[0])
    }
}

impl AgentOverride {
    fn apply(self, spec: &mut AgentSpec) {
        if let Some(command) = self.command {
            // Another program does not understand the arguments of the built-in one.
            if command != spec.command {
                spec.args = Vec::new();
            }
            spec.command = command;
        }
        if let Some(args) = self.args {
            spec.args = args;
        }
        if let Some(env) = self.env {
            spec.env.extend(env);
        }
        if let Some(title) = self.title {
            spec.title = title;
        }
        spec.cwd = self.cwd.or_else(|| spec.cwd.take());
        spec.default_mode = self.default_mode.or_else(|| spec.default_mode.take());
        spec.default_model = self.default_model.or_else(|| spec.default_model.take());
    }
}

fn missing(reason: String) -> Availability {
    Availability::Missing { reason }
}

/// The program that `command` stands for, looked up in `path` as a shell does.
fn find_program(command: &str, path: &OsStr) -> Option<PathBuf> {
    if command.contains('/') {
        let program = PathBuf::from(command);
        return is_executable(&program).then_some(program);
    }
    std::env::split_paths(path)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(command))
        .find(|program| is_executable(program))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(dir: &Path, name: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = dir.join(name);
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn catalogue(config: &str, path: &Path) -> Catalogue {
        #[derive(Deserialize)]
        struct Config {
            agents: BTreeMap<String, AgentOverride>,
        }
        let config: Config = toml::from_str(&format!("[agents]\n{config}")).unwrap();
        let exe = std::env::current_exe().unwrap();
        Catalogue::new(exe, config.agents, Some(path.as_os_str().to_owned()))
    }

    fn reason(catalogue: &Catalogue, name: &str) -> String {
        match catalogue.availability(name) {
            Availability::Missing { reason } => reason,
            Availability::Ready { path } => panic!("{}", path.display()),
        }
    }

    #[test]
    fn the_first_agent_found_is_the_default_and_the_demo_agent_the_last_resort() {
        let bin = tempfile::tempdir().unwrap();
        assert_eq!(catalogue("", bin.path()).default_agent().name, "demo");
        program(bin.path(), "gemini", 0o755);
        program(bin.path(), "codex-acp", 0o755);
        program(bin.path(), "claude-agent-acp", 0o644);
        let found = catalogue("", bin.path());
        assert_eq!(
            found.default_agent().name,
            "codex",
            "claude is not executable"
        );
        assert_eq!(
            found.availability("gemini"),
            Availability::Ready {
                path: bin.path().join("gemini")
            }
        );
    }

    #[test]
    fn the_configuration_adds_agents_before_the_built_in_ones_and_changes_those() {
        let bin = tempfile::tempdir().unwrap();
        program(bin.path(), "mine", 0o755);
        let catalogue = catalogue(
            "zeta = {}\nmine = { command = \"mine\", title = \"My own\" }\n\
             opencode = { env = { A = \"b\" }, default_mode = \"plan\" }\n\
             gemini = { command = \"mine\" }",
            bin.path(),
        );
        let names: Vec<&str> = catalogue.iter().map(|a| a.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "mine", "zeta", "claude", "codex", "opencode", "gemini", "demo"
            ]
        );
        assert_eq!(catalogue.default_agent().name, "mine");
        let opencode = catalogue.get("opencode").unwrap();
        assert_eq!(opencode.args, ["acp"]);
        assert_eq!(opencode.env["A"], "b");
        assert_eq!(opencode.default_mode.as_deref(), Some("plan"));
        let gemini = catalogue.get("gemini").unwrap();
        assert_eq!(
            gemini.args,
            Vec::<String>::new(),
            "another program, other arguments"
        );
        assert_eq!(gemini.default_mode.as_deref(), Some("default"));
    }

    #[test]
    fn what_is_missing_is_said_with_what_to_do() {
        let bin = tempfile::tempdir().unwrap();
        let catalogue = catalogue(
            "near = { command = \"./sh\" }\nzeta = {}\nfar = { command = \"/no/such/program\" }\n\
             lost = { command = \"sh\", cwd = \"/no/such/dir\" }",
            bin.path(),
        );
        assert_eq!(
            reason(&catalogue, "claude"),
            "`claude-agent-acp` is not on PATH: npm i -g @agentclientprotocol/claude-agent-acp"
        );
        assert_eq!(
            reason(&catalogue, "zeta"),
            "[agents.zeta] in sessiond.toml has no `command`"
        );
        assert_eq!(
            reason(&catalogue, "far"),
            "`/no/such/program` is not an executable file"
        );
        assert_eq!(reason(&catalogue, "near"), "`./sh` is not an absolute path");
        assert!(reason(&catalogue, "lost").contains("/no/such/dir, is not a directory"));
        assert!(reason(&catalogue, "nobody").contains("add [agents.nobody]"));
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = toml::from_str::<AgentOverride>("comand = 'x'").unwrap_err();
        assert!(
            error.to_string().contains("unknown field `comand`"),
            "{error}"
        );
    }
}
