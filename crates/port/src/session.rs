//! Sessions in OpenCode's shape.

use serde::Serialize;
use serde_json::{Map, Value};
use sessiond_model::{
    DiffSummary, ModelRef, PermissionRule, Revert, Session, SessionId, StatusKind, Timestamp,
    Tokens,
};

/// A session. What is not set is left out: clients take `null` for a value.
#[derive(Debug, Serialize)]
pub struct SessionDto<'a> {
    id: &'a SessionId,
    slug: &'a str,
    #[serde(rename = "projectID")]
    project_id: &'a str,
    directory: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(rename = "parentID", skip_serializing_if = "Option::is_none")]
    parent_id: Option<&'a SessionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'a DiffSummary>,
    cost: f64,
    tokens: Tokens,
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<Share<'a>>,
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a ModelRef>,
    version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a Map<String, Value>>,
    time: Times,
    #[serde(skip_serializing_if = "Option::is_none")]
    permission: Option<&'a [PermissionRule]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revert: Option<&'a Revert>,
}

#[derive(Debug, Serialize)]
struct Share<'a> {
    url: &'a str,
}

#[derive(Debug, Serialize)]
struct Times {
    created: Timestamp,
    updated: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    archived: Option<Timestamp>,
}

impl<'a> SessionDto<'a> {
    /// The session.
    #[must_use]
    pub fn of(s: &'a Session) -> Self {
        Self {
            id: &s.id,
            slug: &s.slug,
            project_id: s.project_id.as_str(),
            directory: &s.directory,
            path: s.path.as_deref(),
            parent_id: s.parent_id.as_ref(),
            summary: s.summary.as_ref(),
            cost: s.cost,
            tokens: Tokens {
                total: None,
                ..s.tokens
            },
            share: s.share_url.as_deref().map(|url| Share { url }),
            title: &s.title,
            agent: s.agent.as_deref(),
            model: s.model.as_ref(),
            version: &s.version,
            metadata: s.metadata.as_ref(),
            time: Times {
                created: s.created_at,
                updated: s.updated_at,
                archived: s.archived_at,
            },
            permission: s.permission.as_deref(),
            revert: s.revert.as_ref(),
        }
    }
}

/// A status: OpenCode knows no error state, a failed session is idle.
#[must_use]
pub fn status(kind: StatusKind) -> &'static str {
    match kind {
        StatusKind::Busy => "busy",
        StatusKind::Idle | StatusKind::Error => "idle",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sessiond_model::{Health, ProjectId, Status};

    use super::*;

    /// A session with nothing optional set.
    fn bare() -> Session {
        Session {
            id: SessionId::trusted("ses_1"),
            slug: "calm-otter".into(),
            project_id: ProjectId::new("abc"),
            directory: "/p".into(),
            path: None,
            parent_id: None,
            fork: None,
            title: "T".into(),
            version: "0.1.0".into(),
            agent: None,
            model: None,
            metadata: None,
            permission: None,
            revert: None,
            summary: None,
            share_url: None,
            created_at: Timestamp(1),
            updated_at: Timestamp(2),
            archived_at: None,
            deleted_at: None,
            status: Status::idle(Timestamp(1)),
            cost: 0.0,
            tokens: Tokens::default(),
            health: Health::Ok,
            revision: 1,
        }
    }

    #[test]
    fn what_is_not_set_is_left_out() {
        assert_eq!(
            serde_json::to_value(SessionDto::of(&bare())).unwrap(),
            json!({"id": "ses_1", "slug": "calm-otter", "projectID": "abc", "directory": "/p",
                "cost": 0.0, "tokens": {"input": 0, "output": 0, "reasoning": 0,
                "cache": {"read": 0, "write": 0}}, "title": "T", "version": "0.1.0",
                "time": {"created": 1, "updated": 2}})
        );
    }

    #[test]
    fn everything_set() {
        let session = Session {
            path: Some(String::new()),
            parent_id: Some(SessionId::trusted("ses_0")),
            agent: Some("build".into()),
            model: Some(ModelRef {
                provider_id: "demo".into(),
                id: "default".into(),
                variant: None,
            }),
            share_url: Some("http://x/s/1".into()),
            archived_at: Some(Timestamp(0)),
            permission: Some(Vec::new()),
            summary: Some(DiffSummary::default()),
            tokens: Tokens {
                total: Some(5),
                ..Tokens::default()
            },
            ..bare()
        };
        let value = serde_json::to_value(SessionDto::of(&session)).unwrap();
        assert_eq!(value["path"], "");
        assert_eq!(value["parentID"], "ses_0");
        assert_eq!(
            value["model"],
            json!({"id": "default", "providerID": "demo"})
        );
        assert_eq!(value["share"], json!({"url": "http://x/s/1"}));
        assert_eq!(value["time"]["archived"], 0);
        assert_eq!(value["permission"], json!([]));
        assert!(value["tokens"].get("total").is_none());
    }
}
