//! Handlers, one file per group of endpoints.

pub(crate) mod ask;
pub(crate) mod catalog;
pub(crate) mod command;
pub(crate) mod event;
pub(crate) mod experimental;
pub(crate) mod export;
pub(crate) mod file;
pub(crate) mod instance;
pub(crate) mod log;
pub(crate) mod message;
pub(crate) mod offered;
pub(crate) mod project;
pub(crate) mod prompt;
pub(crate) mod revert;
pub(crate) mod session;
pub(crate) mod share;
pub(crate) mod sync;
pub(crate) mod tui;
pub(crate) mod vcs;
