//! Sessions in OpenCode's form, both ways, and readers of what OpenCode keeps.

mod export;
mod import;
mod session;
mod source;
mod transcript;

pub use export::{disposition, export};
pub use import::{ReadMessage, ReadSession, Unreadable, message, session};
pub use session::{SessionDto, status};
pub use source::{Database, EachMessage, ExportFile, Listed, Outlined, SourceError, default_path};
pub use transcript::{PartDto, message_with_parts, page};
