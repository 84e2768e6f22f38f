//! Configuration, authentication and wiring: what makes a server of the other rooms.
//!
//! [`Server::start`] takes a [`Config`] and answers a [`Running`] server, also in tests (on
//! port 0, with several servers in one process).

mod access;
mod banner;
mod config;
mod doctor;
mod error;
mod files;
mod front;
mod moving;
mod net;
mod node;
mod rooms;
mod server;
mod share;
mod signals;
mod telemetry;
mod token;

pub use access::{Access, AccessError};
pub use config::{
    ClusterConfig, ClusterSettings, CommandSettings, Config, ConfigError, DEFAULT_PORT,
    LimitSettings, Limits, LogConfig, LogFormat, LogSettings, Period, Settings, ShareConfig,
    ShareSettings, Size, SnapshotLimits, SnapshotSettings, Sources, StoreText,
};
pub use doctor::{Check, check_data};
pub use error::StartError;
pub use files::raise_file_limit;
pub use moving::{
    MoveError, MoveReport, Moved, Phase, Progress, StorePlace, StorePlaceError, migrate,
};
pub use rooms::openapi_json;
pub use server::{Running, Server};
pub use signals::Signals;
pub use telemetry::{Logging, init_logging};
pub use token::Token;
