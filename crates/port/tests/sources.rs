//! Reading databases and export files.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use rusqlite::{Connection, params};
use serde_json::{Value, json};
use sessiond_model::{MessageDoc, PartBody, PartDoc};
use sessiond_port::{Database, ExportFile, SourceError, message, page, session};

/// Names, contents and times of all files of a directory.
fn state(dir: &Path) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let files = fs::read_dir(dir).unwrap().map(Result::unwrap);
    files
        .map(|f| {
            let modified = f.metadata().unwrap().modified().unwrap();
            let name = f.file_name().into_string().unwrap();
            (name, (fs::read(f.path()).unwrap(), modified))
        })
        .collect()
}

/// A database as an older version had it, with what newer ones may add.
fn database(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.pragma_update(None, "journal_mode", "wal").unwrap();
    db.execute_batch(
        "CREATE TABLE session (id TEXT PRIMARY KEY, project_id TEXT, parent_id TEXT, slug TEXT, directory TEXT,
            title TEXT, version TEXT, time_created INTEGER, time_updated INTEGER, from_the_future TEXT);
         CREATE TABLE message (id TEXT PRIMARY KEY, session_id TEXT, time_created INTEGER, data TEXT);
         CREATE TABLE part (id TEXT PRIMARY KEY, message_id TEXT, session_id TEXT, data TEXT);
         INSERT INTO session VALUES ('ses_a', 'p', 'ses_b', 's', '/p', 'Child', '1.2.0', 1, 2, 'x');
         INSERT INTO session VALUES ('ses_b', 'p', NULL, 's', '/p', 'Parent', '1.2.0', 5, 6, 'x');",
    )
    .unwrap();
    let user = json!({"role": "user", "time": {"created": 3}});
    let answer =
        json!({"role": "assistant", "time": {"created": 4.0}, "modelID": "m", "providerID": "p"});
    for (id, at, data) in [
        ("msg_2", 4, answer.to_string()),
        ("msg_1", 3, user.to_string()),
        ("msg_3", 5, "{broken".to_owned()),
    ] {
        let sql = "INSERT INTO message VALUES (?1, 'ses_b', ?2, ?3)";
        db.execute(sql, params![id, at, data]).unwrap();
    }
    for (id, data) in [
        ("prt_2", r#"{"type":"hologram","beams":[1,2]}"#),
        ("prt_1", r#"{"type":"text","text":"hello","extra":1}"#),
        ("prt_3", "no json at all"),
    ] {
        let sql = "INSERT INTO part VALUES (?1, 'msg_1', 'ses_b', ?2)";
        db.execute(sql, params![id, data]).unwrap();
    }
    db
}

type Read = Vec<Result<Value, sessiond_port::Unreadable>>;

fn all(db: &Database, id: &str) -> Read {
    let outline = db.outline(id).unwrap();
    let mut read = Vec::new();
    db.messages(id, &outline, 0, &mut |m| {
        read.push(m);
        true
    });
    read
}

#[test]
fn a_database_in_use_is_read_and_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("opencode.db");
    let writer = database(&path);
    // A transaction that is not over, as of a server in the middle of something.
    writer
        .execute_batch("BEGIN IMMEDIATE; UPDATE session SET title = 'Not yet'")
        .unwrap();
    let before = state(dir.path());
    assert!(
        before.contains_key("opencode.db-wal"),
        "what was written is in the log"
    );
    let db = Database::open(&path).unwrap();
    let (listed, bad) = db.sessions().unwrap();
    let listed: Vec<_> = listed
        .iter()
        .map(|s| (s.id.as_str(), s.title.as_str()))
        .collect();
    assert_eq!(
        listed,
        [("ses_b", "Parent"), ("ses_a", "Child")],
        "parents first"
    );
    assert!(bad.is_empty());
    all(&db, "ses_b");
    assert_eq!(state(dir.path()), before);
    drop(db);
    assert_eq!(state(dir.path()), before);
    writer.execute_batch("COMMIT").unwrap();
}

#[test]
fn what_can_be_read_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("opencode.db");
    drop(database(&path));
    let db = Database::open(&path).unwrap();
    assert!(db.todos("ses_b").is_empty() && db.project("ses_b").is_none());
    let of = session(&db.info("ses_b").unwrap()).unwrap().session;
    let read = all(&db, "ses_b");
    assert_eq!(read.len(), 3);
    let refused = read[2].as_ref().unwrap_err();
    assert_eq!(refused.what, "message msg_3");

    let first = message(&of, read[0].as_ref().unwrap()).unwrap();
    assert_eq!(first.message.id.as_str(), "msg_1");
    assert_eq!(first.lost, ["text.extra"]);
    let bodies: Vec<_> = first.parts.iter().map(|p| &p.body).collect();
    assert_eq!(bodies[0], &PartBody::text("hello"));
    let PartBody::Opaque { raw } = bodies[1] else {
        panic!("not kept: {:?}", bodies[1]);
    };
    let raw: Value = serde_json::from_str(raw).unwrap();
    assert_eq!(
        raw,
        json!({"type": "hologram", "beams": [1, 2]}),
        "kept as it is"
    );
    assert!(matches!(bodies[2], PartBody::Opaque { raw } if raw.contains("no json at all")));
    let second = message(&of, read[1].as_ref().unwrap()).unwrap();
    assert_eq!(second.message.info.role(), "assistant");

    // An unknown part goes out as a text, and comes back as it was.
    let doc = MessageDoc {
        id: first.message.id.clone(),
        session_id: of.id.clone(),
        position: 1,
        created: sessiond_model::Seq(1),
        changed: sessiond_model::Seq(1),
        info: serde_json::to_string(&first.message.info).unwrap(),
        parts: first
            .parts
            .iter()
            .map(|p| PartDoc {
                id: p.id.clone(),
                body: serde_json::to_string(&p.body).unwrap(),
            })
            .collect(),
    };
    let text: Value = serde_json::from_slice(&page(&[doc])).unwrap();
    assert_eq!(text[0]["parts"][1]["type"], "text");
    let again = message(&of, &text[0]).unwrap();
    assert_eq!((again.message, again.parts), (first.message, first.parts));
}

#[test]
fn what_is_no_database_of_opencode_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.db");
    assert!(matches!(
        Database::open(&path),
        Err(SourceError::Missing { .. })
    ));
    drop(
        Connection::open(&path)
            .unwrap()
            .execute_batch("CREATE TABLE session (id)"),
    );
    let error = Database::open(&path).unwrap_err();
    assert!(error.to_string().contains("\"message\""), "{error}");
    fs::write(
        &path,
        "not a database, but long enough to look like one. ".repeat(100),
    )
    .unwrap();
    assert!(matches!(
        Database::open(&path),
        Err(SourceError::Database { .. })
    ));
}

#[test]
fn an_export_is_read_a_message_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("e.json");
    let of =
        |n: i64| json!({"info": {"id": format!("msg_{n}"), "time": {"created": n}}, "parts": []});
    let messages: Vec<_> = (1..=5).map(of).collect();
    let export = json!({"messages": messages, "info": {"id": "ses_1"}, "later": [1, {"x": 2}]});
    fs::write(&path, export.to_string()).unwrap();
    let file = ExportFile::open(&path).unwrap();
    assert_eq!((&file.info["id"], file.todos.len()), (&json!("ses_1"), 0));
    assert_eq!(file.outline[1], ("msg_2".to_owned(), 2));
    let mut seen = Vec::new();
    let mut each = |m: Result<Value, _>| {
        seen.push(m.unwrap()["info"]["id"].clone());
        seen.len() < 2
    };
    file.messages(2, &mut each).unwrap();
    assert_eq!(seen, ["msg_3", "msg_4"]);

    let cut = export.to_string();
    for bad in [&cut[..cut.len() - 1], "[]", r#"{"info": {}}"#, ""] {
        fs::write(&path, bad).unwrap();
        let error = ExportFile::open(&path).unwrap_err();
        assert!(
            matches!(error, SourceError::NotAnExport { .. }),
            "{bad}: {error}"
        );
    }
}
