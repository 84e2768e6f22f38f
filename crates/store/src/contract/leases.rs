//! Several nodes on one store. A backend without them passes.

use std::sync::Arc;
use std::time::Duration;

use sessiond_model::{Change, Commit, Session, SessionId, SessionPatch, Timestamp};

use super::fixtures as fx;
use super::{Bench, Recorder};
use crate::{Committed, Lease, Leases, Store, StoreError, StoreResult, UnavailableReason};

/// A node of the store under test.
struct Node {
    store: Arc<dyn Store>,
    heard: Arc<Recorder>,
}

impl Node {
    fn leases(&self) -> &dyn Leases {
        self.store.leases().unwrap()
    }

    async fn try_commit(
        &self,
        session: &SessionId,
        fence: u64,
        changes: Vec<Change>,
    ) -> StoreResult<Committed> {
        let commit = Commit {
            session_id: session.clone(),
            fence,
            at: Timestamp(2_000),
            require: Vec::new(),
            changes,
        };
        self.store.commit(commit).await
    }

    async fn create(&self, session: Session) -> SessionId {
        let id = session.id.clone();
        let fence = self.store.epoch();
        let created = self.try_commit(&id, fence, vec![fx::create(session)]);
        created.await.unwrap();
        id
    }

    async fn touch(&self, session: &SessionId, fence: u64) -> StoreResult<Committed> {
        let touch = Change::UpdateSession(SessionPatch::touch());
        self.try_commit(session, fence, vec![touch]).await
    }

    /// Takes a session that must be free, or this node's.
    async fn take(&self, session: &SessionId) -> (u64, Option<crate::Node>) {
        match self.leases().acquire(session).await.unwrap() {
            Lease::Held { epoch, from } => (epoch, from),
            Lease::Elsewhere(node) => panic!("held by {node:?}"),
        }
    }

    fn number(&self) -> u64 {
        self.leases().node().number
    }

    /// Waits until it has heard so many events, and gives their numbers.
    async fn heard(&self, count: usize) -> Vec<u64> {
        until(async || self.heard.heard().len() >= count).await;
        self.heard.heard().iter().map(|e| e.seq.0).collect()
    }
}

/// Waits for something that comes about by itself.
async fn until(holds: impl AsyncFn() -> bool) {
    for _ in 0..1_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it did not come about");
}

/// Two nodes; `None` when the backend has none.
async fn two(bench: &mut Bench) -> Option<(Node, Node)> {
    let mut node = async |name: &str| {
        let heard = Arc::<Recorder>::default();
        let store = bench.backend.join(name, heard.clone()).await?;
        Some(Node { store, heard })
    };
    Some((node("a").await?, node("b").await?))
}

pub async fn a_session_is_held_by_its_creator(bench: &mut Bench) {
    let Some((a, b)) = two(bench).await else {
        return;
    };
    assert_ne!(a.number(), b.number());
    assert!(b.store.epoch() > a.store.epoch());
    let id = a.create(fx::session("s")).await;
    let holder = b.leases().holder(&id).await.unwrap().unwrap();
    assert_eq!((holder.number, holder.name.as_str()), (a.number(), "a"));
    assert!(holder.alive);
    assert_eq!(a.take(&id).await, (a.store.epoch(), None));
    let elsewhere = b.leases().acquire(&id).await.unwrap();
    assert!(matches!(elsewhere, Lease::Elsewhere(node) if node.number == a.number()));
    let refused = b.touch(&id, b.store.epoch()).await;
    assert!(
        matches!(refused, Err(StoreError::Fenced { .. })),
        "{refused:?}"
    );
    let unknown = b.leases().acquire(&fx::sid("none")).await;
    assert!(matches!(unknown, Err(StoreError::NotFound { .. })));
    assert_eq!(b.leases().holder(&fx::sid("none")).await.unwrap(), None);
}

pub async fn a_session_that_was_given_back_can_be_taken(bench: &mut Bench) {
    let Some((a, b)) = two(bench).await else {
        return;
    };
    let id = a.create(fx::session("s")).await;
    let old = a.store.epoch();
    b.leases().release(&id, old).await.unwrap();
    assert!(
        a.leases().holder(&id).await.unwrap().is_some(),
        "it is not b's"
    );
    a.leases().release(&id, old).await.unwrap();
    assert_eq!(b.leases().holder(&id).await.unwrap(), None);
    let (epoch, from) = b.take(&id).await;
    assert!(epoch > old && from.is_none());
    assert_eq!(b.take(&id).await, (epoch, None));
    b.touch(&id, epoch).await.unwrap();
    let refused = a.touch(&id, old).await;
    assert!(
        matches!(refused, Err(StoreError::Fenced { .. })),
        "{refused:?}"
    );
    // And back again.
    b.leases().release(&id, epoch).await.unwrap();
    let (again, _) = a.take(&id).await;
    assert!(again > epoch);
    let refused = b.touch(&id, epoch).await;
    assert!(
        matches!(refused, Err(StoreError::Fenced { .. })),
        "{refused:?}"
    );
    a.touch(&id, again).await.unwrap();
}

pub async fn every_node_hears_all_events_in_order(bench: &mut Bench) {
    let Some((a, b)) = two(bench).await else {
        return;
    };
    let mut pending = Vec::new();
    for (node, name) in [(&a, "x"), (&b, "y")] {
        let id = node.create(fx::session(name)).await;
        for _ in 0..20 {
            pending.push((node, id.clone()));
        }
    }
    let commits = pending
        .iter()
        .map(|(node, id)| node.touch(id, node.store.epoch()));
    for done in futures::future::join_all(commits).await {
        let committed = done.unwrap();
        assert_eq!(committed.events.len(), 1);
    }
    let all: Vec<u64> = (1..=42).collect();
    assert_eq!(a.heard(42).await, all);
    assert_eq!(b.heard(42).await, all);
    assert_eq!(a.store.last_seq().await.unwrap().0, 42);
}

pub async fn a_node_whose_lease_ended_writes_nothing(bench: &mut Bench) {
    let Some((a, b)) = two(bench).await else {
        return;
    };
    let id = a.create(fx::session("s")).await;
    let (old, was, mut lost) = (a.store.epoch(), a.number(), a.leases().lost());
    lost.mark_unchanged();
    bench.backend.end("a").await;
    let refused = |done: &StoreResult<Committed>| {
        matches!(
            done,
            Err(StoreError::Fenced { .. }
                | StoreError::Unavailable {
                    reason: UnavailableReason::LeaseEnded
                })
        )
    };
    let done = a.touch(&id, old).await;
    assert!(refused(&done), "{done:?}");
    until(async || {
        // Where nothing else does, this renews.
        let _ = a.leases().orphans(1).await;
        *lost.borrow() > 0
    })
    .await;
    assert!(a.number() > was && a.store.epoch() > old);
    // It lives again, but what it held is not its own any more, taken over or not.
    let done = a.touch(&id, old).await;
    assert!(refused(&done), "{done:?}");
    let (epoch, from) = b.take(&id).await;
    assert!(epoch > old);
    assert_eq!(
        from.map(|node| (node.number, node.alive)),
        Some((was, false))
    );
    let done = a.touch(&id, old).await;
    assert!(refused(&done), "{done:?}");
    b.touch(&id, epoch).await.unwrap();
    let page = b.store.session_head(&id).await.unwrap().unwrap();
    assert_eq!(page.last_seq.0, 2, "only the creation and b's");
}

pub async fn what_a_dead_node_left_is_found(bench: &mut Bench) {
    let Some((a, b)) = two(bench).await else {
        return;
    };
    let (busy, idle) = (
        a.create(fx::session("busy")).await,
        a.create(fx::session("idle")).await,
    );
    let other = b.create(fx::session("other")).await;
    for (node, id, name) in [(&a, &busy, "t"), (&b, &other, "u")] {
        let message = Change::PutMessage(fx::user(id, name, 1_500));
        let turn = Change::PutTurn(fx::turn(id, name, name));
        let put = node.try_commit(id, node.store.epoch(), vec![message, turn]);
        put.await.unwrap();
    }
    assert!(b.leases().orphans(10).await.unwrap().is_empty());
    bench.backend.end("a").await;
    until(async || {
        b.leases()
            .orphans(10)
            .await
            .is_ok_and(|found| found == [busy.clone()])
    })
    .await;
    assert!(b.leases().orphans(0).await.unwrap().is_empty());
    b.take(&busy).await;
    assert!(b.leases().orphans(10).await.unwrap().is_empty());
    // Nobody has to look after what is finished, but it is free.
    assert_eq!(b.leases().holder(&idle).await.unwrap(), None);
    b.take(&idle).await;
}

pub async fn a_node_that_closes_gives_all_back(bench: &mut Bench) {
    let Some((a, b)) = two(bench).await else {
        return;
    };
    let id = a.create(fx::session("s")).await;
    a.store.close().await.unwrap();
    let (_, from) = b.take(&id).await;
    assert_eq!(from, None);
}

pub async fn a_purged_session_is_held_by_nobody(bench: &mut Bench) {
    let Some((a, b)) = two(bench).await else {
        return;
    };
    let id = a.create(fx::session("s")).await;
    let fence = a.store.epoch();
    for change in [Change::TrashSession, Change::PurgeSession] {
        a.try_commit(&id, fence, vec![change]).await.unwrap();
    }
    assert_eq!(b.leases().holder(&id).await.unwrap(), None);
    let again = b.create(fx::session("s")).await;
    assert_eq!(b.take(&again).await, (b.store.epoch(), None));
}

pub async fn nodes_know_each_other_and_their_directories(bench: &mut Bench) {
    let Some((a, b)) = two(bench).await else {
        return;
    };
    let nodes = a.leases().nodes().await.unwrap();
    let found = |name: &str| nodes.iter().find(|node| node.name == name).cloned();
    assert_eq!(
        found("a").map(|n| (n.number, n.alive)),
        Some((a.number(), true))
    );
    assert_eq!(
        found("b").map(|n| (n.number, n.alive)),
        Some((b.number(), true))
    );
    for _ in 0..2 {
        a.leases().note_directory("/srv/x").await.unwrap();
    }
    b.leases().note_directory("/srv/y").await.unwrap();
    let with = async |directory: &str| {
        let nodes = b.leases().nodes_with(directory).await.unwrap();
        nodes.into_iter().map(|node| node.name).collect::<Vec<_>>()
    };
    assert_eq!(with("/srv/x").await, ["a"]);
    assert_eq!(with("/srv/y").await, ["b"]);
    assert!(with("/srv").await.is_empty());
}
