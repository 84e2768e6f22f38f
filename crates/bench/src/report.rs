//! What is printed: one table, one row per thing measured.

use std::collections::BTreeMap;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};
use serde::Serialize;

use crate::server::Who;

/// Everything measured in a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// About the machine and the run.
    pub(crate) context: BTreeMap<&'static str, String>,
    pub(crate) rows: Vec<Row>,
}

/// One thing measured.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Per server, by name of the value.
    pub(crate) values: BTreeMap<&'static str, Vec<Value>>,
    pub(crate) checks: Vec<Check>,
    /// What limits it, as far as it was counted.
    pub(crate) notes: Vec<String>,
}

/// One number.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Value {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
}

/// A number held against its target.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) what: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) bound: Bound,
    pub(crate) met: bool,
}

/// A target.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Check {
    pub(crate) fn new(what: &'static str, value: f64, unit: &'static str, bound: Bound) -> Self {
        let met = match bound {
            Bound::AtLeast(least) => value >= least,
            Bound::AtMost(most) => value <= most,
        };
        Self {
            what,
            value,
            unit,
            bound,
            met,
        }
    }

    pub(crate) fn line(&self) -> String {
        format!("{} ({}, {})", self.result(), self.target(), self.verdict())
    }

    fn result(&self) -> String {
        format!("{}{} {}", number(self.value), self.unit, self.what)
    }

    fn target(&self) -> String {
        match self.bound {
            Bound::AtLeast(least) => format!("≥ {}{}", number(least), self.unit),
            Bound::AtMost(most) => format!("≤ {}{}", number(most), self.unit),
        }
    }

    fn verdict(&self) -> &'static str {
        if self.met { "met" } else { "MISSED" }
    }
}

impl Row {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            values: BTreeMap::new(),
            checks: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub(crate) fn value(mut self, who: Who, name: &'static str, value: f64) -> Self {
        self.values
            .entry(who.name())
            .or_default()
            .push(Value { name, value });
        self
    }

    pub(crate) fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    fn missed(&self) -> bool {
        self.checks.iter().any(|check| !check.met)
    }
}

impl Report {
    /// The table, then what limits the targets that were missed.
    pub(crate) fn render(&self) -> String {
        let mut table = Table::new();
        table
            .load_style(UTF8_FULL_CONDENSED)
            .set_content_arrangement(ContentArrangement::Disabled);
        let mut header = vec!["measured".to_owned()];
        header.extend(Who::ALL.map(|who| who.name().to_owned()));
        header.extend(["result", "target", ""].map(str::to_owned));
        table.set_header(header);
        for row in &self.rows {
            let mut cells = vec![row.name.clone()];
            cells.extend(Who::ALL.map(|who| {
                let values = row.values.get(who.name()).map_or(&[][..], Vec::as_slice);
                lines(values, |v| format!("{} {}", number(v.value), v.name))
            }));
            cells.push(lines(&row.checks, Check::result));
            cells.push(lines(&row.checks, Check::target));
            cells.push(lines(&row.checks, |check| check.verdict().to_owned()));
            table.add_row(cells);
        }
        let mut text = String::new();
        for (name, value) in &self.context {
            text.push_str(&format!("{name}: {value}\n"));
        }
        text.push_str(&format!("{table}\n"));
        let checks = self.rows.iter().flat_map(|row| &row.checks);
        let missed = checks.clone().filter(|check| !check.met).count();
        text.push_str(&format!("{} targets, {missed} missed\n", checks.count()));
        for row in self.rows.iter().filter(|row| !row.notes.is_empty()) {
            let mark = if row.missed() { "missed: " } else { "" };
            text.push_str(&format!("{mark}{}: {}\n", row.name, row.notes.join("; ")));
        }
        text
    }
}

fn lines<T>(items: &[T], line: impl Fn(&T) -> String) -> String {
    items.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Three or four digits are enough.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 10_000.0 => format!("{:.1}k", value / 1000.0),
        v if v >= 100.0 || v == 0.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_at_its_bound() {
        assert!(Check::new("x", 2.0, "×", Bound::AtLeast(2.0)).met);
        assert!(!Check::new("x", 1.99, "×", Bound::AtLeast(2.0)).met);
        assert!(Check::new("x", 30.0, " MiB", Bound::AtMost(30.0)).met);
        assert!(!Check::new("x", f64::NAN, " MiB", Bound::AtMost(30.0)).met);
    }

    #[test]
    fn the_table_tells_what_was_missed_and_why() {
        let row = Row::new("create")
            .value(Who::Sessiond, "req/s", 8120.0)
            .check(Check::new("OpenCode", 16.0, "×", Bound::AtLeast(20.0)))
            .note("0.2 ms of processor time per request");
        let text = Report {
            rows: vec![row],
            ..Report::default()
        }
        .render();
        assert!(text.contains("8120 req/s"), "{text}");
        assert!(text.contains("1 targets, 1 missed"), "{text}");
        assert!(text.contains("missed: create: 0.2 ms"), "{text}");
    }
}
