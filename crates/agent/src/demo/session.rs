//! The demo agent's sessions and their files.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The modes: id, name, description.
pub(super) const MODES: [(&str, &str, &str); 3] = [
    ("default", "Ask", "Asks before it writes, edits or runs"),
    ("auto", "Auto", "Does everything without asking"),
    ("plan", "Plan", "Changes nothing"),
];
/// The models: id, name, description.
pub(super) const MODELS: [(&str, &str, &str); 2] = [
    ("demo-1", "Demo 1", "Follows the commands of the prompt"),
    ("demo-2", "Demo 2", "The same, by another name"),
];

/// One thing said in a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Said {
    /// `user`, `agent`, or `context` (given along with a prompt).
    pub(super) by: String,
    pub(super) text: String,
}

/// A session. Its mode is not kept, as with some real agents.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) cwd: PathBuf,
    pub(super) model: String,
    pub(super) title: Option<String>,
    pub(super) history: Vec<Said>,
    /// What the next prompt does, whatever it says.
    #[serde(default)]
    pub(super) next: Option<String>,
    #[serde(skip, default = "first_mode")]
    pub(super) mode: String,
    /// Kinds of tools that need not be asked for again.
    #[serde(skip)]
    pub(super) always: BTreeSet<String>,
    #[serde(skip)]
    pub(super) cost: f64,
}

fn first_mode() -> String {
    MODES[0].0.to_owned()
}

fn entries(list: &[(&str, &str, &str)], id: &str) -> Vec<Value> {
    list.iter()
        .map(|(value, name, description)| {
            json!({id: value, "name": name, "description": description})
        })
        .collect()
}

impl Session {
    pub(super) fn new(id: String, cwd: PathBuf) -> Self {
        Self {
            id,
            cwd,
            model: MODELS[0].0.to_owned(),
            title: None,
            history: Vec::new(),
            next: None,
            mode: first_mode(),
            always: BTreeSet::new(),
            cost: 0.0,
        }
    }

    pub(super) fn remember(&mut self, by: &str, text: &str) {
        if !text.is_empty() {
            self.history.push(Said {
                by: by.to_owned(),
                text: text.to_owned(),
            });
        }
    }

    pub(super) fn config_options(&self) -> Value {
        json!([
            {
                "id": "mode", "name": "Mode", "category": "mode", "type": "select",
                "currentValue": self.mode, "options": entries(&MODES, "value"),
            },
            {
                "id": "model", "name": "Model", "category": "model", "type": "select",
                "currentValue": self.model, "options": entries(&MODELS, "value"),
            },
        ])
    }

    /// What `session/new`, `load` and `resume` answer, but for the id.
    pub(super) fn profile(&self) -> Value {
        json!({
            "modes": {"currentModeId": self.mode, "availableModes": entries(&MODES, "id")},
            "configOptions": self.config_options(),
        })
    }
}

/// The directory of the session files.
#[derive(Clone, Debug)]
pub(super) struct Files(pub(super) PathBuf);

impl Files {
    fn path(&self, id: &str) -> Option<PathBuf> {
        // The id comes from outside and must not lead out of the directory.
        let plain = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        plain.then(|| self.0.join(format!("{id}.json")))
    }

    pub(super) fn save(&self, session: &Session) -> io::Result<()> {
        let path = self
            .path(&session.id)
            .ok_or_else(|| io::Error::other("bad session id"))?;
        std::fs::create_dir_all(&self.0)?;
        let fresh = path.with_extension("tmp");
        std::fs::write(&fresh, serde_json::to_vec(session)?)?;
        std::fs::rename(fresh, path)
    }

    pub(super) fn load(&self, id: &str) -> Option<Session> {
        read(&self.path(id)?)
    }

    pub(super) fn list(&self) -> Vec<Session> {
        let mut sessions: Vec<Session> = std::fs::read_dir(&self.0)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "json"))
            .filter_map(|path| read(&path))
            .collect();
        sessions.sort_by(|a, b| a.id.cmp(&b.id));
        sessions
    }
}

fn read(path: &Path) -> Option<Session> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}
