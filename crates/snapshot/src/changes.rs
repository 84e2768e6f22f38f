//! What a capture holds, and what differs between two.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use gix_hash::ObjectId;
use gix_object::Kind;
use sessiond_model::FileState;

use crate::{
    SnapshotError, Worktree,
    objects::{Objects, parse_id},
    paths,
    scan::{FILE, file_state},
    tree::{self, DIRECTORY, Leaf, Tree},
};

/// A file that is not the same in two captures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathChange {
    /// Absolute, any bytes.
    pub path: PathBuf,
    /// As the earlier capture has it; nothing when it did not exist.
    pub before: Option<FileState>,
    /// As the later capture has it; nothing when it did not exist.
    pub after: Option<FileState>,
}

/// What a capture knows of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Captured {
    /// It was a file or link.
    File(FileState),
    /// There was no file.
    Absent,
    /// It was ignored, too large or unreadable.
    Unknown,
}

/// What a capture's tree holds.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// The files that are not ignored.
    pub(crate) files: Option<ObjectId>,
    /// Ignored files that the session follows.
    pub(crate) extra: BTreeMap<Vec<u8>, Leaf>,
    /// Those of them that did not exist.
    pub(crate) absent: BTreeSet<Vec<u8>>,
    /// What the repository ignores; a directory has `/` at its end and stands for all in it.
    pub(crate) ignored: BTreeSet<Vec<u8>>,
    /// What could not be captured.
    pub(crate) left_out: BTreeSet<Vec<u8>>,
}

impl Record {
    pub(crate) fn write(&self, objects: &Objects) -> Result<ObjectId, SnapshotError> {
        let mut root = Tree::new();
        if let Some(files) = self.files {
            root.insert(b"files".to_vec(), (DIRECTORY, files));
        }
        let extra: Tree = self
            .extra
            .iter()
            .map(|(path, leaf)| (paths::hex(path).into_bytes(), *leaf))
            .collect();
        if !extra.is_empty() {
            root.insert(
                b"extra".to_vec(),
                (DIRECTORY, tree::write(objects, &extra)?),
            );
        }
        for (name, list) in [
            ("absent", &self.absent),
            ("ignored", &self.ignored),
            ("left-out", &self.left_out),
        ] {
            if !list.is_empty() {
                let bytes = list.iter().map(Vec::as_slice).collect::<Vec<_>>().join(&0);
                let id = objects.put(Kind::Blob, &bytes)?;
                root.insert(name.as_bytes().to_vec(), (FILE | 0o644, id));
            }
        }
        tree::write(objects, &root)
    }

    pub(crate) fn read(objects: &Objects, id: &ObjectId) -> Result<Self, SnapshotError> {
        let root = tree::read(objects, id)?;
        let get = |name: &str| root.get(name.as_bytes()).map(|(_, id)| *id);
        let list = |name| match get(name) {
            None => Ok(BTreeSet::new()),
            Some(id) => {
                let bytes = objects.read(&id, Kind::Blob)?;
                Ok(bytes.split(|&b| b == 0).map(<[u8]>::to_vec).collect())
            }
        };
        let extra = get("extra").map_or(Ok(Tree::new()), |id| tree::read(objects, &id))?;
        Ok(Self {
            files: get("files"),
            extra: extra
                .into_iter()
                .filter_map(|(name, leaf)| Some((paths::unhex(&name)?, leaf)))
                .collect(),
            absent: list("absent")?,
            ignored: list("ignored")?,
            left_out: list("left-out")?,
        })
    }

    /// What it knows of a path that has this entry among its files.
    fn know(&self, path: &[u8], file: Option<Leaf>) -> Captured {
        let state = |(mode, id): &Leaf| Captured::File(file_state(*mode, id));
        if contains(&self.left_out, path) {
            Captured::Unknown
        } else if let Some(leaf) = file.as_ref().or_else(|| self.extra.get(path)) {
            state(leaf)
        } else if self.absent.contains(path) {
            Captured::Absent
        } else if contains(&self.ignored, path) {
            Captured::Unknown
        } else {
            Captured::Absent
        }
    }
}

/// Whether a path, or a directory that it is in, is in a list.
fn contains(list: &BTreeSet<Vec<u8>>, path: &[u8]) -> bool {
    let ends = path.iter().enumerate().filter(|(_, b)| **b == b'/');
    list.contains(path)
        || ends
            .into_iter()
            .any(|(end, _)| list.contains(&path[..end]) || list.contains(&path[..=end]))
}

impl Worktree {
    /// The files that differ between two captures. What one of them does not know (it was ignored
    /// and nobody had asked for it, or it was left out) is not among them.
    ///
    /// To undo them, first [`replace`](Self::replace) those that have no `before`, in reverse order, then the
    /// others in order: so a directory is gone before a file takes its place.
    pub fn changes(&self, before: &str, after: &str) -> Result<Vec<PathChange>, SnapshotError> {
        let objects = Objects::open(&self.store)?;
        let read = |id: &str| parse_id(id).and_then(|id| Record::read(&objects, &id));
        let (before, after) = (read(before)?, read(after)?);
        let mut paths: BTreeMap<Vec<u8>, (Option<Leaf>, Option<Leaf>)> =
            tree::compare(&objects, before.files, after.files)?
                .into_iter()
                .map(|d| (d.path, (d.before, d.after)))
                .collect();
        let followed = [&before, &after];
        for path in followed
            .iter()
            .flat_map(|record| record.extra.keys().chain(&record.absent))
        {
            if paths.contains_key(path) {
                continue;
            }
            // The other capture may have it among its files, when the ignore rules changed.
            let find = |record: &Record| match record.files {
                Some(root) => tree::find(&objects, root, path),
                None => Ok(None),
            };
            paths.insert(path.clone(), (find(&before)?, find(&after)?));
        }
        Ok(paths
            .into_iter()
            .filter_map(|(path, (old, new))| {
                let known = |captured| match captured {
                    Captured::File(state) => Some(Some(state)),
                    Captured::Absent => Some(None),
                    Captured::Unknown => None,
                };
                let old = known(before.know(&path, old))?;
                let new = known(after.know(&path, new))?;
                (old != new).then(|| PathChange {
                    path: paths::absolute(&self.toplevel, &path),
                    before: old,
                    after: new,
                })
            })
            .collect())
    }

    /// What the capture `tree` knows of a path.
    pub fn captured(&self, tree: &str, path: &Path) -> Result<Captured, SnapshotError> {
        let path = self.locate(path)?;
        let objects = Objects::open(&self.store)?;
        let record = Record::read(&objects, &parse_id(tree)?)?;
        let file = match record.files {
            Some(root) => tree::find(&objects, root, &path)?,
            None => None,
        };
        Ok(record.know(&path, file))
    }
}
