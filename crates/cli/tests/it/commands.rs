//! The other commands, run as a person would.

use crate::home::Home;
use serde_json::Value;

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn agents_tells_what_is_there_and_what_to_do() {
    let home = Home::new();
    let output = home.run(&["agents"]).await;
    assert!(output.status.success());
    let said = text(output.stdout);
    assert!(
        said.contains("npm i -g @agentclientprotocol/codex-acp"),
        "{said}"
    );
    assert!(
        said.lines()
            .any(|l| l.contains("demo") && l.contains("default")),
        "{said}"
    );

    let config = home.path().join("sessiond.toml");
    std::fs::write(
        &config,
        "[agents.mine]\ncommand = '/bin/sh'\nargs = ['-c', 'x']\n",
    )
    .unwrap();
    let output = home
        .run(&["agents", "--json", "--config", config.to_str().unwrap()])
        .await;
    let agents: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let mine = agents.iter().find(|a| a["name"] == "mine").unwrap();
    assert_eq!(mine["available"], true);
    assert_eq!(mine["path"], "/bin/sh");
    assert_eq!(
        mine["default"], true,
        "an agent that works is preferred to the demo"
    );
    let codex = agents.iter().find(|a| a["name"] == "codex").unwrap();
    assert_eq!(codex["available"], false);
    assert!(codex["reason"].as_str().unwrap().contains("PATH"));
}

#[tokio::test]
async fn token_prints_the_token_alone() {
    let home = Home::new();
    let none = home.run(&["token"]).await;
    assert_eq!(none.status.code(), Some(1));
    assert!(text(none.stderr).contains("sessiond serve"));
    assert!(none.stdout.is_empty());

    let _served = home.serve(&[]).await;
    let output = home.run(&["token"]).await;
    assert!(output.status.success());
    assert_eq!(text(output.stdout), format!("{}\n", home.token()));
}

#[tokio::test]
async fn doctor_finds_what_is_wrong() {
    let home = Home::new();
    let fresh = home.run(&["doctor"]).await;
    let said = text(fresh.stdout);
    assert!(said.contains("is made at the first start"), "{said}");
    assert!(!home.data_dir().exists(), "it makes nothing");

    let served = home.serve(&[]).await;
    let running = text(home.run(&["doctor"]).await.stdout);
    assert!(running.contains(&served.url), "{running}");
    drop(served);

    std::fs::write(home.path().join("bad.toml"), "nothing_like_it = 1\n").unwrap();
    let bad = home.run(&["doctor", "--config", "bad.toml"]).await;
    assert_eq!(bad.status.code(), Some(1));
    assert!(text(bad.stdout).contains("BAD  configuration: bad.toml, line 1"));

    std::fs::write(home.data_dir().join("token"), "short").unwrap();
    let bad = home.run(&["doctor"]).await;
    assert_eq!(bad.status.code(), Some(1));
    let said = text(bad.stdout);
    assert!(
        said.contains("BAD  token: ") && said.contains("remove the file"),
        "{said}"
    );
}

#[tokio::test]
async fn openapi_is_what_the_server_serves() {
    let home = Home::new();
    let printed: Value = serde_json::from_slice(&home.run(&["openapi"]).await.stdout).unwrap();
    assert!(
        printed["paths"]
            .as_object()
            .is_some_and(|paths| paths.len() > 10)
    );
    let served = home.serve(&[]).await;
    assert_eq!(served.get("/v1/openapi.json").await, printed);
}

#[tokio::test]
async fn help_and_version() {
    let home = Home::new();
    let version = home.run(&["--version"]).await;
    assert_eq!(
        text(version.stdout),
        format!("sessiond {}\n", env!("CARGO_PKG_VERSION"))
    );
    let help = text(home.run(&["--help"]).await.stdout);
    assert!(
        help.contains("opencode attach") && !help.contains("demo-agent"),
        "{help}"
    );
    let serve = text(home.run(&["serve", "--help"]).await.stdout);
    assert!(
        serve.contains("SESSIOND_LISTEN") && serve.contains("allowed_origins"),
        "{serve}"
    );
    let none = home.run(&[]).await;
    assert_eq!(
        none.status.code(),
        Some(2),
        "only help, and not by accident a server"
    );
}
