//! Providers, models, agents, and the configuration that names them.

use axum::extract::State;
use serde_json::{Map, Value, json};
use sessiond_engine::{EngineError, Settings};

use crate::decode;
use crate::error::ApiError;
use crate::extract::{self, Payload, Reply, Selected};
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
    extract::json(&shown(&app).await?)
}

/// Changes what holds, everywhere and for good.
pub(crate) async fn change_config(State(app): State<App>, at: Selected, body: Payload) -> Reply {
    // Known from now on, so that those who look at it are told.
    app.engine.workspace(at.directory.as_deref()).await?;
    let patch = decode::config_patch(body.0, &shown(&app).await?)?;
    if patch.shares() && !app.engine.config().share.enabled {
        return Err(EngineError::Disabled {
            what: "sharing",
            by: "`share.enabled` in sessiond.toml",
        }
        .into());
    }
    let change = |before: &Settings| patch.over(before);
    app.engine.change_settings::<ApiError>(change).await?;
    extract::json(&shown(&app).await?)
}

async fn shown(app: &App) -> Result<Map<String, Value>, ApiError> {
    let mut config = json!({
        "$schema": "https://opencode.ai/config.json",
        "share": if app.engine.sharing_is_on() { "manual" } else { "disabled" },
        "autoupdate": false,
        "agent": {}, "mode": {}, "command": {}, "plugin": [], "mcp": {}, "provider": {},
    });
    if let Some(model) = wire::default_model(&app.engine.agents().await?) {
        config["model"] = model.into();
    }
    let Value::Object(mut config) = config else {
        return Ok(Map::new());
    };
    let said = &app.engine.settings().said;
    config.extend(said.clone().into_iter().filter(|(name, _)| name != "share"));
    Ok(config)
}
