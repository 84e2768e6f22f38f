use sessiond_model::{
    Change, Commit, EventKind, IdStamp, MessageError, PermissionOutcome, PermissionReply,
    QuestionOutcome, Require, Seq, SessionPatch, SessionSeq, Status, Timestamp,
};

use super::Bench;
use super::fixtures::{self as fx, mid, pid, sid, tid};
use crate::{EntityKind, MessageQuery, StoreError, UnavailableReason};

pub async fn an_unknown_session_is_not_found(bench: &mut Bench) {
    let touch = vec![Change::UpdateSession(SessionPatch::touch())];
    let not_found = |e: &StoreError| matches!(e, StoreError::NotFound { kind: EntityKind::Session, id } if id == "ses_none");
    bench.refused(&sid("none"), touch, not_found).await;
    bench.refused(&sid("none"), Vec::new(), not_found).await;
}

pub async fn changes_must_belong_to_the_session(bench: &mut Bench) {
    let a = bench.session("a").await;
    let b = bench.session("b").await;
    let mut binding = fx::binding(&b);
    binding.pid = Some(1);
    for change in [
        Change::PutMessage(fx::user(&b, "m", 1_100)),
        Change::PutPart(fx::text(&b, "m", "p", "x")),
        Change::CheckpointPart(fx::text(&b, "m", "p", "x")),
        Change::PutTurn(fx::turn(&b, "t", "m")),
        Change::AskPermission(fx::permission(&b, "p")),
        Change::AskQuestion(fx::question(&b, "q")),
        Change::BindAgent(binding),
    ] {
        bench
            .refused(
                &a,
                vec![change],
                |e| matches!(e, StoreError::Conflict { owner: Some(o), .. } if *o == sid("b")),
            )
            .await;
    }
    let late = vec![
        Change::SetStatus(Status::busy(Timestamp(1))),
        fx::create(fx::session("a")),
    ];
    bench
        .refused(&a, late, |e| matches!(e, StoreError::Conflict { .. }))
        .await;
    let other = vec![fx::create(fx::session("d"))];
    bench
        .refused(&sid("c"), other, |e| {
            matches!(e, StoreError::Conflict { .. })
        })
        .await;
}

pub async fn a_commit_is_all_or_nothing(bench: &mut Bench) {
    let id = bench.session("a").await;
    let before = bench.store().session_head(&id).await.unwrap();
    let failing = vec![
        Change::UpdateSession(SessionPatch {
            title: Some("half".into()),
            touch: true,
            ..SessionPatch::default()
        }),
        Change::PutMessage(fx::user(&id, "m", 1_100)),
        Change::PutPart(fx::text(&id, "m", "p", "x")),
        Change::PutTurn(fx::turn(&id, "t", "m")),
        Change::SetTodos {
            todos: vec![fx::todo("x")],
            turn_id: None,
        },
        Change::AskPermission(fx::permission(&id, "p")),
        Change::AskQuestion(fx::question(&id, "q")),
        Change::BindAgent(fx::binding(&id)),
        Change::PutProfile(fx::profile("demo")),
        Change::PutProject(fx::project("p")),
        Change::RecordUsage(fx::usage("t", 1.0)),
        Change::SetFileChanges {
            turn_id: tid("t"),
            files: vec![fx::file("/a")],
        },
        Change::SetShare(Some(Box::new(fx::share("u")))),
        Change::PutPart(fx::text(&id, "unknown", "p2", "x")),
    ];
    bench
        .refused(&id, failing, |e| {
            matches!(e, StoreError::NotFound { kind: EntityKind::Message, id } if id == "msg_unknown")
        })
        .await;
    bench.step().await;
    let store = bench.store();
    assert_eq!(store.session_head(&id).await.unwrap(), before);
    let page = store.messages(&id, &MessageQuery::default()).await.unwrap();
    assert!(page.messages.is_empty());
    assert_eq!(store.message_owner(&mid("m")).await.unwrap(), None);
    assert_eq!(store.turn(&tid("t")).await.unwrap(), None);
    assert!(store.todos(&id).await.unwrap().is_empty());
    let ask = fx::permission(&id, "p").id;
    assert_eq!(store.permission(&ask).await.unwrap(), None);
    let ask = fx::question(&id, "q").id;
    assert_eq!(store.question(&ask).await.unwrap(), None);
    assert_eq!(store.binding(&id).await.unwrap(), None);
    assert!(store.profiles().await.unwrap().is_empty());
    assert!(store.projects().await.unwrap().is_empty());
    assert!(store.usage(&id).await.unwrap().is_empty());
    assert!(store.file_changes(&tid("t")).await.unwrap().is_empty());
    assert_eq!(store.share(&id).await.unwrap(), None);

    // The next commit goes on where the last good one ended.
    let message = Change::PutMessage(fx::user(&id, "m", 1_100));
    let committed = bench.commit(&id, 1_100, vec![message]).await;
    let event = &committed.events[0];
    assert_eq!((event.seq, event.session_seq), (Seq(2), SessionSeq(2)));

    // A creation that fails leaves no session.
    let failing = vec![
        fx::create(fx::session("b")),
        Change::ResolvePermission {
            id: fx::permission(&sid("b"), "none").id,
            outcome: PermissionOutcome::Expired {
                reason: "x".into(),
                at: Timestamp(1),
            },
        },
    ];
    bench
        .refused(&sid("b"), failing, |e| {
            matches!(
                e,
                StoreError::NotFound {
                    kind: EntityKind::Permission,
                    ..
                }
            )
        })
        .await;
    assert_eq!(bench.store().session(&sid("b")).await.unwrap(), None);
    assert_eq!(bench.store().health().await.unwrap().sessions, 1);
}

pub async fn a_revision_is_required(bench: &mut Bench) {
    let id = bench.session("a").await;
    let touch = || vec![Change::UpdateSession(SessionPatch::touch())];
    let right = vec![Require::Revision(1)];
    bench
        .try_commit_if(&id, 1_100, right.clone(), touch())
        .await
        .unwrap();
    bench.step().await;
    let error = bench
        .try_commit_if(&id, 1_200, right, touch())
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        StoreError::Precondition(Require::Revision(1))
    ));
    let stored = bench.read(&id).await;
    assert_eq!(stored.revision, 2);
}

pub async fn absent_and_present_messages_are_required(bench: &mut Bench) {
    let a = bench.session("a").await;
    let b = bench.session("b").await;
    let put = vec![Change::PutMessage(fx::user(&a, "m", 1_100))];
    let absent = vec![Require::MessageAbsent(mid("m"))];
    let present = vec![Require::MessagePresent(mid("m"))];
    let touch = || vec![Change::UpdateSession(SessionPatch::touch())];

    let error = bench
        .try_commit_if(&a, 1_100, present.clone(), touch())
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        StoreError::Precondition(Require::MessagePresent(_))
    ));
    bench
        .try_commit_if(&a, 1_100, absent.clone(), put.clone())
        .await
        .unwrap();
    bench.step().await;
    for session in [&a, &b] {
        let error = bench
            .try_commit_if(session, 1_200, absent.clone(), touch())
            .await
            .unwrap_err();
        assert!(matches!(
            error,
            StoreError::Precondition(Require::MessageAbsent(_))
        ));
    }
    bench
        .try_commit_if(&a, 1_200, present.clone(), touch())
        .await
        .unwrap();
    let error = bench
        .try_commit_if(&b, 1_200, present, touch())
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        StoreError::Precondition(Require::MessagePresent(_))
    ));
}

pub async fn a_session_outside_of_the_trash_is_required(bench: &mut Bench) {
    let id = bench.session("a").await;
    let require = || vec![Require::NotDeleted];
    let touch = || vec![Change::UpdateSession(SessionPatch::touch())];
    bench
        .try_commit_if(&id, 1_100, require(), touch())
        .await
        .unwrap();
    bench.commit(&id, 1_200, vec![Change::TrashSession]).await;
    let error = bench
        .try_commit_if(&id, 1_300, require(), touch())
        .await
        .unwrap_err();
    assert!(matches!(
        error,
        StoreError::Precondition(Require::NotDeleted)
    ));
    bench.commit(&id, 1_400, vec![Change::RestoreSession]).await;
    bench
        .try_commit_if(&id, 1_500, require(), touch())
        .await
        .unwrap();
}

pub async fn requirements_of_a_creation(bench: &mut Bench) {
    let create = || vec![fx::create(fx::session("a"))];
    for never in [Require::Revision(1), Require::MessagePresent(mid("m"))] {
        let require = vec![never.clone()];
        let error = bench
            .try_commit_if(&sid("a"), 1, require, create())
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Precondition(r) if r == never));
    }
    let require = vec![Require::NotDeleted, Require::MessageAbsent(mid("m"))];
    bench
        .try_commit_if(&sid("a"), 1, require, create())
        .await
        .unwrap();
}

pub async fn an_older_epoch_is_fenced_off(bench: &mut Bench) {
    let id = bench.session("a").await;
    let commit = |fence| Commit {
        session_id: id.clone(),
        fence,
        at: Timestamp(1_100),
        require: vec![Require::Revision(99)],
        changes: vec![Change::UpdateSession(SessionPatch::touch())],
    };
    let ours = bench.store().epoch();
    let touch = vec![Change::UpdateSession(SessionPatch::touch())];
    bench.try_commit(&id, 1_050, touch).await.unwrap();
    // Even with a failing requirement: who has lost the session hears of that first.
    let error = bench.store().commit(commit(ours - 1)).await.unwrap_err();
    assert!(matches!(error, StoreError::Fenced { held, offered }
        if held == ours && offered == ours - 1));

    let mut takeover = commit(ours + 10);
    takeover.require.clear();
    bench.store().commit(takeover).await.unwrap();
    let error = bench.store().commit(commit(ours)).await.unwrap_err();
    assert!(matches!(error, StoreError::Fenced { held, .. } if held == ours + 10));
    let stored = bench.read(&id).await;
    assert_eq!(stored.revision, 3);
}

pub async fn every_change_gives_its_event(bench: &mut Bench) {
    let id = bench.session("a").await;
    let changes = vec![
        (
            Change::UpdateSession(SessionPatch::touch()),
            EventKind::SessionUpdated,
        ),
        (
            Change::SetStatus(Status::busy(Timestamp(1))),
            EventKind::StatusChanged,
        ),
        (
            Change::PutMessage(fx::user(&id, "m", 1_100)),
            EventKind::MessageUpdated,
        ),
        (
            Change::PutPart(fx::text(&id, "m", "p", "x")),
            EventKind::PartUpdated,
        ),
        (
            Change::RemovePart {
                message_id: mid("m"),
                part_id: pid("p"),
            },
            EventKind::PartRemoved,
        ),
        (Change::RemoveMessage(mid("m")), EventKind::MessageRemoved),
        (
            Change::SetTodos {
                todos: vec![fx::todo("x")],
                turn_id: Some(tid("t")),
            },
            EventKind::TodosUpdated,
        ),
        (
            Change::AskPermission(fx::permission(&id, "p")),
            EventKind::PermissionAsked,
        ),
        (
            Change::ResolvePermission {
                id: fx::permission(&id, "p").id,
                outcome: PermissionOutcome::Answered {
                    reply: PermissionReply::Once,
                    message: None,
                    at: Timestamp(1),
                },
            },
            EventKind::PermissionResolved,
        ),
        (
            Change::AskQuestion(fx::question(&id, "q")),
            EventKind::QuestionAsked,
        ),
        (
            Change::ResolveQuestion {
                id: fx::question(&id, "q").id,
                outcome: QuestionOutcome::Rejected { at: Timestamp(1) },
            },
            EventKind::QuestionResolved,
        ),
        (
            Change::PutTurn(fx::turn(&id, "t", "m")),
            EventKind::TurnUpdated,
        ),
        (Change::BindAgent(fx::binding(&id)), EventKind::AgentBound),
        (
            Change::PutProject(fx::project("p")),
            EventKind::ProjectUpdated,
        ),
        (
            Change::ReportError(MessageError::Aborted {
                message: "x".into(),
            }),
            EventKind::SessionError,
        ),
        (Change::TrashSession, EventKind::SessionDeleted),
        (Change::RestoreSession, EventKind::SessionCreated),
    ];
    let (changes, kinds): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
    let committed = bench.commit(&id, 1_234, changes).await;
    let told: Vec<_> = committed.events.iter().map(|e| e.body.kind()).collect();
    assert_eq!(told, kinds);
    let stored = bench.read(&id).await;
    for (index, event) in committed.events.iter().enumerate() {
        let number = index as u64 + 2;
        assert_eq!(
            (event.seq, event.session_seq),
            (Seq(number), SessionSeq(number))
        );
        assert_eq!((&event.session_id, event.at), (&id, Timestamp(1_234)));
        assert_eq!(event.project_id, stored.project_id);
        assert_eq!(*event.directory, *stored.directory);
    }
    assert_eq!(bench.store().last_seq().await.unwrap(), Seq(18));
}

pub async fn silent_changes_give_no_event(bench: &mut Bench) {
    let id = bench.session("a").await;
    let message = Change::PutMessage(fx::user(&id, "m", 1_100));
    let turn = Change::PutTurn(fx::turn(&id, "t", "m"));
    bench.commit(&id, 1_100, vec![message, turn]).await;
    let committed = bench
        .commit(
            &id,
            1_200,
            vec![
                Change::CheckpointPart(fx::open_text(&id, "m", "p", "x")),
                Change::PutProfile(fx::profile("demo")),
                Change::RecordUsage(fx::usage("t", 1.0)),
                Change::SetFileChanges {
                    turn_id: tid("t"),
                    files: vec![fx::file("/a")],
                },
                Change::SetShare(Some(Box::new(fx::share("u")))),
                Change::RaiseIdFloor(IdStamp::from_bits(99)),
            ],
        )
        .await;
    assert!(committed.events.is_empty());
    assert_eq!(bench.store().last_seq().await.unwrap(), Seq(3));
    let head = bench.head(&id).await;
    assert_eq!((head.last_seq, head.session.revision), (SessionSeq(3), 1));
    assert_eq!(head.id_floor, IdStamp::from_bits(99));
    assert_eq!(bench.recorder.heard().len(), 3);
}

pub async fn an_empty_commit_is_answered(bench: &mut Bench) {
    let id = bench.session("a").await;
    let committed = bench.commit(&id, 1_200, Vec::new()).await;
    assert!(committed.events.is_empty());
    let stored = bench.store().session(&id).await.unwrap();
    assert_eq!(committed.session.as_deref(), stored.as_ref());
}

pub async fn a_closed_store_says_so(bench: &mut Bench) {
    let id = bench.session("a").await;
    let closed = |e: StoreError| {
        matches!(
            e,
            StoreError::Unavailable {
                reason: UnavailableReason::Closed
            }
        )
    };
    bench.store().close().await.unwrap();
    bench.store().close().await.unwrap();
    let touch = vec![Change::UpdateSession(SessionPatch::touch())];
    assert!(closed(
        bench.try_commit(&id, 1_100, touch).await.unwrap_err()
    ));
    assert!(closed(bench.store().session(&id).await.unwrap_err()));
    assert!(closed(bench.store().last_seq().await.unwrap_err()));
    let page = bench.store().messages(&id, &MessageQuery::default()).await;
    assert!(closed(page.unwrap_err()));
}
