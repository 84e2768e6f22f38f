use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use serde_json::{Value, json};
use tokio_stream::StreamExt as _;
use tower::ServiceExt as _;

use crate::support::{DOCUMENT, PATIENCE, World, id, said};

/// A client of the live stream.
struct Client {
    body: BodyDataStream,
    buffer: String,
}

/// One message of a stream.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    id: Option<u64>,
    data: Value,
}

impl Client {
    async fn open(world: &World, query: &str, last: Option<u64>) -> Self {
        let mut request =
            Request::get(format!("/v1/events{query}")).header("accept", "text/event-stream");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = world
            .router
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            body: response.into_body().into_data_stream(),
            buffer: String::new(),
        }
    }

    /// The next block of the stream; `None` at its end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.buffer = rest;
                return Some(block);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.body.next())
                .await
                .expect("the stream is silent")?;
            self.buffer
                .push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
        }
    }

    /// The next message, comments left out.
    async fn next(&mut self) -> Said {
        loop {
            let block = self.block().await.expect("the stream goes on");
            if block.starts_with(':') {
                continue;
            }
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|l| l.strip_prefix(name))
                    .map(str::trim)
            };
            let data = serde_json::from_str(field("data:").unwrap()).unwrap();
            let said = Said {
                id: field("id:").map(|n| n.parse().unwrap()),
                data,
            };
            check(&said);
            return said;
        }
    }

    /// All messages up to and including the first one that fits.
    async fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Vec<Said> {
        let mut all = Vec::new();
        loop {
            let said = self.next().await;
            let last = fits(&said.data);
            all.push(said);
            if last {
                return all;
            }
        }
    }
}

/// Every message has a documented shape.
fn check(said: &Said) {
    let name = match said.data["type"].as_str().unwrap() {
        "connected" | "resync" | "heartbeat" => "StreamNote",
        "part.delta" => "PartDelta",
        _ if said.id.is_some() => "Event",
        _ => "StateEvent",
    };
    let schema = json!({"components": DOCUMENT["components"], "$ref": format!("#/components/schemas/{name}")});
    let errors: Vec<_> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(&said.data)
        .map(|e| e.to_string())
        .collect();
    assert!(errors.is_empty(), "{name}: {errors:?} {said:?}");
    if name == "Event" {
        assert_eq!(said.data["seq"].as_u64(), said.id);
    }
}

fn is(kind: &'static str) -> impl Fn(&Value) -> bool {
    move |data| data["type"] == kind
}

fn ended(data: &Value) -> bool {
    data["type"] == "turn.updated" && data["data"]["ended_at"].is_i64()
}

#[tokio::test]
async fn the_log_is_read_in_pages() {
    let world = World::new().await;
    let (a, b) = (world.session().await, world.session().await);
    world.ask(&a, "hello").await;
    let (mut events, mut after) = (Vec::new(), 0);
    loop {
        let page = world
            .get(&format!("/v1/events?after={after}&limit=3"))
            .await
            .with(200)
            .json;
        events.extend(page["events"].as_array().unwrap().clone());
        after = page["next"].as_u64().unwrap();
        if page["more"] == false {
            break;
        }
    }
    let seqs: Vec<u64> = events.iter().map(|e| e["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    let of = |session: &str| -> Vec<u64> {
        let mine = events.iter().filter(|e| e["session_id"] == id(session));
        mine.map(|e| e["session_seq"].as_u64().unwrap()).collect()
    };
    assert_eq!(of(&a), (1..=of(&a).len() as u64).collect::<Vec<_>>());
    let only = world
        .get(&format!("/v1/events?session={}", id(&b)))
        .await
        .with(200)
        .json;
    assert_eq!(only["events"].as_array().unwrap().len(), of(&b).len());
    let here = world
        .get(&format!(
            "/v1/events?limit=1000&directory={}",
            world.directory()
        ))
        .await
        .with(200)
        .json;
    assert_eq!(here["events"].as_array().unwrap().len(), events.len());
    assert!(
        events.iter().any(|e| e["type"] == "superseded"),
        "older states are not told twice"
    );
}

#[tokio::test]
async fn a_stream_tells_everything_once_and_in_order() {
    let world = World::new().await;
    let at = world.session().await;
    let mut client = Client::open(&world, &format!("?session={}", id(&at)), None).await;
    let connected = client.next().await;
    assert_eq!(connected.data["type"], "connected");
    assert_eq!(connected.data["data"]["cursor"].as_u64(), connected.id);
    world.say(&at, "/slow 20 5").await;
    let all = client.until(ended).await;

    let ids: Vec<u64> = all.iter().filter_map(|s| s.id).collect();
    assert!(ids.windows(2).all(|w| w[0] < w[1]), "{ids:?}");
    let sequence: Vec<u64> = all
        .iter()
        .filter_map(|s| s.data["session_seq"].as_u64())
        .collect();
    assert!(
        sequence.windows(2).all(|w| w[1] == w[0] + 1),
        "gaps: {sequence:?}"
    );

    // Text by deltas, each at the offset that the ones before add up to, is the final text.
    let mut text = String::new();
    let deltas: Vec<_> = all
        .iter()
        .filter(|s| s.data["type"] == "part.delta")
        .collect();
    assert!(deltas.len() > 1, "nothing was told live");
    let part = &deltas[0].data["data"]["part_id"];
    let last = all
        .iter()
        .rfind(|s| s.data["type"] == "part.updated" && s.data["data"]["id"] == *part)
        .unwrap();
    for said in &all {
        if said.data["type"] == "part.updated" && said.data["data"]["id"] == *part {
            text = said.data["data"]["text"].as_str().unwrap().to_owned();
        } else if said.data["type"] == "part.delta" && said.data["data"]["part_id"] == *part {
            assert!(said.id.is_none());
            assert_eq!(said.data["data"]["offset"], text.len());
            text.push_str(said.data["data"]["delta"].as_str().unwrap());
        }
    }
    assert_eq!(last.data["data"]["text"], text);
    assert!(last.data["data"]["ended_at"].is_i64());
}

#[tokio::test]
async fn a_stream_goes_on_where_it_was_cut() {
    let world = World::new().await;
    let at = world.session().await;
    let mut client = Client::open(&world, "", None).await;
    world.say(&at, "hello").await;
    let first = client.until(is("turn.updated")).await;
    let cut = first.iter().filter_map(|s| s.id).next_back().unwrap();
    drop(client);
    world.ask(&at, "again").await;
    let log = world
        .get(&format!("/v1/events?after={cut}&limit=1000"))
        .await
        .json;

    // By the header, and by the parameter; the header wins.
    for (query, last) in [("?after=1", Some(cut)), (&*format!("?after={cut}"), None)] {
        let mut client = Client::open(&world, query, last).await;
        assert_eq!(client.next().await.id, Some(cut));
        for event in log["events"].as_array().unwrap() {
            assert_eq!(client.next().await.data, *event);
        }
        let marker = world.session().await;
        client
            .until(|data| data["type"] == "session.created" && data["session_id"] == id(&marker))
            .await;
    }
}

#[tokio::test]
async fn what_is_going_on_is_told_to_a_late_client() {
    let world = World::new().await;
    let at = world.session().await;
    let turn = world.say(&at, "/ask run echo yes").await;
    let asked = world.first("/v1/permissions", "permissions").await;
    let mut client = Client::open(&world, "", None).await;
    let told = client.until(is("permission.asked")).await;
    assert_eq!(told.last().unwrap().data["data"], asked);
    assert!(
        told.iter().skip(1).all(|s| s.id.is_none()),
        "state has no position: {told:?}"
    );
    assert!(
        told.iter()
            .any(|s| s.data["type"] == "session.status" && s.data["data"]["kind"] == "busy")
    );
    let answer = format!("/v1/permissions/{}/reply", asked["id"].as_str().unwrap());
    world
        .post(&answer, json!({"reply": "once"}))
        .await
        .with(200);
    client.until(ended).await;
    world.end(&turn).await;
}

#[tokio::test]
async fn a_cursor_from_elsewhere_is_answered_with_resync() {
    let world = World::new().await;
    let at = world.session().await;
    let mut client = Client::open(&world, "", Some(1_000_000)).await;
    let head = client.next().await.id;
    let resync = client.next().await;
    assert_eq!((&resync.data["type"], resync.id), (&json!("resync"), head));
    world
        .post(&format!("{at}/prompt"), said("hello"))
        .await
        .with(202);
    client.until(ended).await;
}

#[tokio::test]
async fn streams_end_when_the_server_stops() {
    let world = World::new().await;
    let mut client = Client::open(&world, "", None).await;
    client.next().await;
    world.stopping.cancel();
    assert_eq!(client.block().await, None);
}

#[tokio::test(start_paused = true)]
async fn silence_is_broken_by_heartbeats() {
    let world = World::new().await;
    let mut client = Client::open(&world, "", None).await;
    client.next().await;
    for _ in 0..2 {
        let before = tokio::time::Instant::now();
        assert_eq!(client.block().await.unwrap(), ": heartbeat");
        assert_eq!(
            before.elapsed(),
            Duration::from_secs(10),
            "on the test's own clock"
        );
        assert_eq!(client.next().await.data["type"], "heartbeat");
    }
}
