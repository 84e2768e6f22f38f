use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sessiond_engine::{NewSession, SessionUpdate};
use sessiond_model as model;
use sessiond_model::{SessionId, Timestamp};
use utoipa::ToSchema;

use super::fork::ForkDto;
use super::interact::RuleDto;
use crate::extract::{at_most, double_option, in_range, metadata, not_null, text};
use crate::limits::{NAME_MAX, RULES_MAX, TIME_MAX, TITLE_MAX};
use crate::problem::Problem;

/// A session: one conversation in one directory, with all its metadata.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Session, example = json!({
    "id": "ses_0123456789abExampleSession", "slug": "calm-otter", "project_id": "global",
    "directory": "/home/me/project", "path": "home/me/project", "parent_id": null, "fork": null,
    "title": "Fix the login page", "version": "0.1.0", "agent": "build",
    "model": {"provider_id": "claude", "id": "sonnet", "variant": null}, "metadata": {"ticket": 42},
    "permission": [{"permission": "bash", "pattern": "git *", "action": "allow"}], "revert": null,
    "summary": {"additions": 10, "deletions": 2, "files": 1}, "share_url": null,
    "created_at": 1_795_364_893_636_i64, "updated_at": 1_795_364_899_000_i64, "archived_at": null,
    "deleted_at": null, "status": {"kind": "idle", "since": 1_795_364_899_000_i64, "message": null},
    "cost": 0.0123, "tokens": {"total": null, "input": 1200, "output": 340, "reasoning": 0, "cache_read": 0,
    "cache_write": 0}, "health": "ok", "revision": 7,
}))]
pub(crate) struct SessionDto {
    /// Its id.
    pub(crate) id: String,
    /// A short name for people, `adjective-noun`; not unique.
    pub(crate) slug: String,
    /// The project its directory belongs to.
    pub(crate) project_id: String,
    /// Absolute path of the directory it works in.
    pub(crate) directory: String,
    /// `directory` relative to the project's worktree; outside of git the absolute path
    /// without its leading `/`.
    pub(crate) path: Option<String>,
    /// The session this one is a sub-task of.
    pub(crate) parent_id: Option<String>,
    /// Where this session was forked from.
    pub(crate) fork: Option<ForkDto>,
    /// Title for people.
    pub(crate) title: String,
    /// Version of sessiond that created it.
    pub(crate) version: String,
    /// Mode of the coding agent in the latest prompt.
    pub(crate) agent: Option<String>,
    /// Model of the latest prompt.
    pub(crate) model: Option<ModelDto>,
    /// Free map of the client.
    pub(crate) metadata: Option<Map<String, Value>>,
    /// Permission rules; the last one that matches decides.
    pub(crate) permission: Option<Vec<RuleDto>>,
    /// Set while the session is reverted to an earlier message.
    pub(crate) revert: Option<RevertDto>,
    /// Size of its file changes.
    pub(crate) summary: Option<DiffSummaryDto>,
    /// Address of its share, while it is shared.
    pub(crate) share_url: Option<String>,
    /// When it was created. Integer milliseconds since the Unix epoch, UTC.
    pub(crate) created_at: i64,
    /// When its content last changed; never goes backwards. Integer milliseconds since the
    /// Unix epoch, UTC.
    pub(crate) updated_at: i64,
    /// When it was archived, as the client gave it. Integer milliseconds since the Unix epoch, UTC.
    pub(crate) archived_at: Option<i64>,
    /// When it was moved to the trash. Integer milliseconds since the Unix epoch, UTC.
    pub(crate) deleted_at: Option<i64>,
    /// What it is doing.
    pub(crate) status: StatusDto,
    /// Total cost so far, in US dollars.
    #[schema(minimum = 0)]
    pub(crate) cost: f64,
    /// Total tokens so far.
    pub(crate) tokens: TokensDto,
    /// Whether all its rows could be read.
    pub(crate) health: HealthDto,
    /// Rises with every change of the session's own fields; the value in `ETag`.
    pub(crate) revision: u64,
}

impl From<model::Session> for SessionDto {
    fn from(s: model::Session) -> Self {
        Self {
            id: s.id.to_string(),
            slug: s.slug,
            project_id: s.project_id.to_string(),
            directory: s.directory,
            path: s.path,
            parent_id: s.parent_id.map(|id| id.to_string()),
            fork: s.fork.map(Into::into),
            title: s.title,
            version: s.version,
            agent: s.agent,
            model: s.model.map(Into::into),
            metadata: s.metadata,
            permission: s
                .permission
                .map(|rules| rules.into_iter().map(Into::into).collect()),
            revert: s.revert.map(Into::into),
            summary: s.summary.map(Into::into),
            share_url: s.share_url,
            created_at: s.created_at.millis(),
            updated_at: s.updated_at.millis(),
            archived_at: s.archived_at.map(Timestamp::millis),
            deleted_at: s.deleted_at.map(Timestamp::millis),
            status: s.status.into(),
            cost: s.cost,
            tokens: s.tokens.into(),
            health: s.health.into(),
            revision: s.revision,
        }
    }
}

/// A model of a coding agent.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Model, example = json!({"provider_id": "claude", "id": "sonnet", "variant": null}))]
pub(crate) struct ModelDto {
    /// The provider: the name of the coding agent.
    #[schema(max_length = 256)]
    pub(crate) provider_id: String,
    /// The model's id within its provider.
    #[schema(max_length = 256)]
    pub(crate) id: String,
    /// A variant such as a reasoning effort.
    #[schema(max_length = 256)]
    pub(crate) variant: Option<String>,
}

impl ModelDto {
    /// The model, with names that are not too long.
    pub(crate) fn checked(self) -> Result<model::ModelRef, Problem> {
        text("model.provider_id", &self.provider_id, NAME_MAX)?;
        text("model.id", &self.id, NAME_MAX)?;
        text(
            "model.variant",
            self.variant.as_deref().unwrap_or_default(),
            NAME_MAX,
        )?;
        Ok(model::ModelRef {
            provider_id: self.provider_id,
            id: self.id,
            variant: self.variant,
        })
    }
}

impl From<model::ModelRef> for ModelDto {
    fn from(m: model::ModelRef) -> Self {
        Self {
            provider_id: m.provider_id,
            id: m.id,
            variant: m.variant,
        }
    }
}

/// The marker of a reverted session.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Revert)]
pub(crate) struct RevertDto {
    /// First message that is hidden.
    pub(crate) message_id: String,
    /// First part that is hidden, when only a part of the message is.
    pub(crate) part_id: Option<String>,
    /// Snapshot to return to.
    pub(crate) snapshot: Option<String>,
    /// What the revert changed, as a unified diff.
    pub(crate) diff: Option<String>,
}

impl From<model::Revert> for RevertDto {
    fn from(r: model::Revert) -> Self {
        Self {
            message_id: r.message_id.to_string(),
            part_id: r.part_id.map(|id| id.to_string()),
            snapshot: r.snapshot,
            diff: r.diff,
        }
    }
}

/// Size of a set of file changes.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DiffSummary)]
pub(crate) struct DiffSummaryDto {
    /// Lines added.
    pub(crate) additions: u64,
    /// Lines removed.
    pub(crate) deletions: u64,
    /// Files touched.
    pub(crate) files: u64,
}

impl From<model::DiffSummary> for DiffSummaryDto {
    fn from(s: model::DiffSummary) -> Self {
        Self {
            additions: s.additions,
            deletions: s.deletions,
            files: s.files,
        }
    }
}

/// One changed file.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = FileDiff)]
pub(crate) struct FileDiffDto {
    /// Path, relative to the project's worktree when it is inside.
    pub(crate) file: String,
    /// Unified diff; `null` for binary or very large files.
    pub(crate) patch: Option<String>,
    /// Lines added.
    pub(crate) additions: u64,
    /// Lines removed.
    pub(crate) deletions: u64,
    /// How it changed.
    pub(crate) status: DiffStatusDto,
}

impl From<model::FileDiff> for FileDiffDto {
    fn from(d: model::FileDiff) -> Self {
        Self {
            file: d.file,
            patch: d.patch,
            additions: d.additions,
            deletions: d.deletions,
            status: d.status.into(),
        }
    }
}

impl From<model::DiffStatus> for DiffStatusDto {
    fn from(s: model::DiffStatus) -> Self {
        match s {
            model::DiffStatus::Added => Self::Added,
            model::DiffStatus::Deleted => Self::Deleted,
            model::DiffStatus::Modified => Self::Modified,
        }
    }
}

/// How a file changed.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DiffStatus)]
pub(crate) enum DiffStatusDto {
    /// It is new.
    Added,
    /// It is gone.
    Deleted,
    /// Its content changed.
    Modified,
}

/// What a session is doing, and since when.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Status)]
pub(crate) struct StatusDto {
    /// The state.
    pub(crate) kind: StatusKindDto,
    /// When it entered that state. Integer milliseconds since the Unix epoch, UTC.
    pub(crate) since: i64,
    /// For `error`: what went wrong, in a sentence.
    pub(crate) message: Option<String>,
}

impl From<model::Status> for StatusDto {
    fn from(s: model::Status) -> Self {
        Self {
            kind: match s.kind {
                model::StatusKind::Idle => StatusKindDto::Idle,
                model::StatusKind::Busy => StatusKindDto::Busy,
                model::StatusKind::Error => StatusKindDto::Error,
            },
            since: s.since.millis(),
            message: s.message,
        }
    }
}

/// The states of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = StatusKind)]
pub(crate) enum StatusKindDto {
    /// Nothing runs.
    Idle,
    /// A turn runs or waits.
    Busy,
    /// Nothing runs and the last turn failed; a new prompt is welcome.
    Error,
}

/// Whether a session could be read whole.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Health)]
pub(crate) enum HealthDto {
    /// All rows are readable.
    Ok,
    /// At least one row could not be read and is kept as an opaque part.
    Degraded,
}

impl From<model::Health> for HealthDto {
    fn from(h: model::Health) -> Self {
        match h {
            model::Health::Ok => Self::Ok,
            model::Health::Degraded => Self::Degraded,
        }
    }
}

/// Token counts.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Tokens)]
pub(crate) struct TokensDto {
    /// All tokens, when the agent counts them itself.
    pub(crate) total: Option<u64>,
    /// Tokens sent to the model, cached ones not counted.
    pub(crate) input: u64,
    /// Tokens the model wrote, reasoning not counted.
    pub(crate) output: u64,
    /// Tokens the model wrote as reasoning.
    pub(crate) reasoning: u64,
    /// Tokens read from the provider's cache.
    pub(crate) cache_read: u64,
    /// Tokens written to the provider's cache.
    pub(crate) cache_write: u64,
}

impl From<model::Tokens> for TokensDto {
    fn from(t: model::Tokens) -> Self {
        Self {
            total: t.total,
            input: t.input,
            output: t.output,
            reasoning: t.reasoning,
            cache_read: t.cache.read,
            cache_write: t.cache.write,
        }
    }
}

/// A page of sessions, newest change first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SessionPage)]
pub(crate) struct SessionPageDto {
    /// The sessions.
    pub(crate) sessions: Vec<SessionDto>,
    /// Pass as `cursor` for the next page; `null` at the end.
    pub(crate) next_cursor: Option<String>,
}

/// Sessions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionList {
    /// The sessions.
    pub(crate) sessions: Vec<SessionDto>,
}

/// What was moved to the trash.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"deleted": ["ses_0123456789abExampleSession"]}))]
pub(crate) struct DeleteReply {
    /// Ids of the session and all its descendants, children first.
    pub(crate) deleted: Vec<String>,
}

/// What a new session is to be. Every field may be left out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"directory": "/home/me/project", "title": "Fix the login page", "metadata": {"ticket": 42}}))]
pub(crate) struct CreateSession {
    /// Id chosen by the client; it must be free. A fresh one when absent.
    #[schema(value_type = Option<String>, pattern = "^ses[A-Za-z0-9_.:-]*$", max_length = 128)]
    id: Option<SessionId>,
    /// Directory to work in, absolute or relative to the server's default one, which serves
    /// when absent.
    #[schema(max_length = 4096)]
    directory: Option<String>,
    /// The session this one is a sub-task of.
    #[schema(value_type = Option<String>, pattern = "^ses[A-Za-z0-9_.:-]*$", max_length = 128)]
    parent_id: Option<SessionId>,
    /// Title for people, at most 1,000 characters; a default one when absent, which gives way
    /// to one derived from the first prompt.
    #[schema(max_length = 1000)]
    title: Option<String>,
    /// Mode of the coding agent.
    #[schema(max_length = 256)]
    agent: Option<String>,
    /// Model; its provider names the coding agent.
    model: Option<ModelDto>,
    /// Free map, at most 65,536 bytes of JSON.
    metadata: Option<Map<String, Value>>,
    /// Permission rules, at most 1,000; the last one that matches decides.
    #[schema(max_items = 1000)]
    permission: Option<Vec<RuleDto>>,
}

impl CreateSession {
    /// The checked request.
    pub(crate) fn checked(
        self,
        idempotency: Option<(String, String)>,
    ) -> Result<NewSession, Problem> {
        text(
            "title",
            self.title.as_deref().unwrap_or_default(),
            TITLE_MAX,
        )?;
        text("agent", self.agent.as_deref().unwrap_or_default(), NAME_MAX)?;
        self.metadata.as_ref().map_or(Ok(()), metadata)?;
        Ok(NewSession {
            id: self.id,
            directory: self.directory,
            parent_id: self.parent_id,
            title: self.title,
            agent: self.agent,
            model: self.model.map(ModelDto::checked).transpose()?,
            metadata: self.metadata,
            permission: self.permission.map(rules).transpose()?,
            idempotency,
        })
    }
}

/// Changes to a session's own fields. A field that is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"title": "Fix the login page", "archived_at": null}))]
pub(crate) struct PatchSession {
    /// New title, at most 1,000 characters.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(max_length = 1000, nullable = false)]
    title: Option<String>,
    /// Replaces the whole metadata map; at most 65,536 bytes of JSON.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    metadata: Option<Map<String, Value>>,
    /// Replaces all permission rules; at most 1,000.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false, max_items = 1000)]
    permission: Option<Vec<RuleDto>>,
    /// Archives the session at that time, or takes it out of the archive (`null`). Integer
    /// milliseconds since the Unix epoch, UTC.
    #[serde(default, deserialize_with = "double_option")]
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 253402300799999_i64)]
    archived_at: Option<Option<i64>>,
}

impl PatchSession {
    /// The checked request.
    pub(crate) fn checked(self, if_revision: Option<u64>) -> Result<SessionUpdate, Problem> {
        text(
            "title",
            self.title.as_deref().unwrap_or_default(),
            TITLE_MAX,
        )?;
        self.metadata.as_ref().map_or(Ok(()), metadata)?;
        if let Some(Some(at)) = self.archived_at {
            in_range("archived_at", at, 0, TIME_MAX)?;
        }
        Ok(SessionUpdate {
            title: self.title,
            metadata: self.metadata,
            permission_append: None,
            permission: self.permission.map(rules).transpose()?,
            archived_at: self.archived_at.map(|at| at.map(Timestamp)),
            if_revision,
            ..SessionUpdate::default()
        })
    }
}

fn rules(rules: Vec<RuleDto>) -> Result<Vec<model::PermissionRule>, Problem> {
    at_most("permission", rules.len(), RULES_MAX)?;
    rules
        .into_iter()
        .enumerate()
        .map(|(at, rule)| rule.checked(at))
        .collect()
}
