//! What can be typed.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use sessiond_server::{Config, ConfigError, LogFormat, LogSettings, Settings, Sources, StoreText};

/// Keeps coding-agent sessions: durable, for every client, whatever agent does the work.
///
/// Stock OpenCode clients and the project's own REST API connect to one server; Claude Code,
/// Codex, OpenCode, Gemini and other ACP agents do the work behind it.
#[derive(Debug, Parser)]
#[command(
    name = "sessiond",
    version,
    arg_required_else_help = true,
    after_help = "Examples:\n  \
        sessiond serve                       serve on 127.0.0.1:2468\n  \
        sessiond agents                      what agents are there, and why not\n  \
        sessiond token                       how clients connect\n  \
        opencode attach http://127.0.0.1:2468/opencode -p \"$(sessiond token)\""
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which server and data.
#[derive(Debug, Default, ClapArgs)]
pub(crate) struct Place {
    /// The configuration file [default: sessiond.toml in the user's configuration directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where sessions are kept [default: the user's data directory]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Keep sessions in this database instead: postgres://user@host:port/database
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) store: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve sessions over HTTP, until Ctrl-C
    #[command(after_help = SERVE_HELP)]
    Serve(Serve),
    /// List the agents, where they were found, and what to do about those that were not
    Agents {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print the token that clients show
    #[command(after_help = "Examples:\n  \
        opencode attach http://127.0.0.1:2468/opencode -p \"$(sessiond token)\"\n  \
        curl -H \"Authorization: Bearer $(sessiond token)\" http://127.0.0.1:2468/v1/sessions")]
    Token,
    /// Check data directory, store, address and agents, and say what to do
    Doctor,
    /// Import sessions of another program
    Import {
        #[command(subcommand)]
        from: ImportFrom,
    },
    /// Write a session as JSON, as `opencode import` reads it
    #[command(after_help = "\
The server of the data directory is asked when there is one; else the data directory is opened.
With -o the file appears under its name when it is whole.

Examples:
  sessiond export ses_1c8f… -o session.json
  opencode import session.json              # in the directory of the project
  sessiond import opencode --file session.json   # into another sessiond")]
    Export(Export),
    /// Move all sessions from one store to another, and compare both
    #[command(after_help = MIGRATE_HELP)]
    Migrate(Migrate),
    /// Print the OpenAPI document of /v1
    Openapi,
    /// Serve the demo agent over stdio
    #[command(hide = true)]
    DemoAgent,
}

const SERVE_HELP: &str = "\
Every setting can be given as a flag, in the environment (SESSIOND_LISTEN, SESSIOND_LIMITS_QUEUE, …)
or in sessiond.toml; the first that says something counts. All of them, with their defaults:

  listen = \"127.0.0.1:2468\"
  data_dir = \"~/.local/share/sessiond\"   # where sessions and the token are kept
  store = \"postgres://…\"          # a database instead, which several nodes may share
  directory = \".\"                  # of requests that name none
  auth = true                      # false only on loopback
  token = \"…\"                      # instead of the one in data_dir/token
  allowed_hosts = []               # more names this server goes by
  allowed_origins = []             # more pages that may call it
  public_url = \"https://…\"         # its address behind a proxy
  default_agent = \"claude\"         # otherwise the first one found
  trash_days = 30                  # then a deleted session is gone for good

  [limits]
  turn_timeout = \"1h\"
  agent_idle = \"10m\"               # then its process ends
  queue = 100                      # waiting prompts of a session
  context_bytes = 200000           # told to an agent that has forgotten
  request_size = \"32MiB\"
  request_timeout = \"60s\"
  idle_timeout = \"75s\"
  write_timeout = \"60s\"
  connections = 4096
  requests = 1024

  [log]
  level = \"info\"
  format = \"text\"                  # or \"json\"

  [agents.NAME]                    # a new agent, or other values for a known one
  command = \"my-agent\"
  args = [\"--acp\"]
  env = { KEY = \"value\" }
  cwd = \"/dir\"
  default_mode = \"…\"
  default_model = \"…\"
  title = \"…\"

Examples:
  sessiond serve
  sessiond serve --listen 127.0.0.1:0 --data-dir /tmp/try
  SESSIOND_LOG_LEVEL=debug sessiond serve --config ./sessiond.toml";

#[derive(Debug, Default, ClapArgs)]
pub(crate) struct Serve {
    /// Address to listen on; port 0 is any free one [default: 127.0.0.1:2468]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<String>,
    /// Ask for no token (on loopback only)
    #[arg(long)]
    pub(crate) no_auth: bool,
    /// Agent of prompts that name none [default: the first one found]
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// Log level, or directives as in `info,sessiond_engine=debug` [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
    /// Log as JSON
    #[arg(long)]
    pub(crate) log_json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImportFrom {
    /// Sessions of OpenCode: from its database, or from the file of an export
    #[command(after_help = "\
The database is $OPENCODE_DB, else opencode.db in $XDG_DATA_HOME/opencode (~/.local/share/opencode). It is
copied to the temporary directory ($TMPDIR) and never written, so OpenCode may go on working with it.

An import can be repeated: what is here stays as it is; a session that went on in OpenCode gets its new
messages; one that went on in both places is left alone and named. An import that was cut off is
finished by the next one. Works with a server running and without.

Examples:
  sessiond import opencode --dry-run
  sessiond import opencode
  sessiond import opencode --directory ~/project
  sessiond import opencode --session ses_1c8f…
  sessiond import opencode --file session.json   # of `opencode export` or `sessiond export`")]
    Opencode(ImportOpencode),
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ImportOpencode {
    /// The database [default: that of OpenCode for this user]
    pub(crate) path: Option<PathBuf>,
    /// The file of an export instead of a database
    #[arg(long, value_name = "FILE", conflicts_with_all = ["path", "session", "directory"])]
    pub(crate) file: Option<PathBuf>,
    /// Only this session and its sub-tasks
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<String>,
    /// Only sessions of this directory and those below it
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
    /// Say what would be imported, and import nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Show all notes
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

const MIGRATE_HELP: &str = "\
A store is `sqlite:DIR`, where DIR is a data directory (`sqlite:` is that of --data-dir), or the address of a
database as in --store. No server may work with either of them meanwhile.

The source is only read. The target must be empty; a move that was cut off goes on when the same command is
run again, and until it is finished no server opens the target. At the end all rows of both sides are read
again, counted and hashed, and have to be the same. Numbers of events are kept, so clients go on where they were.

Only what is in the store is moved: the token, settings.json and snapshots/ (captures of worktrees, which undo
needs) stay in the data directory, which a server goes on using with either store.

Examples:
  sessiond migrate --from sqlite: --to postgres://sessiond@db.example/sessiond
  sessiond migrate --from postgres://sessiond@db.example/sessiond --to sqlite:/srv/sessiond
  SESSIOND_MIGRATE_TO=\"postgres://sessiond:$PASSWORD@db.example/sessiond\" sessiond migrate --from sqlite:";

#[derive(Debug, ClapArgs)]
pub(crate) struct Migrate {
    /// The store that has the sessions
    #[arg(
        long,
        value_name = "STORE",
        env = "SESSIOND_MIGRATE_FROM",
        hide_env_values = true
    )]
    pub(crate) from: String,
    /// The store that gets them
    #[arg(
        long,
        value_name = "STORE",
        env = "SESSIOND_MIGRATE_TO",
        hide_env_values = true
    )]
    pub(crate) to: String,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct Export {
    /// Id of the session
    pub(crate) session: String,
    /// The file to write; standard output otherwise
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

impl Args {
    /// The configuration that flags, environment and file give.
    pub(crate) fn config(&self) -> Result<Config, ConfigError> {
        let mut flags = Settings {
            data_dir: self.place.data_dir.clone(),
            store: self.place.store.clone().map(StoreText::from),
            ..Settings::default()
        };
        if let Command::Serve(serve) = &self.command {
            flags.listen.clone_from(&serve.listen);
            flags.auth = serve.no_auth.then_some(false);
            flags.default_agent.clone_from(&serve.agent);
            flags.log = LogSettings {
                level: serve.log.clone(),
                format: serve.log_json.then_some(LogFormat::Json),
            };
        }
        let env = |name: &str| std::env::var(name).ok();
        Config::load(Sources {
            file: self.place.config.clone(),
            flags,
            env: &env,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    /// The help is the reference of all settings: it must be a valid file.
    #[test]
    fn the_settings_in_the_help_are_those_that_are_read() {
        let sample: String = SERVE_HELP
            .lines()
            .filter_map(|line| line.strip_prefix("  "))
            .take_while(|line| !line.starts_with("sessiond serve"))
            .map(|line| format!("{line}\n"))
            .collect();
        let sample = sample
            .replace(
                "token = \"…\" ",
                "token = \"a-token-of-twenty-characters\" ",
            )
            .replace("https://…", "https://s.example")
            .replace("[agents.NAME]", "[agents.claude]");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sessiond.toml");
        std::fs::write(&path, &sample).unwrap();
        let sources = Sources {
            file: Some(path),
            flags: Settings::default(),
            env: &|_| None,
        };
        let config = Config::load(sources).unwrap();
        assert_eq!(config.limits, sessiond_server::Limits::default());
        assert_eq!(config.log, sessiond_server::LogConfig::default());
        assert_eq!(config.listen, Config::in_dir("/").listen);
    }
}
