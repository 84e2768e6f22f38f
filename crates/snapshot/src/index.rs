//! What was known of every file at the last look, so that only what changed is read again.
//!
//! Kept as a git index, because `git ls-files` must know which files are tracked, and because the
//! user's own index starts it off.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use gix_hash::ObjectId;
use gix_index::{
    State,
    entry::{Flags, Mode, Stat},
};

use crate::{
    SnapshotError,
    objects::{HASH, Objects},
    paths,
    repository::Repository,
    scan::{LINK, Seen},
};

/// File times have the grain of the kernel's clock tick: a file whose status changed this shortly
/// before a look may have changed again after it without showing.
const GRAIN: Duration = Duration::from_millis(20);

/// An index keeps so much of a file's size.
const MAX_SIZE: u64 = 0xffff_ffff;

/// A file as it was when its content was last read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tracked {
    pub(crate) id: ObjectId,
    link: bool,
    stat: Stat,
}

/// The files of one directory that has its own ignore rules: a worktree or a nested repository.
pub(crate) struct Index {
    path: PathBuf,
    pub(crate) entries: BTreeMap<Vec<u8>, Tracked>,
    /// Files whose status changed since then must be read again. Seconds and nanoseconds.
    settled: Option<(i64, i64)>,
    dirty: bool,
}

impl Tracked {
    pub(crate) fn new(id: ObjectId, seen: &Seen) -> Self {
        Self {
            id,
            link: seen.mode == LINK,
            stat: seen.stat,
        }
    }
}

impl Index {
    /// Loads the index at `path`, or starts it from the user's.
    pub(crate) fn load(
        path: PathBuf,
        repository: Option<&Repository>,
        objects: &Objects,
    ) -> Result<Self, SnapshotError> {
        let mut index = Self {
            path,
            entries: BTreeMap::new(),
            settled: None,
            dirty: false,
        };
        // Left by a writer that was killed; whoever loads holds the store's lock.
        remove(&index.with("lock"))?;
        if index.path.exists() {
            match read(&index.path) {
                Ok(entries) => {
                    index.entries = entries.collect();
                    index.settled = changed_at(&index.with("stamp"));
                    return Ok(index);
                }
                // Damaged: start again.
                Err(_) => remove(&index.path)?,
            }
        }
        index.dirty = true;
        if let Some(repository) = repository {
            index.seed(repository, objects)?;
        }
        // Git is about to read it.
        index.save(false)?;
        Ok(index)
    }

    /// Starts from the user's index: what it says is unchanged need not be read. Only copied, so
    /// that a git that writes it meanwhile is not in the way.
    fn seed(&mut self, repository: &Repository, objects: &Objects) -> Result<(), SnapshotError> {
        let users = repository.git_dir.join("index");
        let copy = self.with("seed");
        let settled = changed_at(&users);
        if fs::copy(&users, &copy).is_ok()
            && let Ok(entries) = read(&copy)
        {
            // What git stored can differ from what is on disk: line endings, filters. Then the sizes
            // differ too, or somebody's own filter is at work. Content that is gone has no size.
            self.entries = entries
                .filter(|(_, entry)| {
                    let size = objects.size(&entry.id).map(|size| size & MAX_SIZE);
                    size == Some(u64::from(entry.stat.size))
                })
                .collect();
            if self.may_convert(repository) {
                self.entries.clear();
            }
            // Git compares whole seconds.
            self.settled = settled.map(|(secs, _)| (secs, 0));
        }
        remove(&copy)
    }

    /// Whether some file may be stored with other bytes, of the same number: by somebody's own filter. Git
    /// LFS never does that. (A filter named only in an attributes file at an unusual place is not seen.)
    fn may_convert(&self, repository: &Repository) -> bool {
        let tracked = self
            .entries
            .keys()
            .filter(|path| path.ends_with(b".gitattributes"))
            .map(|path| paths::absolute(&repository.toplevel, path));
        let others = [
            Some(repository.common_dir.join("info/attributes")),
            std::env::home_dir().map(|home| home.join(".config/git/attributes")),
            Some(PathBuf::from("/etc/gitattributes")),
        ];
        tracked
            .chain(others.into_iter().flatten())
            .filter_map(|path| fs::read(path).ok())
            .any(|text| {
                String::from_utf8_lossy(&text)
                    .split_ascii_whitespace()
                    .any(|word| {
                        word.starts_with("working-tree-encoding")
                            || (word.starts_with("filter=") && word != "filter=lfs")
                    })
            })
    }

    /// Notes the time from which on changes might be missed by this look.
    pub(crate) fn start(&self) -> Result<(), SnapshotError> {
        let path = self.with("start");
        remove(&path)?;
        fs::write(&path, b"").map_err(SnapshotError::io("write", &path))
    }

    /// Whether a file is as it was when it was last read.
    pub(crate) fn is_current(&self, entry: &Tracked, seen: &Seen) -> bool {
        let (a, b) = (&entry.stat, &seen.stat);
        let same = a.mtime == b.mtime
            && a.ctime == b.ctime
            && a.size == b.size
            && a.ino == b.ino
            && entry.link == (seen.mode == LINK);
        same && self.settled.is_some_and(|(secs, nanos)| {
            let changed = Duration::new(u64::from(b.ctime.secs), b.ctime.nsecs);
            let settled = Duration::new(
                u64::try_from(secs).unwrap_or(0),
                u32::try_from(nanos).unwrap_or(0),
            );
            changed + GRAIN < settled
        })
    }

    /// Notes a file's content. Whether it changed anything.
    pub(crate) fn insert(&mut self, path: Vec<u8>, entry: Tracked) {
        self.dirty |= self.entries.insert(path, entry) != Some(entry);
    }

    /// Forgets a file.
    pub(crate) fn remove(&mut self, path: &[u8]) {
        self.dirty |= self.entries.remove(path).is_some();
    }

    /// Writes what changed. `complete`: every file was looked at since [`start`](Self::start).
    pub(crate) fn save(&mut self, complete: bool) -> Result<(), SnapshotError> {
        if self.dirty {
            let mut state = State::new(HASH);
            for (path, entry) in &self.entries {
                let mode = if entry.link {
                    Mode::SYMLINK
                } else {
                    Mode::FILE
                };
                state.dangerously_push_entry(
                    entry.stat,
                    entry.id,
                    Flags::empty(),
                    mode,
                    path.as_slice().into(),
                );
            }
            gix_index::File::from_state(state, self.path.clone())
                .write(gix_index::write::Options::default())
                .map_err(SnapshotError::objects("write the index"))?;
            self.dirty = false;
        }
        if complete {
            let stamp = self.with("stamp");
            fs::rename(self.with("start"), &stamp).map_err(SnapshotError::io("write", &stamp))?;
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn with(&self, extension: &str) -> PathBuf {
        self.path.with_extension(extension)
    }
}

/// The ids in an index of ours.
pub(crate) fn ids(path: &Path) -> impl Iterator<Item = ObjectId> + use<> {
    read(path).into_iter().flatten().map(|(_, entry)| entry.id)
}

/// The files in an index; neither submodules nor what is not in the worktree.
fn read(path: &Path) -> Result<impl Iterator<Item = (Vec<u8>, Tracked)> + use<>, SnapshotError> {
    let file = gix_index::File::at(path, HASH, false, gix_index::decode::Options::default())
        .map_err(SnapshotError::objects("read the index"))?;
    let (entries, paths) = State::from(file).into_entries();
    Ok(entries.into_iter().filter_map(move |entry| {
        let link = entry.mode == Mode::SYMLINK;
        let file = entry.mode == Mode::FILE || entry.mode == Mode::FILE_EXECUTABLE;
        let absent = Flags::INTENT_TO_ADD | Flags::SKIP_WORKTREE;
        let skip = !(link || file) || entry.stage_raw() != 0 || entry.flags.intersects(absent);
        (!skip).then(|| {
            let tracked = Tracked {
                id: entry.id,
                link,
                stat: entry.stat,
            };
            (entry.path_in(&paths).to_vec(), tracked)
        })
    }))
}

fn changed_at(path: &Path) -> Option<(i64, i64)> {
    fs::metadata(path).ok().map(|m| (m.mtime(), m.mtime_nsec()))
}

fn remove(path: &Path) -> Result<(), SnapshotError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(SnapshotError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}
