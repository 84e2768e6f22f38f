//! Messages and parts. Their stored text is already OpenCode's, ids aside: a page is made by
//! putting texts together, not by parsing them.

use serde::Serialize;
use serde_json::{Value, json};
use sessiond_model::{MessageDoc, MessageId, Part, PartBody, PartId, SessionId};

/// What the text of a part that can't be read begins with; its bytes follow.
pub(crate) const OPAQUE: &str = "[a part that can't be read; its stored bytes are kept]\n";

/// A page of messages: `[{"info": …, "parts": […]}, …]`.
#[must_use]
pub fn page(docs: &[MessageDoc]) -> Vec<u8> {
    let size: usize = docs.iter().map(size).sum();
    let mut out = Vec::with_capacity(size + 2);
    out.push(b'[');
    for (i, doc) in docs.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_message(&mut out, doc);
    }
    out.push(b']');
    out
}

/// One message: `{"info": …, "parts": […]}`.
#[must_use]
pub fn message_with_parts(doc: &MessageDoc) -> Vec<u8> {
    let mut out = Vec::with_capacity(size(doc));
    write_message(&mut out, doc);
    out
}

fn size(doc: &MessageDoc) -> usize {
    let parts: usize = doc.parts.iter().map(|p| p.body.len() + 160).sum();
    doc.info.len() + parts + 128
}

pub(crate) fn write_message(out: &mut Vec<u8>, doc: &MessageDoc) {
    out.extend_from_slice(b"{\"info\":");
    write_info(out, doc);
    out.extend_from_slice(b",\"parts\":[");
    for (i, part) in doc.parts.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_part(out, doc, &part.id, &part.body);
    }
    out.extend_from_slice(b"]}");
}

fn write_info(out: &mut Vec<u8>, doc: &MessageDoc) {
    write_id(out, b"{\"id\":\"", doc.id.as_str());
    write_id(out, b",\"sessionID\":\"", doc.session_id.as_str());
    match members(&doc.info) {
        Some(members) => write_members(out, members),
        // Damaged: shown as a message that clients can hold, with its bytes in a part's place.
        None => write_members(out, &unreadable_info()),
    }
}

fn write_part(out: &mut Vec<u8>, doc: &MessageDoc, id: &PartId, body: &str) {
    write_id(out, b"{\"id\":\"", id.as_str());
    write_id(out, b",\"sessionID\":\"", doc.session_id.as_str());
    write_id(out, b",\"messageID\":\"", doc.id.as_str());
    match members(body) {
        Some(members) if !members.starts_with("\"type\":\"x-opaque\"") => {
            write_members(out, members);
        }
        _ => write_members(out, &opaque_members(body)),
    }
}

/// Ids have no character that JSON escapes: they were checked when they came in.
fn write_id(out: &mut Vec<u8>, before: &[u8], id: &str) {
    out.extend_from_slice(before);
    out.extend_from_slice(id.as_bytes());
    out.push(b'"');
}

fn write_members(out: &mut Vec<u8>, members: &str) {
    if !members.is_empty() {
        out.push(b',');
        out.extend_from_slice(members.as_bytes());
    }
    out.push(b'}');
}

/// What stands between the braces of an object's text.
fn members(object: &str) -> Option<&str> {
    let inner = object.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
    (inner.is_empty() || inner.starts_with('"')).then_some(inner)
}

/// What a part that this version can't read looks like to clients: a text of the server.
fn opaque(raw: &str) -> Value {
    json!({"type": "text", "synthetic": true, "ignored": true, "text": format!("{OPAQUE}{raw}")})
}

fn opaque_members(body: &str) -> String {
    let raw = match PartBody::from_stored(body) {
        PartBody::Opaque { raw } => raw,
        _ => body.to_owned(),
    };
    let text = opaque(&raw).to_string();
    members(&text).unwrap_or_default().to_owned()
}

fn unreadable_info() -> String {
    let text = json!({"role": "user", "time": {"created": 0}, "agent": "build",
        "model": {"providerID": "unknown", "modelID": "unknown"}})
    .to_string();
    members(&text).unwrap_or_default().to_owned()
}

/// A part of an event or an answer.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum PartDto<'a> {
    /// As it is.
    Known(&'a Part),
    /// One that clients don't know.
    Opaque {
        /// Its id.
        id: &'a PartId,
        /// Its session.
        #[serde(rename = "sessionID")]
        session_id: &'a SessionId,
        /// Its message.
        #[serde(rename = "messageID")]
        message_id: &'a MessageId,
        /// What clients are shown.
        #[serde(flatten)]
        body: Value,
    },
}

impl<'a> PartDto<'a> {
    /// The part.
    #[must_use]
    pub fn of(part: &'a Part) -> Self {
        match &part.body {
            PartBody::Opaque { raw } => Self::Opaque {
                id: &part.id,
                session_id: &part.session_id,
                message_id: &part.message_id,
                body: opaque(raw),
            },
            _ => Self::Known(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use sessiond_model::PartDoc;

    use super::*;

    fn doc(info: &str, bodies: &[&str]) -> MessageDoc {
        MessageDoc {
            id: MessageId::trusted("msg_1"),
            session_id: SessionId::trusted("ses_1"),
            position: 1,
            created: sessiond_model::Seq(1),
            changed: sessiond_model::Seq(1),
            info: info.into(),
            parts: bodies
                .iter()
                .enumerate()
                .map(|(i, body)| PartDoc {
                    id: PartId::trusted(&format!("prt_{i}")),
                    body: (*body).into(),
                })
                .collect(),
        }
    }

    const USER: &str = r#"{"role":"user","time":{"created":5},"agent":"build","model":{"providerID":"demo","modelID":"default"}}"#;

    #[test]
    fn a_page_is_put_together_from_stored_texts() {
        let docs = [
            doc(
                USER,
                &[
                    r#"{"type":"text","text":"a \"}\" b"}"#,
                    r#"{"type":"step-start"}"#,
                ],
            ),
            doc(USER, &[]),
        ];
        let value: Value = serde_json::from_slice(&page(&docs)).unwrap();
        assert_eq!(
            value[0],
            json!({"info": {"id": "msg_1", "sessionID": "ses_1", "role": "user",
                "time": {"created": 5}, "agent": "build",
                "model": {"providerID": "demo", "modelID": "default"}},
              "parts": [
                {"id": "prt_0", "sessionID": "ses_1", "messageID": "msg_1", "type": "text",
                 "text": "a \"}\" b"},
                {"id": "prt_1", "sessionID": "ses_1", "messageID": "msg_1",
                 "type": "step-start"}]})
        );
        assert_eq!(value[1]["parts"], json!([]));
        assert_eq!(page(&[]), b"[]");
        assert_eq!(
            serde_json::from_slice::<Value>(&message_with_parts(&docs[0])).unwrap(),
            value[0]
        );
    }

    #[test]
    fn the_spliced_form_is_the_typed_form() {
        let docs = doc(USER, &[r#"{"type":"text","text":"x"}"#]);
        let spliced: Value = serde_json::from_slice(&message_with_parts(&docs)).unwrap();
        let message = docs.message().unwrap();
        assert_eq!(spliced["info"], serde_json::to_value(&message).unwrap());
        let parts = docs.typed_parts();
        assert_eq!(
            spliced["parts"][0],
            serde_json::to_value(PartDto::of(&parts[0])).unwrap()
        );
    }

    // Q-unreadable-part
    #[test]
    fn damage_does_not_spoil_the_page() {
        for bad in [
            "",
            "\u{0}\u{1}garbage",
            "{broken}",
            r#"{"type":"x-opaque","raw":"{\"old\":1}"}"#,
        ] {
            let docs = [doc(USER, &[bad]), doc(bad, &[])];
            let value: Value = serde_json::from_slice(&page(&docs)).unwrap();
            assert_eq!(value[0]["parts"][0]["type"], "text", "{bad:?}");
            assert_eq!(value[0]["parts"][0]["id"], "prt_0");
        }
        let part = Part {
            id: PartId::trusted("prt_0"),
            session_id: SessionId::trusted("ses_1"),
            message_id: MessageId::trusted("msg_1"),
            body: PartBody::Opaque { raw: "?".into() },
        };
        let value = serde_json::to_value(PartDto::of(&part)).unwrap();
        assert_eq!(
            (&value["type"], &value["messageID"]),
            (&json!("text"), &json!("msg_1"))
        );
    }
}
