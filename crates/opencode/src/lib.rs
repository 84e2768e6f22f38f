//! The OpenCode HTTP API, mapped from the domain.
//!
//! [`router`] serves everything under `/opencode`. A handler reads its request, calls the
//! engine once and maps the answer; no state is kept here. Where sessiond differs from
//! OpenCode on purpose, `QUIRKS.md` of this crate says so and why.

mod decode;
mod error;
mod events;
mod extract;
mod router;
mod routes;
mod state;
mod v2;
mod wire;

pub use router::{root_health, router};
pub use state::{OpenCodeState, ServerPaths};
