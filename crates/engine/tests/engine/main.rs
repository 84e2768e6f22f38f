//! The engine over the in-memory store, with the demo agent as a child process.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod aborts;
mod cluster;
mod forks;
mod imports;
mod kinds;
mod questions;
mod shares;
mod streams;
mod support;
mod takeover;
mod turns;
mod worktrees;
