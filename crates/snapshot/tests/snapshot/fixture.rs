use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
};

use sessiond_model::{Coverage, SessionId};
use sessiond_snapshot::{Capture, Limits, PathChange, Replaced, Snapshots, Worktree};

/// A store and a directory to capture, side by side.
pub(crate) struct Fixture {
    pub(crate) temp: tempfile::TempDir,
    pub(crate) snapshots: Snapshots,
    pub(crate) dir: PathBuf,
}

pub(crate) fn session(name: &str) -> SessionId {
    SessionId::parse(&format!("ses_{name}")).unwrap()
}

impl Fixture {
    pub(crate) fn plain() -> Self {
        Self::with(Limits::default())
    }

    pub(crate) fn with(limits: Limits) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(temp.path()).unwrap();
        let dir = base.join("work tree");
        fs::create_dir(&dir).unwrap();
        let home = base.join("home");
        fs::create_dir(&home).unwrap();
        let snapshots = Snapshots::open_with_home(&base.join("data"), limits, Some(home)).unwrap();
        Self {
            temp,
            snapshots,
            dir,
        }
    }

    /// A repository with one commit of `a.txt` and `src/b.txt`.
    pub(crate) fn git() -> Self {
        let fixture = Self::plain();
        init(&fixture.dir);
        fixture.write("a.txt", "one\ntwo\nthree\n");
        fixture.write("src/b.txt", "b\n");
        commit(&fixture.dir);
        fixture
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.temp.path().join("data")
    }

    /// The same directories after a restart of sessiond.
    pub(crate) fn reopen(&mut self, limits: Limits) {
        let home = self.temp.path().join("home");
        self.snapshots = Snapshots::open_with_home(&self.root(), limits, Some(home)).unwrap();
    }

    pub(crate) fn worktree(&self) -> Worktree {
        self.snapshots.worktree(&self.dir).unwrap()
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    pub(crate) fn write(&self, path: impl AsRef<OsStr>, text: impl AsRef<[u8]>) {
        write(&self.dir.join(Path::new(path.as_ref())), text);
    }
}

pub(crate) fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

pub(crate) fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Git as the user has it, free of the configuration of whoever runs the tests.
pub(crate) fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(args)
        .current_dir(dir)
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .env_remove("GIT_OBJECT_DIRECTORY")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "t")
        .env("GIT_AUTHOR_EMAIL", "t@t")
        .env("GIT_COMMITTER_NAME", "t")
        .env("GIT_COMMITTER_EMAIL", "t@t")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {args:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn init(dir: &Path) {
    fs::create_dir_all(dir).unwrap();
    git(dir, &["init", "-q", "-b", "main"]);
}

pub(crate) fn commit(dir: &Path) {
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "-m", "c"]);
}

/// A file: permissions and bytes, or the target of a link.
pub(crate) type Files = BTreeMap<PathBuf, (u32, Vec<u8>)>;

/// All files below a directory, those of `.git` too.
pub(crate) fn files(dir: &Path) -> Files {
    let mut found = Files::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                dirs.push(path);
            } else if meta.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                found.insert(path, (0, target.as_os_str().as_bytes().to_vec()));
            } else {
                let mode = meta.permissions().mode();
                let bytes = fs::read(&path).unwrap();
                found.insert(path, (mode, bytes));
            }
        }
    }
    found
}

/// The files below a directory are these; says which are not.
pub(crate) fn assert_same(dir: &Path, then: &Files) {
    let now = files(dir);
    let differ: Vec<_> = then
        .iter()
        .filter(|(path, file)| now.get(*path) != Some(file))
        .map(|(path, _)| path)
        .chain(now.keys().filter(|path| !then.contains_key(*path)))
        .collect();
    assert!(differ.is_empty(), "not as it was: {differ:?}");
}

pub(crate) fn full(capture: Capture) -> String {
    assert_eq!(capture.reason, None);
    assert_eq!(capture.coverage, Coverage::Full);
    capture.tree.unwrap()
}

/// Puts every change back, in the order that the documentation asks for.
pub(crate) fn undo(worktree: &Worktree, changes: &[PathChange]) {
    let (mut added, others): (Vec<_>, Vec<_>) = changes.iter().partition(|c| c.before.is_none());
    added.reverse();
    for change in added.into_iter().chain(others) {
        let done = worktree.replace(
            &change.path,
            change.after.as_ref(),
            change.before.as_ref(),
            false,
        );
        assert_eq!(done, Replaced::Written, "{change:?}");
    }
}

/// Captures, edits, captures, and undoes: the worktree and its `.git` are as before. The paths that
/// changed.
pub(crate) fn round_trip(f: &Fixture, edit: impl FnOnce(&Fixture)) -> Vec<String> {
    let s = session("a");
    let w = f.worktree();
    let at_first = files(&f.dir);
    let before = full(w.capture(&s, &[]));
    edit(f);
    let edited = files(&f.dir);
    let after = full(w.capture(&s, &[]));
    assert_same(&f.dir, &edited);
    let changes = w.changes(&before, &after).unwrap();
    undo(&w, &changes);
    assert_same(&f.dir, &at_first);
    let third = full(w.capture(&s, &[]));
    assert_eq!(w.changes(&before, &third).unwrap(), []);
    names(f, &changes)
}

pub(crate) fn names(f: &Fixture, changes: &[PathChange]) -> Vec<String> {
    changes
        .iter()
        .map(|c| {
            c.path
                .strip_prefix(&f.dir)
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect()
}
