//! What is around sessions: user interfaces, projects, directories, lists over all projects.

use serde_json::{Value, json};

use crate::support::{Frame, Stream, World, request};

async fn told(streams: &mut [Stream; 2], r#type: &str) -> Vec<Frame> {
    let mut last = Vec::new();
    for stream in streams {
        last.push(stream.up_to(r#type).await.pop().unwrap());
    }
    last
}

async fn streams(w: &World) -> [Stream; 2] {
    [
        w.stream("/event", None).await,
        w.stream("/global/event", None).await,
    ]
}

#[tokio::test]
async fn what_programs_ask_of_user_interfaces_is_told_on_the_streams() {
    let w = World::new().await;
    let session = w.session().await;
    let mut streams = streams(&w).await;
    let toast = json!({"title": "T", "message": "m", "variant": "success"});
    let publish = json!({"type": "tui.toast.show",
        "properties": {"message": "p", "variant": "error", "duration": 7}});
    let cases = [
        (
            "append-prompt",
            json!({"text": "hi"}),
            "tui.prompt.append",
            json!({"text": "hi"}),
        ),
        (
            "show-toast",
            toast,
            "tui.toast.show",
            json!({"title": "T", "message": "m", "variant": "success", "duration": 5000}),
        ),
        (
            "publish",
            publish,
            "tui.toast.show",
            json!({"message": "p", "variant": "error", "duration": 7}),
        ),
        (
            "select-session",
            json!({"sessionID": session}),
            "tui.session.select",
            json!({"sessionID": session}),
        ),
    ];
    for (path, body, event, properties) in cases {
        assert_eq!(
            w.call("POST", &format!("/tui/{path}"), body).await.ok(),
            true
        );
        for frame in told(&mut streams, event).await {
            assert_eq!(*frame.properties(), properties, "{path}");
            assert_eq!(frame.id, None, "a passing word has no position");
        }
    }
    let commands = [
        ("submit-prompt", "prompt.submit"),
        ("clear-prompt", "prompt.clear"),
        ("open-help", "help.show"),
        ("open-sessions", "session.list"),
        ("open-themes", "theme.switch"),
        ("open-models", "model.list"),
    ];
    for (path, command) in commands {
        let asked = request("POST", &format!("/tui/{path}"), None);
        assert_eq!(w.send(asked).await.ok(), true);
        for frame in told(&mut streams, "tui.command.execute").await {
            assert_eq!(*frame.properties(), json!({"command": command}));
        }
    }
    let old = json!({"command": "agent_cycle"});
    w.call("POST", "/tui/execute-command", old).await.ok();
    let frames = told(&mut streams, "tui.command.execute").await;
    assert_eq!(frames[0].properties()["command"], "agent.cycle");
    assert_eq!(frames[1].data["directory"], w.directory());
    assert!(frames[1].data["project"].is_string());
}

#[tokio::test]
async fn wrong_words_for_user_interfaces_are_refused() {
    let w = World::new().await;
    let refusals = [
        ("append-prompt", json!({}), "text"),
        ("execute-command", json!({"command": "nonsense"}), "command"),
        (
            "show-toast",
            json!({"message": "m", "variant": "blue"}),
            "variant",
        ),
        (
            "show-toast",
            json!({"message": "m", "variant": "info", "duration": 0}),
            "duration",
        ),
        ("select-session", json!({"sessionID": "x"}), "sessionID"),
        (
            "publish",
            json!({"type": "session.deleted", "properties": {}}),
            "type",
        ),
    ];
    for (path, body, field) in refusals {
        let answer = w.call("POST", &format!("/tui/{path}"), body).await;
        answer.refused(400);
        let message = answer.json()["data"]["message"].to_string();
        assert!(message.contains(field), "{path}: {message}");
    }
    let unknown = json!({"sessionID": "ses_unknown"});
    w.call("POST", "/tui/select-session", unknown)
        .await
        .refused(404);
    let answer = w
        .call("POST", "/tui/control/response", json!({"a": 1}))
        .await;
    assert_eq!(answer.ok(), false, "nothing waits for it");
}

#[tokio::test(start_paused = true)]
async fn a_look_for_a_request_ends_after_a_while() {
    let w = World::new().await;
    w.get("/tui/control/next").await.refused(204);
}

// Q-dispose
#[tokio::test]
async fn a_directory_is_dropped_without_its_sessions() {
    let w = World::new().await;
    let session = w.session().await;
    w.say(&session, "hello").await.ok();
    let mut both = streams(&w).await;
    let dispose = |path: &str| w.send(request("POST", path, None));
    assert_eq!(dispose("/instance/dispose").await.ok(), true);
    for frame in told(&mut both, "server.instance.disposed").await {
        assert_eq!(*frame.properties(), json!({"directory": w.directory()}));
    }
    let agents = || async { (w.engine.health().await.unwrap().agents == 0).then_some(()) };
    w.until("the idle agent to end", agents).await;
    // Both streams go on, and so does the session.
    w.say(&session, "still there?").await.ok();
    told(&mut both, "session.idle").await;
    assert_eq!(dispose("/global/dispose").await.ok(), true);
    let [_, global] = &mut both;
    let frames = global.up_to("global.disposed").await;
    assert!(frames.iter().any(|f| f.is("server.instance.disposed")));
    assert_eq!(frames.last().unwrap().data["directory"], "global");
    w.say(&session, "and now?").await.ok();
    global.up_to("session.idle").await;
}

#[tokio::test]
async fn a_project_gets_a_name_an_icon_and_commands() {
    let w = World::new().await;
    w.session().await;
    let mut global = w.stream("/global/event", None).await;
    let body = json!({"name": "X", "icon": {"color": "red"}, "commands": {"start": "make"}});
    let changed = w.call("PATCH", "/project/global", body).await.ok();
    assert_eq!(changed["name"], "X");
    let more = json!({"icon": {"url": "data:x", "override": "u"}});
    let changed = w.call("PATCH", "/project/global", more).await.ok();
    let icon = json!({"url": "data:x", "override": "u", "color": "red"});
    assert_eq!(
        (&changed["icon"], &changed["commands"]),
        (&icon, &json!({"start": "make"}))
    );
    assert_eq!(w.get("/project/current").await.ok(), changed);
    assert_eq!(w.get("/project").await.ok(), json!([changed]));
    let news = global.up_to("project.updated").await.pop().unwrap();
    assert_eq!(news.data["directory"], "global");
    assert_eq!(news.properties()["name"], "X");
    // A second session, elsewhere, takes nothing of it away.
    let sub = w.dir.path().join("sub");
    std::fs::create_dir(&sub).unwrap();
    let path = format!("/session?directory={}", sub.display());
    w.call("POST", &path, json!({})).await.ok();
    assert_eq!(w.get("/project/current").await.ok()["name"], "X");
    let wrong = w.call("PATCH", "/project/global", json!({"name": 5})).await;
    wrong.refused(400);
    let long = json!({"name": "x".repeat(20_000)});
    w.call("PATCH", "/project/global", long).await.refused(400);
    let unknown = w.call("PATCH", "/project/nope", json!({"name": "X"})).await;
    unknown.refused(404);
    let refusal = unknown.json();
    assert_eq!(
        (&refusal["_tag"], &refusal["projectID"]),
        (&json!("ProjectNotFoundError"), &json!("nope"))
    );
}

// Q-git-init
#[tokio::test]
async fn a_directory_becomes_a_repository() {
    let w = World::new().await;
    assert_eq!(w.get("/project/current").await.ok()["vcs"], Value::Null);
    let init = || w.send(request("POST", "/project/git/init", None));
    assert_eq!(init().await.ok()["vcs"], "git");
    assert!(w.dir.path().join(".git").is_dir());
    assert_eq!(
        init().await.ok()["vcs"],
        "git",
        "a second time changes nothing"
    );
    let nowhere = request("POST", "/project/git/init?directory=/no/such/place", None);
    w.send(nowhere).await.refused(400);
}

// Q-global-sessions
#[tokio::test]
async fn lists_over_all_projects_lose_nothing() {
    let w = World::new().await;
    let mut all = Vec::new();
    for i in 0..7 {
        let title = if i == 3 { "needle" } else { "hay" };
        let session = w
            .call("POST", "/session", json!({"title": title}))
            .await
            .ok();
        all.push(session["id"].as_str().unwrap().to_owned());
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = w
            .get(&format!("/experimental/session?limit=2{cursor}"))
            .await;
        for session in page.ok().as_array().unwrap() {
            assert_eq!(session["project"]["id"], "global");
            seen.push(session["id"].as_str().unwrap().to_owned());
        }
        let Some(next) = page.headers.get("x-next-cursor") else {
            break;
        };
        cursor = format!("&cursor={}", next.to_str().unwrap());
    }
    seen.sort();
    all.sort();
    assert_eq!(seen, all);
    let list = |query: &str| {
        let path = format!("/experimental/session?{query}");
        let w = &w;
        async move { w.get(&path).await.ok().as_array().unwrap().len() }
    };
    assert_eq!(list("search=NEED").await, 1);
    assert_eq!(list("limit=0").await, 0);
    assert_eq!(list("directory=/elsewhere").await, 0);
    let archive = json!({"time": {"archived": 5}});
    let path = format!("/session/{}", all[0]);
    w.call("PATCH", &path, archive).await.ok();
    assert_eq!(list("").await, 6);
    assert_eq!(list("archived=true").await, 7);
    let child = json!({"parentID": all[1]});
    w.call("POST", "/session", child).await.ok();
    assert_eq!((list("").await, list("roots=true").await), (7, 6));
    for query in [
        "roots=maybe",
        "cursor=x",
        "limit=-1",
        "start=x",
        "archived=1",
    ] {
        w.get(&format!("/experimental/session?{query}"))
            .await
            .refused(400);
    }
    let background = |id: &str| {
        let path = format!("/experimental/session/{id}/background");
        w.send(request("POST", &path, None))
    };
    assert_eq!(background(&all[0]).await.ok(), false);
    background("ses_unknown").await.refused(404);
}

// Q-log
#[tokio::test]
async fn lines_of_clients_are_logged_or_refused() {
    let w = World::new().await;
    let line = json!({"service": "s\u{1b}[31m", "level": "warn", "message": "a\nb",
        "extra": {"k": "v".repeat(100_000)}});
    assert_eq!(w.call("POST", "/log", line).await.ok(), true);
    for (body, field) in [
        (json!({}), "service"),
        (
            json!({"service": "s", "level": "loud", "message": "m"}),
            "level",
        ),
        (
            json!({"service": "s", "level": "info", "message": 5}),
            "message",
        ),
        (
            json!({"service": "s", "level": "info", "message": "m", "extra": []}),
            "extra",
        ),
    ] {
        let answer = w.call("POST", "/log", body).await;
        answer.refused(400);
        assert!(answer.json().to_string().contains(field));
    }
}

// Q-sync-seq
#[tokio::test]
async fn the_history_is_what_the_stream_told_as_sync() {
    let w = World::new().await;
    let mut global = w.stream("/global/event", None).await;
    let session = w.session().await;
    let other = w.session().await;
    w.say(&session, "hello").await.ok();
    let history = w.call("POST", "/sync/history", json!({})).await.ok();
    let rows = history.as_array().unwrap();
    assert!(
        rows.iter()
            .any(|row| row["type"] == "message.part.updated.1")
    );
    assert!(rows.iter().any(|row| row["aggregate_id"] == other));
    let mut told: Vec<Value> = Vec::new();
    while told
        .last()
        .is_none_or(|t| t["id"] != rows.last().unwrap()["id"])
    {
        let frame = global.up_to("sync").await.pop().unwrap();
        told.push(frame.event()["syncEvent"].clone());
    }
    // What has changed again since is told once, as it is now.
    for row in rows.iter().filter(|row| row["aggregate_id"] == session) {
        let same = told.iter().find(|t| t["id"] == row["id"]).unwrap();
        assert_eq!((&same["seq"], &same["type"]), (&row["seq"], &row["type"]));
        assert_eq!(same["aggregateID"], row["aggregate_id"]);
    }
    let last = rows
        .iter()
        .rev()
        .find(|row| row["aggregate_id"] == session)
        .unwrap();
    let same = told.iter().find(|t| t["id"] == last["id"]).unwrap();
    assert_eq!(same["data"], last["data"]);
    // Only what comes after the number that is known.
    let known = json!({session.as_str(): last["seq"], other.as_str(): 0});
    assert_eq!(w.call("POST", "/sync/history", known).await.ok(), json!([]));
    let known = json!({session.as_str(): last["seq"].as_u64().unwrap() - 1, other.as_str(): 0});
    assert_eq!(
        w.call("POST", "/sync/history", known).await.ok(),
        json!([last])
    );
    for wrong in [
        json!({session.as_str(): "x"}),
        json!({session.as_str(): -1}),
        json!([]),
    ] {
        w.call("POST", "/sync/history", wrong).await.refused(400);
    }
    let steal = w
        .call("POST", "/sync/steal", json!({"sessionID": session}))
        .await;
    steal.refused(400);
    assert_eq!(steal.json()["_tag"], "BadRequest");
}
