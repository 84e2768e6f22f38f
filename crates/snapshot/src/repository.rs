//! Which repository a directory belongs to, found by reading, never by running git in it.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

/// A git worktree and where git keeps its things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Repository {
    /// The directory that has the `.git`.
    pub(crate) toplevel: PathBuf,
    /// What is this worktree's own: the index.
    pub(crate) git_dir: PathBuf,
    /// What all worktrees of the repository share: objects, `info/exclude`.
    pub(crate) common_dir: PathBuf,
}

impl Repository {
    /// The repository whose worktree starts exactly at `toplevel`.
    pub(crate) fn at(toplevel: &Path) -> Option<Self> {
        let git_dir = git_dir(&toplevel.join(".git"))?;
        let common_dir = match fs::read(git_dir.join("commondir")) {
            Ok(bytes) => git_dir.join(OsStr::from_bytes(bytes.trim_ascii_end())),
            Err(_) => git_dir.clone(),
        };
        let common_dir = fs::canonicalize(common_dir).ok()?;
        (git_dir.join("HEAD").exists() && common_dir.join("objects").is_dir()).then(|| Self {
            toplevel: toplevel.to_owned(),
            git_dir,
            common_dir,
        })
    }

    /// The innermost repository that holds `directory` and whose toplevel `allowed` accepts.
    pub(crate) fn containing(directory: &Path, allowed: impl Fn(&Path) -> bool) -> Option<Self> {
        let found = directory.ancestors().find_map(Self::at)?;
        allowed(&found.toplevel).then_some(found)
    }

    /// Its objects, when they have the kind of id that we use.
    pub(crate) fn objects(&self) -> Option<PathBuf> {
        let config = fs::read(self.common_dir.join("config")).unwrap_or_default();
        let config = String::from_utf8_lossy(&config).to_ascii_lowercase();
        let sha256 = config
            .lines()
            .filter_map(|line| line.split_once('='))
            .any(|(key, value)| key.trim() == "objectformat" && value.trim() != "sha1");
        (!sha256).then(|| self.common_dir.join("objects"))
    }

    /// The ignore rules that are not in the worktree.
    pub(crate) fn exclude(&self) -> Option<PathBuf> {
        let path = self.common_dir.join("info/exclude");
        path.is_file().then_some(path)
    }
}

/// Follows a `.git` file, as linked worktrees and submodules have.
fn git_dir(dot_git: &Path) -> Option<PathBuf> {
    let meta = fs::metadata(dot_git).ok()?;
    if meta.is_dir() {
        return fs::canonicalize(dot_git).ok();
    }
    // A real one is one line.
    if !meta.is_file() || meta.len() > 1 << 16 {
        return None;
    }
    let bytes = fs::read(dot_git).ok()?;
    let target = bytes.strip_prefix(b"gitdir: ")?.trim_ascii_end();
    fs::canonicalize(dot_git.parent()?.join(OsStr::from_bytes(target))).ok()
}
