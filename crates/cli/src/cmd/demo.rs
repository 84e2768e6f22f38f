use std::process::ExitCode;

use super::Outcome;

pub(crate) fn run() -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(sessiond_agent::run_demo_agent(
        tokio::io::stdin(),
        tokio::io::stdout(),
    ))?;
    // Reading stdin holds a thread that a runtime would wait for.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}
