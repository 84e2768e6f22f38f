//! OpenCode's second family of endpoints, `/api/*`: another view of the same sessions, messages
//! and events. Nothing is kept here; everything is mapped from what the first family shows too.

mod error;
mod events;
mod extract;
mod router;
mod routes;
mod wire;

pub(crate) use router::router;
