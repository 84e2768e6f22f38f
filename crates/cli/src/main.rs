//! `sessiond`: the command line.

mod args;
mod cmd;
mod out;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match cmd::run(&args) {
        Ok(code) => code,
        Err(error) => {
            out::error(&error.to_string());
            ExitCode::FAILURE
        }
    }
}
