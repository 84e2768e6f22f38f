//! What an agent says of itself: abilities, modes, models, commands. Read leniently from the
//! raw JSON, because every agent adds fields of its own.

use serde_json::Value;
use sessiond_model::{AgentCommand, AgentMode, AgentModel, AgentProfile};

/// What an agent can do, from its answer to `initialize`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `session/load`.
    pub load: bool,
    /// `session/resume`.
    pub resume: bool,
    /// `session/fork`.
    pub fork: bool,
    /// `session/list`.
    pub list: bool,
    /// `session/close`.
    pub close: bool,
    /// Images in prompts.
    pub image: bool,
    /// Audio in prompts.
    pub audio: bool,
    /// Embedded resources in prompts.
    pub embedded_context: bool,
    /// Ids of the ways to log in.
    pub auth_methods: Vec<String>,
    /// Its own title.
    pub title: Option<String>,
    /// Its version.
    pub version: Option<String>,
}

/// News on modes, models and commands; `None` = nothing said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileUpdate {
    /// The modes, all of them.
    pub modes: Option<Vec<AgentMode>>,
    /// The mode in use.
    pub current_mode: Option<String>,
    /// The models, all of them.
    pub models: Option<Vec<AgentModel>>,
    /// The model in use.
    pub current_model: Option<String>,
    /// The slash commands, all of them.
    pub commands: Option<Vec<AgentCommand>>,
}

fn present(value: &Value, key: &str) -> bool {
    !matches!(
        value.get(key),
        None | Some(Value::Null | Value::Bool(false))
    )
}

fn text(value: &Value, key: &str) -> Option<String> {
    value
        .get(key)
        .and_then(Value::as_str)
        .filter(|s| !s.is_empty())
        .map(str::to_owned)
}

impl Capabilities {
    /// Reads the answer to `initialize`.
    #[must_use]
    pub fn from_initialize(result: &Value) -> Self {
        let agent = &result["agentCapabilities"];
        let session = &agent["sessionCapabilities"];
        let prompt = &agent["promptCapabilities"];
        let info = &result["agentInfo"];
        Self {
            load: present(agent, "loadSession"),
            resume: present(session, "resume"),
            fork: present(session, "fork"),
            list: present(session, "list"),
            close: present(session, "close"),
            image: present(prompt, "image"),
            audio: present(prompt, "audio"),
            embedded_context: present(prompt, "embeddedContext"),
            auth_methods: result["authMethods"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|m| text(m, "id"))
                .collect(),
            title: text(info, "title").or_else(|| text(info, "name")),
            version: text(info, "version"),
        }
    }

    /// The names of what it can do, for an [`AgentProfile`].
    #[must_use]
    pub fn abilities(&self) -> Vec<String> {
        [
            ("load", self.load),
            ("resume", self.resume),
            ("fork", self.fork),
            ("list", self.list),
            ("close", self.close),
            ("image", self.image),
            ("audio", self.audio),
            ("embedded_context", self.embedded_context),
        ]
        .into_iter()
        .filter(|(_, able)| *able)
        .map(|(name, _)| name.to_owned())
        .collect()
    }
}

/// The config option of a category, by category or by id.
pub(crate) fn config_option<'a>(options: &'a Value, category: &str) -> Option<&'a Value> {
    let options = options.as_array()?;
    options
        .iter()
        .find(|o| o["category"] == category)
        .or_else(|| options.iter().find(|o| o["id"] == category))
}

/// The choices of a select option, groups flattened.
fn choices(option: &Value) -> Vec<&Value> {
    option["options"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|entry| match entry["options"].as_array() {
            Some(group) => group.iter().collect(),
            None => vec![entry],
        })
        .collect()
}

fn id_name(entry: &Value, id_key: &str) -> Option<(String, String, Option<String>)> {
    let id = text(entry, id_key)?;
    let name = text(entry, "name").unwrap_or_else(|| id.clone());
    Some((id, name, text(entry, "description")))
}

fn mode(entry: &Value, id_key: &str) -> Option<AgentMode> {
    id_name(entry, id_key).map(|(id, name, description)| AgentMode {
        id,
        name,
        description,
    })
}

fn model(entry: &Value, id_key: &str) -> Option<AgentModel> {
    id_name(entry, id_key).map(|(id, name, description)| AgentModel {
        id,
        name,
        description,
    })
}

impl ProfileUpdate {
    /// Reads an answer to `session/new`, `load`, `resume`, `fork` or `set_config_option`.
    /// Config options win over the older `modes` and `models`, which some agents send too:
    /// a model set through one of them is named as that one names it.
    #[must_use]
    pub fn from_session(result: &Value) -> Self {
        let mut update = Self::default();
        if let Some(list) = result["modes"]["availableModes"].as_array() {
            update.modes = Some(list.iter().filter_map(|m| mode(m, "id")).collect());
            update.current_mode = text(&result["modes"], "currentModeId");
        }
        if let Some(list) = result["models"]["availableModels"].as_array() {
            update.models = Some(list.iter().filter_map(|m| model(m, "modelId")).collect());
            update.current_model = text(&result["models"], "currentModelId");
        }
        update.read_options(&result["configOptions"]);
        update
    }

    /// Reads a `session/update`; `None` when it says nothing of the profile.
    #[must_use]
    pub fn from_update(update: &Value) -> Option<Self> {
        let mut news = Self::default();
        match update["sessionUpdate"].as_str()? {
            "current_mode_update" => news.current_mode = text(update, "currentModeId"),
            "config_option_update" => news.read_options(&update["configOptions"]),
            "available_commands_update" => {
                news.commands = update["availableCommands"].as_array().map(|list| {
                    list.iter()
                        .filter_map(|c| {
                            Some(AgentCommand {
                                name: text(c, "name")?,
                                description: text(c, "description").unwrap_or_default(),
                                hint: text(&c["input"], "hint"),
                            })
                        })
                        .collect()
                });
            }
            _ => return None,
        }
        (news != Self::default()).then_some(news)
    }

    fn read_options(&mut self, options: &Value) {
        if let Some(option) = config_option(options, "mode") {
            let listed = choices(option);
            self.modes = Some(listed.iter().filter_map(|m| mode(m, "value")).collect());
            self.current_mode = text(option, "currentValue");
        }
        if let Some(option) = config_option(options, "model") {
            let listed = choices(option);
            self.models = Some(listed.iter().filter_map(|m| model(m, "value")).collect());
            self.current_model = text(option, "currentValue");
        }
    }

    /// Takes over what was said; the rest stays.
    pub fn merge_into(&self, profile: &mut AgentProfile) {
        if let Some(modes) = &self.modes {
            profile.modes.clone_from(modes);
        }
        if let Some(mode) = &self.current_mode {
            profile.current_mode = Some(mode.clone());
        }
        if let Some(models) = &self.models {
            profile.models.clone_from(models);
        }
        if let Some(model) = &self.current_model {
            profile.current_model = Some(model.clone());
        }
        if let Some(commands) = &self.commands {
            profile.commands.clone_from(commands);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn config_options_win_and_groups_are_flattened() {
        let news = ProfileUpdate::from_session(&json!({
            "models": {"currentModelId": "m1[high]", "availableModels": [{"modelId": "m1[high]", "name": "M1"}]},
            "configOptions": [
                {"id": "effort", "category": "thought_level", "currentValue": "low", "options": []},
                {"id": "model", "category": "model", "currentValue": "m2", "options": [
                    {"group": "a", "name": "A", "options": [{"value": "m1", "name": "M1"}]},
                    {"group": "b", "name": "B", "options": [{"value": "m2", "description": "two"}, 7]},
                ]},
            ],
        }));
        let models = news.models.unwrap();
        let ids: Vec<&str> = models.iter().map(|m| m.id.as_str()).collect();
        assert_eq!(ids, ["m1", "m2"]);
        assert_eq!(models[1].name, "m2", "without a name the id is shown");
        assert_eq!(news.current_model.as_deref(), Some("m2"));
        assert_eq!((news.modes, news.current_mode), (None, None));
    }

    #[test]
    fn what_is_not_said_stays() {
        let mut profile = AgentProfile::default();
        let opened = ProfileUpdate::from_session(&json!({
            "modes": {"currentModeId": "a", "availableModes": [{"id": "a", "name": "A"}]},
        }));
        opened.merge_into(&mut profile);
        let update = json!({"sessionUpdate": "current_mode_update", "currentModeId": "b"});
        let news = ProfileUpdate::from_update(&update).unwrap();
        news.merge_into(&mut profile);
        assert_eq!(profile.modes.len(), 1);
        assert_eq!(profile.current_mode.as_deref(), Some("b"));
        assert_eq!(
            ProfileUpdate::from_update(&json!({"sessionUpdate": "plan"})),
            None
        );
        assert_eq!(ProfileUpdate::from_update(&json!({})), None);
    }
}
