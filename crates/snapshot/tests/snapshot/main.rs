//! The public API against real directories and real git repositories.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod captures;
mod crash;
mod fixture;
mod hostile;
mod limits;
mod properties;
mod replacing;
mod retention;
