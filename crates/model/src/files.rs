//! What turns do to files, and how it is undone.

use serde::{Deserialize, Serialize};

use crate::{MessageId, PartId};

/// The marker of a reverted session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revert {
    /// First message that is hidden.
    #[serde(rename = "messageID")]
    pub message_id: MessageId,
    /// First part that is hidden, when only a part of the message is.
    #[serde(default, rename = "partID", skip_serializing_if = "Option::is_none")]
    pub part_id: Option<PartId>,
    /// Snapshot to return to on unrevert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// What the revert changed, as a unified diff.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
}

/// Line and file counts of a set of changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffSummary {
    /// Lines added.
    pub additions: u64,
    /// Lines removed.
    pub deletions: u64,
    /// Files touched.
    pub files: u64,
}

/// How a file changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiffStatus {
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
    /// Its content changed.
    Modified,
}

/// One changed file of a turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileDiff {
    /// Absolute path.
    pub file: String,
    /// Unified diff; absent for binary or very large files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// Lines added.
    pub additions: u64,
    /// Lines removed.
    pub deletions: u64,
    /// How it changed.
    pub status: DiffStatus,
}

/// A file as a snapshot keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileState {
    /// `120000` for a symbolic link, else `100` and the permissions, as `100644` or `100600`: git's
    /// notation, but exact.
    pub mode: String,
    /// Git object id of the content (of a link: of its target).
    pub oid: String,
}

/// One changed file of a turn, with what is needed to undo it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// What people are shown.
    #[serde(flatten)]
    pub diff: FileDiff,
    /// The path's bytes in hexadecimal, when they are not UTF-8 (`diff.file` is then lossy).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_path: Option<String>,
    /// The file before the turn; absent when it did not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<FileState>,
    /// The file as the turn last wrote it; absent when it removed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<FileState>,
    /// Why there is no patch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub omitted: Option<PatchOmitted>,
    /// Whether `before` and `after` are kept in the snapshots, so that it can be undone.
    #[serde(default)]
    pub captured: bool,
}

impl FileChange {
    /// A change that is known only from what the agent said of it.
    #[must_use]
    pub fn reported(diff: FileDiff) -> Self {
        Self {
            omitted: diff.patch.is_none().then_some(PatchOmitted::NotCaptured),
            diff,
            raw_path: None,
            before: None,
            after: None,
            captured: false,
        }
    }
}

/// Why a file change has no patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatchOmitted {
    /// Its content is not text.
    Binary,
    /// It is too large to show.
    TooLarge,
    /// Only the agent's word is known, not the content.
    NotCaptured,
}

/// What a revert does to the worktree, kept until the session is whole again: what `unrevert`
/// puts back, and what the next start finishes after a crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restore {
    /// How far it got.
    pub phase: RestorePhase,
    /// The files, by path.
    pub files: Vec<RestoreFile>,
    /// The marker that the session gets (`None`: it is whole again) when the files are done.
    pub revert: Option<Revert>,
    /// Conflicts are overwritten.
    #[serde(default)]
    pub force: bool,
}

/// How far a [`Restore`] got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RestorePhase {
    /// Files may be half written.
    Pending,
    /// The worktree is as the marker says.
    Done,
}

/// One file of a [`Restore`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreFile {
    /// Absolute path, lossy when its bytes are not UTF-8.
    pub file: String,
    /// The path's bytes in hexadecimal, when they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_path: Option<String>,
    /// As it was before the first revert: what `unrevert` puts back.
    pub safety: Option<FileState>,
    /// As it must be found for it to be replaced; otherwise it is a conflict.
    pub expected: Option<FileState>,
    /// What it becomes.
    pub target: Option<FileState>,
    /// Whether it is `target` now because of us.
    #[serde(default)]
    pub applied: bool,
    /// Why it is not, or only in part, as it was before the reverted turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Conflict>,
}

/// Why a file could not be brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conflict {
    /// Somebody changed it after the agent: what they wrote stays.
    Changed,
    /// Its earlier content was not captured.
    NotCaptured,
    /// It could not be read or written.
    Unwritable,
}
