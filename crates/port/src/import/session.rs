use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sessiond_model::{
    Health, PermissionRule, ProjectId, Revert, Session, SessionId, Status, Timestamp, Tokens,
};

use super::{Unreadable, drop_nulls, make_whole, text, whole};

/// Longest directory, in bytes.
const MAX_PATH: usize = 4096;

/// A session as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadSession {
    /// The session, idle, without cost and tokens: those are added up from its steps.
    pub session: Session,
    /// What was left out, in sentences.
    pub notes: Vec<String>,
}

/// A session from what OpenCode says of it (`info` of an export).
///
/// Its share is left out, since its link leads elsewhere, and of a revert marker the snapshot,
/// which is OpenCode's own.
///
/// # Errors
/// When it has no usable id or directory.
pub fn session(info: &Value) -> Result<ReadSession, Unreadable> {
    let what = format!(
        "session {}",
        info.get("id").and_then(Value::as_str).unwrap_or("?")
    );
    let fault = |reason: &dyn ToString| Unreadable::new(what.clone(), &reason.to_string());
    let mut map = info
        .as_object()
        .cloned()
        .ok_or_else(|| fault(&"it is not an object"))?;
    drop_nulls(&mut map);
    let id = text(&map, "id").ok_or_else(|| fault(&"it has no id"))?;
    let id = SessionId::parse(id).map_err(|e| fault(&e))?;
    let directory = text(&map, "directory")
        .filter(|d| d.starts_with('/') && d.len() <= MAX_PATH && !d.contains('\0'))
        .ok_or_else(|| {
            fault(&format!(
                "it has no absolute directory of at most {MAX_PATH} bytes"
            ))
        })?
        .to_owned();
    let mut notes = Vec::new();
    let parent_id = match text(&map, "parentID").map(SessionId::parse) {
        Some(Err(e)) => {
            notes.push(format!("{id}: its parent is left out: {e}"));
            None
        }
        parent => parent.and_then(Result::ok),
    };
    let times = map.get("time").and_then(Value::as_object);
    let time = |key: &str| times.and_then(|t| t.get(key)).and_then(millis);
    let created_at = time("created").unwrap_or_default();
    let updated_at = time("updated").unwrap_or(created_at).max(created_at);
    let archived_at = time("archived").filter(|at| *at != Timestamp(0));
    if map.contains_key("share") {
        notes.push(format!("{id}: it was shared by OpenCode; it is not here"));
    }
    let revert: Option<Revert> = optional(&map, "revert", &id, &mut notes);
    if revert.is_some() {
        notes.push(format!(
            "{id}: it is reverted; `unrevert` shows its messages again but brings no files back"
        ));
    }
    let session = Session {
        slug: text(&map, "slug").map_or_else(|| fallback_slug(&id), str::to_owned),
        project_id: text(&map, "projectID").map_or_else(ProjectId::global, ProjectId::new),
        directory,
        path: text(&map, "path").map(str::to_owned),
        parent_id,
        fork: None,
        title: text(&map, "title").unwrap_or("Imported session").to_owned(),
        version: text(&map, "version").unwrap_or("unknown").to_owned(),
        agent: text(&map, "agent").map(str::to_owned),
        model: optional(&map, "model", &id, &mut notes),
        metadata: map
            .get("metadata")
            .and_then(Value::as_object)
            .filter(|m| !m.is_empty())
            .cloned(),
        permission: permission(&map, &id, &mut notes),
        revert: revert.map(|r| Revert {
            snapshot: None,
            ..r
        }),
        summary: optional(&map, "summary", &id, &mut notes),
        share_url: None,
        created_at,
        updated_at,
        archived_at,
        deleted_at: None,
        status: Status::idle(updated_at),
        cost: 0.0,
        tokens: Tokens::default(),
        health: Health::Ok,
        revision: 1,
        id,
    };
    Ok(ReadSession { session, notes })
}

fn millis(value: &Value) -> Option<Timestamp> {
    whole(value).map(|ms| Timestamp(i64::try_from(ms).unwrap_or(i64::MAX)))
}

fn optional<T: DeserializeOwned>(
    map: &Map<String, Value>,
    key: &str,
    id: &SessionId,
    notes: &mut Vec<String>,
) -> Option<T> {
    let mut value = map.get(key)?.clone();
    make_whole(&mut value);
    match serde_json::from_value(value) {
        Ok(value) => Some(value),
        Err(e) => {
            notes.push(format!("{id}: its {key} is left out: {e}"));
            None
        }
    }
}

/// Rules that can't be read are left out: none of them may turn into another one.
fn permission(
    map: &Map<String, Value>,
    id: &SessionId,
    notes: &mut Vec<String>,
) -> Option<Vec<PermissionRule>> {
    let rules = map.get("permission")?.as_array()?;
    let read: Vec<PermissionRule> = rules
        .iter()
        .filter_map(|rule| serde_json::from_value(rule.clone()).ok())
        .collect();
    if read.len() < rules.len() {
        let left = rules.len() - read.len();
        notes.push(format!("{id}: {left} permission rules are left out"));
    }
    Some(read)
}

fn fallback_slug(id: &SessionId) -> String {
    let random = id
        .as_str()
        .bytes()
        .fold(0u64, |sum, byte| sum.wrapping_mul(31) + u64::from(byte));
    sessiond_model::rules::slug(random)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::SessionDto;

    #[test]
    fn what_we_write_we_read() {
        let info = json!({"id": "ses_1", "slug": "calm-otter", "projectID": "abc", "directory": "/p",
            "path": "", "parentID": "ses_0", "cost": 0.0, "tokens": super::super::no_tokens(),
            "title": "T", "agent": "build", "model": {"id": "m", "providerID": "p", "variant": "high"},
            "version": "1.18.33", "metadata": {"k": [1]}, "time": {"created": 1, "updated": 2, "archived": 3},
            "permission": [{"permission": "edit", "pattern": "*", "action": "deny"}],
            "summary": {"additions": 1, "deletions": 2, "files": 3},
            "revert": {"messageID": "msg_1", "partID": "prt_1", "diff": "d"}});
        let read = session(&info).unwrap();
        assert_eq!(
            serde_json::to_value(SessionDto::of(&read.session)).unwrap(),
            info
        );
    }

    #[test]
    fn old_and_odd_ones_are_read() {
        let read = session(&json!({"id": "ses_1", "directory": "/p", "parentID": null,
            "time": {"created": 1.0, "updated": 2.7, "archived": 1.5},
            "share": {"url": "https://opncd.ai/s/1"}, "model": "gpt",
            "permission": [{"permission": "edit", "pattern": "*", "action": "maybe"}]}))
        .unwrap();
        let s = &read.session;
        assert_eq!(
            (s.created_at, s.updated_at, s.archived_at),
            (Timestamp(1), Timestamp(2), Some(Timestamp(1)))
        );
        assert_eq!((s.permission.as_deref(), &s.model), (Some(&[][..]), &None));
        assert_eq!(read.notes.len(), 3, "{:?}", read.notes);
        for bad in [
            json!(null),
            json!({"id": "x", "directory": "/p"}),
            json!({"id": "ses_1", "directory": "p"}),
        ] {
            assert!(session(&bad).is_err());
        }
    }
}
