//! Events as OpenCode's two streams carry them.

mod history;
mod ids;
mod map;
mod notice;
mod stream;

pub(crate) use history::history;
pub(crate) use stream::{Surface, stream};
