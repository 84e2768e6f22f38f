//! What `/api/*` tells on its streams.

use super::*;

// Q-api-ids, Q-api-prompted
#[tokio::test(flavor = "multi_thread")]
async fn the_fold_of_a_sessions_events_is_its_transcript() {
    let w = World::new().await;
    let id = w.session().await;
    unattended(&w, &id).await;
    let mut live = w.stream(&api(&id, "/event"), None).await;
    for text in ["/think a moment\nhello", "/write a.txt some", "/run false"] {
        prompt(&w, &id, text).await;
        wait(&w, &id).await;
    }
    w.call(
        "POST",
        &format!("/session/{id}/shell"),
        json!({"agent": "build", "command": "echo out"}),
    )
    .await
    .ok();
    prompt(&w, &id, "and now").await;
    wait(&w, &id).await;
    let want: Vec<_> = messages(&w, &id).await.iter().map(bare).collect();
    let kinds: Vec<_> = want.iter().map(|m| m["type"].as_str().unwrap()).collect();
    let turn = ["user", "assistant"];
    assert_eq!(kinds[6], "shell");
    assert_eq!((&kinds[..2], kinds.len()), (&turn[..], 9));
    // Live, replayed and paged: the same.
    let mut folds = BTreeMap::new();
    let live = until_step_ended(&mut live, 4).await;
    folds.insert("live", live);
    let mut again = w.stream(&api(&id, "/event?after=0"), None).await;
    folds.insert("replayed", until_step_ended(&mut again, 4).await);
    for (name, frames) in &folds {
        let mut fold = Fold::default();
        for frame in frames {
            assert_eq!(frame.id, frame.data["durable"]["seq"].as_u64(), "{name}");
            fold.take(&frame.data);
        }
        assert!(
            fold.numbers.is_sorted_by(|a, b| a < b),
            "{name}: {:?}",
            fold.numbers
        );
        assert_eq!(fold.messages, want, "{name}");
    }
    let mut fold = Fold::default();
    let mut after = 0;
    loop {
        let page = w
            .get(&api(&id, &format!("/history?after={after}&limit=7")))
            .await
            .ok();
        for event in page["data"].as_array().unwrap() {
            fold.take(event);
        }
        after = *fold.numbers.last().unwrap();
        if page["hasMore"] == false {
            break;
        }
    }
    assert_eq!(fold.messages, want, "paged");
    // Going on after a number tells the rest, and nothing twice.
    let cut = fold.numbers[fold.numbers.len() / 2];
    let mut rest = w
        .stream(&api(&id, &format!("/event?after={cut}")), None)
        .await;
    let mut last = Some(cut);
    for number in fold.numbers.iter().filter(|n| **n > cut) {
        let frame = rest.next().await;
        assert!(frame.id > last);
        last = frame.id;
        assert_eq!(frame.id, Some(*number));
    }
}

// Q-api-events-once
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_told_on_one_stream_that_stays_open() {
    let w = World::new().await;
    let id = w.session().await;
    let mut events = w.stream("/api/event", None).await;
    assert_eq!(events.headers["content-type"], "text/event-stream");
    let connected = events.next().await;
    assert_eq!(connected.data["type"], "server.connected");
    assert_eq!(connected.data["data"], json!({}));
    assert!(connected.id.is_some());
    // A turn, its statuses and what comes after them.
    w.say(&id, "hello").await.ok();
    let turn = events.up_to("session.idle").await;
    let ended = turn
        .iter()
        .find(|f| f.is("session.next.text.ended"))
        .unwrap();
    let (data, directory) = (&ended.data["data"], w.directory());
    assert_eq!(ended.data["location"], json!({"directory": directory}));
    assert_eq!(ended.data["durable"]["aggregateID"], id);
    let told: String = turn
        .iter()
        .filter(|f| f.is("session.next.text.delta"))
        .map(|f| f.data["data"]["delta"].as_str().unwrap())
        .collect();
    assert_eq!(data["text"], told);
    let position = |f: &Frame| f.id;
    let ids: Vec<_> = turn.iter().filter_map(position).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    let created = w.session().await;
    let next = events.up_to("session.created").await;
    assert_eq!(next.last().unwrap().data["data"]["info"]["id"], created);
    // Who was away is told what came meanwhile.
    let last = next.last().unwrap().id.unwrap();
    drop(events);
    w.say(&id, "meanwhile").await.ok();
    let mut events = w.stream("/api/event", Some(last)).await;
    let missed = events.up_to("session.next.prompted").await;
    assert_eq!(
        missed.last().unwrap().data["data"]["prompt"]["text"],
        "meanwhile"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_was_away_hears_of_reverts() {
    let w = World::new().await;
    let id = w.session().await;
    let first = prompt(&w, &id, "hello").await;
    wait(&w, &id).await;
    let stage = json!({"messageID": first["id"]});
    let mut events = w.stream(&api(&id, "/event"), None).await;
    w.call("POST", &api(&id, "/revert/stage"), stage.clone())
        .await
        .ok();
    let staged = events.up_to("session.next.revert.staged").await;
    let last = staged.last().unwrap().id.unwrap();
    drop(events);
    w.call("POST", &api(&id, "/revert/clear"), json!({}))
        .await
        .refused(204);
    let path = api(&id, &format!("/event?after={last}"));
    let mut events = w.stream(&path, None).await;
    let next = events.next().await;
    assert!(next.is("session.next.revert.cleared"), "{next:?}");
    // The next prompt commits what is staged; `Last-Event-ID` counts more than `after`.
    w.call("POST", &api(&id, "/revert/stage"), stage).await.ok();
    let staged = events.up_to("session.next.revert.staged").await;
    let last = staged.last().unwrap().id;
    drop(events);
    let second = prompt(&w, &id, "instead").await;
    wait(&w, &id).await;
    let mut events = w.stream(&path, last).await;
    let told = events.up_to("session.next.prompted").await;
    assert!(told[0].is("session.next.revert.committed"), "{told:?}");
    assert_eq!(told[0].data["data"]["messageID"], first["id"]);
    assert_eq!(told[2].data["data"]["messageID"], second["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_of_another_store_means_from_now_on() {
    let w = World::new().await;
    let id = w.session().await;
    w.note(&id, "before").await;
    let path = api(&id, "/event?after=99999999");
    let mut events = w.stream(&path, None).await;
    let (later, _) = w.note(&id, "later").await;
    let next = events.next().await;
    assert!(next.is("session.next.prompt.admitted"), "{next:?}");
    assert_eq!(next.data["data"]["messageID"], later);
}

// Q-api-replay
#[tokio::test(flavor = "multi_thread")]
async fn who_comes_in_the_middle_hears_the_whole_text() {
    let w = World::new().await;
    let id = w.session().await;
    let mut first = w.stream("/api/event", None).await;
    prompt(&w, &id, "/slow 40 20").await;
    first.up_to("session.next.text.delta").await;
    let mut events = w.stream("/api/event", None).await;
    let told = events.up_to("session.next.text.ended").await;
    let began = told.iter().filter(|f| f.is("session.next.text.started"));
    assert_eq!(began.count(), 1);
    let pieces: String = told
        .iter()
        .filter(|f| f.is("session.next.text.delta"))
        .map(|f| f.data["data"]["delta"].as_str().unwrap())
        .collect();
    assert_eq!(told.last().unwrap().data["data"]["text"], pieces);
    wait(&w, &id).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_stays_open() {
    let w = World::new().await;
    let mut events = w.stream("/api/event", None).await;
    assert!(events.next().await.is("server.connected"));
    let start = tokio::time::Instant::now();
    events.heartbeat().await;
    assert_eq!(start.elapsed().as_secs(), 15);
    events.heartbeat().await;
    assert_eq!(start.elapsed().as_secs(), 30);
}
