use serde_json::json;
use sessiond_model::Status;

use super::fixture::{doc, session, tool_part};
use super::*;
use crate::{Findings, Redactor, Source};

fn transcript(live: bool) -> Transcript {
    let mut session = session();
    if live {
        session.status = Status::busy(session.created_at);
    }
    let mut prompt = doc(
        1,
        "user",
        &[json!({"type": "text", "text": "Fix `x.rs`, please\n<b>now</b>"})],
    );
    prompt.info = prompt.info.replace(
        "\"agent\"",
        r#""summary":{"diffs":[{"file":"/srv/work/x.rs","patch":"@@ -1 +1 @@\n-a\n+b\n","additions":1,"deletions":1,"status":"modified"},{"file":"/srv/work/b.png","additions":0,"deletions":0,"status":"added"}]},"agent""#,
    );
    let edit = json!({
        "input": {"filePath": "/srv/work/x.rs", "oldString": "a", "newString": "b"},
        "output": "Edited </pre><script>alert(1)</script>", "title": "x.rs",
        "metadata": {"diff": "--- a/x.rs\n+++ b/x.rs\n@@ -1 +1 @@\n-a\n+b\n"},
    });
    let failed = json!({"input": {"command": "cargo test | head"}, "error": "exit 1"});
    let answer = doc(
        2,
        "assistant",
        &[
            json!({"type": "step-start"}),
            json!({"type": "reasoning", "text": "Let me *see*.", "time": {"start": 1, "end": 2}}),
            tool_part("completed", &edit),
            tool_part("error", &failed),
            json!({"type": "file", "mime": "text/plain", "filename": "n.txt", "url": "file:///n"}),
            json!({"type": "text", "text": "Done:\n\n```rust\nfn main() {}\n```\n"}),
        ],
    );
    let messages = [prompt, answer];
    let source = Source {
        session: &session,
        messages: &messages,
        live,
        older: Some(1),
        newer: false,
    };
    Transcript::of(&source, &Redactor::default(), &mut Findings::default())
}

#[test]
fn a_page_for_people() {
    let html = page(&transcript(false)).unwrap();
    let html = html.replace(STYLE, "/* style */");
    insta::assert_snapshot!(html);
}

#[test]
fn the_json_form() {
    insta::assert_json_snapshot!(transcript(true));
}

#[test]
fn only_a_live_page_follows() {
    let follows = |t: &Transcript| page(t).unwrap().contains(SCRIPT);
    let mut live = transcript(true);
    assert!(follows(&live) && page(&live).unwrap().contains("The agent is at work"));
    assert!(!follows(&transcript(false)));
    live.newer = true;
    assert!(!follows(&live), "what is old does not change");
    assert!(page(&live).unwrap().contains(&content(&live).unwrap()));
}

#[test]
fn nothing_comes_from_elsewhere() {
    let html = page(&transcript(true)).unwrap();
    for word in [
        "src=",
        "@import",
        "url(",
        "http-equiv",
        "<img",
        "<iframe",
        "<object",
        "onclick",
    ] {
        assert!(!html.contains(word), "{word}");
    }
    assert_eq!(html.matches("<link ").count(), 1);
    assert!(html.contains("<link rel=\"icon\" href=\"data:,\">"));
    assert!(!html.contains("style=\""));
    assert_eq!(html.matches("<script").count(), 1, "only ours");
}

#[test]
fn the_policy_names_our_script_and_style() {
    // What is between the tags must be what was hashed, to the byte.
    let html = page(&transcript(true)).unwrap();
    for (open, close, directive) in [
        ("<style>", "</style>", "style-src"),
        ("<script>", "</script>", "script-src"),
    ] {
        let inner = html
            .split_once(open)
            .unwrap()
            .1
            .split_once(close)
            .unwrap()
            .0;
        let hash = STANDARD.encode(Sha256::digest(inner));
        let expected = format!("{directive} 'sha256-{hash}'");
        assert!(policy().contains(&expected), "{directive}");
    }
    assert!(policy().starts_with("default-src 'none';"));
    assert!(!policy().contains("unsafe") && !policy().contains('*'));
    assert!(gone().unwrap().contains(STYLE));
}

#[test]
fn sizes_for_people() {
    let missing = |cut| {
        Text {
            text: String::new(),
            cut,
        }
        .missing()
    };
    assert_eq!(missing(999), "999 bytes");
    assert_eq!(missing(12_345), "12 kB");
    assert_eq!(missing(1_234_567), "1.2 MB");
}
