use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Action;
use super::sender::{Done, Plan};

/// Notes that are shown without `--verbose`.
const SHOWN: usize = 10;

/// What an import did, for people.
#[derive(Debug, Default)]
pub(super) struct Report {
    dry_run: bool,
    imported: usize,
    grew: usize,
    present: usize,
    messages: usize,
    /// Sessions that were left out, with the reason.
    refused: Vec<String>,
    /// What went wrong.
    faults: Vec<String>,
    /// Messages and parts that were left out, with the reason.
    skipped: Vec<String>,
    notes: Vec<String>,
    /// Kinds of fields that were left out, and in how many sessions.
    lost: BTreeMap<String, usize>,
}

impl Report {
    pub(super) fn new(dry_run: bool) -> Self {
        Self {
            dry_run,
            ..Self::default()
        }
    }

    pub(super) fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// A session or something of the source that can't be read or written.
    pub(super) fn fault(&mut self, what: &str, why: &str) {
        self.faults.push(format!("{what}: {why}"));
    }

    pub(super) fn skipped(&mut self, session: &str, what: &str, why: &str) {
        self.skipped.push(format!("{session}: {what}: {why}"));
    }

    /// A session that nothing is done about, or not now.
    pub(super) fn planned(&mut self, id: &str, plan: &Plan) {
        match plan.action {
            Action::Refuse => {
                let why = plan.reason.as_deref().unwrap_or("refused");
                self.refused.push(format!("{id}: {why}"));
            }
            Action::Present => self.present += 1,
            Action::Append if plan.new == 0 => self.present += 1,
            Action::Append => {
                self.grew += 1;
                self.messages += plan.new;
            }
            Action::Create | Action::Resume => {
                self.imported += 1;
                self.messages += plan.new;
            }
        }
    }

    pub(super) fn done(&mut self, action: Action, done: &Done) {
        self.messages += done.added;
        match action {
            Action::Append if done.added + done.finished == 0 => self.present += 1,
            Action::Append => self.grew += 1,
            _ => self.imported += 1,
        }
        self.notes.extend(done.notes.iter().cloned());
        for kind in &done.lost {
            *self.lost.entry(kind.clone()).or_default() += 1;
        }
    }

    pub(super) fn text(&self, verbose: bool) -> String {
        let mut out = String::new();
        let mut section = |title: &str, lines: &[String], all: bool| {
            if lines.is_empty() {
                return;
            }
            let shown = if all { lines.len() } else { SHOWN };
            // Writing to a text can't fail.
            let _ = writeln!(out, "{title}:");
            for line in lines.iter().take(shown) {
                let _ = writeln!(out, "  {line}");
            }
            if lines.len() > shown {
                let more = lines.len() - shown;
                let _ = writeln!(out, "  and {more} more (--verbose shows them)");
            }
        };
        let lost: Vec<String> = self
            .lost
            .iter()
            .map(|(kind, sessions)| {
                format!("{kind}, in {}", counted(*sessions, "batch", "batches"))
            })
            .collect();
        section("Not as it was", &self.notes, verbose);
        section("Fields without a place here, left out", &lost, verbose);
        section("Messages and parts left out", &self.skipped, true);
        section("Sessions left out", &self.refused, true);
        section("Failed", &self.faults, true);
        let would = if self.dry_run {
            "would import"
        } else {
            "imported"
        };
        let _ = write!(
            out,
            "{would} {} ({}): {} new, {} grown; {} already there; {} left out",
            counted(self.imported + self.grew, "session", "sessions"),
            counted(self.messages, "message", "messages"),
            self.imported,
            self.grew,
            self.present,
            self.refused.len() + self.faults.len(),
        );
        out
    }
}

fn counted(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}
