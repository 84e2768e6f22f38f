//! Sessions that come from elsewhere.

use futures::TryStreamExt as _;
use serde_json::json;
use sessiond_engine::{EngineError, ImportBatch, ImportPlan, ImportedMessage, Relation};
use sessiond_model::{
    Message, MessageError, MessageId, MessageInfo, ModelRef, Part, PartBody, PartId, Session,
    SessionId, StatusKind, Timestamp, Todo, ToolState, TurnState,
};
use sessiond_store::{MessageQuery, SessionQuery};

use crate::support::{World, prompt};

fn message(w: &World, n: i64, role: &str) -> ImportedMessage {
    let info = match role {
        "user" => json!({"role": "user", "time": {"created": n}, "agent": "build",
            "model": {"providerID": "elsewhere", "modelID": "m"}}),
        _ => json!({"role": "assistant", "time": {"created": n, "completed": n},
            "parentID": format!("msg_{:04}", n - 1), "modelID": "m", "providerID": "elsewhere",
            "mode": "build", "agent": "build", "path": {"cwd": w.project(), "root": "/"},
            "cost": 0.5, "tokens": {"input": 1, "output": 2, "reasoning": 0,
            "cache": {"read": 0, "write": 0}}, "finish": "stop"}),
    };
    let (id, session) = (format!("msg_{n:04}"), SessionId::trusted("ses_there"));
    let part = |suffix: &str, body: serde_json::Value| Part {
        id: PartId::trusted(&format!("prt_{n:04}{suffix}")),
        session_id: session.clone(),
        message_id: MessageId::trusted(&id),
        body: serde_json::from_value(body).unwrap(),
    };
    let mut parts = vec![part(
        "a",
        json!({"type": "text", "text": format!("words {n}")}),
    )];
    if role == "assistant" {
        parts.push(part(
            "b",
            json!({"type": "step-finish", "reason": "stop", "cost": 0.5,
            "tokens": {"input": 1, "output": 2, "reasoning": 0, "cache": {"read": 0, "write": 0}}}),
        ));
    }
    ImportedMessage {
        message: Message {
            id: MessageId::trusted(&id),
            session_id: session,
            info: serde_json::from_value(info).unwrap(),
        },
        parts,
    }
}

/// `n` messages, of a person and an agent in turns.
fn messages(w: &World, n: i64) -> Vec<ImportedMessage> {
    let role = |n| if n % 2 == 1 { "user" } else { "assistant" };
    (1..=n).map(|n| message(w, n, role(n))).collect()
}

async fn batch(w: &World, messages: Vec<ImportedMessage>) -> ImportBatch {
    let like = w.session().await;
    w.engine.delete_session(&like.id).await.unwrap();
    ImportBatch {
        session: Session {
            id: SessionId::trusted("ses_there"),
            title: "From there".into(),
            agent: Some("plan".into()),
            model: Some(ModelRef {
                provider_id: "elsewhere".into(),
                id: "m".into(),
                variant: None,
            }),
            created_at: Timestamp(1),
            updated_at: Timestamp(900),
            ..like
        },
        project: None,
        messages,
        todos: Some(vec![Todo {
            content: "go on".into(),
            status: "pending".into(),
            priority: "high".into(),
        }]),
        more: false,
    }
}

fn outline(messages: &[ImportedMessage]) -> Vec<(MessageId, Timestamp)> {
    let brief = |m: &ImportedMessage| (m.message.id.clone(), m.message.info.created());
    messages.iter().map(brief).collect()
}

fn id() -> SessionId {
    SessionId::trusted("ses_there")
}

async fn ids(w: &World) -> Vec<String> {
    let page = w.engine.messages(&id(), &MessageQuery::default()).await;
    let docs = page.unwrap().messages.into_iter();
    docs.map(|d| d.id.to_string()).collect()
}

async fn exported(w: &World) -> Vec<String> {
    let export = w.engine.export(&id()).await.unwrap();
    let pages: Vec<_> = export.pages.try_collect().await.unwrap();
    pages
        .concat()
        .into_iter()
        .map(|d| d.id.to_string())
        .collect()
}

#[tokio::test]
async fn a_session_is_taken_once_and_grows() {
    let w = World::new().await;
    let four = messages(&w, 4);
    let plan = |n| {
        let outline = outline(&messages(&w, n));
        let engine = w.engine.clone();
        async move { engine.import_plan(&id(), &outline).await.unwrap() }
    };
    assert_eq!(plan(4).await, ImportPlan::Create);
    let done = w
        .engine
        .import(batch(&w, four.clone()).await)
        .await
        .unwrap();
    assert!(
        done.created && done.added == 4 && done.notes.is_empty(),
        "{done:?}"
    );

    let s = w.engine.session(&id()).await.unwrap();
    assert_eq!((s.created_at, s.updated_at), (Timestamp(1), Timestamp(900)));
    assert_eq!(
        (s.cost, s.tokens.output),
        (1.0, 4),
        "added up from its steps"
    );
    assert_eq!(s.status.kind, StatusKind::Idle);
    assert_eq!(w.engine.todos(&id()).await.unwrap().len(), 1);
    assert_eq!(plan(4).await, ImportPlan::Present);
    assert_eq!(plan(3).await, ImportPlan::Present);
    assert_eq!(plan(6).await, ImportPlan::Append { first: 4, new: 2 });

    let six = messages(&w, 6);
    let mut more = batch(&w, six[4..].to_vec()).await;
    more.session.title = "Renamed there".into();
    more.session.updated_at = Timestamp(950);
    let done = w.engine.import(more.clone()).await.unwrap();
    assert_eq!((done.created, done.added), (false, 2));
    assert_eq!(w.engine.import(more).await.unwrap().added, 0, "sent again");
    let s = w.engine.session(&id()).await.unwrap();
    assert_eq!(
        (s.title.as_str(), s.updated_at),
        ("From there", Timestamp(950))
    );
    assert_eq!(ids(&w).await.len(), 6);
    assert_eq!(exported(&w).await, ids(&w).await);
}

#[tokio::test]
async fn what_was_changed_here_stays() {
    let w = World::new().await;
    w.engine
        .import(batch(&w, messages(&w, 4)).await)
        .await
        .unwrap();
    w.engine
        .delete_message(&id(), &MessageId::trusted("msg_0004"))
        .await
        .unwrap();
    let all = outline(&messages(&w, 4));
    let plan = w.engine.import_plan(&id(), &all).await.unwrap();
    assert_eq!(
        plan,
        ImportPlan::Present,
        "what was removed here does not come back"
    );

    let turn = w.ask(&id(), "go on here").await;
    assert_eq!(turn.state, TurnState::Completed);
    let plan = w.engine.import_plan(&id(), &all[..3]).await.unwrap();
    assert_eq!(plan, ImportPlan::Present);
    let more = outline(&messages(&w, 6));
    let plan = w.engine.import_plan(&id(), &more).await.unwrap();
    assert!(matches!(plan, ImportPlan::Refused { .. }), "{plan:?}");
    let late = batch(&w, messages(&w, 6)[4..].to_vec()).await;
    let refused = w.engine.import(late).await.unwrap_err();
    assert!(matches!(refused, EngineError::Conflict { .. }), "{refused}");

    w.engine.delete_session(&id()).await.unwrap();
    let plan = w.engine.import_plan(&id(), &more).await.unwrap();
    let in_trash = ImportPlan::Refused {
        reason: "it is in the trash here".into(),
    };
    assert_eq!(plan, in_trash);
}

#[tokio::test]
async fn the_next_prompt_is_told_what_was_said_there() {
    let w = World::new().await;
    w.engine
        .import(batch(&w, messages(&w, 4)).await)
        .await
        .unwrap();
    let turn = w.ask(&id(), "/history").await;
    assert_eq!(turn.state, TurnState::Completed, "{turn:?}");
    assert_eq!(turn.options.agent, "demo", "its model is none of ours");
    let text = w.answer_text(&turn).await;
    assert!(
        text.contains("words 1") && text.contains("words 4"),
        "{text}"
    );

    let fork = w
        .engine
        .fork_session(&id(), Default::default())
        .await
        .unwrap();
    let tree = w.engine.session_tree(&id()).await.unwrap();
    assert!(tree.sessions.iter().any(|s| s.relation == Relation::Fork));
    let of_fork = w.ask(&fork.session.id, "/history").await;
    assert!(w.answer_text(&of_fork).await.contains("words 4"));
}

#[tokio::test]
async fn until_its_last_batch_is_there_it_is_out_of_sight() {
    let mut w = World::new().await;
    let all = messages(&w, 70);
    let first = ImportBatch {
        more: true,
        ..batch(&w, all[..40].to_vec()).await
    };
    assert!(w.engine.import(first).await.unwrap().created);
    let seen = |w: &World| {
        let engine = w.engine.clone();
        async move {
            engine
                .sessions(&SessionQuery::default())
                .await
                .unwrap()
                .sessions
                .len()
        }
    };
    assert_eq!(seen(&w).await, 0);
    assert!(w.engine.prompt(&id(), prompt("hello")).await.is_err());
    w.restart().await;
    assert_eq!(seen(&w).await, 0);
    let outline = outline(&all);
    let plan = w.engine.import_plan(&id(), &outline).await.unwrap();
    assert_eq!(plan, ImportPlan::Resume { first: 40 });

    let rest = batch(&w, all[30..].to_vec()).await;
    let done = w.engine.import(rest).await.unwrap();
    assert_eq!((done.created, done.added), (true, 30), "ten were there");
    assert_eq!(seen(&w).await, 1);
    let s = w.engine.session(&id()).await.unwrap();
    assert_eq!((s.status.kind, s.status.message), (StatusKind::Idle, None));
    let expected: Vec<_> = outline.iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(exported(&w).await, expected);
    let plan = w.engine.import_plan(&id(), &outline).await.unwrap();
    assert_eq!(plan, ImportPlan::Present);
}

fn unfinished(mut given: ImportedMessage) -> ImportedMessage {
    if let MessageInfo::Assistant(info) = &mut given.message.info {
        info.time.completed = None;
        info.finish = None;
    }
    given.parts[1].body =
        serde_json::from_value(json!({"type": "tool", "callID": "c", "tool": "bash",
        "state": {"status": "running", "input": {}, "time": {"start": 2}}}))
        .unwrap();
    given
}

#[tokio::test]
async fn what_was_not_finished_is_closed_and_gets_its_end_later() {
    let w = World::new().await;
    let whole = messages(&w, 2);
    let cut = vec![whole[0].clone(), unfinished(whole[1].clone())];
    w.engine.import(batch(&w, cut.clone()).await).await.unwrap();
    let doc = w
        .engine
        .message(&id(), &MessageId::trusted("msg_0002"))
        .await
        .unwrap();
    let Some(MessageInfo::Assistant(info)) = doc.message().map(|m| m.info) else {
        panic!("{doc:?}")
    };
    assert!(matches!(info.error, Some(MessageError::Aborted { .. })));
    assert_eq!(info.time.completed, Some(Timestamp(900)));
    let PartBody::Tool(tool) = &doc.typed_parts()[1].body else {
        panic!("{doc:?}")
    };
    assert!(matches!(tool.state, ToolState::Error { .. }));

    let plan = w.engine.import_plan(&id(), &outline(&cut)).await.unwrap();
    assert_eq!(plan, ImportPlan::Append { first: 1, new: 0 });
    let same = w
        .engine
        .import(batch(&w, cut[1..].to_vec()).await)
        .await
        .unwrap();
    assert_eq!(
        (same.added, same.finished),
        (0, 0),
        "nothing new, nothing written"
    );
    let done = w
        .engine
        .import(batch(&w, whole[1..].to_vec()).await)
        .await
        .unwrap();
    assert_eq!((done.added, done.finished), (0, 1));
    let doc = w
        .engine
        .message(&id(), &MessageId::trusted("msg_0002"))
        .await
        .unwrap();
    assert_eq!(doc.message().unwrap(), whole[1].message);
    assert_eq!(w.engine.session(&id()).await.unwrap().cost, 0.5);
}

#[tokio::test]
async fn ids_of_other_sessions_and_lost_places_are_told() {
    let w = World::new().await;
    w.engine
        .import(batch(&w, messages(&w, 2)).await)
        .await
        .unwrap();
    let mut other = batch(&w, messages(&w, 2)).await;
    other.session.id = SessionId::trusted("ses_other");
    for m in &mut other.messages {
        m.message.session_id = other.session.id.clone();
        m.parts
            .iter_mut()
            .for_each(|p| p.session_id = other.session.id.clone());
    }
    let refused = w.engine.import(other.clone()).await.unwrap_err();
    assert!(matches!(refused, EngineError::Conflict { .. }), "{refused}");
    assert!(
        w.engine.session(&other.session.id).await.is_err(),
        "nothing of it"
    );

    other.messages.clear();
    other.session.directory = "/no/such/place".into();
    other.session.parent_id = Some(SessionId::trusted("ses_nowhere"));
    let done = w.engine.import(other.clone()).await.unwrap();
    assert_eq!(done.notes.len(), 2, "{done:?}");
    let s = w.engine.session(&other.session.id).await.unwrap();
    assert_eq!(
        (s.directory.as_str(), s.parent_id),
        ("/no/such/place", None)
    );
}
