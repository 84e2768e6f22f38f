//! Test support: a scripted model server for real coding agents, the real `sessiond` binary
//! as a child process, the kill loop and the stream checker.

pub mod daemon;
pub mod http;
pub mod killloop;
pub mod line;
pub mod postgres;
pub mod scripted;
pub mod sse;
pub mod streamcheck;
