//! What turns do to files, and how it is undone.

mod diffs;
mod random;
mod reverts;

use std::path::{Path, PathBuf};

use sessiond_engine::{PromptInput, RevertOptions};
use sessiond_model::{MessageId, Session, SessionId, Turn, TurnState};

use super::support::{World, prompt};

/// A world whose worktrees are captured, with a session of an agent that does not ask.
pub(super) struct Site {
    pub(super) w: World,
    pub(super) s: Session,
}

impl Site {
    pub(super) async fn new() -> Self {
        let w = World::new().await;
        let s = w.session().await;
        Self { w, s }
    }

    /// In a git repository, with what is there committed.
    pub(super) async fn in_git(files: &[(&str, &str)]) -> Self {
        let w = World::new().await;
        let project = w.project();
        for (name, text) in files {
            write(&project.join(name), text);
        }
        for args in [
            &["init", "-q", "-b", "main"][..],
            &["add", "-A"],
            &["commit", "-q", "--allow-empty", "-m", "first"],
        ] {
            let git = std::process::Command::new("git")
                .args(["-c", "user.name=A", "-c", "user.email=a@b"])
                .args(args)
                .current_dir(&project)
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .output()
                .unwrap();
            assert!(git.status.success(), "{git:?}");
        }
        let s = w.session().await;
        Self { w, s }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.w.project().join(name)
    }

    pub(super) fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path(name)).ok()
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        write(&self.path(name), text);
    }

    /// A turn of an agent that asks for no permission.
    pub(super) async fn ask(&self, text: &str) -> Turn {
        self.ask_in(&self.s.id, text).await
    }

    pub(super) async fn ask_in(&self, id: &SessionId, text: &str) -> Turn {
        let input = PromptInput {
            agent: Some("auto".into()),
            ..prompt(text)
        };
        let turn = self.w.engine.prompt(id, input).await.unwrap().turn.unwrap();
        let turn = self.w.end(&turn).await;
        assert_eq!(turn.state, TurnState::Completed, "{turn:?}");
        turn
    }
}

pub(super) fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

pub(super) fn to(message: &MessageId) -> RevertOptions {
    RevertOptions {
        message_id: message.clone(),
        part_id: None,
        force: false,
        lenient: false,
    }
}
