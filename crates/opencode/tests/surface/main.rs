//! The router over a real engine, the in-memory store and the demo agent.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod around;
mod commands;
mod config;
mod exports;
mod files;
mod fixtures;
mod instance;
mod messages;
mod prompts;
mod replays;
mod reverts;
mod sessions;
mod shares;
mod streams;
mod support;
mod v2;
