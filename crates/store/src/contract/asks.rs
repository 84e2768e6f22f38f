use sessiond_model::{
    Change, EventBody, PermissionOutcome, PermissionReply, QuestionOutcome, Session, SessionId,
    Timestamp,
};

use super::Bench;
use super::fixtures::{self as fx, sid};
use crate::{AskQuery, EntityKind, StoreError};

fn reply() -> PermissionOutcome {
    PermissionOutcome::Answered {
        reply: PermissionReply::Always,
        message: Some("go on".into()),
        at: Timestamp(1_300),
    }
}

fn answer() -> QuestionOutcome {
    QuestionOutcome::Answered {
        answers: vec![vec!["A".into()]],
        at: Timestamp(1_300),
    }
}

async fn session_in(bench: &mut Bench, name: &str, directory: &str) -> SessionId {
    let session = Session {
        directory: directory.into(),
        ..fx::session(name)
    };
    bench
        .commit(&sid(name), 1_000, vec![fx::create(session)])
        .await;
    sid(name)
}

pub async fn a_permission_is_answered_once(bench: &mut Bench) {
    let id = bench.session("a").await;
    let mut ask = fx::permission(&id, "p");
    let committed = bench
        .commit(&id, 1_200, vec![Change::AskPermission(ask.clone())])
        .await;
    assert!(matches!(&committed.events[0].body, EventBody::PermissionAsked(p) if **p == ask));
    assert_eq!(
        bench.store().permission(&ask.id).await.unwrap(),
        Some(ask.clone())
    );

    let resolve = Change::ResolvePermission {
        id: ask.id.clone(),
        outcome: reply(),
    };
    let committed = bench.commit(&id, 1_300, vec![resolve.clone()]).await;
    ask.outcome = Some(reply());
    assert!(matches!(&committed.events[0].body, EventBody::PermissionResolved(p) if **p == ask));
    assert_eq!(
        bench.store().permission(&ask.id).await.unwrap(),
        Some(ask.clone())
    );
    assert!(
        bench
            .store()
            .pending_permissions(&AskQuery::default())
            .await
            .unwrap()
            .is_empty()
    );
    bench
        .refused(&id, vec![resolve], |e| {
            matches!(e, StoreError::Conflict { kind: EntityKind::Permission, reason, .. }
                if *reason == "has ended before")
        })
        .await;
}

pub async fn a_question_is_answered_once(bench: &mut Bench) {
    let id = bench.session("a").await;
    let mut ask = fx::question(&id, "q");
    let committed = bench
        .commit(&id, 1_200, vec![Change::AskQuestion(ask.clone())])
        .await;
    assert!(matches!(&committed.events[0].body, EventBody::QuestionAsked(q) if **q == ask));
    assert_eq!(
        bench.store().question(&ask.id).await.unwrap(),
        Some(ask.clone())
    );

    let resolve = Change::ResolveQuestion {
        id: ask.id.clone(),
        outcome: answer(),
    };
    let committed = bench.commit(&id, 1_300, vec![resolve.clone()]).await;
    ask.outcome = Some(answer());
    assert!(matches!(&committed.events[0].body, EventBody::QuestionResolved(q) if **q == ask));
    assert_eq!(
        bench.store().question(&ask.id).await.unwrap(),
        Some(ask.clone())
    );
    assert!(
        bench
            .store()
            .pending_questions(&AskQuery::default())
            .await
            .unwrap()
            .is_empty()
    );
    bench
        .refused(&id, vec![resolve], |e| {
            matches!(e, StoreError::Conflict { kind: EntityKind::Question, reason, .. }
                if *reason == "has ended before")
        })
        .await;
}

pub async fn an_ask_of_another_session_is_not_found(bench: &mut Bench) {
    let a = bench.session("a").await;
    let b = bench.session("b").await;
    let permission = fx::permission(&a, "p");
    let question = fx::question(&a, "q");
    let changes = vec![
        Change::AskPermission(permission.clone()),
        Change::AskQuestion(question.clone()),
    ];
    bench.commit(&a, 1_200, changes).await;
    let resolve = |p: &sessiond_model::PermissionId| {
        vec![Change::ResolvePermission {
            id: p.clone(),
            outcome: reply(),
        }]
    };
    let no_permission = |e: &StoreError| {
        matches!(
            e,
            StoreError::NotFound {
                kind: EntityKind::Permission,
                ..
            }
        )
    };
    bench
        .refused(&b, resolve(&permission.id), no_permission)
        .await;
    bench
        .refused(&b, resolve(&fx::permission(&b, "none").id), no_permission)
        .await;
    let resolve = |q: &sessiond_model::QuestionId| {
        vec![Change::ResolveQuestion {
            id: q.clone(),
            outcome: answer(),
        }]
    };
    let no_question = |e: &StoreError| {
        matches!(
            e,
            StoreError::NotFound {
                kind: EntityKind::Question,
                ..
            }
        )
    };
    bench.refused(&b, resolve(&question.id), no_question).await;
    bench
        .refused(&b, resolve(&fx::question(&b, "none").id), no_question)
        .await;
    let none = fx::permission(&b, "none").id;
    assert_eq!(bench.store().permission(&none).await.unwrap(), None);
    let none = fx::question(&b, "none").id;
    assert_eq!(bench.store().question(&none).await.unwrap(), None);
}

pub async fn an_ask_exists_once(bench: &mut Bench) {
    let a = bench.session("a").await;
    let b = bench.session("b").await;
    let changes = vec![
        Change::AskPermission(fx::permission(&a, "p")),
        Change::AskQuestion(fx::question(&a, "q")),
    ];
    bench.commit(&a, 1_200, changes).await;
    for session in [&a, &b] {
        let again = vec![Change::AskPermission(fx::permission(session, "p"))];
        bench
            .refused(session, again, |e| {
                matches!(
                    e,
                    StoreError::Conflict {
                        kind: EntityKind::Permission,
                        ..
                    }
                )
            })
            .await;
        let again = vec![Change::AskQuestion(fx::question(session, "q"))];
        bench
            .refused(session, again, |e| {
                matches!(
                    e,
                    StoreError::Conflict {
                        kind: EntityKind::Question,
                        ..
                    }
                )
            })
            .await;
    }
}

pub async fn pending_asks_are_listed_oldest_first(bench: &mut Bench) {
    let b = session_in(bench, "b", "/d").await;
    let a = session_in(bench, "a", "/e").await;
    for (session, name) in [(&b, "2"), (&a, "1"), (&b, "0"), (&a, "3")] {
        let changes = vec![
            Change::AskPermission(fx::permission(session, name)),
            Change::AskQuestion(fx::question(session, name)),
        ];
        bench.commit(session, 1_200, changes).await;
    }
    let resolve = Change::ResolvePermission {
        id: fx::permission(&a, "3").id,
        outcome: reply(),
    };
    bench.commit(&a, 1_300, vec![resolve]).await;
    let names = async |query: AskQuery| {
        let store = bench.store();
        let permissions = store.pending_permissions(&query).await.unwrap();
        let questions = store.pending_questions(&query).await.unwrap();
        let permissions: String = permissions.iter().map(|p| &p.id.as_str()[4..]).collect();
        let questions: String = questions.iter().map(|q| &q.id.as_str()[4..]).collect();
        (permissions, questions)
    };
    let expect = |p: &str, q: &str| (p.to_owned(), q.to_owned());
    assert_eq!(names(AskQuery::default()).await, expect("210", "2103"));
    let of_session = AskQuery {
        session_id: Some(a.clone()),
        directory: None,
    };
    assert_eq!(names(of_session).await, expect("1", "13"));
    let of_directory = AskQuery {
        session_id: None,
        directory: Some("/d".into()),
    };
    assert_eq!(names(of_directory).await, expect("20", "20"));
    let of_both = AskQuery {
        session_id: Some(a),
        directory: Some("/d".into()),
    };
    assert_eq!(names(of_both).await, expect("", ""));
}

pub async fn ended_asks_are_listed_newest_first(bench: &mut Bench) {
    let other = bench.session("other").await;
    let id = bench.session("a").await;
    for (session, name) in [
        (&id, "0"),
        (&id, "1"),
        (&id, "2"),
        (&other, "3"),
        (&id, "4"),
    ] {
        let changes = vec![
            Change::AskPermission(fx::permission(session, name)),
            Change::AskQuestion(fx::question(session, name)),
        ];
        bench.commit(session, 1_200, changes).await;
    }
    // In another order than they were asked in; one stays pending.
    for (session, name) in [(&other, "3"), (&id, "4"), (&id, "0"), (&id, "2")] {
        let changes = vec![
            Change::ResolvePermission {
                id: fx::permission(session, name).id,
                outcome: reply(),
            },
            Change::ResolveQuestion {
                id: fx::question(session, name).id,
                outcome: answer(),
            },
        ];
        bench.commit(session, 1_300, changes).await;
    }
    let store = bench.store();
    for (limit, expected) in [(10, "420"), (2, "42"), (0, "")] {
        let permissions = store.ended_permissions(&id, limit).await.unwrap();
        let questions = store.ended_questions(&id, limit).await.unwrap();
        assert!(permissions.iter().all(|p| p.outcome == Some(reply())));
        assert!(questions.iter().all(|q| q.outcome == Some(answer())));
        let permissions: String = permissions.iter().map(|p| &p.id.as_str()[4..]).collect();
        let questions: String = questions.iter().map(|q| &q.id.as_str()[4..]).collect();
        assert_eq!(
            (permissions.as_str(), questions.as_str()),
            (expected, expected)
        );
    }
    bench.commit(&id, 1_400, vec![Change::TrashSession]).await;
    assert_eq!(bench.store().ended_permissions(&id, 9).await.unwrap(), []);
}

pub async fn pending_asks_of_the_trash_are_hidden(bench: &mut Bench) {
    let id = bench.session("a").await;
    let changes = vec![
        Change::AskPermission(fx::permission(&id, "p")),
        Change::AskQuestion(fx::question(&id, "q")),
        Change::TrashSession,
    ];
    bench.commit(&id, 1_200, changes).await;
    for query in [
        AskQuery::default(),
        AskQuery {
            session_id: Some(id.clone()),
            directory: None,
        },
    ] {
        let store = bench.store();
        assert!(store.pending_permissions(&query).await.unwrap().is_empty());
        assert!(store.pending_questions(&query).await.unwrap().is_empty());
    }
    let ask = fx::permission(&id, "p");
    assert_eq!(bench.store().permission(&ask.id).await.unwrap(), Some(ask));
    bench.commit(&id, 1_300, vec![Change::RestoreSession]).await;
    let all = AskQuery::default();
    assert_eq!(
        bench.store().pending_permissions(&all).await.unwrap().len(),
        1
    );
}
