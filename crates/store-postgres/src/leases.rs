//! Leases, as the engine asks for them.

use async_trait::async_trait;
use sessiond_model::SessionId;
use sessiond_store::{Lease, Leases, Node, StoreResult};
use tokio::sync::watch;

use crate::PostgresStore;
use crate::cluster::{Holder, Nodes, NodesWith, NotePlace, Orphans};
use crate::group::Job;
use crate::readers::View;

#[async_trait]
impl Leases for PostgresStore {
    fn node(&self) -> Node {
        self.standing.registered().node
    }

    fn lost(&self) -> watch::Receiver<u64> {
        self.standing.lost()
    }

    async fn acquire(&self, session: &SessionId) -> StoreResult<Lease> {
        self.ask(|reply| Job::Acquire(session.clone(), reply)).await
    }

    async fn release(&self, session: &SessionId, epoch: u64) -> StoreResult<()> {
        self.ask(|reply| Job::Release(session.clone(), epoch, reply))
            .await
    }

    async fn holder(&self, session: &SessionId) -> StoreResult<Option<Node>> {
        self.read(View::Moving, Holder(session)).await
    }

    async fn orphans(&self, limit: u32) -> StoreResult<Vec<SessionId>> {
        let end = !self.standing.in_grace();
        self.read(View::Moving, Orphans { end, limit }).await
    }

    async fn note_directory(&self, directory: &str) -> StoreResult<()> {
        let name = &self.options.node;
        self.read(View::Moving, NotePlace(name, directory)).await
    }

    async fn nodes_with(&self, directory: &str) -> StoreResult<Vec<Node>> {
        self.read(View::Moving, NodesWith(directory)).await
    }

    async fn nodes(&self) -> StoreResult<Vec<Node>> {
        self.read(View::Moving, Nodes).await
    }
}
