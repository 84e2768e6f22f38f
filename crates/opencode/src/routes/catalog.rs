//! Providers, models, agents, and the configuration that names them.

use axum::extract::State;
use serde_json::json;

use crate::extract::{self, Reply};
use crate::state::App;
use crate::wire;

/// `/config/providers`
pub(crate) async fn config_providers(State(app): State<App>) -> Reply {
    let agents = app.engine.agents().await?;
    let known = wire::providers(&agents);
    extract::json(&json!({"providers": known.all, "default": known.default}))
}

/// `/provider`
pub(crate) async fn providers(State(app): State<App>) -> Reply {
    let agents = app.engine.agents().await?;
    let known = wire::providers(&agents);
    let connected: Vec<_> = known.all.iter().map(|p| p.id).collect();
    extract::json(&json!({"all": known.all, "default": known.default, "connected": connected}))
}

/// `/agent`
pub(crate) async fn agents(State(app): State<App>) -> Reply {
    extract::json(&wire::agents(&app.engine.agents().await?))
}

/// `/config` and `/global/config`: what of OpenCode's configuration holds here.
pub(crate) async fn config(State(app): State<App>) -> Reply {
    let mut config = json!({
        "$schema": "https://opencode.ai/config.json",
        "share": if app.engine.config().share.enabled { "manual" } else { "disabled" },
        "autoupdate": false,
        "agent": {}, "mode": {}, "command": {}, "plugin": [], "mcp": {}, "provider": {},
    });
    if let Some(model) = wire::default_model(&app.engine.agents().await?) {
        config["model"] = model.into();
    }
    extract::json(&config)
}
