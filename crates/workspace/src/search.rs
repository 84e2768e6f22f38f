use std::io;

use grep_matcher::Matcher as _;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{BinaryDetection, Searcher, SearcherBuilder, Sink, SinkMatch};

use crate::find::entries;
use crate::work::{self, Stop};
use crate::{Bounded, Result, Root, WorkspaceError};

/// Lines that one answer holds, at the most.
const MAX_HITS: usize = 100;
/// Of one line, at the most, in bytes.
const MAX_LINE: usize = 16 << 10;
/// Of one file in memory, in bytes: files with longer lines are skipped.
const HEAP: usize = 4 << 20;
/// Larger files are skipped: a search must come to its end.
const MAX_FILE: u64 = 64 << 20;
/// Longest pattern, in bytes, and the most memory that its automaton may take.
const MAX_PATTERN: usize = 4 << 10;
const AUTOMATON: usize = 10 << 20;

/// A line that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The file, relative to the root.
    pub path: String,
    /// The line, with its end; what is not UTF-8 is replaced.
    pub line: String,
    /// From 1.
    pub line_number: u64,
    /// Where the line begins in the file, in bytes.
    pub offset: u64,
    /// The matches in the line.
    pub submatches: Vec<Submatch>,
}

/// A match in a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submatch {
    /// What matched.
    pub text: String,
    /// Bytes of the line before it.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// Lines that match a regular expression, in the files that git does not ignore, by path. Binary
/// files are left out.
///
/// # Errors
/// `Pattern` when it is no regular expression; `TimedOut`.
pub async fn search(root: &Root, pattern: &str) -> Result<Bounded<Hit>> {
    if pattern.len() > MAX_PATTERN {
        return Err(WorkspaceError::Pattern(format!(
            "Expected at most {MAX_PATTERN} bytes"
        )));
    }
    let matcher = RegexMatcherBuilder::new()
        .line_terminator(Some(b'\n'))
        .size_limit(AUTOMATON)
        .dfa_size_limit(AUTOMATON)
        .build(pattern)
        .map_err(|e| WorkspaceError::Pattern(e.to_string()))?;
    let root = root.clone();
    work::blocking(move |stop| look(&root, &matcher, stop)).await
}

fn look(root: &Root, matcher: &RegexMatcher, stop: &Stop) -> Result<Bounded<Hit>> {
    let mut searcher = SearcherBuilder::new()
        .binary_detection(BinaryDetection::quit(0))
        .heap_limit(Some(HEAP))
        .line_number(true)
        .build();
    let mut hits = Vec::new();
    for entry in entries(root).flatten() {
        stop.check()?;
        if hits.len() > MAX_HITS {
            break;
        }
        let is_file = entry.file_type().is_some_and(|t| t.is_file());
        if !is_file || entry.metadata().map_or(true, |m| m.len() > MAX_FILE) {
            continue;
        }
        let known = hits.len();
        let mut lines = Lines {
            path: root.relative(entry.path()),
            matcher,
            stop,
            hits: &mut hits,
            binary: false,
        };
        // What can't be read is left out; the rest is still of use.
        let read = searcher.search_path(matcher, entry.path(), &mut lines);
        if lines.binary || read.is_err() {
            hits.truncate(known);
        }
    }
    stop.check()?;
    Ok(Bounded::first(hits, MAX_HITS))
}

struct Lines<'a> {
    path: String,
    matcher: &'a RegexMatcher,
    stop: &'a Stop,
    hits: &'a mut Vec<Hit>,
    binary: bool,
}

impl Sink for Lines<'_> {
    type Error = io::Error;

    fn matched(&mut self, _: &Searcher, found: &SinkMatch<'_>) -> io::Result<bool> {
        let bytes = found.bytes();
        let line = &bytes[..bytes.len().min(MAX_LINE)];
        let mut submatches = Vec::new();
        self.matcher.find_iter(line, |m| {
            submatches.push(Submatch {
                text: String::from_utf8_lossy(&line[m]).into_owned(),
                start: m.start(),
                end: m.end(),
            });
            true
        })?;
        self.hits.push(Hit {
            path: self.path.clone(),
            line: String::from_utf8_lossy(line).into_owned(),
            line_number: found.line_number().unwrap_or_default(),
            offset: found.absolute_byte_offset(),
            submatches,
        });
        // One more than is told shows that there are more.
        Ok(self.hits.len() <= MAX_HITS && self.stop.check().is_ok())
    }

    fn binary_data(&mut self, _: &Searcher, _: u64) -> io::Result<bool> {
        self.binary = true;
        Ok(false)
    }
}
