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

/// The changes of several turns, oldest first, as one list with one entry per file. A file
/// that several turns changed has no single patch.
pub(crate) fn merged(turns: Vec<Vec<FileChange>>, worktree: &str) -> Vec<DiffDto> {
    let mut all: Vec<DiffDto> = Vec::new();
    for change in turns.into_iter().flatten().map(|c| c.diff) {
        let file = relative(&change.file, worktree);
        match all.iter_mut().find(|known| known.file == file) {
            Some(known) => {
                known.patch = None;
                known.additions += change.additions;
                known.deletions += change.deletions;
                known.status = after(known.status, change.status);
            }
            None => all.push(DiffDto {
                file,
                patch: change.patch,
                additions: change.additions,
                deletions: change.deletions,
                status: change.status,
            }),
        }
    }
    all
}

/// What two changes of a file, one after the other, make of it.
fn after(first: DiffStatus, then: DiffStatus) -> DiffStatus {
    match (first, then) {
        (DiffStatus::Added, DiffStatus::Modified) => DiffStatus::Added,
        (DiffStatus::Deleted, DiffStatus::Added) => DiffStatus::Modified,
        (_, then) => then,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(file: &str, additions: u64, status: DiffStatus) -> FileChange {
        FileChange::reported(sessiond_model::FileDiff {
            file: file.into(),
            patch: Some("@@".into()),
            additions,
            deletions: 1,
            status,
        })
    }

    #[test]
    fn changes_of_one_file_are_one_entry() {
        let all = merged(
            vec![
                vec![
                    change("/p/a", 2, DiffStatus::Added),
                    change("/p/b", 1, DiffStatus::Modified),
                ],
                vec![change("/p/a", 3, DiffStatus::Modified)],
            ],
            "/p",
        );
        assert_eq!(all.len(), 2);
        assert_eq!(
            all[0],
            DiffDto {
                file: "a".into(),
                patch: None,
                additions: 5,
                deletions: 2,
                status: DiffStatus::Added
            }
        );
        assert!(all[1].patch.is_some());
    }

    #[test]
    fn paths_are_relative_to_the_worktree() {
        assert_eq!(relative("/p/a/b", "/p"), "a/b");
        assert_eq!(relative("/pq/a", "/p"), "/pq/a");
        assert_eq!(
            relative("/etc/a", "/"),
            "/etc/a",
            "outside of git: absolute"
        );
    }
}
