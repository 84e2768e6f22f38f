//! OpenCode's shapes, over borrowed domain values.

mod ask;
mod catalog;
mod command;
mod diff;
mod project;

pub(crate) use ask::{PermissionDto, QuestionDto};
pub(crate) use catalog::{AgentDto, ModelDto, agents, default_model, providers};
pub(crate) use command::commands;
pub(crate) use diff::diffs;
pub(crate) use project::{GlobalSessionDto, ProjectDto};
pub(crate) use sessiond_port::{PartDto, SessionDto, message_with_parts, page, status};

/// A session with nothing optional set.
#[cfg(test)]
pub(crate) fn bare_session() -> sessiond_model::Session {
    use sessiond_model::{Health, ProjectId, Session, SessionId, Status, Timestamp, Tokens};
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
