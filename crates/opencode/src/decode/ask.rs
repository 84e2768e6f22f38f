//! Answers to permission requests and questions.

use serde_json::Value;
use sessiond_model::PermissionReply;

use super::{Decoded, Node};

/// `{reply, message?}`; the older route calls the answer `response`.
pub(crate) fn permission_reply(
    body: Option<Value>,
    key: &str,
) -> Decoded<(PermissionReply, Option<String>)> {
    reply_of(body, key, "\"once\" | \"always\" | \"reject\"")
}

/// The same in `/api/*`, where the words have a name.
pub(crate) fn permission_reply_v2(
    body: Option<Value>,
) -> Decoded<(PermissionReply, Option<String>)> {
    reply_of(body, "reply", "PermissionV2.Reply")
}

fn reply_of(
    body: Option<Value>,
    key: &str,
    words: &str,
) -> Decoded<(PermissionReply, Option<String>)> {
    let mut f = Node::root(body).object()?;
    let reply = f.take(key).word(
        words,
        &[
            ("once", PermissionReply::Once),
            ("always", PermissionReply::Always),
            ("reject", PermissionReply::Reject),
        ],
    )?;
    Ok((reply, f.take("message").optional(Node::string)?))
}

/// `{answers: [["label"]]}`.
pub(crate) fn answers(body: Option<Value>) -> Decoded<Vec<Vec<String>>> {
    let mut f = Node::root(body).object()?;
    f.take("answers")
        .list("array", |one| one.list("QuestionAnswer", Node::string))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusals_are_those_of_opencode() {
        assert_eq!(
            permission_reply(Some(json!({"reply": "zz"})), "reply")
                .unwrap_err()
                .to_string(),
            "Expected \"once\" | \"always\" | \"reject\", got \"zz\"\n  at [\"reply\"]"
        );
        assert_eq!(
            answers(Some(json!({}))).unwrap_err().to_string(),
            "Missing key\n  at [\"answers\"]"
        );
        assert_eq!(
            answers(Some(json!({"answers": [5]})))
                .unwrap_err()
                .to_string(),
            "Expected QuestionAnswer, got 5\n  at [\"answers\"][0]"
        );
        assert_eq!(
            permission_reply(Some(json!({"response": "once"})), "response").unwrap(),
            (PermissionReply::Once, None)
        );
    }
}
