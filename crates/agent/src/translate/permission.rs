//! Permission requests: what is asked, and which of the agent's options an answer means.

use serde_json::{Map, Value};
use sessiond_model::{PermissionOption, PermissionReply};

use super::content::text;
use super::tool::ToolCall;
use crate::PermissionAnswer;

/// What an agent asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PermissionAsk {
    /// Kind of permission, e.g. `edit`, `bash`.
    pub permission: String,
    /// The things asked for: paths or commands.
    pub patterns: Vec<String>,
    /// More for people: title, input, diff.
    pub metadata: Map<String, Value>,
    /// What `always` would cover.
    pub always: Vec<String>,
    /// The tool call.
    pub call_id: Option<String>,
    /// The agent's own options.
    pub options: Vec<PermissionOption>,
}

/// The agent's option that a reply means. A kind that it does not offer falls back to the
/// weaker one that it does: `always` to once, and a missing `reject` to a cancelled request.
#[must_use]
pub fn choose_option(options: &[PermissionOption], reply: PermissionReply) -> PermissionAnswer {
    let kinds: &[&str] = match reply {
        PermissionReply::Once => &["allow_once"],
        PermissionReply::Always => &["allow_always", "allow_once"],
        PermissionReply::Reject => &["reject_once", "reject_always"],
    };
    kinds
        .iter()
        .find_map(|kind| options.iter().find(|o| o.kind == *kind))
        .map_or(PermissionAnswer::Cancelled, |o| {
            PermissionAnswer::Selected(o.id.clone())
        })
}

/// The permission that a tool of this ACP kind needs, in the words of permission rules.
fn permission_of(kind: Option<&str>, tool: &str) -> String {
    match kind {
        Some("execute") => "bash",
        Some("edit" | "delete" | "move") => "edit",
        Some("read") => "read",
        Some("search") => "grep",
        Some("fetch") => "webfetch",
        _ => tool,
    }
    .to_owned()
}

/// A command in a tool's input: a text, or a list of words.
fn command(input: &Map<String, Value>) -> Option<String> {
    match input.get("command")? {
        Value::String(command) => Some(command.clone()).filter(|c| !c.is_empty()),
        Value::Array(words) => {
            let words: Vec<&str> = words.iter().filter_map(Value::as_str).collect();
            Some(words.join(" ")).filter(|c| !c.is_empty())
        }
        _ => None,
    }
}

/// What a request asks for, from all that is known of its call.
pub(super) fn ask(params: &Value, call: Option<&ToolCall>) -> PermissionAsk {
    let options: Vec<PermissionOption> = params["options"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|o| {
            let id = o["optionId"].as_str()?;
            Some(PermissionOption {
                id: id.to_owned(),
                name: text(o, "name").unwrap_or(id).to_owned(),
                kind: o["kind"].as_str().unwrap_or_default().to_owned(),
            })
        })
        .collect();
    let mut ask = PermissionAsk {
        permission: "other".into(),
        options,
        ..PermissionAsk::default()
    };
    let Some(call) = call else {
        return ask;
    };
    ask.call_id = Some(call.call_id.clone());
    ask.permission = permission_of(call.kind.as_deref(), call.name());
    let command = command(&call.input);
    ask.patterns = match &command {
        Some(command) => vec![command.clone()],
        None => paths(call),
    };
    if ask.patterns.is_empty() && !call.title.is_empty() {
        ask.patterns.push(call.title.clone());
    }
    let mut tell = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            ask.metadata.insert(key.to_owned(), value);
        }
    };
    tell("title", Some(call.title.as_str().into()));
    tell("kind", call.kind.as_deref().map(Into::into));
    tell("command", command.map(Into::into));
    tell("filepath", paths(call).first().map(|p| p.as_str().into()));
    tell("diff", call.patch().map(Into::into));
    let shown = &params["toolCall"]["rawInput"];
    let shown = shown.as_object().filter(|input| !input.is_empty());
    tell("input", Some(shown.unwrap_or(&call.input).clone().into()));
    if ask.options.iter().any(|o| o.kind == "allow_always") {
        ask.always.clone_from(&ask.patterns);
    }
    ask
}

/// The files that a call is about.
fn paths(call: &ToolCall) -> Vec<String> {
    let mut paths: Vec<String> = call.edits.iter().map(|e| e.path.clone()).collect();
    paths.extend(call.locations.iter().cloned());
    if paths.is_empty() {
        let named = ["file_path", "filePath", "path", "url"];
        let found = named.iter().find_map(|key| call.input.get(*key)?.as_str());
        paths.extend(found.map(str::to_owned));
    }
    let mut seen = std::collections::BTreeSet::new();
    paths.retain(|p| seen.insert(p.clone()));
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(kinds: &[&str]) -> Vec<PermissionOption> {
        kinds
            .iter()
            .map(|kind| PermissionOption {
                id: format!("id-{kind}"),
                name: String::new(),
                kind: (*kind).to_owned(),
            })
            .collect()
    }

    #[test]
    fn a_reply_takes_the_option_of_its_kind_and_never_a_stronger_one() {
        use PermissionReply::{Always, Once, Reject};
        let all = options(&["allow_always", "allow_once", "reject_once", "reject_always"]);
        let selected = |kind: &str| PermissionAnswer::Selected(format!("id-{kind}"));
        assert_eq!(choose_option(&all, Once), selected("allow_once"));
        assert_eq!(choose_option(&all, Always), selected("allow_always"));
        assert_eq!(choose_option(&all, Reject), selected("reject_once"));

        let few = options(&["allow_once", "reject_always"]);
        assert_eq!(choose_option(&few, Always), selected("allow_once"));
        assert_eq!(choose_option(&few, Reject), selected("reject_always"));

        let forever = options(&["allow_always"]);
        assert_eq!(choose_option(&forever, Once), PermissionAnswer::Cancelled);
        assert_eq!(choose_option(&forever, Reject), PermissionAnswer::Cancelled);
    }
}
