//! The commands.

mod agents;
mod demo;
mod doctor;
mod export;
mod import;
mod migrate;
mod serve;
mod token;

use std::error::Error;
use std::process::ExitCode;

use crate::args::{Args, Command, ImportFrom};

/// What a command ends with; an error is a sentence for the person.
pub(crate) type Outcome = Result<ExitCode, Box<dyn Error>>;

pub(crate) fn run(args: &Args) -> Outcome {
    match &args.command {
        Command::Serve(_) => serve::run(args.config()?),
        Command::Agents { json } => agents::run(&args.config()?, *json),
        Command::Token => token::run(&args.config()?),
        Command::Doctor => doctor::run(args),
        Command::Export(export) => export::run(&args.config()?, export),
        Command::Import {
            from: ImportFrom::Opencode(from),
        } => import::run(&args.config()?, from),
        Command::Migrate(migrate) => migrate::run(&args.config()?, migrate),
        Command::Openapi => openapi(),
        Command::DemoAgent => demo::run(),
    }
}

fn openapi() -> Outcome {
    crate::out::print(&sessiond_server::openapi_json());
    Ok(ExitCode::SUCCESS)
}
