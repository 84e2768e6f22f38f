//! Share pages: a session as strangers may see it.
//!
//! Pure: stored messages go in, a [`Transcript`] without secrets comes out, which is served as
//! JSON or as a [`page`]. No clock, no network, no files.

mod highlight;
mod markdown;
mod page;
mod redact;
mod view;

pub use page::{content, gone, page, policy};
pub use redact::{Finding, Findings, Redactor, Sample};
pub use view::{Change, Message, Part, Source, Text, Tool, Transcript};
