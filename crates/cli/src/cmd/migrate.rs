//! `sessiond migrate`: all sessions from one store into another.

use std::process::ExitCode;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sessiond_server::{Config, MoveReport, Phase, Progress, StorePlace};

use super::Outcome;
use crate::args::Migrate;
use crate::out;

/// Digits of a hash that people compare.
const SHOWN: usize = 16;

pub(crate) fn run(config: &Config, args: &Migrate) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let bar = bar();
    let mut tell = |at: Progress| {
        bar.set_length(at.total);
        bar.set_position(at.done);
        let does = match at.phase {
            Phase::Clearing => "clearing",
            Phase::Copying => "copying",
            Phase::Comparing => "comparing",
        };
        bar.set_message(format!("{does} {}", at.table));
    };
    // Not clap's work: it would repeat what was written, password and all.
    let place = |flag: &str, text: &str| {
        let place: Result<StorePlace, _> = text.parse();
        place.map_err(|e| format!("{flag}: {e}"))
    };
    let (from, to) = (place("--from", &args.from)?, place("--to", &args.to)?);
    let moving = sessiond_server::migrate(&from, &to, &config.data_dir, &mut tell);
    let moved = runtime.block_on(moving);
    bar.finish_and_clear();
    let report = moved?;
    out::print(&told(&report, &from, &to));
    Ok(ExitCode::SUCCESS)
}

fn told(report: &MoveReport, from: &StorePlace, to: &StorePlace) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["table", "rows", "SHA-256, the same on both sides"]);
    for moved in &report.tables {
        let hash: String = moved.hash.chars().take(SHOWN).collect();
        table.add_row([moved.table, &moved.rows.to_string(), &hash]);
    }
    if let Some(rows) = table.column_mut(1) {
        rows.set_cell_alignment(CellAlignment::Right);
    }
    let sessions = report.tables.first().map_or(0, |sessions| sessions.rows);
    let mut text = format!("{table}\n\n");
    if report.resumed > 0 {
        let rows = report.resumed;
        text += &format!("Went on with a move that was cut off after {rows} rows.\n");
    }
    if report.mended > 0 {
        let texts = report.mended;
        text += &format!(
            "{texts} texts held NUL or bytes that are no UTF-8; U+FFFD stands there now.\n"
        );
    }
    text + &format!(
        "Moved {sessions} sessions from {from} to {to}. The source is as it was; serve only one of them.\n"
    )
}

/// Seen on a terminal only.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let template = "{bar:30} {pos}/{len} rows  {per_sec}  {eta}  {wide_msg}";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
