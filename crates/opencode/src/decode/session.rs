//! Bodies of `POST /session` and `PATCH /session/{id}`.

use serde_json::Value;
use sessiond_engine::{ForkOptions, NewSession, SessionUpdate};
use sessiond_model::{MessageId, ModelRef, PermissionAction, PermissionRule, SessionId, Timestamp};

use super::{Decoded, Node};

/// The body of `POST /session`; none is an empty one. The second value is the workspace.
pub(crate) fn new_session(body: Option<Value>) -> Decoded<(NewSession, Option<String>)> {
    let Some(body) = body else {
        return Ok(Default::default());
    };
    let mut f = Node::root(Some(body)).object()?;
    let new = NewSession {
        parent_id: f.take("parentID").optional(|n| n.id(SessionId::parse))?,
        title: f.take("title").optional(Node::string)?,
        agent: f.take("agent").optional(Node::string)?,
        model: f.take("model").optional(session_model)?,
        metadata: f.take("metadata").optional(|n| n.map("object"))?,
        permission: f.take("permission").optional(rules)?,
        ..NewSession::default()
    };
    let workspace = f.take("workspaceID").optional(Node::string)?;
    Ok((new, workspace))
}

/// The body of `POST /session/{id}/fork`; none is an empty one.
pub(crate) fn fork(body: Option<Value>) -> Decoded<ForkOptions> {
    let Some(body) = body else {
        return Ok(ForkOptions::default());
    };
    let mut f = Node::root(Some(body)).object()?;
    Ok(ForkOptions {
        before: f.take("messageID").optional(|n| n.id(MessageId::parse))?,
        ..ForkOptions::default()
    })
}

/// The body of `PATCH /session/{id}`; `None` when it changes nothing.
pub(crate) fn session_update(body: Option<Value>) -> Decoded<Option<SessionUpdate>> {
    let mut f = Node::root(body).object()?;
    let time = f.take("time").optional(Node::object)?;
    let archived = match time {
        Some(mut time) if time.has("archived") => {
            let at = time.take("archived").optional(Node::number)?;
            // Nothing, or the beginning of time: not archived.
            Some(at.filter(|at| *at != 0.0))
        }
        _ => None,
    };
    let update = SessionUpdate {
        title: f.take("title").optional(Node::string)?,
        metadata: f.take("metadata").optional(|n| n.map("object"))?,
        permission_append: f.take("permission").optional(rules)?,
        #[expect(clippy::cast_possible_truncation, reason = "saturates")]
        archived_at: archived.map(|at| at.map(|at| Timestamp(at as i64))),
        ..SessionUpdate::default()
    };
    let changes = update.title.is_some()
        || update.metadata.is_some()
        || update.permission_append.is_some()
        || update.archived_at.is_some();
    Ok(changes.then_some(update))
}

/// `{id, providerID, variant?}`.
pub(super) fn session_model(node: Node) -> Decoded<ModelRef> {
    let mut f = node.object_of("Model.Ref")?;
    Ok(ModelRef {
        id: f.take("id").string()?,
        provider_id: f.take("providerID").string()?,
        variant: f.take("variant").optional(Node::string)?,
    })
}

pub(super) fn rules(node: Node) -> Decoded<Vec<PermissionRule>> {
    node.list("PermissionRuleset", |rule| {
        let mut f = rule.object()?;
        Ok(PermissionRule {
            permission: f.take("permission").string()?,
            pattern: f.take("pattern").string()?,
            action: f.take("action").word(
                "PermissionAction",
                &[
                    ("allow", PermissionAction::Allow),
                    ("deny", PermissionAction::Deny),
                    ("ask", PermissionAction::Ask),
                ],
            )?,
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(body: Value) -> String {
        session_update(Some(body)).unwrap_err().to_string()
    }

    #[test]
    fn refusals_are_those_of_opencode() {
        assert_eq!(
            refusal(json!({"permission": [{"permission": 5}]})),
            "Expected string, got 5\n  at [\"permission\"][0][\"permission\"]"
        );
        assert_eq!(
            refusal(json!({"permission": [{"permission": "a", "pattern": "*", "action": "zz"}]})),
            "Expected PermissionAction, got \"zz\"\n  at [\"permission\"][0][\"action\"]"
        );
        assert_eq!(
            refusal(json!({"permission": {}})),
            "Expected PermissionRuleset | null, got {}\n  at [\"permission\"]"
        );
        assert_eq!(
            refusal(json!({"time": {"archived": "x"}})),
            "Expected number | null, got \"x\"\n  at [\"time\"][\"archived\"]"
        );
        assert_eq!(
            session_update(None).unwrap_err().to_string(),
            "Expected object, got undefined"
        );
    }

    #[test]
    fn nothing_given_changes_nothing() {
        for body in [
            json!({}),
            json!({"title": null, "foo": 1}),
            json!({"time": {}}),
            json!({"time": null}),
        ] {
            assert!(session_update(Some(body)).unwrap().is_none());
        }
    }

    #[test]
    fn archived_null_and_zero_take_out_of_the_archive() {
        for (archived, wanted) in [
            (json!(5), Some(Timestamp(5))),
            (json!(0), None),
            (json!(null), None),
        ] {
            let update = session_update(Some(json!({"time": {"archived": archived}})));
            assert_eq!(update.unwrap().unwrap().archived_at, Some(wanted));
        }
        let update = session_update(Some(json!({"permission": []})))
            .unwrap()
            .unwrap();
        assert_eq!(update.permission_append, Some(Vec::new()));
    }

    #[test]
    fn a_new_session_needs_no_body() {
        let (new, workspace) = new_session(None).unwrap();
        assert!(new.title.is_none() && workspace.is_none());
        assert!(new_session(Some(Value::Null)).is_err());
        assert!(new_session(Some(json!({"parentID": "xxx"}))).is_err());
        let (new, _) = new_session(Some(
            json!({"model": {"id": "m", "providerID": "p"}, "id": "ses_x"}),
        ))
        .unwrap();
        assert_eq!(new.model.unwrap().provider_id, "p");
        assert!(new.id.is_none(), "a client can't choose the id here");
    }
}
