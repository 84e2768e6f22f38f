use super::*;

fn load(
    file: Option<PathBuf>,
    flags: Settings,
    env: &[(&str, &str)],
) -> Result<Config, ConfigError> {
    let var = |name: &str| {
        env.iter()
            .find(|(n, _)| *n == name)
            .map(|(_, v)| (*v).to_owned())
    };
    Config::load(Sources {
        file,
        flags,
        env: &var,
    })
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sessiond.toml");
    std::fs::write(&path, text).unwrap();
    (dir, path)
}

fn listen(address: &str) -> Settings {
    Settings {
        listen: Some(address.into()),
        ..Settings::default()
    }
}

#[test]
fn flags_beat_the_environment_beats_the_file_beats_defaults() {
    let (_dir, path) = file(
        "listen = '127.0.0.1:1'\ndefault_agent = 'demo'\n[limits]\nqueue = 7\nrequest_size = '1MiB'",
    );
    let env = [
        ("SESSIOND_LISTEN", "127.0.0.1:2"),
        ("SESSIOND_LIMITS_QUEUE", "8"),
        ("SESSIOND_DATA_DIR", "/d"),
    ];

    let config = load(Some(path.clone()), listen("127.0.0.1:3"), &env).unwrap();
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.limits.queue, 8);
    assert_eq!(config.limits.request_size, 1 << 20);
    assert_eq!(config.limits.turn_timeout, Limits::default().turn_timeout);
    assert_eq!(config.default_agent.as_deref(), Some("demo"));
    assert_eq!(config.file.as_deref(), Some(path.as_path()));

    let config = load(Some(path.clone()), Settings::default(), &env).unwrap();
    assert_eq!(config.listen.port(), 2);
    let config = load(Some(path), Settings::default(), &env[2..]).unwrap();
    assert_eq!((config.listen.port(), config.limits.queue), (1, 7));
}

#[test]
fn every_setting_can_be_written_in_the_file_and_in_the_environment() {
    let (_dir, path) = file(
        r#"
        listen = "localhost:1"
        data_dir = "data"
        directory = "."
        auth = true
        token = "abcdefghijklmnopqrst"
        allowed_hosts = ["box"]
        allowed_origins = ["https://a.example/"]
        public_url = "https://b.example/"
        default_agent = "mine"
        trash_days = 7
        [limits]
        turn_timeout = "1h"
        agent_idle = 5
        queue = 1
        context_bytes = 2
        request_size = 3
        request_timeout = 4
        idle_timeout = 5
        write_timeout = 6
        connections = 7
        requests = 8
        [share]
        enabled = false
        base_url = "https://share.example/x/"
        [log]
        level = "debug"
        format = "json"
        [agents.mine]
        command = "x"
        args = ["a"]
        env = { ANY_NAME = "1" }
        cwd = "/"
        default_mode = "m"
        default_model = "n"
        title = "Mine"
        [commands.look]
        template = "look at $1"
        description = "looks"
        agent = "plan"
        model = "mine/a/b"
        "#,
    );
    let config = load(Some(path.clone()), Settings::default(), &[]).unwrap();
    let look = &config.commands["look"];
    assert_eq!(look.template, "look at $1");
    let model = look.model.as_ref().unwrap();
    assert_eq!(
        (model.provider_id.as_str(), model.id.as_str()),
        ("mine", "a/b")
    );
    assert_eq!(config.allowed_origins, ["https://a.example"]);
    assert_eq!(config.data_dir, path.parent().unwrap().join("data"));
    assert_eq!(config.log.format, LogFormat::Json);
    let base_url = Some("https://share.example/x".to_owned());
    let share = ShareConfig {
        enabled: false,
        base_url,
    };
    assert_eq!(config.share, share);

    let env = [
        ("SESSIOND_SHARE_ENABLED", "off"),
        ("SESSIOND_AUTH", "no"),
        ("SESSIOND_ALLOWED_HOSTS", "a, b,"),
        ("SESSIOND_LOG_FORMAT", "json"),
        ("SESSIOND_LIMITS_AGENT_IDLE", "90"),
        ("SESSIOND_TOKEN", "abcdefghijklmnopqrst"),
    ];
    let config = load(
        None,
        Settings {
            data_dir: Some("/d".into()),
            ..Settings::default()
        },
        &env,
    )
    .unwrap();
    assert!(!config.auth && !config.share.enabled);
    assert_eq!(config.allowed_hosts, ["a", "b"]);
    assert_eq!(config.limits.agent_idle, Duration::from_secs(90));
    assert_eq!(config.token.unwrap().reveal(), "abcdefghijklmnopqrst");
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_one() {
    let refused = |text: &str| {
        let (_dir, path) = file(text);
        match load(Some(path), Settings::default(), &[]) {
            Err(ConfigError::UnknownKey {
                line, key, nearest, ..
            }) => (line, key, nearest),
            other => panic!("{text}: {other:?}"),
        }
    };
    let near = |s: &str| Some(s.to_owned());
    assert_eq!(
        refused("auth = true\nlistn = 'x'"),
        (2, "listn".into(), near("listen"))
    );
    assert_eq!(
        refused("[limits]\n\nqueu = 1"),
        (3, "limits.queu".into(), near("limits.queue"))
    );
    assert_eq!(
        refused("turn_timeout = 1"),
        (1, "turn_timeout".into(), near("limits.turn_timeout"))
    );
    assert_eq!(
        refused("[limts]\nqueue = 1"),
        (1, "limts".into(), near("limits"))
    );
    assert_eq!(
        refused("[agents.claude]\ncomand = 'x'"),
        (
            2,
            "agents.claude.comand".into(),
            near("agents.claude.command")
        )
    );
    assert_eq!(
        refused("[commands.x]\ntemplat = 'x'"),
        (2, "commands.x.templat".into(), near("commands.x.template"))
    );
    assert_eq!(refused("zzzzqqqq = 1"), (1, "zzzzqqqq".into(), None));
}

#[test]
fn wrong_values_name_the_place() {
    let message = |text: &str, env: &[(&str, &str)]| {
        let (_dir, path) = file(text);
        load(Some(path), Settings::default(), env)
            .unwrap_err()
            .to_string()
    };
    let said = message("auth = true\nlisten = 3", &[]);
    assert!(said.contains("line 2") && said.contains("string"), "{said}");
    let said = message("[limits]\nturn_timeout = 'soon'", &[]);
    assert!(said.contains("line 2") && said.contains("`soon`"), "{said}");
    let said = message("listen = \"", &[]);
    assert!(said.contains("line 1"), "{said}");
    let said = message("listen = 'here'", &[]);
    assert!(
        said.contains("`listen`") && said.contains("127.0.0.1:2468"),
        "{said}"
    );
    let said = message("", &[("SESSIOND_LIMITS_QUEUE", "many")]);
    assert!(
        said.contains("SESSIOND_LIMITS_QUEUE") && said.contains("many"),
        "{said}"
    );
    let said = message("[limits]\nqueue = 0", &[]);
    assert!(said.contains("limits.queue"), "{said}");
    let said = message("default_agent = 'cluade'", &[]);
    assert!(said.contains("cluade") && said.contains("claude"), "{said}");
    for (command, why) in [
        ("[commands.\"a b\"]\ntemplate = 'x'", "is named with"),
        ("[commands.a]\ntemplate = ' '", "is empty"),
        (
            "[commands.a]\ntemplate = 'x'\nmodel = 'sonnet'",
            "claude/sonnet",
        ),
        ("[commands.a]\ndescription = 'x'", "template"),
    ] {
        let said = message(command, &[]);
        assert!(said.contains(why), "{said}");
    }
    let said = message("token = 'short'", &[]);
    assert!(said.contains("20") && !said.contains("short'"), "{said}");
}

#[test]
fn no_auth_is_for_loopback_only() {
    let (_dir, path) = file("auth = false");
    assert!(load(Some(path.clone()), listen("127.0.0.1:0"), &[]).is_ok());
    assert!(load(Some(path.clone()), listen("[::1]:0"), &[]).is_ok());
    assert!(matches!(
        load(Some(path), listen("0.0.0.0:0"), &[]),
        Err(ConfigError::OpenToOthers { .. })
    ));
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    assert!(matches!(
        load(
            Some("/nonexistent/sessiond.toml".into()),
            Settings::default(),
            &[]
        ),
        Err(ConfigError::Read { .. })
    ));
}
