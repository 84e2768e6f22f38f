//! Slash commands.

use std::collections::HashSet;

use serde::Serialize;
use sessiond_engine::OfferedCommand;

#[derive(Debug, Serialize)]
pub(crate) struct CommandDto<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    source: &'static str,
    template: &'a str,
    hints: Vec<String>,
}

/// The commands; OpenCode knows one of each name.
pub(crate) fn commands(offered: &[OfferedCommand]) -> Vec<CommandDto<'_>> {
    let mut seen = HashSet::new();
    offered
        .iter()
        .filter(|c| seen.insert(c.name.as_str()))
        .map(|c| CommandDto {
            name: &c.name,
            description: &c.template.description,
            agent: c.template.agent.as_deref(),
            model: c
                .template
                .model
                .as_ref()
                .map(|m| format!("{}/{}", m.provider_id, m.id)),
            source: "command",
            template: &c.template.template,
            hints: c.hints(),
        })
        .collect()
}
