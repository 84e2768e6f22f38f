use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Instant,
};

use gix_object::Kind;
use sessiond_model::{FileState, SessionId};

use crate::{
    SnapshotError,
    objects::Objects,
    paths,
    scan::{self, Content, FILE, file_state},
    store::Store,
    tree::{self, DIRECTORY, Tree},
};

/// A directory that can be captured.
#[derive(Clone, Debug)]
pub struct Worktree {
    pub(crate) store: Store,
    /// Canonical.
    pub(crate) toplevel: PathBuf,
    /// Where the session works: never removed, even when empty.
    pub(crate) session_directory: PathBuf,
    /// The message of the commits that hold its captures.
    pub(crate) mark: String,
}

impl Worktree {
    pub(crate) fn new(
        store: Store,
        toplevel: PathBuf,
        session_directory: PathBuf,
    ) -> Result<Self, SnapshotError> {
        let mark = format!("capture {}", Store::key_of("worktree", &toplevel)?);
        Ok(Self {
            store,
            toplevel,
            session_directory,
            mark,
        })
    }

    /// What is captured: the git worktree that holds the session's directory, or, outside of git,
    /// that directory. Symbolic links in it are resolved.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.toplevel
    }
}

impl Worktree {
    /// The present content of one file, also an ignored one, kept for `session`. Nothing when there
    /// is no file.
    pub fn keep(
        &self,
        session: &SessionId,
        path: &Path,
    ) -> Result<Option<FileState>, SnapshotError> {
        let mut states = self.keep_all(session, &[path])?;
        Ok(states.pop().flatten())
    }

    /// As [`keep`](Self::keep), for many files at once. Nothing is kept when one of them fails.
    pub fn keep_all(
        &self,
        session: &SessionId,
        paths: &[&Path],
    ) -> Result<Vec<Option<FileState>>, SnapshotError> {
        let limits = &self.store.inner().limits;
        let lock = self.store.lock(Instant::now() + limits.deadline)?;
        self.store.ensure(&lock)?;
        let objects = Objects::open(&self.store)?;
        let mut states = Vec::with_capacity(paths.len());
        let mut kept = Tree::new();
        for path in paths {
            self.store.check_quota(objects.written())?;
            let path = self.place(path)?;
            let failed = || SnapshotError::io("read", &path);
            states.push(
                match scan::read(&path, limits.file_bytes).map_err(failed())? {
                    Content::Absent => None,
                    Content::Special => return Err(failed()(ErrorKind::InvalidInput.into())),
                    Content::TooLarge(size) => {
                        return Err(SnapshotError::TooLarge {
                            path,
                            size,
                            limit: limits.file_bytes,
                        });
                    }
                    Content::Read(seen, bytes) => {
                        let id = objects.put(Kind::Blob, &bytes)?;
                        kept.insert(id.to_string().into_bytes(), (FILE | 0o644, id));
                        Some(file_state(seen.mode, &id))
                    }
                },
            );
        }
        if !kept.is_empty() {
            let kept = tree::write(&objects, &kept)?;
            let root = Tree::from([(b"kept".to_vec(), (DIRECTORY, kept))]);
            let root = tree::write(&objects, &root)?;
            let parents: Vec<_> = self.store.head(session)?.into_iter().collect();
            self.store
                .pin(&lock, &objects, session, &root, &parents, "kept")?;
        }
        self.store.grew(objects.written());
        Ok(states)
    }

    /// What a file is now, without keeping it.
    pub fn state(&self, path: &Path) -> Result<Option<FileState>, SnapshotError> {
        scan::state(&self.place(path)?)
    }

    /// A path relative to the worktree, however its directory is spelled.
    pub(crate) fn locate(&self, path: &Path) -> Result<Vec<u8>, SnapshotError> {
        let spelled_else = || {
            let existing = path
                .ancestors()
                .skip(1)
                .find_map(|dir| Some((dir, fs::canonicalize(dir).ok()?)))?;
            let rest = path.strip_prefix(existing.0).ok()?;
            paths::relative(&self.toplevel, &existing.1.join(rest))
        };
        paths::relative(&self.toplevel, path)
            .or_else(spelled_else)
            .ok_or_else(|| self.outside(path))
    }

    /// Where a path leads, if it stays in the worktree and out of every `.git`.
    pub(crate) fn place(&self, path: &Path) -> Result<PathBuf, SnapshotError> {
        let place = paths::absolute(&self.toplevel, &self.locate(path)?);
        // The directories on the way may be links, also to nowhere.
        let real = place
            .ancestors()
            .skip(1)
            .find(|dir| fs::symlink_metadata(dir).is_ok())
            .and_then(|dir| Some((dir, fs::canonicalize(dir).ok()?)));
        let inside = real.is_some_and(|(dir, real)| {
            let rest = place.strip_prefix(dir).unwrap_or(&place);
            paths::relative(&self.toplevel, &real.join(rest)).is_some()
        });
        if inside {
            Ok(place)
        } else {
            Err(self.outside(path))
        }
    }

    fn outside(&self, path: &Path) -> SnapshotError {
        SnapshotError::Outside {
            path: path.to_owned(),
            directory: self.toplevel.clone(),
        }
    }
}
