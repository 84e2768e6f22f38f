//! Random trees, random edits: undoing is the identity, byte and mode exact.

use std::{fs, os::unix::ffi::OsStrExt, os::unix::fs::symlink, path::PathBuf};

use proptest::prelude::*;

use crate::fixture::{Fixture, assert_same, chmod, files, full, init, session, undo};

#[derive(Clone, Debug)]
enum Edit {
    Write(usize, u8),
    Remove(usize),
    Mode(usize, u32),
    Link(usize, usize),
    Rename(usize, usize),
}

/// Names that are in each other's way: files that are directories elsewhere.
const NAMES: [&[u8]; 12] = [
    b"a", b"a/b", b"a/b/c", b"a.b", b"a/d", b"e f", b"e f/\n", b"\xfe", b"\xfe/-x", b"z/y/x",
    b"z/y", b".hidden",
];

fn edit() -> impl Strategy<Value = Edit> {
    let name = 0..NAMES.len();
    let mode = prop::sample::select(vec![0o644_u32, 0o755, 0o600, 0o444, 0o664]);
    prop_oneof![
        4 => (name.clone(), any::<u8>()).prop_map(|(n, c)| Edit::Write(n, c)),
        2 => name.clone().prop_map(Edit::Remove),
        1 => (name.clone(), mode).prop_map(|(n, m)| Edit::Mode(n, m)),
        1 => (name.clone(), name.clone()).prop_map(|(n, t)| Edit::Link(n, t)),
        1 => (name.clone(), name).prop_map(|(a, b)| Edit::Rename(a, b)),
    ]
}

/// Applies an edit as far as it is possible; removes whatever is in its way.
fn apply(f: &Fixture, edit: &Edit) {
    let at = |n: usize| f.dir.join(std::ffi::OsStr::from_bytes(NAMES[n]));
    let clear = |path: &PathBuf| {
        let _ = fs::remove_dir_all(path);
        let _ = fs::remove_file(path);
        for parent in path.ancestors().skip(1).take_while(|p| **p != f.dir) {
            if fs::symlink_metadata(parent).is_ok_and(|m| !m.is_dir()) {
                fs::remove_file(parent).unwrap();
            }
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
    };
    match *edit {
        Edit::Write(n, content) => {
            clear(&at(n));
            fs::write(at(n), vec![content; usize::from(content % 7)]).unwrap();
        }
        Edit::Remove(n) => {
            let _ = fs::remove_dir_all(at(n));
            let _ = fs::remove_file(at(n));
        }
        Edit::Mode(n, mode) => {
            if fs::symlink_metadata(at(n)).is_ok_and(|m| m.is_file()) {
                chmod(&at(n), mode);
            }
        }
        Edit::Link(n, target) => {
            clear(&at(n));
            symlink(std::ffi::OsStr::from_bytes(NAMES[target]), at(n)).unwrap();
        }
        Edit::Rename(from, to) => {
            if fs::symlink_metadata(at(from)).is_ok()
                && !at(to).starts_with(at(from))
                && !at(from).starts_with(at(to))
            {
                clear(&at(to));
                let _ = fs::rename(at(from), at(to));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn undoing_is_the_identity(
        repository in any::<bool>(),
        start in prop::collection::vec(edit(), 0..12),
        turns in prop::collection::vec(prop::collection::vec(edit(), 0..6), 1..4),
    ) {
        let f = Fixture::plain();
        if repository {
            init(&f.dir);
        }
        start.iter().for_each(|edit| apply(&f, edit));
        let (s, w) = (session("a"), f.worktree());
        let mut history = vec![(files(&f.dir), full(w.capture(&s, &[])))];
        for turn in &turns {
            turn.iter().for_each(|edit| apply(&f, edit));
            history.push((files(&f.dir), full(w.capture(&s, &[]))));
        }
        f.snapshots.collect().unwrap();
        // To each earlier state and forth to the last one again.
        let (last_files, last) = history.last().unwrap();
        for (then, tree) in &history {
            undo(&w, &w.changes(tree, last).unwrap());
            assert_same(&f.dir, then);
            undo(&w, &w.changes(last, tree).unwrap());
            assert_same(&f.dir, last_files);
        }
    }
}
