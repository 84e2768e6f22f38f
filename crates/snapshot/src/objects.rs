//! Reading and writing objects.

use std::{
    cell::{Cell, OnceCell},
    path::PathBuf,
};

use gix_hash::ObjectId;
use gix_object::{Exists, Find, FindHeader, Kind, Write};

use crate::{SnapshotError, store::Store};

/// The kind of id that our stores use.
pub(crate) const HASH: gix_hash::Kind = gix_hash::Kind::Sha1;

/// The object databases that one operation reads, and the one that it writes.
///
/// Ours comes first, then the user's, then, because what was a repository yesterday can be a plain
/// directory today, the stores of other projects: an id names the same bytes wherever they are.
pub(crate) struct Objects {
    own: gix_odb::Handle,
    /// The same, without another look for new packs at every object that is not there: at worst an
    /// object is stored twice.
    settled: gix_odb::Handle,
    loose: gix_odb::loose::Store,
    user: Option<gix_odb::Handle>,
    elsewhere: OnceCell<Vec<gix_odb::Handle>>,
    others: Vec<PathBuf>,
    written: Cell<Written>,
}

/// What was added to our store.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Written {
    pub(crate) objects: u64,
    pub(crate) bytes: u64,
}

impl Objects {
    pub(crate) fn open(store: &Store) -> Result<Self, SnapshotError> {
        let dir = store.objects_dir();
        let own =
            gix_odb::at(&dir, HASH).map_err(SnapshotError::io("open the object store", &dir))?;
        let mut settled = own.clone();
        settled.refresh_never();
        let user = store.user_objects().and_then(|dir| {
            // A repository that is gone or damaged is as good as none.
            let mut handle = gix_odb::at(dir, HASH).ok()?;
            handle.refresh_never();
            Some(handle)
        });
        Ok(Self {
            own,
            settled,
            loose: gix_odb::loose::Store::at(dir, HASH),
            user,
            elsewhere: OnceCell::new(),
            others: store.siblings(),
            written: Cell::default(),
        })
    }

    /// What this value added.
    pub(crate) fn written(&self) -> Written {
        self.written.get()
    }

    /// Whether our store has it.
    pub(crate) fn owns(&self, id: &ObjectId) -> bool {
        self.own.exists(id)
    }

    /// The size of a blob, if it can be read.
    pub(crate) fn size(&self, id: &ObjectId) -> Option<u64> {
        self.sources()
            .find_map(|odb| odb.try_header(id).ok().flatten())
            .map(|header| header.size)
    }

    /// The content of an object of a kind.
    pub(crate) fn read(&self, id: &ObjectId, kind: Kind) -> Result<Vec<u8>, SnapshotError> {
        let mut bytes = Vec::new();
        for odb in self.sources() {
            match odb
                .try_find(id, &mut bytes)
                .map(|data| data.map(|d| d.kind))
            {
                Ok(Some(found)) if found == kind => return Ok(bytes),
                // Absent, damaged, or of another kind: the next one may have it.
                _ => bytes.clear(),
            }
        }
        Err(SnapshotError::NotKept {
            oid: id.to_string(),
        })
    }

    /// Stores a file's content. What the user's repository has is only referred to, see
    /// [`secure`](Self::secure).
    pub(crate) fn put_file(&self, bytes: &[u8]) -> Result<ObjectId, SnapshotError> {
        let id = blob_id(bytes)?;
        if self.user.as_ref().is_none_or(|odb| !odb.exists(&id)) {
            self.write(Kind::Blob, id, bytes)?;
        }
        Ok(id)
    }

    /// Stores an object in our own store.
    pub(crate) fn put(&self, kind: Kind, bytes: &[u8]) -> Result<ObjectId, SnapshotError> {
        let id = gix_object::compute_hash(HASH, kind, bytes)
            .map_err(SnapshotError::objects("hash an object"))?;
        self.write(kind, id, bytes)?;
        Ok(id)
    }

    /// Copies a blob of the user's repository into our store. Whether it is there now.
    pub(crate) fn secure(&self, id: &ObjectId, limit: u64) -> Result<bool, SnapshotError> {
        if self.owns(id) {
            return Ok(true);
        }
        if self.size(id).is_none_or(|size| size > limit) {
            return Ok(false);
        }
        match self.read(id, Kind::Blob) {
            Ok(bytes) => self.write(Kind::Blob, *id, &bytes).map(|()| true),
            Err(_) => Ok(false),
        }
    }

    fn write(&self, kind: Kind, id: ObjectId, bytes: &[u8]) -> Result<(), SnapshotError> {
        if self.settled.exists(&id) {
            return Ok(());
        }
        self.loose
            .write_buf_with_known_id(kind, bytes, id)
            .map_err(SnapshotError::objects("write an object"))?;
        let size = std::fs::metadata(self.loose.object_path(&id)).map_or(0, |meta| meta.len());
        let Written { objects, bytes } = self.written.get();
        self.written.set(Written {
            objects: objects + 1,
            bytes: bytes + size.next_multiple_of(4096),
        });
        Ok(())
    }

    fn sources(&self) -> impl Iterator<Item = &gix_odb::Handle> {
        let elsewhere = std::iter::once_with(|| {
            self.elsewhere.get_or_init(|| {
                self.others
                    .iter()
                    .filter_map(|dir| gix_odb::at(dir, HASH).ok())
                    .collect()
            })
        });
        std::iter::once(&self.own)
            .chain(&self.user)
            .chain(elsewhere.flatten())
    }
}

/// The id of a file's content.
pub(crate) fn blob_id(bytes: &[u8]) -> Result<ObjectId, SnapshotError> {
    gix_object::compute_hash(HASH, Kind::Blob, bytes).map_err(SnapshotError::objects("hash a file"))
}

/// Reads an id as it is written down.
pub(crate) fn parse_id(text: &str) -> Result<ObjectId, SnapshotError> {
    ObjectId::from_hex(text.as_bytes()).map_err(SnapshotError::objects("read an object id"))
}
