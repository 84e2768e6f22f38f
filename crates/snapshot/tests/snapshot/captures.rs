use std::{fs, os::unix::ffi::OsStrExt, os::unix::fs::symlink};

use sessiond_model::{DiffStatus, PatchOmitted};
use sessiond_snapshot::Captured;

use crate::fixture::{
    Fixture, chmod, commit, files, full, git, init, names, round_trip, session, write,
};

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
fn in_repositories_with_unusual_indexes() {
    let all = ["a.txt", "new/deep/file.txt", "src/b.txt"];
    for setup in [
        &["update-index", "--split-index"][..],
        &["update-index", "--assume-unchanged", "a.txt"],
        &["update-index", "--skip-worktree", "src/b.txt"],
        &["update-index", "--index-version", "4"],
        &["update-index", "--untracked-cache"],
        &["rm", "-q", "--cached", "a.txt"],
    ] {
        let f = Fixture::git();
        git(&f.dir, setup);
        assert_eq!(round_trip(&f, edit), all, "{setup:?}");
    }
    let f = Fixture::plain();
    git(&f.dir, &["init", "-q", "--object-format=sha256"]);
    f.write("a.txt", "one\n");
    f.write("src/b.txt", "b\n");
    commit(&f.dir);
    assert_eq!(round_trip(&f, edit), all);
}

#[test]
fn a_subdirectory_stands_for_its_repository() {
    let f = Fixture::git();
    let w = f.snapshots.worktree(&f.at("src")).unwrap();
    assert_eq!(w.directory(), f.dir);
}

#[test]
fn an_ignored_directory_stands_for_itself() {
    let f = Fixture::git();
    f.write(".gitignore", "/scratch\n");
    f.write(".git/info/exclude", "private/\n");
    for (name, ignored) in [("scratch/a", true), ("private", true), ("open", false)] {
        fs::create_dir_all(f.at(name)).unwrap();
        let w = f.snapshots.worktree(&f.at(name)).unwrap();
        let expected = if ignored { f.at(name) } else { f.dir.clone() };
        assert_eq!(w.directory(), expected);
        let before = full(w.capture(&session("a"), &[]));
        f.write(format!("{name}/new"), "1\n");
        let after = full(w.capture(&session("a"), &[]));
        assert_eq!(w.changes(&before, &after).unwrap().len(), 1, "{name}");
    }
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

#[test]
fn ignored_files_stay_out_until_somebody_reports_them() {
    let f = Fixture::git();
    f.write(".gitignore", ".env\nbuild/\n");
    f.write(".env", "KEY=1\n");
    f.write("build/out", "1\n");
    let (s, w) = (session("a"), f.worktree());
    let zero = full(w.capture(&s, &[]));
    assert_eq!(w.captured(&zero, &f.at(".env")).unwrap(), Captured::Unknown);
    f.write(".env", "KEY=2\n");
    f.write("build/out", "2\n");
    let first = full(w.capture(&s, &[f.at(".env"), f.at("build/new")]));
    // What it was before nobody knows.
    assert_eq!(w.changes(&zero, &first).unwrap(), []);
    f.write(".env", "KEY=3\n");
    f.write("build/new", "new\n");
    let second = full(w.capture(&s, &[]));
    let changes = w.changes(&first, &second).unwrap();
    assert_eq!(names(&f, &changes), [".env", "build/new"]);
    assert_eq!(changes[1].before, None);
}

#[test]
fn a_file_that_is_no_longer_ignored_is_not_new() {
    let f = Fixture::git();
    f.write(".gitignore", "*.key\nsecrets/\n");
    f.write("my.key", "1\n");
    f.write("secrets/a", "1\n");
    let (s, w) = (session("a"), f.worktree());
    let before = full(w.capture(&s, &[]));
    f.write(".gitignore", "");
    f.write("secrets/b", "1\n");
    f.write("new", "1\n");
    let after = full(w.capture(&s, &[]));
    let changes = w.changes(&before, &after).unwrap();
    assert_eq!(names(&f, &changes), [".gitignore", "new"]);
}

#[test]
fn a_directory_of_ignored_files_can_get_new_ones() {
    let f = Fixture::git();
    f.write(".gitignore", "*.log\n");
    f.write("logs/deep/a.log", "1\n");
    let changed = round_trip(&f, |f| f.write("logs/deep/readme", "1\n"));
    assert_eq!(changed, ["logs/deep/readme"]);
}

#[test]
fn an_edit_that_leaves_size_and_time_is_seen() {
    let f = Fixture::plain();
    let (s, w) = (session("a"), f.worktree());
    f.write("a", "0000");
    let time = fs::metadata(f.at("a")).unwrap().modified().unwrap();
    let mut last = full(w.capture(&s, &[]));
    for i in 1..40 {
        f.write("a", format!("{i:04}"));
        let file = fs::File::options().write(true).open(f.at("a")).unwrap();
        file.set_modified(time).unwrap();
        drop(file);
        let next = full(w.capture(&s, &[]));
        assert_eq!(w.changes(&last, &next).unwrap().len(), 1, "edit {i}");
        last = next;
    }
}

#[test]
fn the_first_capture_of_a_repository_copies_no_content() {
    let f = Fixture::git();
    let w = f.worktree();
    full(w.capture(&session("a"), &[]));
    let store = fs::read_dir(f.root().join("projects"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let list = [
        "cat-file",
        "--batch-check=%(objecttype)",
        "--batch-all-objects",
    ];
    let kinds = git(&store, &list);
    assert!(kinds.contains("tree") && !kinds.contains("blob"), "{kinds}");
}

#[test]
fn changes_are_described() {
    let f = Fixture::git();
    f.write("bin", [0, 1]);
    f.write("odd\n\u{fc}", "1\n");
    f.write("crlf", "a\r\nb\r\n");
    chmod(&f.at("src/b.txt"), 0o644);
    let (s, w) = (session("a"), f.worktree());
    let before = full(w.capture(&s, &[]));
    f.write("a.txt", "one\n2\nthree\nfour");
    f.write("bin", [0, 2]);
    f.write("big", "x\n".repeat(200_000));
    f.write("huge", "y".repeat(7 << 20));
    fs::remove_file(f.at("odd\n\u{fc}")).unwrap();
    f.write("crlf", "a\r\nB\r\n");
    chmod(&f.at("src/b.txt"), 0o755);
    f.write(std::ffi::OsStr::from_bytes(b"\xff"), "1\n");
    let after = full(w.capture(&s, &[]));
    let described: Vec<_> = w
        .changes(&before, &after)
        .unwrap()
        .iter()
        .map(|change| w.describe(change))
        .collect();
    let of = |name: &str| {
        let file = f.at(name).to_str().unwrap().to_owned();
        described.iter().find(|d| d.diff.file == file).unwrap()
    };
    assert!(described.iter().all(|d| d.captured));
    let a = of("a.txt");
    assert_eq!((a.diff.additions, a.diff.deletions), (2, 1));
    assert_eq!(
        a.diff.patch.as_deref().unwrap(),
        "--- a/a.txt\n+++ b/a.txt\n@@ -1,3 +1,4 @@\n one\n-two\n+2\n three\n+four\n\\ No newline at end of file\n"
    );
    assert_eq!(of("bin").omitted, Some(PatchOmitted::Binary));
    assert_eq!(of("big").omitted, Some(PatchOmitted::TooLarge));
    assert_eq!(of("big").diff.additions, 200_000);
    assert_eq!(of("huge").omitted, Some(PatchOmitted::TooLarge));
    let odd = of("odd\n\u{fc}");
    assert_eq!(odd.diff.status, DiffStatus::Deleted);
    let patch = odd.diff.patch.as_deref().unwrap();
    assert!(
        patch.starts_with("--- \"a/odd\\n\\303\\274\"\n+++ /dev/null\n"),
        "{patch}"
    );
    assert!(
        of("crlf")
            .diff
            .patch
            .as_deref()
            .unwrap()
            .contains("-b\r\n+B\r\n")
    );
    assert!(
        of("src/b.txt")
            .diff
            .patch
            .as_deref()
            .unwrap()
            .contains("new mode 100755")
    );
    let raw: Vec<_> = described
        .iter()
        .filter_map(|d| d.raw_path.clone())
        .collect();
    assert_eq!(raw.len(), 1);
    assert!(raw[0].ends_with("ff"));
}

#[test]
fn two_sessions_capture_the_same_worktree_at_once() {
    let f = Fixture::git();
    let w = f.worktree();
    std::thread::scope(|scope| {
        for name in ["a", "b"] {
            let (f, w) = (&f, w.clone());
            scope.spawn(move || {
                let s = session(name);
                let mut last = full(w.capture(&s, &[]));
                for i in 0..12 {
                    f.write(name, format!("{i}\n"));
                    let next = full(w.capture(&s, &[]));
                    let changes = w.changes(&last, &next).unwrap();
                    assert!(names(f, &changes).contains(&name.to_owned()));
                    last = next;
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..12 {
                f.snapshots.collect().unwrap();
            }
        });
    });
}

#[test]
fn the_user_finds_his_repository_as_it_was() {
    let f = Fixture::git();
    f.write("staged", "s\n");
    git(&f.dir, &["add", "staged"]);
    f.write("a.txt", "stashed\n");
    git(&f.dir, &["stash", "-q"]);
    f.write("a.txt", "edited\n");
    let (s, w) = (session("a"), f.worktree());
    let times = |f: &Fixture| {
        let all = files(&f.dir);
        let time = |path: &std::path::Path| fs::symlink_metadata(path).unwrap().modified().unwrap();
        all.into_keys()
            .map(|path| (time(&path), path))
            .collect::<Vec<_>>()
    };
    let before = (files(&f.dir), times(&f));
    for _ in 0..2 {
        full(w.capture(&s, &[]));
        w.keep(&s, &f.at("a.txt")).unwrap();
        f.snapshots.collect().unwrap();
    }
    assert_eq!((files(&f.dir), times(&f)), before);
}
