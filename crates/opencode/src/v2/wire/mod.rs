//! The shapes of `/api/*`.

mod ask;
mod content;
mod location;
mod message;
mod prompt;
mod session;

pub(crate) use ask::PermissionDto;
pub(crate) use content::{Progress, State, tool, unknown};
pub(crate) use location::{Located, LocationDto, agents, commands, models, provider, providers};
pub(crate) use message::{Role, finish, is_whole, message, model_of, role, shell, snapshot, texts};
pub(crate) use prompt::{PromptDto, prompt};
pub(crate) use session::{ModelDto, RevertDto, SessionDto};
