//! The body of `PATCH /config`: OpenCode's settings, as far as they mean something here.

use serde_json::{Map, Value};
use sessiond_engine::{CommandTemplate, Settings};
use sessiond_model::{ModelRef, PermissionAction, PermissionRule};

use super::{Decoded, Kind, Node, Reject};
use crate::error::ApiError;

/// Settings that sessiond does what they say.
const OURS: [&str; 7] = [
    "model",
    "default_agent",
    "share",
    "autoshare",
    "command",
    "permission",
    "disabled_providers",
];
/// Settings that only clients look at: kept and given back.
const THEIRS: [&str; 4] = ["$schema", "username", "layout", "autoupdate"];
/// Settings of what sessiond has not.
const NOBODYS: [&str; 25] = [
    "agent",
    "attachment",
    "compaction",
    "enabled_providers",
    "enterprise",
    "experimental",
    "formatter",
    "instructions",
    "logLevel",
    "lsp",
    "mcp",
    "mode",
    "plugin",
    "provider",
    "reference",
    "references",
    "server",
    "shell",
    "skills",
    "small_model",
    "snapshot",
    "subagent_depth",
    "tool_output",
    "tools",
    "watcher",
];
/// Longest name of a command, in bytes.
const MAX_NAME: usize = 100;
/// Deepest value.
const MAX_DEPTH: usize = 16;

/// A change of settings: `null` takes one away, an object is laid over what there is.
#[derive(Debug)]
pub(crate) struct ConfigPatch(Map<String, Value>);

/// The refusal of a setting, or of its value, that nothing here would follow.
fn no_setting(name: &str) -> Reject {
    let reason =
        "sessiond has nothing that would follow this setting: coding agents bring their own";
    Reject::new(Kind::Payload, reason).at(name)
}

/// The body of `PATCH /config`. What says again what holds (`shown`) changes nothing, and what
/// OpenCode does not know is ignored, as there.
pub(crate) fn config_patch(
    body: Option<Value>,
    shown: &Map<String, Value>,
) -> Result<ConfigPatch, ApiError> {
    let mut patch = Node::root(body).map("Config")?;
    patch.retain(|name, value| {
        let is_known = [&OURS[..], &THEIRS, &NOBODYS]
            .iter()
            .any(|list| list.contains(&name.as_str()));
        is_known && shown.get(name) != Some(value)
    });
    for (name, value) in &patch {
        if NOBODYS.contains(&name.as_str()) && !is_nothing(value) {
            return Err(no_setting(name).into());
        }
        if depth(value) > MAX_DEPTH {
            let reason = format!("Expected at most {MAX_DEPTH} levels");
            return Err(Reject::new(Kind::Payload, reason).at(name).into());
        }
    }
    patch.retain(|name, _| !NOBODYS.contains(&name.as_str()));
    Ok(ConfigPatch(patch))
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn depth(value: &Value) -> usize {
    let deepest = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(map) => map.values().map(depth).max(),
        _ => return 0,
    };
    1 + deepest.unwrap_or(0)
}

impl ConfigPatch {
    /// Whether it allows sharing.
    pub(crate) fn shares(&self) -> bool {
        self.0.get("share").is_some_and(|share| share == "manual")
    }

    /// The settings with this change.
    pub(crate) fn over(self, before: &Settings) -> Result<Settings, ApiError> {
        let mut said = before.said.clone();
        lay(&mut said, self.0);
        read(said)
    }
}

fn lay(under: &mut Map<String, Value>, over: Map<String, Value>) {
    for (name, value) in over {
        match (under.get_mut(&name), value) {
            (_, Value::Null) => drop(under.remove(&name)),
            (Some(Value::Object(below)), Value::Object(above)) => lay(below, above),
            (_, value) => drop(under.insert(name, value)),
        }
    }
}

/// Who shares sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sharing {
    Manual,
    Auto,
    Disabled,
}

/// What is said, understood.
fn read(said: Map<String, Value>) -> Result<Settings, ApiError> {
    let mut f = Node::root(Some(Value::Object(said.clone()))).object()?;
    for name in ["$schema", "username"] {
        f.take(name).optional(Node::string)?;
    }
    f.take("layout")
        .optional(|n| n.word("\"auto\" | \"stretch\"", &[("auto", ()), ("stretch", ())]))?;
    f.take("autoupdate").optional(|n| match &n.value {
        Some(Value::Bool(_)) => Ok(()),
        _ => n.word("boolean | \"notify\"", &[("notify", ())]),
    })?;
    let share = match f.take("share") {
        unset if unset.value.is_none() => None,
        node => Some(node.word(
            "\"manual\" | \"auto\" | \"disabled\"",
            &[
                ("manual", Sharing::Manual),
                ("auto", Sharing::Auto),
                ("disabled", Sharing::Disabled),
            ],
        )?),
    };
    let autoshare = f.take("autoshare").optional(Node::boolean)?;
    if share == Some(Sharing::Auto) {
        return Err(no_setting("share").into());
    }
    if autoshare == Some(true) {
        return Err(no_setting("autoshare").into());
    }
    Ok(Settings {
        model: f.take("model").optional(model)?,
        mode: f.take("default_agent").optional(Node::string)?,
        no_sharing: share == Some(Sharing::Disabled),
        commands: match f.take("command").optional(Node::object)? {
            Some(commands) => commands.entries().map(command).collect::<Decoded<_>>()?,
            None => Default::default(),
        },
        permission: f
            .take("permission")
            .optional(permission)?
            .unwrap_or_default(),
        disabled_agents: f
            .take("disabled_providers")
            .optional(|n| n.list("array", Node::string))?
            .unwrap_or_default(),
        said,
    })
}

/// `PROVIDER/MODEL`; the model may have more slashes.
fn model(node: Node) -> Decoded<ModelRef> {
    let wrong = node.expected("PROVIDER/MODEL");
    let text = node.string()?;
    match text.split_once('/') {
        Some((provider, id)) if !provider.is_empty() && !id.is_empty() => Ok(ModelRef {
            provider_id: provider.to_owned(),
            id: id.to_owned(),
            variant: None,
        }),
        _ => Err(wrong),
    }
}

fn command((name, node): (String, Node)) -> Decoded<(String, CommandTemplate)> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(fits) {
        let reason =
            format!("Expected a name of up to {MAX_NAME} of A-Z a-z 0-9 - _ . : /, got {name:?}");
        return Err(node.refuse(reason));
    }
    let mut f = node.object()?;
    let template = CommandTemplate {
        template: f.take("template").string()?,
        description: f
            .take("description")
            .optional(Node::string)?
            .unwrap_or_default(),
        agent: f.take("agent").optional(Node::string)?,
        model: f.take("model").optional(model)?,
    };
    let subtask = f.take("subtask");
    let refused = subtask.refuse("Expected no sub-task: sessiond runs commands as turns".into());
    if subtask.optional(Node::boolean)? == Some(true) {
        return Err(refused);
    }
    Ok((name, template))
}

fn action(node: Node) -> Decoded<PermissionAction> {
    node.word(
        "\"ask\" | \"allow\" | \"deny\"",
        &[
            ("ask", PermissionAction::Ask),
            ("allow", PermissionAction::Allow),
            ("deny", PermissionAction::Deny),
        ],
    )
}

/// One action for everything, or by permission, or by permission and pattern.
fn permission(node: Node) -> Decoded<Vec<PermissionRule>> {
    let rule = |permission: &str, pattern: &str, action| PermissionRule {
        permission: permission.to_owned(),
        pattern: pattern.to_owned(),
        action,
    };
    if matches!(node.value, Some(Value::String(_))) {
        return Ok(vec![rule("*", "*", action(node)?)]);
    }
    let mut rules = Vec::new();
    for (name, node) in node.object()?.entries() {
        if matches!(node.value, Some(Value::Object(_))) {
            for (pattern, node) in node.object()?.entries() {
                rules.push(rule(&name, &pattern, action(node)?));
            }
        } else {
            rules.push(rule(&name, "*", action(node)?));
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(before: &Settings, patch: Value) -> Result<Settings, ApiError> {
        config_patch(Some(patch), &Map::new())?.over(before)
    }

    fn refusal(patch: Value) -> String {
        changed(&Settings::default(), patch)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_change_is_laid_over_what_was_said_before() {
        let command = json!({"command": {"a": {"template": "A $1"}}, "username": "ann"});
        let first = changed(&Settings::default(), command).unwrap();
        let more = json!({"command": {"b": {"template": "B"}}, "username": null,
            "model": "demo/some/model", "nonsense": {"a": 1}});
        let second = changed(&first, more).unwrap();
        assert_eq!(second.commands.len(), 2);
        assert_eq!(second.model.unwrap().id, "some/model");
        assert_eq!(
            Value::Object(second.said),
            json!({"command": {"a": {"template": "A $1"}, "b": {"template": "B"}},
                "model": "demo/some/model"})
        );
    }

    #[test]
    fn permissions_are_rules() {
        let settings = changed(
            &Settings::default(),
            json!({"permission": {"*": "ask", "bash": {"*": "deny", "git *": "allow"}}}),
        )
        .unwrap();
        let rules: Vec<_> = settings
            .permission
            .iter()
            .map(|r| (r.permission.as_str(), r.pattern.as_str(), r.action))
            .collect();
        assert_eq!(
            rules,
            [
                ("*", "*", PermissionAction::Ask),
                ("bash", "*", PermissionAction::Deny),
                ("bash", "git *", PermissionAction::Allow),
            ]
        );
        let all = changed(&Settings::default(), json!({"permission": "allow"})).unwrap();
        assert_eq!(all.permission.len(), 1);
    }

    #[test]
    fn refusals_name_the_setting() {
        assert!(refusal(json!({"mcp": {"x": {"type": "local"}}})).contains("mcp"));
        assert!(refusal(json!({"share": "auto"})).contains("share"));
        assert_eq!(
            refusal(json!({"share": "never"})),
            "Expected \"manual\" | \"auto\" | \"disabled\", got \"never\"\n  at [\"share\"]"
        );
        assert!(refusal(json!({"model": "x"})).contains("[\"model\"]"));
        assert!(refusal(json!({"command": {"a b": {"template": ""}}})).contains("a b"));
        assert!(refusal(json!({"command": {"a": {}}})).contains("[\"template\"]"));
        assert!(refusal(json!({"permission": {"bash": 5}})).contains("[\"bash\"]"));
        assert!(refusal(json!([])).contains("Expected Config"));
        let mut deep = json!(1);
        for _ in 0..20 {
            deep = json!({"a": deep});
        }
        assert!(refusal(json!({"permission": deep})).contains("levels"));
    }

    #[test]
    fn the_whole_configuration_can_be_sent_back() {
        let shown = json!({"mcp": {}, "agent": {}, "share": "manual", "model": "demo/default"});
        let Value::Object(map) = shown.clone() else {
            unreachable!()
        };
        let patch = config_patch(Some(shown), &map).unwrap();
        assert!(patch.0.is_empty());
    }
}
