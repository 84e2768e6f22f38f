use serde_json::{Map, Value, json};
use sessiond_model::{Message, MessageError, MessageId, MessageInfo, Part, Session};

use super::{Unreadable, drop_nulls, lost, make_whole, no_tokens, or_insert, part, text};

/// A message as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadMessage {
    /// The message.
    pub message: Message,
    /// Its parts, in the order of their ids.
    pub parts: Vec<Part>,
    /// Parts that could not be taken.
    pub skipped: Vec<Unreadable>,
    /// Fields that we have no place for, as `text.extra`.
    pub lost: Vec<String>,
}

/// A message of a session from what OpenCode says of it: `{info, parts}`.
///
/// # Errors
/// When it is not a message of a person or an agent.
pub fn message(session: &Session, of: &Value) -> Result<ReadMessage, Unreadable> {
    let info = of.get("info").and_then(Value::as_object);
    let mut info = info
        .cloned()
        .ok_or_else(|| Unreadable::new("a message", &"it has no info"))?;
    let what = format!("message {}", text(&info, "id").unwrap_or("?"));
    let fault = |reason: &dyn ToString| Unreadable::new(what.clone(), &reason.to_string());
    let id = text(&info, "id").ok_or_else(|| fault(&"it has no id"))?;
    let id = MessageId::parse(id).map_err(|e| fault(&e))?;
    drop_nulls(&mut info);
    for key in ["id", "sessionID"] {
        info.remove(key);
    }
    let error = info.get("error").cloned();
    let mut typed = completed(info.clone(), session, &id);
    let error_of = typed.remove("error");
    let mut read: MessageInfo =
        serde_json::from_value(Value::Object(typed)).map_err(|e| fault(&e))?;
    if let (MessageInfo::Assistant(a), Some(error)) = (&mut read, error_of) {
        a.error = Some(read_error(&error));
    }
    let kept = serde_json::to_value(&read).map_err(|e| fault(&e))?;
    let mut lost = lost(read.role(), &info, &kept);
    if error.is_some() && kept.get("error") != error.as_ref() {
        lost.push(format!("{}.error", read.role()));
    }
    let mut out = ReadMessage {
        message: Message {
            id: id.clone(),
            session_id: session.id.clone(),
            info: read,
        },
        parts: Vec::new(),
        skipped: Vec::new(),
        lost,
    };
    for given in of
        .get("parts")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        match part::part(&session.id, &id, given) {
            Ok(read) => {
                out.parts.push(read.part);
                out.lost.extend(read.lost);
            }
            Err(e) => out.skipped.push(e),
        }
    }
    out.parts.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(out)
}

/// Puts in what older versions left out.
fn completed(
    mut info: Map<String, Value>,
    session: &Session,
    id: &MessageId,
) -> Map<String, Value> {
    let created = json!({"created": session.created_at});
    or_insert(&mut info, "time", || created);
    for key in ["time", "tokens"] {
        if let Some(value) = info.get_mut(key) {
            make_whole(value);
        }
    }
    if text(&info, "role") == Some("assistant") {
        let named = |key| text(&info, key).map(str::to_owned);
        let mode = named("mode").or_else(|| named("agent"));
        let mode = mode.unwrap_or_else(|| "build".into());
        let agent = named("agent").unwrap_or_else(|| mode.clone());
        info.insert("mode".into(), mode.into());
        info.insert("agent".into(), agent.into());
        or_insert(&mut info, "parentID", || id.as_str().into());
        or_insert(&mut info, "modelID", || "unknown".into());
        or_insert(&mut info, "providerID", || "unknown".into());
        or_insert(
            &mut info,
            "path",
            || json!({"cwd": session.directory, "root": session.directory}),
        );
        or_insert(&mut info, "cost", || 0.into());
        or_insert(&mut info, "tokens", no_tokens);
        return info;
    }
    or_insert(&mut info, "agent", || "build".into());
    or_insert(
        &mut info,
        "model",
        || json!({"providerID": "unknown", "modelID": "unknown"}),
    );
    if let Some(diffs) = info
        .get_mut("summary")
        .and_then(|s| s.get_mut("diffs"))
        .and_then(Value::as_array_mut)
    {
        // Before there were patches, a diff was the whole file, twice.
        diffs.retain(|d| serde_json::from_value::<sessiond_model::FileDiff>(d.clone()).is_ok());
    }
    if info.get("summary").is_some_and(|s| !s.is_object()) {
        info.remove("summary");
    }
    info
}

/// An error as we know it when nothing is lost by that; else as it came.
fn read_error(error: &Value) -> MessageError {
    let known: Option<MessageError> = serde_json::from_value(error.clone()).ok();
    let same = known.filter(|k| serde_json::to_value(k).is_ok_and(|v| v == *error));
    same.unwrap_or_else(|| MessageError::Other {
        name: error
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or("UnknownError")
            .to_owned(),
        data: error
            .get("data")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use sessiond_model::{PartBody, PartDoc, ToolState};

    use super::*;
    use crate::{message_with_parts, session};

    fn of() -> Session {
        let info = json!({"id": "ses_1", "directory": "/p", "time": {"created": 1, "updated": 9}});
        session(&info).unwrap().session
    }

    fn user(parts: &Value) -> Value {
        json!({"info": {"id": "msg_1", "sessionID": "ses_1", "role": "user", "time": {"created": 1},
            "agent": "build", "model": {"providerID": "p", "modelID": "m", "variant": "high"},
            "system": "s", "tools": {"bash": false}}, "parts": parts})
    }

    fn part(body: &Value) -> Value {
        let mut part = json!({"id": "prt_1", "sessionID": "ses_1", "messageID": "msg_1"});
        let into = part.as_object_mut().unwrap();
        into.extend(body.as_object().unwrap().clone());
        part
    }

    /// Each kind of part as OpenCode writes it comes out as it went in.
    #[test]
    fn all_kinds_of_parts_are_kept_whole() {
        let time = json!({"start": 1, "end": 2});
        let tokens = json!({"total": 7, "input": 1, "output": 2, "reasoning": 0,
            "cache": {"read": 3, "write": 1}});
        let call = |state: Value| json!({"type": "tool", "callID": "c", "tool": "bash", "state": state, "metadata": {"k": 1}});
        let kinds = [
            json!({"type": "text", "text": "t", "synthetic": true, "time": time, "metadata": {"a": 1}}),
            json!({"type": "reasoning", "text": "r", "time": time}),
            json!({"type": "file", "mime": "text/plain", "filename": "a", "url": "file:///a",
                "source": {"type": "file", "path": "a", "text": {"value": "@a", "start": 0, "end": 2}}}),
            json!({"type": "agent", "name": "x", "source": {"value": "@x", "start": 0, "end": 2}}),
            json!({"type": "subtask", "prompt": "p", "description": "d", "agent": "a",
                "model": {"providerID": "p", "modelID": "m"}, "command": "c"}),
            json!({"type": "step-start", "snapshot": "abc"}),
            json!({"type": "step-finish", "reason": "stop", "snapshot": "abc", "cost": 0.25, "tokens": tokens}),
            json!({"type": "snapshot", "snapshot": "abc"}),
            json!({"type": "patch", "hash": "abc", "files": ["/p/a"]}),
            json!({"type": "retry", "attempt": 1, "error": {"name": "APIError", "data": {"message": "m",
                "isRetryable": true}}, "time": {"created": 1}}),
            json!({"type": "compaction", "auto": true, "overflow": false, "tail_start_id": "msg_1"}),
            call(json!({"status": "pending", "input": {}, "raw": ""})),
            call(
                json!({"status": "running", "input": {"a": 1}, "title": "t", "metadata": {}, "time": {"start": 1}}),
            ),
            call(
                json!({"status": "completed", "input": {"a": 1}, "output": "o", "title": "t",
                "metadata": {"exit": 0}, "time": time, "attachments": [{"type": "file"}]}),
            ),
            call(json!({"status": "error", "input": {}, "error": "e", "time": time})),
        ];
        for kind in kinds {
            let given = user(&json!([part(&kind)]));
            let read = message(&of(), &given).unwrap();
            assert_eq!(
                (&read.lost[..], &read.skipped[..]),
                (&[][..], &[][..]),
                "{kind}"
            );
            assert!(
                !matches!(read.parts[0].body, PartBody::Opaque { .. }),
                "{kind}"
            );
            let stored = sessiond_model::MessageDoc {
                id: read.message.id.clone(),
                session_id: read.message.session_id.clone(),
                position: 1,
                created: sessiond_model::Seq(1),
                changed: sessiond_model::Seq(1),
                info: serde_json::to_string(&read.message.info).unwrap(),
                parts: vec![PartDoc {
                    id: read.parts[0].id.clone(),
                    body: serde_json::to_string(&read.parts[0].body).unwrap(),
                }],
            };
            let out: Value = serde_json::from_slice(&message_with_parts(&stored)).unwrap();
            assert_eq!(out, given, "{kind}");
        }
    }

    #[test]
    fn older_messages_are_completed() {
        let read = message(
            &of(),
            &json!({"info": {"id": "msg_1", "role": "assistant",
            "time": {"created": 1.0, "completed": null}, "mode": "plan"}, "parts": [
            {"id": "prt_2", "type": "tool", "callID": "c", "tool": "t",
                "state": {"status": "completed", "input": null, "time": {"start": 1.5, "end": 2}}},
            {"id": "prt_1", "type": "text", "text": "t", "time": null},
            {"id": "bad", "type": "text", "text": "t"}]}),
        )
        .unwrap();
        let MessageInfo::Assistant(info) = &read.message.info else {
            panic!("{read:?}")
        };
        assert_eq!(
            (info.agent.as_str(), info.path.cwd.as_str()),
            ("plan", "/p")
        );
        assert_eq!(info.time.completed, None);
        assert_eq!(read.parts.len(), 2, "{read:?}");
        assert_eq!(read.skipped[0].what, "part \"bad\"");
        let PartBody::Tool(tool) = &read.parts[1].body else {
            panic!("{read:?}")
        };
        assert!(matches!(&tool.state, ToolState::Completed { output, .. } if output.is_empty()));
    }

    #[test]
    fn errors_keep_what_we_do_not_know() {
        let error = json!({"name": "APIError", "data": {"message": "m", "isRetryable": false,
            "statusCode": 500, "responseHeaders": {"x": "y"}}});
        for error in [error, json!({"name": "NewError", "data": {"a": [1]}})] {
            let read = message(
                &of(),
                &json!({"info": {"id": "msg_1", "role": "assistant",
                "time": {"created": 1}, "error": error}, "parts": []}),
            )
            .unwrap();
            let out = serde_json::to_value(&read.message).unwrap();
            assert_eq!((&out["error"], &read.lost[..]), (&error, &[][..]));
        }
    }

    #[test]
    fn what_is_no_message_is_named() {
        for (given, named) in [
            (json!({}), "a message"),
            (json!({"info": {"role": "user"}}), "message ?"),
            (
                json!({"info": {"id": "msg_1", "role": "robot"}}),
                "message msg_1",
            ),
            (
                json!({"info": {"id": "ses_1", "role": "user"}}),
                "message ses_1",
            ),
        ] {
            assert_eq!(message(&of(), &given).unwrap_err().what, named);
        }
    }

    #[test]
    fn counts_that_can_not_be_added_up_are_not_counted() {
        let huge =
            json!({"type": "step-finish", "reason": "stop", "cost": 1e300, "tokens": no_tokens()});
        let read = message(&of(), &user(&json!([part(&huge)]))).unwrap();
        assert!(matches!(read.parts[0].body, PartBody::Opaque { .. }));
    }
}
