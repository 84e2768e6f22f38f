use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt, symlink};

use sessiond_workspace::{
    Content, Kinds, MAX_CONTENT, Root, WorkspaceError, content, find, list, search,
};

use crate::support::Place;

fn names(entries: &[sessiond_workspace::Entry]) -> Vec<(&str, bool)> {
    entries
        .iter()
        .map(|e| (e.path.as_str(), e.ignored))
        .collect()
}

#[tokio::test]
async fn a_list_has_directories_first_and_says_what_is_ignored() {
    let p = Place::new();
    p.write(".gitignore", "build/\n*.log\n!keep.log\n");
    p.write("README.md", "");
    p.write("a.log", "");
    p.write("keep.log", "");
    p.write("build/deep/o", "");
    p.write("src/.gitignore", "gen\n");
    p.write("src/gen", "");
    p.write("src/main.rs", "");
    symlink("README.md", p.dir().join("link")).unwrap();
    let top = list(&p.root(), "").await.unwrap();
    assert_eq!(
        names(&top),
        [
            ("build/", true),
            ("src/", false),
            (".gitignore", false),
            ("a.log", true),
            ("keep.log", false),
            ("README.md", false)
        ]
    );
    assert_eq!(top[0].absolute, p.root().path().join("build"));
    let src = list(&p.root(), "src/").await.unwrap();
    assert_eq!(
        names(&src),
        [
            ("src/.gitignore", false),
            ("src/gen", true),
            ("src/main.rs", false)
        ]
    );
    let build = list(&p.root(), "build/deep").await.unwrap();
    assert_eq!(names(&build), [("build/deep/o", true)]);
}

#[tokio::test]
async fn nothing_leads_out() {
    let p = Place::new();
    p.write("in.txt", "inside");
    symlink(p.beside(), p.dir().join("out")).unwrap();
    symlink("in.txt", p.dir().join("within")).unwrap();
    let beside = p.beside();
    let beside = beside.to_str().unwrap();
    for path in [
        "..",
        "../beside/secret.txt",
        "out/secret.txt",
        "out",
        "out/nothing",
        "../nothing",
        "x/../../nothing",
        "/etc/passwd",
        "/nothing/at/all",
        beside,
    ] {
        let seen = content(&p.root(), path).await;
        assert!(
            matches!(seen, Err(WorkspaceError::Outside(_))),
            "{path}: {seen:?}"
        );
        let seen = list(&p.root(), path).await;
        assert!(
            matches!(seen, Err(WorkspaceError::Outside(_))),
            "{path}: {seen:?}"
        );
    }
    let inside = p.root().path().join("in.txt");
    for path in ["in.txt", "./in.txt", "within", inside.to_str().unwrap()] {
        let seen = content(&p.root(), path).await.unwrap();
        assert_eq!(seen, Content::Text("inside".into()), "{path}");
    }
    let all = find(&p.root(), "secret", Kinds::All, 10).await.unwrap();
    assert!(all.is_empty(), "{all:?}");
    let hits = search(&p.root(), "secret").await.unwrap();
    assert!(hits.is_empty(), "{hits:?}");
}

#[tokio::test]
async fn content_is_text_or_bytes() {
    let p = Place::new();
    p.write("a.txt", "\n  ü \n\n");
    p.write("nul.txt", b"a\0b");
    p.write("latin.txt", b"a\xe4b\n");
    p.write("pic.png", "no picture");
    p.write("pic.svg", "<svg/>");
    let text = |t: &str| Content::Text(t.into());
    let root = p.root();
    assert_eq!(
        content(&root, "a.txt").await.unwrap(),
        text("\n  ü \n\n"),
        "as it is"
    );
    assert_eq!(content(&root, "pic.svg").await.unwrap(), text("<svg/>"));
    for (path, mime) in [
        ("nul.txt", "text/plain"),
        ("latin.txt", "text/plain"),
        ("pic.png", "image/png"),
    ] {
        let Content::Binary(file) = content(&root, path).await.unwrap() else {
            panic!("{path} is shown as text");
        };
        assert_eq!(file.mime, mime);
        assert_eq!(file.bytes, std::fs::read(p.dir().join(path)).unwrap());
    }
}

#[tokio::test]
async fn what_is_no_file_is_refused_with_its_reason() {
    let p = Place::new();
    p.write("dir/x", "");
    p.write("closed", "x");
    let large = std::fs::File::create(p.dir().join("large")).unwrap();
    large.set_len(MAX_CONTENT + 1).unwrap();
    std::process::Command::new("mkfifo")
        .arg(p.dir().join("pipe"))
        .status()
        .unwrap();
    let root = p.root();
    let refused = async |path: &str| content(&root, path).await.unwrap_err();
    assert!(matches!(refused("none").await, WorkspaceError::Missing(_)));
    assert!(matches!(
        refused("dir/x/y").await,
        WorkspaceError::Missing(_)
    ));
    assert!(matches!(refused("dir").await, WorkspaceError::NotAFile(_)));
    assert!(matches!(refused("pipe").await, WorkspaceError::NotAFile(_)));
    assert!(matches!(refused("a\0b").await, WorkspaceError::Missing(_)));
    let WorkspaceError::TooLarge { size, limit, .. } = refused("large").await else {
        panic!("a large file is shown");
    };
    assert_eq!((size, limit), (MAX_CONTENT + 1, MAX_CONTENT));
    let file = list(&root, "closed").await;
    assert!(
        matches!(file, Err(WorkspaceError::NotADirectory(_))),
        "{file:?}"
    );
    let gone = Root::open(p.dir().join("none"));
    assert!(matches!(gone, Err(WorkspaceError::NoRoot(_))), "{gone:?}");
    let file = Root::open(p.dir().join("closed"));
    assert!(matches!(file, Err(WorkspaceError::NoRoot(_))), "{file:?}");
}

#[tokio::test]
async fn names_need_not_be_utf8_and_closed_directories_hide_the_rest_of_nothing() {
    let p = Place::new();
    p.write("open.txt", "alpha\n");
    p.write("shut/in.txt", "alpha\n");
    let odd = std::ffi::OsStr::from_bytes(b"odd\xff.txt");
    std::fs::write(p.dir().join(odd), "alpha\n").unwrap();
    let mode =
        |m| std::fs::set_permissions(p.dir().join("shut"), PermissionsExt::from_mode(m)).unwrap();
    mode(0o000);
    let listed = list(&p.root(), "").await.unwrap();
    let found = find(&p.root(), "txt", Kinds::Files, 10).await.unwrap();
    let hits = search(&p.root(), "alpha").await.unwrap();
    mode(0o755);
    assert_eq!(
        names(&listed),
        [
            ("shut/", false),
            ("odd\u{fffd}.txt", false),
            ("open.txt", false)
        ]
    );
    for paths in [
        found.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(),
        hits.iter().map(|h| h.path.as_str()).collect(),
    ] {
        assert!(
            paths.contains(&"open.txt") && paths.contains(&"odd\u{fffd}.txt"),
            "{paths:?}"
        );
    }
}

#[tokio::test]
async fn paths_are_found_by_their_letters_best_first() {
    let p = Place::new();
    p.write(".gitignore", "target\n");
    p.write("target/main.rs", "");
    p.write("src/main.rs", "");
    p.write("src/deep/mountain.rs", "");
    p.write(".git/main", "");
    p.write("other.txt", "");
    let root = p.root();
    let paths = async |query: &str, kinds, limit| -> Vec<String> {
        let found = find(&root, query, kinds, limit).await.unwrap();
        found.into_iter().map(|f| f.path).collect()
    };
    assert_eq!(
        paths("main", Kinds::All, 10).await,
        ["src/main.rs", "src/deep/mountain.rs"]
    );
    assert_eq!(paths("MAIN", Kinds::Files, 1).await, ["src/main.rs"]);
    assert_eq!(paths("deep", Kinds::Directories, 10).await, ["src/deep/"]);
    assert_eq!(paths("zzz", Kinds::All, 10).await, [""; 0]);
    assert_eq!(
        paths("", Kinds::All, 10).await,
        [
            "src/",
            "other.txt",
            "src/deep/",
            ".gitignore",
            "src/main.rs",
            "src/deep/mountain.rs"
        ]
    );
    assert_eq!(
        paths("", Kinds::Files, 2).await,
        ["other.txt", ".gitignore"]
    );
}

#[tokio::test]
async fn lines_are_found_by_a_regular_expression() {
    let p = Place::new();
    p.write("a/b.txt", "one\nfoo1 Foo2 foo3\n");
    p.write(".hidden", "foo9\n");
    p.write("ignored.txt", "foo\n");
    p.write(".gitignore", "ignored.txt\n");
    p.write("binary", b"foo1\n\0");
    p.write("utf8.txt", "ü foo4\n");
    let root = p.root();
    let hits = search(&root, r"foo(\d)").await.unwrap();
    let paths: Vec<_> = hits.iter().map(|h| h.path.as_str()).collect();
    assert_eq!(paths, [".hidden", "a/b.txt", "utf8.txt"]);
    let hit = &hits[1];
    assert_eq!(
        (hit.line.as_str(), hit.line_number, hit.offset),
        ("foo1 Foo2 foo3\n", 2, 4)
    );
    let found: Vec<_> = hit
        .submatches
        .iter()
        .map(|m| (m.text.as_str(), m.start, m.end))
        .collect();
    assert_eq!(found, [("foo1", 0, 4), ("foo3", 10, 14)]);
    assert_eq!(hits[2].submatches[0].start, 3, "in bytes");
    let wrong = search(&root, "al(").await;
    assert!(
        matches!(wrong, Err(WorkspaceError::Pattern(_))),
        "{wrong:?}"
    );
    let wrong = search(&root, &"(a{1000}){1000}".repeat(3)).await;
    assert!(
        matches!(wrong, Err(WorkspaceError::Pattern(_))),
        "{wrong:?}"
    );
    p.write("many.txt", "foo1\n".repeat(1000));
    assert_eq!(
        search(&root, "foo1").await.unwrap().len(),
        100,
        "no more than that"
    );
}
