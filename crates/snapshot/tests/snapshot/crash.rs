//! Killed at any moment, sessiond leaves nothing that is in the way.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use sessiond_snapshot::{Limits, Snapshots};

use crate::fixture::{Fixture, files, full, session};

const DIR: &str = "SNAPSHOT_TEST_DIRECTORY";
const ROOT: &str = "SNAPSHOT_TEST_ROOT";

/// The process that is killed: captures, replaces and collects without end.
#[test]
#[ignore = "run by the test below"]
fn child() {
    let dir = env::var_os(DIR).unwrap();
    let dir = Path::new(&dir);
    let root = env::var_os(ROOT).unwrap().into();
    let snapshots = Snapshots::open(root, Limits::default()).unwrap();
    let (s, w) = (session("a"), snapshots.worktree(dir).unwrap());
    for i in 0_u32.. {
        let before = full(w.capture(&s, &[]));
        for file in 0..5 {
            let text = format!("{i}\n").repeat(1000);
            fs::write(dir.join(format!("f{file}")), text).unwrap();
        }
        let after = full(w.capture(&s, &[]));
        for change in w.changes(&before, &after).unwrap() {
            let (before, after) = (change.before.as_ref(), change.after.as_ref());
            let _ = w.replace(&change.path, after, before, false);
        }
        if i % 3 == 2 {
            snapshots.collect().unwrap();
        }
    }
}

#[test]
fn a_kill_at_any_moment() {
    let mut f = Fixture::git();
    for round in 0..8 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "crash::child", "--ignored"])
            .env(DIR, &f.dir)
            .env(ROOT, f.root())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Not for luck: whenever it comes, what follows must hold.
        std::thread::sleep(Duration::from_millis(150 + 97 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        f.reopen(Limits::default());
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        for path in files(&f.dir).into_keys() {
            let name = name(&path);
            assert!(!name.starts_with(".sessiond"), "round {round}: {name}");
        }
        let (s, w) = (session("a"), f.worktree());
        let now = full(w.capture(&s, &[]));
        f.write("f0", format!("{round}\n"));
        let then = full(w.capture(&s, &[]));
        assert_eq!(w.changes(&now, &then).unwrap().len(), 1);
        f.snapshots.collect().unwrap();
        let left: Vec<_> = files(&f.root().join("projects"))
            .into_keys()
            .filter(|path| name(path).contains("tmp") || name(path).ends_with(".lock"))
            .collect();
        assert!(left.is_empty(), "round {round}: {left:?}");
    }
}
