//! Bodies of `/tui/*`: what a user interface is to do.

use serde_json::Value;
use sessiond_engine::{NoticeBody, ToastVariant};
use sessiond_model::SessionId;

use super::{Decoded, Fields, Node};

/// Longest text for a prompt, a toast or a command, in bytes.
const MAX_TEXT: usize = 64 * 1024;
/// How long a toast is seen when nobody says, in milliseconds.
const TOAST_DURATION: u64 = 5_000;
/// Names of commands before 1.0, and what they are called now.
const OLD_NAMES: [(&str, &str); 13] = [
    ("session_new", "session.new"),
    ("session_share", "session.share"),
    ("session_interrupt", "session.interrupt"),
    ("session_compact", "session.compact"),
    ("messages_page_up", "session.page.up"),
    ("messages_page_down", "session.page.down"),
    ("messages_line_up", "session.line.up"),
    ("messages_line_down", "session.line.down"),
    ("messages_half_page_up", "session.half.page.up"),
    ("messages_half_page_down", "session.half.page.down"),
    ("messages_first", "session.first"),
    ("messages_last", "session.last"),
    ("agent_cycle", "agent.cycle"),
];

/// `{text}`
pub(crate) fn append(body: Option<Value>) -> Decoded<NoticeBody> {
    appended(&mut Node::root(body).object()?)
}

/// `{command}`, by its old or its present name.
pub(crate) fn execute(body: Option<Value>) -> Decoded<NoticeBody> {
    let node = Node::root(body).object()?.take("command");
    let wrong = node.refuse("Expected the name of a command, such as \"session.list\"".into());
    let name = bounded(node)?;
    let known = OLD_NAMES.iter().find(|(old, _)| *old == name);
    match known {
        Some((_, new)) => Ok(NoticeBody::InterfaceCommand((*new).to_owned())),
        None if name.contains('.') => Ok(NoticeBody::InterfaceCommand(name)),
        None => Err(wrong),
    }
}

/// `{title?, message, variant, duration?}`
pub(crate) fn toast(body: Option<Value>) -> Decoded<NoticeBody> {
    toasted(&mut Node::root(body).object()?)
}

/// `{sessionID}`
pub(crate) fn select(body: Option<Value>) -> Decoded<SessionId> {
    Node::root(body)
        .object()?
        .take("sessionID")
        .id(SessionId::parse)
}

/// One of these events: `{type, properties}`.
pub(crate) fn publish(body: Option<Value>) -> Decoded<NoticeBody> {
    let mut f = Node::root(body).object()?;
    let kind = f.take("type").word(
        "\"tui.prompt.append\" | \"tui.command.execute\" | \"tui.toast.show\" | \"tui.session.select\"",
        &[
            ("tui.prompt.append", 0_u8),
            ("tui.command.execute", 1),
            ("tui.toast.show", 2),
            ("tui.session.select", 3),
        ],
    )?;
    let mut said = f.take("properties").object()?;
    match kind {
        0 => appended(&mut said),
        1 => bounded(said.take("command")).map(NoticeBody::InterfaceCommand),
        2 => toasted(&mut said),
        _ => said
            .take("sessionID")
            .id(SessionId::parse)
            .map(NoticeBody::SessionSelected),
    }
}

fn appended(f: &mut Fields) -> Decoded<NoticeBody> {
    bounded(f.take("text")).map(NoticeBody::PromptAppended)
}

fn toasted(f: &mut Fields) -> Decoded<NoticeBody> {
    Ok(NoticeBody::Toast {
        title: f.take("title").optional(bounded)?,
        message: bounded(f.take("message"))?,
        variant: f.take("variant").word(
            "\"info\" | \"success\" | \"warning\" | \"error\"",
            &[
                ("info", ToastVariant::Info),
                ("success", ToastVariant::Success),
                ("warning", ToastVariant::Warning),
                ("error", ToastVariant::Error),
            ],
        )?,
        duration: Some(
            f.take("duration")
                .optional(positive)?
                .unwrap_or(TOAST_DURATION),
        ),
    })
}

fn positive(node: Node) -> Decoded<u64> {
    let wrong = node.refuse("Expected an integer greater than 0".into());
    match node.count() {
        Ok(0) => Err(wrong),
        other => other,
    }
}

fn bounded(node: Node) -> Decoded<String> {
    let wrong = node.refuse(format!("Expected at most {MAX_TEXT} bytes"));
    let text = node.string()?;
    if text.len() > MAX_TEXT {
        return Err(wrong);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn commands_have_old_and_new_names() {
        let execute = |name: &str| execute(Some(json!({"command": name})));
        let command = |name: &str| Ok(NoticeBody::InterfaceCommand(name.into()));
        assert_eq!(execute("agent_cycle"), command("agent.cycle"));
        assert_eq!(execute("prompt.submit"), command("prompt.submit"));
        assert!(
            execute("nonsense")
                .unwrap_err()
                .to_string()
                .contains("[\"command\"]")
        );
    }

    #[test]
    fn what_is_too_long_or_wrong_is_named() {
        let long = "x".repeat(MAX_TEXT + 1);
        let refused = append(Some(json!({"text": long}))).unwrap_err();
        assert_eq!(refused.place, "[\"text\"]");
        let toast = |duration: Value| {
            toast(Some(
                json!({"message": "m", "variant": "info", "duration": duration}),
            ))
        };
        assert!(toast(json!(7)).is_ok());
        for bad in [json!(0), json!(-1), json!(1.5), json!("x")] {
            assert_eq!(toast(bad).unwrap_err().place, "[\"duration\"]");
        }
        let other = json!({"type": "session.deleted", "properties": {}});
        assert_eq!(publish(Some(other)).unwrap_err().place, "[\"type\"]");
    }
}
