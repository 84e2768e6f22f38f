//! Permission requests: what is asked, and which of the agent's options an answer means.

use serde_json::{Map, Value};
use sessiond_model::{PermissionOption, PermissionReply};

use crate::PermissionAnswer;

/// What an agent asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PermissionAsk {
    /// Kind of permission, e.g. `edit`, `bash`.
    pub permission: String,
    /// The things asked for: paths or commands.
    pub patterns: Vec<String>,
    /// More for people: title, input, diff.
    pub metadata: Map<String, Value>,
    /// What `always` would cover.
    pub always: Vec<String>,
    /// The tool call.
    pub call_id: Option<String>,
    /// The agent's own options.
    pub options: Vec<PermissionOption>,
}

/// The agent's option that a reply means. A kind that it does not offer falls back to the
/// weaker one that it does: `always` to once, and a missing `reject` to a cancelled request.
#[must_use]
pub fn choose_option(options: &[PermissionOption], reply: PermissionReply) -> PermissionAnswer {
    let kinds: &[&str] = match reply {
        PermissionReply::Once => &["allow_once"],
        PermissionReply::Always => &["allow_always", "allow_once"],
        PermissionReply::Reject => &["reject_once", "reject_always"],
    };
    kinds
        .iter()
        .find_map(|kind| options.iter().find(|o| o.kind == *kind))
        .map_or(PermissionAnswer::Cancelled, |o| {
            PermissionAnswer::Selected(o.id.clone())
        })
}
