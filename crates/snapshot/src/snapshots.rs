use std::{
    collections::HashMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use sessiond_model::SessionId;

use crate::{
    Collected, Refusal, SnapshotError, Worktree, git,
    objects::Objects,
    pins::Pin,
    replace,
    repository::Repository,
    store::{Store, Usage, make_dir},
};

/// How long a start waits for each project's lock, which a child that is just being started may hold
/// for a moment.
const OPEN_PATIENCE: Duration = Duration::from_millis(200);

/// How much may be captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Larger files are left out, in bytes.
    pub file_bytes: u64,
    /// What all captures of one project may take on disk, in bytes.
    pub project_bytes: u64,
    /// How long a capture may take, waiting for another one included.
    pub deadline: Duration,
    /// Larger patches are not shown, in bytes.
    pub patch_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 8 << 20,
            project_bytes: 2 << 30,
            deadline: Duration::from_secs(20),
            patch_bytes: 256 << 10,
        }
    }
}

impl Limits {
    /// The error for whatever takes longer than it may.
    pub(crate) fn late(&self) -> SnapshotError {
        SnapshotError::Deadline {
            limit: self.deadline,
        }
    }
}

/// The directory where all captures are kept. A cheap handle.
#[derive(Clone, Debug)]
pub struct Snapshots {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) root: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) git: Option<PathBuf>,
    pub(crate) usage: Mutex<HashMap<String, Usage>>,
    home: Option<PathBuf>,
}

impl Inner {
    pub(crate) fn projects(&self) -> PathBuf {
        self.root.join("projects")
    }

    pub(crate) fn locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// Where files that are being written into worktrees are noted.
    pub(crate) fn writing(&self) -> PathBuf {
        self.root.join("writing")
    }

    /// The keys of all stores.
    pub(crate) fn stores(&self) -> Vec<String> {
        fs::read_dir(self.projects())
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    }

    fn refusal(&self, directory: &Path) -> Option<Refusal> {
        if directory.parent().is_none() {
            return Some(Refusal::Root);
        }
        if directory.starts_with(&self.root) {
            return Some(Refusal::Snapshots);
        }
        match &self.home {
            Some(home) if home == directory => Some(Refusal::Home),
            Some(home) if home.starts_with(directory) => Some(Refusal::AboveHome),
            _ => None,
        }
    }
}

impl Snapshots {
    /// Opens the directory `root`, makes it if need be (for its owner alone), and removes what an
    /// earlier process left half done, there and in the worktrees it was writing to.
    #[expect(clippy::needless_pass_by_value, reason = "agreed with the callers")]
    pub fn open(root: PathBuf, limits: Limits) -> Result<Self, SnapshotError> {
        Self::open_with_home(&root, limits, std::env::home_dir())
    }

    /// As [`open`](Self::open), with the directory that counts as home.
    pub fn open_with_home(
        root: &Path,
        limits: Limits,
        home: Option<PathBuf>,
    ) -> Result<Self, SnapshotError> {
        make_dir(root)?;
        fs::set_permissions(root, fs::Permissions::from_mode(0o700))
            .map_err(SnapshotError::io("protect", root))?;
        let root = fs::canonicalize(root).map_err(SnapshotError::io("open", root))?;
        let inner = Inner {
            root,
            limits,
            git: git::find().ok(),
            usage: Mutex::default(),
            home: home.map(|home| fs::canonicalize(&home).unwrap_or(home)),
        };
        make_dir(&inner.projects())?;
        make_dir(&inner.locks())?;
        make_dir(&inner.writing())?;
        replace::clean(&inner.writing());
        let snapshots = Self {
            inner: Arc::new(inner),
        };
        for store in snapshots.stores() {
            // Somebody who works in it for longer is not dead.
            let patience = Instant::now() + OPEN_PATIENCE;
            if let Ok(packs) = store.lock_packs(patience)
                && let Ok(lock) = store.lock(patience)
            {
                store.sweep(&lock, &packs);
            }
        }
        Ok(snapshots)
    }

    /// What is captured for a session that works in `directory`: the git worktree that holds it; the
    /// directory itself outside of git, where the worktree's own directory is refused, and where the
    /// repository ignores the directory.
    pub fn worktree(&self, directory: &Path) -> Result<Worktree, SnapshotError> {
        let missing = || SnapshotError::Missing {
            directory: directory.to_owned(),
        };
        let directory = fs::canonicalize(directory).map_err(|_| missing())?;
        if !directory.is_dir() {
            return Err(missing());
        }
        if let Some(reason) = self.inner.refusal(&directory) {
            return Err(SnapshotError::Refused { directory, reason });
        }
        if self.inner.git.is_none() {
            return Err(SnapshotError::GitMissing);
        }
        let repository = Repository::containing(&directory, |toplevel| {
            self.inner.refusal(toplevel).is_none()
        })
        .filter(|found| !self.ignores(found, &directory));
        let (key, toplevel) = match &repository {
            Some(found) => (
                Store::key_of("git", &found.common_dir)?,
                found.toplevel.clone(),
            ),
            None => (Store::key_of("directory", &directory)?, directory.clone()),
        };
        let objects = repository.as_ref().and_then(Repository::objects);
        let store = Store::new(Arc::clone(&self.inner), key, objects);
        Worktree::new(store, toplevel, directory)
    }

    /// Whether a repository ignores a directory in its worktree.
    fn ignores(&self, repository: &Repository, directory: &Path) -> bool {
        if repository.toplevel == directory {
            return false;
        }
        let ask = || -> Result<Option<git::Output>, SnapshotError> {
            let key = Store::key_of("git", &repository.common_dir)?;
            let store = Store::new(Arc::clone(&self.inner), key, None);
            store.ensure(&store.lock(self.patience())?)?;
            let mut git = store.git("check-ignore")?;
            if let Some(exclude) = repository.exclude() {
                git = git.set("core.excludesFile", &exclude);
            }
            git.env("GIT_WORK_TREE", &repository.toplevel)
                .directory(&repository.toplevel)
                .args([Path::new("--"), directory])
                .start()?
                .finish(self.patience())
        };
        // It fails when nothing is ignored.
        matches!(ask(), Ok(Some(_)))
    }

    /// Drops everything that only this session kept. When it returns, no byte of it is left.
    ///
    /// The indexes of the project go too, so that its next capture hashes every file of a plain
    /// directory once more.
    pub fn forget(&self, session: &SessionId) -> Result<(), SnapshotError> {
        for store in self.stores() {
            if store.head(session)?.is_none() && !store.owes_purge() {
                continue;
            }
            let packs = store.lock_packs(self.patience())?;
            let lock = store.lock(self.patience())?;
            // Somebody else may have removed all of it while we waited.
            if store.head(session)?.is_none() && !store.owes_purge() {
                continue;
            }
            store.owe_purge(&lock)?;
            store.drop_indexes(&lock)?;
            store.unpin(&lock, session)?;
            store.collect(&lock, &packs)?;
        }
        Ok(())
    }

    /// Lets the session `to` keep all that `from` keeps.
    pub fn copy_pins(&self, from: &SessionId, to: &SessionId) -> Result<(), SnapshotError> {
        for store in self.stores() {
            let Some(source) = store.head(from)? else {
                continue;
            };
            let lock = store.lock(self.patience())?;
            match store.head(to)? {
                None => store.set_head(&lock, to, &source)?,
                Some(own) if own == source => {}
                Some(own) => {
                    let objects = Objects::open(&store)?;
                    let tree = Pin::read(&objects, &own)?.tree;
                    store.pin(&lock, &objects, to, &tree, &[own, source], "fork")?;
                    store.grew(objects.written());
                }
            }
        }
        Ok(())
    }

    /// Removes what no session keeps and packs the rest. Captures wait meanwhile, project by
    /// project; a project that is busy for longer than the deadline is left for the next time.
    pub fn collect(&self) -> Result<Collected, SnapshotError> {
        let mut sum = Collected::default();
        for store in self.stores() {
            let locks = store
                .lock_packs(self.patience())
                .and_then(|packs| Ok((packs, store.lock(self.patience())?)));
            match locks {
                Ok((packs, lock)) => sum += store.collect(&lock, &packs)?,
                Err(SnapshotError::Deadline { .. }) => sum.skipped += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(sum)
    }

    fn stores(&self) -> impl Iterator<Item = Store> {
        let inner = Arc::clone(&self.inner);
        self.inner
            .stores()
            .into_iter()
            .map(move |key| Store::new(Arc::clone(&inner), key, None))
    }

    fn patience(&self) -> Instant {
        Instant::now() + self.inner.limits.deadline
    }
}
