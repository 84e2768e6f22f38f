//! Directories and the projects they belong to.
//!
//! A project is known by the root commit of its git repository, so that clones and linked
//! worktrees share it; everything outside of git is the project `global`.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sessiond_model::{Project, ProjectId, Timestamp};
use tokio::process::Command;

use crate::{EngineError, Workspace};

/// How long an answer of git is believed: a directory may become a repository.
const FRESH: Duration = Duration::from_secs(30);
/// Directories remembered at the same time.
const REMEMBERED: usize = 512;
/// Longest that one git command may take.
const GIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest path accepted, in bytes.
const MAX_PATH: usize = 4096;

/// Resolves and remembers workspaces.
#[derive(Debug, Default)]
pub(crate) struct Workspaces {
    known: Mutex<HashMap<String, (Instant, Arc<Workspace>)>>,
}

impl Workspaces {
    /// The workspace of an absolute, normalised directory.
    pub(crate) async fn resolve(&self, directory: String, now: Timestamp) -> Arc<Workspace> {
        if let Some((at, workspace)) = self.known.lock().get(&directory)
            && at.elapsed() < FRESH
        {
            return workspace.clone();
        }
        let workspace = Arc::new(look(directory.clone(), now).await);
        let mut known = self.known.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(directory, (Instant::now(), workspace.clone()));
        workspace
    }
}

impl Workspaces {
    /// The directories that were asked for lately.
    pub(crate) fn remembered(&self) -> Vec<Arc<Workspace>> {
        let known = self.known.lock();
        known
            .values()
            .map(|(_, workspace)| workspace.clone())
            .collect()
    }

    /// Forgets a directory.
    pub(crate) fn forget(&self, directory: &str) {
        self.known.lock().remove(directory);
    }
}

/// The absolute, normalised form of a directory as a client named it. Links are resolved
/// where the directory exists; one that does not exist is accepted as it is written.
pub(crate) fn normalise(directory: &str, base: &Path) -> Result<String, EngineError> {
    if directory.len() > MAX_PATH || directory.contains('\0') {
        return Err(EngineError::invalid(
            "directory",
            format!("Expected a path of at most {MAX_PATH} bytes without NUL"),
        ));
    }
    let joined = base.join(directory);
    let path = std::fs::canonicalize(&joined).unwrap_or_else(|_| lexical(&joined));
    path.into_os_string()
        .into_string()
        .map_err(|_| EngineError::invalid("directory", "Expected a path that is valid UTF-8"))
}

fn lexical(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

async fn git(directory: &str, args: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(directory)
        .args(args)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true);
    let output = tokio::time::timeout(GIT_TIMEOUT, command.output())
        .await
        .ok()?
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Makes a directory a repository.
pub(crate) async fn init_git(directory: &str) -> Result<(), EngineError> {
    if git(directory, &["init", "--quiet"]).await.is_none() {
        return Err(EngineError::invalid(
            "directory",
            format!("git can't make a repository of {directory:?}"),
        ));
    }
    Ok(())
}

async fn look(directory: String, now: Timestamp) -> Workspace {
    let project = |id: ProjectId, worktree: &str, vcs: Option<&str>| Project {
        id,
        worktree: worktree.to_owned(),
        vcs: vcs.map(str::to_owned),
        name: None,
        icon: None,
        commands: None,
        sandboxes: Vec::new(),
        created_at: now,
        updated_at: now,
    };
    if let Some(worktree) = git(&directory, &["rev-parse", "--show-toplevel"]).await {
        // A repository may have several roots (merged histories); the smallest id is as
        // stable a choice as any. One without commits has no identity yet.
        let roots = git(&directory, &["rev-list", "--max-parents=0", "HEAD"])
            .await
            .unwrap_or_default();
        let branch = git(&directory, &["symbolic-ref", "--short", "HEAD"]).await;
        let path = Path::new(&directory)
            .strip_prefix(&worktree)
            .map(|p| p.to_string_lossy().into_owned())
            .unwrap_or_default();
        let id = roots
            .lines()
            .min()
            .map_or_else(ProjectId::global, ProjectId::new);
        return Workspace {
            project: project(id, &worktree, Some("git")),
            directory,
            worktree,
            path,
            branch,
        };
    }
    let path = directory.trim_start_matches('/').to_owned();
    Workspace {
        project: project(ProjectId::global(), "/", None),
        directory,
        worktree: "/".into(),
        path,
        branch: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_made_absolute() {
        let base = Path::new("/no/such/base");
        assert_eq!(normalise("x/../y/", base).unwrap(), "/no/such/base/y");
        assert_eq!(normalise("/a/./b/", base).unwrap(), "/a/b");
        assert!(normalise("a\0b", base).is_err());
    }
}
