//! Tests of the real binary.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod commands;
mod home;
mod ports;
mod serve;
