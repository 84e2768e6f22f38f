//! The page, for people and without anything from elsewhere.

use std::sync::LazyLock;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::tz::TimeZone;
use sessiond_model::{DiffStatus, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::view::{Change, Message, Part, Text, Tool, Transcript};
use crate::{highlight, markdown};

const STYLE: &str = include_str!("../templates/page.css");
const SCRIPT: &str = include_str!("../templates/follow.js");

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    t: &'a Transcript,
    style: &'static str,
    script: &'static str,
}

#[derive(Template)]
#[template(path = "content.html")]
struct Content<'a> {
    t: &'a Transcript,
}

#[derive(Template)]
#[template(path = "gone.html")]
struct Gone {
    style: &'static str,
}

/// The whole page of a transcript.
///
/// # Errors
/// When the template can't be written, which is a fault of ours.
pub fn page(transcript: &Transcript) -> Result<String, askama::Error> {
    Page {
        t: transcript,
        style: STYLE,
        script: SCRIPT,
    }
    .render()
}

/// What is within the page's `<main>`: all that changes while a session is followed.
///
/// # Errors
/// When the template can't be written, which is a fault of ours.
pub fn content(transcript: &Transcript) -> Result<String, askama::Error> {
    Content { t: transcript }.render()
}

/// The page for a link that leads nowhere, whatever the reason.
///
/// # Errors
/// When the template can't be written, which is a fault of ours.
pub fn gone() -> Result<String, askama::Error> {
    Gone { style: STYLE }.render()
}

/// The `Content-Security-Policy` of all pages: our own script and style by their hashes, calls
/// to this server, nothing else. `sandbox` gives the page an origin of its own, so that even a
/// script that got in could not use what the browser knows of this server.
#[must_use]
pub fn policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
        format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; \
             img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'; \
             sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox",
            hash(SCRIPT),
            hash(STYLE)
        )
    });
    &POLICY
}

/// A time for people, and for machines.
fn time(at: &Timestamp, format: &str) -> String {
    jiff::Timestamp::from_millisecond(at.millis())
        .map(|t| t.to_zoned(TimeZone::UTC).strftime(format).to_string())
        .unwrap_or_default()
}

fn stamp(at: &Timestamp) -> String {
    time(at, "%Y-%m-%d %H:%M UTC")
}

fn iso(at: &Timestamp) -> String {
    time(at, "%Y-%m-%dT%H:%M:%SZ")
}

impl Text {
    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.cut == 0
    }

    fn markdown(&self) -> String {
        markdown::html(&self.text)
    }

    fn diff(&self) -> String {
        highlight::diff(&self.text)
    }

    /// `1.2 MB`
    fn missing(&self) -> String {
        match self.cut {
            0..1_000 => format!("{} bytes", self.cut),
            1_000..1_000_000 => format!("{} kB", self.cut / 1_000),
            _ => format!("{}.{} MB", self.cut / 1_000_000, self.cut / 100_000 % 10),
        }
    }
}

impl Tool {
    fn input_html(&self) -> String {
        let is_json = self.input.text.starts_with('{');
        highlight::html(&self.input.text, if is_json { "json" } else { "sh" })
    }

    fn is_open(&self) -> bool {
        matches!(self.status, "pending" | "running")
    }
}

impl Message {
    fn is_user(&self) -> bool {
        self.role == "user"
    }
}

impl Change {
    fn sign(&self) -> &'static str {
        match self.status {
            DiffStatus::Added => "new",
            DiffStatus::Deleted => "deleted",
            DiffStatus::Modified => "changed",
        }
    }
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
