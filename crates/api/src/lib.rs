//! The core REST API of sessiond, under `/v1`, and its OpenAPI document.
//!
//! Handlers parse, call one method of the engine and map the answer. Every error is an
//! RFC 9457 problem that names the wrong field. Tokens, `Host` and `Origin` checks, body
//! sizes, compression and time limits belong to the server around this router.

mod cursor;
mod docs;
mod dto;
mod extract;
mod limits;
mod problem;
mod router;
#[expect(
    unused_qualifications,
    reason = "the code that utoipa::path writes has them"
)]
mod routes;
mod sse;
mod state;

pub use docs::openapi;
pub use problem::{PROBLEM_JSON, Problem, ProblemKind};
pub use router::router;
pub use state::ApiState;
