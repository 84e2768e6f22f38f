use serde_json::{Value, json};

use crate::support::World;

#[tokio::test]
async fn a_session_is_shared_changed_listed_and_ended() {
    let world = World::new().await;
    let session_at = world.session().await;
    let id = session_at.rsplit('/').next().unwrap();
    let at = format!("{session_at}/share");
    world.get(&at).await.refused(404, "not-found", None);

    let share = world.call("POST", &at, &[], None).await.with(200).json;
    assert_eq!(share["session_id"], id);
    assert_eq!(
        (
            &share["mode"],
            &share["until_position"],
            &share["expires_at"]
        ),
        (&json!("live"), &Value::Null, &Value::Null)
    );
    assert_eq!(world.get(&at).await.with(200).json, share);
    let session = world.get(&session_at).await.with(200);
    assert_eq!(session.json["share_url"], share["url"]);

    let later = 4_000_000_000_000_i64;
    let body = json!({"mode": "frozen", "expires_at": later});
    let changed = world.post(&at, body).await.with(200).json;
    assert_eq!(changed["url"], share["url"]);
    assert_eq!(
        (
            &changed["mode"],
            &changed["until_position"],
            &changed["expires_at"]
        ),
        (&json!("frozen"), &json!(0), &json!(later))
    );
    let same = world.post(&at, json!({})).await.with(200).json;
    assert_eq!(same, changed, "what is left out stays");
    let cleared = world.post(&at, json!({"expires_at": null})).await;
    assert_eq!(cleared.with(200).json["expires_at"], Value::Null);

    let other = world.session().await;
    let newest = world
        .post(&format!("{other}/share"), json!({}))
        .await
        .with(200)
        .json;
    let page = world.get("/v1/shares?limit=1").await.with(200).json;
    assert_eq!(page["shares"], json!([newest]));
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = world.get(&format!("/v1/shares?cursor={cursor}")).await;
    let rest = rest.with(200).json;
    assert_eq!(rest["shares"][0]["session_id"], id);
    assert_eq!(rest["next_cursor"], Value::Null);

    let ended = world.call("DELETE", &at, &[], None).await.with(200);
    assert_eq!(ended.json["share_url"], Value::Null);
    assert_eq!(
        ended.header("etag"),
        format!("\"{}\"", ended.json["revision"])
    );
    world.call("DELETE", &at, &[], None).await.with(200);
    world.get(&at).await.refused(404, "not-found", None);
}

#[tokio::test]
async fn a_preview_tells_what_is_taken_out() {
    let world = World::new().await;
    let id = world.session().await;
    let key = format!("ghp_{}", "aB3".repeat(12));
    world.ask(&id, &format!("{key} in /home/alice/x")).await;
    let at = format!("{id}/share/preview");
    let preview = world.get(&at).await.with(200).json;
    assert_eq!(
        (&preview["messages"], &preview["complete"]),
        (&json!(2), &json!(true))
    );
    let findings = preview["findings"].as_array().unwrap();
    let kinds: Vec<_> = findings
        .iter()
        .map(|f| f["kind"].as_str().unwrap())
        .collect();
    assert!(
        kinds.contains(&"github-token") && kinds.contains(&"home-directory"),
        "{preview}"
    );
    assert!(!preview.to_string().contains(&key));
}

#[tokio::test]
async fn what_cannot_be_shared_so_is_refused() {
    let world = World::new().await;
    let id = world.session().await;
    let at = format!("{id}/share");
    for (body, field) in [
        (json!({"expires_at": 5}), "expires_at"),
        (json!({"expires_at": -5}), "expires_at"),
        (json!({"expires_at": "x"}), "expires_at"),
        (json!({"mode": "dead"}), "mode"),
        (json!({"message_id": "msg_1"}), "message_id"),
        (json!({"mode": "live", "message_id": "msg_1"}), "message_id"),
        (json!({"mode": "frozen", "message_id": "x"}), "message_id"),
        (json!({"more": 1}), "more"),
    ] {
        let refused = world.post(&at, body).await;
        refused.refused(400, "invalid-request", Some(field));
    }
    let unknown = json!({"mode": "frozen", "message_id": "msg_unknown"});
    world
        .post(&at, unknown)
        .await
        .refused(404, "not-found", None);
    for path in ["/v1/shares?limit=0", "/v1/shares?limit=5000"] {
        world
            .get(path)
            .await
            .refused(400, "invalid-request", Some("limit"));
    }
    world
        .get("/v1/shares?cursor=x")
        .await
        .refused(400, "invalid-request", Some("cursor"));
    for path in ["share", "share/preview"] {
        let path = format!("/v1/sessions/ses_unknown/{path}");
        world.get(&path).await.refused(404, "not-found", None);
    }
}
