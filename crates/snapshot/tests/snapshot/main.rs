//! The public API against real directories and real git repositories.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod captures;
mod fixture;
