use serde_json::json;

use crate::support::World;

#[tokio::test]
async fn an_export_is_the_session_and_all_its_messages() {
    let w = World::new().await;
    let id = w.session().await;
    for i in 0..70 {
        w.note(&id, &format!("note {i}")).await;
    }
    let path = format!("/session/{id}");
    let messages = w.get(&format!("{path}/message")).await.ok();
    let gone = messages[40]["info"]["id"].as_str().unwrap();
    let gone = format!("{path}/message/{gone}");
    w.call("DELETE", &gone, json!({})).await.ok();

    let export = w.get(&format!("{path}/export")).await;
    let text = export.ok();
    assert_eq!(text["info"], w.get(&path).await.ok());
    let messages = w.get(&format!("{path}/message")).await.ok();
    assert_eq!(messages.as_array().unwrap().len(), 69);
    assert_eq!(text["messages"], messages);
    assert_eq!(text["todos"], json!([]));
    let name = format!("attachment; filename=\"{id}.json\"");
    assert_eq!(export.headers["content-disposition"], name);

    let empty = w.session().await;
    let export = w.get(&format!("/session/{empty}/export")).await.ok();
    assert_eq!(export["messages"], json!([]));
    w.get("/session/ses_unknown/export").await.refused(404);
    w.get("/session/nonsense/export").await.refused(400);
}

#[tokio::test]
async fn the_link_of_a_share_stays_behind() {
    let w = World::new().await;
    let id = w.session().await;
    let path = format!("/session/{id}");
    w.call("POST", &format!("{path}/share"), json!({}))
        .await
        .ok();
    let export = w.get(&format!("{path}/export")).await.ok();
    assert_eq!(export["info"].get("share"), None);
    assert!(w.get(&path).await.ok()["share"]["url"].is_string());
}
