//! `/file*`, `/find*` and `/vcs*`: the forms; what they find is tested with the crate that looks.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::World;

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(["-c", "user.name=a", "-c", "user.email=a@example.org"])
        .args(args)
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn world() -> World {
    let w = World::new().await;
    let dir = w.dir.path();
    std::fs::create_dir(dir.join("src")).unwrap();
    std::fs::write(dir.join("src/main.rs"), "fn main() {}\n").unwrap();
    std::fs::write(dir.join("bin"), b"\0\x01").unwrap();
    git(dir, &["init", "-q", "-b", "main"]);
    git(dir, &["add", "-A"]);
    git(dir, &["commit", "-q", "-m", "x"]);
    w
}

#[tokio::test]
async fn files_are_listed_and_shown() {
    let w = world().await;
    let listed = w.get("/file?path=src").await.ok();
    let absolute = format!("{}/src/main.rs", w.directory());
    assert_eq!(
        listed,
        json!([{"name": "main.rs", "path": "src/main.rs", "absolute": absolute,
            "type": "file", "ignored": false}])
    );
    let content = async |path: &str| w.get(&format!("/file/content?path={path}")).await.ok();
    assert_eq!(
        content("src/main.rs").await,
        json!({"type": "text", "content": "fn main() {}\n"})
    );
    assert_eq!(
        content("bin").await,
        json!({"type": "binary", "content": "AAE=", "encoding": "base64",
            "mimeType": "application/octet-stream"})
    );
    assert_eq!(
        content("gone").await,
        json!({"type": "text", "content": ""})
    );
}

#[tokio::test]
async fn files_are_found_by_path_and_by_content() {
    let w = world().await;
    assert_eq!(
        w.get("/find/file?query=mn").await.ok(),
        json!(["src/main.rs"])
    );
    assert_eq!(
        w.get("/find/file?query=src&type=directory").await.ok(),
        json!(["src/"])
    );
    let files = w.get("/find/file?query=src&dirs=false&limit=1").await.ok();
    assert_eq!(files, json!(["src/main.rs"]));
    assert_eq!(
        w.get("/find?pattern=ma.n").await.ok(),
        json!([{"path": {"text": "src/main.rs"}, "lines": {"text": "fn main() {}\n"},
            "line_number": 1, "absolute_offset": 0,
            "submatches": [{"match": {"text": "main"}, "start": 3, "end": 7}]}])
    );
    w.get("/find/symbol?query=main").await.refused(501);
}

// Q-cut
#[tokio::test]
async fn a_list_that_was_cut_says_so() {
    let w = world().await;
    let many = "needle\n".repeat(101);
    std::fs::write(w.dir.path().join("many.txt"), &many).unwrap();
    std::fs::write(
        w.dir.path().join("few.txt"),
        &many.replace("needle", "pin")[4..],
    )
    .unwrap();
    for (path, items, is_cut) in [
        ("/find?pattern=needle", 100, true),
        ("/find?pattern=pin", 100, false),
        ("/find/file?query=txt&limit=1", 1, true),
        ("/find/file?query=txt&limit=2", 2, false),
        ("/api/fs/find?query=txt&limit=1", 1, true),
        ("/file?path=", 3, false),
    ] {
        let reply = w.get(path).await;
        let says = reply.headers.get("x-sessiond-cut").map(|v| v.as_bytes());
        assert_eq!(says, is_cut.then_some(b"true".as_slice()), "{path}");
        let body = reply.ok();
        let list = body.as_array().or(body["data"].as_array()).unwrap();
        assert!(list.len() >= items, "{path}: {}", list.len());
    }
    // New files of a repository.
    for n in 0..5_001 {
        std::fs::write(w.dir.path().join(format!("new{n}")), "").unwrap();
    }
    for path in ["/vcs/status", "/vcs/diff?mode=git", "/file/status"] {
        let reply = w.get(path).await;
        assert_eq!(reply.headers["x-sessiond-cut"], "true", "{path}");
        assert_eq!(reply.ok().as_array().unwrap().len(), 5_000);
    }
    w.get("/vcs/diff/raw").await.refused(400);
}

#[tokio::test]
async fn changes_are_told_and_patches_applied() {
    let w = world().await;
    let path = w.dir.path().join("src/main.rs");
    assert_eq!(
        w.get("/vcs").await.ok(),
        json!({"branch": "main", "default_branch": "main"})
    );
    assert_eq!(w.get("/vcs/status").await.ok(), json!([]));
    std::fs::write(&path, "fn main() {}\n// end\n").unwrap();
    let entry =
        json!({"file": "src/main.rs", "additions": 1, "deletions": 0, "status": "modified"});
    assert_eq!(w.get("/vcs/status").await.ok(), json!([entry]));
    assert_eq!(
        w.get("/file/status").await.ok(),
        json!([{"path": "src/main.rs", "added": 1, "removed": 0, "status": "modified"}])
    );
    let diff = w.get("/vcs/diff?mode=git&context=3").await.ok();
    let patch = diff[0]["patch"].as_str().unwrap().to_owned();
    assert!(
        patch.starts_with("diff --git a/src/main.rs b/src/main.rs\n"),
        "{patch}"
    );
    assert_eq!(w.get("/vcs/diff?mode=branch").await.ok(), json!([]));
    let raw = w.get("/vcs/diff/raw").await;
    assert_eq!(raw.headers["content-type"], "text/x-diff; charset=utf-8");
    assert!(String::from_utf8(raw.bytes).unwrap().ends_with("+// end\n"));
    git(w.dir.path(), &["checkout", "-q", "."]);
    let body = json!({"patch": patch});
    let applied = w.call("POST", "/vcs/apply", body.clone()).await.ok();
    assert_eq!(applied, json!({"applied": true}));
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "fn main() {}\n// end\n"
    );
    let again = w.call("POST", "/vcs/apply", body).await;
    again.refused(400);
    assert_eq!(again.json()["name"], "VcsApplyError");
    assert_eq!(again.json()["data"]["reason"], "not-clean");
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let w = world().await;
    let cases = [
        ("/file", "Missing key\n  at [\"path\"]"),
        (
            "/file?path=..",
            "\"..\" is outside of the directory\n  at [\"path\"]",
        ),
        (
            "/file?path=none",
            "\"none\" does not exist\n  at [\"path\"]",
        ),
        (
            "/file?path=bin",
            "\"bin\" is not a directory\n  at [\"path\"]",
        ),
        (
            "/file/content?path=src",
            "\"src\" is not a file\n  at [\"path\"]",
        ),
        (
            "/file/content?path=/etc/passwd",
            "\"/etc/passwd\" is outside of the directory\n  at [\"path\"]",
        ),
        ("/find", "Missing key\n  at [\"pattern\"]"),
        ("/find/file", "Missing key\n  at [\"query\"]"),
        (
            "/find/file?query=a&limit=0",
            "Expected a value greater than or equal to 1, got 0\n  at [\"limit\"]",
        ),
        (
            "/find/file?query=a&limit=201",
            "Expected a value less than or equal to 200, got 201\n  at [\"limit\"]",
        ),
        (
            "/find/file?query=a&limit=x",
            "Expected an integer, got \"x\"\n  at [\"limit\"]",
        ),
        (
            "/find/file?query=a&dirs=maybe",
            "Expected \"true\" | \"false\", got \"maybe\"\n  at [\"dirs\"]",
        ),
        (
            "/find/file?query=a&type=x",
            "Expected \"file\" | \"directory\", got \"x\"\n  at [\"type\"]",
        ),
        (
            "/file?path=&directory=/no/such/place",
            "/no/such/place is not a directory\n  at [\"directory\"]",
        ),
        ("/vcs/diff", "Missing key\n  at [\"mode\"]"),
        (
            "/vcs/diff?mode=x",
            "Expected \"git\" | \"branch\", got \"x\"\n  at [\"mode\"]",
        ),
        (
            "/vcs/diff?mode=git&context=-1",
            "Expected a value greater than or equal to 0, got -1\n  at [\"context\"]",
        ),
    ];
    for (path, message) in cases {
        let answer = w.get(path).await;
        answer.refused(400);
        let expected = json!({"name": "BadRequest", "data": {"message": message, "kind": "Query"}});
        assert_eq!(answer.json(), expected, "{path}");
    }
    let pattern = w.get("/find?pattern=al(").await;
    pattern.refused(400);
    let message = pattern.json()["data"]["message"].clone();
    assert!(
        message.as_str().unwrap().ends_with("at [\"pattern\"]"),
        "{message}"
    );
    let patch = w.call("POST", "/vcs/apply", json!({})).await;
    patch.refused(400);
    assert_eq!(
        patch.json()["data"]["message"],
        "Missing key\n  at [\"patch\"]"
    );
    // A place without git, or that is not there, has nothing to tell.
    let bare = tempfile::tempdir().unwrap();
    for dir in [bare.path().to_str().unwrap(), "/no/such/place"] {
        for path in ["/vcs/status?", "/vcs/diff?mode=git&", "/file/status?"] {
            let answer = w.get(&format!("{path}directory={dir}")).await.ok();
            assert_eq!(answer, json!([]), "{path}");
        }
        assert_eq!(
            w.get(&format!("/vcs?directory={dir}")).await.ok(),
            json!({})
        );
        let apply = format!("/vcs/apply?directory={dir}");
        let refused = w.call("POST", &apply, json!({"patch": "x"})).await;
        refused.refused(400);
        assert_eq!(refused.json()["data"]["reason"], Value::from("non-git"));
    }
}

// Q-file-read
#[tokio::test]
async fn the_second_family_sees_the_same_files() {
    let w = world().await;
    let at = |data: Value| {
        json!({"location": {"directory": w.directory(),
            "project": {"id": git(w.dir.path(), &["rev-parse", "HEAD"]).trim(),
                "directory": w.directory()}}, "data": data})
    };
    let found = w.get("/api/fs/find?query=mn").await.ok();
    assert_eq!(found, at(json!([{"path": "src/main.rs", "type": "file"}])));
    let listed = w.get("/api/fs/list?path=").await.ok();
    let entries = json!([{"path": ".git/", "type": "directory"}, {"path": "src/", "type": "directory"},
        {"path": "bin", "type": "file"}]);
    assert_eq!(listed, at(entries));
    let elsewhere = w.dir.path().join("src");
    let named = format!("/api/fs/list?location[directory]={}", elsewhere.display());
    let listed = w.get(&named).await.ok();
    assert_eq!(listed["data"], json!([{"path": "main.rs", "type": "file"}]));
    std::fs::write(w.dir.path().join("page.html"), "<script>").unwrap();
    for (path, mime) in [
        ("src/main.rs", "text/x-rust"),
        ("page.html", "text/plain; charset=utf-8"),
    ] {
        let read = w.get(&format!("/api/fs/read/{path}")).await;
        assert_eq!(read.status, 200);
        assert_eq!(read.headers["content-type"], mime);
        assert_eq!(
            read.headers["content-security-policy"],
            "sandbox; default-src 'none'"
        );
        assert_eq!(read.bytes, std::fs::read(w.dir.path().join(path)).unwrap());
    }
    for path in [
        "/api/fs/read/%2e%2e/x",
        "/api/fs/read/none",
        "/api/fs/list?path=..",
        "/api/fs/find",
    ] {
        let refused = w.get(path).await;
        refused.refused(400);
        assert_eq!(refused.json()["_tag"], "InvalidRequestError", "{path}");
    }
}
