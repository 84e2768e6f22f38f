use serde::Serialize;
use sessiond_model::{DiffStatus, FileChange};

/// A changed file.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct DiffDto {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    additions: u64,
    deletions: u64,
    status: DiffStatus,
}

/// A path as OpenCode shows it: relative to the worktree when it is inside.
pub(crate) fn relative(file: &str, worktree: &str) -> String {
    file.strip_prefix(worktree)
        .and_then(|rest| rest.strip_prefix('/'))
        .filter(|_| worktree != "/")
        .unwrap_or(file)
        .to_owned()
}

/// The changed files.
pub(crate) fn diffs(changes: Vec<FileChange>, worktree: &str) -> Vec<DiffDto> {
    let changes = changes.into_iter().map(|c| c.diff);
    changes
        .map(|diff| DiffDto {
            file: relative(&diff.file, worktree),
            patch: diff.patch,
            additions: diff.additions,
            deletions: diff.deletions,
            status: diff.status,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_inside_the_worktree() {
        assert_eq!(relative("/p/a/b", "/p"), "a/b");
        assert_eq!(relative("/pa/b", "/p"), "/pa/b");
        assert_eq!(relative("/p/a", "/"), "/p/a");
    }
}
