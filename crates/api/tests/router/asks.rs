use serde_json::{Value, json};

use crate::support::{World, id};

#[tokio::test]
async fn the_first_answer_to_a_permission_wins() {
    let world = World::new().await;
    for (reply, status) in [("once", "completed"), ("reject", "error")] {
        let at = world.session().await;
        let turn = world.say(&at, "/ask run echo yes").await;
        let list = format!("/v1/permissions?session={}", id(&at));
        let asked = world.first(&list, "permissions").await;
        assert_eq!(
            (&asked["session_id"], &asked["outcome"]),
            (&json!(id(&at)), &Value::Null)
        );
        assert_eq!(asked["turn_id"], id(&turn));
        let other = world
            .get("/v1/permissions?session=ses_other")
            .await
            .with(200)
            .json;
        assert_eq!(other, json!({"permissions": []}));
        let here = world
            .get(&format!("/v1/permissions?directory={}", world.directory()))
            .await
            .with(200)
            .json;
        assert_eq!(here["permissions"], json!([asked]));

        let answer = format!("/v1/permissions/{}/reply", asked["id"].as_str().unwrap());
        let ended = world
            .post(&answer, json!({"reply": reply, "message": "mind"}))
            .await
            .with(200)
            .json;
        assert_eq!(
            (&ended["outcome"]["kind"], &ended["outcome"]["reply"]),
            (&json!("answered"), &json!(reply))
        );
        assert_eq!(ended["outcome"]["message"], "mind");
        world
            .post(&answer, json!({"reply": "always"}))
            .await
            .refused(409, "conflict", None);
        world.end(&turn).await;
        assert_eq!(world.get(&list).await.json, json!({"permissions": []}));
        let page = world.get(&format!("{at}/messages")).await.json;
        let parts = page["messages"][1]["parts"].as_array().unwrap().clone();
        let tool = parts.into_iter().find(|p| p["type"] == "tool").unwrap();
        assert_eq!(tool["state"]["status"], status, "{tool}");
    }
}

#[tokio::test]
async fn unknown_requests_are_not_found() {
    let world = World::new().await;
    world
        .post("/v1/permissions/per_none/reply", json!({"reply": "once"}))
        .await
        .refused(404, "not-found", None);
    world
        .post("/v1/questions/que_none/reply", json!({"answers": []}))
        .await
        .refused(404, "not-found", None);
    world
        .call("POST", "/v1/questions/que_none/reject", &[], None)
        .await
        .refused(404, "not-found", None);
    assert_eq!(
        world.get("/v1/questions").await.with(200).json,
        json!({"questions": []})
    );
}
