use ignore::WalkBuilder;
use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

use crate::list::Kind;
use crate::work::{self, Stop};
use crate::{Bounded, Result, Root};

/// Paths that one answer holds, at the most.
pub const MAX_FOUND: usize = 200;
/// Entries looked at, at the most.
const MAX_WALK: usize = 500_000;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kinds {
    /// Files and directories.
    All,
    /// Files.
    Files,
    /// Directories.
    Directories,
}

impl Kinds {
    fn has(self, kind: Kind) -> bool {
        match self {
            Self::All => true,
            Self::Files => kind == Kind::File,
            Self::Directories => kind == Kind::Directory,
        }
    }
}

/// A path that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Relative to the root; a directory's ends with `/`.
    pub path: String,
    /// File or directory.
    pub kind: Kind,
}

/// Files and directories whose paths have the letters of the query in this order, the best
/// first; without a query the shortest first. What git ignores, and `.git`, is left out.
///
/// # Errors
/// `TimedOut`.
pub async fn find(root: &Root, query: &str, kinds: Kinds, limit: usize) -> Result<Bounded<Found>> {
    let (root, query) = (root.clone(), query.to_owned());
    work::blocking(move |stop| {
        let found = walk(&root, kinds, stop)?;
        let mut ranked = rank(found.items, query.trim(), limit.min(MAX_FOUND), stop)?;
        ranked.is_cut |= found.is_cut;
        Ok(ranked)
    })
    .await
}

/// The entries that are not ignored, in a fixed order.
pub(crate) fn entries(root: &Root) -> ignore::Walk {
    WalkBuilder::new(root.path())
        .hidden(false)
        .require_git(false)
        .git_global(false)
        .filter_entry(|entry| entry.file_name() != ".git")
        .sort_by_file_name(Ord::cmp)
        .build()
}

fn walk(root: &Root, kinds: Kinds, stop: &Stop) -> Result<Bounded<Found>> {
    let mut found = Vec::new();
    let mut is_cut = false;
    // What can't be read is left out; the rest is still of use.
    for (n, entry) in entries(root).flatten().skip(1).enumerate() {
        stop.check()?;
        if n == MAX_WALK {
            is_cut = true;
            break;
        }
        let kind = match entry.file_type() {
            Some(t) if t.is_dir() => Kind::Directory,
            Some(t) if t.is_file() => Kind::File,
            _ => continue,
        };
        if kinds.has(kind) {
            let mut path = root.relative(entry.path());
            if kind == Kind::Directory {
                path.push('/');
            }
            found.push(Found { path, kind });
        }
    }
    Ok(Bounded {
        items: found,
        is_cut,
    })
}

fn rank(mut found: Vec<Found>, query: &str, limit: usize, stop: &Stop) -> Result<Bounded<Found>> {
    if query.is_empty() {
        found.sort_by(|a, b| (a.path.len(), &a.path).cmp(&(b.path.len(), &b.path)));
        return Ok(Bounded::first(found, limit));
    }
    let pattern = Pattern::parse(query, CaseMatching::Ignore, Normalization::Smart);
    let mut matcher = Matcher::new(Config::DEFAULT.match_paths());
    let mut letters = Vec::new();
    let mut scored = Vec::new();
    for item in found {
        stop.check()?;
        if let Some(score) = pattern.score(Utf32Str::new(&item.path, &mut letters), &mut matcher) {
            scored.push((score, item));
        }
    }
    scored.sort_by(|(a, x), (b, y)| {
        (b.cmp(a)).then_with(|| (x.path.len(), &x.path).cmp(&(y.path.len(), &y.path)))
    });
    let items = scored.into_iter().map(|(_, item)| item).collect();
    Ok(Bounded::first(items, limit))
}
