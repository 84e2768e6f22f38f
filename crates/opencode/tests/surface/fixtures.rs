//! What OpenCode answered to recorded requests, and what this surface answers to them.

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::support::{Answer, World, request};

#[derive(Deserialize)]
struct Case {
    name: String,
    method: String,
    path: String,
    body: Option<Value>,
    raw: Option<String>,
    status: u16,
    response: Option<Value>,
    here: Option<Here>,
}

/// Another answer, on purpose.
#[derive(Deserialize)]
struct Here {
    status: u16,
    why: String,
}

/// What is wrong with `got`, when `like` has the wanted shape: the same members of the same
/// types.
fn unlike(got: &Value, like: &Value, at: &str) -> Option<String> {
    match (got, like) {
        (Value::Object(got), Value::Object(like)) => {
            if let Some(extra) = got.keys().find(|k| !like.contains_key(*k)) {
                return Some(format!("{at}: {extra} is new"));
            }
            like.iter().find_map(|(key, like)| match got.get(key) {
                None => Some(format!("{at}: {key} is missing")),
                Some(got) => unlike(got, like, &format!("{at}.{key}")),
            })
        }
        (Value::Array(got), Value::Array(like)) => {
            if got.len() != like.len() {
                return Some(format!("{at}: {} items, not {}", got.len(), like.len()));
            }
            let both = got.iter().zip(like).enumerate();
            both.into_iter()
                .find_map(|(i, (got, like))| unlike(got, like, &format!("{at}[{i}]")))
        }
        (Value::String(_), Value::String(_))
        | (Value::Number(_), Value::Number(_))
        | (Value::Null, Value::Null) => None,
        (got, like) => (got != like).then(|| format!("{at}: {got}, not like {like}")),
    }
}

/// Whether all members of `part` are in `whole`.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(key, part)| whole.get(key).is_some_and(|whole| contains(whole, part))),
        (whole, part) => whole == part,
    }
}

async fn ask(case: &Case) -> (Answer, String) {
    let w = World::new().await;
    let session = w.session().await;
    let fill = |text: &str, message: &str, part: &str| {
        text.replace("{session}", &session)
            .replace("{message}", message)
            .replace("{part}", part)
    };
    let (message, part) = if case.path.contains("{message}") {
        w.note(&session, "a note").await
    } else {
        Default::default()
    };
    let body = case
        .body
        .as_ref()
        .map(Value::to_string)
        .or(case.raw.clone());
    let body = body.map(|body| fill(&body, &message, &part));
    let path = fill(&case.path, &message, &part);
    let like = case
        .response
        .as_ref()
        .map(Value::to_string)
        .unwrap_or_default();
    let answer = w.send(request(&case.method, &path, body)).await;
    (answer, fill(&like, &message, &part))
}

fn wrong(case: &Case, answer: &Answer, like: &str) -> Option<String> {
    let wanted = case.here.as_ref().map_or(case.status, |here| here.status);
    if answer.status != wanted {
        let why = case.here.as_ref().map_or("", |here| &here.why);
        return Some(format!("status {}, not {wanted} {why}", answer.status));
    }
    if answer.headers["content-type"] != "application/json" {
        return Some("not JSON".into());
    }
    if case.response.is_none() {
        let says = answer.json()["data"]["message"].is_string();
        return (!says).then(|| "no message".into());
    }
    let like: Value = serde_json::from_str(like).unwrap();
    if wanted == StatusCode::OK {
        return unlike(&answer.json(), &like, "");
    }
    let got = answer.json();
    (!contains(&got, &like)).then(|| format!("{got} is not {like}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_requests_are_answered_as_recorded() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../fixtures/cases.json")).unwrap();
    let mut failed = Vec::new();
    for case in &cases {
        let (answer, like) = ask(case).await;
        if let Some(wrong) = wrong(case, &answer, &like) {
            failed.push(format!("{}: {wrong}", case.name));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
