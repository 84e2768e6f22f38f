//! Questions of an agent: asked in the middle of a turn, answered by people.

use sessiond_engine::{AbortOptions, EngineError};
use sessiond_model::{Question, QuestionOutcome, SessionId, TurnState};
use sessiond_store::AskQuery;

use crate::support::{World, texts, until};

async fn asked(world: &World, id: &SessionId) -> Question {
    let query = AskQuery {
        session_id: Some(id.clone()),
        directory: None,
    };
    until("a question", async || {
        world.engine.questions(&query).await.unwrap().pop()
    })
    .await
}

fn words(answers: &[&[&str]]) -> Vec<Vec<String>> {
    let own = |words: &&[&str]| words.iter().map(|w| (*w).to_owned()).collect();
    answers.iter().map(own).collect()
}

async fn outcome(world: &World, question: &Question) -> Option<QuestionOutcome> {
    world
        .store
        .question(&question.id)
        .await
        .unwrap()
        .unwrap()
        .outcome
}

#[tokio::test]
async fn the_agent_gets_what_people_answer() {
    let w = World::new().await;
    let s = w.session().await;
    for (answer, said) in [
        (&["Blue"][..], r#"{"answer":"Blue"}"#),
        (&["mauve"], r#"{"answer_custom":"mauve"}"#),
        (&[], "{}"),
    ] {
        let turn = w.say(&s.id, "/question Which colour? | Red | Blue").await;
        let question = asked(&w, &s.id).await;
        assert_eq!(question.turn_id, turn.id);
        let [shown] = question.questions.as_slice() else {
            panic!("{question:?}")
        };
        assert_eq!(shown.question, "Which colour?");
        assert_eq!(shown.options.len(), 2);
        let ended = w.engine.reply_question(&question.id, words(&[answer]));
        let ended = ended.await.unwrap();
        assert!(matches!(
            ended.outcome,
            Some(QuestionOutcome::Answered { .. })
        ));
        let turn = w.end(&turn).await;
        assert_eq!(turn.state, TurnState::Completed);
        assert_eq!(
            texts(&w.answer(&turn).await),
            format!("You answered {said}.")
        );
        let again = w
            .engine
            .reply_question(&question.id, words(&[&["Red"]]))
            .await;
        assert!(
            matches!(again, Err(EngineError::Conflict { .. })),
            "{again:?}"
        );
    }
}

#[tokio::test]
async fn several_may_be_chosen_and_none_may_be() {
    let w = World::new().await;
    let s = w.session().await;
    let turn = w.say(&s.id, "/questions Which? | a | b | c").await;
    let question = asked(&w, &s.id).await;
    let answers = words(&[&["c", "mine", "a"]]);
    w.engine
        .reply_question(&question.id, answers)
        .await
        .unwrap();
    let turn = w.end(&turn).await;
    assert_eq!(turn.state, TurnState::Completed, "{turn:?}");
    let said = texts(&w.answer(&turn).await);
    let told = said
        .trim_start_matches("You answered ")
        .trim_end_matches('.');
    // The order of keys depends on what is built together.
    let told: serde_json::Value = serde_json::from_str(told).unwrap();
    let answer = serde_json::json!({"answer": ["c", "a"], "answer_custom": "mine"});
    assert_eq!(told, answer);

    let turn = w.say(&s.id, "/question Really?").await;
    let question = asked(&w, &s.id).await;
    assert_eq!(question.questions[0].custom, Some(true));
    w.engine.reject_question(&question.id).await.unwrap();
    let turn = w.end(&turn).await;
    assert_eq!(turn.state, TurnState::Completed);
    assert_eq!(texts(&w.answer(&turn).await), "You did not want to answer.");
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_the_question_stays() {
    let w = World::new().await;
    let s = w.session().await;
    let turn = w.say(&s.id, "/question Which? | a | b").await;
    let question = asked(&w, &s.id).await;
    for (answers, field) in [
        (words(&[&["a", "b"]]), "answers.0"),
        (words(&[]), "answers"),
        (words(&[&["a"], &["b"]]), "answers"),
    ] {
        let refused = w.engine.reply_question(&question.id, answers).await;
        match refused.unwrap_err() {
            EngineError::Invalid { field: f, .. } => assert_eq!(f, field),
            other => panic!("{other:?}"),
        }
        assert_eq!(outcome(&w, &question).await, None);
    }
    w.engine
        .reply_question(&question.id, words(&[&["b"]]))
        .await
        .unwrap();
    assert_eq!(w.end(&turn).await.state, TurnState::Completed);
}

#[tokio::test]
async fn an_abort_takes_a_question_back() {
    let w = World::new().await;
    let s = w.session().await;
    let turn = w.say(&s.id, "/question Which? | a | b").await;
    let question = asked(&w, &s.id).await;
    w.engine
        .abort(&s.id, AbortOptions::default())
        .await
        .unwrap();
    assert_eq!(w.end(&turn).await.state, TurnState::Aborted);
    let ended = outcome(&w, &question).await;
    assert!(
        matches!(ended, Some(QuestionOutcome::Expired { .. })),
        "{ended:?}"
    );
    let late = w
        .engine
        .reply_question(&question.id, words(&[&["a"]]))
        .await;
    assert!(
        matches!(late, Err(EngineError::Conflict { .. })),
        "{late:?}"
    );
    assert_eq!(w.ask(&s.id, "go on").await.state, TurnState::Completed);
}
