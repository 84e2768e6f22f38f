//! Extractors: what a request says, checked and typed. Each refuses with a [`Problem`]
//! that names the field.
//!
//! [`Problem`]: crate::problem::Problem

mod body;
mod check;
mod headers;
mod path;
mod query;
mod reading;

pub(crate) use body::{Body, OptionalBody};
pub(crate) use check::{at_most, in_range, metadata, text};
pub(crate) use headers::{IdempotencyKey, IfMatch, IfNoneMatch, LastEventId, WantsStream, etag};
pub(crate) use path::{
    At, MessagePath, PermissionPath, ProjectPath, QuestionPath, SessionPath, TurnPath,
};
pub(crate) use query::{NoQuery, Params};
pub(crate) use reading::{double_option, not_null};
