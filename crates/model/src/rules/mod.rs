//! Pure rules: no I/O, no clock, no randomness.

mod close;
mod naming;
mod permission;

pub use close::{close_part, close_turn, ended_message};
pub use naming::{default_title, fork_title, is_default_title, slug, title_from_prompt};
pub use permission::{evaluate, matches_pattern};
