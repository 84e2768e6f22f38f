//! Removing what nobody keeps, and packing the rest.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    ops::AddAssign,
    path::Path,
    time::{Duration, Instant},
};

use gix_hash::ObjectId;

use crate::{
    SnapshotError, index,
    objects::{HASH, Objects},
    pins::Pin,
    store::{Lock, PackLock, Store},
    tree::{self, DIRECTORY},
};

/// More packs than this are made into one.
const MAX_PACKS: usize = 8;
/// How long git may take to pack one project.
const PACK_TIME: Duration = Duration::from_secs(600);

/// What [`Snapshots::collect`](crate::Snapshots::collect) did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Projects looked at.
    pub projects: u64,
    /// Objects that nobody kept.
    pub removed: u64,
    /// Bytes on disk before.
    pub bytes_before: u64,
    /// Bytes on disk after.
    pub bytes_after: u64,
    /// Projects that were too busy.
    pub skipped: u64,
}

impl AddAssign for Collected {
    fn add_assign(&mut self, other: Self) {
        self.projects += other.projects;
        self.removed += other.removed;
        self.bytes_before += other.bytes_before;
        self.bytes_after += other.bytes_after;
        self.skipped += other.skipped;
    }
}

/// All that is kept, each object with a path where it was found.
type Live = HashMap<ObjectId, Vec<u8>>;

impl Store {
    /// Removes what nobody keeps; what is packed only where it is much, or somebody is forgotten.
    pub(crate) fn collect(
        &self,
        lock: &Lock,
        packs: &PackLock,
    ) -> Result<Collected, SnapshotError> {
        let bytes_before = self.usage().bytes;
        let heads = self.heads()?;
        if heads.is_empty() {
            self.remove(lock)?;
            return Ok(Collected {
                projects: 1,
                bytes_before,
                ..Collected::default()
            });
        }
        self.sweep(lock, packs);
        let objects = Objects::open(self)?;
        let live = self.live(&objects, heads)?;
        let loose = self.loose();
        let packed = self.packed()?;
        let dead_packed = packed.iter().filter(|id| !live.contains_key(*id)).count();
        let dead_loose: Vec<_> = loose.iter().filter(|id| !live.contains_key(*id)).collect();
        let removed = dead_loose.len() as u64;
        for id in dead_loose {
            self.remove_loose(id)?;
        }
        let purge = self.owes_purge();
        let worthwhile = purge || dead_packed * 4 > packed.len();
        let whole = (dead_packed > 0 && worthwhile) || self.packs().len() > MAX_PACKS;
        if whole {
            self.pack_whole(&objects, &live)?;
        } else {
            self.pack_loose(packs)?;
        }
        self.shrank();
        if purge {
            self.purged(lock)?;
        }
        Ok(Collected {
            projects: 1,
            removed: removed + if whole { dead_packed as u64 } else { 0 },
            bytes_before,
            bytes_after: self.usage().bytes,
            skipped: 0,
        })
    }

    /// Removes the indexes: the next capture starts anew.
    pub(crate) fn drop_indexes(&self, _lock: &Lock) -> Result<(), SnapshotError> {
        let dir = self.index_dir();
        for entry in fs::read_dir(&dir).map_err(SnapshotError::io("list", &dir))? {
            let path = entry.map_err(SnapshotError::io("list", &dir))?.path();
            fs::remove_file(&path).map_err(SnapshotError::io("remove", &path))?;
        }
        Ok(())
    }

    /// Moves the loose objects into a pack.
    pub(crate) fn pack_loose(&self, _lock: &PackLock) -> Result<(), SnapshotError> {
        let loose = self.loose();
        if loose.is_empty() {
            return Ok(());
        }
        self.pack(loose.iter().map(|id| (id, &[][..])))?;
        for id in &loose {
            self.remove_loose(id)?;
        }
        self.shrank();
        Ok(())
    }

    /// Makes one pack of all that is kept and removes everything else.
    fn pack_whole(&self, objects: &Objects, live: &Live) -> Result<(), SnapshotError> {
        let old = self.packs();
        let own = live.iter().filter(|(id, _)| objects.owns(id));
        let name = self.pack(own.map(|(id, path)| (id, path.as_slice())))?;
        for pack in old.iter().filter(|pack| name.as_ref() != Some(*pack)) {
            for extension in ["idx", "rev", "bitmap", "mtimes", "pack"] {
                let path = self.pack_dir().join(format!("pack-{pack}.{extension}"));
                remove(&path)?;
            }
        }
        for id in self.loose() {
            self.remove_loose(&id)?;
        }
        Ok(())
    }

    /// Writes a pack and says its name.
    fn pack<'a>(
        &self,
        objects: impl Iterator<Item = (&'a ObjectId, &'a [u8])>,
    ) -> Result<Option<String>, SnapshotError> {
        let mut input = Vec::new();
        for (id, path) in objects {
            input.extend_from_slice(id.to_string().as_bytes());
            if !path.is_empty() {
                input.push(b' ');
                // Only says which contents may resemble each other.
                input.extend(
                    path.iter()
                        .map(|&b| if b == b'\n' || b == 0 { b'_' } else { b }),
                );
            }
            input.push(b'\n');
        }
        if input.is_empty() {
            return Ok(None);
        }
        let output = self
            .git("pack-objects")?
            .args(["-q", "--threads=1"])
            .args([self.pack_dir().join("pack")])
            .directory(self.dir())
            .input(input)
            .start()?
            .finish(Instant::now() + PACK_TIME)?
            .ok_or(SnapshotError::Deadline { limit: PACK_TIME })?;
        Ok(Some(
            String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        ))
    }

    /// Everything that chains and indexes hold on to.
    fn live(&self, objects: &Objects, heads: Vec<ObjectId>) -> Result<Live, SnapshotError> {
        let mut live = Live::new();
        let mut commits = heads;
        while let Some(id) = commits.pop() {
            // What a power cut took is not there to be kept; what cannot be read is an error.
            if live.contains_key(&id) || !objects.owns(&id) {
                continue;
            }
            let pin = Pin::read(objects, &id)?;
            live.insert(id, Vec::new());
            commits.extend(pin.parents);
            self.live_below(objects, pin.tree, Vec::new(), &mut live)?;
        }
        let dir = self.index_dir();
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|e| e == "index") {
                for id in index::ids(&entry.path()) {
                    live.entry(id).or_default();
                }
            }
        }
        Ok(live)
    }

    fn live_below(
        &self,
        objects: &Objects,
        root: ObjectId,
        path: Vec<u8>,
        live: &mut Live,
    ) -> Result<(), SnapshotError> {
        let mut trees = vec![(root, path)];
        while let Some((id, path)) = trees.pop() {
            if live.contains_key(&id) || !objects.owns(&id) {
                continue;
            }
            for (name, (mode, child)) in tree::read(objects, &id)? {
                let path = [path.as_slice(), b"/", &name].concat();
                if mode == DIRECTORY {
                    trees.push((child, path));
                } else {
                    live.entry(child).or_insert(path);
                }
            }
            live.insert(id, path);
        }
        Ok(())
    }

    fn loose(&self) -> HashSet<ObjectId> {
        // What cannot be listed stays where it is.
        gix_odb::loose::Store::at(self.objects_dir(), HASH)
            .iter()
            .flatten()
            .collect()
    }

    fn remove_loose(&self, id: &ObjectId) -> Result<(), SnapshotError> {
        let store = gix_odb::loose::Store::at(self.objects_dir(), HASH);
        remove(&store.object_path(id))
    }

    fn packed(&self) -> Result<HashSet<ObjectId>, SnapshotError> {
        let mut ids = HashSet::new();
        for pack in self.packs() {
            let path = self.pack_dir().join(format!("pack-{pack}.idx"));
            let index = gix_odb::pack::index::File::at(&path, HASH)
                .map_err(SnapshotError::objects("read the index of a pack"))?;
            ids.extend(index.iter().map(|entry| entry.oid));
        }
        Ok(ids)
    }

    /// The names of all packs.
    fn packs(&self) -> Vec<String> {
        fs::read_dir(self.pack_dir())
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter_map(|name| {
                let name = name.strip_prefix("pack-")?.strip_suffix(".idx")?;
                Some(name.to_owned())
            })
            .collect()
    }
}

fn remove(path: &Path) -> Result<(), SnapshotError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(SnapshotError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
