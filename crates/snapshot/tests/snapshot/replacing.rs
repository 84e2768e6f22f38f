//! One file at a time.

use std::{fs, os::unix::fs::symlink};

use sessiond_model::{Conflict, FileState};
use sessiond_snapshot::{Limits, Replaced};

use crate::fixture::{Fixture, files, session};

const CHANGED: Replaced = Replaced::Conflict(Conflict::Changed);
const UNWRITABLE: Replaced = Replaced::Conflict(Conflict::Unwritable);

#[test]
fn three_ways() {
    let f = Fixture::git();
    let (s, w, path) = (session("a"), f.worktree(), f.at("a.txt"));
    let one = w.keep(&s, &path).unwrap();
    f.write("a.txt", "2\n");
    let two = w.keep(&s, &path).unwrap();
    assert_eq!(w.state(&path).unwrap(), two);
    let put = |expected: &Option<_>, target: &Option<_>, force| {
        w.replace(&path, expected.as_ref(), target.as_ref(), force)
    };
    assert_eq!(put(&two, &one, false), Replaced::Written);
    assert_eq!(fs::read(&path).unwrap(), b"one\ntwo\nthree\n");
    assert_eq!(put(&two, &one, false), Replaced::AlreadyThere);
    f.write("a.txt", "a person's\n");
    assert_eq!(put(&two, &one, false), CHANGED);
    assert_eq!(put(&two, &None, false), CHANGED);
    assert_eq!(fs::read(&path).unwrap(), b"a person's\n");
    assert_eq!(put(&two, &one, true), Replaced::Written);
    assert_eq!(put(&one, &None, false), Replaced::Written);
    assert_eq!(put(&one, &None, false), Replaced::AlreadyThere);
    assert_eq!(put(&one, &two, false), CHANGED);
    assert_eq!(put(&None, &two, false), Replaced::Written);
    let lost = Some(FileState {
        mode: "100644".to_owned(),
        oid: "0123456789012345678901234567890123456789".to_owned(),
    });
    let outcome = put(&two, &lost, false);
    assert_eq!(outcome, Replaced::Conflict(Conflict::NotCaptured));
    assert_eq!(w.state(&path).unwrap(), two);
}

#[test]
fn nothing_outside_is_touched() {
    let f = Fixture::git();
    let (s, w) = (session("a"), f.worktree());
    let state = w.keep(&s, &f.at("a.txt")).unwrap();
    let outside = f.temp.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "theirs\n").unwrap();
    symlink(&outside, f.at("out")).unwrap();
    symlink(f.temp.path().join("not there"), f.at("dangling")).unwrap();
    symlink(f.at(".git"), f.at("into")).unwrap();
    symlink(f.at("src"), f.at("within")).unwrap();
    let before = files(f.temp.path());
    for path in [
        outside.join("file"),
        outside.join("new"),
        f.at("out/file"),
        f.at("out/new/deep"),
        f.at("dangling/new"),
        f.at("into/config"),
        f.at(".git/config"),
        f.at("src/.GIT/hooks/x"),
        f.at("src/../../outside/file"),
        f.dir.clone(),
    ] {
        for target in [state.as_ref(), None] {
            let outcome = w.replace(&path, None, target, true);
            assert_eq!(outcome, UNWRITABLE, "{}", path.display());
        }
        assert!(w.keep(&s, &path).is_err(), "{}", path.display());
    }
    assert_eq!(files(f.temp.path()).len(), before.len());
    assert_eq!(fs::read(outside.join("file")).unwrap(), b"theirs\n");
    let within = w.replace(&f.at("within/new"), None, state.as_ref(), false);
    assert_eq!(within, Replaced::Written);
}

#[test]
fn directories_come_and_go_with_their_files() {
    let f = Fixture::git();
    let (s, w) = (session("a"), f.worktree());
    let state = w.keep(&s, &f.at("a.txt")).unwrap();
    let deep = f.at("x/y/z");
    let put = w.replace(&deep, None, state.as_ref(), false);
    assert_eq!(put, Replaced::Written);
    assert_eq!(
        w.replace(&deep, state.as_ref(), None, false),
        Replaced::Written
    );
    assert!(!f.at("x").exists());
    // Not a file: neither a conflict to write over while it is empty, nor anything to lose when not.
    fs::create_dir_all(f.at("taken/by/nothing")).unwrap();
    fs::create_dir_all(f.at("taken/in/vain")).unwrap();
    let put = |path| w.replace(&f.at(path), None, state.as_ref(), false);
    assert_eq!(put("taken"), Replaced::Written);
    assert_eq!(put("src"), UNWRITABLE);
    assert!(f.at("src/b.txt").exists());
}

#[test]
fn the_directory_of_the_session_stays() {
    let f = Fixture::git();
    let w = f.snapshots.worktree(&f.at("src")).unwrap();
    let state = w.state(&f.at("src/b.txt")).unwrap();
    let gone = w.replace(&f.at("src/b.txt"), state.as_ref(), None, false);
    assert_eq!(gone, Replaced::Written);
    assert!(f.at("src").is_dir());
}

#[test]
fn a_directory_may_be_spelled_differently() {
    let f = Fixture::git();
    let alias = f.temp.path().join("alias");
    symlink(&f.dir, &alias).unwrap();
    let w = f.snapshots.worktree(&alias).unwrap();
    assert_eq!(w.directory(), f.dir);
    let state = w.keep(&session("a"), &alias.join("a.txt")).unwrap();
    assert!(state.is_some());
    let gone = w.replace(&alias.join("a.txt"), state.as_ref(), None, false);
    assert_eq!(gone, Replaced::Written);
    assert!(!f.at("a.txt").exists());
}

#[test]
fn what_a_killed_process_was_writing_is_removed() {
    let mut f = Fixture::git();
    let name = ".sessiond-restore-1-1";
    let notes = f.root().join("writing");
    f.write(name, "half");
    fs::write(notes.join(name), f.at(name).to_str().unwrap()).unwrap();
    // Cut off, or not of ours: never a reason to remove anything else.
    fs::write(
        notes.join(".sessiond-restore-1-2"),
        f.at("a.txt").to_str().unwrap(),
    )
    .unwrap();
    fs::write(notes.join(".sessiond-restore-1-3"), "").unwrap();
    f.reopen(Limits::default());
    assert!(!f.at(name).exists());
    assert!(f.at("a.txt").exists());
    assert_eq!(fs::read_dir(notes).unwrap().count(), 0);
}
