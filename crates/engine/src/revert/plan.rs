//! What a revert makes of each file. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sessiond_model::{Conflict, FileChange, FileState, Restore, RestoreFile};

/// What undoing some turns makes of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// What it becomes.
    pub(crate) target: Option<FileState>,
    /// As the session last wrote it: as it must be found.
    pub(crate) last: Option<FileState>,
    /// Why it can't become what it was before all of these turns.
    pub(crate) conflict: Option<Conflict>,
    /// Nothing at all can be undone.
    pub(crate) unknown: bool,
}

/// The path of a change, exact.
pub(crate) fn path_of(file: &str, raw: Option<&str>) -> PathBuf {
    #[cfg(unix)]
    if let Some(bytes) = raw.and_then(unhex) {
        use std::os::unix::ffi::OsStringExt as _;
        return PathBuf::from(std::ffi::OsString::from_vec(bytes));
    }
    #[cfg(not(unix))]
    let _ = raw;
    PathBuf::from(file)
}

#[cfg(unix)]
fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// What undoing turns makes of their files; `turns` are the newest first.
///
/// Each turn of a file begins where the one before ended. Where it does not, a person wrote in
/// between: that text is what the file becomes, and the rest is a conflict, unless forced.
pub(crate) fn undo<'a>(
    turns: impl Iterator<Item = &'a [FileChange]>,
    force: bool,
) -> BTreeMap<PathBuf, Wanted> {
    let mut wanted: BTreeMap<PathBuf, Wanted> = BTreeMap::new();
    for change in turns.flatten() {
        let path = path_of(&change.diff.file, change.raw_path.as_deref());
        match wanted.get_mut(&path) {
            None => {
                let known = change.captured;
                wanted.insert(
                    path,
                    Wanted {
                        target: change.before.clone().filter(|_| known),
                        last: change.after.clone().filter(|_| known),
                        conflict: (!known).then_some(Conflict::NotCaptured),
                        unknown: !known,
                    },
                );
            }
            // As far back as it goes.
            Some(file) if file.conflict.is_some() => {}
            Some(file) if !change.captured => file.conflict = Some(Conflict::NotCaptured),
            Some(file) if file.target == change.after || force => {
                file.target.clone_from(&change.before);
            }
            Some(file) => file.conflict = Some(Conflict::Changed),
        }
    }
    wanted
}

/// The files to touch, given what an earlier revert did and what the files are now.
pub(crate) fn plan(
    earlier: Option<&Restore>,
    wanted: &BTreeMap<PathBuf, Wanted>,
    now: impl Fn(&Path) -> Option<FileState>,
) -> Vec<RestoreFile> {
    let mut files = BTreeMap::new();
    for old in earlier.iter().flat_map(|e| &e.files) {
        // What was left alone is not ours to put back.
        if old.applied {
            files.insert(path_of(&old.file, old.raw_path.as_deref()), old.clone());
        }
    }
    let mut out = Vec::new();
    for (path, want) in wanted {
        let old = files.remove(path);
        let is_text = path.to_str().is_some();
        let (safety, expected) = match old {
            Some(old) => (old.safety, old.target),
            None => (now(path), want.last.clone()),
        };
        out.push(RestoreFile {
            file: path.to_string_lossy().into_owned(),
            raw_path: (!is_text).then(|| hex(path)),
            target: if want.unknown {
                expected.clone()
            } else {
                want.target.clone()
            },
            safety,
            expected,
            applied: false,
            conflict: want.conflict,
        });
    }
    // No longer reverted: back to what it was before the first revert.
    out.extend(files.into_values().map(|old| RestoreFile {
        expected: old.target,
        target: old.safety.clone(),
        applied: false,
        conflict: None,
        ..old
    }));
    out.sort_by(|a, b| a.file.cmp(&b.file));
    out
}

fn hex(path: &Path) -> String {
    #[cfg(unix)]
    {
        use std::fmt::Write as _;
        use std::os::unix::ffi::OsStrExt as _;
        path.as_os_str()
            .as_bytes()
            .iter()
            .fold(String::new(), |mut out, byte| {
                // Writing to a String does not fail.
                let _ = write!(out, "{byte:02x}");
                out
            })
    }
    #[cfg(not(unix))]
    path.to_string_lossy().into_owned()
}

/// In which order files are put back: what goes makes room first, the deepest path before its
/// parents; then what comes.
pub(crate) fn order(files: &[RestoreFile]) -> Vec<usize> {
    let (mut gone, mut kept): (Vec<usize>, Vec<usize>) =
        (0..files.len()).partition(|&i| files[i].target.is_none());
    gone.sort_by(|&a, &b| files[b].file.cmp(&files[a].file));
    kept.sort_by(|&a, &b| files[a].file.cmp(&files[b].file));
    gone.extend(kept);
    gone
}

/// Whether there is nothing to do for this file.
pub(crate) fn is_hopeless(file: &RestoreFile) -> bool {
    file.conflict == Some(Conflict::NotCaptured) && file.target == file.expected
}

/// What several turns, oldest first, made of each file together; files that are as they were
/// are left out.
pub(crate) fn merge(turns: Vec<Vec<FileChange>>) -> Vec<FileChange> {
    let mut all: BTreeMap<PathBuf, FileChange> = BTreeMap::new();
    for change in turns.into_iter().flatten() {
        let path = path_of(&change.diff.file, change.raw_path.as_deref());
        match all.get_mut(&path) {
            None => {
                all.insert(path, change);
            }
            Some(known) => {
                known.after = change.after;
                known.captured &= change.captured;
                known.diff.additions += change.diff.additions;
                known.diff.deletions += change.diff.deletions;
                known.diff.status = after(known.diff.status, change.diff.status);
                // A patch from before the first to after the last is yet to be made.
                known.diff.patch = None;
                known.omitted = Some(sessiond_model::PatchOmitted::NotCaptured);
            }
        }
    }
    all.retain(|_, change| !change.captured || change.before != change.after);
    all.into_values().collect()
}

/// What two changes of a file, one after the other, make of it.
fn after(
    first: sessiond_model::DiffStatus,
    then: sessiond_model::DiffStatus,
) -> sessiond_model::DiffStatus {
    use sessiond_model::DiffStatus::{Added, Deleted, Modified};
    match (first, then) {
        (Added, Modified) => Added,
        (Deleted, Added) => Modified,
        (_, then) => then,
    }
}

#[cfg(test)]
mod tests {
    use sessiond_model::{DiffStatus, FileDiff, RestorePhase};

    use super::*;

    fn state(oid: &str) -> Option<FileState> {
        (!oid.is_empty()).then(|| FileState {
            mode: "100644".into(),
            oid: oid.into(),
        })
    }

    fn change(file: &str, before: &str, after: &str) -> FileChange {
        FileChange {
            before: state(before),
            after: state(after),
            captured: true,
            ..FileChange::reported(FileDiff {
                file: file.into(),
                patch: None,
                additions: 1,
                deletions: 0,
                status: DiffStatus::Modified,
            })
        }
    }

    fn undone(turns: &[Vec<FileChange>], force: bool) -> Wanted {
        undo(turns.iter().map(Vec::as_slice), force)
            .remove(Path::new("/a"))
            .unwrap()
    }

    #[test]
    fn turns_are_undone_one_after_the_other() {
        let turns = [vec![change("/a", "1", "2")], vec![change("/a", "0", "1")]];
        let wanted = undone(&turns, false);
        assert_eq!((wanted.target, wanted.last), (state("0"), state("2")));
        assert_eq!(wanted.conflict, None);
    }

    #[test]
    fn what_a_person_wrote_in_between_is_where_it_ends() {
        let turns = [
            vec![change("/a", "person", "2")],
            vec![change("/a", "0", "1")],
        ];
        let wanted = undone(&turns, false);
        assert_eq!(wanted.target, state("person"));
        assert_eq!(wanted.conflict, Some(Conflict::Changed));
        assert_eq!(undone(&turns, true).target, state("0"));
    }

    #[test]
    fn what_was_not_captured_is_not_undone() {
        let unknown = FileChange {
            captured: false,
            ..change("/a", "0", "1")
        };
        let wanted = undone(&[vec![unknown.clone()]], true);
        assert!(wanted.unknown);
        let wanted = undone(&[vec![change("/a", "1", "2")], vec![unknown]], false);
        assert_eq!(wanted.target, state("1"));
        assert_eq!(wanted.conflict, Some(Conflict::NotCaptured));
    }

    #[test]
    fn going_forward_again_brings_back_what_was() {
        let wanted = undo([[change("/a", "0", "1")].as_slice()].into_iter(), false);
        let mut first = plan(None, &wanted, |_| state("1"));
        first[0].applied = true;
        let earlier = Restore {
            phase: RestorePhase::Done,
            files: first,
            revert: None,
            force: false,
        };
        // Undone further: from what the revert had made of it, with the same safety copy.
        let further = undo(
            [
                [change("/a", "0", "1")].as_slice(),
                [change("/a", "", "0")].as_slice(),
            ]
            .into_iter(),
            false,
        );
        let second = plan(Some(&earlier), &further, |_| panic!("it is known"));
        assert_eq!(second[0].expected, state("0"));
        assert_eq!(second[0].target, None);
        assert_eq!(second[0].safety, state("1"));
        // Whole again.
        let whole = plan(Some(&earlier), &BTreeMap::new(), |_| panic!("it is known"));
        assert_eq!(
            (&whole[0].expected, &whole[0].target),
            (&state("0"), &state("1"))
        );
        // What was left alone stays alone.
        let mut left = earlier;
        left.files[0].applied = false;
        assert!(plan(Some(&left), &BTreeMap::new(), |_| None).is_empty());
    }

    #[test]
    fn names_of_any_bytes_come_back() {
        let path = path_of("/a\u{fffd}", Some("2f61ff"));
        assert_eq!(hex(&path), "2f61ff");
    }

    #[test]
    fn changes_that_cancel_each_other_are_none() {
        let turns = vec![
            vec![change("/a", "0", "1"), change("/b", "", "1")],
            vec![change("/a", "1", "0"), change("/b", "1", "2")],
        ];
        let merged = merge(turns);
        assert_eq!(merged.len(), 1);
        assert_eq!(merged[0].after, state("2"));
        assert_eq!(merged[0].before, None);
    }
}
