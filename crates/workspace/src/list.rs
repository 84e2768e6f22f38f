use std::path::{Path, PathBuf};

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use crate::work::{self, Stop};
use crate::{Bounded, Result, Root, WorkspaceError};

/// Entries of one directory, at the most.
const MAX_ENTRIES: usize = 20_000;

/// What an entry is. Symbolic links, devices and the like are not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A file.
    File,
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name; what is not UTF-8 is replaced.
    pub name: String,
    /// Relative to the root; a directory's ends with `/`.
    pub path: String,
    /// The whole path.
    pub absolute: PathBuf,
    /// File or directory.
    pub kind: Kind,
    /// Whether `.gitignore`, or `.ignore`, leaves it out.
    pub ignored: bool,
}

/// The entries of a directory: directories first, then by name without regard to case.
///
/// # Errors
/// `Outside`, `Missing`, `NotADirectory`; `Io` when it can't be read.
pub async fn list(root: &Root, path: &str) -> Result<Bounded<Entry>> {
    let (root, path) = (root.clone(), path.to_owned());
    work::blocking(move |stop| read(&root, &path, stop)).await
}

fn read(root: &Root, path: &str, stop: &Stop) -> Result<Bounded<Entry>> {
    let at = root.resolve(path)?;
    if !at.is_dir() {
        return Err(WorkspaceError::NotADirectory(path.into()));
    }
    let rules = Rules::of(root, &at);
    let mut entries = Vec::new();
    for entry in at.read_dir().map_err(WorkspaceError::io(path))? {
        stop.check()?;
        let Ok(entry) = entry else { continue };
        let kind = match entry.file_type() {
            Ok(t) if t.is_dir() => Kind::Directory,
            Ok(t) if t.is_file() => Kind::File,
            _ => continue,
        };
        if entries.len() > MAX_ENTRIES {
            break;
        }
        let absolute = entry.path();
        let mut path = root.relative(&absolute);
        if kind == Kind::Directory {
            path.push('/');
        }
        entries.push(Entry {
            name: entry.file_name().to_string_lossy().into_owned(),
            path,
            ignored: rules.ignore(&absolute, kind),
            absolute,
            kind,
        });
    }
    entries.sort_by_cached_key(|e| (e.kind, e.name.to_lowercase(), e.name.clone()));
    Ok(Bounded::first(entries, MAX_ENTRIES))
}

/// The ignore files from the root down to one directory.
struct Rules {
    /// Outermost first.
    files: Vec<Gitignore>,
    /// The directory itself is left out, and so is all in it.
    all: bool,
}

impl Rules {
    fn of(root: &Root, at: &Path) -> Self {
        let mut rules = Self {
            files: Vec::new(),
            all: false,
        };
        let below = at.strip_prefix(root.path()).unwrap_or(Path::new(""));
        let mut directory = root.path().to_owned();
        rules.add(&directory);
        for part in below.components() {
            directory.push(part);
            if rules.ignore(&directory, Kind::Directory) {
                rules.all = true;
                break;
            }
            rules.add(&directory);
        }
        rules
    }

    fn add(&mut self, directory: &Path) {
        let mut builder = GitignoreBuilder::new(directory);
        for name in [".gitignore", ".ignore"] {
            let file = directory.join(name);
            if file.is_file() {
                // A line that is no pattern counts for nothing, as in git.
                let _ = builder.add(file);
            }
        }
        if let Ok(rules) = builder.build()
            && !rules.is_empty()
        {
            self.files.push(rules);
        }
    }

    fn ignore(&self, path: &Path, kind: Kind) -> bool {
        self.all
            || self
                .files
                .iter()
                .rev()
                .map(|rules| rules.matched(path, kind == Kind::Directory))
                .find(|m| !m.is_none())
                .is_some_and(|m| m.is_ignore())
    }
}
