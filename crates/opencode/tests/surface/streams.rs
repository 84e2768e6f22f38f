use serde_json::json;

use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_on_the_stream_of_its_directory() {
    let w = World::new().await;
    let id = w.session().await;
    let mut events = w.stream("/event", None).await;
    assert_eq!(events.headers["content-type"], "text/event-stream");
    assert_eq!(events.headers["cache-control"], "no-cache, no-transform");
    assert_eq!(events.headers["x-accel-buffering"], "no");
    assert_eq!(events.headers["x-content-type-options"], "nosniff");
    let connected = events.next().await;
    assert_eq!(connected.data["type"], "server.connected");
    assert_eq!(connected.data["properties"], json!({}));
    let answer = w.say(&id, "/think a moment\nhello").await.ok();
    let turn = events.up_to("session.idle").await;
    let types: Vec<_> = turn
        .iter()
        .map(|f| f.data["type"].as_str().unwrap())
        .collect();
    let at = |wanted: &str| {
        types
            .iter()
            .position(|t| *t == wanted)
            .unwrap_or_else(|| panic!("no {wanted} in {types:?}"))
    };
    assert_eq!(
        at("message.updated"),
        0,
        "the prompt comes first: {types:?}"
    );
    assert_eq!(at("message.part.updated"), 1);
    assert!(at("session.status") < at("message.part.delta"));
    assert_eq!(types[types.len() - 2], "session.status");
    // The positions rise, and every text ends as it was told in pieces.
    let positions: Vec<_> = turn.iter().filter_map(|f| f.id).collect();
    assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
    for part in answer["parts"].as_array().unwrap() {
        let Some(text) = part["text"].as_str() else {
            continue;
        };
        let told: String = turn
            .iter()
            .filter(|f| f.is("message.part.delta"))
            .filter(|f| f.properties()["partID"] == part["id"])
            .map(|f| f.properties()["delta"].as_str().unwrap())
            .collect();
        assert!(text.ends_with(&told), "{told:?} of {text:?}");
        let last = turn
            .iter()
            .rfind(|f| f.is("message.part.updated") && f.properties()["part"]["id"] == part["id"])
            .unwrap();
        assert_eq!(last.properties()["part"], *part);
        assert!(part["time"]["end"].is_i64());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_hears_only_its_own() {
    let w = World::new().await;
    std::fs::create_dir(w.dir.path().join("other")).unwrap();
    let mut here = w.stream("/event", None).await;
    let mut all = w.stream("/global/event", None).await;
    let path = format!("/session?directory={}/other", w.directory());
    let other = w.call("POST", &path, json!({})).await.ok();
    let mine = w.session().await;
    let first = here.up_to("session.created").await;
    assert_eq!(first.last().unwrap().properties()["sessionID"], mine);
    let first = all.up_to("session.created").await;
    let first = first.last().unwrap();
    assert_eq!(first.properties()["sessionID"], other["id"]);
    assert_eq!(first.data["directory"], other["directory"]);
    assert_eq!(first.data["project"], other["projectID"]);
    let sync = all.next().await;
    assert!(sync.is("sync"));
    assert_eq!(sync.event()["syncEvent"]["seq"], 0);
    assert_eq!(sync.event()["syncEvent"]["aggregateID"], other["id"]);
}

// Q-event-ids
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_comes_back_misses_nothing() {
    let w = World::new().await;
    let id = w.session().await;
    let mut events = w.stream("/event", None).await;
    w.note(&id, "before").await;
    let seen = events.up_to("message.part.updated").await;
    let last = seen.last().unwrap().id.unwrap();
    let same = seen.last().unwrap().data["id"].clone();
    drop(events);
    let (missed, _) = w.note(&id, "while away").await;
    let mut events = w.stream("/event", Some(last)).await;
    let replayed = events.up_to("message.updated").await;
    let message = replayed.last().unwrap();
    assert_eq!(message.properties()["info"]["id"], missed);
    assert!(message.id.unwrap() > last);
    // The same event has the same id for whoever reads it.
    let mut again = w.stream("/event", Some(last - 1)).await;
    let part = again.up_to("message.part.updated").await;
    assert_eq!(part.last().unwrap().data["id"], same);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cut_off_before_any_event_has_a_position() {
    let w = World::new().await;
    let id = w.session().await;
    let connected = w.stream("/event", None).await.next().await;
    let (missed, _) = w.note(&id, "at once").await;
    let mut events = w.stream("/event", connected.id).await;
    let replayed = events.up_to("message.updated").await;
    assert_eq!(replayed.last().unwrap().properties()["info"]["id"], missed);
}

// Q-event-burst
#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_global_stream_tells_what_changed_lately_and_a_directorys_does_not() {
    let w = World::new().await;
    let id = w.session().await;
    let (note, _) = w.note(&id, "earlier").await;
    let mut all = w.stream("/global/event", None).await;
    let told = all.up_to("session.idle").await;
    assert!(told[0].is("server.connected"));
    assert!(
        told[1..].iter().all(|f| f.id.is_none()),
        "a state has no position"
    );
    let types: Vec<_> = told[1..]
        .iter()
        .map(|f| f.event()["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        [
            "session.updated",
            "session.diff",
            "message.updated",
            "message.part.updated",
            "session.status",
            "session.idle"
        ]
    );
    assert_eq!(told[3].properties()["info"]["id"], note);
    let mut here = w.stream("/event", None).await;
    assert!(here.next().await.is("server.connected"));
    let created = w.session().await;
    let next = here.next().await;
    assert!(next.is("session.created"), "{next:?}");
    assert_eq!(next.properties()["sessionID"], created);
}

// Q-request-expired
#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_stream_tells_what_is_pending() {
    let w = World::new().await;
    let id = w.session().await;
    let body = json!({"parts": [{"type": "text", "text": "/ask run true"}]});
    let path = format!("/session/{id}/prompt_async");
    w.call("POST", &path, body).await;
    let pending = || async {
        let listed = w.get("/permission").await.ok();
        listed.get(0).cloned()
    };
    let asked = w.until("a permission request", pending).await;
    for path in ["/event", "/global/event"] {
        let mut events = w.stream(path, None).await;
        let told = events.up_to("permission.asked").await;
        assert_eq!(*told.last().unwrap().properties(), asked);
        let busy = told.iter().find(|f| f.is("session.status")).unwrap();
        assert_eq!(busy.properties()["status"], json!({"type": "busy"}));
    }
    // What it is about has begun: clients show the command of a call only then.
    let shown = w.get(&format!("/session/{id}/message")).await.ok();
    let mut call = shown[1]["parts"].as_array().unwrap().iter();
    let call = call.rfind(|p| p["type"] == "tool").unwrap();
    assert_eq!(call["state"]["status"], "running");
    assert_eq!(call["callID"], asked["tool"]["callID"]);
    let abort = format!("/session/{id}/abort");
    w.call("POST", &abort, json!({})).await.ok();
    // A client that was away when the request ended still shows it.
    let mut events = w.stream("/global/event", None).await;
    let told = events.up_to("session.idle").await;
    let over = told.iter().find(|f| f.is("permission.replied")).unwrap();
    assert_eq!(over.properties()["requestID"], asked["id"]);
    assert_eq!(over.properties()["reply"], "reject");
}

// Q-event-unknown-position
#[tokio::test(flavor = "multi_thread")]
async fn a_position_of_another_store_gets_the_present_state() {
    let w = World::new().await;
    let id = w.session().await;
    let mut events = w.stream("/event", Some(1_000_000)).await;
    let told = events.up_to("session.idle").await;
    assert!(told[0].is("server.connected"));
    assert_eq!(told.last().unwrap().properties()["sessionID"], id);
}

// Q-event-no-end
#[tokio::test(start_paused = true)]
async fn hearts_beat_every_ten_seconds() {
    let w = World::new().await;
    for (path, bare) in [("/event", true), ("/global/event", false)] {
        let mut events = w.stream(path, None).await;
        assert!(events.next().await.is("server.connected"));
        let start = tokio::time::Instant::now();
        for beat in 1..=3 {
            let frame = events.next().await;
            assert!(frame.is("server.heartbeat"));
            assert_eq!(frame.data.get("payload").is_none(), bare);
            assert_eq!(start.elapsed().as_secs(), 10 * beat);
            assert!(frame.data.get("directory").is_none());
        }
    }
}
