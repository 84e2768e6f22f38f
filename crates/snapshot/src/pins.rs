//! What a session keeps: one ref, a chain of commits, each with the tree of one capture or of kept
//! files. The commits have no author and no time; they only hold on to trees.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use gix_hash::ObjectId;
use gix_object::{CommitRefIter, Kind};
use sessiond_model::SessionId;

use crate::{
    SnapshotError,
    objects::{HASH, Objects, parse_id},
    store::{Lock, Store},
};

/// How far back an earlier capture is looked for.
const MAX_STEPS: usize = 4096;

/// A commit of a chain.
pub(crate) struct Pin {
    pub(crate) tree: ObjectId,
    pub(crate) parents: Vec<ObjectId>,
    pub(crate) message: Vec<u8>,
}

impl Pin {
    pub(crate) fn read(objects: &Objects, id: &ObjectId) -> Result<Self, SnapshotError> {
        let bytes = objects.read(id, Kind::Commit)?;
        let failed = || SnapshotError::objects("read a commit")("it is damaged");
        let commit = || CommitRefIter::from_bytes(&bytes, HASH);
        Ok(Self {
            tree: commit().tree_id().map_err(|_| failed())?,
            parents: commit().parent_ids().collect(),
            message: commit().message().map_err(|_| failed())?.to_vec(),
        })
    }
}

impl Store {
    fn ref_path(&self, session: &SessionId) -> PathBuf {
        self.refs_dir().join(session.as_str())
    }

    /// The end of a session's chain.
    pub(crate) fn head(&self, session: &SessionId) -> Result<Option<ObjectId>, SnapshotError> {
        read_ref(&self.ref_path(session))
    }

    /// The ends of all chains.
    pub(crate) fn heads(&self) -> Result<Vec<ObjectId>, SnapshotError> {
        let dir = self.refs_dir();
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(SnapshotError::io("list", &dir)(error)),
        };
        entries
            .map(|entry| entry.map_err(SnapshotError::io("list", &dir)))
            .filter_map(|entry| entry.and_then(|entry| read_ref(&entry.path())).transpose())
            .collect()
    }

    /// Adds a commit to a session's chain.
    pub(crate) fn pin(
        &self,
        lock: &Lock,
        objects: &Objects,
        session: &SessionId,
        tree: &ObjectId,
        parents: &[ObjectId],
        message: &str,
    ) -> Result<(), SnapshotError> {
        let mut text = format!("tree {tree}\n");
        for parent in parents {
            text += &format!("parent {parent}\n");
        }
        text += &format!("author sessiond <> 0 +0000\ncommitter sessiond <> 0 +0000\n\n{message}");
        let commit = objects.put(Kind::Commit, text.as_bytes())?;
        self.set_head(lock, session, &commit)
    }

    /// Lets a session's chain end at a commit.
    pub(crate) fn set_head(
        &self,
        _lock: &Lock,
        session: &SessionId,
        commit: &ObjectId,
    ) -> Result<(), SnapshotError> {
        let path = self.ref_path(session);
        let temporary = self.refs_dir().join(format!("{session}.tmp"));
        fs::write(&temporary, format!("{commit}\n"))
            .and_then(|()| fs::rename(&temporary, &path))
            .map_err(SnapshotError::io("write", &path))
    }

    /// Ends a session's chain.
    pub(crate) fn unpin(&self, _lock: &Lock, session: &SessionId) -> Result<(), SnapshotError> {
        let path = self.ref_path(session);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(SnapshotError::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// The newest tree in a chain whose commit has this message.
    pub(crate) fn newest(
        &self,
        objects: &Objects,
        head: Option<ObjectId>,
        message: &str,
    ) -> Option<ObjectId> {
        let mut next = head;
        for _ in 0..MAX_STEPS {
            // A chain that cannot be read further has no earlier capture.
            let pin = Pin::read(objects, &next?).ok()?;
            if pin.message == message.as_bytes() {
                return Some(pin.tree);
            }
            next = pin.parents.first().copied();
        }
        None
    }
}

fn read_ref(path: &Path) -> Result<Option<ObjectId>, SnapshotError> {
    match fs::read_to_string(path) {
        Ok(text) => parse_id(text.trim_ascii_end()).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SnapshotError::io("read", path)(error)),
    }
}
