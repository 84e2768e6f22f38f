use std::path::Path;

use tempfile::NamedTempFile;

use crate::git::{Git, MAX_OUTPUT, Output};
use crate::{Bounded, FileChange, Result, Root, WorkspaceError, patch};

/// New files that are told, at the most.
const MAX_NEW: usize = 5_000;
/// Branches that are taken for the default one when nothing says which it is.
const USUAL: [&str; 2] = ["main", "master"];

/// Names the branch that is checked out.
const CURRENT: [&str; 4] = ["symbolic-ref", "--quiet", "--short", "HEAD"];

/// The branches that clients show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Branches {
    /// The one that is checked out; `None` without git, and when HEAD is detached.
    pub current: Option<String>,
    /// The one that others begin at, as far as it is known.
    pub default: Option<String>,
}

/// What the files are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// The last commit.
    Head,
    /// Where the branch left the default branch.
    Branch,
}

/// The branches of the repository that the root is in.
///
/// # Errors
/// `TimedOut`; `Git` when there is no git program.
pub async fn branches(root: &Root) -> Result<Branches> {
    let at = root.path();
    Ok(Branches {
        current: ask(at, &CURRENT).await?,
        default: default_branch(at).await?,
    })
}

/// The line that git answers with; `None` when it fails.
async fn ask(at: &Path, args: &[&str]) -> Result<Option<String>> {
    Ok(Git::at(at).run(args).await?.line())
}

async fn default_branch(at: &Path) -> Result<Option<String>> {
    let remote = [
        CURRENT[0],
        CURRENT[1],
        CURRENT[2],
        "refs/remotes/origin/HEAD",
    ];
    if let Some(name) = ask(at, &remote).await? {
        return Ok(name.strip_prefix("origin/").map(str::to_owned));
    }
    let configured = ask(at, &["config", "--get", "init.defaultBranch"]).await?;
    for name in configured.iter().map(String::as_str).chain(USUAL) {
        let reference = format!("refs/heads/{name}");
        let there = ["show-ref", "--verify", "--quiet", &reference];
        if Git::at(at).run(&there).await?.success {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

/// The files in the root that differ from then, new ones too, by path without regard to case.
/// Without git there are none. `context` is the lines around each change, the whole file
/// without it. Cut when there are more than 5,000 new files; without patches when those are larger
/// than 32 MiB. The user's index is not touched.
///
/// # Errors
/// `TimedOut`; `Git` when git fails.
pub async fn changes(
    root: &Root,
    since: Since,
    context: Option<u32>,
) -> Result<Bounded<FileChange>> {
    let unified = format!("-U{}", context.unwrap_or(i32::MAX.unsigned_abs()));
    let args = ["-z", "--raw", "--numstat", "-p", &unified];
    let Some(Diff { output, has_more }) = diff(root, since, &args).await? else {
        return Ok(Bounded::default());
    };
    let mut items = patch::parse(&output.stdout);
    items.sort_by_cached_key(|c| (c.file.to_lowercase(), c.file.clone()));
    Ok(Bounded {
        items,
        is_cut: has_more,
    })
}

/// The difference to the last commit as one patch, new files too; empty without git.
///
/// # Errors
/// As [`changes`]; `LargeDiff` and `ManyNew`: a part of a patch is of no use.
pub async fn raw_diff(root: &Root) -> Result<Vec<u8>> {
    let args = ["-p", "--full-index", "--binary"];
    match diff(root, Since::Head, &args).await? {
        None => Ok(Vec::new()),
        Some(Diff { has_more: true, .. }) => Err(WorkspaceError::ManyNew(MAX_NEW)),
        Some(Diff { output, .. }) if output.cut => Err(WorkspaceError::LargeDiff(MAX_OUTPUT)),
        Some(Diff { output, .. }) => Ok(output.stdout),
    }
}

/// What git says of a difference.
struct Diff {
    output: Output,
    /// Whether there are new files that are not part of it.
    has_more: bool,
}

/// `None` where there is nothing to compare with.
async fn diff(root: &Root, since: Since, args: &[&str]) -> Result<Option<Diff>> {
    let at = root.path();
    let Some((index, has_more)) = index_with_new_files(at).await? else {
        return Ok(None);
    };
    let Some(base) = base(at, since).await? else {
        return Ok(None);
    };
    let fixed = [
        "diff",
        "--no-ext-diff",
        "--no-textconv",
        "--no-renames",
        "--no-color",
    ];
    let all: Vec<&str> = (fixed.into_iter().chain(args.iter().copied()))
        .chain([base.as_str(), "--", "."])
        .collect();
    let output = Git::at(at).index(index.path()).run(&all).await?;
    if !output.success {
        return Err(WorkspaceError::Git(output.stderr));
    }
    Ok(Some(Diff { output, has_more }))
}

/// A copy of the index that knows the files which git does not, so that they are part of the
/// difference, and whether there are too many of them; `None` without git.
async fn index_with_new_files(at: &Path) -> Result<Option<(NamedTempFile, bool)>> {
    let Some(path) = ask(at, &["rev-parse", "--git-path", "index"]).await? else {
        return Ok(None);
    };
    let failed = |e: std::io::Error| WorkspaceError::Git(e.to_string());
    let copy = NamedTempFile::new().map_err(failed)?;
    match tokio::fs::copy(at.join(path), copy.path()).await {
        Ok(_) => {}
        // Nothing was ever added. Git takes no empty file for an index.
        Err(_) => tokio::fs::remove_file(copy.path()).await.map_err(failed)?,
    }
    let list = [
        "ls-files",
        "--others",
        "--exclude-standard",
        "-z",
        "--",
        ".",
    ];
    let listed = Git::at(at).run(&list).await?;
    if !listed.success {
        return Err(WorkspaceError::Git(listed.stderr));
    }
    let mut new: Vec<&[u8]> = (listed.stdout.split(|b| *b == 0))
        // One that ends so is a repository of its own.
        .filter(|path| !path.is_empty() && !path.ends_with(b"/"))
        .take(MAX_NEW + 1)
        .collect();
    let has_more = new.len() > MAX_NEW;
    new.truncate(MAX_NEW);
    if !new.is_empty() {
        let add = [
            "add",
            "--intent-to-add",
            "--pathspec-from-file=-",
            "--pathspec-file-nul",
        ];
        let added = Git::at(at).index(copy.path()).input(new.join(&0)).run(&add);
        let added = added.await?;
        if !added.success {
            return Err(WorkspaceError::Git(added.stderr));
        }
    }
    Ok(Some((copy, has_more)))
}

async fn base(at: &Path, since: Since) -> Result<Option<String>> {
    let head = ask(at, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]).await?;
    match (since, head) {
        (Since::Head, Some(head)) => Ok(Some(head)),
        // Before the first commit all is new.
        (Since::Head, None) => ask(at, &["hash-object", "-t", "tree", "--stdin"]).await,
        (Since::Branch, None) => Ok(None),
        (Since::Branch, Some(_)) => {
            let current = ask(at, &CURRENT).await?;
            let default = default_branch(at).await?;
            let Some(default) = default.filter(|d| Some(d) != current.as_ref()) else {
                return Ok(None);
            };
            for name in [
                format!("refs/heads/{default}"),
                format!("refs/remotes/origin/{default}"),
            ] {
                if let Some(fork) = ask(at, &["merge-base", &name, "HEAD"]).await? {
                    return Ok(Some(fork));
                }
            }
            Ok(None)
        }
    }
}

/// Applies a patch to the files, whole or not at all; the index stays as it is.
///
/// # Errors
/// `NoRepository`; `NotClean` when it does not fit, or names files outside of the repository.
pub async fn apply(root: &Root, patch: String) -> Result<()> {
    let at = root.path();
    let Some(top) = ask(at, &["rev-parse", "--show-toplevel"]).await? else {
        return Err(WorkspaceError::NoRepository);
    };
    let apply = Git::at(Path::new(&top)).input(patch.into_bytes());
    let output = apply.run(&["apply", "--whitespace=nowarn", "-"]).await?;
    if !output.success {
        return Err(WorkspaceError::NotClean(output.stderr));
    }
    Ok(())
}
