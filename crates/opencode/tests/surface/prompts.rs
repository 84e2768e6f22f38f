use serde_json::{Value, json};

use crate::support::{Answer, World, request};

fn text_of(answer: &Value) -> String {
    let parts = answer["parts"].as_array().unwrap().iter();
    parts
        .filter(|p| p["type"] == "text")
        .map(|p| p["text"].as_str().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_is_answered_with_its_own_reply() {
    let w = World::new().await;
    let id = w.session().await;
    let questions: Vec<String> = (0..3).map(|i| format!("question number {i}")).collect();
    let asked = questions.iter().map(|q| w.say(&id, q));
    let answers: Vec<Answer> = futures::future::join_all(asked).await;
    for (question, answer) in questions.iter().zip(&answers) {
        let answer = answer.ok();
        assert_eq!(answer["info"]["role"], "assistant");
        assert_eq!(answer["info"]["finish"], "stop");
        assert!(text_of(&answer).contains(question), "{answer}");
        let message = answer["info"]["id"].as_str().unwrap();
        let stored = w
            .get(&format!("/session/{id}/message/{message}"))
            .await
            .ok();
        assert_eq!(stored, answer);
    }
    assert_eq!(w.get("/session/status").await.ok(), json!({}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_message_id_is_the_same_prompt() {
    let w = World::new().await;
    let (id, other) = (w.session().await, w.session().await);
    let body = json!({"messageID": "msg_mine", "parts": [{"type": "text", "text": "hello"}]});
    let path = format!("/session/{id}/message");
    let first = w.call("POST", &path, body.clone()).await.ok();
    assert_eq!(first["info"]["parentID"], "msg_mine");
    let again = w.call("POST", &path, body.clone()).await.ok();
    assert_eq!(again, first);
    assert_eq!(w.get(&path).await.ok().as_array().unwrap().len(), 2);
    let elsewhere = format!("/session/{other}/message");
    let refused = w.call("POST", &elsewhere, body).await;
    assert_eq!(refused.status, 409);
    assert_eq!(refused.json()["resource"], "msg_mine");
    assert_eq!(w.get(&elsewhere).await.ok(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_async_prompt_is_accepted_and_an_abort_stops_it() {
    let w = World::new().await;
    let id = w.session().await;
    let body = json!({"parts": [{"type": "text", "text": "/slow 100000 20"}]});
    let path = format!("/session/{id}/prompt_async");
    let accepted = w.call("POST", &path, body).await;
    assert_eq!((accepted.status, accepted.bytes.len()), (204, 0));
    let busy = json!({id.as_str(): {"type": "busy"}});
    assert_eq!(w.get("/session/status").await.ok(), busy);
    let messages = format!("/session/{id}/message");
    let partial = || async {
        let all = w.get(&messages).await.ok();
        let answer = all.get(1)?.clone();
        (!text_of(&answer).is_empty()).then_some(answer)
    };
    w.until("a partial text", partial).await;
    let removal = format!("{messages}/msg_nope");
    let refused = w.call("DELETE", &removal, json!({})).await;
    assert_eq!(
        (refused.status, &refused.json()["_tag"]),
        (409, &json!("SessionBusyError"))
    );
    let abort = format!("/session/{id}/abort");
    assert_eq!(w.call("POST", &abort, json!({})).await.ok(), json!(true));
    assert_eq!(w.get("/session/status").await.ok(), json!({}));
    let answer = w.get(&messages).await.ok()[1].clone();
    assert_eq!(answer["info"]["error"]["name"], "MessageAbortedError");
    assert!(answer["info"]["time"]["completed"].is_i64());
    assert_eq!(w.call("POST", &abort, json!({})).await.ok(), json!(true));
}

#[tokio::test(flavor = "multi_thread")]
async fn permissions_are_listed_and_answered_once() {
    let w = World::new().await;
    for route in ["reply", "response"] {
        let id = w.session().await;
        let mut events = w.stream("/event", None).await;
        let body = json!({"parts": [{"type": "text", "text": "/ask run true"}]});
        let path = format!("/session/{id}/prompt_async");
        w.call("POST", &path, body).await;
        let asked = events.up_to("permission.asked").await;
        let asked = asked.last().unwrap().properties().clone();
        assert_eq!(w.get("/permission").await.ok(), json!([asked]));
        let request = asked["id"].as_str().unwrap();
        let path = match route {
            "reply" => format!("/permission/{request}/reply"),
            _ => format!("/session/{id}/permissions/{request}"),
        };
        let answered = w.call("POST", &path, json!({route: "once"})).await;
        assert_eq!(answered.ok(), json!(true));
        let second = w.call("POST", &path, json!({route: "once"})).await;
        assert_eq!(second.status, 404);
        assert_eq!(second.json()["_tag"], "PermissionNotFoundError");
        let replied = events.up_to("permission.replied").await;
        assert_eq!(
            *replied.last().unwrap().properties(),
            json!({"sessionID": id, "requestID": request, "reply": "once"})
        );
        events.up_to("session.idle").await;
        assert_eq!(w.get("/permission").await.ok(), json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_and_file_changes_are_shown() {
    let w = World::new().await;
    let rules = json!([{"permission": "*", "pattern": "*", "action": "allow"}]);
    let session = w
        .call("POST", "/session", json!({"permission": rules}))
        .await;
    let id = session.ok()["id"].as_str().unwrap().to_owned();
    w.say(&id, "/plan").await.ok();
    let todos = w.get(&format!("/session/{id}/todo")).await.ok();
    assert_eq!(todos.as_array().unwrap().len(), 3, "{todos}");
    assert!(todos[0]["content"].is_string() && todos[0]["priority"].is_string());
    let written = w.say(&id, "/write a.txt one\\ntwo").await.ok();
    let diff = w.get(&format!("/session/{id}/diff")).await.ok();
    let prompt = written["info"]["parentID"].as_str().unwrap();
    let of_prompt = w
        .get(&format!("/session/{id}/diff?messageID={prompt}"))
        .await
        .ok();
    assert_eq!(diff, of_prompt);
    assert_eq!(diff.as_array().map(Vec::len), Some(1), "{diff}");
    assert_eq!(diff[0]["status"], "added");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_agent_is_refused_before_anything_is_stored() {
    let w = World::new().await;
    let id = w.session().await;
    let body = json!({"model": {"providerID": "nobody", "modelID": "x"},
        "parts": [{"type": "text", "text": "hi"}]});
    for path in ["message", "prompt_async"] {
        let path = format!("/session/{id}/{path}");
        let refused = w.call("POST", &path, body.clone()).await;
        assert_eq!(refused.status, 400);
        let message = refused.json()["data"]["message"].to_string();
        assert!(
            message.contains(r#"[\"model\"][\"providerID\"]"#),
            "{message}"
        );
    }
    let listed = w.get(&format!("/session/{id}/message")).await.ok();
    assert_eq!(listed, json!([]));
    assert!(
        w.get(&format!("/session/{id}"))
            .await
            .ok()
            .get("model")
            .is_none()
    );
}

#[tokio::test]
async fn a_body_must_be_json_by_type_and_by_content() {
    let w = World::new().await;
    let id = w.session().await;
    let path = format!("/session/{id}/message");
    let mut plain = request("POST", &path, Some("{\"parts\":[]}".into()));
    plain
        .headers_mut()
        .insert("content-type", "text/plain".parse().unwrap());
    let refused = w.send(plain).await;
    assert_eq!(refused.status, 415);
    assert_eq!(
        refused.json()["data"]["message"],
        "Unsupported content-type: text/plain"
    );
    let broken = w
        .send(request("POST", &path, Some("{\"parts\":[}".into())))
        .await;
    assert_eq!(broken.status, 400);
    let message = broken.json()["data"]["message"].to_string();
    assert!(message.contains("line 1 column 11"), "{message}");
}
