//! What is refused, left out, or too much.

use std::{fs, path::Path, time::Duration};

use sessiond_model::Coverage;
use sessiond_snapshot::{Limits, Refusal, SnapshotError};

use crate::fixture::{Fixture, full, init, names, session};

fn refusal(f: &Fixture, path: &Path) -> Option<Refusal> {
    match f.snapshots.worktree(path) {
        Err(SnapshotError::Refused { reason, .. }) => Some(reason),
        _ => None,
    }
}

#[test]
fn the_root_and_the_home_are_refused() {
    let f = Fixture::plain();
    let home = f.temp.path().join("home");
    assert_eq!(refusal(&f, Path::new("/")), Some(Refusal::Root));
    assert_eq!(refusal(&f, &home), Some(Refusal::Home));
    assert_eq!(refusal(&f, f.temp.path()), Some(Refusal::AboveHome));
    assert_eq!(refusal(&f, &f.root()), Some(Refusal::Snapshots));
    let error = f.snapshots.worktree(&f.at("missing")).unwrap_err();
    assert!(matches!(error, SnapshotError::Missing { .. }), "{error}");
}

#[test]
fn a_home_that_is_a_repository_is_not_captured_for_what_is_in_it() {
    let f = Fixture::plain();
    let home = fs::canonicalize(f.temp.path().join("home")).unwrap();
    init(&home);
    let project = home.join("project");
    fs::create_dir(&project).unwrap();
    let w = f.snapshots.worktree(&project).unwrap();
    assert_eq!(w.directory(), project);
}

#[test]
fn the_captures_themselves_are_not_captured() {
    let f = Fixture::plain();
    let snapshots = sessiond_snapshot::Snapshots::open(f.at("data"), Limits::default()).unwrap();
    f.write("a", "1\n");
    let w = snapshots.worktree(&f.dir).unwrap();
    let before = full(w.capture(&session("a"), &[]));
    f.write("a", "2\n");
    let after = full(w.capture(&session("a"), &[]));
    assert_eq!(names(&f, &w.changes(&before, &after).unwrap()), ["a"]);
}

#[test]
fn a_large_file_is_left_out_by_name() {
    let f = Fixture::with(Limits {
        file_bytes: 100,
        ..Limits::default()
    });
    init(&f.dir);
    f.write("grows", "small\n");
    f.write("shrinks", "x".repeat(101));
    f.write("exact", "x".repeat(100));
    let (s, w) = (session("a"), f.worktree());
    let before = w.capture(&s, &[]);
    assert_eq!(before.coverage, Coverage::Partial);
    let reason = before.reason.unwrap();
    assert_eq!(reason, "not captured: shrinks (101 bytes, more than 100)");
    f.write("grows", "x".repeat(102));
    f.write("shrinks", "small\n");
    f.write("exact", "y\n");
    let after = w.capture(&s, &[]);
    let changes = w
        .changes(&before.tree.unwrap(), &after.tree.unwrap())
        .unwrap();
    assert_eq!(names(&f, &changes), ["exact"]);
    let error = w.keep(&s, &f.at("grows")).unwrap_err();
    assert!(matches!(
        error,
        SnapshotError::TooLarge {
            size: 102,
            limit: 100,
            ..
        }
    ));
}

#[test]
fn beyond_the_quota_nothing_is_captured() {
    let mut f = Fixture::with(Limits {
        project_bytes: 64 << 10,
        ..Limits::default()
    });
    let (s, w) = (session("a"), f.worktree());
    f.write("a", "1\n");
    let before = full(w.capture(&s, &[]));
    for i in 0..40 {
        f.write(format!("f{i}"), format!("{i}\n"));
    }
    let capture = w.capture(&s, &[]);
    assert_eq!((capture.tree, capture.coverage), (None, Coverage::None));
    assert!(capture.reason.unwrap().contains("of 65536 bytes"));
    f.reopen(Limits::default());
    let w = f.worktree();
    let after = full(w.capture(&s, &[]));
    assert_eq!(w.changes(&before, &after).unwrap().len(), 40);
}

#[test]
fn beyond_the_deadline_nothing_is_captured() {
    let mut f = Fixture::with(Limits {
        deadline: Duration::ZERO,
        ..Limits::default()
    });
    f.write("a", "1\n");
    let capture = f.worktree().capture(&session("a"), &[]);
    assert_eq!((capture.tree, capture.coverage), (None, Coverage::None));
    assert!(capture.reason.unwrap().contains("longer than"));
    f.reopen(Limits::default());
    full(f.worktree().capture(&session("a"), &[]));
}
