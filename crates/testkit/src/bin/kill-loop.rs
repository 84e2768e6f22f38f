//! The kill loop as a program: `kill-loop [--kills N] [--seed S] [--clients C] [--dir D]`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use sessiond_testkit::daemon;
use sessiond_testkit::killloop::{Options, run};

/// Reads `--name value` pairs.
fn options() -> Result<Options, String> {
    let mut options = Options {
        kills: 200,
        seed: rand::random(),
        clients: 6,
        binary: PathBuf::new(),
        dir: std::env::temp_dir().join(format!("kill-loop-{}", std::process::id())),
    };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().ok_or(format!("{name} needs a value"))?;
        let bad = |e: std::num::ParseIntError| format!("{name} {value}: {e}");
        match name.as_str() {
            "--kills" => options.kills = value.parse().map_err(bad)?,
            "--seed" => options.seed = value.parse().map_err(bad)?,
            "--clients" => options.clients = value.parse().map_err(bad)?,
            "--dir" => options.dir = value.into(),
            _ => {
                return Err(format!(
                    "{name}? I know --kills, --seed, --clients and --dir"
                ));
            }
        }
    }
    options.binary = daemon::binary()?;
    Ok(options)
}

fn say(line: &str) {
    // Nobody may listen any more.
    let _ = writeln!(io::stdout(), "{line}");
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(what) => {
            say(&what);
            return ExitCode::from(2);
        }
    };
    say(&format!("{} kills, seed {}", options.kills, options.seed));
    match run(&options, say).await {
        Ok(report) => {
            say(&format!("{report:?}"));
            // Kept only when there is something to look at.
            let _ = std::fs::remove_dir_all(&options.dir);
            ExitCode::SUCCESS
        }
        Err(broken) => {
            say(&format!("BROKEN: {broken}"));
            ExitCode::FAILURE
        }
    }
}
