pub(crate) mod ask;
pub(crate) mod event;
pub(crate) mod fs;
pub(crate) mod message;
pub(crate) mod place;
pub(crate) mod prompt;
pub(crate) mod revert;
pub(crate) mod session;
