//! Bodies of `/api/*`.

use serde_json::{Value, json};
use sessiond_engine::{NewSession, PromptInput, PromptPart, RevertOptions};
use sessiond_model::{MessageId, ModelRef, PartBody, SessionId};

use super::session::session_model;
use super::{Decoded, Fields, Node};

/// A new session. The second value is the workspace.
pub(crate) fn new_session(body: Option<Value>) -> Decoded<(NewSession, Option<String>)> {
    let mut f = Node::root(body).object()?;
    let mut new = NewSession {
        id: f.take("id").optional(|n| n.id(SessionId::parse))?,
        agent: f.take("agent").optional(Node::string)?,
        model: f.take("model").optional(session_model)?,
        ..NewSession::default()
    };
    let mut workspace = None;
    let at = f.take("location");
    if let Some(mut at) = at.optional(|n| n.object_of("Location.Ref"))? {
        new.directory = Some(at.take("directory").string()?);
        workspace = at.take("workspaceID").optional(Node::string)?;
    }
    Ok((new, workspace))
}

/// A prompt.
#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) input: PromptInput,
    /// `steer` or `queue`.
    pub(crate) delivery: &'static str,
}

/// `{id?, prompt: {text, files?, agents?}, delivery?, resume?}`.
pub(crate) fn prompt(body: Option<Value>) -> Decoded<Prompt> {
    let mut f = Node::root(body).object()?;
    let message_id = f.take("id").optional(|n| n.id(MessageId::parse))?;
    let mut said = f.take("prompt").object_of("PromptInput")?;
    let words = &[("steer", "steer"), ("queue", "queue")];
    let delivery = f
        .take("delivery")
        .optional(|n| n.plain().word("\"steer\" | \"queue\"", words))?;
    let resume = f.take("resume").optional(Node::boolean)?;
    let mut parts = vec![PartBody::text(said.take("text").string()?)];
    let files = said
        .take("files")
        .optional(|n| n.plain().list("array", file))?;
    parts.extend(files.into_iter().flatten());
    let agents = said
        .take("agents")
        .optional(|n| n.plain().list("array", agent))?;
    parts.extend(agents.into_iter().flatten());
    Ok(Prompt {
        input: PromptInput {
            message_id,
            parts: parts
                .into_iter()
                .map(|body| PromptPart { id: None, body })
                .collect(),
            no_reply: resume == Some(false),
            ..PromptInput::default()
        },
        delivery: delivery.unwrap_or("steer"),
    })
}

fn file(node: Node) -> Decoded<PartBody> {
    let mut f = node.object_of("PromptInput.FileAttachment")?;
    let url = f.take("uri").string()?;
    let source = source(&mut f)?;
    f.take("description").optional(Node::string)?;
    Ok(PartBody::File {
        mime: mime(&url).to_owned(),
        filename: f.take("name").optional(Node::string)?,
        source: source.map(|text| {
            let path = url.strip_prefix("file://").unwrap_or(&url);
            json!({"type": "file", "path": path, "text": text})
        }),
        url,
    })
}

fn agent(node: Node) -> Decoded<PartBody> {
    let mut f = node.object_of("Prompt.AgentAttachment")?;
    Ok(PartBody::Agent {
        name: f.take("name").string()?,
        source: source(&mut f)?,
    })
}

/// `{start, end, text}`, as the first family stores it.
fn source(f: &mut Fields) -> Decoded<Option<Value>> {
    let Some(mut s) = f.take("source").optional(Node::object)? else {
        return Ok(None);
    };
    let (start, end) = (s.take("start").time()?, s.take("end").time()?);
    Ok(Some(
        json!({"value": s.take("text").string()?, "start": start, "end": end}),
    ))
}

/// The media type of a file that is only named: by its `data:` URL or its ending.
fn mime(uri: &str) -> &str {
    if let Some(data) = uri.strip_prefix("data:") {
        let named = data.split([';', ',']).next().unwrap_or_default();
        return if named.is_empty() {
            "text/plain"
        } else {
            named
        };
    }
    if uri.ends_with('/') {
        return "application/x-directory";
    }
    let path = uri.split(['?', '#']).next().unwrap_or(uri);
    let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
    match ending.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        _ => "text/plain",
    }
}

/// `{agent}`.
pub(crate) fn switch_agent(body: Option<Value>) -> Decoded<String> {
    Node::root(body).object()?.take("agent").string()
}

/// `{model: {id, providerID, variant?}}`.
pub(crate) fn switch_model(body: Option<Value>) -> Decoded<ModelRef> {
    session_model(Node::root(body).object()?.take("model"))
}

/// `{messageID, files?}`. The files always follow, as on OpenCode.
pub(crate) fn stage(body: Option<Value>) -> Decoded<RevertOptions> {
    let mut f = Node::root(body).object()?;
    let message_id = f.take("messageID").id(MessageId::parse)?;
    f.take("files").optional(Node::boolean)?;
    Ok(RevertOptions {
        message_id,
        part_id: None,
        force: false,
        lenient: true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_those_of_opencode() {
        let of = |body| prompt(Some(body)).unwrap_err().to_string();
        assert_eq!(of(json!({})), "Missing key\n  at [\"prompt\"]");
        assert_eq!(
            of(json!({"prompt": {"text": "x"}, "delivery": "zz"})),
            "Expected \"steer\" | \"queue\", got \"zz\"\n  at [\"delivery\"]"
        );
        assert_eq!(
            new_session(None).unwrap_err().to_string(),
            "Expected object, got undefined"
        );
        assert_eq!(
            new_session(Some(json!({"id": "zzz"})))
                .unwrap_err()
                .to_string(),
            "Expected a string starting with \"ses\", got \"zzz\"\n  at [\"id\"]"
        );
    }

    #[test]
    fn a_prompt_with_what_is_given_along() {
        let p = prompt(Some(
            json!({"id": "msg_1", "resume": false, "prompt": {"text": "see",
            "files": [{"uri": "file:///a.PNG", "name": "a.PNG",
                       "source": {"start": 0, "end": 2, "text": "@a"}}],
            "agents": [{"name": "plan"}]}}),
        ))
        .unwrap();
        assert!(p.input.no_reply);
        assert_eq!(p.delivery, "steer");
        assert!(
            matches!(&p.input.parts[1].body, PartBody::File { mime, .. } if mime == "image/png")
        );
        assert!(matches!(&p.input.parts[2].body, PartBody::Agent { .. }));
        assert_eq!(mime("data:text/html;base64,AA"), "text/html");
    }
}
