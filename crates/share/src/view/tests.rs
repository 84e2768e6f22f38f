use serde_json::{Value, json};
use sessiond_model::{MessageId, PartDoc, PartId, SessionId};

use super::*;
use crate::page::fixture::{doc, session, tool_part};

fn read(messages: &[MessageDoc]) -> (Transcript, Findings) {
    let session = session();
    let source = Source {
        session: &session,
        messages,
        live: true,
        older: None,
        newer: false,
    };
    let mut findings = Findings::default();
    let transcript = Transcript::of(&source, &Redactor::default(), &mut findings);
    (transcript, findings)
}

fn text(text: &str, open: bool) -> Value {
    let end = if open { json!(null) } else { json!(2) };
    json!({"type": "text", "text": text, "time": {"start": 1, "end": end}})
}

fn shown(parts: &[Value]) -> Vec<Part> {
    let (transcript, _) = read(&[doc(1, "assistant", parts)]);
    transcript.messages[0].parts.clone()
}

fn shown_text(part: Value) -> Text {
    match shown(&[part]).remove(0) {
        Part::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_put_in_for_the_agent_is_not_shown() {
    let hidden = [
        json!({"type": "text", "text": "x", "synthetic": true}),
        json!({"type": "text", "text": "x", "ignored": true}),
        json!({"type": "text", "text": " \n"}),
        json!({"type": "step-start"}),
        json!({"type": "snapshot", "snapshot": "x"}),
        json!({"type": "no such part", "x": "y"}),
    ];
    assert_eq!(shown(&hidden), []);
    let parts = shown(&[json!({
        "type": "file", "mime": "image/png", "filename": "/home/alice/a.png",
        "url": "data:image/png;base64,c2VjcmV0",
    })]);
    let json = serde_json::to_string(&parts).unwrap();
    assert_eq!(
        json,
        r#"[{"type":"file","name":"~/a.png","mime":"image/png"}]"#
    );
}

#[test]
fn the_end_of_a_text_that_grows_is_held_back() {
    let key = format!("ghp_{}", "aB3".repeat(12));
    for end in 1..=key.len() {
        let open = shown_text(text(&format!("use {}", &key[..end]), true));
        assert!(!open.text.contains("gh"), "{}", open.text);
    }
    assert_eq!(shown_text(text("a word", true)).text, "a ");
    assert_eq!(shown_text(text("a word", false)).text, "a word");
    assert_eq!(
        shown_text(text(&format!("use {key}"), false)).text,
        "use [redacted: github-token]"
    );
}

#[test]
fn a_secret_at_the_cut_is_not_shown_in_part() {
    let key = format!("ghp_{}", "aB3".repeat(12));
    for gap in [0, 10, 39, 40, 41] {
        let fill = "x ".repeat((TEXT + HELD) / 2 - gap);
        let long = format!("{fill}{key} and more");
        let out = shown_text(text(&long, false));
        assert!(
            out.text.len() <= TEXT && !out.text.contains("ghp_"),
            "{gap}"
        );
        assert!(out.cut > 0);
    }
    // A secret that is longer than what is held back is still not shown.
    let words = "z".repeat(3 * TEXT);
    assert!(shown_text(text(&words, false)).text.len() <= TEXT);
}

#[test]
fn a_page_is_bounded() {
    let long = "word ".repeat(1 << 18);
    let parts: Vec<_> = (0..600).map(|_| text(&long, false)).collect();
    let docs: Vec<_> = (1..4).map(|n| doc(n, "assistant", &parts)).collect();
    let (transcript, _) = read(&docs);
    let json = serde_json::to_string(&transcript).unwrap();
    assert!(json.len() < PAGE * 2, "{}", json.len());
    assert_eq!(transcript.messages.len(), 3);
    let omitted: usize = transcript.messages.iter().map(|m| m.omitted).sum();
    let kept: usize = transcript.messages.iter().map(|m| m.parts.len()).sum();
    assert_eq!(omitted + kept, 1800);
}

#[test]
fn everything_is_redacted() {
    let key = format!("ghp_{}", "aB3".repeat(12));
    let tool = tool_part(
        "completed",
        &json!({
            "input": {"filePath": format!("/home/alice/{key}"), "password": "hunter2"},
            "output": key, "title": key, "metadata": {"diff": format!("+{key}\n")},
        }),
    );
    let failed = tool_part(
        "error",
        &json!({"input": {"command": format!("curl {key}")}, "error": key}),
    );
    let running = tool_part(
        "running",
        &json!({"input": {}, "title": key, "metadata": {"output": format!("{key}\n")}}),
    );
    let parts = [
        text(&key, false),
        json!({"type": "reasoning", "text": key, "time": {"start": 1, "end": 2}}),
        json!({"type": "file", "mime": key, "filename": key, "url": key}),
        json!({"type": "agent", "name": key}),
        json!({"type": "subtask", "prompt": key, "description": key, "agent": key}),
        json!({"type": "patch", "hash": key, "files": [key]}),
        tool,
        failed,
        running,
    ];
    let mut message = doc(2, "assistant", &parts);
    message.info = message.info.replace(
        "\"cost\"",
        &format!(r#""error":{{"name":"UnknownError","data":{{"message":"{key}"}}}},"cost""#),
    );
    let mut user = doc(1, "user", &[text(&key, false)]);
    user.info = user.info.replace(
        "\"agent\"",
        &format!(
            r#""summary":{{"diffs":[{{"file":"/home/alice/{key}","patch":"+{key}","additions":1,"deletions":0,"status":"modified"}}]}},"agent""#
        ),
    );
    let mut session = session();
    session.title = format!("{key} in /home/alice");
    let messages = [user, message];
    let source = Source {
        session: &session,
        messages: &messages,
        live: false,
        older: None,
        newer: false,
    };
    let mut findings = Findings::default();
    let transcript = Transcript::of(&source, &Redactor::default(), &mut findings);
    let json = serde_json::to_string(&transcript).unwrap();
    for secret in [key.as_str(), "alice", "hunter2"] {
        assert!(!json.contains(secret), "{secret} in {json}");
        assert!(!crate::page(&transcript).unwrap().contains(secret));
    }
    assert!(findings.kinds["github-token"].count >= 15);
    let of_title = &findings.kinds["github-token"].samples[0];
    assert_eq!(of_title.message_id, None);
}

#[test]
fn paths_below_the_directory_are_short() {
    let tool = tool_part(
        "completed",
        &json!({
            "input": {"command": "ls"}, "output": "", "title": "/srv/work/src/x.rs", "metadata": {},
        }),
    );
    let parts = shown(&[tool]);
    assert!(matches!(&parts[0], Part::Tool(t) if t.title.as_deref() == Some("src/x.rs")));
}

#[test]
fn a_message_that_cannot_be_read_hides_no_other() {
    let broken = MessageDoc {
        id: MessageId::trusted("msg_x"),
        session_id: SessionId::trusted("ses_x"),
        position: 1,
        created: sessiond_model::Seq(1),
        changed: sessiond_model::Seq(1),
        info: "{".into(),
        parts: vec![PartDoc {
            id: PartId::trusted("prt_x"),
            body: "{".into(),
        }],
    };
    let (transcript, _) = read(&[broken, doc(2, "user", &[text("hello", false)])]);
    assert_eq!(transcript.messages.len(), 1);
}
