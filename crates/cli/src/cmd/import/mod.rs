//! `sessiond import opencode`: sessions of OpenCode, from its database or an export file.

mod report;
mod sender;
mod source;

use std::path::PathBuf;
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sessiond_port::SourceError;
use sessiond_server::{Access, Config};

use self::report::Report;
use self::sender::{Action, Sender};
use self::source::Source;
use super::Outcome;
use crate::args::ImportOpencode;
use crate::out;

pub(crate) fn run(config: &Config, args: &ImportOpencode) -> Outcome {
    let source = Source::open(args)?;
    let mut report = Report::new(args.dry_run);
    let sessions = source.sessions(args, &mut report)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let access = runtime.block_on(Access::open(config))?;
    let bar = bar(sessions.len() as u64);
    for session in &sessions {
        bar.set_message(session.title.clone());
        let sender = Sender {
            runtime: &runtime,
            access: &access,
        };
        import(&sender, &source, &session.id, args.dry_run, &mut report);
        bar.inc(1);
    }
    bar.finish_and_clear();
    runtime.block_on(access.close());
    out::print(&report.text(args.verbose));
    Ok(if report.has_faults() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// The path of the database that is meant.
fn database(args: &ImportOpencode) -> Result<PathBuf, SourceError> {
    let found = args
        .path
        .clone()
        .or_else(|| sessiond_port::default_path(&|name| std::env::var(name).ok()));
    found.ok_or_else(|| SourceError::Missing {
        path: "opencode.db".into(),
    })
}

/// Imports one session. Whatever is wrong with it, the others go on.
fn import(sender: &Sender<'_>, source: &Source, id: &str, dry_run: bool, report: &mut Report) {
    let tried = (|| {
        let whole = source.whole(id)?;
        let plan = sender.plan(id, &whole.outline)?;
        if dry_run || !plan.action.is_work() {
            report.planned(id, &plan);
            return Ok(());
        }
        let done = sender.batches(source, &whole, plan.first, report)?;
        report.done(plan.action, &done);
        Ok::<_, Box<dyn std::error::Error>>(())
    })();
    if let Err(e) = tried {
        report.fault(id, &e.to_string());
    }
}

/// Seen on a terminal only.
fn bar(sessions: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(sessions), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} sessions  {wide_msg}");
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
