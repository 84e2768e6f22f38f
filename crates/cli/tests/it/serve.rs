//! `sessiond serve` as a process: start, stop, and what it says.

use std::time::Duration;

use crate::home::{Home, within};
use http_body_util::BodyExt as _;
use rustix::process::Signal;
use serde_json::json;

/// Promised time from SIGTERM to the end of the process.
const STOP_WITHIN: Duration = Duration::from_secs(10);

fn prompt(text: &str) -> serde_json::Value {
    json!({"parts": [{"type": "text", "text": text}]})
}

#[tokio::test]
async fn the_first_start_says_what_to_type_next_and_shows_the_token_once() {
    let home = Home::new();
    let mut first = home.serve(&[]).await;
    let (url, token) = (first.url.clone(), home.token());
    first.signal(Signal::TERM);
    assert!(first.exit().await.success());
    let (said, log) = first.said().await;
    assert!(
        said.contains(&format!("opencode attach {url}/opencode -p {token}")),
        "{said}"
    );
    assert!(said.contains("demo (default)"), "{said}");
    assert!(said.contains("not claude: "), "{said}");
    assert!(!log.contains(&token), "{log}");

    // Output that goes to a file is kept; the token should not be in it for ever.
    let mut second = home.serve(&[]).await;
    second.signal(Signal::INT);
    assert!(second.exit().await.success());
    assert_eq!(home.token(), token);
    let (said, _) = second.said().await;
    assert!(
        !said.contains(&token) && said.contains("$(sessiond token)"),
        "{said}"
    );
}

#[tokio::test]
async fn a_second_process_on_the_same_data_is_refused_with_pid_and_url() {
    let home = Home::new();
    let served = home.serve(&[]).await;
    let pid = served.child.id().unwrap().to_string();
    let same_address = served.url.strip_prefix("http://").unwrap();
    for listen in ["127.0.0.1:0", same_address] {
        let refused = home.run(&["serve", "--listen", listen]).await;
        let said = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(
            said.contains(&format!("process {pid} ({})", served.url)),
            "{said}"
        );
        assert!(said.contains("--data-dir"), "{said}");
    }
    assert!(
        served.client.get("/v1/sessions").await.unwrap().ok(),
        "the first one goes on"
    );
}

#[tokio::test]
async fn another_programs_port_is_no_mystery() {
    let home = Home::new();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = other.local_addr().unwrap().to_string();
    let refused = home.run(&["serve", "--listen", &listen]).await;
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said.contains(&format!("{listen} is in use by another program")),
        "{said}"
    );
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let home = Home::new();
    std::fs::write(home.path().join("bad.toml"), "auth = true\nlistn = 'x'\n").unwrap();
    let said = async |args: &[&str]| {
        let output = home.run(args).await;
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let unknown = said(&["serve", "--config", "bad.toml"]).await;
    assert!(
        unknown.contains("line 2") && unknown.contains("did you mean `listen`?"),
        "{unknown}"
    );
    let open = said(&["serve", "--no-auth", "--listen", "0.0.0.0:0"]).await;
    assert!(open.contains("loopback"), "{open}");
    let agent = said(&["serve", "--agent", "nobody"]).await;
    assert!(
        agent.contains("nobody") && agent.contains("demo"),
        "{agent}"
    );
    assert!(
        !home.data_dir().exists(),
        "nothing was made for a start that could not be"
    );
}

#[tokio::test]
async fn without_auth_no_token_is_made_or_asked_for() {
    let home = Home::new();
    let served = home.serve(&["--no-auth"]).await;
    assert!(!home.data_dir().join("token").exists());
    assert!(served.client.get("/opencode/session").await.unwrap().ok());
    let foreign = [("origin", "https://app.opencode.ai")];
    let refused = served
        .client
        .send("GET".parse().unwrap(), "/opencode/session", None, &foreign)
        .await;
    assert_eq!(refused.unwrap().status, 403);
}

#[tokio::test]
async fn sigterm_interrupts_a_running_turn_and_the_next_start_knows() {
    let home = Home::new();
    let mut served = home.serve(&[]).await;
    let session = served.new_session().await;
    let waiting = tokio::spawn({
        let client = served.client.clone();
        let path = format!("/opencode/session/{session}/message");
        async move { client.post(&path, &prompt("/hang")).await }
    });
    let turns = format!("/v1/sessions/{session}/turns");
    served
        .until(&turns, |t| t["turns"][0]["state"] == "running")
        .await;
    let mut events = served
        .client
        .stream("/opencode/global/event", &[])
        .await
        .unwrap()
        .into_body();

    served.signal(Signal::TERM);
    let status = tokio::time::timeout(STOP_WITHIN, served.child.wait())
        .await
        .expect("it takes longer than promised")
        .unwrap();
    assert!(status.success(), "{status}");

    let reply = within(waiting)
        .await
        .unwrap()
        .expect("the waiting prompt is answered");
    assert!(!reply.body.is_empty(), "{reply:?}");
    let (mut seen, mut broken) = (String::new(), false);
    while let Some(frame) = within(events.frame()).await {
        match frame {
            Ok(frame) => seen.push_str(&String::from_utf8_lossy(frame.data_ref().unwrap())),
            Err(_) => broken = true,
        }
    }
    assert!(
        seen.contains(r#""type":"session.idle""#),
        "the stream tells the end: {seen}"
    );
    assert!(
        broken,
        "a clean end would tell SDK clients not to come back"
    );

    let served = home.serve(&[]).await;
    let after = served.get(&turns).await;
    assert_eq!(after["turns"][0]["state"], "interrupted", "{after}");
    let info = served.get(&format!("/v1/sessions/{session}")).await;
    assert_eq!(info["status"]["kind"], "idle", "{info}");
    assert_eq!(served.get("/opencode/session/status").await, json!({}));
    let path = format!("/opencode/session/{session}/message");
    let next = served
        .client
        .post(&path, &prompt("still there?"))
        .await
        .unwrap();
    assert!(
        next.ok() && next.text().contains("still there?"),
        "{next:?}"
    );
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let home = Home::new();
    let mut served = home.serve(&[]).await;
    let session = served.new_session().await;
    let path = format!("/v1/sessions/{session}/prompt");
    let accepted = served
        .client
        .post(&path, &prompt("/stubborn"))
        .await
        .unwrap();
    assert!(accepted.ok(), "{accepted:?}");
    let turns = format!("/v1/sessions/{session}/turns");
    served
        .until(&turns, |t| t["turns"][0]["state"] == "running")
        .await;

    // A connection that has not sent its request keeps the orderly stop from being quick.
    let address = served.client.address();
    let _idle = tokio::net::TcpStream::connect(address).await.unwrap();
    served.signal(Signal::TERM);
    within(async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    served.signal(Signal::TERM);
    assert_eq!(served.exit().await.code(), Some(130));
}

#[tokio::test]
async fn logs_keep_secrets() {
    let home = Home::new();
    let mut served = home.serve(&["--log", "trace", "--log-json"]).await;
    let token = home.token();
    let bare = sessiond_testkit::http::Client::new(served.client.address());
    let path = format!("/opencode/session?auth_token={token}");
    assert!(bare.get(&path).await.unwrap().ok());
    assert!(
        served
            .client
            .get("/v1/sessions?limit=1")
            .await
            .unwrap()
            .ok()
    );
    assert_eq!(
        bare.get("/v1/sessions?auth_token=wrong-but-secret")
            .await
            .unwrap()
            .status,
        401
    );
    served.signal(Signal::TERM);
    assert!(served.exit().await.success());
    let (_, log) = served.said().await;
    assert!(
        !log.contains(&token) && !log.contains("wrong-but-secret"),
        "{log}"
    );
    let first = log.lines().next().unwrap();
    let line: serde_json::Value = serde_json::from_str(first).unwrap();
    assert_eq!(line["level"], "INFO", "{line}");
}

#[tokio::test]
async fn a_log_that_nobody_reads_stops_nothing() {
    let home = Home::new();
    // At this level every request writes many lines; a pipe holds 64 KiB.
    let mut served = home.serve(&["--log", "trace"]).await;
    for _ in 0..2000 {
        let reply = within(served.client.get("/v1/sessions")).await.unwrap();
        assert!(reply.ok(), "{reply:?}");
    }
    served.signal(Signal::TERM);
    assert!(served.exit().await.success());
    let (_, log) = served.said().await;
    assert!(log.len() >= 60_000, "the pipe was full: {}", log.len());
}
