use std::process::ExitCode;

use sessiond_agent::Availability;
use sessiond_server::{Check, Config, check_data};

use super::Outcome;
use crate::args::Args;
use crate::out;

/// Looks at everything a start needs, and says what to do.
pub(crate) fn run(args: &Args) -> Outcome {
    let config = match args.config() {
        Ok(config) => config,
        Err(e) => {
            report(&[Check::bad("configuration", e.to_string())]);
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut checks = vec![Check::good(
        "configuration",
        config.file.as_ref().map_or_else(
            || "no file, defaults and environment".to_owned(),
            |file| file.display().to_string(),
        ),
    )];
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    checks.extend(runtime.block_on(check_data(&config)));
    checks.extend(check_agents(&config));
    report(&checks);
    let fine = checks.iter().all(Check::is_good);
    Ok(if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn check_agents(config: &Config) -> Vec<Check> {
    let catalogue = config.catalogue();
    let default = config.default_agent.clone();
    catalogue
        .iter()
        .map(|agent| {
            let name = format!("agent {}", agent.name);
            match catalogue.availability(&agent.name) {
                Availability::Ready { path } => Check::good(name, path.display().to_string()),
                // Only an agent that somebody asked for is a fault when it is not there.
                Availability::Missing { reason }
                    if agent.builtin && default.as_deref() != Some(&agent.name) =>
                {
                    Check::note(name, reason)
                }
                Availability::Missing { reason } => Check::bad(name, reason),
            }
        })
        .collect()
}

fn report(checks: &[Check]) {
    for check in checks {
        out::print(&check.to_string());
    }
}
