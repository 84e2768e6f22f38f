//! Compactions and what is told of them.

use std::time::Duration;

use crate::support::{World, until};
use sessiond_engine::{AbortOptions, TurnInput};
use sessiond_model::{MessageInfo, PartBody, RestoreRung, TurnState};
use sessiond_store::MessageQuery;

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_stands_for_what_was_said_before_it() {
    let w = World::new().await;
    let s = w.session().await;
    w.ask(&s.id, "the first word is apple").await;
    w.ran(&s.id, "echo pear").await;
    let session = w.engine.session(&s.id).await.unwrap();
    let turn = w.summarized(&s.id).await;
    assert_eq!(turn.state, TurnState::Completed, "{turn:?}");
    let summary = w.answer_text(&turn).await;
    assert!(
        summary.contains("apple") && summary.contains("pear"),
        "{summary}"
    );
    let user = w
        .engine
        .message(&s.id, &turn.user_message_id)
        .await
        .unwrap();
    assert!(matches!(
        user.typed_parts()[0].body,
        PartBody::Compaction { auto: false, .. }
    ));
    let answer = turn.assistant_message_id.clone().unwrap();
    let doc = w.engine.message(&s.id, &answer).await.unwrap();
    let MessageInfo::Assistant(info) = doc.message().unwrap().info else {
        panic!()
    };
    assert_eq!(info.summary, Some(true));
    assert_eq!(
        (info.agent.as_str(), info.mode.as_str()),
        ("compaction", "compaction")
    );
    assert_eq!(w.engine.session(&s.id).await.unwrap().title, session.title);

    let next = w.ask(&s.id, "/history").await;
    assert_eq!(next.restore, Some(RestoreRung::Rebuilt));
    let told = w.answer_text(&next).await;
    assert!(told.contains("I remember 1 prompts"), "{told}");
    assert!(told.contains("summary of what came before"), "{told}");
    assert!(told.contains("What was asked so far"), "{told}");
    assert!(!told.contains("You said: the first word"), "{told}");

    // The next summary knows of the first, and a lost agent is told the newest one.
    assert_eq!(w.summarized(&s.id).await.state, TurnState::Completed);
    w.ask(&s.id, "banana").await;
    w.forget_agent_memory();
    let mut w = w;
    w.engine.shutdown(Duration::from_secs(10)).await;
    w.restart().await;
    let next = w.ask(&s.id, "/history").await;
    assert_eq!(next.restore, Some(RestoreRung::Rebuilt));
    let told = w.answer_text(&next).await;
    assert_eq!(
        told.matches("summary of what came before").count(),
        2,
        "{told}"
    );
    assert!(
        told.contains("apple") && told.contains("You said: banana"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_of_nothing_asks_nobody() {
    let w = World::new().await;
    let s = w.session().await;
    let turn = w.summarized(&s.id).await;
    assert_eq!(turn.state, TurnState::Completed);
    assert_eq!(w.engine.health().await.unwrap().agents, 0);
    let next = w.ask(&s.id, "/history").await;
    assert!(!w.answer_text(&next).await.contains("summary"), "{next:?}");
}

/// D12: a compaction that failed, was stopped or said nothing is never used, and the next prompt
/// gets its own answer with all that was said.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_done_summary_is_never_used() {
    for (script, end) in [
        ("/fail boom", TurnState::Failed),
        ("/nothing", TurnState::Failed),
        ("/slow 100000 5", TurnState::Aborted),
        ("/crash", TurnState::Interrupted),
    ] {
        let w = World::new().await;
        let s = w.session().await;
        w.ask(&s.id, "the first word is apple").await;
        w.ask(&s.id, &format!("/next {script}")).await;
        let accepted = w
            .engine
            .summarize(&s.id, TurnInput::default())
            .await
            .unwrap();
        let turn = accepted.turn.unwrap();
        if end == TurnState::Aborted {
            until("half a summary", || async {
                let turn = w.engine.turn(&s.id, &turn.id).await.unwrap();
                turn.assistant_message_id.as_ref()?;
                w.answer_text(&turn).await.contains("tick-").then_some(())
            })
            .await;
            w.engine
                .abort(&s.id, AbortOptions::default())
                .await
                .unwrap();
        }
        let turn = w.end(&turn).await;
        assert_eq!(turn.state, end, "{script}: {turn:?}");
        w.forget_agent_memory();
        let mut w = w;
        w.engine.shutdown(Duration::from_secs(10)).await;
        w.restart().await;
        let next = w.ask(&s.id, "/history").await;
        assert_eq!(next.state, TurnState::Completed, "{script}");
        assert_eq!(next.restore, Some(RestoreRung::Rebuilt), "{script}");
        let told = w.answer_text(&next).await;
        assert!(
            told.contains("You said: the first word is apple"),
            "{script}: {told}"
        );
        assert!(!told.contains("summary of"), "{script}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_behind_a_summary_gets_its_own_answer() {
    let w = World::new().await;
    let s = w.session().await;
    w.ask(&s.id, "the first word is apple").await;
    let summary = w
        .engine
        .summarize(&s.id, TurnInput::default())
        .await
        .unwrap();
    let prompt = w.say(&s.id, "/history").await;
    assert_eq!(
        w.end(&summary.turn.unwrap()).await.state,
        TurnState::Completed
    );
    let prompt = w.end(&prompt).await;
    let told = w.answer_text(&prompt).await;
    assert!(told.contains("I remember 1 prompts"), "{told}");
    assert!(told.contains("What was asked so far"), "{told}");
    let page = w
        .engine
        .messages(&s.id, &MessageQuery::default())
        .await
        .unwrap();
    assert_eq!(page.messages.len(), 6);
}
