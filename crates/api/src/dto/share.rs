use serde::{Deserialize, Serialize};
use sessiond_engine::{ShareOptions, SharePreview, SharedSession, Shows};
use sessiond_model::{MessageId, ShareMode, Timestamp};
use utoipa::ToSchema;

use crate::extract::{double_option, in_range, not_null};
use crate::limits::TIME_MAX;
use crate::problem::Problem;

/// A link by which whoever has it can read one session.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Share, example = json!({
    "session_id": "ses_0123456789abExampleSession", "title": "Fix the login page",
    "url": "http://127.0.0.1:2468/s/d1x0GJ2pM6a3yQmWZkR8t4vB7cH5nLfE9sUoIiKjTzA", "mode": "live",
    "until_position": null, "created_at": 1_795_364_893_636_i64, "expires_at": null,
    "accessed_at": 1_795_364_899_000_i64,
}))]
pub(crate) struct ShareDto {
    /// The session.
    session_id: String,
    /// Its title.
    title: String,
    /// The link.
    url: String,
    /// What it shows.
    mode: ShareModeDto,
    /// For `frozen`: position of the last message that is shown.
    until_position: Option<u64>,
    /// When it was made. Integer milliseconds since the Unix epoch, UTC.
    created_at: i64,
    /// When it stops to work. Integer milliseconds since the Unix epoch, UTC.
    expires_at: Option<i64>,
    /// When it was last looked at, to the minute. Integer milliseconds since the Unix epoch, UTC.
    accessed_at: Option<i64>,
}

impl From<SharedSession> for ShareDto {
    fn from(shared: SharedSession) -> Self {
        let SharedSession { session, share } = shared;
        let (mode, until_position) = match share.mode {
            ShareMode::Live => (ShareModeDto::Live, None),
            ShareMode::Frozen { position } => (ShareModeDto::Frozen, Some(position)),
        };
        Self {
            session_id: session.id.to_string(),
            title: session.title,
            url: session.share_url.unwrap_or_default(),
            mode,
            until_position,
            created_at: share.created_at.millis(),
            expires_at: share.expires_at.map(Timestamp::millis),
            accessed_at: share.accessed_at.map(Timestamp::millis),
        }
    }
}

/// What a share shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ShareMode)]
pub(crate) enum ShareModeDto {
    /// The session as it is when somebody looks; a running one is followed.
    Live,
    /// The session up to a point.
    Frozen,
}

/// How a session is to be shared. What is left out stays as it is; of a new share, by default.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"mode": "frozen", "expires_at": 1_895_364_899_000_i64}))]
pub(crate) struct ShareBody {
    /// What it shows; `live` by default.
    #[serde(default, deserialize_with = "not_null")]
    #[schema(nullable = false)]
    mode: Option<ShareModeDto>,
    /// For `frozen`: the last message that is shown; the newest finished one when absent.
    #[schema(value_type = Option<String>, pattern = "^msg[A-Za-z0-9_.:-]*$", max_length = 128)]
    message_id: Option<MessageId>,
    /// When the link stops to work; `null` for never. Integer milliseconds since the Unix epoch, UTC.
    #[serde(default, deserialize_with = "double_option")]
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 253402300799999_i64)]
    expires_at: Option<Option<i64>>,
}

impl ShareBody {
    /// The checked request.
    pub(crate) fn checked(self) -> Result<ShareOptions, Problem> {
        if let Some(at) = self.expires_at.flatten() {
            in_range("expires_at", at, 0, TIME_MAX)?;
        }
        let shows = match (self.mode, self.message_id) {
            (Some(ShareModeDto::Frozen), message) => Some(Shows::Until(message)),
            (_, Some(_)) => {
                return Err(Problem::invalid(
                    "message_id",
                    "Expected with mode \"frozen\" only",
                ));
            }
            (Some(ShareModeDto::Live), None) => Some(Shows::Live),
            (None, None) => None,
        };
        Ok(ShareOptions {
            expires_at: self.expires_at.map(|at| at.map(Timestamp)),
            shows,
        })
    }
}

/// A page of shares, the newest session first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SharePage)]
pub(crate) struct SharePageDto {
    /// The shares.
    pub(crate) shares: Vec<ShareDto>,
    /// Pass as `cursor` for the next page; `null` at the end.
    pub(crate) next_cursor: Option<String>,
}

/// What would be taken out of a session that is shared as a whole.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SharePreview, example = json!({
    "findings": [{"kind": "github-token", "count": 2, "samples": [
        {"message_id": "msg_0123456789abExampleMessage", "masked": "ghp_aB3d\u{2026} (40 characters)"}]}],
    "messages": 12, "complete": true,
}))]
pub(crate) struct SharePreviewDto {
    /// What was found, by kind.
    findings: Vec<FindingDto>,
    /// Number of messages that were read.
    messages: u64,
    /// Whether these were all.
    complete: bool,
}

/// What would be taken out of one kind.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ShareFinding)]
pub(crate) struct FindingDto {
    /// The kind, e.g. `github-token`, `home-directory`, `assignment`.
    kind: &'static str,
    /// How often.
    count: u64,
    /// Some of them.
    samples: Vec<SampleDto>,
}

/// One thing that would be taken out.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ShareSample)]
pub(crate) struct SampleDto {
    /// Where it is; `null` for the title.
    message_id: Option<String>,
    /// Its first characters.
    masked: String,
}

impl From<SharePreview> for SharePreviewDto {
    fn from(preview: SharePreview) -> Self {
        let finding = |(kind, finding): (&'static str, sessiond_engine::Finding)| FindingDto {
            kind,
            count: finding.count,
            samples: finding
                .samples
                .into_iter()
                .map(|s| SampleDto {
                    message_id: s.message_id.map(|id| id.to_string()),
                    masked: s.masked,
                })
                .collect(),
        };
        Self {
            findings: preview.findings.kinds.into_iter().map(finding).collect(),
            messages: preview.messages,
            complete: preview.complete,
        }
    }
}
