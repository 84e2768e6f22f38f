//! Taking out what strangers must not see: home directories, keys, tokens, passwords.
//!
//! Everything a share shows passes here, as text, before it is cut or rendered. What is found
//! by a list of known forms; it is a net, not a proof, which is why the owner can look at the
//! result first.

mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sessiond_model::MessageId;

/// Samples kept of each kind.
const SAMPLES: usize = 5;

/// Takes secrets out of texts, and counts them.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    /// Texts that are secret as they are, longest first.
    secrets: Vec<String>,
    /// Home directories of this machine.
    homes: Vec<String>,
}

/// What was taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// By kind, e.g. `github-token`, `home-directory`.
    pub kinds: BTreeMap<&'static str, Finding>,
    /// The message that is being read.
    message: Option<MessageId>,
}

/// What was taken out of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finding {
    /// How often.
    pub count: u64,
    /// The first of them.
    pub samples: Vec<Sample>,
}

/// One thing that was taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Where; absent for the title.
    pub message_id: Option<MessageId>,
    /// Its first characters.
    pub masked: String,
}

impl Findings {
    /// What is found from now on is in this message.
    pub fn reading(&mut self, message: Option<&MessageId>) {
        self.message = message.cloned();
    }

    fn note(&mut self, kind: &'static str, secret: &str) {
        let finding = self.kinds.entry(kind).or_default();
        finding.count += 1;
        if finding.samples.len() < SAMPLES {
            finding.samples.push(Sample {
                message_id: self.message.clone(),
                masked: mask(secret),
            });
        }
    }
}

/// Enough to recognise a secret that one has, not enough to use it.
fn mask(secret: &str) -> String {
    let length = secret.chars().count();
    let shown: String = secret.chars().take((length / 4).min(8)).collect();
    let shown = shown.replace(char::is_control, " ");
    format!("{shown}… ({length} characters)")
}

impl Redactor {
    /// A redactor that also knows texts which are secret here, and home directories.
    #[must_use]
    pub fn new(secrets: Vec<String>, homes: Vec<String>) -> Self {
        let mut known: Vec<String> = secrets.into_iter().filter(|s| s.len() >= 8).collect();
        known.sort_by_key(|s| std::cmp::Reverse(s.len()));
        let homes = homes
            .into_iter()
            .map(|home| home.trim_end_matches('/').to_owned())
            .filter(|home| home.matches('/').count() >= 2);
        Self {
            secrets: known,
            homes: homes.collect(),
        }
    }

    /// The text without what strangers must not see, and without control characters.
    #[must_use]
    pub fn text(&self, text: &str, findings: &mut Findings) -> String {
        let mut text = plain(text);
        for secret in &self.secrets {
            for _ in 0..text.matches(secret.as_str()).count() {
                findings.note("server-token", secret);
            }
            text = text.replace(secret.as_str(), "[redacted: server-token]");
        }
        for home in &self.homes {
            // As paths, and as some agents write them in the names of files of their own.
            for form in [home.clone(), home.replace('/', "-")] {
                text = without_home(text, &form, findings);
            }
        }
        let redacted = rules::ALL.apply(&text, &mut |kind, secret| {
            findings.note(kind, secret);
            if kind == rules::HOME {
                "~".into()
            } else {
                format!("[redacted: {kind}]")
            }
        });
        redacted.unwrap_or(text)
    }

    /// The same for every text of a JSON value; a field that is named like a secret is one.
    #[must_use]
    pub fn map(&self, map: &Map<String, Value>, findings: &mut Findings) -> Map<String, Value> {
        let field = |(name, value): (&String, &Value)| {
            let value = match value {
                Value::String(text) if !text.is_empty() && rules::ALL.is_secret_name(name) => {
                    findings.note("assignment", text);
                    Value::String("[redacted: assignment]".into())
                }
                other => self.value(other, findings),
            };
            (self.text(name, findings), value)
        };
        map.iter().map(field).collect()
    }

    fn value(&self, value: &Value, findings: &mut Findings) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text, findings)),
            Value::Array(items) => items.iter().map(|v| self.value(v, findings)).collect(),
            Value::Object(map) => Value::Object(self.map(map, findings)),
            other => other.clone(),
        }
    }
}

/// Puts `~` where `home` stands, unless it goes on into a longer name.
fn without_home(text: String, home: &str, findings: &mut Findings) -> String {
    if !text.contains(home) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once(home) {
        out.push_str(before);
        if after.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            out.push_str(home);
        } else {
            findings.note(rules::HOME, home);
            out.push('~');
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The text without escape sequences of terminals, control characters, and marks that turn the
/// direction of text around: none of them means anything on a page, and a secret could hide
/// behind them.
fn plain(text: &str) -> String {
    let odd = |c: char| {
        (c.is_control() && c != '\n' && c != '\t')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    if !text.contains(odd) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            skip_escape(&mut rest);
        } else if c == '\u{9b}' {
            skip_control_sequence(&mut rest);
        } else if c == '\r' {
            // A line that was written over, or the end of one.
            if !rest.as_str().starts_with('\n') && !out.ends_with('\n') {
                out.push('\n');
            }
        } else if !odd(c) {
            out.push(c);
        }
    }
    out
}

fn skip_escape(rest: &mut std::str::Chars<'_>) {
    match rest.clone().next() {
        Some('[') => {
            rest.next();
            skip_control_sequence(rest);
        }
        // Operating system commands and other strings, up to BEL or ESC \.
        Some(']' | 'P' | '^' | '_' | 'X') => {
            let text = rest.as_str();
            let end = text.find('\u{7}').map(|at| at + 1);
            let st = text.find("\u{1b}\\").map(|at| at + 2);
            let end = [end, st].into_iter().flatten().min();
            *rest = text[end.unwrap_or(1)..].chars();
        }
        Some(' '..='/') => drop(rest.nth(1)),
        Some('0'..='~') => drop(rest.next()),
        _ => {}
    }
}

fn skip_control_sequence(rest: &mut std::str::Chars<'_>) {
    while let Some(c) = rest.clone().next() {
        if !matches!(c, ' '..='~') {
            return;
        }
        rest.next();
        if matches!(c, '@'..='~') {
            return;
        }
    }
}
