use serde_json::{Value, json};

use crate::support::World;

#[tokio::test]
async fn pages_go_back_from_the_newest() {
    let w = World::new().await;
    let id = w.session().await;
    let mut ids = Vec::new();
    for i in 0..5 {
        ids.push(w.note(&id, &format!("note {i}")).await.0);
    }
    let base = format!("/session/{id}/message");
    let listed = |page: &Value| -> Vec<String> {
        let ids = page.as_array().unwrap().iter();
        ids.map(|m| m["info"]["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(listed(&w.get(&base).await.ok()), ids);
    let newest = w.get(&format!("{base}?limit=2")).await;
    assert_eq!(listed(&newest.ok()), ids[3..]);
    assert_eq!(
        newest.headers["access-control-expose-headers"],
        "Link, X-Next-Cursor"
    );
    let cursor = newest.headers["x-next-cursor"].to_str().unwrap();
    let link = newest.headers["link"].to_str().unwrap();
    assert_eq!(
        link,
        format!("<http://127.0.0.1:4096/opencode{base}?limit=2&before={cursor}>; rel=\"next\"")
    );
    let older = w.get(&format!("{base}?limit=2&before={cursor}")).await;
    assert_eq!(listed(&older.ok()), ids[1..3]);
    let cursor = older.headers["x-next-cursor"].to_str().unwrap();
    let oldest = w.get(&format!("{base}?limit=2&before={cursor}")).await;
    assert_eq!(listed(&oldest.ok()), ids[..1]);
    assert!(oldest.headers.get("x-next-cursor").is_none());
}

// Q-message-delete
#[tokio::test]
async fn a_message_and_its_parts_can_be_edited_and_removed() {
    let w = World::new().await;
    let id = w.session().await;
    let (message, part) = w.note(&id, "first").await;
    let path = format!("/session/{id}/message/{message}");
    let part_path = format!("{path}/part/{part}");
    let whole = json!({"id": part, "sessionID": id, "messageID": message,
        "type": "text", "text": "EDITED"});
    let put = w.call("PATCH", &part_path, whole.clone()).await.ok();
    assert_eq!(put, whole);
    assert_eq!(w.get(&path).await.ok()["parts"], json!([whole]));
    let mut other = whole.clone();
    other["messageID"] = "msg_other".into();
    let refused = w.call("PATCH", &part_path, other).await;
    assert_eq!(
        (refused.status, &refused.json()["_tag"]),
        (400, &json!("BadRequest"))
    );
    let mut lost = whole.clone();
    lost["messageID"] = "msg_nope".into();
    let nowhere = format!("/session/{id}/message/msg_nope/part/{part}");
    let refused = w.call("PATCH", &nowhere, lost).await;
    assert!(matches!(refused.status, 404 | 409), "{refused:?}");
    for _ in 0..2 {
        assert_eq!(
            w.call("DELETE", &part_path, json!({})).await.ok(),
            json!(true)
        );
    }
    assert_eq!(w.get(&path).await.ok()["parts"], json!([]));
    for _ in 0..2 {
        assert_eq!(w.call("DELETE", &path, json!({})).await.ok(), json!(true));
    }
    let gone = w.get(&path).await;
    assert_eq!(gone.status, 404);
    assert_eq!(
        gone.json()["data"]["message"],
        format!("Message not found: {message}")
    );
}

#[tokio::test]
async fn a_large_message_is_answered_whole() {
    let w = World::new().await;
    let id = w.session().await;
    let text = "0123456789abcdef".repeat(5 << 16);
    let (message, _) = w.note(&id, &text).await;
    let got = w
        .get(&format!("/session/{id}/message/{message}"))
        .await
        .ok();
    assert!(got["parts"][0]["text"] == text.as_str());
}
