use std::path::{Path, PathBuf};
use std::process::Command;

use sessiond_workspace::Root;
use tempfile::TempDir;

/// A directory of its own, with another one beside it that nobody may see.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir_all(place.dir()).unwrap();
        std::fs::create_dir_all(place.beside()).unwrap();
        std::fs::write(place.beside().join("secret.txt"), "alpha secret\n").unwrap();
        place
    }

    /// The same with a repository that has one commit of what is there.
    pub(crate) fn repository(files: &[(&str, &str)]) -> Self {
        let place = Self::new();
        place.git(&["init", "-q", "-b", "main"]);
        for (path, text) in files {
            place.write(path, text);
        }
        place.commit();
        place
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.0.path().join("project")
    }

    pub(crate) fn beside(&self) -> PathBuf {
        self.0.path().join("beside")
    }

    pub(crate) fn root(&self) -> Root {
        Root::open(self.dir()).unwrap()
    }

    pub(crate) fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.dir().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn commit(&self) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", "x"]);
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        git(&self.dir(), args)
    }
}

pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
