use std::sync::Arc;

use serde_json::{Value, json};
use sessiond_model::{
    PartBody, PermissionId, QuestionId, SessionSeq, Status, TurnId, TurnOptions, TurnState,
};

use super::*;
use crate::wire::bare_session;

fn at(body: EventBody) -> Event {
    Event {
        seq: Seq(41),
        session_id: SessionId::trusted("ses_1"),
        session_seq: SessionSeq(3),
        at: Timestamp(1_795_364_893_636),
        project_id: ProjectId::new("abc"),
        directory: "/p".into(),
        body,
    }
}

/// The frames of a text: `(id line, data)`.
fn frames(bytes: &[u8]) -> Vec<(Option<u64>, Value)> {
    let text = std::str::from_utf8(bytes).unwrap();
    let mut all: Vec<&str> = text.split("\n\n").collect();
    assert_eq!(all.pop(), Some(""), "every frame ends with an empty line");
    all.into_iter()
        .map(|frame| {
            let (id, data) = match frame.strip_prefix("id: ") {
                Some(rest) => {
                    let (id, data) = rest.split_once('\n').unwrap();
                    (Some(id.parse().unwrap()), data)
                }
                None => (None, frame),
            };
            (
                id,
                serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap(),
            )
        })
        .collect()
}

fn plain(body: EventBody) -> Vec<(Option<u64>, Value)> {
    frames(&event(Surface::Directory, Origin::Durable, &at(body)))
}

fn global(body: EventBody) -> Vec<(Option<u64>, Value)> {
    frames(&event(Surface::Global, Origin::Durable, &at(body)))
}

fn text_part(text: &str) -> Arc<Part> {
    Arc::new(Part {
        id: PartId::trusted("prt_1"),
        session_id: SessionId::trusted("ses_1"),
        message_id: MessageId::trusted("msg_1"),
        body: PartBody::text(text),
    })
}

fn permission(outcome: Option<PermissionOutcome>) -> Arc<Permission> {
    Arc::new(Permission {
        id: PermissionId::trusted("per_1"),
        session_id: SessionId::trusted("ses_1"),
        turn_id: TurnId::trusted("trn_1"),
        permission: "bash".into(),
        patterns: vec!["ls".into()],
        metadata: Default::default(),
        always: vec!["ls *".into()],
        tool: None,
        options: Vec::new(),
        asked_at: Timestamp(1),
        outcome,
    })
}

#[test]
fn a_part_is_told_with_its_time() {
    let all = plain(EventBody::PartUpdated(text_part("hi\nthere")));
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].0, Some(41));
    let mut data = all[0].1.clone();
    let id = data["id"].take();
    assert!(id.as_str().unwrap().starts_with("evt_"));
    assert_eq!(
        data,
        json!({"id": null, "type": "message.part.updated", "properties": {
            "sessionID": "ses_1", "time": 1_795_364_893_636_i64,
            "part": {"id": "prt_1", "sessionID": "ses_1", "messageID": "msg_1",
                "type": "text", "text": "hi\nthere"}}})
    );
}

#[test]
fn kept_events_are_told_once_more_as_sync() {
    let all = global(EventBody::SessionUpdated(Arc::new(bare_session())));
    assert_eq!(all.len(), 2);
    assert_eq!(
        (all[0].0, all[1].0),
        (None, Some(41)),
        "only the last frame moves the cursor"
    );
    let (plain, sync) = (&all[0].1, &all[1].1);
    assert_eq!(plain["directory"], "/p");
    assert_eq!(plain["project"], "abc");
    assert_eq!(plain["payload"]["type"], "session.updated");
    let event = &sync["payload"]["syncEvent"];
    assert_eq!(sync["payload"]["type"], "sync");
    assert_eq!(sync["payload"]["id"], plain["payload"]["id"]);
    assert_eq!(event["id"], plain["payload"]["id"]);
    assert_eq!(event["type"], "session.updated.1");
    assert_eq!(event["seq"], 2, "counts from 0");
    assert_eq!(event["aggregateID"], "ses_1");
    assert_eq!(event["data"], plain["payload"]["properties"]);
}

#[test]
fn what_begins_in_the_trash_is_not_told() {
    let session = |deleted_at| {
        let bare = bare_session();
        Arc::new(Session { deleted_at, ..bare })
    };
    assert!(plain(EventBody::SessionCreated(session(Some(Timestamp(1))))).is_empty());
    assert_eq!(plain(EventBody::SessionCreated(session(None))).len(), 1);
}

#[test]
fn idle_is_told_twice_and_a_failure_is_idle() {
    for status in [
        Status::idle(Timestamp(1)),
        Status::error(Timestamp(1), "x".into()),
    ] {
        let all = plain(EventBody::StatusChanged(status));
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].0, all[1].0), (None, Some(41)));
        assert_eq!(
            all[0].1["properties"],
            json!({"sessionID": "ses_1", "status": {"type": "idle"}})
        );
        assert_eq!(all[1].1["type"], "session.idle");
        assert_eq!(all[1].1["properties"], json!({"sessionID": "ses_1"}));
        assert_ne!(all[0].1["id"], all[1].1["id"]);
    }
    let busy = plain(EventBody::StatusChanged(Status::busy(Timestamp(1))));
    assert_eq!(busy.len(), 1);
    assert_eq!(busy[0].1["properties"]["status"], json!({"type": "busy"}));
}

#[test]
fn an_expired_permission_was_not_granted() {
    let asked = plain(EventBody::PermissionAsked(permission(None)));
    assert_eq!(
        asked[0].1["properties"],
        json!({"id": "per_1", "sessionID": "ses_1", "permission": "bash",
            "patterns": ["ls"], "metadata": {}, "always": ["ls *"]})
    );
    let answered = permission(Some(PermissionOutcome::Answered {
        reply: PermissionReply::Always,
        message: None,
        at: Timestamp(2),
    }));
    let expired = permission(Some(PermissionOutcome::Expired {
        reason: "aborted".into(),
        at: Timestamp(2),
    }));
    for (p, reply) in [(answered, "always"), (expired, "reject")] {
        let all = plain(EventBody::PermissionResolved(p));
        assert_eq!(all[0].1["type"], "permission.replied");
        assert_eq!(
            all[0].1["properties"],
            json!({"sessionID": "ses_1", "requestID": "per_1", "reply": reply})
        );
    }
}

#[test]
fn questions_end_replied_or_rejected() {
    let question = |outcome| {
        Arc::new(Question {
            id: QuestionId::trusted("que_1"),
            session_id: SessionId::trusted("ses_1"),
            turn_id: TurnId::trusted("trn_1"),
            questions: Vec::new(),
            tool: None,
            asked_at: Timestamp(1),
            outcome: Some(outcome),
        })
    };
    let replied = plain(EventBody::QuestionResolved(question(
        QuestionOutcome::Answered {
            answers: vec![vec!["A".into()]],
            at: Timestamp(2),
        },
    )));
    assert_eq!(replied[0].1["type"], "question.replied");
    assert_eq!(
        replied[0].1["properties"],
        json!({"sessionID": "ses_1", "requestID": "que_1", "answers": [["A"]]})
    );
    let rejected = plain(EventBody::QuestionResolved(question(
        QuestionOutcome::Expired {
            reason: "restart".into(),
            at: Timestamp(2),
        },
    )));
    assert_eq!(rejected[0].1["type"], "question.rejected");
    assert_eq!(
        rejected[0].1["properties"],
        json!({"sessionID": "ses_1", "requestID": "que_1"})
    );
}

#[test]
fn a_project_is_everyones_and_no_directorys() {
    let project = || {
        EventBody::ProjectUpdated(Arc::new(Project {
            id: ProjectId::new("abc"),
            worktree: "/p".into(),
            vcs: Some("git".into()),
            name: None,
            icon: None,
            commands: None,
            sandboxes: Vec::new(),
            created_at: Timestamp(1),
            updated_at: Timestamp(1),
        }))
    };
    assert!(plain(project()).is_empty());
    let all = global(project());
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].1["directory"], "global");
    assert_eq!(
        all[0].1["payload"]["properties"],
        json!({"id": "abc", "worktree": "/p", "vcs": "git", "sandboxes": [],
            "time": {"created": 1, "updated": 1}})
    );
}

#[test]
fn removals_and_errors() {
    let removed = plain(EventBody::PartRemoved {
        message_id: MessageId::trusted("msg_1"),
        part_id: PartId::trusted("prt_1"),
    });
    assert_eq!(
        removed[0].1["properties"],
        json!({"sessionID": "ses_1", "messageID": "msg_1", "partID": "prt_1"})
    );
    let removed = plain(EventBody::MessageRemoved {
        message_id: MessageId::trusted("msg_1"),
    });
    assert_eq!(removed[0].1["type"], "message.removed");
    let error = plain(EventBody::SessionError(MessageError::Aborted {
        message: "Aborted".into(),
    }));
    assert_eq!(
        error[0].1["properties"],
        json!({"sessionID": "ses_1",
            "error": {"name": "MessageAbortedError", "data": {"message": "Aborted"}}})
    );
}

// Q-inner-events
#[test]
fn what_opencode_does_not_know_is_not_told() {
    let turn = sessiond_model::Turn {
        id: TurnId::trusted("trn_1"),
        session_id: SessionId::trusted("ses_1"),
        state: TurnState::Queued,
        user_message_id: MessageId::trusted("msg_1"),
        assistant_message_id: None,
        options: TurnOptions {
            agent: "demo".into(),
            mode: None,
            model: sessiond_model::ModelRef {
                provider_id: "demo".into(),
                id: "default".into(),
                variant: None,
            },
        },
        queued_at: Timestamp(1),
        started_at: None,
        ended_at: None,
        restore: None,
        failure: None,
        idempotency_key: None,
        idempotency_digest: None,
        kind: sessiond_model::TurnKind::Prompt,
        worktree: None,
    };
    assert!(plain(EventBody::TurnUpdated(Arc::new(turn))).is_empty());
    let superseded = EventBody::Superseded(sessiond_model::EventKind::PartUpdated);
    assert!(global(superseded).is_empty());
}

#[test]
fn state_told_again_has_no_position_and_ids_of_its_own() {
    let tell = |n| {
        let origin = Origin::Local {
            at: Timestamp(1_795_364_900_000),
            n,
        };
        let e = at(EventBody::StatusChanged(Status::idle(Timestamp(1))));
        frames(&event(Surface::Global, origin, &e))
    };
    let mut ids: Vec<_> = [tell(0), tell(1)]
        .concat()
        .into_iter()
        .map(|(id, data)| {
            assert_eq!(id, None);
            data["payload"]["id"].as_str().unwrap().to_owned()
        })
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4);
    // Told again is not kept again: no `sync`.
    let origin = Origin::Local {
        at: Timestamp(5),
        n: 0,
    };
    let e = at(EventBody::PartUpdated(text_part("x")));
    let all = frames(&event(Surface::Global, origin, &e));
    assert_eq!(all.len(), 1);
    assert_eq!(
        all[0].1["payload"]["properties"]["time"], 5,
        "a state has the time of the stream"
    );
}

#[test]
fn growth_is_told_without_a_position() {
    let d = Delta {
        session_id: SessionId::trusted("ses_1"),
        message_id: MessageId::trusted("msg_1"),
        part_id: PartId::trusted("prt_1"),
        field: "text",
        delta: "lo".into(),
        offset: 3,
        directory: "/p".into(),
        project_id: ProjectId::new("abc"),
    };
    let all = frames(&signal(Surface::Global, &Signal::Delta(d)));
    assert_eq!(all[0].0, None);
    assert_eq!(
        all[0].1["payload"]["properties"],
        json!({"sessionID": "ses_1", "messageID": "msg_1", "partID": "prt_1",
            "field": "text", "delta": "lo"})
    );
}

#[test]
fn the_first_frame_is_the_servers() {
    let first = server(
        Surface::Global,
        "server.connected",
        (Timestamp(5), 0),
        Some(Seq(9)),
    );
    let all = frames(&first);
    assert_eq!(all[0].0, Some(9));
    assert_eq!(
        all[0].1.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["payload"],
        "no directory, no nulls"
    );
    assert_eq!(all[0].1["payload"]["properties"], json!({}));
}
