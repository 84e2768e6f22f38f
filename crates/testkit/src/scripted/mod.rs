//! A model server that plays scripts: coding agents think it is their model provider.
//!
//! It speaks the three wire formats that agents use (Anthropic Messages, OpenAI Responses,
//! OpenAI chat completions) on loopback. What it answers depends on the request alone: the
//! last marker `@@NAME` or `@@NAME:ARG` in what the user said chooses the script, and the
//! number of tool calls since then chooses the step. So it has no state that a restart of an
//! agent, of sessiond or of itself could confuse.
//!
//! Every request is kept with its body and can be read at `/__log`: that is how tests see
//! what a model was really told.

mod conversation;
mod script;
mod server;
mod tools;
mod wire;

pub use conversation::{Conversation, Item, Marker};
pub use script::{Answer, Block, answer};
pub use server::{Logged, ScriptedModel};
pub use tools::{Args, Call, Offer, Tool, ToolKind};
pub use wire::WireFormat;
