//! Several engines over one shared store: who writes, who takes over, who goes on.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{World, prompt, texts, until};
use sessiond_engine::{
    AbortOptions, EngineError, Frame, NewSession, NoticeBody, PromptInput, RevertOptions,
    SessionUpdate, Signal, SubscribeOptions, TurnInput,
};
use sessiond_model::{
    EventBody, Seq, Session, SessionId, StatusKind, SystemClock, Turn, TurnState,
};
use sessiond_store::{EventQuery, MemoryCluster, MemoryStore, MessageQuery, Scope, TurnQuery};

/// Longer than the engine's second between two renewals.
const LEASE: Duration = Duration::from_secs(3);

fn cluster() -> MemoryCluster {
    MemoryCluster::new(Arc::new(SystemClock), LEASE)
}

async fn two() -> ((World, Arc<MemoryStore>), (World, Arc<MemoryStore>)) {
    let cluster = cluster();
    let a = World::node(&cluster, "a", |_| {}).await;
    let b = World::node(&cluster, "b", |_| {}).await;
    (a, b)
}

fn node_of(error: EngineError) -> String {
    match error {
        EngineError::Elsewhere(e) => {
            assert_eq!(e.url, Some(format!("http://{}", e.node)));
            e.node
        }
        other => panic!("not elsewhere: {other:?}"),
    }
}

async fn ended(world: &World, turn: &Turn) -> Turn {
    until("the end of the turn", async || {
        let now = world.store.turn(&turn.id).await.unwrap().unwrap();
        now.state.is_terminal().then_some(now)
    })
    .await
}

async fn running(world: &World, id: &SessionId) {
    until("a running turn with text", async || {
        let page = world.store.messages(id, &MessageQuery::default()).await;
        let parts: Vec<_> = page
            .unwrap()
            .messages
            .iter()
            .flat_map(|m| m.typed_parts())
            .collect();
        let turns = world.store.turns(id, &TurnQuery::default()).await.unwrap();
        let is_running = turns.iter().any(|t| t.state == TurnState::Running);
        (is_running && texts(&parts).contains("ick")).then_some(())
    })
    .await;
}

/// The numbers of a session's events, by a node's log.
async fn assert_gapless(world: &World, id: &SessionId) {
    let query = EventQuery {
        after: Seq(0),
        until: None,
        scope: Scope::Session(id.clone()),
        limit: 10_000,
    };
    let events = world.store.events(&query).await.unwrap().events;
    let numbers: Vec<u64> = events.iter().map(|e| e.session_seq.0).collect();
    let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert_eq!(numbers, expected);
}

async fn session_in(world: &World, directory: &std::path::Path) -> Session {
    let new = NewSession {
        directory: Some(directory.to_string_lossy().into_owned()),
        ..NewSession::default()
    };
    Session::clone(&world.engine.create_session(new).await.unwrap().session)
}

#[tokio::test]
async fn what_one_node_holds_another_reads_and_does_not_write() {
    let ((a, _), (b, _)) = two().await;
    let session = a.session().await;
    let turn = a.ask(&session.id, "hello").await;
    assert_eq!(turn.state, TurnState::Completed);

    let seen = b.engine.session(&session.id).await.unwrap();
    assert_eq!(seen.status.kind, StatusKind::Idle);
    let theirs = b.parts(&session.id).await;
    assert_eq!(theirs, a.parts(&session.id).await);
    let waited = b.engine.wait_turn(&turn.id, Some(Duration::from_secs(9)));
    assert_eq!(waited.await.unwrap().state, TurnState::Completed);

    let id = &session.id;
    let refused = b.engine.prompt(id, prompt("from b")).await.unwrap_err();
    assert_eq!(node_of(refused), "a");
    let refused = b.engine.abort(id, AbortOptions::default()).await;
    assert_eq!(node_of(refused.unwrap_err()), "a");
    let update = SessionUpdate {
        title: Some("by b".into()),
        ..SessionUpdate::default()
    };
    let refused = b.engine.update_session(id, update.clone()).await;
    assert_eq!(node_of(refused.unwrap_err()), "a");
    assert_eq!(node_of(b.engine.delete_session(id).await.unwrap_err()), "a");
    assert_eq!(node_of(b.engine.unrevert(id).await.unwrap_err()), "a");
    a.engine.update_session(id, update).await.unwrap();
    assert_eq!(b.engine.session(id).await.unwrap().title, "by b");
}

#[tokio::test]
async fn a_node_that_ends_in_order_leaves_its_sessions_to_others() {
    let ((a, _), (b, _)) = two().await;
    let session = a.session().await;
    a.ask(&session.id, "remember the word plum").await;
    a.engine.shutdown(Duration::from_secs(9)).await;
    a.store.close().await.unwrap();

    let turn = b.ask(&session.id, "go on").await;
    assert_eq!(turn.state, TurnState::Completed);
    assert!(turn.restore.is_some());
    assert_gapless(&b, &session.id).await;
}

#[tokio::test]
async fn the_work_of_a_node_that_stands_still_is_ended_by_another_and_it_writes_no_more() {
    let ((a, a_store), (b, _)) = two().await;
    let session = a.session().await;
    let turn = a.say(&session.id, "/slow 100000 20").await;
    running(&b, &session.id).await;
    let waiting = a.say(&session.id, "after that").await;
    let before = b.store.last_seq().await.unwrap();
    let mut stream = b
        .engine
        .subscribe(SubscribeOptions {
            after: Some(before),
            ..SubscribeOptions::default()
        })
        .await
        .unwrap();

    a_store.pause(true);
    let end = ended(&b, &turn).await;
    assert_eq!(end.state, TurnState::Interrupted);
    // The queue goes on at the node that took over.
    assert_eq!(ended(&b, &waiting).await.state, TurnState::Completed);
    let epoch_of_a = a.store.epoch();

    a_store.pause(false);
    until("the old owner to notice", async || {
        (a.store.epoch() != epoch_of_a).then_some(())
    })
    .await;
    let next = b.ask(&session.id, "again").await;
    assert_eq!(next.state, TurnState::Completed);
    let refused = a.engine.prompt(&session.id, prompt("from a")).await;
    assert_eq!(node_of(refused.unwrap_err()), "b");
    assert_gapless(&b, &session.id).await;

    // The stream has gone on, in order, to the end.
    let last = b.store.last_seq().await.unwrap();
    let mut at = before;
    while at < last {
        let frame = stream.next().await.unwrap().unwrap();
        if let Some(seq) = frame.seq() {
            assert!(seq > at, "{seq:?} after {at:?}");
            at = seq;
        }
    }
}

#[tokio::test]
async fn a_directory_that_only_others_have() {
    let cluster = cluster();
    let (a, _) = World::node(&cluster, "a", |_| {}).await;
    let nowhere = |c: &mut sessiond_engine::EngineConfig| c.roots = vec!["/nonexistent".into()];
    let (b, _) = World::node(&cluster, "b", nowhere).await;
    let project = a.project();
    let session = session_in(&a, &project).await;
    a.ask(&session.id, "hello").await;
    let own = session_in(&b, &project).await;
    // Created there, worked on where the directory is.
    let refused = b.engine.prompt(&own.id, prompt("x")).await.unwrap_err();
    assert_eq!(node_of(refused), "a");
    let turn = a.ask(&own.id, "hello").await;
    assert_eq!(turn.state, TurnState::Completed);

    a.engine.shutdown(Duration::from_secs(9)).await;
    a.store.close().await.unwrap();
    for id in [&session.id, &own.id] {
        match b.engine.prompt(id, prompt("x")).await.unwrap_err() {
            EngineError::NoNode { directory, nodes } => {
                assert_eq!(directory, project.to_string_lossy());
                assert_eq!(nodes, ["a"]);
            }
            other => panic!("{other:?}"),
        }
        let options = RevertOptions {
            message_id: session_message(&b, id).await,
            part_id: None,
            force: false,
            lenient: false,
        };
        let refused = b.engine.revert(id, options).await.unwrap_err();
        assert!(matches!(refused, EngineError::NoNode { .. }), "{refused:?}");
        // What needs no files is done anywhere.
        let update = SessionUpdate {
            title: Some("kept".into()),
            ..SessionUpdate::default()
        };
        b.engine.update_session(id, update).await.unwrap();
    }
}

async fn session_message(world: &World, id: &SessionId) -> sessiond_model::MessageId {
    let page = world.store.messages(id, &MessageQuery::default()).await;
    page.unwrap().messages[0].id.clone()
}

#[tokio::test]
async fn a_queue_that_no_living_node_can_work_on_is_ended() {
    let cluster = cluster();
    let (a, a_store) = World::node(&cluster, "a", |_| {}).await;
    let nowhere = |c: &mut sessiond_engine::EngineConfig| c.roots = vec!["/nonexistent".into()];
    let (b, _) = World::node(&cluster, "b", nowhere).await;
    let session = a.session().await;
    let first = a.say(&session.id, "/slow 100000 20").await;
    running(&b, &session.id).await;
    let second = a.say(&session.id, "never").await;
    a_store.pause(true);
    for turn in [&first, &second] {
        assert_eq!(ended(&b, turn).await.state, TurnState::Interrupted);
    }
    until("an idle session", async || {
        let status = b.engine.session(&session.id).await.unwrap().status.kind;
        (status == StatusKind::Idle).then_some(())
    })
    .await;
    a_store.pause(false);
}

#[tokio::test]
async fn text_that_grows_on_one_node_is_seen_on_another() {
    let ((a, _), (b, _)) = two().await;
    let session = a.session().await;
    let mut stream = b
        .engine
        .subscribe(SubscribeOptions::default())
        .await
        .unwrap();
    let turn = a.say(&session.id, "/slow 40 20").await;
    // The model of a shared store tells no hints: what a database's tail would tell is told here.
    let mut known = String::new();
    loop {
        if let Some(frame) = {
            let next = tokio::time::timeout(Duration::from_millis(20), stream.next()).await;
            next.ok()
        } {
            match frame.unwrap().unwrap() {
                Frame::Live(item) => match item.signal() {
                    Signal::Delta(d) => {
                        assert_eq!(d.offset, known.len() as u64);
                        known.push_str(&d.delta);
                    }
                    Signal::Event(e) => {
                        if let EventBody::PartUpdated(p) = &e.body {
                            known = texts(&[sessiond_model::Part::clone(p)]);
                        }
                    }
                    _ => {}
                },
                Frame::State(e) | Frame::Replayed(e) => {
                    if let EventBody::PartUpdated(p) = &e.body {
                        known = texts(&[sessiond_model::Part::clone(p)]);
                    }
                }
                Frame::Resync(_) => {}
            }
        }
        let directory: Arc<str> = session.directory.as_str().into();
        for part in b
            .parts(&session.id)
            .await
            .iter()
            .filter(|p| p.body.is_open())
        {
            sessiond_store::Feed::checkpointed(&*b.hub, part, &directory, &session.project_id);
        }
        let now = b.store.turn(&turn.id).await.unwrap().unwrap();
        if now.state.is_terminal() {
            break;
        }
    }
    let ours = texts(&a.answer(&a.end(&turn).await).await);
    assert!(
        ours.starts_with(&known) && !known.is_empty(),
        "{known:?} of {ours:?}"
    );
}

#[tokio::test]
async fn what_is_never_stored_is_told_on_other_nodes_too() {
    let ((a, _), (b, _)) = two().await;
    let session = a.session().await;
    let everything = SubscribeOptions {
        notices: true,
        ..SubscribeOptions::default()
    };
    let mut stream = b.engine.subscribe(everything).await.unwrap();
    let write = PromptInput {
        agent: Some("auto".into()),
        ..prompt("/write fresh.txt hello")
    };
    let turn = a.engine.prompt(&session.id, write).await.unwrap();
    let turn = a.end(&turn.turn.unwrap()).await;
    let to = RevertOptions {
        message_id: turn.user_message_id.clone(),
        part_id: None,
        force: false,
        lenient: false,
    };
    a.engine.revert(&session.id, to).await.unwrap();
    let summary = a.engine.summarize(&session.id, TurnInput::default());
    let summary = summary.await.unwrap().turn.unwrap();
    assert_eq!(a.end(&summary).await.state, TurnState::Completed);

    let told = async {
        let mut files = Vec::new();
        loop {
            let frame = stream.next().await.unwrap().unwrap();
            let Frame::Live(item) = frame else { continue };
            let Signal::Notice(notice) = item.signal() else {
                continue;
            };
            assert_eq!(notice.session_id.as_ref(), Some(&session.id));
            assert_eq!(notice.directory.as_deref(), Some(&*session.directory));
            match &notice.body {
                NoticeBody::DiffChanged(diff) => {
                    files.push(diff.iter().map(|d| d.file.clone()).collect::<Vec<_>>());
                }
                NoticeBody::Compacted => return files,
                _ => {}
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(30), told).await;
    let told = told.expect("what was changed, and the summary");
    assert!(told[0][0].ends_with("fresh.txt"), "{told:?}");
    assert!(told.contains(&vec![]), "{told:?}");
}

#[tokio::test]
async fn without_leases_nobody_is_elsewhere() {
    let world = World::with(|c| c.roots = vec!["/nonexistent".into()]).await;
    let session = world.session().await;
    let turn = world.ask(&session.id, "hello").await;
    assert_eq!(turn.state, TurnState::Completed);
    assert_eq!(world.engine.nodes().await.unwrap(), []);
}
