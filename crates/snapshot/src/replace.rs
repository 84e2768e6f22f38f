//! Putting one file back.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{OpenOptionsExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use gix_object::Kind;
use sessiond_model::{Conflict, FileState};

use crate::{
    SnapshotError, Worktree,
    objects::{Objects, parse_id},
    paths::{self, TEMPORARY},
    scan::{self, FILE, LINK},
};

/// What came of [`Worktree::replace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaced {
    /// The file is the target now.
    Written,
    /// It was already.
    AlreadyThere,
    /// It was left alone.
    Conflict(Conflict),
}

/// Tells the temporary files of one process apart.
static COUNTER: AtomicU64 = AtomicU64::new(0);

impl Worktree {
    /// Makes a file what `target` says (`None`: not there), if it is what `expected` says, or whatever it
    /// is with `force`. Bytes, permissions and links are exact; the change is atomic and durable.
    ///
    /// A read-only file is replaced. Directories are made as needed; one that became empty because its
    /// last file was removed is removed too, as git does, up to the worktree or the session's directory.
    /// A directory without any file gives way to a file. Anything outside of the worktree, in a `.git`, or behind a
    /// link that leads out is [`Conflict::Unwritable`].
    #[must_use]
    pub fn replace(
        &self,
        path: &Path,
        expected: Option<&FileState>,
        target: Option<&FileState>,
        force: bool,
    ) -> Replaced {
        self.try_replace(path, expected, target, force)
            .unwrap_or_else(|error| {
                Replaced::Conflict(match error {
                    SnapshotError::NotKept { .. } => Conflict::NotCaptured,
                    _ => Conflict::Unwritable,
                })
            })
    }

    fn try_replace(
        &self,
        path: &Path,
        expected: Option<&FileState>,
        target: Option<&FileState>,
        force: bool,
    ) -> Result<Replaced, SnapshotError> {
        let path = self.place(path)?;
        let now = scan::state(&path)?;
        if now.as_ref() == target {
            return Ok(Replaced::AlreadyThere);
        }
        if now.as_ref() != expected && !force {
            return Ok(Replaced::Conflict(Conflict::Changed));
        }
        match target {
            Some(target) => self.put_back(&path, target)?,
            None => {
                fs::remove_file(&path).map_err(SnapshotError::io("remove", &path))?;
                self.prune(&path);
            }
        }
        Ok(Replaced::Written)
    }

    fn put_back(&self, path: &Path, target: &FileState) -> Result<(), SnapshotError> {
        let mode = u32::from_str_radix(&target.mode, 8)
            .ok()
            .filter(|mode| *mode == LINK || mode & !0o777 == FILE)
            .ok_or_else(|| SnapshotError::objects("read a mode")(&target.mode))?;
        // First everything that can fail without a trace.
        let bytes = Objects::open(&self.store)?.read(&parse_id(&target.oid)?, Kind::Blob)?;
        let failed = |error| SnapshotError::io("write", path)(error);
        let parent = path.parent().unwrap_or(&self.toplevel);
        fs::create_dir_all(parent).map_err(failed)?;
        if fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
            self.clear(path).map_err(failed)?;
        }
        let name = format!(
            "{TEMPORARY}{}-{}",
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        );
        let temporary = Temporary::announce(&self.store.inner().writing(), parent, &name)?;
        write(&temporary.path, mode, &bytes)
            .and_then(|()| fs::rename(&temporary.path, path))
            .and_then(|()| File::open(parent)?.sync_all())
            .map_err(failed)
    }

    /// Removes a directory that has nothing but directories in it.
    fn clear(&self, directory: &Path) -> io::Result<()> {
        if self.session_directory.starts_with(directory) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let mut found = vec![directory.to_owned()];
        let mut next = 0;
        while let Some(directory) = found.get(next) {
            let entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
            for entry in entries {
                if !entry.file_type()?.is_dir() {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
                found.push(entry.path());
            }
            next += 1;
        }
        // What is inside comes after what it is in.
        found.iter().rev().try_for_each(fs::remove_dir)
    }

    /// Removes the directories that a removal left empty.
    fn prune(&self, path: &Path) {
        for directory in path.ancestors().skip(1) {
            let kept = self.toplevel.starts_with(directory)
                || self.session_directory.starts_with(directory);
            // Fails where something is left in it.
            if kept || fs::remove_dir(directory).is_err() {
                break;
            }
        }
    }
}

fn write(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    if mode == LINK {
        return symlink(OsStr::from_bytes(bytes), path);
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(fs::Permissions::from_mode(mode & 0o777))?;
    file.sync_all()
}

/// A file that is about to be written in a worktree, noted in our directory before it exists, so that
/// the next start finds and removes it if we are killed.
struct Temporary {
    path: PathBuf,
    note: PathBuf,
}

impl Temporary {
    fn announce(notes: &Path, parent: &Path, name: &str) -> Result<Self, SnapshotError> {
        let temporary = Self {
            path: parent.join(name),
            note: notes.join(name),
        };
        File::create(&temporary.note)
            .and_then(|mut note| {
                note.write_all(temporary.path.as_os_str().as_bytes())?;
                note.sync_all()
            })
            .map_err(SnapshotError::io("write", &temporary.note))?;
        Ok(temporary)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Gone already when it was renamed. A note that stays is taken up at the next start.
        let gone = match fs::remove_file(&self.path) {
            Ok(()) => true,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        if gone {
            let _ = fs::remove_file(&self.note);
        }
    }
}

/// Removes the files that a killed process was writing.
pub(crate) fn clean(notes: &Path) {
    for entry in fs::read_dir(notes).into_iter().flatten().flatten() {
        let note = entry.path();
        let Ok(bytes) = fs::read(&note) else { continue };
        let path = PathBuf::from(OsStr::from_bytes(&bytes));
        // A note that is cut off names no file of ours.
        let gone = !paths::is_temporary(&bytes)
            || path.file_name() != note.file_name()
            || match fs::remove_file(&path) {
                Ok(()) => true,
                Err(error) => error.kind() == io::ErrorKind::NotFound,
            };
        if gone {
            let _ = fs::remove_file(&note);
        }
    }
}
