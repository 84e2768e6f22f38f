//! One project's store: a bare git repository of ours.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    SnapshotError, git,
    objects::{HASH, Written},
    paths,
    snapshots::Inner,
};

/// More loose objects than this are packed after a capture.
const MAX_LOOSE: u64 = 4096;

/// How often a lock is tried.
const LOCK_POLL: Duration = Duration::from_millis(2);

/// The note that packs hold what must go.
const PURGE: &str = "purge";

/// A project's store. Whoever changes anything in it holds its [`Lock`].
#[derive(Clone, Debug)]
pub(crate) struct Store {
    inner: Arc<Inner>,
    key: String,
    dir: PathBuf,
    user_objects: Option<PathBuf>,
}

/// The right to change a store; given back when dropped, by the system if we are killed.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// The right to pack a store and to remove objects; given back as [`Lock`] is.
#[derive(Debug)]
pub(crate) struct PackLock {
    _file: File,
}

/// What a store takes on disk.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) bytes: u64,
    pub(crate) loose: u64,
}

impl Store {
    /// The store with a key, which must be a file name.
    pub(crate) fn new(inner: Arc<Inner>, key: String, user_objects: Option<PathBuf>) -> Self {
        let dir = inner.projects().join(&key);
        Self {
            inner,
            key,
            dir,
            user_objects,
        }
    }

    /// The key of whatever is at a path.
    pub(crate) fn key_of(kind: &str, path: &Path) -> Result<String, SnapshotError> {
        use std::os::unix::ffi::OsStrExt;
        let name = [kind.as_bytes(), b"\0", path.as_os_str().as_bytes()].concat();
        gix_object::compute_hash(HASH, gix_object::Kind::Blob, &name)
            .map(|id| id.to_string())
            .map_err(SnapshotError::objects("hash a path"))
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn objects_dir(&self) -> PathBuf {
        self.dir.join("objects")
    }

    pub(crate) fn pack_dir(&self) -> PathBuf {
        self.dir.join("objects/pack")
    }

    pub(crate) fn refs_dir(&self) -> PathBuf {
        self.dir.join("refs/sessions")
    }

    pub(crate) fn index_dir(&self) -> PathBuf {
        self.dir.join("indexes")
    }

    pub(crate) fn user_objects(&self) -> Option<&Path> {
        self.user_objects.as_deref()
    }

    /// The object directories of the other projects.
    pub(crate) fn siblings(&self) -> Vec<PathBuf> {
        let mut dirs: Vec<_> = self
            .inner
            .stores()
            .into_iter()
            .filter(|key| *key != self.key)
            .map(|key| self.inner.projects().join(key).join("objects"))
            .collect();
        dirs.sort_unstable();
        dirs
    }

    pub(crate) fn git(&self, subcommand: &'static str) -> Result<git::Git, SnapshotError> {
        let git = self.inner.git.as_deref().ok_or(SnapshotError::GitMissing)?;
        Ok(git::command(git, &self.dir, subcommand))
    }

    /// Waits until nobody else changes it.
    pub(crate) fn lock(&self, deadline: Instant) -> Result<Lock, SnapshotError> {
        self.lock_file(&self.key, deadline)
            .map(|file| Lock { _file: file })
    }

    /// Waits until nobody else packs it. Whoever needs both locks takes this one first.
    pub(crate) fn lock_packs(&self, deadline: Instant) -> Result<PackLock, SnapshotError> {
        self.lock_file(&format!("{}.pack", self.key), deadline)
            .map(|file| PackLock { _file: file })
    }

    fn lock_file(&self, name: &str, deadline: Instant) -> Result<File, SnapshotError> {
        // Not in the store itself, which can be removed while somebody waits.
        let path = self.inner.locks().join(name);
        let failed = |error| SnapshotError::io("lock", &path)(error);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                    return Err(self.inner.limits.late());
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_POLL),
            }
        }
    }

    /// Packs the loose objects, when there are many, beside whatever else goes on: objects are only
    /// moved. Somebody who does it already, or a failure, is no matter: the next capture asks again.
    pub(crate) fn tidy(&self) {
        if self.usage().loose <= MAX_LOOSE {
            return;
        }
        let store = self.clone();
        std::thread::spawn(move || {
            if let Ok(lock) = store.lock_packs(Instant::now()) {
                let _ = store.pack_loose(&lock);
            }
        });
    }

    pub(crate) fn exists(&self) -> bool {
        self.dir.join("HEAD").is_file()
    }

    /// Makes it if it is not there.
    pub(crate) fn ensure(&self, _lock: &Lock) -> Result<(), SnapshotError> {
        if self.exists() {
            return Ok(());
        }
        for dir in [
            "objects/info",
            "objects/pack",
            "refs/sessions",
            "info",
            "indexes",
        ] {
            make_dir(&self.dir.join(dir))?;
        }
        let write = |name: &str, text: &str| {
            let path = self.dir.join(name);
            fs::write(&path, text).map_err(SnapshotError::io("write", &path))
        };
        write(
            "config",
            "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n\
             [gc]\n\tauto = 0\n[maintenance]\n\tauto = false\n",
        )?;
        write(
            "info/attributes",
            "* -text -eol -crlf -ident -filter -diff -merge -working-tree-encoding\n",
        )?;
        // Last: what has it is whole.
        write("HEAD", "ref: refs/heads/none\n")
    }

    /// Removes it whole.
    pub(crate) fn remove(&self, _lock: &Lock) -> Result<(), SnapshotError> {
        self.inner.usage.lock().remove(&self.key);
        // First what says that it is one, so that a removal that is cut off is taken up again.
        match fs::remove_file(self.dir.join("HEAD")).and_then(|()| fs::remove_dir_all(&self.dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(SnapshotError::io("remove", &self.dir)(error))
            }
            _ => Ok(()),
        }
    }

    /// Bytes on disk and loose objects; counted once, then carried forward.
    pub(crate) fn usage(&self) -> Usage {
        let known = self.inner.usage.lock().get(&self.key).copied();
        known.unwrap_or_else(|| {
            let usage = measure(&self.objects_dir());
            self.inner.usage.lock().insert(self.key.clone(), usage);
            usage
        })
    }

    /// Notes that somebody is to be forgotten, so that a removal that is cut off is taken up again.
    pub(crate) fn owe_purge(&self, _lock: &Lock) -> Result<(), SnapshotError> {
        let path = self.dir.join(PURGE);
        fs::write(&path, b"").map_err(SnapshotError::io("write", &path))
    }

    /// Whether somebody was to be forgotten and it did not come to its end.
    pub(crate) fn owes_purge(&self) -> bool {
        self.dir.join(PURGE).exists()
    }

    pub(crate) fn purged(&self, _lock: &Lock) -> Result<(), SnapshotError> {
        let path = self.dir.join(PURGE);
        fs::remove_file(&path).map_err(SnapshotError::io("remove", &path))
    }

    /// Adds to what is known of its size.
    pub(crate) fn grew(&self, written: Written) {
        let mut usage = self.usage();
        usage.bytes += written.bytes;
        usage.loose += written.objects;
        self.inner.usage.lock().insert(self.key.clone(), usage);
    }

    /// Its size must be counted again.
    pub(crate) fn shrank(&self) {
        self.inner.usage.lock().remove(&self.key);
    }

    /// Fails when it may not grow.
    pub(crate) fn check_quota(&self, written: Written) -> Result<(), SnapshotError> {
        let used = self.usage().bytes + written.bytes;
        let limit = self.inner.limits.project_bytes;
        if used >= limit {
            return Err(SnapshotError::Quota { used, limit });
        }
        Ok(())
    }

    /// Removes what a killed writer left: locks, half-written objects and files.
    pub(crate) fn sweep(&self, _lock: &Lock, _packs: &PackLock) {
        let remove_if = |dir: &Path, stale: &dyn Fn(&str, u64) -> bool| {
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let Ok(meta) = entry.metadata() else { continue };
                if meta.is_file() && stale(&name.to_string_lossy(), meta.len()) {
                    // Should it stay, it is only in the way of nobody.
                    let _ = fs::remove_file(entry.path());
                }
            }
        };
        let objects = self.objects_dir();
        remove_if(&objects, &|_, _| true);
        remove_if(&self.pack_dir(), &|name, _| !name.starts_with("pack-"));
        remove_if(&self.refs_dir(), &|name, size| {
            name.ends_with(".tmp") || size == 0
        });
        remove_if(&self.index_dir(), &|name, size| {
            name.ends_with(".lock")
                || name.ends_with(".seed")
                || name.ends_with(".start")
                || (size == 0 && !name.ends_with(".stamp"))
        });
        for entry in fs::read_dir(&objects).into_iter().flatten().flatten() {
            if entry.file_name().len() == 2 {
                remove_if(&entry.path(), &|name, size| {
                    size == 0 || paths::unhex(name.as_bytes()).is_none()
                });
            }
        }
    }
}

/// Makes a directory and its parents, for us alone.
pub(crate) fn make_dir(path: &Path) -> Result<(), SnapshotError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(SnapshotError::io("make the directory", path))
}

fn measure(objects: &Path) -> Usage {
    let mut usage = Usage::default();
    for dir in fs::read_dir(objects).into_iter().flatten().flatten() {
        let loose = dir.file_name().len() == 2;
        for file in fs::read_dir(dir.path()).into_iter().flatten().flatten() {
            let Ok(meta) = file.metadata() else { continue };
            usage.bytes += meta.size().next_multiple_of(4096);
            usage.loose += u64::from(loose);
        }
    }
    usage
}
