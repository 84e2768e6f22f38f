//! The ACP host: it starts coding agents as processes of their own, speaks the Agent Client
//! Protocol with them over stdio, and translates what they say into messages and parts.
//!
//! Nothing here touches the store. The engine drives an [`Agent`], feeds what arrives as
//! [`Incoming`] to a [`Translator`], and commits the [`Effect`]s.

mod catalogue;
mod child;
mod connection;
mod demo;
mod error;
mod host;
mod process;
mod profile;
mod prompt;
mod reader;
mod shell;
mod usage;
mod wire;

pub mod translate;

pub use catalogue::{AgentOverride, AgentSpec, Availability, Catalogue};
pub use demo::run_demo_agent;
pub use error::AgentError;
pub use host::{
    Agent, HostLimits, Incoming, Opened, PermissionAnswer, PromptResult, connect, spawn,
};
pub use process::{ProcessId, Reaped, reap_orphan};
pub use profile::{Capabilities, ProfileUpdate};
pub use prompt::PromptBlock;
pub use shell::{Shell, ShellEnd, ShellNews};
pub use translate::{
    Call, Effect, Env, Form, Outcome, PermissionAsk, QuestionAnswer, Translator, TurnContext,
    Unfit, Verdict, choose_option, verdict,
};
pub use wire::{RequestId, RpcError};
