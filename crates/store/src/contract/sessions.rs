use sessiond_model::{
    Change, EventBody, ForkOrigin, IdStamp, MessageId, PermissionAction, PermissionRule,
    SessionPatch, SessionSeq, Status, StatusKind, Timestamp,
};

use super::Bench;
use super::fixtures::{self as fx, sid};
use crate::{EntityKind, SessionQuery, StoreError};

pub async fn a_created_session_is_read_back_whole(bench: &mut Bench) {
    for session in [fx::session("plain"), fx::full_session("full")] {
        let id = session.id.clone();
        let committed = bench
            .commit(&id, 1_000, vec![fx::create(session.clone())])
            .await;
        assert_eq!(committed.session.as_deref(), Some(&session));
        let body = &committed.events[0].body;
        assert!(matches!(body, EventBody::SessionCreated(s) if **s == session));
        assert_eq!(bench.store().session(&id).await.unwrap(), Some(session));
    }
    assert_eq!(bench.store().session(&sid("none")).await.unwrap(), None);
    assert_eq!(
        bench.store().session_head(&sid("none")).await.unwrap(),
        None
    );
}

pub async fn a_session_is_created_once(bench: &mut Bench) {
    let id = bench.session("a").await;
    let again = vec![fx::create(fx::session("a"))];
    bench
        .refused(&id, again, |e| {
            matches!(e, StoreError::Conflict { kind: EntityKind::Session, id, .. } if id == "ses_a")
        })
        .await;
}

pub async fn an_idempotency_key_creates_one_session(bench: &mut Bench) {
    let keyed = |name: &str| Change::CreateSession {
        session: Box::new(fx::session(name)),
        idempotency: Some(("key".into(), "digest".into())),
    };
    bench.commit(&sid("a"), 1_000, vec![keyed("a")]).await;
    bench
        .refused(&sid("b"), vec![keyed("b")], |e| {
            matches!(e, StoreError::Conflict { kind: EntityKind::IdempotencyKey, id, owner, .. }
                if id == "key" && *owner == Some(sid("a")))
        })
        .await;
    let store = bench.store();
    let found = store.session_by_key("key").await.unwrap();
    assert_eq!(found, Some((sid("a"), "digest".to_owned())));
    assert_eq!(store.session_by_key("other").await.unwrap(), None);
    assert_eq!(store.session(&sid("b")).await.unwrap(), None);
}

pub async fn a_parent_must_exist(bench: &mut Bench) {
    let mut child = fx::session("child");
    child.parent_id = Some(sid("parent"));
    bench
        .refused(&sid("child"), vec![fx::create(child.clone())], |e| {
            matches!(e, StoreError::NotFound { kind: EntityKind::Session, id } if id == "ses_parent")
        })
        .await;
    let parent = bench.session("parent").await;
    // A parent in the trash is still one.
    bench
        .commit(&parent, 1_100, vec![Change::TrashSession])
        .await;
    bench
        .commit(&sid("child"), 1_200, vec![fx::create(child)])
        .await;
}

pub async fn a_patch_raises_the_revision_and_answers_the_session(bench: &mut Bench) {
    let id = bench.session("a").await;
    let rule = |pattern: &str| PermissionRule {
        permission: "edit".into(),
        pattern: pattern.into(),
        action: PermissionAction::Ask,
    };
    let patch = SessionPatch {
        title: Some("New".into()),
        metadata: Some(serde_json::Map::from_iter([("k".into(), "v".into())])),
        permission: Some(vec![rule("a")]),
        permission_append: Some(vec![rule("b")]),
        archived_at: Some(Some(Timestamp(77))),
        agent: Some("plan".into()),
        model: Some(fx::model()),
        revert: Some(fx::full_session("x").revert),
        summary: fx::full_session("x").summary,
        share_url: Some(Some("https://example.org".into())),
        touch: true,
        ..SessionPatch::default()
    };
    let mut expected = fx::session("a");
    patch.apply(&mut expected, Timestamp(2_000));
    expected.revision = 2;
    let changes = vec![Change::UpdateSession(patch)];
    let committed = bench.commit(&id, 2_000, changes).await;
    assert_eq!(committed.session.as_deref(), Some(&expected));
    assert!(matches!(&committed.events[0].body, EventBody::SessionUpdated(s) if **s == expected));
    assert_eq!(
        bench.store().session(&id).await.unwrap(),
        Some(expected.clone())
    );

    // Cleared again; an older time does not take `updated_at` back.
    let patch = SessionPatch {
        archived_at: Some(None),
        revert: Some(None),
        share_url: Some(None),
        touch: true,
        ..SessionPatch::default()
    };
    patch.apply(&mut expected, Timestamp(1_500));
    expected.revision = 3;
    bench
        .commit(&id, 1_500, vec![Change::UpdateSession(patch)])
        .await;
    assert_eq!(expected.updated_at, Timestamp(2_000));
    assert_eq!(
        bench.store().session(&id).await.unwrap(),
        Some(expected.clone())
    );

    // Two changes of the row in one commit raise the revision by one; a message by none.
    let touch = Change::UpdateSession(SessionPatch::touch());
    let message = Change::PutMessage(fx::user(&id, "m", 2_100));
    bench
        .commit(&id, 2_100, vec![touch.clone(), touch, message.clone()])
        .await;
    let stored = bench.read(&id).await;
    assert_eq!((stored.revision, stored.updated_at), (4, Timestamp(2_100)));
    let committed = bench.commit(&id, 2_200, vec![message]).await;
    assert_eq!(committed.session.unwrap().revision, 4);
}

pub async fn a_derived_title_gives_way(bench: &mut Bench) {
    let id = bench.session("a").await;
    let derive = |from: &str, to: &str| {
        Change::UpdateSession(SessionPatch {
            title_if: Some((from.into(), to.into())),
            ..SessionPatch::default()
        })
    };
    bench
        .commit(&id, 1_100, vec![derive("Session a", "Derived")])
        .await;
    bench
        .commit(&id, 1_200, vec![derive("Session a", "Too late")])
        .await;
    let stored = bench.read(&id).await;
    assert_eq!(stored.title, "Derived");
}

pub async fn status_is_kept_with_its_time(bench: &mut Bench) {
    let id = bench.session("a").await;
    for (at, status) in [
        (1_100, Status::busy(Timestamp(1_090))),
        (1_200, Status::error(Timestamp(1_190), "it broke".into())),
        (1_300, Status::idle(Timestamp(1_290))),
    ] {
        let changes = vec![Change::SetStatus(status.clone())];
        let committed = bench.commit(&id, at, changes).await;
        assert!(matches!(&committed.events[0].body, EventBody::StatusChanged(s) if *s == status));
        let stored = bench.read(&id).await;
        assert_eq!(stored.status, status);
        assert_eq!(committed.session.as_deref(), Some(&stored));
    }
    let stored = bench.read(&id).await;
    assert_eq!((stored.revision, stored.status.kind), (4, StatusKind::Idle));
}

pub async fn trash_hides_and_restore_brings_back(bench: &mut Bench) {
    let id = bench.session("a").await;
    let committed = bench.commit(&id, 2_000, vec![Change::TrashSession]).await;
    let body = &committed.events[0].body;
    assert!(matches!(body, EventBody::SessionDeleted(s) if s.deleted_at == Some(Timestamp(2_000))));
    let all = SessionQuery::default();
    assert!(
        bench
            .store()
            .sessions(&all)
            .await
            .unwrap()
            .sessions
            .is_empty()
    );
    let stored = bench.read(&id).await;
    assert_eq!(
        (stored.deleted_at, stored.revision),
        (Some(Timestamp(2_000)), 2)
    );

    let committed = bench.commit(&id, 3_000, vec![Change::RestoreSession]).await;
    let body = &committed.events[0].body;
    assert!(matches!(body, EventBody::SessionCreated(s) if s.deleted_at.is_none()));
    assert_eq!(
        bench.store().sessions(&all).await.unwrap().sessions.len(),
        1
    );
    let stored = bench.read(&id).await;
    assert_eq!((stored.deleted_at, stored.revision), (None, 3));
}

pub async fn trash_keeps_its_first_time(bench: &mut Bench) {
    let id = bench.session("a").await;
    bench.commit(&id, 2_000, vec![Change::TrashSession]).await;
    bench.commit(&id, 3_000, vec![Change::TrashSession]).await;
    let stored = bench.read(&id).await;
    assert_eq!(stored.deleted_at, Some(Timestamp(2_000)));
}

/// An import of several commits is out of sight until its last one.
pub async fn a_session_can_begin_in_the_trash(bench: &mut Bench) {
    let mut session = fx::session("a");
    let id = session.id.clone();
    session.deleted_at = Some(Timestamp(1_000));
    session.status = Status::error(Timestamp(1_000), "not whole".into());
    let message = Change::PutMessage(fx::user(&id, "m", 1_100));
    bench
        .commit(&id, 1_000, vec![fx::create(session.clone()), message])
        .await;
    assert_eq!(bench.read(&id).await, session);
    let all = SessionQuery::default();
    let seen = bench.store().sessions(&all).await.unwrap().sessions;
    assert!(seen.is_empty());
    assert!(
        bench
            .store()
            .unfinished_sessions()
            .await
            .unwrap()
            .is_empty()
    );

    let text = Change::PutPart(fx::text(&id, "m", "t", "the rest"));
    let idle = Change::SetStatus(Status::idle(Timestamp(1_000)));
    bench
        .commit(&id, 1_200, vec![text, idle, Change::RestoreSession])
        .await;
    let seen = bench.store().sessions(&all).await.unwrap().sessions;
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (seen[0].deleted_at, seen[0].status.kind),
        (None, StatusKind::Idle)
    );
    assert_eq!(seen[0].updated_at, Timestamp(1_000));
}

pub async fn totals_follow_step_finish_parts(bench: &mut Bench) {
    let id = bench.session("a").await;
    let step = |name: &str, cost, n| Change::PutPart(fx::step(&id, "m", name, cost, n));
    let message = Change::PutMessage(fx::user(&id, "m", 1_100));
    let text = Change::PutPart(fx::text(&id, "m", "t", "text does not count"));
    bench.commit(&id, 1_100, vec![message, text]).await;
    let stored = bench.read(&id).await;
    assert_eq!((stored.cost, stored.revision), (0.0, 1));

    let committed = bench
        .commit(&id, 1_200, vec![step("s1", 0.5, 3), step("s2", 0.25, 2)])
        .await;
    let stored = bench.read(&id).await;
    assert_eq!(
        (stored.cost, stored.tokens, stored.revision),
        (0.75, fx::tokens(5), 2)
    );
    assert_eq!(committed.session.as_deref(), Some(&stored));

    // A replacement moves by the difference, a checkpoint too, a removal takes it back.
    bench.commit(&id, 1_300, vec![step("s1", 1.0, 4)]).await;
    let checkpoint = Change::CheckpointPart(fx::step(&id, "m", "s2", 0.5, 3));
    bench.commit(&id, 1_400, vec![checkpoint]).await;
    let stored = bench.read(&id).await;
    assert_eq!((stored.cost, stored.tokens), (1.5, fx::tokens(7)));
    let remove = Change::RemovePart {
        message_id: fx::mid("m"),
        part_id: fx::pid("s1"),
    };
    bench.commit(&id, 1_500, vec![remove]).await;
    let stored = bench.read(&id).await;
    assert_eq!((stored.cost, stored.tokens), (0.5, fx::tokens(3)));
    bench
        .commit(&id, 1_600, vec![Change::RemoveMessage(fx::mid("m"))])
        .await;
    let stored = bench.read(&id).await;
    assert_eq!((stored.cost, stored.tokens), (0.0, fx::tokens(0)));
}

pub async fn the_head_holds_what_a_writer_needs(bench: &mut Bench) {
    let id = bench.session("a").await;
    let head = bench.head(&id).await;
    assert_eq!(
        (head.last_seq, head.id_floor),
        (SessionSeq(1), IdStamp::default())
    );
    assert_eq!(head.last_message_at, Timestamp(0));

    let mut late = fx::user(&id, "m", 5_000);
    late.id = MessageId::parse("msg_0123456789abAAAAAAAAAAAAAA").unwrap();
    bench
        .commit(&id, 1_100, vec![Change::PutMessage(late)])
        .await;
    bench
        .commit(
            &id,
            1_200,
            vec![Change::PutMessage(fx::user(&id, "early", 4_000))],
        )
        .await;
    let head = bench.head(&id).await;
    assert_eq!(head.last_seq, SessionSeq(3));
    assert_eq!(head.id_floor, IdStamp::from_bits(0x0123_4567_89ab));
    assert_eq!(head.last_message_at, Timestamp(5_000));
    assert_eq!(
        Some(head.session),
        bench.store().session(&id).await.unwrap()
    );
}

pub async fn the_trash_is_found_by_its_time(bench: &mut Bench) {
    for (name, at) in [("b", 1_100), ("a", 1_200), ("c", 1_100)] {
        let id = bench.session(name).await;
        bench.commit(&id, at, vec![Change::TrashSession]).await;
    }
    bench.session("kept").await;
    let store = bench.store();
    let until = async |at, limit| store.trashed_until(Timestamp(at), limit).await.unwrap();
    assert!(until(1_099, 10).await.is_empty());
    assert_eq!(until(1_100, 10).await, [sid("b"), sid("c")]);
    assert_eq!(until(i64::MAX, 10).await, [sid("b"), sid("c"), sid("a")]);
    assert_eq!(until(i64::MAX, 1).await, [sid("b")]);
}

pub async fn forks_are_numbered_by_family(bench: &mut Bench) {
    bench.session("origin").await;
    let forks = [
        ("one", "origin", None, 1),
        ("two", "one", Some("origin"), 7),
        ("other", "elsewhere", None, 9),
    ];
    for (name, origin, root, number) in forks {
        let mut session = fx::session(name);
        session.fork = Some(ForkOrigin {
            session_id: sid(origin),
            message_id: None,
            root: root.map(sid),
            number,
            turn_id: None,
        });
        let id = session.id.clone();
        bench.commit(&id, 1_100, vec![fx::create(session)]).await;
    }
    bench
        .commit(&sid("two"), 1_200, vec![Change::TrashSession])
        .await;
    let store = bench.store();
    assert_eq!(store.last_fork(&sid("origin")).await.unwrap(), 7);
    assert_eq!(store.last_fork(&sid("elsewhere")).await.unwrap(), 9);
    assert_eq!(store.last_fork(&sid("one")).await.unwrap(), 0);
    bench
        .commit(&sid("two"), 1_300, vec![Change::RestoreSession])
        .await;
    for (origin, forks) in [
        ("origin", vec!["one"]),
        ("one", vec!["two"]),
        ("two", vec![]),
    ] {
        let query = SessionQuery {
            fork_of: Some(sid(origin)),
            ..SessionQuery::default()
        };
        let page = bench.store().sessions(&query).await.unwrap();
        let ids: Vec<_> = page.sessions.into_iter().map(|s| s.id).collect();
        assert_eq!(
            ids,
            forks.into_iter().map(sid).collect::<Vec<_>>(),
            "{origin}"
        );
    }
}
