use serde_json::json;

use crate::support::{World, request};

// Q-share-link, Q-unshare
#[tokio::test]
async fn a_session_is_shared_and_shared_no_more() {
    let w = World::new().await;
    let id = w.session().await;
    let path = format!("/session/{id}/share");
    let shared = w.send(request("POST", &path, None)).await.ok();
    let url = shared["share"]["url"].as_str().unwrap();
    assert!(url.contains("/s/") && url.len() > 43, "{url}");
    assert_eq!(shared["share"], json!({"url": url}));
    assert_eq!(w.get(&format!("/session/{id}")).await.ok(), shared);
    let again = w.call("POST", &path, json!({})).await.ok();
    assert_eq!(again["share"], shared["share"], "the same address again");

    let ended = w.send(request("DELETE", &path, None)).await.ok();
    assert_eq!(ended.get("share"), None, "its address goes with it");
    assert_eq!(w.get(&format!("/session/{id}")).await.ok(), ended);
    let twice = w.send(request("DELETE", &path, None)).await.ok();
    assert_eq!(twice["id"], id.as_str());
}

#[tokio::test]
async fn an_unknown_session_is_not_shared() {
    let w = World::new().await;
    for method in ["POST", "DELETE"] {
        let answer = w
            .send(request(method, "/session/ses_unknown/share", None))
            .await;
        assert_eq!(answer.status, 404);
        let expected = json!({"name": "NotFoundError",
            "data": {"message": "Session not found: ses_unknown"}});
        assert_eq!(answer.json(), expected, "{method}");
    }
}

#[tokio::test]
async fn streams_hear_of_both() {
    let w = World::new().await;
    let id = w.session().await;
    let mut stream = w.stream("/event", None).await;
    let path = format!("/session/{id}/share");
    for (method, shared) in [("POST", true), ("DELETE", false)] {
        w.send(request(method, &path, None)).await.ok();
        let frames = stream.up_to("session.updated").await;
        let info = &frames.last().unwrap().properties()["info"];
        assert_eq!(info["share"]["url"].is_string(), shared, "{info}");
        assert_eq!(info.get("share").is_some(), shared, "{info}");
    }
}
