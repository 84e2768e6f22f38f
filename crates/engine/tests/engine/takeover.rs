//! What goes wrong between nodes of one store: nothing is lost, nothing waits for ever.

use std::sync::Arc;
use std::time::Duration;

use sessiond_engine::{EngineConfig, EngineError};
use sessiond_model::{
    Change, Commit, Restore, RestorePhase, Session, SessionId, StatusKind, SystemClock, Turn,
    TurnState,
};
use sessiond_store::{MemoryCluster, MemoryStore, TurnQuery};

use crate::support::{World, prompt, until};

/// Longer than the engine's second between two renewals.
const LEASE: Duration = Duration::from_secs(3);

fn cluster() -> MemoryCluster {
    MemoryCluster::new(Arc::new(SystemClock), LEASE)
}

async fn node(cluster: &MemoryCluster, name: &str) -> (World, Arc<MemoryStore>) {
    World::node(cluster, name, |_| {}).await
}

fn nowhere(config: &mut EngineConfig) {
    config.roots = vec!["/nonexistent".into()];
}

async fn turns(world: &World, id: &SessionId) -> Vec<Turn> {
    world.store.turns(id, &TurnQuery::default()).await.unwrap()
}

async fn in_state(world: &World, turn: &Turn, wanted: impl Fn(TurnState) -> bool) -> Turn {
    until("a state of a turn", async || {
        let now = world.store.turn(&turn.id).await.unwrap().unwrap();
        wanted(now.state).then_some(now)
    })
    .await
}

async fn running(world: &World, turn: &Turn) {
    in_state(world, turn, |s| s == TurnState::Running).await;
}

async fn ended(world: &World, turn: &Turn) -> Turn {
    in_state(world, turn, TurnState::is_terminal).await
}

async fn idle(world: &World, id: &SessionId) {
    until("an idle session", async || {
        let session = world.engine.session(id).await.unwrap();
        (session.status.kind == StatusKind::Idle).then_some(())
    })
    .await;
}

/// A prompt by a client that tries again, and whose requests are passed on to the node that is
/// named.
async fn insist(worlds: &[(&str, &World)], id: &SessionId, text: &str) -> Turn {
    until("a prompt that is accepted", async || {
        let mut at = worlds[0].1;
        for _ in 0..2 {
            match at.engine.prompt(id, prompt(text)).await {
                Ok(accepted) => return accepted.turn,
                Err(EngineError::Elsewhere(e)) => {
                    at = worlds.iter().find(|(name, _)| *name == e.node).unwrap().1;
                }
                Err(EngineError::Unavailable { .. } | EngineError::NoNode { .. }) => return None,
                Err(other) => panic!("{other:?}"),
            }
        }
        None
    })
    .await
}

#[tokio::test]
async fn a_session_given_back_with_a_running_turn_is_put_in_order() {
    let cluster = cluster();
    let (a, _) = node(&cluster, "a").await;
    let session = a.session().await;
    let turn = a.say(&session.id, "/hang").await;
    running(&a, &turn).await;
    // No time to end anything.
    a.engine.shutdown(Duration::ZERO).await;
    a.store.close().await.unwrap();

    let (b, _) = node(&cluster, "b").await;
    assert_eq!(ended(&b, &turn).await.state, TurnState::Interrupted);
    idle(&b, &session.id).await;
    let next = b.ask(&session.id, "again").await;
    assert_eq!(next.state, TurnState::Completed);
    idle(&b, &session.id).await;
}

#[tokio::test]
async fn a_session_whose_taking_was_not_answered_is_put_in_order() {
    let cluster = cluster();
    let (a, a_store) = node(&cluster, "a").await;
    let (b, b_store) = node(&cluster, "b").await;
    let session = a.session().await;
    let turn = a.say(&session.id, "/hang").await;
    running(&a, &turn).await;
    let waiting = a.say(&session.id, "after that").await;
    b_store.lose_answer_after(0);
    a_store.pause(true);
    assert_eq!(ended(&b, &turn).await.state, TurnState::Interrupted);
    assert_eq!(ended(&b, &waiting).await.state, TurnState::Completed);
}

#[tokio::test]
async fn a_take_over_that_is_cut_off_is_done_again() {
    let cluster = cluster();
    let (a, a_store) = node(&cluster, "a").await;
    let (b, b_store) = node(&cluster, "b").await;
    let session = a.session().await;
    let turn = a.say(&session.id, "/hang").await;
    running(&a, &turn).await;
    // The acquisition is answered, the commit that ends the turn is not.
    b_store.lose_answer_after(1);
    a_store.pause(true);
    assert_eq!(ended(&b, &turn).await.state, TurnState::Interrupted);
    idle(&b, &session.id).await;
    let next = b.ask(&session.id, "again").await;
    assert_eq!(next.state, TurnState::Completed);
    idle(&b, &session.id).await;
}

#[tokio::test]
async fn a_prompt_whose_answer_was_lost_is_worked_on() {
    let cluster = cluster();
    let (a, a_store) = node(&cluster, "a").await;
    let session = a.session().await;
    a.ask(&session.id, "hello").await;
    a_store.lose_answer_after(0);
    let refused = a.engine.prompt(&session.id, prompt("lost")).await;
    assert!(matches!(refused, Err(EngineError::Unavailable { .. })));
    let turn = turns(&a, &session.id).await.pop().unwrap();
    assert_eq!(ended(&a, &turn).await.state, TurnState::Completed);
    idle(&a, &session.id).await;
}

#[tokio::test]
async fn a_prompt_that_was_not_stored_leaves_nothing() {
    let cluster = cluster();
    let (a, a_store) = node(&cluster, "a").await;
    let session = a.session().await;
    a.ask(&session.id, "hello").await;
    a_store.cut_off(true);
    for _ in 0..3 {
        let refused = a.engine.prompt(&session.id, prompt("lost")).await;
        assert!(matches!(refused, Err(EngineError::Unavailable { .. })));
    }
    a_store.cut_off(false);
    // At once, while those are still in doubt.
    let turn = a.say(&session.id, "/slow 100 30").await;
    running(&a, &turn).await;
    let session_now = a.engine.session(&session.id).await.unwrap();
    assert_eq!(session_now.status.kind, StatusKind::Busy);
    assert_eq!(ended(&a, &turn).await.state, TurnState::Completed);
    idle(&a, &session.id).await;
    assert_eq!(turns(&a, &session.id).await.len(), 2);
}

#[tokio::test]
async fn a_turn_whose_beginning_was_not_answered_is_worked_on() {
    let cluster = cluster();
    let (a, a_store) = node(&cluster, "a").await;
    let session = a.session().await;
    // The prompt is answered, the beginning of its turn is not.
    a_store.lose_answer_after(1);
    let turn = a.ask(&session.id, "hello").await;
    assert_eq!(turn.state, TurnState::Completed);
    idle(&a, &session.id).await;
}

#[tokio::test]
async fn who_waits_at_a_node_that_lost_the_session_learns_the_end() {
    let cluster = cluster();
    let (a, a_store) = node(&cluster, "a").await;
    let (b, _) = node(&cluster, "b").await;
    let session = a.session().await;
    let first = a.say(&session.id, "/hang").await;
    running(&a, &first).await;
    let second = a.say(&session.id, "/slow 200 20").await;
    let id = second.id.clone();
    let engine = a.engine.clone();
    let waiting = tokio::spawn(async move { engine.wait_turn(&id, None).await });
    a_store.pause(true);
    running(&b, &second).await;
    a_store.pause(false);
    let patience = crate::support::PATIENCE;
    let end = tokio::time::timeout(patience, waiting).await;
    let end = end.expect("a wait that ends").unwrap().unwrap();
    assert_eq!(end.state, TurnState::Completed);
}

#[tokio::test]
async fn a_node_that_comes_with_the_directory_gets_what_another_took_over() {
    let cluster = cluster();
    let (a, a_store) = node(&cluster, "a").await;
    let (b, _) = World::node(&cluster, "b", nowhere).await;
    let session = a.session().await;
    let turn = a.say(&session.id, "/hang").await;
    running(&a, &turn).await;
    a_store.pause(true);
    assert_eq!(ended(&b, &turn).await.state, TurnState::Interrupted);

    let (c, _) = node(&cluster, "c").await;
    let next = insist(&[("c", &c), ("b", &b)], &session.id, "go on").await;
    assert_eq!(ended(&c, &next).await.state, TurnState::Completed);
}

#[tokio::test]
async fn a_revert_is_finished_where_the_files_are() {
    let cluster = cluster();
    let (a, a_store) = node(&cluster, "a").await;
    let session = a.session().await;
    a.ask(&session.id, "hello").await;
    pending_restore(&a, &session).await;
    a_store.pause(true);
    a.engine.shutdown(Duration::from_secs(9)).await;
    a.store.close().await.unwrap();

    let (b, _) = World::node(&cluster, "b", nowhere).await;
    let refused = b.engine.prompt(&session.id, prompt("x")).await.unwrap_err();
    assert!(matches!(refused, EngineError::NoNode { .. }), "{refused:?}");
    let refused = b.engine.commit_revert(&session.id).await.unwrap_err();
    assert!(matches!(refused, EngineError::NoNode { .. }), "{refused:?}");
    let restore = b.store.restore(&session.id).await.unwrap().unwrap();
    assert_eq!(restore.phase, RestorePhase::Pending);

    let (c, _) = node(&cluster, "c").await;
    let next = insist(&[("c", &c), ("b", &b)], &session.id, "go on").await;
    assert_eq!(ended(&c, &next).await.state, TurnState::Completed);
    assert_eq!(c.store.restore(&session.id).await.unwrap(), None);
}

/// As a crash in the middle of a revert leaves it.
async fn pending_restore(world: &World, session: &Session) {
    let restore = Restore {
        phase: RestorePhase::Pending,
        files: Vec::new(),
        revert: None,
        force: false,
    };
    let commit = Commit {
        session_id: session.id.clone(),
        fence: world.store.epoch(),
        at: session.created_at,
        require: Vec::new(),
        changes: vec![Change::SetRestore(Some(Box::new(restore)))],
    };
    world.store.commit(commit).await.unwrap();
}

#[tokio::test]
async fn a_node_that_was_away_finds_its_own_work_again() {
    let cluster = cluster();
    let (a, a_store) = node(&cluster, "a").await;
    // Ends the work of the dead, and keeps nothing.
    let (b, _) = World::node(&cluster, "b", nowhere).await;
    let session = a.session().await;
    let first = a.say(&session.id, "/hang").await;
    running(&a, &first).await;
    let epoch = a.store.epoch();
    a_store.pause(true);
    assert_eq!(ended(&b, &first).await.state, TurnState::Interrupted);
    a_store.pause(false);
    until("a new registration", async || {
        (a.store.epoch() != epoch).then_some(())
    })
    .await;
    let next = insist(&[("a", &a), ("b", &b)], &session.id, "again").await;
    assert_eq!(ended(&a, &next).await.state, TurnState::Completed);
    idle(&a, &session.id).await;
}
