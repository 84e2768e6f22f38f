//! File changes as agents tell them: what a text was and is, of a whole file or of a piece.

use serde_json::Value;
use sessiond_model::{DiffStatus, FileDiff};
use similar::{ChangeTag, TextDiff};

/// Above this many bytes no line diff is made; lines are only counted.
const MAX_DIFFED: usize = 256 << 10;

/// One `diff` of a tool's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) path: String,
    pub(super) old: Option<String>,
    /// `None`: the file is gone.
    pub(super) new: Option<String>,
}

/// The diffs in a tool's content.
pub(super) fn edits(content: &[Value], kind: Option<&str>) -> Vec<Edit> {
    content
        .iter()
        .filter(|item| item["type"] == "diff")
        .filter_map(|item| {
            let path = item["path"].as_str().filter(|p| !p.is_empty())?.to_owned();
            // Some agents give an empty text for a file that was not there.
            let old = item["oldText"].as_str().filter(|t| !t.is_empty());
            let old = old.map(str::to_owned);
            let new = item["newText"].as_str().map(str::to_owned);
            let gone = item["_meta"]["kind"] == "delete" || kind == Some("delete");
            let new = new.filter(|text| !(gone && text.is_empty()));
            Some(Edit { path, old, new })
        })
        .collect()
}

/// The edits of one path, in order; those that continue each other are one.
#[derive(Debug)]
struct Chain<'a> {
    path: &'a str,
    pieces: Vec<(Option<&'a str>, Option<&'a str>)>,
}

impl<'a> Chain<'a> {
    fn add(&mut self, edit: &'a Edit) {
        let (old, new) = (edit.old.as_deref(), edit.new.as_deref());
        match self.pieces.last_mut() {
            Some(last) if last.1 == old || (old.is_none() && new.is_some()) => last.1 = new,
            _ => self.pieces.push((old, new)),
        }
    }

    fn file_diff(&self) -> Option<FileDiff> {
        let pieces: Vec<_> = self.pieces.iter().filter(|(old, new)| old != new).collect();
        let (first, last) = (pieces.first()?, pieces.last()?);
        let status = match (first.0, last.1) {
            (None, _) => DiffStatus::Added,
            (_, None) => DiffStatus::Deleted,
            _ => DiffStatus::Modified,
        };
        let mut diff = FileDiff {
            file: self.path.to_owned(),
            patch: Some(String::new()),
            additions: 0,
            deletions: 0,
            status,
        };
        for (old, new) in pieces {
            let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
            if old.len() + new.len() > MAX_DIFFED {
                diff.patch = None;
                diff.additions += lines(new);
                diff.deletions += lines(old);
                continue;
            }
            let text = TextDiff::from_lines(old, new);
            for change in text.iter_all_changes() {
                match change.tag() {
                    ChangeTag::Insert => diff.additions += 1,
                    ChangeTag::Delete => diff.deletions += 1,
                    ChangeTag::Equal => {}
                }
            }
            if let Some(patch) = &mut diff.patch {
                let mut unified = text.unified_diff();
                if patch.is_empty() {
                    let side = |gone: bool| if gone { "/dev/null" } else { self.path };
                    unified.header(
                        side(status == DiffStatus::Added),
                        side(status == DiffStatus::Deleted),
                    );
                }
                patch.push_str(&unified.to_string());
            }
        }
        Some(diff)
    }
}

fn lines(text: &str) -> u64 {
    u64::try_from(text.lines().count()).unwrap_or(u64::MAX)
}

/// The changes that edits made, one per path, in the order of the paths' first edits.
pub(super) fn file_diffs<'a>(edits: impl Iterator<Item = &'a Edit>) -> Vec<FileDiff> {
    let mut chains: Vec<Chain<'a>> = Vec::new();
    for edit in edits {
        match chains.iter_mut().find(|c| c.path == edit.path) {
            Some(chain) => chain.add(edit),
            None => chains.push(Chain {
                path: &edit.path,
                pieces: vec![(edit.old.as_deref(), edit.new.as_deref())],
            }),
        }
    }
    chains.iter().filter_map(Chain::file_diff).collect()
}

/// The unified diff of a tool call's edits, for people.
pub(super) fn patch(edits: &[Edit]) -> Option<String> {
    let patch: String = file_diffs(edits.iter())
        .into_iter()
        .filter_map(|d| d.patch)
        .collect();
    (!patch.is_empty()).then_some(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(path: &str, old: Option<&str>, new: Option<&str>) -> Edit {
        Edit {
            path: path.into(),
            old: old.map(str::to_owned),
            new: new.map(str::to_owned),
        }
    }

    #[test]
    fn edits_of_one_file_that_continue_each_other_are_one_change() {
        let edits = [
            edit("/a", Some("1\n2\n"), Some("1\n2\n3\n")),
            edit("/b", None, Some("new\n")),
            edit("/a", Some("1\n2\n3\n"), Some("1\nzwei\n3\n")),
        ];
        let diffs = file_diffs(edits.iter());
        assert_eq!(diffs.len(), 2);
        assert_eq!((diffs[0].additions, diffs[0].deletions), (2, 1));
        assert_eq!(
            diffs[0].patch.as_deref(),
            Some("--- /a\n+++ /a\n@@ -1,2 +1,3 @@\n 1\n-2\n+zwei\n+3\n")
        );
        assert_eq!(diffs[1].status, DiffStatus::Added);
        assert_eq!(
            diffs[1].patch.as_deref(),
            Some("--- /dev/null\n+++ /b\n@@ -0,0 +1 @@\n+new\n")
        );
    }

    #[test]
    fn pieces_of_a_file_stay_pieces() {
        let edits = [
            edit("/a", Some("x\n"), Some("y\n")),
            edit("/a", Some("p\n"), Some("q\n")),
        ];
        let diffs = file_diffs(edits.iter());
        assert_eq!((diffs[0].additions, diffs[0].deletions), (2, 2));
        assert_eq!(diffs[0].status, DiffStatus::Modified);
    }

    #[test]
    fn made_and_removed_again_is_no_change() {
        let edits = [edit("/a", None, Some("x\n")), edit("/a", Some("x\n"), None)];
        assert_eq!(file_diffs(edits.iter()), []);
    }

    #[test]
    fn a_huge_file_is_counted_and_not_diffed() {
        let big = "line\n".repeat(100_000);
        let diffs = file_diffs([edit("/a", None, Some(&big))].iter());
        assert_eq!(diffs[0].patch, None);
        assert_eq!(diffs[0].additions, 100_000);
    }
}
