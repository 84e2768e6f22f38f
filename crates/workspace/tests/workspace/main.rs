//! Directories as people have them: with and without git.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod files;
mod git;
mod support;
