use std::process::ExitCode;

use comfy_table::{ContentArrangement, Table, presets};
use serde_json::json;
use sessiond_agent::{AgentSpec, Availability};
use sessiond_server::Config;

use super::Outcome;
use crate::out;

pub(crate) fn run(config: &Config, as_json: bool) -> Outcome {
    let catalogue = config.catalogue();
    let default = config
        .default_agent
        .clone()
        .unwrap_or_else(|| catalogue.default_agent().name.clone());
    let agents = catalogue
        .iter()
        .map(|a| (a, catalogue.availability(&a.name)));
    if as_json {
        let list: Vec<_> = agents
            .map(|(a, found)| as_value(a, &found, a.name == default))
            .collect();
        out::print(&format!("{:#}", json!(list)));
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["AGENT", "", "FOUND AT, OR WHAT TO DO"]);
    for (agent, found) in agents {
        let (state, where_or_why) = match found {
            Availability::Ready { path } if agent.name == default => {
                ("default", path.display().to_string())
            }
            Availability::Ready { path } => ("ready", path.display().to_string()),
            Availability::Missing { reason } => ("-", reason),
        };
        table.add_row([agent.name.as_str(), state, &where_or_why]);
    }
    out::print(&table.trim_fmt());
    out::print(
        "\nOther programs that speak ACP: [agents.NAME] in sessiond.toml, see `sessiond serve --help`.",
    );
    Ok(ExitCode::SUCCESS)
}

fn as_value(agent: &AgentSpec, found: &Availability, is_default: bool) -> serde_json::Value {
    let (path, reason) = match found {
        Availability::Ready { path } => (Some(path.display().to_string()), None),
        Availability::Missing { reason } => (None, Some(reason)),
    };
    json!({
        "name": agent.name,
        "title": agent.title,
        "command": agent.command,
        "args": agent.args,
        "available": path.is_some(),
        "path": path,
        "reason": reason,
        "default": is_default,
        "builtin": agent.builtin,
        "default_mode": agent.default_mode,
        "default_model": agent.default_model,
    })
}
