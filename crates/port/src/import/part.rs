use serde_json::{Map, Value, json};
use sessiond_model::{MessageId, Part, PartBody, PartId, SessionId, Tokens};

use super::{Unreadable, drop_nulls, lost, make_whole, no_tokens, or_insert, text};
use crate::transcript::OPAQUE;

/// Largest token count and cost of one step: totals are kept as sums.
const MAX_COUNT: u64 = 1_000_000_000_000;

pub(super) struct ReadPart {
    pub(super) part: Part,
    pub(super) lost: Vec<String>,
}

/// A part. What is no part that we know is kept as it is.
pub(super) fn part(
    session: &SessionId,
    message: &MessageId,
    given: &Value,
) -> Result<ReadPart, Unreadable> {
    let mut map = given
        .as_object()
        .cloned()
        .ok_or_else(|| Unreadable::new(format!("a part of {message}"), &"it is not an object"))?;
    let id = text(&map, "id").unwrap_or_default();
    let id = PartId::parse(id).map_err(|e| Unreadable::new(format!("part {id:?}"), &e))?;
    for key in ["id", "sessionID", "messageID"] {
        map.remove(key);
    }
    let raw = || Value::Object(map.clone()).to_string();
    let body = match read(&map) {
        Some(body) => body,
        None => PartBody::Opaque { raw: raw() },
    };
    let lost = match &body {
        PartBody::Opaque { .. } => Vec::new(),
        known => {
            drop_nulls(&mut map);
            let kept = serde_json::to_value(known).unwrap_or_default();
            lost(text(&map, "type").unwrap_or("part"), &map, &kept)
        }
    };
    Ok(ReadPart {
        part: Part {
            id,
            session_id: session.clone(),
            message_id: message.clone(),
            body,
        },
        lost,
    })
}

fn read(given: &Map<String, Value>) -> Option<PartBody> {
    let mut map = given.clone();
    drop_nulls(&mut map);
    if let Some(time) = map.get_mut("time") {
        make_whole(time);
    }
    match text(&map, "type")? {
        // Not a type of OpenCode's: nobody else may say what we could not read.
        "x-opaque" => return None,
        "text" => {
            if let Some(raw) = text(&map, "text").and_then(|t| t.strip_prefix(OPAQUE))
                && map.get("ignored") == Some(&Value::Bool(true))
            {
                return Some(PartBody::Opaque { raw: raw.into() });
            }
        }
        "reasoning" => or_insert(&mut map, "time", || json!({"start": 0, "end": 0})),
        "compaction" => or_insert(&mut map, "auto", || false.into()),
        "step-finish" => {
            or_insert(&mut map, "reason", || "unknown".into());
            or_insert(&mut map, "cost", || 0.into());
            or_insert(&mut map, "tokens", no_tokens);
            map.get_mut("tokens").into_iter().for_each(make_whole);
        }
        "tool" => tool(map.get_mut("state")?.as_object_mut()?),
        _ => {}
    }
    let body: PartBody = serde_json::from_value(Value::Object(map)).ok()?;
    match &body {
        PartBody::StepFinish { cost, tokens, .. } if !countable(*cost, tokens) => None,
        _ => Some(body),
    }
}

/// The state of a tool call.
fn tool(state: &mut Map<String, Value>) {
    drop_nulls(state);
    if state.get("input").is_none_or(|input| !input.is_object()) {
        let given = state.remove("input");
        let input = given.map_or_else(|| json!({}), |value| json!({"input": value}));
        state.insert("input".into(), input);
    }
    if let Some(time) = state.get_mut("time") {
        make_whole(time);
    }
    match text(state, "status") {
        Some("pending") => or_insert(state, "raw", || "".into()),
        Some("completed") => {
            or_insert(state, "title", || "".into());
            or_insert(state, "metadata", || json!({}));
            or_insert(state, "output", || "".into());
        }
        _ => {}
    }
}

/// Whether many such counts can still be added up.
fn countable(cost: f64, t: &Tokens) -> bool {
    let counts = [t.input, t.output, t.reasoning, t.cache.read, t.cache.write];
    cost.is_finite()
        && cost.abs() <= MAX_COUNT as f64
        && counts
            .iter()
            .chain(&t.total)
            .all(|count| *count <= MAX_COUNT)
}
