//! Repositories that try to run something or to change bytes.

use std::{fs, process::Command};

use crate::fixture::{Fixture, chmod, git, round_trip};

#[test]
fn attributes_filters_and_hooks_do_nothing() {
    let f = Fixture::git();
    let trap = f.temp.path().join("trap");
    let script = f.temp.path().join("evil.sh");
    let text = format!("#!/bin/sh\ntouch '{}'\ncat\n", trap.display());
    fs::write(&script, text).unwrap();
    chmod(&script, 0o755);
    let evil = script.to_str().unwrap();
    for (key, value) in [
        ("filter.evil.clean", evil),
        ("filter.evil.smudge", evil),
        ("filter.evil.process", evil),
        ("filter.evil.required", "true"),
        ("diff.evil.textconv", evil),
        ("diff.evil.command", evil),
        ("core.fsmonitor", evil),
        ("core.autocrlf", "true"),
        ("core.safecrlf", "true"),
        ("core.sshCommand", evil),
        ("core.pager", evil),
        ("alias.ls-files", evil),
        ("core.worktree", "/"),
    ] {
        git(&f.dir, &["config", key, value]);
    }
    for hook in ["post-index-change", "pre-commit", "reference-transaction"] {
        fs::create_dir_all(f.at(".git/hooks")).unwrap();
        fs::copy(&script, f.at(".git/hooks").join(hook)).unwrap();
    }
    let attributes = "* text=auto eol=crlf filter=evil diff=evil merge=evil ident\n*.u working-tree-encoding=UTF-16\n";
    f.write(".gitattributes", attributes);
    f.write(".git/info/attributes", attributes);
    f.write("crlf", "a\r\nb\r\n");
    f.write("mixed", "a\r\nb\n$Id$\n");
    f.write("x.u", [0xff, 0xfe, 0x61, 0x00]);
    let changed = round_trip(&f, |f| {
        f.write("crlf", "a\nb\n");
        f.write("mixed", "a\nb\r\n$Id: x$\n");
        f.write("a.txt", "one\r\ntwo\r\nthree\r\n");
        f.write("x.u", [0xff, 0xfe, 0x62, 0x00, 0x0a]);
    });
    assert_eq!(changed, ["a.txt", "crlf", "mixed", "x.u"]);
    assert!(!trap.exists(), "something of the repository was run");
}

#[test]
fn bytes_that_the_repository_stores_otherwise_are_exact() {
    let f = Fixture::git();
    for (key, value) in [
        ("core.autocrlf", "true"),
        ("filter.rot.clean", "tr a-z n-za-m"),
        ("filter.rot.smudge", "tr a-z n-za-m"),
    ] {
        git(&f.dir, &["config", key, value]);
    }
    // First by size alone, then by the attributes.
    for attributes in ["# none\n", "*.rot filter=rot\n"] {
        f.write(".gitattributes", attributes);
        f.write("crlf", format!("a\r\nb\r\n{attributes}"));
        f.write("x.rot", format!("hello {attributes}"));
        crate::fixture::commit(&f.dir);
        assert!(!git(&f.dir, &["show", "HEAD:crlf"]).contains('\r'));
        // The index must be older than a second for its word to count.
        let index = fs::File::options()
            .write(true)
            .open(f.at(".git/index"))
            .unwrap();
        let later = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1 << 32);
        index
            .set_modified(later - std::time::Duration::from_secs(1 << 20))
            .unwrap();
        let changed = round_trip(&f, |f| {
            f.write("crlf", "other\r\n");
            f.write("x.rot", "other\n");
        });
        assert_eq!(changed, ["crlf", "x.rot"]);
        f.snapshots.forget(&crate::fixture::session("a")).unwrap();
    }
}

#[test]
fn the_environment_of_sessiond_does_nothing() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "captures::in_a_repository",
            "captures::in_a_plain_directory",
        ])
        .env("GIT_DIR", "/nonexistent")
        .env("GIT_WORK_TREE", "/nonexistent")
        .env("GIT_INDEX_FILE", "/nonexistent/index")
        .env("GIT_OBJECT_DIRECTORY", "/nonexistent/objects")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("2 passed"),
        "{said}"
    );
}

#[test]
fn a_git_that_hangs_is_killed_and_blocks_nothing() {
    let mut f = Fixture::git();
    let limits = sessiond_snapshot::Limits {
        deadline: std::time::Duration::from_millis(700),
        ..Default::default()
    };
    f.reopen(limits);
    let (s, w) = (crate::fixture::session("a"), f.worktree());
    // Git opens it and waits for somebody to write.
    let made = Command::new("mkfifo").arg(f.at(".gitignore")).status();
    assert!(made.unwrap().success());
    let capture = w.capture(&s, &[]);
    assert_eq!(capture.tree, None);
    assert!(capture.reason.unwrap().contains("longer than 0.7 s"));
    fs::remove_file(f.at(".gitignore")).unwrap();
    // What a git that was killed while it wrote would leave.
    let store = fs::read_dir(f.root().join("projects"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    for entry in fs::read_dir(store.join("indexes")).unwrap() {
        fs::write(entry.unwrap().path().with_extension("lock"), "").unwrap();
    }
    fs::write(store.join("objects/tmp_obj_x"), "half").unwrap();
    f.reopen(sessiond_snapshot::Limits::default());
    crate::fixture::full(f.worktree().capture(&s, &[]));
    assert!(!store.join("objects/tmp_obj_x").exists());
}
