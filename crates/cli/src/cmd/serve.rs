use std::process::ExitCode;

use sessiond_server::{Config, Server, Signals, init_logging, raise_file_limit};

use super::Outcome;
use crate::out;

pub(crate) fn run(config: Config) -> Outcome {
    let _logging = init_logging(&config.log)?;
    raise_file_limit();
    // As many threads as cores: handlers never block, the store has threads of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut signals = Signals::catch()?;
        let server = tokio::select! {
            server = Server::start(config) => server?,
            // Nothing was promised to anybody yet.
            () = signals.next() => return Ok(ExitCode::SUCCESS),
        };
        out::print(&server.banner(out::is_terminal() || server.first_start()));
        signals.next().await;
        tokio::select! {
            () = server.shutdown() => Ok(ExitCode::SUCCESS),
            () = signals.next() => {
                out::error("stopped at once; the next start ends what was running");
                std::process::exit(130);
            }
        }
    })
}
