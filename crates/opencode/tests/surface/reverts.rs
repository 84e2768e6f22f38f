//! `/session/{id}/revert`, `/unrevert`, `/diff`, and the events they cause.

use serde_json::{Value, json};

use crate::support::World;

/// A session whose agent wrote a file; the ids of the session and its prompt.
async fn written(w: &World) -> (String, String) {
    let id = w.session().await;
    let body =
        json!({"agent": "auto", "parts": [{"type": "text", "text": "/write a.txt agent\\n"}]});
    let answer = w
        .call("POST", &format!("/session/{id}/message"), body)
        .await
        .ok();
    let prompt = answer["info"]["parentID"].as_str().unwrap().to_owned();
    (id, prompt)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_is_what_the_session_wrote() {
    let w = World::new().await;
    let (id, prompt) = written(&w).await;
    let path = format!("/session/{id}/diff");
    let all = w.get(&path).await.ok();
    assert_eq!(all.as_array().unwrap().len(), 1, "{all}");
    let file = &all[0];
    assert_eq!(
        (&file["status"], &file["additions"]),
        (&json!("added"), &json!(1))
    );
    assert!(file["patch"].as_str().unwrap().contains("+agent"), "{file}");
    assert_eq!(w.get(&format!("{path}?messageID={prompt}")).await.ok(), all);
    assert_eq!(
        w.get(&format!("{path}?messageID=msg_other")).await.ok(),
        json!([])
    );
    w.get(&format!("{path}?messageID=nope")).await.refused(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_changes_is_what_get_shows() {
    let w = World::new().await;
    let git = std::process::Command::new("git")
        .args(["init", "-q"])
        .arg(w.dir.path())
        .status();
    assert!(git.unwrap().success());
    let mut events = w.stream("/event", None).await;
    let (id, _) = written(&w).await;
    let path = format!("/session/{id}/message");
    let words = json!([{"type": "text", "text": "/write b.txt again"}]);
    let told = events.up_to("session.diff").await;
    assert_eq!(
        told.last().unwrap().properties()["diff"][0]["file"],
        "a.txt"
    );
    let second = w
        .call("POST", &path, json!({"agent": "auto", "parts": words}))
        .await
        .ok();
    let diff = format!("/session/{id}/diff");
    for undone in [false, true] {
        if undone {
            let to = json!({"messageID": second["info"]["parentID"]});
            let revert = format!("/session/{id}/revert");
            w.call("POST", &revert, to).await.ok();
        }
        let told = events.up_to("session.diff").await;
        let shown = w.get(&diff).await.ok();
        assert_eq!(told.last().unwrap().properties()["diff"], shown);
        assert_eq!(shown.as_array().unwrap().len(), 2 - usize::from(undone));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revert_hides_messages_and_brings_files_back() {
    let w = World::new().await;
    let (id, prompt) = written(&w).await;
    let file = w.dir.path().join("a.txt");
    let written = std::fs::read(&file).unwrap();
    let revert = format!("/session/{id}/revert");
    let session = w
        .call("POST", &revert, json!({"messageID": prompt}))
        .await
        .ok();
    assert_eq!(session["revert"]["messageID"], prompt);
    assert!(
        session["revert"]["diff"]
            .as_str()
            .unwrap()
            .contains("-agent"),
        "{session}"
    );
    assert_eq!(session.get("conflicts"), None);
    assert!(!file.exists());
    let messages = w.get(&format!("/session/{id}/message")).await.ok();
    assert_eq!(
        messages.as_array().unwrap().len(),
        2,
        "they stay until the next prompt"
    );
    assert_eq!(w.get(&format!("/session/{id}/diff")).await.ok(), json!([]));
    let unrevert = format!("/session/{id}/unrevert");
    let whole = w.call("POST", &unrevert, json!({})).await.ok();
    assert_eq!(whole.get("revert"), None);
    assert_eq!(std::fs::read(&file).unwrap(), written);
    // What a person wrote stays, and is told.
    std::fs::write(&file, "person").unwrap();
    let session = w
        .call("POST", &revert, json!({"messageID": prompt}))
        .await
        .ok();
    assert_eq!(session["conflicts"][0]["reason"], "changed", "{session}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "person");
    let body = json!({"parts": [{"type": "text", "text": "go on"}]});
    w.call("POST", &format!("/session/{id}/message"), body)
        .await
        .ok();
    let messages = w.get(&format!("/session/{id}/message")).await.ok();
    let left: Vec<&Value> = messages.as_array().unwrap().iter().collect();
    assert_eq!(left.len(), 2, "{messages}");
    assert_ne!(left[0]["info"]["id"], prompt);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_come_in_the_order_of_opencode() {
    let w = World::new().await;
    let (id, _) = written(&w).await;
    w.call("POST", "/session/ses_unknown/revert", json!({}))
        .await
        .refused(400);
    let body = json!({"messageID": "msg_x"});
    w.call("POST", "/session/ses_unknown/revert", body.clone())
        .await
        .refused(404);
    w.call("POST", &format!("/session/{id}/revert"), body)
        .await
        .refused(404);
    let wrong = json!({"messageID": "nope"});
    w.call("POST", &format!("/session/{id}/revert"), wrong)
        .await
        .refused(400);
}
