//! What people are shown of a change.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, time::Duration};

use gix_object::Kind;
use sessiond_model::{DiffStatus, FileChange, FileDiff, FileState, PatchOmitted};
use similar::{ChangeTag, TextDiff};

use crate::{
    PathChange, SnapshotError, Worktree,
    objects::{Objects, parse_id},
    paths,
};

/// Lines around a change.
const CONTEXT: usize = 3;
/// After this the comparison of two texts settles for less than the shortest patch.
const PATIENCE: Duration = Duration::from_millis(500);
/// Git's rule: what has a zero byte this early is binary.
const BINARY_PREFIX: usize = 8000;
/// Contents larger than so many patches are not compared.
const MAX_PATCHES: usize = 16;

impl Worktree {
    /// A change as people are shown it. Contents that are not kept give no patch and `captured: false`.
    #[must_use]
    pub fn describe(&self, change: &PathChange) -> FileChange {
        let path = change.path.as_os_str();
        let mut described = FileChange {
            diff: FileDiff {
                file: path.to_string_lossy().into_owned(),
                patch: None,
                additions: 0,
                deletions: 0,
                status: match (&change.before, &change.after) {
                    (None, _) => DiffStatus::Added,
                    (_, None) => DiffStatus::Deleted,
                    _ => DiffStatus::Modified,
                },
            },
            raw_path: path.to_str().is_none().then(|| paths::hex(path.as_bytes())),
            before: change.before.clone(),
            after: change.after.clone(),
            omitted: None,
            captured: false,
        };
        match self.compare(change, &mut described) {
            Ok(()) => {}
            Err(_) => described.omitted = Some(PatchOmitted::NotCaptured),
        }
        described
    }

    fn compare(&self, change: &PathChange, out: &mut FileChange) -> Result<(), SnapshotError> {
        let limit = self.store.inner().limits.patch_bytes;
        let objects = Objects::open(&self.store)?;
        let mut sizes = 0;
        for state in change.before.iter().chain(&change.after) {
            let id = parse_id(&state.oid)?;
            let size = objects.size(&id).ok_or_else(|| SnapshotError::NotKept {
                oid: state.oid.clone(),
            })?;
            sizes += usize::try_from(size).unwrap_or(usize::MAX / 2);
        }
        out.captured = true;
        if sizes > limit.saturating_mul(MAX_PATCHES) {
            out.omitted = Some(PatchOmitted::TooLarge);
            return Ok(());
        }
        let read = |state: &Option<FileState>| match state {
            None => Ok(Vec::new()),
            Some(state) => objects.read(&parse_id(&state.oid)?, Kind::Blob),
        };
        let (before, after) = (read(&change.before)?, read(&change.after)?);
        if is_binary(&before) || is_binary(&after) {
            out.omitted = Some(PatchOmitted::Binary);
            return Ok(());
        }
        let (before, after) = (
            String::from_utf8_lossy(&before),
            String::from_utf8_lossy(&after),
        );
        let diff = TextDiff::configure()
            .timeout(PATIENCE)
            .diff_lines(before.as_ref(), after.as_ref());
        for line in diff.iter_all_changes() {
            match line.tag() {
                ChangeTag::Insert => out.diff.additions += 1,
                ChangeTag::Delete => out.diff.deletions += 1,
                ChangeTag::Equal => {}
            }
        }
        let patch = header(self, change) + &diff.unified_diff().context_radius(CONTEXT).to_string();
        if patch.len() > limit {
            out.omitted = Some(PatchOmitted::TooLarge);
        } else {
            out.diff.patch = Some(patch);
        }
        Ok(())
    }
}

/// The lines before the first hunk.
fn header(worktree: &Worktree, change: &PathChange) -> String {
    let path = change
        .path
        .strip_prefix(&worktree.toplevel)
        .unwrap_or(&change.path);
    let side = |letter: &str, state: &Option<FileState>| match state {
        None => "/dev/null".to_owned(),
        Some(_) => quote(letter, path.as_os_str()),
    };
    let mode = match (&change.before, &change.after) {
        (Some(a), Some(b)) if a.mode != b.mode => {
            format!("old mode {}\nnew mode {}\n", a.mode, b.mode)
        }
        _ => String::new(),
    };
    let (old, new) = (side("a", &change.before), side("b", &change.after));
    format!("{mode}--- {old}\n+++ {new}\n")
}

/// A path in a patch, quoted as git does when it has bytes that would break the line.
fn quote(letter: &str, path: &OsStr) -> String {
    let bytes = path.as_bytes();
    let plain = |b: &u8| !b.is_ascii_control() && !matches!(b, b'"' | b'\\');
    if let (Some(text), true) = (path.to_str(), bytes.iter().all(plain)) {
        return format!("{letter}/{text}");
    }
    let mut text = format!("\"{letter}/");
    for &b in bytes {
        match b {
            b'"' | b'\\' => text.extend(['\\', char::from(b)]),
            b'\n' => text += "\\n",
            b'\t' => text += "\\t",
            b'\r' => text += "\\r",
            0x20..0x7f => text.push(char::from(b)),
            _ => text += &format!("\\{b:03o}"),
        }
    }
    text + "\""
}

fn is_binary(bytes: &[u8]) -> bool {
    bytes.iter().take(BINARY_PREFIX).any(|&b| b == 0)
}
