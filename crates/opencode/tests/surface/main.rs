//! The router over a real engine, the in-memory store and the demo agent.

mod fixtures;
mod instance;
mod messages;
mod prompts;
mod sessions;
mod streams;
mod support;
