//! Random operations against the in-memory store and another one; after each, every read of the
//! two must agree.

mod observe;
mod script;

use std::marker::PhantomData;
use std::sync::Arc;

use proptest::test_runner::{Config, TestRunner};
use proptest_state_machine::{ReferenceStateMachine as _, StateMachineTest};
use sessiond_model::{Change, Commit, Session, Timestamp};
use tokio::runtime::Runtime;

use super::fixtures as fx;
use super::{Backend, Recorder};
use crate::{MemoryStore, Store};
use observe::observe;

pub use script::{Probe, Script, Step};

const SESSIONS: [&str; 4] = ["a", "b", "c", "d"];
const NAMES: [&str; 5] = ["1", "2", "3", "4", "5"];
const DIRECTORIES: [&str; 2] = ["/srv/x", "/srv/y"];

/// Both stores, side by side.
#[expect(missing_debug_implementations, reason = "backends are not")]
pub struct Pair<B> {
    runtime: Runtime,
    backend: B,
    model: MemoryStore,
    store: Arc<dyn Store>,
    model_heard: Arc<Recorder>,
    store_heard: Arc<Recorder>,
}

/// A backend against the in-memory store.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<B>(PhantomData<B>);

impl<B: Backend + Default + 'static> StateMachineTest for Comparison<B> {
    type SystemUnderTest = Pair<B>;
    type Reference = Script;

    fn init_test((): &()) -> Pair<B> {
        let runtime = Runtime::new().unwrap();
        let (model_heard, store_heard) = <(Arc<Recorder>, Arc<Recorder>)>::default();
        let mut backend = B::default();
        let pair = Pair {
            model: MemoryStore::new(model_heard.clone(), 1),
            store: runtime.block_on(backend.open(store_heard.clone())),
            runtime,
            backend,
            model_heard,
            store_heard,
        };
        for commit in beginning() {
            let model = pair.model.commit(commit.clone());
            pair.runtime.block_on(model).unwrap();
            let stored = pair.store.commit(commit);
            pair.runtime.block_on(stored).unwrap();
        }
        pair
    }

    fn apply(mut pair: Pair<B>, (): &(), (step, probe): (Step, Probe)) -> Pair<B> {
        match step {
            Step::Reopen => {
                pair.store = pair.runtime.block_on(async {
                    pair.store.close().await.unwrap();
                    pair.backend.open(pair.store_heard.clone()).await
                });
            }
            Step::Commits(commits) => {
                let model: Vec<_> = commits
                    .iter()
                    .cloned()
                    .map(|c| pair.model.commit(c))
                    .collect();
                let store: Vec<_> = commits.into_iter().map(|c| pair.store.commit(c)).collect();
                for (model, store) in model.into_iter().zip(store) {
                    let done = pair.runtime.block_on(async { (model.await, store.await) });
                    assert_eq!(format!("{:?}", done.0), format!("{:?}", done.1));
                }
            }
        }
        let (model, store) = pair.runtime.block_on(async {
            (
                observe(&pair.model, &probe).await,
                observe(pair.store.as_ref(), &probe).await,
            )
        });
        for (model, store) in model.iter().zip(&store) {
            assert_eq!(model, store);
        }
        assert_eq!(pair.model_heard.heard(), pair.store_heard.heard());
        pair
    }

    fn teardown(pair: Pair<B>, _: ()) {
        pair.runtime.block_on(pair.store.close()).unwrap();
    }
}

/// Something to work on; the last session is left to be created, or not to be there.
fn beginning() -> Vec<Commit> {
    let create = |(n, name): (usize, &&str)| {
        let session = Session {
            directory: DIRECTORIES[n % 2].into(),
            ..fx::session(name)
        };
        let id = session.id.clone();
        let mut changes = vec![fx::create(session)];
        if n < 2 {
            let first = fx::user(&id, NAMES[n], 100);
            changes.push(Change::PutMessage(first));
        }
        Commit {
            session_id: id,
            fence: 2,
            at: Timestamp(1_000),
            require: Vec::new(),
            changes,
        }
    };
    SESSIONS[..3].iter().enumerate().map(create).collect()
}

/// Plays a program on a backend, and leaves its store open.
///
/// # Panics
/// When the store can't be closed or its first sessions can't be made.
pub async fn play(backend: &mut dyn Backend, steps: &[Step]) -> Arc<dyn Store> {
    let mut store = backend.open(Arc::<Recorder>::default()).await;
    for commit in beginning() {
        store.commit(commit).await.unwrap();
    }
    for step in steps {
        match step {
            Step::Reopen => {
                store.close().await.unwrap();
                store = backend.open(Arc::<Recorder>::default()).await;
            }
            Step::Commits(commits) => {
                let done: Vec<_> = commits.iter().map(|c| store.commit(c.clone())).collect();
                for done in done {
                    // Whatever it is, it is the same everywhere.
                    let _ = done.await;
                }
            }
        }
    }
    store
}

/// What every read says, as one text.
pub async fn everything(store: &dyn Store) -> String {
    let probe = Probe {
        after: 0,
        limit: 1_000,
        before: 0,
    };
    observe(store, &probe).await.join("\n")
}

/// Tries a test on so many random programs, or `PROPTEST_CASES`.
///
/// # Panics
/// When the test does, with the smallest program found that makes it.
pub fn each_program(cases: u32, test: impl Fn(&[Step])) {
    let programs = Script::sequential_strategy(20..100);
    let tried = TestRunner::new(config(cases)).run(&programs, |((), steps, _)| {
        let steps: Vec<Step> = steps.into_iter().map(|(step, _)| step).collect();
        test(&steps);
        Ok(())
    });
    if let Err(error) = tried {
        panic!("{error}");
    }
}

fn config(cases: u32) -> Config {
    let wanted = std::env::var("PROPTEST_CASES").ok();
    Config {
        cases: wanted.and_then(|n| n.parse().ok()).unwrap_or(cases),
        failure_persistence: None,
        max_shrink_iters: 300,
        ..Config::default()
    }
}

/// Tries so many random programs, or `PROPTEST_CASES`, on a backend and the in-memory store. A few
/// tell much, because each compares every read after every step.
///
/// # Panics
/// When they disagree, with the smallest program found that shows it.
pub fn compare<B: Backend + Default + 'static>(cases: u32) {
    let config = config(cases);
    let programs = Script::sequential_strategy(20..100);
    let tried = TestRunner::new(config.clone()).run(&programs, |(start, steps, seen)| {
        Comparison::<B>::test_sequential(config.clone(), start, steps, seen);
        Ok(())
    });
    if let Err(error) = tried {
        panic!("{error}");
    }
}
