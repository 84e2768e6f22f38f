//! Tells whoever listens when another branch is checked out in a directory.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::engine::Inner;
use crate::notice::NoticeBody;

/// Time between two looks: a file of a few bytes in each directory that was asked for lately,
/// and only while someone listens. (A watch would have to follow git, which replaces the file,
/// and costs a handle for each directory.)
const LOOK: Duration = Duration::from_secs(2);
/// Longest file that is read.
const MAX_FILE: u64 = 4096;

impl Inner {
    /// Looks at the branches as long as the engine lives.
    pub(crate) fn watch_branches(self: &Arc<Self>) {
        let (inner, stop) = (Arc::downgrade(self), self.stop.clone());
        self.actors.spawn(async move {
            let mut known = HashMap::new();
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(LOOK) => {}
                }
                let Some(engine) = inner.upgrade() else {
                    return;
                };
                if engine.hub.subscribers() == 0 {
                    known.clear();
                } else {
                    known = engine.look_at_branches(known).await;
                }
            }
        });
    }

    /// Tells what differs from what is known; answers what is known then.
    async fn look_at_branches(
        &self,
        mut known: HashMap<String, Option<String>>,
    ) -> HashMap<String, Option<String>> {
        let mut places = self.workspaces.remembered();
        places.retain(|w| w.project.vcs.is_some());
        let looking = tokio::task::spawn_blocking(move || {
            let seen = places.into_iter();
            seen.filter_map(|w| Some((branch(Path::new(&w.worktree))?, w)))
                .collect::<Vec<_>>()
        });
        let Ok(seen) = looking.await else {
            return known;
        };
        let mut now = HashMap::new();
        for (branch, workspace) in seen {
            let before = known.remove(&workspace.directory);
            if before.unwrap_or_else(|| workspace.branch.clone()) != branch {
                let place = Some(Self::place(&workspace));
                self.notify(place, NoticeBody::BranchChanged(branch.clone()));
            }
            now.insert(workspace.directory.clone(), branch);
        }
        now
    }
}

/// The branch that is checked out in a worktree; `Some(None)` when its HEAD is detached, `None`
/// when that can't be seen.
fn branch(worktree: &Path) -> Option<Option<String>> {
    let head = read(&git_dir(worktree)?.join("HEAD"))?;
    let Some(reference) = head.trim().strip_prefix("ref: ") else {
        return Some(None);
    };
    // A repository with another store of references has them elsewhere, and says so here.
    (reference != "refs/heads/.invalid").then(|| {
        let name = reference.strip_prefix("refs/heads/");
        Some(name.unwrap_or(reference).to_owned())
    })
}

/// Where git keeps what is of a worktree; a linked one has a file that names it.
fn git_dir(worktree: &Path) -> Option<PathBuf> {
    let git = worktree.join(".git");
    if git.is_dir() {
        return Some(git);
    }
    let link = read(&git)?;
    Some(worktree.join(link.trim().strip_prefix("gitdir: ")?))
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(MAX_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn heads_of_all_kinds_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        assert_eq!(branch(at), None, "no repository");
        fs::create_dir(at.join(".git")).unwrap();
        assert_eq!(branch(at), None, "no HEAD");
        let head = |text: &str| fs::write(at.join(".git/HEAD"), text).unwrap();
        head("ref: refs/heads/topic/one\n");
        assert_eq!(branch(at), Some(Some("topic/one".into())));
        head("dc0c9a3cc9a9b0c0dd4a4a5fdbb0e2bd0d4ea4a1\n");
        assert_eq!(branch(at), Some(None), "detached");
        head("ref: refs/heads/.invalid\n");
        assert_eq!(branch(at), None, "elsewhere");
        let linked = at.join("linked");
        fs::create_dir_all(&linked).unwrap();
        fs::create_dir_all(at.join(".git/worktrees/linked")).unwrap();
        fs::write(
            at.join(".git/worktrees/linked/HEAD"),
            "ref: refs/heads/two\n",
        )
        .unwrap();
        fs::write(linked.join(".git"), "gitdir: ../.git/worktrees/linked\n").unwrap();
        assert_eq!(branch(&linked), Some(Some("two".into())));
    }
}
