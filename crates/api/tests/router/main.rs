//! The router over a real engine, the in-memory store and the demo agent as a child process.
//! Every answer is also checked against the OpenAPI document.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod asks;
mod commands;
mod events;
mod families;
mod imports;
mod refusals;
mod sessions;
mod shares;
mod support;
mod turns;
