use std::sync::Arc;

use sessiond_model::{
    Change, Event, EventBody, EventKind, MessageError, PermissionOutcome, Seq, Session,
    SessionPatch, Status, Timestamp,
};

use super::Bench;
use super::fixtures::{self as fx, mid, pid, sid};
use crate::{EventQuery, Scope};

/// Everything from the start.
#[must_use]
pub(super) fn from_start() -> EventQuery {
    EventQuery {
        after: Seq(0),
        until: None,
        scope: Scope::All,
        limit: 1_000,
    }
}

/// All pages of a query, one after the other.
async fn walk(bench: &Bench, mut query: EventQuery) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        let page = bench.store().events(&query).await.unwrap();
        assert!(page.events.len() <= query.limit as usize);
        if let Some(last) = page.events.last() {
            assert!(page.next >= last.seq);
        }
        all.extend(page.events);
        if !page.more {
            return all;
        }
        assert!(page.next > query.after, "a page that goes nowhere");
        query.after = page.next;
    }
}

async fn bodies(bench: &Bench) -> Vec<EventBody> {
    let events = walk(bench, from_start()).await;
    events.into_iter().map(|e| e.body).collect()
}

fn superseded(body: &EventBody, kind: EventKind) -> bool {
    matches!(body, EventBody::Superseded(k) if *k == kind)
}

fn text_of(body: &EventBody) -> Option<&str> {
    match body {
        EventBody::PartUpdated(part) => match &part.body {
            sessiond_model::PartBody::Text { text, .. } => Some(text),
            _ => None,
        },
        _ => None,
    }
}

pub async fn replay_shows_each_row_at_its_newest_event(bench: &mut Bench) {
    let id = bench.session("a").await;
    let title = |title: &str| {
        Change::UpdateSession(SessionPatch {
            title: Some(title.into()),
            ..Default::default()
        })
    };
    let turn = fx::turn(&id, "t", "m");
    let ask = fx::permission(&id, "p");
    let expired = PermissionOutcome::Expired {
        reason: "x".into(),
        at: Timestamp(1),
    };
    bench
        .commit(
            &id,
            1_100,
            vec![
                Change::PutMessage(fx::user(&id, "m", 1_100)),
                Change::PutPart(fx::text(&id, "m", "p", "one")),
                Change::PutTurn(turn.clone()),
                Change::AskPermission(ask.clone()),
                title("one"),
            ],
        )
        .await;
    bench
        .commit(
            &id,
            1_200,
            vec![
                Change::PutPart(fx::text(&id, "m", "p", "two")),
                Change::PutTurn(fx::completed(&turn)),
                Change::ResolvePermission {
                    id: ask.id,
                    outcome: expired,
                },
                title("two"),
                Change::ReportError(MessageError::Aborted {
                    message: "x".into(),
                }),
            ],
        )
        .await;
    let all = bodies(bench).await;
    assert_eq!(all.len(), 11);
    assert!(matches!(&all[0], EventBody::SessionCreated(s) if s.title == "two"));
    assert!(matches!(&all[1], EventBody::MessageUpdated(m) if m.id == mid("m")));
    assert!(superseded(&all[2], EventKind::PartUpdated));
    assert!(superseded(&all[3], EventKind::TurnUpdated));
    assert!(superseded(&all[4], EventKind::PermissionAsked));
    assert!(superseded(&all[5], EventKind::SessionUpdated));
    assert_eq!(text_of(&all[6]), Some("two"));
    assert!(matches!(&all[7], EventBody::TurnUpdated(t) if **t == fx::completed(&turn)));
    assert!(matches!(&all[8], EventBody::PermissionResolved(p) if p.outcome.is_some()));
    assert!(matches!(&all[9], EventBody::SessionUpdated(s) if s.title == "two"));
    assert!(matches!(
        &all[10],
        EventBody::SessionError(MessageError::Aborted { .. })
    ));
}

pub async fn replay_shows_messages_at_their_creation_too(bench: &mut Bench) {
    let id = bench.session("a").await;
    for created in [1_100, 1_200, 1_300] {
        let message = fx::user(&id, "m", created);
        bench
            .commit(&id, created, vec![Change::PutMessage(message)])
            .await;
    }
    let all = bodies(bench).await;
    let newest = fx::user(&id, "m", 1_300);
    let doc = bench.message(&id, "m").await;
    assert_eq!((doc.created, doc.changed), (Seq(2), Seq(4)));
    assert!(matches!(&all[1], EventBody::MessageUpdated(m) if **m == newest));
    assert!(superseded(&all[2], EventKind::MessageUpdated));
    assert!(matches!(&all[3], EventBody::MessageUpdated(m) if **m == newest));
}

pub async fn replay_of_removed_rows(bench: &mut Bench) {
    let id = bench.session("a").await;
    let changes = vec![
        Change::PutMessage(fx::user(&id, "m", 1_100)),
        Change::PutPart(fx::text(&id, "m", "p", "x")),
        Change::PutPart(fx::text(&id, "m", "q", "y")),
    ];
    bench.commit(&id, 1_100, changes).await;
    let remove = Change::RemovePart {
        message_id: mid("m"),
        part_id: pid("p"),
    };
    bench.commit(&id, 1_200, vec![remove]).await;
    bench
        .commit(&id, 1_300, vec![Change::RemoveMessage(mid("m"))])
        .await;
    // New rows may get the place of the old ones, but never their events.
    let changes = vec![
        Change::PutMessage(fx::user(&id, "n", 1_400)),
        Change::PutPart(fx::text(&id, "n", "r", "z")),
    ];
    bench.commit(&id, 1_400, changes).await;
    let all = bodies(bench).await;
    assert!(superseded(&all[1], EventKind::MessageUpdated));
    assert!(superseded(&all[2], EventKind::PartUpdated));
    assert!(superseded(&all[3], EventKind::PartUpdated));
    assert!(matches!(
        &all[4],
        EventBody::PartRemoved { message_id, part_id }
            if *message_id == mid("m") && *part_id == pid("p")
    ));
    assert!(matches!(&all[5], EventBody::MessageRemoved { message_id } if *message_id == mid("m")));
    assert!(matches!(&all[6], EventBody::MessageUpdated(m) if m.id == mid("n")));
    assert_eq!(text_of(&all[7]), Some("z"));
}

pub async fn replay_of_a_message_put_again(bench: &mut Bench) {
    let id = bench.session("a").await;
    let put = || {
        vec![
            Change::PutMessage(fx::user(&id, "m", 1_100)),
            Change::PutPart(fx::text(&id, "m", "p", "x")),
        ]
    };
    bench.commit(&id, 1_100, put()).await;
    bench
        .commit(&id, 1_200, vec![Change::RemoveMessage(mid("m"))])
        .await;
    bench.commit(&id, 1_300, put()).await;
    let all = bodies(bench).await;
    assert!(superseded(&all[1], EventKind::MessageUpdated));
    assert!(superseded(&all[2], EventKind::PartUpdated));
    assert!(matches!(&all[4], EventBody::MessageUpdated(_)));
    assert_eq!(text_of(&all[5]), Some("x"));
}

pub async fn replay_shows_checkpointed_content(bench: &mut Bench) {
    let id = bench.session("a").await;
    let changes = vec![
        Change::PutMessage(fx::user(&id, "m", 1_100)),
        Change::PutPart(fx::open_text(&id, "m", "p", "a")),
        Change::CheckpointPart(fx::open_text(&id, "m", "q", "silent")),
    ];
    bench.commit(&id, 1_100, changes).await;
    let checkpoint = Change::CheckpointPart(fx::open_text(&id, "m", "p", "abc"));
    bench.commit(&id, 1_200, vec![checkpoint]).await;
    let all = bodies(bench).await;
    assert_eq!(all.len(), 3);
    assert_eq!(text_of(&all[2]), Some("abc"));
}

pub async fn replay_of_status_todos_binding_and_project(bench: &mut Bench) {
    let a = bench.session("a").await;
    let b = bench.session("b").await;
    let round = |name: &str, at: i64| {
        vec![
            Change::SetStatus(Status::busy(Timestamp(at))),
            Change::SetTodos {
                todos: vec![fx::todo(name)],
                turn_id: None,
            },
            Change::BindAgent(sessiond_model::AgentBinding {
                agent: name.into(),
                ..fx::binding(&a)
            }),
            Change::PutProject(sessiond_model::Project {
                name: Some(name.into()),
                ..fx::project("p")
            }),
            Change::AskQuestion(fx::question(&a, name)),
        ]
    };
    bench.commit(&a, 1_100, round("one", 1)).await;
    bench.commit(&a, 1_200, round("two", 2)).await;
    let rename = sessiond_model::Project {
        name: Some("three".into()),
        ..fx::project("p")
    };
    bench
        .commit(&b, 1_300, vec![Change::PutProject(rename)])
        .await;
    let all = bodies(bench).await;
    assert!(superseded(&all[2], EventKind::StatusChanged));
    assert!(superseded(&all[3], EventKind::TodosUpdated));
    assert!(superseded(&all[4], EventKind::AgentBound));
    assert!(superseded(&all[5], EventKind::ProjectUpdated));
    assert!(matches!(&all[6], EventBody::QuestionAsked(q) if q.id.as_str() == "que_one"));
    assert!(matches!(&all[7], EventBody::StatusChanged(s) if s.since == Timestamp(2)));
    assert!(matches!(&all[8], EventBody::TodosUpdated(t) if t[0].content == "two"));
    assert!(matches!(&all[9], EventBody::AgentBound(b) if b.agent == "two"));
    assert!(
        superseded(&all[10], EventKind::ProjectUpdated),
        "another session changed it"
    );
    assert!(matches!(&all[11], EventBody::QuestionAsked(q) if q.id.as_str() == "que_two"));
    assert!(matches!(&all[12], EventBody::ProjectUpdated(p) if p.name.as_deref() == Some("three")));
}

pub async fn replay_of_trash_and_restore(bench: &mut Bench) {
    let id = bench.session("a").await;
    bench.commit(&id, 1_100, vec![Change::TrashSession]).await;
    let all = bodies(bench).await;
    // Whoever was away hears that the session is gone.
    assert!(matches!(&all[0], EventBody::SessionCreated(s) if s.deleted_at.is_some()));
    assert!(matches!(&all[1], EventBody::SessionDeleted(s) if s.deleted_at.is_some()));
    bench.commit(&id, 1_200, vec![Change::RestoreSession]).await;
    let all = bodies(bench).await;
    assert!(superseded(&all[1], EventKind::SessionDeleted));
    assert!(matches!(&all[2], EventBody::SessionCreated(s) if s.deleted_at.is_none()));
}

pub async fn replay_by_session_and_directory(bench: &mut Bench) {
    for (name, directory) in [("a", "/d"), ("b", "/e"), ("c", "/d")] {
        let session = Session {
            directory: directory.into(),
            ..fx::session(name)
        };
        bench
            .commit(&sid(name), 1_000, vec![fx::create(session)])
            .await;
    }
    for name in ["a", "b", "c", "a"] {
        let touch = Change::UpdateSession(SessionPatch::touch());
        bench.commit(&sid(name), 1_100, vec![touch]).await;
    }
    let numbers = async |scope: Scope| {
        let events = walk(
            bench,
            EventQuery {
                scope,
                ..from_start()
            },
        )
        .await;
        events.iter().map(|e| e.seq.0).collect::<Vec<_>>()
    };
    assert_eq!(numbers(Scope::All).await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(numbers(Scope::Session(sid("a"))).await, [1, 4, 7]);
    assert_eq!(
        numbers(Scope::Directory("/d".into())).await,
        [1, 3, 4, 6, 7]
    );
    assert_eq!(numbers(Scope::Directory("/none".into())).await, [0; 0]);
    assert_eq!(numbers(Scope::Session(sid("none"))).await, [0; 0]);
}

pub async fn replay_pages_join_without_gaps(bench: &mut Bench) {
    let a = bench.session("a").await;
    let b = bench.session("b").await;
    for n in 0..6 {
        for id in [&a, &b] {
            let message = Change::PutMessage(fx::user(id, &format!("{id}{n}"), 1_100 + n));
            bench.commit(id, 1_100, vec![message]).await;
        }
    }
    let live = bench.recorder.heard();
    for scope in [Scope::All, Scope::Session(b.clone())] {
        let whole = walk(
            bench,
            EventQuery {
                scope: scope.clone(),
                ..from_start()
            },
        )
        .await;
        let heard: Vec<&Arc<Event>> = (live.iter())
            .filter(|e| scope == Scope::All || e.session_id == b)
            .collect();
        assert_eq!(whole.len(), heard.len());
        for (event, heard) in whole.iter().zip(heard) {
            assert_eq!(
                event,
                heard.as_ref(),
                "a replay of what never changed is what was told"
            );
        }
        for limit in [1, 3, 5] {
            let paged = walk(
                bench,
                EventQuery {
                    scope: scope.clone(),
                    limit,
                    ..from_start()
                },
            );
            assert_eq!(paged.await, whole, "limit {limit}");
        }
    }
}

pub async fn replay_is_bounded(bench: &mut Bench) {
    let id = bench.session("a").await;
    for n in 0..9 {
        let touch = Change::UpdateSession(SessionPatch::touch());
        bench.commit(&id, 1_100 + n, vec![touch]).await;
    }
    let numbers = async |after: u64, until: Option<u64>| {
        let query = EventQuery {
            after: Seq(after),
            until: until.map(Seq),
            ..from_start()
        };
        let events = walk(bench, query).await;
        events.iter().map(|e| e.seq.0).collect::<Vec<_>>()
    };
    assert_eq!(numbers(3, Some(6)).await, [4, 5, 6]);
    assert_eq!(numbers(8, None).await, [9, 10]);
    assert_eq!(numbers(10, None).await, [0; 0]);
    assert_eq!(numbers(99, None).await, [0; 0], "a cursor of the future");
    assert_eq!(numbers(0, Some(0)).await, [0; 0]);
    assert_eq!(numbers(0, Some(u64::MAX)).await.len(), 10);
    let page = bench
        .store()
        .events(&EventQuery {
            after: Seq(99),
            ..from_start()
        })
        .await
        .unwrap();
    assert!(!page.more);
    assert_eq!(page.next, Seq(99));
}
