//! Taking a capture.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use sessiond_model::{Coverage, SessionId};

use crate::{
    SnapshotError, Worktree,
    changes::Record,
    git,
    index::{Index, Tracked},
    objects::Objects,
    paths,
    repository::Repository,
    scan::{self, Content, Found},
    store::{Lock, Store},
    tree::{self, Leaf},
};

/// More repositories inside one worktree are left out.
const MAX_REPOSITORIES: usize = 256;
/// Files below more directories are left out.
const MAX_DEPTH: usize = 256;
/// The most files outside of the ignore rules that one session follows.
const MAX_EXTRA: usize = 10_000;
/// How many paths a reason names.
const NAMED: usize = 5;

/// What came of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capture {
    /// What to compare it by; nothing when nothing was captured.
    pub tree: Option<String>,
    /// How much of the worktree it has.
    pub coverage: Coverage,
    /// Why not all, in a sentence.
    pub reason: Option<String>,
}

impl Worktree {
    /// Records the worktree as it is now, for `session`. Files of `extra` (below
    /// [`directory`](Self::directory)) are in it even when the repository ignores them, now and in
    /// all later captures of this session; `changes` can tell what became of them between two captures
    /// that both know of them.
    ///
    /// Beyond the quota only a capture that needs no more content succeeds. It never fails: what could not be captured is in the answer. A capture that ran out of time or
    /// space leaves nothing but a head start for the next one.
    #[must_use]
    pub fn capture(&self, session: &SessionId, extra: &[PathBuf]) -> Capture {
        match self.try_capture(session, extra) {
            Ok(capture) => capture,
            Err(error) => Capture {
                tree: None,
                coverage: Coverage::None,
                reason: Some(error.to_string()),
            },
        }
    }

    fn try_capture(
        &self,
        session: &SessionId,
        extra: &[PathBuf],
    ) -> Result<Capture, SnapshotError> {
        let limits = &self.store.inner().limits;
        let deadline = Instant::now() + limits.deadline;
        let lock = self.store.lock(deadline)?;
        if !self.toplevel.is_dir() {
            return Err(SnapshotError::Missing {
                directory: self.toplevel.clone(),
            });
        }
        self.store.ensure(&lock)?;
        let objects = Objects::open(&self.store)?;

        let mut run = Run {
            store: &self.store,
            objects: &objects,
            deadline,
            units: VecDeque::from([(Vec::new(), self.toplevel.clone())]),
            seen_units: 0,
            own: paths::relative(&self.toplevel, &self.store.inner().root),
            record: Record::default(),
            files: Vec::new(),
            lost: BTreeMap::new(),
        };
        let outcome = run.take(self, session, extra, &lock);
        self.store.grew(objects.written());
        if outcome.is_ok() {
            self.store.tidy();
        }
        outcome
    }
}

/// One capture under way.
struct Run<'a> {
    store: &'a Store,
    objects: &'a Objects,
    deadline: Instant,
    /// Directories with ignore rules of their own that are still to be looked at.
    units: VecDeque<(Vec<u8>, PathBuf)>,
    seen_units: usize,
    /// Where our own files are, when they are inside the worktree.
    own: Option<Vec<u8>>,
    record: Record,
    files: Vec<(Vec<u8>, Leaf)>,
    /// What is not captured, and why.
    lost: BTreeMap<Vec<u8>, String>,
}

impl Run<'_> {
    fn take(
        &mut self,
        worktree: &Worktree,
        session: &SessionId,
        extra: &[PathBuf],
        lock: &Lock,
    ) -> Result<Capture, SnapshotError> {
        while let Some((prefix, directory)) = self.units.pop_front() {
            self.seen_units += 1;
            if self.seen_units > MAX_REPOSITORIES {
                self.lost.insert(prefix, "too many repositories".to_owned());
                continue;
            }
            self.unit(&prefix, &directory)?;
        }
        self.files.sort_unstable();
        self.files.dedup_by(|a, b| a.0 == b.0);
        self.record.files = Some(tree::write_files(self.objects, &self.files)?);

        let head = self.store.head(session)?;
        let earlier = self.store.newest(self.objects, head, &worktree.mark);
        // An earlier capture that cannot be read any more is none.
        let known = earlier.and_then(|id| Record::read(self.objects, &id).ok());
        self.extra(worktree, extra, known.as_ref())?;
        self.record.left_out = self.lost.keys().cloned().collect();

        let id = self.record.write(self.objects)?;
        if earlier != Some(id) {
            if let Some(known) = &known {
                self.secure(known)?;
            }
            let parents: Vec<_> = head.into_iter().collect();
            let store = self.store;
            store.pin(lock, self.objects, session, &id, &parents, &worktree.mark)?;
        }
        Ok(Capture {
            tree: Some(id.to_string()),
            coverage: if self.lost.is_empty() {
                Coverage::Full
            } else {
                Coverage::Partial
            },
            reason: self.reason(),
        })
    }

    /// Looks at one directory tree up to the repositories inside it.
    fn unit(&mut self, prefix: &[u8], directory: &Path) -> Result<(), SnapshotError> {
        let repository = Repository::at(directory);
        let path = self
            .store
            .index_dir()
            .join(Store::key_of("index", directory)?)
            .with_extension("index");
        let mut index = Index::load(path, repository.as_ref(), self.objects)?;
        index.start()?;
        let outcome = self.look(prefix, directory, repository.as_ref(), &mut index);
        // Also when it was cut off: what was read need not be read again.
        index.save(outcome.is_ok())?;
        outcome
    }

    fn look(
        &mut self,
        prefix: &[u8],
        directory: &Path,
        repository: Option<&Repository>,
        index: &mut Index,
    ) -> Result<(), SnapshotError> {
        let list = |more: &[&str]| {
            let mut git = self
                .store
                .git("ls-files")?
                .env("GIT_WORK_TREE", directory)
                .env("GIT_INDEX_FILE", index.path())
                .directory(directory)
                .args(["-z", "--others", "--exclude-per-directory=.gitignore"])
                .args(more);
            if let Some(exclude) = repository.and_then(Repository::exclude) {
                git = git.args([Path::new("--exclude-from"), &exclude]);
            }
            git.start()
        };
        // Both run while the known files are looked at here.
        let others = list(&[])?;
        let ignored = list(&["--ignored", "--directory"])?;

        let mut unread = Vec::new();
        let mut real = HashMap::new();
        let paths: Vec<_> = index.entries.keys().cloned().collect();
        for path in paths {
            self.on_time()?;
            let absolute = paths::absolute(directory, &path);
            let found = if is_real(directory, &path, &mut real) {
                scan::look(&absolute)
            } else {
                Ok(Found::Absent)
            };
            match found {
                Ok(Found::File(seen)) => match index.entries.get(&path) {
                    Some(entry) if index.is_current(entry, &seen) => {
                        self.add(prefix, &path, (seen.mode, entry.id));
                    }
                    _ => unread.push(path),
                },
                Ok(Found::Absent) => index.remove(&path),
                _ => unread.push(path),
            }
        }

        let others = self.finish(prefix, others)?;
        for path in split(&others) {
            let full = [prefix, path].concat();
            if self
                .own
                .as_ref()
                .is_some_and(|own| paths::covers(own, &full))
                || paths::is_temporary(path)
            {
                continue;
            }
            match path.strip_suffix(b"/") {
                Some(nested) => {
                    let directory = paths::absolute(directory, nested);
                    self.units.push_back((full, directory));
                }
                None => unread.push(path.to_vec()),
            }
        }
        for path in unread {
            self.on_time()?;
            self.store.check_quota(self.objects.written())?;
            match self.file(directory, &path) {
                Ok(Some((mode, entry))) => {
                    self.add(prefix, &path, (mode, entry.id));
                    index.insert(path, entry);
                }
                Ok(None) => index.remove(&path),
                Err(Unread::Fatal(error)) => return Err(error),
                Err(Unread::LeftOut(why)) => {
                    index.remove(&path);
                    self.lost.insert([prefix, &path].concat(), why);
                }
            }
        }

        let ignored = self.finish(prefix, ignored)?;
        let mut ignored: Vec<_> = split(&ignored).collect();
        ignored.sort_unstable();
        for (i, entry) in ignored.iter().enumerate() {
            // A directory whose files are listed too is not ignored itself.
            let listed = entry.ends_with(b"/")
                && ignored
                    .get(i + 1)
                    .is_some_and(|next| next.starts_with(entry));
            if !listed {
                self.record.ignored.insert([prefix, entry].concat());
            }
        }
        Ok(())
    }

    fn add(&mut self, prefix: &[u8], path: &[u8], leaf: Leaf) {
        let path = [prefix, path].concat();
        if path.iter().filter(|&&b| b == b'/').count() > MAX_DEPTH {
            self.lost.insert(path, "too many directories".to_owned());
        } else {
            self.files.push((path, leaf));
        }
    }

    /// Reads and stores one file.
    fn file(&self, directory: &Path, path: &[u8]) -> Result<Option<(u32, Tracked)>, Unread> {
        let limit = self.store.inner().limits.file_bytes;
        match scan::read(&paths::absolute(directory, path), limit) {
            Ok(Content::Read(seen, bytes)) => {
                let id = self.objects.put_file(&bytes).map_err(Unread::Fatal)?;
                Ok(Some((seen.mode, Tracked::new(id, &seen))))
            }
            Ok(Content::Absent | Content::Special) => Ok(None),
            Ok(Content::TooLarge(size)) => {
                Err(Unread::LeftOut(format!("{size} bytes, more than {limit}")))
            }
            Err(error) => Err(Unread::LeftOut(error.to_string())),
        }
    }

    /// Files that the session follows although the repository ignores them.
    fn extra(
        &mut self,
        worktree: &Worktree,
        extra: &[PathBuf],
        known: Option<&Record>,
    ) -> Result<(), SnapshotError> {
        let mut wanted: BTreeSet<Vec<u8>> = extra
            .iter()
            .filter_map(|path| worktree.locate(path).ok())
            .collect();
        if let Some(known) = known {
            wanted.extend(known.extra.keys().cloned());
            wanted.extend(known.absent.iter().cloned());
        }
        let mut real = HashMap::new();
        for path in wanted.into_iter().take(MAX_EXTRA) {
            self.on_time()?;
            let at = self.files.binary_search_by(|(other, _)| other.cmp(&path));
            if at.is_ok() || self.lost.contains_key(&path) {
                continue;
            }
            if !is_real(&worktree.toplevel, &path, &mut real) {
                self.record.absent.insert(path);
                continue;
            }
            match self.file(&worktree.toplevel, &path) {
                Ok(Some((mode, entry))) => {
                    self.record.extra.insert(path, (mode, entry.id));
                }
                Ok(None) => {
                    self.record.absent.insert(path);
                }
                Err(Unread::Fatal(error)) => return Err(error),
                Err(Unread::LeftOut(why)) => {
                    self.lost.insert(path, why);
                }
            }
        }
        Ok(())
    }

    /// Copies what differs from an earlier capture into our own store, both sides.
    fn secure(&mut self, earlier: &Record) -> Result<(), SnapshotError> {
        let limit = self.store.inner().limits.file_bytes;
        let changed = tree::compare(self.objects, earlier.files, self.record.files)?;
        for difference in changed {
            self.on_time()?;
            self.store.check_quota(self.objects.written())?;
            for (_, id) in difference.before.iter().chain(&difference.after) {
                if !self.objects.secure(id, limit)? {
                    let why = "its earlier content is not kept".to_owned();
                    self.lost.insert(difference.path.clone(), why);
                }
            }
        }
        Ok(())
    }

    /// What git said, once it has ended.
    fn finish(&mut self, prefix: &[u8], run: git::Running) -> Result<Vec<u8>, SnapshotError> {
        let output = run
            .finish(self.deadline)?
            .ok_or_else(|| self.store.inner().limits.late())?;
        // It warns about directories that it cannot read and goes on.
        for line in output.stderr.lines() {
            let path = line.split('\'').nth(1).unwrap_or_default().as_bytes();
            let path = [prefix, path].concat();
            self.lost.insert(path, git::last_line(line));
        }
        Ok(output.stdout)
    }

    fn on_time(&self) -> Result<(), SnapshotError> {
        if Instant::now() >= self.deadline {
            return Err(self.store.inner().limits.late());
        }
        Ok(())
    }

    fn reason(&self) -> Option<String> {
        let more = self.lost.len().saturating_sub(NAMED);
        let mut text = String::new();
        for (path, why) in self.lost.iter().take(NAMED) {
            let lead = if text.is_empty() {
                "not captured: "
            } else {
                ", "
            };
            // Writing to a string cannot fail.
            let _ = write!(text, "{lead}{} ({why})", String::from_utf8_lossy(path));
        }
        if more > 0 {
            let _ = write!(text, " and {more} more");
        }
        (!text.is_empty()).then_some(text)
    }
}

/// Why a file is not in a capture.
enum Unread {
    /// It stays out.
    LeftOut(String),
    /// The capture cannot go on.
    Fatal(SnapshotError),
}

/// Whether all directories on the way to a file are directories and not links to some.
fn is_real(directory: &Path, path: &[u8], known: &mut HashMap<Vec<u8>, bool>) -> bool {
    let Some(end) = path.iter().rposition(|&b| b == b'/') else {
        return true;
    };
    let parent = &path[..end];
    if let Some(real) = known.get(parent) {
        return *real;
    }
    let real = is_real(directory, parent, known)
        && fs::symlink_metadata(paths::absolute(directory, parent)).is_ok_and(|m| m.is_dir());
    known.insert(parent.to_vec(), real);
    real
}

fn split(listing: &[u8]) -> impl Iterator<Item = &[u8]> {
    listing.split(|&b| b == 0).filter(|path| !path.is_empty())
}
