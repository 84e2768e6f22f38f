//! Settings that clients have changed while sessiond runs: on top of `sessiond.toml`, in a file
//! of their own, so that they outlast a restart and the operator's file stays the operator's.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sessiond_model::{ModelRef, PermissionRule};

use crate::engine::{Engine, Inner, Result};
use crate::prompt::{DEFAULT_MODE, DEFAULT_MODEL};
use crate::{CommandTemplate, EngineError, NoticeBody};

/// Largest file, in bytes.
const MAX_SIZE: usize = 256 * 1024;

/// What clients have set for the whole server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Model of prompts in sessions that have none; its provider names the coding agent.
    pub model: Option<ModelRef>,
    /// Mode of prompts in sessions that have none.
    pub mode: Option<String>,
    /// Sharing is switched off, whatever `sessiond.toml` says.
    pub no_sharing: bool,
    /// Slash commands by name; they hide those of `sessiond.toml`.
    pub commands: BTreeMap<String, CommandTemplate>,
    /// Permission rules that come before those of each session.
    pub permission: Vec<PermissionRule>,
    /// Coding agents that are not offered.
    pub disabled_agents: Vec<String>,
    /// Everything that was set, in the words of the clients who set it.
    pub said: Map<String, Value>,
}

/// The settings that hold, and where they are kept.
#[derive(Debug)]
pub(crate) struct SettingsFile {
    /// `None`: in memory only.
    path: Option<PathBuf>,
    now: Mutex<Arc<Settings>>,
    /// Held while they are changed.
    edits: tokio::sync::Mutex<()>,
}

impl SettingsFile {
    /// Reads the file. One that can't be understood is set aside, and nothing is set.
    ///
    /// # Errors
    /// When it can't be read, or can't be set aside.
    pub(crate) fn open(path: Option<PathBuf>) -> io::Result<Self> {
        let settings = match &path {
            Some(path) => read(path)?,
            None => Settings::default(),
        };
        Ok(Self {
            path,
            now: Mutex::new(Arc::new(settings)),
            edits: tokio::sync::Mutex::default(),
        })
    }

    /// What holds now.
    pub(crate) fn now(&self) -> Arc<Settings> {
        self.now.lock().clone()
    }
}

fn read(path: &Path) -> io::Result<Settings> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Settings::default()),
        Err(e) => return Err(e),
    };
    serde_json::from_slice(&bytes).or_else(|e| {
        let aside = path.with_extension("unreadable.json");
        tracing::error!(path = %path.display(), aside = %aside.display(), error = %e,
            "the settings of clients can't be understood: they are set aside");
        fs::rename(path, aside)?;
        Ok(Settings::default())
    })
}

/// Replaces the file: whole, or not at all.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("json.new");
    let mut file = fs::File::create(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    match path.parent() {
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

impl Engine {
    /// What clients have set.
    #[must_use]
    pub fn settings(&self) -> Arc<Settings> {
        self.0.settings.now()
    }

    /// Whether sessions may be shared, by the configuration and by what clients have set.
    #[must_use]
    pub fn sharing_is_on(&self) -> bool {
        self.0.config.share.enabled && !self.0.settings.now().no_sharing
    }

    /// Changes what clients have set: `change` is given what holds now. It holds, and is
    /// durable, when this returns; whoever listens is told to look anew.
    ///
    /// # Errors
    /// What `change` refuses; `Invalid` for a value that can't be used; `Unavailable` when the
    /// file can't be written.
    pub async fn change_settings<E: From<EngineError>>(
        &self,
        change: impl FnOnce(&Settings) -> std::result::Result<Settings, E> + Send,
    ) -> std::result::Result<Arc<Settings>, E> {
        let file = &self.0.settings;
        let _editing = file.edits.lock().await;
        let before = file.now();
        let after = Arc::new(change(&before)?);
        if before == after {
            return Ok(before);
        }
        self.0.check_settings(&after)?;
        let bytes =
            serde_json::to_vec_pretty(&*after).map_err(|e| EngineError::Internal(e.to_string()))?;
        if bytes.len() > MAX_SIZE {
            let reason = format!("Expected at most {MAX_SIZE} bytes of settings in all");
            return Err(EngineError::invalid("", reason).into());
        }
        if let Some(path) = file.path.clone() {
            let written = tokio::task::spawn_blocking(move || write(&path, &bytes)).await;
            written
                .map_err(|e| EngineError::Internal(e.to_string()))?
                .map_err(|e| EngineError::Unavailable {
                    reason: format!("the settings can't be written: {e}"),
                    retry_after: std::time::Duration::from_secs(5),
                })?;
        }
        *file.now.lock() = after.clone();
        for place in self.0.known_places() {
            self.0.notify(Some(place), NoticeBody::DirectoryDropped);
        }
        self.0.notify(None, NoticeBody::AllDropped);
        Ok(after)
    }
}

impl Inner {
    fn check_settings(&self, settings: &Settings) -> Result<()> {
        let profiles = self.profiles.lock();
        if let Some(model) = &settings.model {
            let agent = &model.provider_id;
            if self.catalogue.get(agent).is_none() {
                let reason = format!("Expected AGENT/MODEL, got the unknown agent {agent:?}");
                return Err(EngineError::invalid("model", reason));
            }
            let models = profiles.get(agent).map_or(&[][..], |p| &p.models);
            let is_known = model.id == DEFAULT_MODEL
                || models.is_empty()
                || models.iter().any(|m| m.id == model.id);
            if !is_known {
                let reason = format!("Expected a model of {agent}, got {:?}", model.id);
                return Err(EngineError::invalid("model", reason));
            }
        }
        if let Some(mode) = settings.mode.as_deref().filter(|m| *m != DEFAULT_MODE) {
            let mut modes = profiles.values().flat_map(|p| &p.modes);
            if !modes.any(|m| m.id == mode) {
                let reason =
                    format!("Expected {DEFAULT_MODE:?} or a mode of an agent, got {mode:?}");
                return Err(EngineError::invalid("default_agent", reason));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.json");
        assert_eq!(read(&path).unwrap(), Settings::default());
        let settings = Settings {
            mode: Some("plan".into()),
            said: Map::from_iter([("default_agent".into(), "plan".into())]),
            ..Settings::default()
        };
        write(&path, &serde_json::to_vec(&settings).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap(), settings);
        assert_eq!(
            fs::read_dir(dir.path()).unwrap().count(),
            1,
            "no draft stays"
        );
    }

    #[test]
    fn a_file_that_cannot_be_understood_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("settings.json");
        fs::write(&path, b"{\"mode\": 5}").unwrap();
        assert_eq!(read(&path).unwrap(), Settings::default());
        assert!(!path.exists());
        let aside = dir.path().join("settings.unreadable.json");
        assert_eq!(fs::read(aside).unwrap(), b"{\"mode\": 5}");
    }
}
