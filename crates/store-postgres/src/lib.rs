//! The PostgreSQL store, which several nodes share.
//!
//! One row, `clock`, orders everything: whoever writes holds its lock from the first statement to
//! the COMMIT, so that events become visible in the order of their numbers, on every node. Each
//! node has one writer, which makes waiting commits durable together; leases and fencing are rows
//! of the same transactions.

mod address;
mod cluster;
mod conn;
mod feed;
mod group;
mod heart;
mod hints;
mod incidents;
mod leases;
mod measures;
mod moving;
mod options;
mod readers;
mod schema;
mod store;
mod tls;
mod values;
mod wave;
mod writer;
mod writing;

pub use address::{Address, AddressError};
pub use moving::PostgresSite;
pub use options::PostgresOptions;
pub use store::PostgresStore;
