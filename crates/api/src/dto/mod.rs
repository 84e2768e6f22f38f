//! The shapes of `/v1`: our own names in snake_case, times in integer milliseconds since the
//! Unix epoch (UTC), `null` where there is no value.

mod agent;
mod command;
mod event;
mod fork;
mod import;
mod interact;
mod message;
mod node;
mod part;
mod project;
mod prompt;
mod revert;
mod session;
mod share;
mod trash;
mod turn;

pub(crate) use agent::{AgentList, BindingReply};
pub(crate) use command::{CommandBody, CommandList, ShellBody, TurnBody};
pub(crate) use event::{DeltaDto, EventDto, EventPageDto, StateDto, StreamNote};
pub(crate) use fork::{ForkBody, TreeReply};
pub(crate) use import::{ImportBody, ImportOutline, ImportPlan, ImportReply, PortFormat};
pub(crate) use interact::{
    PermissionDto, PermissionList, PermissionReplyBody, QuestionDto, QuestionList,
    QuestionReplyBody, TodoList,
};
pub(crate) use message::{MessageDto, MessagePageDto};
pub(crate) use node::{NodeDto, NodeList};
pub(crate) use project::{ProjectDto, ProjectList};
pub(crate) use prompt::{PromptBody, PromptReply};
pub(crate) use revert::{ChangeList, RevertBody, RevertReply};
pub(crate) use session::{
    CreateSession, DeleteReply, PatchSession, SessionDto, SessionList, SessionPageDto,
};
pub(crate) use share::{ShareBody, ShareDto, SharePageDto, SharePreviewDto};
pub(crate) use trash::{EmptiedReply, PurgeReply, TrashPage, Trashed};
pub(crate) use turn::{AbortBody, AbortReply, TurnDto, TurnList, UsageList};
