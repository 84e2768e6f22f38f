//! The writer: one task that owns the only connection of this node that commits. Work that waits
//! together becomes durable together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sessiond_model::{Change, Event};
use sessiond_store::{StoreError, StoreResult, UnavailableReason};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::PostgresOptions;
use crate::cluster::Standing;
use crate::conn::{Backend, Trouble, WRITER, connect, unreachable_now};
use crate::feed::Told;
use crate::group::{Author, Done, Failure, Group, Job, Open, apply, decide};
use crate::hints::Hint;
use crate::incidents::Incidents;
use crate::measures::Measures;
use crate::writing::Writing;

/// Most jobs that become durable together.
const GROUP: usize = 256;

/// The first pause between two tries, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Patience with a database that has been away for long.
const SHORT: Duration = Duration::from_millis(200);

/// The longest wait for an answer to a statement of a commit, beside what the server allows it.
const SLACK: Duration = Duration::from_secs(1);

/// The writer's state.
pub(crate) struct Writer {
    pub(crate) options: PostgresOptions,
    pub(crate) tls: MakeRustlsConnect,
    pub(crate) standing: Arc<Standing>,
    pub(crate) incidents: Arc<Incidents>,
    pub(crate) told: Told,
    pub(crate) measures: Arc<Measures>,
    /// Whether the last write went through.
    pub(crate) writable: Arc<AtomicBool>,
    /// Hints for other nodes.
    pub(crate) hints: mpsc::Sender<Hint>,
    pub(crate) link: Option<(Writing, Backend)>,
    /// A group that may have been committed or not.
    pub(crate) open: Option<Open>,
    /// Number of the last group.
    pub(crate) groups: u64,
    /// Since when no group went through.
    pub(crate) failing: Option<Instant>,
}

impl Writer {
    /// Works until it is told to stop or nobody is left who could ask.
    pub(crate) async fn run(
        mut self,
        mut jobs: mpsc::Receiver<Job>,
        mut hints: mpsc::Receiver<Hint>,
    ) {
        let mut group = Vec::new();
        loop {
            tokio::select! {
                biased;
                count = jobs.recv_many(&mut group, GROUP) => {
                    if count == 0 {
                        return;
                    }
                    if self.work(&mut group).await {
                        return;
                    }
                }
                Some(hint) = hints.recv() => {
                    self.look().await;
                    for part in &hint.parts {
                        if let Err(error) = self.told.grown(part).await {
                            tracing::debug!(%error, "could not read how far a part has grown");
                        }
                    }
                }
                () = sleep(self.options.poll) => self.look().await,
            }
        }
    }

    /// Tells what other nodes have written.
    async fn look(&mut self) {
        if let Err(error) = self.told.catch_up(None).await {
            tracing::debug!(%error, "could not read what other nodes have written");
        }
        let damaged = std::mem::take(&mut self.told.damaged);
        if !damaged.is_empty() {
            self.make_durable(&[Job::Degrade(damaged)]).await;
        }
    }

    /// Does the jobs and answers them; gives whether it was asked to stop.
    async fn work(&mut self, group: &mut Vec<Job>) -> bool {
        let stop = group.iter().position(|job| matches!(job, Job::Close));
        let mut jobs = std::mem::take(group);
        // What was asked for after that is refused when its answer is dropped.
        jobs.truncate(stop.unwrap_or(jobs.len()));
        if !jobs.is_empty() {
            let results = self.make_durable(&jobs).await;
            for (job, result) in jobs.into_iter().zip(results) {
                answer(job, result);
            }
        }
        let damaged = match &mut self.link {
            Some((conn, _)) => std::mem::take(&mut conn.damaged),
            None => Vec::new(),
        };
        if !damaged.is_empty() {
            self.make_durable(&[Job::Degrade(damaged)]).await;
        }
        stop.is_some()
    }

    /// Makes a group of work durable, and tells listeners. One result for each job; where the
    /// whole group fails, so does each of them.
    async fn make_durable(&mut self, jobs: &[Job]) -> Vec<StoreResult<Done>> {
        self.groups += 1;
        let began = Instant::now();
        let done = self.settle(jobs).await;
        self.measures.group(jobs.len(), began.elapsed());
        self.writable.store(done.is_ok(), Ordering::Relaxed);
        match done {
            Ok(group) => {
                self.failing = None;
                self.tell(jobs, &group).await;
                group.results
            }
            Err(error) => {
                self.failing.get_or_insert_with(Instant::now);
                jobs.iter().map(|_| Err(again(&error))).collect()
            }
        }
    }

    /// Commits the group, once, through lost connections and collisions, as long as there is
    /// patience.
    async fn settle(&mut self, jobs: &[Job]) -> StoreResult<Group> {
        // Who comes when the database has been away for long is not kept waiting.
        let long = self
            .failing
            .is_some_and(|since| since.elapsed() > self.options.patience);
        let patience = if long { SHORT } else { self.options.patience };
        let deadline = Instant::now() + patience;
        let mut pause = PAUSE.0;
        let mut computed = None;
        loop {
            let failed = match self.attempt(jobs, &mut computed).await {
                Ok(group) => return Ok(group),
                Err(Failure::Refused(error)) => return Err(error),
                Err(Failure::Again(error)) => error,
                Err(Failure::Undecided(group)) => {
                    computed = Some(group);
                    unreachable_now()
                }
            };
            if Instant::now() + pause >= deadline {
                return Err(failed);
            }
            if is(&failed, UnavailableReason::LeaseEnded) {
                self.standing.renew.notify_one();
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// One try; `computed` is what the group did if an earlier try was committed after all.
    async fn attempt(
        &mut self,
        jobs: &[Job],
        computed: &mut Option<Group>,
    ) -> Result<Group, Failure> {
        let (mut conn, backend) = self.linked().await.map_err(Failure::Again)?;
        if let Some(open) = self.open.take() {
            // Nothing may be applied before it is known what the store holds.
            let decided = decide(&mut conn, &open).await;
            let committed = decided.map_err(|error| {
                self.open = Some(open);
                Failure::Again(error)
            })?;
            if let Some(group) = computed.take().filter(|_| committed) {
                self.link = Some((conn, backend));
                return Ok(group);
            }
        }
        let author = Author {
            node: self.standing.registered().node.number,
            in_grace: self.standing.in_grace(),
        };
        conn.trouble = None;
        self.measures.attempt();
        let done = apply(&mut conn, author, self.groups, jobs).await;
        if let Err(Failure::Undecided(_)) = &done {
            let open = Open {
                node: author.node,
                group: self.groups,
                backend,
            };
            self.open = Some(open);
        } else if conn.trouble != Some(Trouble::Lost) {
            self.link = Some((conn, backend));
        }
        done
    }

    /// The connection, a fresh one when there is none.
    async fn linked(&mut self) -> StoreResult<(Writing, Backend)> {
        if let Some((conn, backend)) = self.link.take()
            && !conn.is_closed()
        {
            return Ok((conn, backend));
        }
        let link = connect(&self.options, &self.tls, WRITER, None).await?;
        let limit = self.options.statement_timeout + SLACK;
        let conn = Writing::new(link.client, self.incidents.clone(), limit);
        let conn = conn.hopes(self.standing.clone());
        Ok((conn, link.backend))
    }

    /// Tells listeners of a group, and other nodes that there is something.
    async fn tell(&mut self, jobs: &[Job], group: &Group) {
        let commits: Vec<&Arc<[Arc<Event>]>> = (group.results.iter())
            .filter_map(|result| match result {
                Ok(Done::Committed(committed)) => Some(&committed.events),
                _ => None,
            })
            .collect();
        if let Err(error) = self.told.catch_up(Some(group.before)).await {
            // The tail reads it all, these events included, when it can.
            tracing::warn!(%error, "could not read what other nodes have written");
        }
        self.told.own(group.before, &commits);
        let hint = Hint {
            events: commits.iter().any(|events| !events.is_empty()),
            parts: checkpoints(jobs, group),
        };
        if !hint.is_empty() {
            // Others look by themselves.
            let _ = self.hints.try_send(hint);
        }
    }
}

/// Open parts whose text has grown.
fn checkpoints(jobs: &[Job], group: &Group) -> Vec<sessiond_model::PartId> {
    let done = jobs.iter().zip(&group.results);
    let commits = done.filter_map(|(job, result)| match (job, result) {
        (Job::Commit(commit, _), Ok(_)) => Some(commit),
        _ => None,
    });
    let parts = commits.flat_map(|commit| &commit.changes);
    parts
        .filter_map(|change| match change {
            Change::CheckpointPart(part) => Some(part.id.clone()),
            _ => None,
        })
        .collect()
}

/// Answers a job. Whoever asked may be gone; what was done stands all the same.
fn answer(job: Job, result: StoreResult<Done>) {
    match (job, result) {
        (Job::Commit(_, reply), Ok(Done::Committed(committed))) => {
            let _ = reply.send(Ok(committed));
        }
        (Job::Commit(_, reply), Err(error)) => {
            let _ = reply.send(Err(error));
        }
        (Job::Acquire(_, reply), Ok(Done::Lease(lease))) => {
            let _ = reply.send(Ok(lease));
        }
        (Job::Acquire(_, reply), Err(error)) => {
            let _ = reply.send(Err(error));
        }
        (Job::Release(_, _, reply), result) => {
            let _ = reply.send(result.map(drop));
        }
        // Nobody waits.
        _ => {}
    }
}

fn is(error: &StoreError, wanted: UnavailableReason) -> bool {
    matches!(error, StoreError::Unavailable { reason } if *reason == wanted)
}

/// The same failure for another job of the group.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Unavailable { reason } => StoreError::Unavailable { reason: *reason },
        other => StoreError::Internal {
            operation: "commit a group",
            source: other.to_string().into(),
        },
    }
}
