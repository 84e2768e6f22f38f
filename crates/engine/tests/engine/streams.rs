//! What subscribers see: the fold of any stream equals what GET shows.

use std::collections::BTreeMap;

use crate::support::{PATIENCE, World, prompt, until};
use sessiond_engine::{Frame, Signal, SubscribeOptions, Subscription};
use sessiond_model::{EventBody, PartBody, Seq, SessionId, StatusKind};
use sessiond_store::{EventQuery, MessageQuery, Scope};

/// A client that folds a stream: part id → body.
#[derive(Default)]
struct Client {
    parts: BTreeMap<String, PartBody>,
    status: Option<StatusKind>,
    last: Seq,
}

impl Client {
    fn take(&mut self, frame: &Frame) {
        if let Some(seq) = frame.seq() {
            assert!(
                seq > self.last || matches!(frame, Frame::Resync(_)),
                "twice or out of order: {seq:?}"
            );
            self.last = seq;
        }
        match frame {
            Frame::Live(item) => match item.signal() {
                Signal::Event(e) => self.event(&e.body),
                Signal::Delta(d) => {
                    let Some(PartBody::Text { text, .. } | PartBody::Reasoning { text, .. }) =
                        self.parts.get_mut(d.part_id.as_str())
                    else {
                        panic!("growth of an unknown part: {d:?}");
                    };
                    assert_eq!(text.len() as u64, d.offset, "exactly the next piece");
                    text.push_str(&d.delta);
                }
                Signal::Large(e) => panic!("large events are fetched: {e:?}"),
                Signal::Notice(n) => panic!("nobody asked for notices: {n:?}"),
            },
            Frame::Replayed(e) | Frame::State(e) => self.event(&e.body),
            Frame::Resync(_) => {}
        }
    }

    fn event(&mut self, body: &EventBody) {
        match body {
            EventBody::PartUpdated(p) => {
                self.parts.insert(p.id.to_string(), p.body.clone());
            }
            EventBody::PartRemoved { part_id, .. } => {
                self.parts.remove(part_id.as_str());
            }
            EventBody::StatusChanged(s) => self.status = Some(s.kind),
            _ => {}
        }
    }

    async fn follow(&mut self, stream: &mut Subscription, until: impl Fn(&Self) -> bool) {
        while !until(self) {
            let frame = tokio::time::timeout(PATIENCE, stream.next())
                .await
                .expect("a frame in time");
            self.take(&frame.unwrap().unwrap());
        }
    }
}

async fn truth(w: &World, id: &SessionId) -> BTreeMap<String, PartBody> {
    let page = w
        .engine
        .messages(id, &MessageQuery::default())
        .await
        .unwrap();
    page.messages
        .iter()
        .flat_map(|m| m.typed_parts())
        .map(|p| (p.id.to_string(), p.body))
        .collect()
}

fn scope(id: &SessionId) -> SubscribeOptions {
    SubscribeOptions {
        scope: Scope::Session(id.clone()),
        ..SubscribeOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_stream_folds_to_the_truth() {
    let w = World::new().await;
    let s = w.session().await;
    let mut stream = w.engine.subscribe(scope(&s.id)).await.unwrap();
    let turn = w.say(&s.id, "/think\n/slow 40 5\n/big 100000").await;
    let mut client = Client::default();
    client
        .follow(&mut stream, |c| c.status == Some(StatusKind::Busy))
        .await;
    client
        .follow(&mut stream, |c| c.status == Some(StatusKind::Idle))
        .await;
    w.end(&turn).await;
    assert_eq!(client.parts, truth(&w, &s.id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_in_mid_stream_gives_the_text_so_far_and_then_exactly_the_rest() {
    let w = World::new().await;
    let s = w.session().await;
    let turn = w.say(&s.id, "/slow 150 10").await;
    let mut joined = 0;
    let mut readers = Vec::new();
    while joined < 8
        && !w
            .engine
            .turn(&s.id, &turn.id)
            .await
            .unwrap()
            .state
            .is_terminal()
    {
        let options = SubscribeOptions {
            after: Some(Seq(0)),
            ..scope(&s.id)
        };
        let mut stream = w.engine.subscribe(options).await.unwrap();
        readers.push(tokio::spawn(async move {
            let mut client = Client::default();
            client
                .follow(&mut stream, |c| c.status == Some(StatusKind::Idle))
                .await;
            client.parts
        }));
        joined += 1;
        // Spread the joins over the turn: wait for more text, not for time.
        let before = longest(&w, &s.id).await;
        until("more text or the end", || async {
            let done = w
                .engine
                .turn(&s.id, &turn.id)
                .await
                .unwrap()
                .state
                .is_terminal();
            (done || longest(&w, &s.id).await > before + 20).then_some(())
        })
        .await;
    }
    assert!(joined > 1);
    w.end(&turn).await;
    let truth = truth(&w, &s.id).await;
    for reader in readers {
        assert_eq!(reader.await.unwrap(), truth);
    }
}

async fn longest(w: &World, id: &SessionId) -> usize {
    let parts = w.parts(id).await;
    parts
        .iter()
        .map(|p| match &p.body {
            PartBody::Text { text, .. } => text.len(),
            _ => 0,
        })
        .max()
        .unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_far_behind_goes_back_to_the_log() {
    let w = World::new().await;
    let s = w.session().await;
    let mut stream = w.engine.subscribe(scope(&s.id)).await.unwrap();
    // More events than the ring holds, before the reader reads its first.
    for i in 0..700 {
        let input = sessiond_engine::PromptInput {
            no_reply: true,
            ..prompt(&format!("note {i}"))
        };
        w.engine.prompt(&s.id, input).await.unwrap();
    }
    let mut client = Client::default();
    client.follow(&mut stream, |c| c.parts.len() == 700).await;
    assert_eq!(client.parts, truth(&w, &s.id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_from_the_future_is_told_to_start_anew() {
    let w = World::new().await;
    let s = w.session().await;
    let options = SubscribeOptions {
        after: Some(Seq(1_000_000)),
        ..scope(&s.id)
    };
    let mut stream = w.engine.subscribe(options).await.unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert!(matches!(first, Frame::Resync(_)), "{first:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_shows_each_thing_once_with_its_present_content() {
    let w = World::new().await;
    let s = w.session().await;
    w.ask(&s.id, "hello").await;
    let query = EventQuery {
        after: Seq(0),
        until: None,
        scope: Scope::Session(s.id.clone()),
        limit: 1000,
    };
    let page = w.engine.events(&query).await.unwrap();
    let mut shown = BTreeMap::new();
    for e in &page.events {
        if let EventBody::PartUpdated(p) = &e.body {
            assert!(
                shown.insert(p.id.to_string(), p.body.clone()).is_none(),
                "content twice"
            );
        }
    }
    assert_eq!(shown, truth(&w, &s.id).await);
}
