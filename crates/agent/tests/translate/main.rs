//! Translation of ACP updates, as a subscriber sees it.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod demo;
mod fold;
mod properties;
mod recorded;
