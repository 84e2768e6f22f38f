//! Sessions for the tests of this crate.

use serde_json::{Value, json};
use sessiond_model::{
    MessageDoc, MessageId, PartDoc, PartId, Session, SessionId, Status, Timestamp,
};

/// 2026-01-02 03:04 UTC.
const AT: i64 = 1_767_323_040_000;

pub(crate) fn session() -> Session {
    Session {
        id: SessionId::trusted("ses_x"),
        slug: "quiet-cat".into(),
        project_id: sessiond_model::ProjectId::new("global"),
        directory: "/srv/work".into(),
        path: None,
        parent_id: None,
        fork: None,
        title: "Fix <the> \"parser\"".into(),
        version: "1".into(),
        agent: None,
        model: None,
        metadata: None,
        permission: None,
        revert: None,
        summary: Some(sessiond_model::DiffSummary {
            additions: 3,
            deletions: 1,
            files: 2,
        }),
        share_url: None,
        created_at: Timestamp(AT),
        updated_at: Timestamp(AT),
        archived_at: None,
        deleted_at: None,
        status: Status::idle(Timestamp(AT)),
        cost: 0.0,
        tokens: sessiond_model::Tokens::default(),
        health: sessiond_model::Health::Ok,
        revision: 1,
    }
}

pub(crate) fn doc(position: u64, role: &str, parts: &[Value]) -> MessageDoc {
    let at = AT + position.cast_signed() * 60_000;
    let info = match role {
        "user" => json!({
            "role": "user", "time": {"created": at}, "agent": "build",
            "model": {"providerID": "demo", "modelID": "m1"},
        }),
        _ => json!({
            "role": "assistant", "time": {"created": at, "completed": at + 1}, "parentID": "msg_1",
            "modelID": "m1", "providerID": "demo", "mode": "build", "agent": "build",
            "path": {"cwd": "/srv/work", "root": "/"}, "cost": 0.0,
            "tokens": {"input": 0, "output": 0, "reasoning": 0, "cache": {"read": 0, "write": 0}},
        }),
    };
    let part = |(n, body): (usize, &Value)| PartDoc {
        id: PartId::trusted(&format!("prt_{position}_{n:03}")),
        body: body.to_string(),
    };
    MessageDoc {
        id: MessageId::trusted(&format!("msg_{position}")),
        session_id: SessionId::trusted("ses_x"),
        position,
        created: sessiond_model::Seq(1),
        changed: sessiond_model::Seq(1),
        info: info.to_string(),
        parts: parts.iter().enumerate().map(part).collect(),
    }
}

pub(crate) fn tool_part(status: &str, state: &Value) -> Value {
    let mut state = state.clone();
    state["status"] = status.into();
    state["time"] = json!({"start": 1, "end": 2});
    json!({"type": "tool", "callID": "c", "tool": "edit", "state": state})
}
