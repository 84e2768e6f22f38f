//! Events as OpenCode's two streams carry them.

mod history;
pub(crate) mod ids;
mod map;
mod notice;
mod stream;

pub(crate) use history::history;
pub(crate) use notice::said;
pub(crate) use stream::{Surface, stream};
