use sessiond_workspace::{
    Branches, FileChange, FileStatus, Since, WorkspaceError, apply, branches, changes, raw_diff,
};

use crate::support::{Place, git};

fn short(changes: &[FileChange]) -> Vec<(&str, FileStatus, u64, u64)> {
    changes
        .iter()
        .map(|c| (c.file.as_str(), c.status, c.additions, c.deletions))
        .collect()
}

fn on(current: &str, default: Option<&str>) -> Branches {
    Branches {
        current: Some(current.into()),
        default: default.map(Into::into),
    }
}

#[tokio::test]
async fn all_that_differs_from_the_last_commit_new_files_too() {
    let p = Place::repository(&[
        ("README.md", "a\nb\n"),
        ("gone", "x\n"),
        ("ren", "1\n2\n"),
        ("run.sh", ""),
    ]);
    p.write(".gitignore", "ignored\n");
    p.commit();
    p.write("README.md", "a\nb\nc\n");
    p.write("sub dir/new", "n\n");
    p.write("ignored", "n\n");
    p.write("bin", b"\0\x01");
    p.git(&["mv", "ren", "renamed"]);
    std::fs::remove_file(p.dir().join("gone")).unwrap();
    git(&p.dir(), &["init", "-q", "nested"]);
    p.write("nested/file", "x");
    let before = (
        p.git(&["status", "--porcelain"]),
        std::fs::read(p.dir().join(".git/index")).unwrap(),
    );
    let seen = changes(&p.root(), Since::Head, None).await.unwrap();
    use FileStatus::{Added, Deleted, Modified};
    assert_eq!(
        short(&seen),
        [
            ("bin", Added, 0, 0),
            ("gone", Deleted, 0, 1),
            ("README.md", Modified, 1, 0),
            ("ren", Deleted, 0, 2),
            ("renamed", Added, 2, 0),
            ("sub dir/new", Added, 1, 0)
        ]
    );
    let patch = seen[2].patch.as_deref().unwrap();
    assert!(
        patch.starts_with("diff --git a/README.md b/README.md\n")
            && patch.ends_with(" a\n b\n+c\n"),
        "{patch}"
    );
    let bare = changes(&p.root(), Since::Head, Some(0)).await.unwrap();
    assert!(bare[2].patch.as_deref().unwrap().contains("@@ -2,0 +3 @@"));
    let raw = String::from_utf8(raw_diff(&p.root()).await.unwrap()).unwrap();
    assert_eq!(raw.matches("diff --git").count(), 6, "{raw}");
    let after = (
        p.git(&["status", "--porcelain"]),
        std::fs::read(p.dir().join(".git/index")).unwrap(),
    );
    assert!(before == after, "the user's index is as it was");
    let sub = sessiond_workspace::Root::open(p.dir().join("sub dir")).unwrap();
    assert_eq!(
        short(&changes(&sub, Since::Head, None).await.unwrap()),
        [("sub dir/new", Added, 1, 0)]
    );
}

#[tokio::test]
async fn a_difference_is_told_whole_or_refused() {
    let p = Place::repository(&[("a", "")]);
    // Each below the size from which git calls a file binary.
    for n in 0..12 {
        p.write(
            &format!("large{n}.txt"),
            "a line of the file\n".repeat(180_000),
        );
    }
    let refused = raw_diff(&p.root()).await;
    assert!(
        matches!(refused, Err(WorkspaceError::LargeDiff(_))),
        "{:?}",
        refused.map(|d| d.len())
    );
    let seen = changes(&p.root(), Since::Head, Some(0)).await.unwrap();
    assert_eq!(seen.len(), 12);
    assert!(
        seen.iter()
            .all(|c| c.additions == 180_000 && c.patch.is_none())
    );
}

#[tokio::test]
async fn too_many_new_files_are_no_whole() {
    let p = Place::repository(&[("a", "")]);
    for n in 0..5_001 {
        p.write(&format!("new/{n:04}"), "x\n");
    }
    let seen = changes(&p.root(), Since::Head, Some(0)).await.unwrap();
    assert_eq!((seen.len(), seen.is_cut), (5_000, true));
    let refused = raw_diff(&p.root()).await;
    assert!(matches!(refused, Err(WorkspaceError::ManyNew(5_000))));
    std::fs::remove_file(p.dir().join("new/0000")).unwrap();
    let seen = changes(&p.root(), Since::Head, Some(0)).await.unwrap();
    assert_eq!((seen.len(), seen.is_cut), (5_000, false));
    assert!(raw_diff(&p.root()).await.is_ok());
}

#[tokio::test]
async fn a_branch_is_compared_with_where_it_began() {
    let p = Place::repository(&[("a", "1\n")]);
    assert_eq!(branches(&p.root()).await.unwrap(), on("main", Some("main")));
    assert_eq!(
        changes(&p.root(), Since::Branch, None).await.unwrap().items,
        []
    );
    p.git(&["checkout", "-q", "-b", "feature"]);
    p.write("b", "2\n");
    p.commit();
    p.git(&["checkout", "-q", "main"]);
    p.write("c", "3\n");
    p.commit();
    p.git(&["checkout", "-q", "feature"]);
    p.write("d", "4\n");
    assert_eq!(
        branches(&p.root()).await.unwrap(),
        on("feature", Some("main"))
    );
    let seen = changes(&p.root(), Since::Branch, None).await.unwrap();
    use FileStatus::Added;
    assert_eq!(short(&seen), [("b", Added, 1, 0), ("d", Added, 1, 0)]);
    let seen = changes(&p.root(), Since::Head, None).await.unwrap();
    assert_eq!(short(&seen), [("d", Added, 1, 0)]);
    p.git(&["checkout", "-q", "--detach"]);
    assert_eq!(branches(&p.root()).await.unwrap().current, None);
}

#[tokio::test]
async fn without_commits_all_is_new_and_without_git_there_is_nothing() {
    let p = Place::new();
    p.write("a.txt", "alpha\n");
    assert_eq!(branches(&p.root()).await.unwrap(), Branches::default());
    assert_eq!(
        changes(&p.root(), Since::Head, None).await.unwrap().items,
        []
    );
    assert_eq!(raw_diff(&p.root()).await.unwrap(), b"");
    let refused = apply(&p.root(), String::new()).await;
    assert!(
        matches!(refused, Err(WorkspaceError::NoRepository)),
        "{refused:?}"
    );
    p.git(&["init", "-q", "-b", "trunk"]);
    assert_eq!(branches(&p.root()).await.unwrap(), on("trunk", None));
    let seen = changes(&p.root(), Since::Head, None).await.unwrap();
    assert_eq!(short(&seen), [("a.txt", FileStatus::Added, 1, 0)]);
    assert_eq!(
        changes(&p.root(), Since::Branch, None).await.unwrap().items,
        []
    );
}

#[tokio::test]
async fn linked_worktrees_and_submodules_are_repositories() {
    let p = Place::repository(&[("a", "1\n")]);
    let other = p.beside().join("linked");
    p.git(&[
        "worktree",
        "add",
        "-q",
        "-b",
        "side",
        other.to_str().unwrap(),
    ]);
    std::fs::write(other.join("n"), "n\n").unwrap();
    let root = sessiond_workspace::Root::open(&other).unwrap();
    assert_eq!(branches(&root).await.unwrap(), on("side", Some("main")));
    let seen = changes(&root, Since::Head, None).await.unwrap();
    assert_eq!(short(&seen), [("n", FileStatus::Added, 1, 0)]);
    assert_eq!(
        changes(&p.root(), Since::Head, None).await.unwrap().items,
        []
    );
    let module = Place::repository(&[("m", "1\n")]);
    let from = module.dir();
    p.git(&[
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "--quiet",
        "add",
        from.to_str().unwrap(),
        "mod",
    ]);
    p.commit();
    p.write("mod/m", "2\n");
    let seen = changes(&p.root(), Since::Head, None).await.unwrap();
    assert_eq!(
        seen.iter().map(|c| c.file.as_str()).collect::<Vec<_>>(),
        ["mod"]
    );
}

#[tokio::test]
async fn a_patch_is_applied_whole_or_not_at_all() {
    let p = Place::repository(&[("a", "1\n2\n3\n"), ("b", "1\n")]);
    p.write("a", "1\n2\nthree\n");
    p.write("b", "2\n");
    let patch = p.git(&["diff"]);
    p.git(&["checkout", "-q", "."]);
    p.write("b", "something else\n");
    let refused = apply(&p.root(), patch.clone()).await;
    assert!(
        matches!(refused, Err(WorkspaceError::NotClean(_))),
        "{refused:?}"
    );
    assert_eq!(
        std::fs::read_to_string(p.dir().join("a")).unwrap(),
        "1\n2\n3\n"
    );
    p.git(&["checkout", "-q", "."]);
    apply(&p.root(), patch).await.unwrap();
    assert_eq!(
        std::fs::read_to_string(p.dir().join("a")).unwrap(),
        "1\n2\nthree\n"
    );
    assert_eq!(p.git(&["diff", "--cached"]), "", "the index stays");
    let out = "diff --git a/../beside/x b/../beside/x\nnew file mode 100644\n--- /dev/null\n+++ b/../beside/x\n@@ -0,0 +1 @@\n+x\n";
    let refused = apply(&p.root(), out.into()).await;
    assert!(
        matches!(refused, Err(WorkspaceError::NotClean(_))),
        "{refused:?}"
    );
    assert!(!p.beside().join("x").exists());
}
