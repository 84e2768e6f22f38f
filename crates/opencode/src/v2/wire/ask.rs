//! Permission requests and questions.

use serde::Serialize;
use serde_json::{Map, Value};
use sessiond_model::{Permission, ToolRef};

/// A permission request.
#[derive(Debug, Serialize)]
pub(crate) struct PermissionDto<'a> {
    id: &'a str,
    #[serde(rename = "sessionID")]
    session_id: &'a str,
    action: &'a str,
    resources: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    save: &'a [String],
    #[serde(skip_serializing_if = "Map::is_empty")]
    metadata: &'a Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source<'a>>,
}

#[derive(Debug, Serialize)]
struct Source<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    tool: &'a ToolRef,
}

impl<'a> PermissionDto<'a> {
    pub(crate) fn of(p: &'a Permission) -> Self {
        Self {
            id: p.id.as_str(),
            session_id: p.session_id.as_str(),
            action: &p.permission,
            resources: &p.patterns,
            save: &p.always,
            metadata: &p.metadata,
            source: p.tool.as_ref().map(|tool| Source {
                r#type: "tool",
                tool,
            }),
        }
    }
}
