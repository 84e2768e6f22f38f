//! Configuration, authentication and wiring: what makes a server of the other rooms.

mod config;
mod front;
mod net;
mod token;

pub use config::{
    Config, ConfigError, DEFAULT_PORT, LimitSettings, Limits, LogConfig, LogFormat, LogSettings,
    Period, Settings, Size, Sources,
};
pub use token::Token;
