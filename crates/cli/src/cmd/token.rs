use std::process::ExitCode;

use sessiond_server::{Config, Token};

use super::Outcome;
use crate::out;

/// Prints the token alone, so that `$(sessiond token)` can stand for it.
pub(crate) fn run(config: &Config) -> Outcome {
    if !config.auth {
        out::error("no token is needed: `auth` is off");
        return Ok(ExitCode::FAILURE);
    }
    let path = config.token_file();
    let token = match &config.token {
        Some(token) => Some(token.clone()),
        None => Token::read(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?,
    };
    match token {
        Some(token) => {
            out::print(token.reveal());
            Ok(ExitCode::SUCCESS)
        }
        None => {
            out::error(&format!(
                "there is no token in {} yet; the first `sessiond serve` makes it",
                path.display()
            ));
            Ok(ExitCode::FAILURE)
        }
    }
}
