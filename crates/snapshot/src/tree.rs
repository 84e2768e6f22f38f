//! Trees: written from a list of files, compared, looked into.

use std::collections::BTreeMap;

use gix_hash::ObjectId;
use gix_object::{Kind, TreeRefIter};

use crate::{
    SnapshotError,
    objects::{HASH, Objects},
};

/// The mode of a directory.
pub(crate) const DIRECTORY: u32 = 0o40_000;

/// What a name in a tree stands for.
pub(crate) type Leaf = (u32, ObjectId);

/// A directory's content.
pub(crate) type Tree = BTreeMap<Vec<u8>, Leaf>;

/// Writes a tree.
pub(crate) fn write(objects: &Objects, tree: &Tree) -> Result<ObjectId, SnapshotError> {
    let mut entries: Vec<_> = tree.iter().collect();
    let is_tree = |mode: u32| mode == DIRECTORY;
    entries.sort_by(|(a, (a_mode, _)), (b, (b_mode, _))| {
        gix_object::tree::name_order(a, is_tree(*a_mode), b, is_tree(*b_mode))
    });
    let mut bytes = Vec::new();
    for (name, (mode, id)) in entries {
        bytes.extend_from_slice(format!("{mode:o} ").as_bytes());
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend_from_slice(id.as_slice());
    }
    objects.put(Kind::Tree, &bytes)
}

/// Writes the tree of files given by their paths, sorted.
pub(crate) fn write_files(
    objects: &Objects,
    files: &[(Vec<u8>, Leaf)],
) -> Result<ObjectId, SnapshotError> {
    write_below(objects, files, 0)
}

fn write_below(
    objects: &Objects,
    files: &[(Vec<u8>, Leaf)],
    depth: usize,
) -> Result<ObjectId, SnapshotError> {
    let mut tree = Tree::new();
    let mut rest = files;
    while let Some((path, leaf)) = rest.first() {
        let below = &path[depth..];
        match below.iter().position(|&b| b == b'/') {
            None => {
                // A directory of that name, made since the file was seen, is newer.
                tree.entry(below.to_vec()).or_insert(*leaf);
                rest = &rest[1..];
            }
            Some(end) => {
                let prefix = &path[..=depth + end];
                let count = rest
                    .iter()
                    .take_while(|(p, _)| p.starts_with(prefix))
                    .count();
                let (inner, after) = rest.split_at(count);
                let id = write_below(objects, inner, prefix.len())?;
                tree.insert(below[..end].to_vec(), (DIRECTORY, id));
                rest = after;
            }
        }
    }
    write(objects, &tree)
}

/// Reads a tree.
pub(crate) fn read(objects: &Objects, id: &ObjectId) -> Result<Tree, SnapshotError> {
    let bytes = objects.read(id, Kind::Tree)?;
    TreeRefIter::from_bytes(&bytes, HASH)
        .map(|entry| {
            let entry = entry.map_err(SnapshotError::objects("read a tree"))?;
            let mode = u32::from(entry.mode.value());
            Ok((entry.filename.to_vec(), (mode, entry.oid.to_owned())))
        })
        .collect()
}

/// A path whose file differs between two trees.
pub(crate) struct Difference {
    pub(crate) path: Vec<u8>,
    pub(crate) before: Option<Leaf>,
    pub(crate) after: Option<Leaf>,
}

/// The files that differ between two trees, in the order of their paths, directory by directory.
pub(crate) fn compare(
    objects: &Objects,
    before: Option<ObjectId>,
    after: Option<ObjectId>,
) -> Result<Vec<Difference>, SnapshotError> {
    let mut found = Vec::new();
    compare_below(objects, before, after, &[], &mut found)?;
    Ok(found)
}

fn compare_below(
    objects: &Objects,
    before: Option<ObjectId>,
    after: Option<ObjectId>,
    prefix: &[u8],
    found: &mut Vec<Difference>,
) -> Result<(), SnapshotError> {
    if before == after {
        return Ok(());
    }
    let load = |id: Option<ObjectId>| id.map_or(Ok(Tree::new()), |id| read(objects, &id));
    let (before, mut after) = (load(before)?, load(after)?);
    let mut names: BTreeMap<Vec<u8>, (Option<Leaf>, Option<Leaf>)> = before
        .into_iter()
        .map(|(name, leaf)| {
            let other = after.remove(&name);
            (name, (Some(leaf), other))
        })
        .collect();
    names.extend(
        after
            .into_iter()
            .map(|(name, leaf)| (name, (None, Some(leaf)))),
    );
    for (name, (before, after)) in names {
        if before == after {
            continue;
        }
        let path = [prefix, &name].concat();
        let split = |leaf: Option<Leaf>| match leaf {
            Some((DIRECTORY, id)) => (Some(id), None),
            other => (None, other),
        };
        let ((before_dir, before), (after_dir, after)) = (split(before), split(after));
        if before != after {
            found.push(Difference {
                path: path.clone(),
                before,
                after,
            });
        }
        if before_dir != after_dir {
            let prefix = [path.as_slice(), b"/"].concat();
            compare_below(objects, before_dir, after_dir, &prefix, found)?;
        }
    }
    Ok(())
}

/// The file at a path of a tree.
pub(crate) fn find(
    objects: &Objects,
    root: ObjectId,
    path: &[u8],
) -> Result<Option<Leaf>, SnapshotError> {
    let mut at = (DIRECTORY, root);
    for name in path.split(|&b| b == b'/') {
        if at.0 != DIRECTORY {
            return Ok(None);
        }
        match read(objects, &at.1)?.get(name) {
            Some(leaf) => at = *leaf,
            None => return Ok(None),
        }
    }
    Ok((at.0 != DIRECTORY).then_some(at))
}
