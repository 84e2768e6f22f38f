//! A place and what is offered there. sessiond offers the same everywhere.

use serde::Serialize;
use serde_json::{Value, json};
use sessiond_engine::{AgentStatus, OfferedCommand, Workspace};

use super::ModelDto;
use crate::wire;

/// A place.
#[derive(Debug, Serialize)]
pub(crate) struct LocationDto<'a> {
    directory: &'a str,
    project: ProjectDto<'a>,
}

#[derive(Debug, Serialize)]
struct ProjectDto<'a> {
    id: &'a str,
    directory: &'a str,
}

impl<'a> LocationDto<'a> {
    pub(crate) fn of(workspace: &'a Workspace) -> Self {
        Self {
            directory: &workspace.directory,
            project: ProjectDto {
                id: workspace.project.id.as_str(),
                directory: &workspace.worktree,
            },
        }
    }
}

/// Something of a place.
#[derive(Debug, Serialize)]
pub(crate) struct Located<'a, T> {
    location: LocationDto<'a>,
    data: T,
}

impl<'a, T: Serialize> Located<'a, T> {
    pub(crate) fn new(workspace: &'a Workspace, data: T) -> Self {
        Self {
            location: LocationDto::of(workspace),
            data,
        }
    }
}

/// How requests are made, which is a coding agent's own affair.
fn nothing() -> Value {
    json!({"headers": {}, "body": {}})
}

/// The modes of the coding agents.
pub(crate) fn agents(known: &[AgentStatus]) -> Vec<Value> {
    let modes = wire::agents(known);
    let agent = |mode: wire::AgentDto| {
        json!({"id": mode.name, "request": nothing(), "description": mode.description,
            "mode": "primary", "hidden": false, "permissions": []})
    };
    modes.into_iter().map(agent).collect()
}

/// The models of all usable coding agents. Prices and limits are unknown, which is 0.
pub(crate) fn models(known: &[AgentStatus]) -> Vec<Value> {
    let providers = wire::providers(known);
    let models = providers.all.iter().flat_map(|p| p.models.values());
    let model = |m: &wire::ModelDto<'_>| {
        let input: Vec<_> = [
            ("text", true),
            ("image", m.capabilities.input.image),
            ("audio", m.capabilities.input.audio),
        ]
        .into_iter()
        .filter_map(|(medium, can)| can.then_some(medium))
        .collect();
        json!({"id": m.id, "providerID": m.provider_id, "name": m.name,
            "api": {"id": m.id, "type": "native", "settings": {}},
            "capabilities": {"tools": true, "input": input, "output": ["text"]},
            "request": nothing(), "variants": [], "time": {"released": 0},
            "cost": [{"input": 0, "output": 0, "cache": {"read": 0, "write": 0}}],
            "status": "active", "enabled": true, "limit": {"context": 0, "output": 0}})
    };
    models.map(model).collect()
}

/// The usable coding agents.
pub(crate) fn providers(known: &[AgentStatus]) -> Vec<Value> {
    let provider = |a: &AgentStatus| {
        json!({"id": a.name, "name": a.title, "api": {"type": "native", "settings": {}},
            "request": nothing()})
    };
    known.iter().filter(|a| a.available).map(provider).collect()
}

/// One of them.
pub(crate) fn provider(known: &[AgentStatus], id: &str) -> Option<Value> {
    providers(known).into_iter().find(|p| p["id"] == id)
}

#[derive(Debug, Serialize)]
pub(crate) struct CommandDto<'a> {
    name: &'a str,
    template: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<ModelDto<'a>>,
}

/// The slash commands, one of each name.
pub(crate) fn commands(offered: &[OfferedCommand]) -> Vec<CommandDto<'_>> {
    let mut seen = std::collections::HashSet::new();
    offered
        .iter()
        .filter(|c| seen.insert(c.name.as_str()))
        .map(|c| CommandDto {
            name: &c.name,
            template: &c.template.template,
            description: &c.template.description,
            agent: c.template.agent.as_deref(),
            model: c.template.model.as_ref().map(ModelDto::of),
        })
        .collect()
}
