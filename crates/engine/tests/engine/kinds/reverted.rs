//! Shell commands and summaries beside reverts.

use crate::support::World;
use sessiond_engine::RevertOptions;
use sessiond_model::{MessageId, SessionId, TurnState};

impl World {
    async fn revert_to(&self, id: &SessionId, message: &MessageId) {
        let options = RevertOptions {
            message_id: message.clone(),
            part_id: None,
            force: false,
            lenient: false,
        };
        self.engine.revert(id, options).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_shell_command_wrote_is_diffed_and_taken_back() {
    let w = World::new().await;
    let s = w.session().await;
    let made = w.project().join("made.txt");
    let turn = w.ran(&s.id, "echo hi > made.txt").await;
    let changes = w.engine.diff(&s.id, None).await.unwrap();
    let files: Vec<_> = changes.iter().map(|c| c.diff.file.as_str()).collect();
    assert_eq!(files, [made.to_string_lossy()]);
    w.revert_to(&s.id, &turn.user_message_id).await;
    assert!(!made.exists());
    w.engine.unrevert(&s.id).await.unwrap();
    assert_eq!(std::fs::read_to_string(&made).unwrap(), "hi\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_knows_nothing_of_what_a_revert_took_away() {
    let w = World::new().await;
    let s = w.session().await;
    w.ask(&s.id, "the first word is apple").await;
    let second = w.ask(&s.id, "the second word is banana").await;
    w.ran(&s.id, "echo cherry").await;
    w.revert_to(&s.id, &second.user_message_id).await;
    let turn = w.summarized(&s.id).await;
    assert_eq!(turn.state, TurnState::Completed, "{turn:?}");
    let summary = w.answer_text(&turn).await;
    assert!(summary.contains("apple"), "{summary}");
    assert!(
        !summary.contains("banana") && !summary.contains("cherry"),
        "{summary}"
    );
    let next = w.ask(&s.id, "/history").await;
    let told = w.answer_text(&next).await;
    assert!(told.contains("apple") && !told.contains("banana"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_that_is_reverted_is_no_summary() {
    let w = World::new().await;
    let s = w.session().await;
    w.ask(&s.id, "the first word is apple").await;
    let summary = w.summarized(&s.id).await;
    w.revert_to(&s.id, &summary.user_message_id).await;
    let next = w.ask(&s.id, "/history").await;
    let told = w.answer_text(&next).await;
    assert!(told.contains("You said: the first word is apple"), "{told}");
    assert!(!told.contains("summary of"), "{told}");
}
