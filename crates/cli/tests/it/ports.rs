//! Sessions that come and go, with a server and without.

use serde_json::{Value, json};

use crate::home::Home;

fn export_file(home: &Home) -> String {
    // More than fits into one batch.
    let text = "hello".repeat(1_000_000);
    let part = json!({"id": "prt_1", "sessionID": "ses_there", "messageID": "msg_1", "type": "text", "text": text});
    let info = json!({"id": "msg_1", "sessionID": "ses_there", "role": "user", "time": {"created": 5},
        "agent": "build", "model": {"providerID": "p", "modelID": "m"}});
    let export = json!({"info": {"id": "ses_there", "slug": "s", "projectID": "global", "directory": "/no/such/place",
            "title": "There", "version": "1.18.33", "time": {"created": 1, "updated": 9}},
        "messages": [{"info": info, "parts": [part]}]});
    let path = home.path().join("there.json");
    std::fs::write(&path, export.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn said(home: &Home, args: &[&str]) -> String {
    let output = home.run(args).await;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

async fn complaint(home: &Home, args: &[&str]) -> String {
    let output = home.run(args).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn sessions_come_and_go_with_a_server_and_without() {
    let home = Home::new();
    let file = export_file(&home);
    let import = ["import", "opencode", "--file", &file];
    let none = complaint(&home, &["export", "ses_there"]).await;
    assert!(none.contains("no sessions"), "{none}");

    let planned = said(&home, &[&import[..], &["--dry-run"]].concat()).await;
    assert!(
        planned.contains("would import 1 session (1 message)"),
        "{planned}"
    );
    let done = said(&home, &import).await;
    assert!(
        done.contains("its directory /no/such/place is not here"),
        "{done}"
    );
    assert!(
        done.ends_with(
            "imported 1 session (1 message): 1 new, 0 grown; 0 already there; 0 left out\n"
        ),
        "{done}"
    );
    let alone = said(&home, &["export", "ses_there"]).await;

    let _served = home.serve(&[]).await;
    let again = said(&home, &import).await;
    assert!(again.contains("1 already there"), "{again}");
    assert_eq!(said(&home, &["export", "ses_there"]).await, alone);
    let out = home.path().join("out.json");
    assert_eq!(
        said(&home, &["export", "ses_there", "-o", out.to_str().unwrap()]).await,
        ""
    );
    let written: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    let text = written["messages"][0]["parts"][0]["text"].as_str().unwrap();
    assert_eq!(text.len(), 5_000_000);
    assert_eq!(written["info"]["title"], "There");

    let unknown = complaint(&home, &["export", "ses_unknown"]).await;
    assert!(unknown.contains("not found"), "{unknown}");
    let nonsense = complaint(&home, &["export", "../trash"]).await;
    assert!(nonsense.contains("no id of a session"), "{nonsense}");
}

#[tokio::test]
async fn what_can_not_be_read_is_named() {
    let home = Home::new();
    let missing = complaint(&home, &["import", "opencode"]).await;
    assert!(missing.contains("opencode/opencode.db"), "{missing}");
    let path = home.path().join("cut.json");
    let whole = std::fs::read_to_string(export_file(&home)).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 2]).unwrap();
    let cut = complaint(
        &home,
        &["import", "opencode", "--file", path.to_str().unwrap()],
    )
    .await;
    assert!(cut.contains("not the file of an export"), "{cut}");
}
