//! Events as OpenCode's two streams carry them.

mod ids;
mod map;
mod notice;
mod stream;

pub(crate) use stream::{Surface, stream};
