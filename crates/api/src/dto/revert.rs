use serde::{Deserialize, Serialize};
use sessiond_engine::{RevertOptions, Reverted};
use sessiond_model::{self as model, MessageId, PartId};
use utoipa::ToSchema;

use super::session::{DiffStatusDto, SessionDto};

/// Where to revert to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"message_id": "msg_0123456789abExampleMessag", "force": false}))]
pub(crate) struct RevertBody {
    /// The first message that is hidden. An answer is reverted with its prompt, unless a part
    /// of it is named.
    #[schema(value_type = String, pattern = "^msg[A-Za-z0-9_.:-]*$", max_length = 128)]
    message_id: MessageId,
    /// The first part of it that is hidden.
    #[serde(default)]
    #[schema(value_type = Option<String>, pattern = "^prt[A-Za-z0-9_.:-]*$", max_length = 128)]
    part_id: Option<PartId>,
    /// Overwrite what people changed since (it is kept for `unrevert`), and go on where files
    /// were not captured.
    #[serde(default)]
    #[schema(default = false)]
    force: bool,
}

impl From<RevertBody> for RevertOptions {
    fn from(b: RevertBody) -> Self {
        Self {
            message_id: b.message_id,
            part_id: b.part_id,
            force: b.force,
            lenient: false,
        }
    }
}

/// What a revert, or its end, did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevertReply {
    /// The session.
    session: SessionDto,
    /// The files it was about.
    files: Vec<RestoredFileDto>,
    /// How many of them were left as they are, or are only in part as they were.
    conflicts: usize,
    /// Why files may not be as they were, one sentence for each turn that was not captured.
    warnings: Vec<String>,
}

impl From<Reverted> for RevertReply {
    fn from(r: Reverted) -> Self {
        Self {
            session: std::sync::Arc::unwrap_or_clone(r.session).into(),
            conflicts: r.files.iter().filter(|f| f.conflict.is_some()).count(),
            files: r.files.into_iter().map(Into::into).collect(),
            warnings: r.warnings,
        }
    }
}

/// A file that a revert was about.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RestoredFile)]
pub(crate) struct RestoredFileDto {
    /// Absolute path.
    file: String,
    /// Whether it was brought back.
    restored: bool,
    /// Why not, or only in part.
    conflict: Option<ConflictDto>,
}

impl From<model::RestoreFile> for RestoredFileDto {
    fn from(f: model::RestoreFile) -> Self {
        Self {
            file: f.file,
            restored: f.applied,
            conflict: f.conflict.map(|c| match c {
                model::Conflict::Changed => ConflictDto::Changed,
                model::Conflict::NotCaptured => ConflictDto::NotCaptured,
                model::Conflict::Unwritable => ConflictDto::Unwritable,
            }),
        }
    }
}

/// Why a file was not brought back.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RestoreConflict)]
enum ConflictDto {
    /// Somebody changed it after the agent: what they wrote stays.
    Changed,
    /// Its earlier content was not captured.
    NotCaptured,
    /// It could not be read or written.
    Unwritable,
}

/// One changed file, as it was captured.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FileChange)]
pub(crate) struct FileChangeDto {
    /// Absolute path.
    file: String,
    /// Unified diff; `null` when it is left out, see `omitted`.
    patch: Option<String>,
    /// Lines added.
    additions: u64,
    /// Lines removed.
    deletions: u64,
    /// How it changed.
    status: DiffStatusDto,
    /// Why there is no patch.
    omitted: Option<OmittedDto>,
    /// Whether it was captured before and after, so that a revert can bring it back.
    captured: bool,
}

impl From<model::FileChange> for FileChangeDto {
    fn from(c: model::FileChange) -> Self {
        Self {
            file: c.diff.file,
            patch: c.diff.patch,
            additions: c.diff.additions,
            deletions: c.diff.deletions,
            status: c.diff.status.into(),
            omitted: c.omitted.map(|o| match o {
                model::PatchOmitted::Binary => OmittedDto::Binary,
                model::PatchOmitted::TooLarge => OmittedDto::TooLarge,
                model::PatchOmitted::NotCaptured => OmittedDto::NotCaptured,
            }),
            captured: c.captured,
        }
    }
}

/// Why a file change has no patch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = PatchOmitted)]
enum OmittedDto {
    /// Its content is not text.
    Binary,
    /// It is too large to show.
    TooLarge,
    /// Only the agent's word is known, not the content.
    NotCaptured,
}

/// The changed files of a turn or a session.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangeList {
    /// The changed files.
    pub(crate) changes: Vec<FileChangeDto>,
}

/// What was captured of the worktree around a turn.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = TurnWorktree)]
pub(crate) struct TurnWorktreeDto {
    /// How much was captured.
    coverage: CoverageDto,
    /// Why not all, in a sentence.
    reason: Option<String>,
}

impl From<model::TurnWorktree> for TurnWorktreeDto {
    fn from(w: model::TurnWorktree) -> Self {
        Self {
            coverage: match w.coverage {
                model::Coverage::None => CoverageDto::None,
                model::Coverage::Partial => CoverageDto::Partial,
                model::Coverage::Full => CoverageDto::Full,
            },
            reason: w.reason,
        }
    }
}

/// How much of a worktree was captured.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Coverage)]
enum CoverageDto {
    /// Nothing: a revert can't bring files back.
    None,
    /// Not every file.
    Partial,
    /// Every file that is not ignored.
    Full,
}
