use sessiond_model::{
    Change, EventBody, IdStamp, MessageId, MessageInfo, PartBody, PartId, SessionId,
};

use super::Bench;
use super::fixtures::{self as fx, mid, pid, sid};
use crate::rules::LARGE_BODY;
use crate::{EntityKind, MessageCursor, MessageQuery, StoreError};

fn all() -> MessageQuery {
    MessageQuery::default()
}

async fn put(bench: &mut Bench, session: &SessionId, names: &[&str]) {
    for (index, name) in names.iter().enumerate() {
        let message = Change::PutMessage(fx::user(session, name, 2_000 + index as i64));
        let part = Change::PutPart(fx::text(session, name, name, &format!("text of {name}")));
        bench.commit(session, 2_000, vec![message, part]).await;
    }
}

async fn names(bench: &Bench, session: &SessionId, query: &MessageQuery) -> Vec<String> {
    let page = bench.store().messages(session, query).await.unwrap();
    let ids = page.messages.iter().map(|m| m.id.as_str());
    ids.map(|id| id.trim_start_matches("msg_").to_owned())
        .collect()
}

pub async fn messages_keep_their_order_and_text(bench: &mut Bench) {
    let id = bench.session("a").await;
    let user = fx::user(&id, "z", 2_000);
    let answer = fx::assistant(&id, "b", "z", 2_001);
    let parts = [
        fx::text(&id, "b", "1", "hello"),
        fx::step(&id, "b", "2", 0.5, 1),
        fx::open_text(&id, "b", "3", "more"),
    ];
    let mut changes = vec![
        Change::PutMessage(user.clone()),
        Change::PutMessage(answer.clone()),
    ];
    changes.extend(parts.iter().cloned().map(Change::PutPart));
    bench.commit(&id, 2_000, changes).await;
    let page = bench.store().messages(&id, &all()).await.unwrap();
    assert_eq!(page.older, None);
    let [first, second] = &page.messages[..] else {
        panic!("{page:?}");
    };
    assert!(first.position < second.position);
    assert_eq!(first.message(), Some(user.clone()));
    assert_eq!(first.info, serde_json::to_string(&user.info).unwrap());
    assert!(first.parts.is_empty());
    assert_eq!(second.message(), Some(answer.clone()));
    assert_eq!(second.info, serde_json::to_string(&answer.info).unwrap());
    assert_eq!(second.typed_parts(), parts);
    for (doc, part) in second.parts.iter().zip(&parts) {
        assert_eq!(doc.body, serde_json::to_string(&part.body).unwrap());
    }
    let store = bench.store();
    let found = store.message(&id, &mid("b")).await.unwrap();
    assert_eq!(found.as_ref(), Some(second));
    assert_eq!(store.message(&id, &mid("none")).await.unwrap(), None);
    assert_eq!(
        store.message_owner(&mid("b")).await.unwrap(),
        Some(id.clone())
    );
    let other = bench.session("other").await;
    assert_eq!(
        bench.store().message(&other, &mid("b")).await.unwrap(),
        None
    );
}

pub async fn pages_go_back_to_the_start(bench: &mut Bench) {
    let id = bench.session("a").await;
    let other = bench.session("other").await;
    for name in ["q", "c", "x", "a", "m"] {
        put(bench, &id, &[name]).await;
        put(bench, &other, &[&format!("{name}2")]).await;
    }
    assert_eq!(names(bench, &id, &all()).await, ["q", "c", "x", "a", "m"]);
    let mut query = MessageQuery {
        before: None,
        limit: Some(2),
    };
    let mut seen = Vec::new();
    loop {
        let page = bench.store().messages(&id, &query).await.unwrap();
        assert!(
            page.messages
                .iter()
                .all(|m| m.parts.len() == 1 && m.session_id == id)
        );
        seen.push(names(bench, &id, &query).await);
        bench.step().await;
        let Some(older) = page.older else { break };
        query.before = Some(older);
    }
    assert_eq!(seen, [vec!["a", "m"], vec!["c", "x"], vec!["q"]]);
    let exact = MessageQuery {
        before: None,
        limit: Some(5),
    };
    assert_eq!(
        bench.store().messages(&id, &exact).await.unwrap().older,
        None
    );
    let none = MessageQuery {
        before: Some(MessageCursor(0)),
        limit: None,
    };
    assert!(names(bench, &id, &none).await.is_empty());
    let far = MessageQuery {
        before: Some(MessageCursor(u64::MAX)),
        limit: Some(1),
    };
    assert_eq!(names(bench, &id, &far).await, ["m"]);
}

pub async fn a_page_of_an_unknown_session_is_empty(bench: &mut Bench) {
    let page = bench.store().messages(&sid("none"), &all()).await.unwrap();
    assert!(page.messages.is_empty() && page.older.is_none());
    let found = bench
        .store()
        .message(&sid("none"), &mid("m"))
        .await
        .unwrap();
    assert_eq!(found, None);
}

pub async fn a_message_id_belongs_to_one_session(bench: &mut Bench) {
    let a = bench.session("a").await;
    let b = bench.session("b").await;
    put(bench, &a, &["m"]).await;
    let stolen = vec![Change::PutMessage(fx::user(&b, "m", 3_000))];
    bench
        .refused(&b, stolen, |e| {
            matches!(e, StoreError::Conflict { kind: EntityKind::Message, id, owner, .. }
                if id == "msg_m" && *owner == Some(sid("a")))
        })
        .await;
}

pub async fn a_part_id_belongs_to_one_message(bench: &mut Bench) {
    let a = bench.session("a").await;
    let b = bench.session("b").await;
    put(bench, &a, &["m", "n"]).await;
    put(bench, &b, &["o"]).await;
    let same = vec![Change::PutPart(fx::text(&a, "n", "m", "x"))];
    bench
        .refused(&a, same, |e| {
            matches!(
                e,
                StoreError::Conflict {
                    kind: EntityKind::Part,
                    owner: None,
                    ..
                }
            )
        })
        .await;
    let other = vec![Change::CheckpointPart(fx::text(&b, "o", "m", "x"))];
    bench
        .refused(&b, other, |e| {
            matches!(e, StoreError::Conflict { kind: EntityKind::Part, owner, .. }
                if *owner == Some(sid("a")))
        })
        .await;
}

pub async fn a_part_needs_its_message(bench: &mut Bench) {
    let a = bench.session("a").await;
    let b = bench.session("b").await;
    put(bench, &b, &["m"]).await;
    for change in [
        Change::PutPart(fx::text(&a, "none", "p", "x")),
        Change::CheckpointPart(fx::text(&a, "none", "p", "x")),
        // A message of another session is not there either.
        Change::PutPart(fx::text(&a, "m", "p", "x")),
    ] {
        bench
            .refused(&a, vec![change], |e| {
                matches!(
                    e,
                    StoreError::NotFound {
                        kind: EntityKind::Message,
                        ..
                    }
                )
            })
            .await;
    }
}

pub async fn parts_are_listed_by_id(bench: &mut Bench) {
    let id = bench.session("a").await;
    bench
        .commit(
            &id,
            2_000,
            vec![Change::PutMessage(fx::user(&id, "m", 2_000))],
        )
        .await;
    for name in ["b", "a", "c", "B", "ab"] {
        let part = fx::text(&id, "m", name, name);
        bench.commit(&id, 2_000, vec![Change::PutPart(part)]).await;
    }
    let doc = bench.message(&id, "m").await;
    let ids: Vec<_> = doc.parts.iter().map(|p| p.id.as_str()).collect();
    assert_eq!(ids, ["prt_B", "prt_a", "prt_ab", "prt_b", "prt_c"]);
}

pub async fn a_replaced_message_keeps_its_place(bench: &mut Bench) {
    let id = bench.session("a").await;
    put(bench, &id, &["m", "n"]).await;
    let mut changed = fx::user(&id, "m", 2_000);
    if let MessageInfo::User(user) = &mut changed.info {
        user.system = Some("be brief".into());
    }
    bench
        .commit(&id, 3_000, vec![Change::PutMessage(changed.clone())])
        .await;
    let changed_part = fx::text(&id, "m", "m", "changed");
    bench
        .commit(&id, 3_000, vec![Change::PutPart(changed_part.clone())])
        .await;
    let page = bench.store().messages(&id, &all()).await.unwrap();
    assert_eq!(page.messages[0].message(), Some(changed));
    assert_eq!(page.messages[0].typed_parts(), [changed_part]);
    assert_eq!(page.messages[1].id, mid("n"));
}

pub async fn a_removed_message_takes_its_parts_along(bench: &mut Bench) {
    let id = bench.session("a").await;
    put(bench, &id, &["m", "n"]).await;
    let committed = bench
        .commit(&id, 3_000, vec![Change::RemoveMessage(mid("m"))])
        .await;
    let body = &committed.events[0].body;
    assert!(matches!(body, EventBody::MessageRemoved { message_id } if *message_id == mid("m")));
    assert_eq!(names(bench, &id, &all()).await, ["n"]);
    assert_eq!(bench.store().message(&id, &mid("m")).await.unwrap(), None);
    assert_eq!(bench.store().message_owner(&mid("m")).await.unwrap(), None);
    // Its ids are free again, and its parts are gone.
    let again = Change::PutMessage(fx::user(&id, "m", 3_000));
    let moved = Change::PutPart(fx::text(&id, "n", "m", "moved"));
    bench.commit(&id, 3_000, vec![again, moved]).await;
    let page = bench.store().messages(&id, &all()).await.unwrap();
    assert_eq!(page.messages[0].parts.len(), 2);
    assert!(page.messages[1].parts.is_empty());
}

pub async fn a_removed_part_is_gone(bench: &mut Bench) {
    let id = bench.session("a").await;
    put(bench, &id, &["m", "n"]).await;
    let remove = |message: &str, part: &str| Change::RemovePart {
        message_id: mid(message),
        part_id: pid(part),
    };
    // A part of another message stays.
    bench.commit(&id, 3_000, vec![remove("n", "m")]).await;
    let doc = bench.message(&id, "m").await;
    assert_eq!(doc.parts.len(), 1);
    let committed = bench.commit(&id, 3_000, vec![remove("m", "m")]).await;
    assert!(matches!(
        &committed.events[0].body,
        EventBody::PartRemoved { message_id, part_id }
            if *message_id == mid("m") && *part_id == pid("m")
    ));
    let doc = bench.message(&id, "m").await;
    assert!(doc.parts.is_empty());
}

pub async fn removal_of_nothing_is_told_all_the_same(bench: &mut Bench) {
    let a = bench.session("a").await;
    let b = bench.session("b").await;
    put(bench, &b, &["m"]).await;
    for message in ["none", "m"] {
        let changes = vec![
            Change::RemovePart {
                message_id: mid(message),
                part_id: pid("m"),
            },
            Change::RemoveMessage(mid(message)),
        ];
        let committed = bench.commit(&a, 3_000, changes).await;
        assert_eq!(committed.events.len(), 2);
    }
    let doc = bench.message(&b, "m").await;
    assert_eq!(doc.parts.len(), 1, "another session's message stays");
}

pub async fn positions_are_never_given_twice(bench: &mut Bench) {
    let id = bench.session("a").await;
    put(bench, &id, &["m", "n"]).await;
    let doc = bench.message(&id, "n").await;
    bench
        .commit(&id, 3_000, vec![Change::RemoveMessage(mid("n"))])
        .await;
    put(bench, &id, &["o"]).await;
    let next = bench.message(&id, "o").await;
    assert!(next.position > doc.position, "cursors stay good");
}

pub async fn checkpoints_are_kept_without_events(bench: &mut Bench) {
    let id = bench.session("a").await;
    bench
        .commit(
            &id,
            2_000,
            vec![Change::PutMessage(fx::user(&id, "m", 2_000))],
        )
        .await;
    for text in ["a", "ab", "abc"] {
        let part = fx::open_text(&id, "m", "p", text);
        let committed = bench
            .commit(&id, 2_100, vec![Change::CheckpointPart(part.clone())])
            .await;
        assert!(committed.events.is_empty());
        let doc = bench.message(&id, "m").await;
        assert_eq!(doc.typed_parts(), [part]);
    }
}

pub async fn large_bodies_come_back(bench: &mut Bench) {
    let id = bench.session("a").await;
    bench
        .commit(
            &id,
            2_000,
            vec![Change::PutMessage(fx::user(&id, "m", 2_000))],
        )
        .await;
    let sizes = [
        LARGE_BODY - 40,
        LARGE_BODY,
        LARGE_BODY + 1,
        3 * LARGE_BODY + 7,
        2_000_000,
    ];
    for size in sizes {
        let big = fx::text(&id, "m", "p", &"é".repeat(size / 2));
        for change in [
            Change::CheckpointPart(big.clone()),
            Change::PutPart(big.clone()),
        ] {
            bench.commit(&id, 2_100, vec![change]).await;
            let doc = bench.message(&id, "m").await;
            assert_eq!(doc.typed_parts(), [big.clone()]);
            let page = bench.store().messages(&id, &all()).await.unwrap();
            assert_eq!(page.messages, [doc]);
        }
    }
    let small = fx::text(&id, "m", "p", "small again");
    bench
        .commit(&id, 2_200, vec![Change::PutPart(small.clone())])
        .await;
    let doc = bench.message(&id, "m").await;
    assert_eq!(doc.typed_parts(), [small]);
}

pub async fn equal_large_bodies_are_independent(bench: &mut Bench) {
    let a = bench.session("a").await;
    let b = bench.session("b").await;
    let big = "x".repeat(LARGE_BODY * 2);
    for (session, message) in [(&a, "m"), (&b, "n")] {
        let put = Change::PutMessage(fx::user(session, message, 2_000));
        let first = Change::PutPart(fx::text(session, message, &format!("{message}1"), &big));
        let second = Change::PutPart(fx::text(session, message, &format!("{message}2"), &big));
        bench.commit(session, 2_000, vec![put, first, second]).await;
    }
    // The same once more, then one changed, one removed, one message removed.
    let same = Change::PutPart(fx::text(&a, "m", "m1", &big));
    bench.commit(&a, 2_100, vec![same]).await;
    let changed = Change::PutPart(fx::text(&a, "m", "m1", "small"));
    bench.commit(&a, 2_200, vec![changed]).await;
    bench
        .commit(&b, 2_300, vec![Change::RemoveMessage(mid("n"))])
        .await;
    let doc = bench.message(&a, "m").await;
    assert_eq!(doc.typed_parts()[0].body, PartBody::text("small"));
    assert_eq!(doc.typed_parts()[1].body, PartBody::text(big.clone()));
    let remove = Change::RemovePart {
        message_id: mid("m"),
        part_id: pid("m2"),
    };
    bench.commit(&a, 2_400, vec![remove]).await;
    // And back again after the last one was gone.
    bench
        .commit(
            &a,
            2_500,
            vec![Change::PutPart(fx::text(&a, "m", "m3", &big))],
        )
        .await;
    let doc = bench.message(&a, "m").await;
    assert_eq!(doc.typed_parts()[1].body, PartBody::text(big));
}

pub async fn any_text_comes_back(bench: &mut Bench) {
    let strange = [
        "",
        "'; DROP TABLE session; --",
        "\"quotes\" \\ back\\slash \n new\r\nline \t tab \u{1}\u{7f}",
        "日本語 עברית 🏳️‍🌈 e\u{301} \u{202e}rtl \u{feff}bom \u{10ffff}",
        "$1 ?1 :a @b %_%",
    ];
    let id = bench.session("a").await;
    bench
        .commit(
            &id,
            2_000,
            vec![Change::PutMessage(fx::user(&id, "m", 2_000))],
        )
        .await;
    for text in strange {
        let part = fx::text(&id, "m", "p", text);
        let title = Change::UpdateSession(sessiond_model::SessionPatch {
            title: Some(text.into()),
            ..Default::default()
        });
        bench
            .commit(&id, 2_000, vec![title, Change::PutPart(part.clone())])
            .await;
        let doc = bench.message(&id, "m").await;
        assert_eq!(doc.typed_parts(), [part]);
        let stored = bench.read(&id).await;
        assert_eq!(stored.title, text);
    }
}

pub async fn ids_seen_raise_the_floor(bench: &mut Bench) {
    let id = bench.session("a").await;
    let floor = async |bench: &Bench| {
        let head = bench.head(&id).await;
        head.id_floor.bits()
    };
    let message_id = |hex: &str| MessageId::parse(&format!("msg_{hex}AAAAAAAAAAAAAA")).unwrap();
    let mut message = fx::user(&id, "x", 2_000);
    // The first id counts wherever it lies on the circle.
    message.id = message_id("fffffffffff0");
    bench
        .commit(&id, 2_000, vec![Change::PutMessage(message.clone())])
        .await;
    assert_eq!(floor(bench).await, 0xffff_ffff_fff0);
    let mut part = fx::text(&id, "x", "p", "x");
    part.message_id = message.id.clone();
    part.id = PartId::parse("prt_000000000005AAAAAAAAAAAAAA").unwrap();
    bench
        .commit(&id, 2_000, vec![Change::PutPart(part.clone())])
        .await;
    assert_eq!(floor(bench).await, 5, "after the wrap");
    part.id = PartId::parse("prt_000000000009AAAAAAAAAAAAAA").unwrap();
    bench
        .commit(&id, 2_000, vec![Change::CheckpointPart(part)])
        .await;
    assert_eq!(floor(bench).await, 9);
    message.id = message_id("000000000002");
    let raise = Change::RaiseIdFloor(IdStamp::from_bits(7));
    bench
        .commit(&id, 2_000, vec![Change::PutMessage(message), raise])
        .await;
    assert_eq!(floor(bench).await, 9, "never back");
    let raise = Change::RaiseIdFloor(IdStamp::from_bits(12));
    bench.commit(&id, 2_000, vec![raise]).await;
    assert_eq!(floor(bench).await, 12);
}
