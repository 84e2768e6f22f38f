//! Sessions in OpenCode's form, both ways, and readers of what OpenCode keeps.

mod session;
mod transcript;

pub use session::{SessionDto, status};
pub use transcript::{PartDto, message_with_parts, page};
