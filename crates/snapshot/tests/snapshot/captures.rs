use std::{fs, os::unix::ffi::OsStrExt, os::unix::fs::symlink, path::Path};

use crate::fixture::{Fixture, chmod, commit, files, full, git, init, session, undo, write};

/// Captures, edits, captures, and undoes: the worktree and its `.git` are as before. The paths that
/// changed.
fn round_trip(f: &Fixture, edit: impl FnOnce(&Fixture)) -> Vec<String> {
    let s = session("a");
    let w = f.worktree();
    let at_first = files(&f.dir);
    let before = full(w.capture(&s, &[]));
    edit(f);
    let edited = files(&f.dir);
    let after = full(w.capture(&s, &[]));
    assert_eq!(files(&f.dir), edited, "a capture changes nothing");
    let changes = w.changes(&before, &after).unwrap();
    undo(&w, &changes);
    assert_eq!(files(&f.dir), at_first, "everything is as it was");
    let third = full(w.capture(&s, &[]));
    assert_eq!(w.changes(&before, &third).unwrap(), []);
    let name = |path: &Path| {
        path.strip_prefix(&f.dir)
            .unwrap()
            .to_string_lossy()
            .into_owned()
    };
    changes.iter().map(|c| name(&c.path)).collect()
}

fn edit(f: &Fixture) {
    f.write("a.txt", "one\nTWO\nthree\n");
    f.write("new/deep/file.txt", "new\n");
    fs::remove_file(f.at("src/b.txt")).unwrap();
}

#[test]
fn in_a_repository() {
    let f = Fixture::git();
    assert_eq!(
        round_trip(&f, edit),
        ["a.txt", "new/deep/file.txt", "src/b.txt"]
    );
}

#[test]
fn in_a_plain_directory() {
    let f = Fixture::plain();
    f.write("a.txt", "one\ntwo\nthree\n");
    f.write("src/b.txt", "b\n");
    assert_eq!(
        round_trip(&f, edit),
        ["a.txt", "new/deep/file.txt", "src/b.txt"]
    );
}

#[test]
fn in_a_linked_worktree() {
    let mut f = Fixture::git();
    let linked = f.temp.path().join("linked \"one\":two");
    git(
        &f.dir,
        &["worktree", "add", "-q", "-b", "x", linked.to_str().unwrap()],
    );
    f.dir = fs::canonicalize(linked).unwrap();
    assert_eq!(
        round_trip(&f, edit),
        ["a.txt", "new/deep/file.txt", "src/b.txt"]
    );
}

#[test]
fn in_a_repository_without_a_commit() {
    let f = Fixture::plain();
    init(&f.dir);
    f.write("a.txt", "one\n");
    f.write("src/b.txt", "b\n");
    assert_eq!(
        round_trip(&f, edit),
        ["a.txt", "new/deep/file.txt", "src/b.txt"]
    );
}

#[test]
fn a_subdirectory_stands_for_its_repository() {
    let f = Fixture::git();
    let w = f.snapshots.worktree(&f.at("src")).unwrap();
    assert_eq!(w.directory(), f.dir);
}

#[test]
fn with_repositories_inside() {
    let f = Fixture::git();
    let other = f.temp.path().join("other");
    init(&other);
    write(&other.join("sub.txt"), "sub\n");
    commit(&other);
    let other = other.to_str().unwrap();
    git(
        &f.dir,
        &[
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "--quiet",
            "add",
            other,
            "module",
        ],
    );
    commit(&f.dir);
    init(&f.at("nested"));
    f.write("nested/n.txt", "n\n");
    f.write("nested/ignored.log", "log\n");
    f.write("nested/.gitignore", "*.log\n");
    init(&f.at("nested/inner"));
    f.write("nested/inner/i.txt", "i\n");
    let changed = round_trip(&f, |f| {
        f.write("module/sub.txt", "SUB\n");
        f.write("module/more.txt", "more\n");
        f.write("nested/n.txt", "N\n");
        f.write("nested/inner/i.txt", "I\n");
    });
    assert_eq!(
        changed,
        [
            "module/more.txt",
            "module/sub.txt",
            "nested/inner/i.txt",
            "nested/n.txt"
        ]
    );
}

#[test]
fn modes_links_and_bytes() {
    let f = Fixture::git();
    f.write("run.sh", "#!/bin/sh\n");
    f.write("secret", "key\n");
    chmod(&f.at("secret"), 0o600);
    f.write("fixed", "fixed\n");
    chmod(&f.at("fixed"), 0o444);
    f.write("binary", [0, 159, 146, 150, 255]);
    f.write("empty", "");
    symlink("a.txt", f.at("link")).unwrap();
    symlink("src", f.at("dirlink")).unwrap();
    symlink("/nowhere/at all", f.at("dangling")).unwrap();
    let changed = round_trip(&f, |f| {
        chmod(&f.at("run.sh"), 0o755);
        for gone in ["secret", "fixed", "link", "dirlink", "dangling", "empty"] {
            fs::remove_file(f.at(gone)).unwrap();
        }
        f.write("link", "a file now\n");
        symlink("elsewhere", f.at("dangling")).unwrap();
        f.write("dirlink/x", "a directory now\n");
        f.write("binary", [0, 1, 2]);
        fs::remove_file(f.at("a.txt")).unwrap();
        f.write("a.txt/b/c", "a directory too\n");
        fs::remove_dir_all(f.at("src")).unwrap();
        f.write("src", "a file too\n");
    });
    assert_eq!(changed.len(), 13, "{changed:?}");
}

#[test]
fn a_read_only_file_is_replaced() {
    let f = Fixture::git();
    chmod(&f.at("a.txt"), 0o444);
    let changed = round_trip(&f, |f| {
        chmod(&f.at("a.txt"), 0o644);
        f.write("a.txt", "x\n");
        chmod(&f.at("a.txt"), 0o444);
    });
    assert_eq!(changed, ["a.txt"]);
}

#[test]
fn names_of_any_bytes() {
    let f = Fixture::git();
    let names: [&[u8]; 8] = [
        b"new\nline",
        b"-rf",
        b"quo\"te",
        b"back\\slash",
        b"\xff\xfe",
        b" space ",
        b":(glob)*",
        b"tab\t",
    ];
    for name in names {
        f.write(std::ffi::OsStr::from_bytes(name), "1\n");
        f.write(
            std::ffi::OsStr::from_bytes(&[b"d-".as_slice(), name, b"/x"].concat()),
            "1\n",
        );
    }
    let changed = round_trip(&f, |f| {
        for name in names {
            f.write(std::ffi::OsStr::from_bytes(name), "2\n");
            fs::remove_file(f.dir.join(std::ffi::OsStr::from_bytes(
                &[b"d-".as_slice(), name, b"/x"].concat(),
            )))
            .unwrap();
        }
    });
    assert_eq!(changed.len(), 16);
}
