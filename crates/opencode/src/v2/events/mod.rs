//! Events as `/api/*` tells them.

mod mapper;
mod stream;
mod told;

pub(crate) use mapper::position;
pub(crate) use stream::{everything, history, of_session};
