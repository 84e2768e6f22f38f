//! `/sync/replay`: events of a session that another server kept.

use serde_json::{Value, json};

use crate::support::{Answer, World};

const SESSION: &str = "ses_dfbdc9af7ffe2jC4oj9DZo2WRv";
const QUESTION: &str = "msg_20423661c001L3AbrLIGxQhAdj";
const ANSWER: &str = "msg_204236b410011uKXbx6dsxkWK2";

fn info(title: &str, updated: u64) -> Value {
    json!({"id": SESSION, "slug": "neon-harbor", "projectID": "global", "directory": "/elsewhere",
        "path": "elsewhere", "cost": 0, "title": title, "version": "1.18.33",
        "tokens": {"input": 0, "output": 0, "reasoning": 0, "cache": {"read": 0, "write": 0}},
        "time": {"created": 1_700_000_000_000_u64, "updated": updated}})
}

fn answer(completed: Option<u64>) -> Value {
    let mut time = json!({"created": 1_700_000_000_200_u64});
    if let Some(at) = completed {
        time["completed"] = at.into();
    }
    json!({"id": ANSWER, "sessionID": SESSION, "role": "assistant", "time": time,
        "parentID": QUESTION, "modelID": "m1", "providerID": "fake", "mode": "build",
        "agent": "build", "path": {"cwd": "/elsewhere", "root": "/"}, "cost": 0,
        "tokens": {"input": 0, "output": 0, "reasoning": 0, "cache": {"read": 0, "write": 0}}})
}

/// What OpenCode keeps of a session with one prompt.
fn events() -> Vec<Value> {
    let part = |id: &str, message: &str, mut body: Value| {
        body["id"] = id.into();
        body["sessionID"] = SESSION.into();
        body["messageID"] = message.into();
        json!({"sessionID": SESSION, "part": body, "time": 1_700_000_000_300_u64})
    };
    let session = |info: Value| json!({"sessionID": SESSION, "info": info});
    let question = json!({"id": QUESTION, "sessionID": SESSION, "role": "user",
        "time": {"created": 1_700_000_000_100_u64}, "agent": "build",
        "model": {"providerID": "fake", "modelID": "m1"}});
    let finish = json!({"type": "step-finish", "reason": "stop", "cost": 0.5,
        "tokens": {"input": 100, "output": 10, "reasoning": 0, "cache": {"read": 0, "write": 0}}});
    let all = [
        (
            "session.created.1",
            session(info("first", 1_700_000_000_000)),
        ),
        ("message.updated.1", session(question)),
        (
            "message.part.updated.1",
            part(
                "prt_204236635001I3ObiaCt91mDe3",
                QUESTION,
                json!({"type": "text", "text": "hi"}),
            ),
        ),
        ("message.updated.1", session(answer(None))),
        (
            "message.part.updated.1",
            part(
                "prt_20423774600173WEZQ8pr2N0Tt",
                ANSWER,
                json!({"type": "text", "text": "hello",
                "time": {"start": 1_700_000_000_250_u64, "end": 1_700_000_000_260_u64}}),
            ),
        ),
        (
            "message.part.updated.1",
            part("prt_2042377cf001dmAgPuE5zAwIUQ", ANSWER, finish),
        ),
        (
            "message.updated.1",
            session(answer(Some(1_700_000_000_400))),
        ),
        (
            "session.updated.1",
            session(info("second", 1_700_000_000_500)),
        ),
    ];
    let event = |(seq, (kind, data)): (usize, (&str, Value))| {
        json!({"id": format!("evt_20423650a00{seq}66azj6D51QPQrD"), "aggregateID": SESSION,
            "seq": seq, "type": kind, "data": data})
    };
    all.into_iter().enumerate().map(event).collect()
}

async fn replay(w: &World, events: &[Value]) -> Answer {
    let body = json!({"directory": w.directory(), "events": events});
    w.call("POST", "/sync/replay", body).await
}

#[tokio::test]
async fn a_session_of_elsewhere_is_replayed_step_by_step() {
    let w = World::new().await;
    w.session().await;
    let all = events();
    let mut global = w.stream("/global/event", None).await;
    assert_eq!(
        replay(&w, &all[..4]).await.ok(),
        json!({"sessionID": SESSION})
    );
    let told = global.up_to("message.part.updated").await;
    assert!(
        told.iter().any(|f| f.is("session.created")),
        "who listens is told"
    );
    // Again, in part again, and on.
    replay(&w, &all[..4]).await.ok();
    replay(&w, &all[2..6]).await.ok();
    replay(&w, &all).await.ok();
    let session = w.get(&format!("/session/{SESSION}")).await.ok();
    assert_eq!(
        (&session["title"], &session["cost"]),
        (&json!("second"), &json!(0.5))
    );
    assert_eq!(session["time"]["updated"], 1_700_000_000_500_u64);
    let messages = w.get(&format!("/session/{SESSION}/message")).await.ok();
    assert_eq!(messages.as_array().unwrap().len(), 2);
    assert_eq!(
        messages[1]["info"]["time"]["completed"],
        1_700_000_000_400_u64
    );
    assert_eq!(messages[1]["parts"][0]["text"], "hello");
    // The history has the same numbers.
    let history = w.call("POST", "/sync/history", json!({})).await.ok();
    let mut rows = history.as_array().unwrap().iter();
    let last = rows.rfind(|row| row["aggregate_id"] == SESSION).unwrap();
    assert_eq!(
        (&last["seq"], &last["type"]),
        (&json!(7), &json!("session.updated.1"))
    );
}

#[tokio::test]
async fn what_does_not_fit_is_a_conflict_and_changes_nothing() {
    let w = World::new().await;
    w.session().await;
    let all = events();
    let refused = |answer: Answer| {
        answer.refused(409);
        assert_eq!(answer.json()["_tag"], "ConflictError");
    };
    refused(replay(&w, &all[1..3]).await);
    w.get(&format!("/session/{SESSION}")).await.refused(404);
    replay(&w, &all[..3]).await.ok();
    refused(replay(&w, &all[4..]).await);
    let mut other = all.clone();
    other[2]["data"]["part"]["text"] = "something else".into();
    refused(replay(&w, &other).await);
    // Once it goes on here, it does not go on there.
    w.note(SESSION, "mine").await;
    refused(replay(&w, &all).await);
    let messages = w.get(&format!("/session/{SESSION}/message")).await.ok();
    assert_eq!(messages.as_array().unwrap().len(), 2);
    w.call("DELETE", &format!("/session/{SESSION}"), json!({}))
        .await
        .ok();
    replay(&w, &all).await.refused(404);
}

#[tokio::test]
async fn wrong_events_are_refused_by_name() {
    let w = World::new().await;
    w.session().await;
    let all = events();
    let edited = |at: usize, path: &str, value: Value| {
        let mut all = all.clone();
        *all[at].pointer_mut(path).unwrap() = value;
        all
    };
    let cases = [
        (Vec::new(), "events"),
        (edited(0, "/id", json!("x")), "id"),
        (edited(0, "/seq", json!(-1)), "seq"),
        (edited(1, "/seq", json!(5)), "seq"),
        (edited(1, "/aggregateID", json!("ses_other")), "aggregateID"),
        (edited(1, "/type", json!("session.next.prompted.1")), "type"),
        (
            edited(0, "/data/info/projectID", json!("nope")),
            "projectID",
        ),
        (
            edited(0, "/data/info/directory", json!("here")),
            "directory",
        ),
        (edited(0, "/data/info/id", json!("ses_other")), "id"),
        (edited(1, "/data/info/role", json!("robot")), "info"),
        (
            edited(1, "/data/sessionID", json!("ses_other")),
            "sessionID",
        ),
        (edited(2, "/data/part/type", json!(5)), "part"),
    ];
    for (events, field) in cases {
        let answer = replay(&w, &events).await;
        answer.refused(400);
        let message = answer.json()["data"]["message"].to_string();
        assert!(message.contains(field), "{field}: {message}");
    }
    w.get(&format!("/session/{SESSION}")).await.refused(404);
}
