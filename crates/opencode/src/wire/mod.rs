//! OpenCode's shapes, over borrowed domain values.

mod ask;
mod catalog;
mod command;
mod diff;
mod project;
mod session;
mod transcript;

pub(crate) use ask::{PermissionDto, QuestionDto};
pub(crate) use catalog::{agents, default_model, providers};
pub(crate) use command::commands;
pub(crate) use diff::diffs;
pub(crate) use project::ProjectDto;
#[cfg(test)]
pub(crate) use session::tests::bare as bare_session;
pub(crate) use session::{SessionDto, status};
pub(crate) use transcript::{PartDto, message_with_parts, page};
