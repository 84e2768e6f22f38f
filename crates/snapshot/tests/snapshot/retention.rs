//! What is kept for whom, and for how long.

use std::{fs, path::Path};

use sessiond_snapshot::{Limits, Replaced};

use crate::fixture::{Fixture, commit, full, git, session, undo};

/// Whether some bytes are anywhere in the stores, in a file or in an object.
fn holds(root: &Path, canary: &str) -> bool {
    let contains = |bytes: &[u8]| bytes.windows(canary.len()).any(|w| w == canary.as_bytes());
    let raw = crate::fixture::files(root)
        .iter()
        .any(|(path, (_, bytes))| contains(bytes) || path.to_string_lossy().contains(canary));
    let stores = fs::read_dir(root.join("projects")).unwrap();
    raw || stores.into_iter().any(|store| {
        let all = ["cat-file", "--batch-all-objects", "--batch"];
        contains(git(&store.unwrap().path(), &all).as_bytes())
    })
}

/// A turn of a session: writes a file. The captures before and after.
fn turn(f: &Fixture, name: &str, path: &str, text: &str) -> (String, String) {
    let (s, w) = (session(name), f.worktree());
    let before = full(w.capture(&s, &[]));
    f.write(path, text);
    (before, full(w.capture(&s, &[])))
}

fn forget(f: &Fixture) {
    let canary = "CANARY-of-a";
    turn(f, "a", "CANARY-of-a.txt", canary);
    f.worktree()
        .keep(&session("a"), &f.at("CANARY-of-a.txt"))
        .unwrap();
    assert!(holds(&f.root(), canary));
    f.snapshots.collect().unwrap();
    fs::remove_file(f.at("CANARY-of-a.txt")).unwrap();
    let (before, after) = turn(f, "b", "b.txt", "of b");
    f.snapshots.collect().unwrap();
    assert!(holds(&f.root(), canary));
    f.snapshots.forget(&session("a")).unwrap();
    assert!(!holds(&f.root(), canary), "nothing of it is left");
    let w = f.worktree();
    let changes = w.changes(&before, &after).unwrap();
    undo(&w, &changes);
    assert!(!f.at("b.txt").exists(), "what the other one needs is left");
    let (before, after) = turn(f, "b", "a.txt", "again");
    undo(&w, &w.changes(&before, &after).unwrap());
    f.snapshots.forget(&session("b")).unwrap();
    assert_eq!(fs::read_dir(f.root().join("projects")).unwrap().count(), 0);
}

#[test]
fn a_session_of_a_repository_is_forgotten() {
    forget(&Fixture::git());
}

#[test]
fn a_session_of_a_plain_directory_is_forgotten() {
    let f = Fixture::plain();
    f.write("a.txt", "a\n");
    forget(&f);
}

#[test]
fn a_fork_keeps_what_it_came_from() {
    let f = Fixture::plain();
    f.write("a", "1");
    let (before, after) = turn(&f, "a", "a", "2");
    turn(&f, "late", "x", "x");
    for fork in ["fork", "late"] {
        f.snapshots
            .copy_pins(&session("a"), &session(fork))
            .unwrap();
        f.snapshots
            .copy_pins(&session("a"), &session(fork))
            .unwrap();
    }
    f.snapshots.forget(&session("a")).unwrap();
    f.snapshots.forget(&session("fork")).unwrap();
    f.snapshots.collect().unwrap();
    let w = f.worktree();
    undo(&w, &w.changes(&before, &after).unwrap());
    assert_eq!(fs::read(f.at("a")).unwrap(), b"1");
}

#[test]
fn collection_removes_what_was_cut_off_and_keeps_the_rest() {
    let mut f = Fixture::plain();
    f.write("a", "1");
    let (before, after) = turn(&f, "a", "a", "2");
    for i in 0..40 {
        f.write(format!("f{i}"), format!("waste {i}"));
    }
    f.reopen(Limits {
        project_bytes: 80 << 10,
        ..Limits::default()
    });
    assert_eq!(f.worktree().capture(&session("a"), &[]).tree, None);
    for i in 0..40 {
        fs::remove_file(f.at(&format!("f{i}"))).unwrap();
    }
    f.reopen(Limits::default());
    full(f.worktree().capture(&session("a"), &[]));
    let collected = f.snapshots.collect().unwrap();
    assert!(collected.removed > 5, "{collected:?}");
    assert!(
        collected.bytes_after < collected.bytes_before,
        "{collected:?}"
    );
    assert!(!holds(&f.root(), "waste"));
    for _ in 0..12 {
        turn(&f, "a", "b", "again and again");
        f.snapshots.collect().unwrap();
    }
    let w = f.worktree();
    undo(&w, &w.changes(&before, &after).unwrap());
    assert_eq!(fs::read(f.at("a")).unwrap(), b"1");
}

#[test]
fn a_repository_may_be_cleaned_or_vanish() {
    let f = Fixture::git();
    // Only the index has it.
    f.write("staged", "staged only\n");
    git(&f.dir, &["add", "staged"]);
    let (s, w) = (session("a"), f.worktree());
    let before = full(w.capture(&s, &[]));
    f.write("staged", "other\n");
    f.write("a.txt", "other\n");
    let after = full(w.capture(&s, &[]));
    git(&f.dir, &["rm", "-qf", "--cached", "staged"]);
    git(&f.dir, &["gc", "-q", "--prune=now"]);
    let changes = w.changes(&before, &after).unwrap();
    undo(&w, &changes);
    assert_eq!(fs::read(f.at("staged")).unwrap(), b"staged only\n");

    fs::remove_dir_all(f.at(".git")).unwrap();
    f.snapshots.collect().unwrap();
    // A plain directory now, with a store of its own; the content is found all the same.
    let w = f.worktree();
    full(w.capture(&s, &[]));
    for change in &changes {
        let (before, after) = (change.before.as_ref(), change.after.as_ref());
        assert!(w.describe(change).captured);
        assert_eq!(
            w.replace(&change.path, before, after, false),
            Replaced::Written
        );
    }
    assert_eq!(fs::read(f.at("a.txt")).unwrap(), b"other\n");
}

#[test]
fn packed_and_borrowed_objects_are_read() {
    let f = Fixture::git();
    let clone = f.temp.path().join("clone");
    let (from, to) = (f.dir.to_str().unwrap(), clone.to_str().unwrap());
    git(&f.dir, &["gc", "-q"]);
    // Its objects are those of the first one.
    git(f.temp.path(), &["clone", "-q", "--shared", from, to]);
    let w = f.snapshots.worktree(&clone).unwrap();
    let s = session("a");
    let before = full(w.capture(&s, &[]));
    fs::write(clone.join("a.txt"), "x\n").unwrap();
    commit(&clone);
    let after = full(w.capture(&s, &[]));
    undo(&w, &w.changes(&before, &after).unwrap());
    assert_eq!(fs::read(clone.join("a.txt")).unwrap(), b"one\ntwo\nthree\n");
}
