//! Coding agents as OpenCode's providers, their models as models, their modes as agents.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use sessiond_engine::AgentStatus;

/// The model that stands for whatever an agent starts with; the only one until it has told its
/// models.
const DEFAULT_MODEL: &str = "default";
/// The mode that an agent starts in.
const DEFAULT_MODE: &str = "build";

/// All usable coding agents.
#[derive(Debug)]
pub(crate) struct Providers<'a> {
    /// The default one first.
    pub(crate) all: Vec<ProviderDto<'a>>,
    /// The model that each starts with.
    pub(crate) default: BTreeMap<&'a str, &'a str>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ProviderDto<'a> {
    pub(crate) id: &'a str,
    name: &'a str,
    source: &'static str,
    env: [&'static str; 0],
    options: Map<String, Value>,
    pub(crate) models: BTreeMap<&'a str, ModelDto<'a>>,
}

/// A model. Agents don't tell prices and limits: 0 stands for unknown.
#[derive(Debug, Serialize)]
pub(crate) struct ModelDto<'a> {
    pub(crate) id: &'a str,
    #[serde(rename = "providerID")]
    pub(crate) provider_id: &'a str,
    api: Api<'a>,
    pub(crate) name: &'a str,
    pub(crate) capabilities: Capabilities,
    cost: Cost,
    limit: Limit,
    status: &'static str,
    options: Map<String, Value>,
    headers: Map<String, Value>,
    release_date: &'static str,
}

#[derive(Debug, Serialize)]
struct Api<'a> {
    id: &'a str,
    url: &'static str,
    npm: &'static str,
}

#[derive(Debug, Serialize)]
pub(crate) struct Capabilities {
    temperature: bool,
    reasoning: bool,
    attachment: bool,
    toolcall: bool,
    pub(crate) input: Media,
    output: Media,
    interleaved: bool,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct Media {
    text: bool,
    pub(crate) audio: bool,
    pub(crate) image: bool,
    video: bool,
    pdf: bool,
}

#[derive(Debug, Default, Serialize)]
struct Cost {
    input: u64,
    output: u64,
    cache: CacheCost,
}

#[derive(Debug, Default, Serialize)]
struct CacheCost {
    read: u64,
    write: u64,
}

#[derive(Debug, Default, Serialize)]
struct Limit {
    context: u64,
    output: u64,
}

/// The usable ones of these agents.
pub(crate) fn providers(agents: &[AgentStatus]) -> Providers<'_> {
    let usable = agents.iter().filter(|a| a.available);
    Providers {
        all: usable.clone().map(provider).collect(),
        default: usable.map(|a| (a.name.as_str(), model_of(a))).collect(),
    }
}

/// Provider and model of prompts that name none.
pub(crate) fn default_model(agents: &[AgentStatus]) -> Option<String> {
    let usable = || agents.iter().filter(|a| a.available);
    let agent = usable()
        .find(|a| a.is_default)
        .or_else(|| usable().next())?;
    Some(format!("{}/{}", agent.name, model_of(agent)))
}

/// The model that an agent starts with.
fn model_of(agent: &AgentStatus) -> &str {
    let Some(profile) = agent.profile.as_ref().filter(|p| !p.models.is_empty()) else {
        return DEFAULT_MODEL;
    };
    [&agent.default_model, &profile.current_model]
        .into_iter()
        .flatten()
        .find(|id| profile.models.iter().any(|m| m.id == **id))
        .map_or(profile.models[0].id.as_str(), String::as_str)
}

fn provider(agent: &AgentStatus) -> ProviderDto<'_> {
    let listed = agent.profile.as_ref().map_or(&[][..], |p| &p.models);
    let mut models: BTreeMap<&str, ModelDto<'_>> = listed
        .iter()
        .map(|m| (m.id.as_str(), model(agent, &m.id, &m.name)))
        .collect();
    // Also beside those that were told: clients look for the models of earlier messages here.
    models
        .entry(DEFAULT_MODEL)
        .or_insert_with(|| model(agent, DEFAULT_MODEL, "Default"));
    ProviderDto {
        id: &agent.name,
        name: &agent.title,
        source: "custom",
        env: [],
        options: Map::new(),
        models,
    }
}

fn model<'a>(agent: &'a AgentStatus, id: &'a str, name: &'a str) -> ModelDto<'a> {
    let can = |ability: &str| {
        agent
            .profile
            .as_ref()
            .is_some_and(|p| p.abilities.iter().any(|a| a == ability))
    };
    ModelDto {
        id,
        provider_id: &agent.name,
        api: Api {
            id,
            url: "",
            npm: "",
        },
        name,
        capabilities: Capabilities {
            temperature: false,
            reasoning: true,
            attachment: can("image") || can("embedded_context"),
            toolcall: true,
            input: Media {
                text: true,
                audio: can("audio"),
                image: can("image"),
                ..Media::default()
            },
            output: Media {
                text: true,
                ..Media::default()
            },
            interleaved: false,
        },
        cost: Cost::default(),
        limit: Limit::default(),
        status: "active",
        options: Map::new(),
        headers: Map::new(),
        release_date: "",
    }
}

/// A mode, as OpenCode's agent.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct AgentDto {
    pub(crate) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    mode: &'static str,
    native: bool,
    permission: [u8; 0],
    options: Map<String, Value>,
}

/// `build`, which leaves an agent in its own default mode, and the modes of all usable agents.
pub(crate) fn agents(agents: &[AgentStatus]) -> Vec<AgentDto> {
    let mut modes: Vec<(&str, Vec<String>)> = vec![(DEFAULT_MODE, Vec::new())];
    for agent in agents.iter().filter(|a| a.available) {
        for mode in agent.profile.iter().flat_map(|p| &p.modes) {
            let about = mode.description.as_deref().unwrap_or(&mode.name);
            let line = format!("{}: {about}", agent.title);
            match modes.iter_mut().find(|(name, _)| *name == mode.id) {
                Some((_, lines)) => lines.push(line),
                None => modes.push((&mode.id, vec![line])),
            }
        }
    }
    modes[0]
        .1
        .insert(0, "The mode that the agent starts in".into());
    modes
        .into_iter()
        .map(|(name, lines)| AgentDto {
            name: name.to_owned(),
            description: Some(lines.join("; ")),
            mode: "primary",
            native: true,
            permission: [],
            options: Map::new(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sessiond_model::{AgentMode, AgentModel, AgentProfile};

    use super::*;

    fn agent(name: &str, profile: Option<AgentProfile>) -> AgentStatus {
        AgentStatus {
            name: name.into(),
            title: name.to_uppercase(),
            command: name.into(),
            available: true,
            reason: None,
            is_default: false,
            default_mode: None,
            default_model: None,
            profile,
        }
    }

    fn profile(models: &[&str], modes: &[&str]) -> AgentProfile {
        AgentProfile {
            models: models
                .iter()
                .map(|m| AgentModel {
                    id: (*m).into(),
                    name: m.to_uppercase(),
                    description: None,
                })
                .collect(),
            modes: modes
                .iter()
                .map(|m| AgentMode {
                    id: (*m).into(),
                    name: m.to_uppercase(),
                    description: None,
                })
                .collect(),
            current_model: models.last().map(|m| (*m).into()),
            abilities: vec!["image".into()],
            ..AgentProfile::default()
        }
    }

    #[test]
    fn agents_are_providers() {
        let known = [
            agent("claude", Some(profile(&["opus", "haiku"], &[]))),
            AgentStatus {
                available: false,
                ..agent("gemini", None)
            },
            agent("demo", None),
        ];
        let p = providers(&known);
        let ids: Vec<_> = p.all.iter().map(|p| p.id).collect();
        assert_eq!(ids, ["claude", "demo"]);
        assert_eq!(
            serde_json::to_value(&p.default).unwrap(),
            json!({"claude": "haiku", "demo": "default"})
        );
        let all = serde_json::to_value(&p.all).unwrap();
        assert_eq!(
            all[0]["models"]["opus"]["capabilities"]["input"]["image"],
            true
        );
        assert_eq!(all[0]["models"]["default"]["name"], "Default");
        assert_eq!(all[1]["models"]["default"]["providerID"], "demo");
        assert_eq!(
            all[1]["models"]["default"]["limit"],
            json!({"context": 0, "output": 0})
        );
        assert_eq!(default_model(&known).as_deref(), Some("claude/haiku"));
    }

    #[test]
    fn a_default_that_the_agent_does_not_know_is_not_told() {
        let known = AgentStatus {
            default_model: Some("gone".into()),
            ..agent("a", Some(profile(&["x", "y"], &[])))
        };
        assert_eq!(model_of(&known), "y");
        let known = AgentStatus {
            default_model: Some("x".into()),
            ..agent("a", Some(profile(&["x", "y"], &[])))
        };
        assert_eq!(model_of(&known), "x");
    }

    #[test]
    fn modes_are_agents_and_build_is_always_there() {
        let names = |known: &[AgentStatus]| {
            agents(known)
                .into_iter()
                .map(|a| a.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["build"]);
        let known = [
            agent("claude", Some(profile(&[], &["default", "plan"]))),
            agent("opencode", Some(profile(&[], &["build", "plan"]))),
        ];
        assert_eq!(names(&known), ["build", "default", "plan"]);
        let plan = &agents(&known)[2];
        assert_eq!(
            plan.description.as_deref(),
            Some("CLAUDE: PLAN; OPENCODE: PLAN")
        );
    }
}
