//! Carrying out what the translator found.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sessiond_agent::Effect;
use sessiond_model::{Change, Part};
use sessiond_store::StoreError;
use tokio::time::Instant;

use super::{RETRY, Run};
use crate::actor::{Actor, give_title};
use crate::engine::is_outage;
use crate::hub::Delta;

/// Longest outage of the store that a running turn lives through.
const OUTAGE: Duration = Duration::from_secs(90);

impl Actor {
    /// Carries out what the translator found, in order. Text is shown only after the part it
    /// belongs to is durable.
    pub(super) async fn apply(
        &mut self,
        run: &mut Run,
        effects: Vec<Effect>,
        mut changes: Vec<Change>,
    ) -> Result<(), StoreError> {
        if self.is_lost() {
            // Not even shown: another node tells how it went on.
            return Err(self.fenced());
        }
        for effect in effects {
            match effect {
                Effect::Part(part) => {
                    run.grown.remove(&part.id);
                    run.behind.remove(&part.id);
                    changes.push(Change::PutPart(part));
                }
                Effect::Delta {
                    part_id,
                    message_id,
                    field,
                    delta,
                    offset,
                } => {
                    self.flush(run, &mut changes).await?;
                    run.behind.insert(part_id.clone());
                    self.inner.hub.grow(Delta {
                        session_id: self.live.id.clone(),
                        message_id,
                        part_id,
                        field,
                        delta,
                        offset,
                        directory: self.live.directory(),
                        project_id: self.live.project_id(),
                    });
                }
                Effect::PartGrew(part) => {
                    self.inner.hub.open_part(
                        part.clone(),
                        self.live.directory(),
                        self.live.project_id(),
                    );
                    run.open.insert(part.id.clone());
                    run.grown.insert(part.id.clone(), part);
                }
                Effect::Todos(todos) => {
                    changes.push(Change::SetTodos {
                        todos,
                        turn_id: Some(run.turn.id.clone()),
                    });
                }
                Effect::Title(title) => changes.extend(give_title(&mut run.auto_title, title)),
                Effect::Profile(news) => changes.extend(self.profile_news(&news)),
                Effect::Usage { cost_total, .. } => run.cost_total = cost_total.or(run.cost_total),
                Effect::FileEdited(_) => {}
            }
        }
        self.flush(run, &mut changes).await
    }

    /// Commits what the turn did. An outage of a database elsewhere is waited for: the agent works
    /// on meanwhile, until its pipe is full.
    pub(crate) async fn persist(&self, changes: Vec<Change>) -> Result<(), StoreError> {
        let deadline = Instant::now() + OUTAGE;
        loop {
            let commit = self
                .inner
                .submit(self.live.hold(), Vec::new(), changes.clone());
            match commit.await {
                Ok(_) => return Ok(()),
                Err(e) if is_outage(&e) && !self.is_over() && Instant::now() < deadline => {
                    tracing::warn!(session = %self.live.id, error = %e, "a turn waits for the store");
                    tokio::time::sleep(RETRY).await;
                }
                Err(e) => return Err(e),
            }
        }
    }

    fn fenced(&self) -> StoreError {
        StoreError::Fenced {
            held: 0,
            offered: self.live.hold().epoch,
        }
    }

    /// Reads from the store, through an outage.
    pub(super) async fn read<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        read: impl Fn() -> F,
    ) -> Result<T, StoreError> {
        let deadline = Instant::now() + OUTAGE;
        loop {
            match read().await {
                Err(e) if is_outage(&e) && !self.is_over() && Instant::now() < deadline => {
                    tokio::time::sleep(RETRY).await;
                }
                done => return done,
            }
        }
    }

    /// Whether the work of this actor counts no more.
    pub(crate) fn is_over(&self) -> bool {
        self.inner.stopping.load(Ordering::SeqCst) || self.is_lost()
    }

    /// Whether another node may have the session.
    pub(crate) fn is_lost(&self) -> bool {
        self.live.lost.load(Ordering::SeqCst)
    }

    pub(super) async fn flush(
        &mut self,
        run: &mut Run,
        changes: &mut Vec<Change>,
    ) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let changes = std::mem::take(changes);
        let parts: Vec<Part> = changes
            .iter()
            .filter_map(|c| match c {
                Change::PutPart(part) => Some(part.clone()),
                _ => None,
            })
            .collect();
        self.persist(changes).await?;
        for part in parts {
            if part.body.is_open() {
                run.open.insert(part.id.clone());
                self.inner
                    .hub
                    .open_part(part, self.live.directory(), self.live.project_id());
            } else {
                run.open.remove(&part.id);
                self.inner.hub.close_part(&part.id);
            }
        }
        Ok(())
    }

    /// Brings the rows of open parts up to date.
    pub(super) async fn checkpoint(&mut self, run: &mut Run) -> Result<(), StoreError> {
        let behind = std::mem::take(&mut run.behind);
        let mut changes: Vec<_> = std::mem::take(&mut run.grown)
            .into_values()
            .map(Change::PutPart)
            .collect();
        if !behind.is_empty() {
            let open = run.translator.open_parts();
            changes.extend(
                open.into_iter()
                    .filter(|p| behind.contains(&p.id))
                    .map(Change::CheckpointPart),
            );
        }
        self.flush(run, &mut changes).await
    }
}
