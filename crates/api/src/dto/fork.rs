use serde::{Deserialize, Serialize};
use sessiond_engine as engine;
use sessiond_model as model;
use sessiond_model::MessageId;
use utoipa::ToSchema;

use super::session::SessionDto;
use crate::extract::text;
use crate::limits::TITLE_MAX;
use crate::problem::Problem;

/// Where a fork came from.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ForkOrigin)]
pub(crate) struct ForkDto {
    /// The session that was forked. It may be gone since.
    session_id: String,
    /// The first message of it that was not copied; `null` when all were.
    message_id: Option<String>,
    /// The session that the whole family of forks comes from: that one, or where it was forked
    /// from in turn.
    root_id: String,
    /// The number of the fork in its family, from 1.
    number: u32,
}

impl From<model::ForkOrigin> for ForkDto {
    fn from(f: model::ForkOrigin) -> Self {
        Self {
            root_id: f.family().to_string(),
            session_id: f.session_id.to_string(),
            message_id: f.message_id.map(|id| id.to_string()),
            number: f.number,
        }
    }
}

/// How to fork a session. Every field may be left out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"before_message_id": "msg_0123456789abExampleMessag"}))]
pub(crate) struct ForkBody {
    /// The first message that is not copied; all are when absent.
    #[schema(value_type = Option<String>, pattern = "^msg[A-Za-z0-9_.:-]*$", max_length = 128)]
    before_message_id: Option<MessageId>,
    /// Title for people, at most 1,000 characters; that of the session with the number of the
    /// fork when absent.
    #[schema(max_length = 1000)]
    title: Option<String>,
}

impl ForkBody {
    /// The checked request.
    pub(crate) fn checked(
        self,
        idempotency: Option<(String, String)>,
    ) -> Result<engine::ForkOptions, Problem> {
        let title = self.title.as_deref().unwrap_or_default();
        text("title", title, TITLE_MAX)?;
        Ok(engine::ForkOptions {
            before: self.before_message_id,
            title: self.title,
            idempotency,
        })
    }
}

/// Sessions that came from one, and that one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SessionTree)]
pub(crate) struct TreeReply {
    /// The topmost one first, each before what came from it.
    nodes: Vec<TreeNode>,
    /// There are more than are listed.
    truncated: bool,
}

/// A session of a tree.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TreeNode {
    /// Steps from the topmost one.
    depth: usize,
    /// How it came from the one above it.
    relation: RelationDto,
    /// The session.
    session: SessionDto,
}

/// How a session came from another one.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Relation)]
pub(crate) enum RelationDto {
    /// Not at all: the topmost one.
    Root,
    /// As a sub-task: its `parent_id`.
    Child,
    /// As a fork: its `fork.session_id`.
    Fork,
}

impl From<engine::SessionTree> for TreeReply {
    fn from(tree: engine::SessionTree) -> Self {
        let node = |related: engine::Related| TreeNode {
            depth: related.depth,
            relation: match related.relation {
                engine::Relation::Root => RelationDto::Root,
                engine::Relation::Child => RelationDto::Child,
                engine::Relation::Fork => RelationDto::Fork,
            },
            session: related.session.into(),
        };
        Self {
            nodes: tree.sessions.into_iter().map(node).collect(),
            truncated: tree.truncated,
        }
    }
}
