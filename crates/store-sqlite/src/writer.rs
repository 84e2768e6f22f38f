//! The writer: one thread that owns the only connection that writes. Commits that wait
//! together become durable together, each with a savepoint of its own.

use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use sessiond_model::{Change, Commit, SessionId};
use sessiond_store::{Committed, StoreError, StoreResult};
use sessiond_store_sql::{CommitOp, META_CLEAN, MarkDegraded};
use tokio::sync::oneshot;

use crate::SqliteOptions;
use crate::conn::Conn;
use crate::failpoint;
use crate::incidents::Incidents;
use crate::open::{cause, mark_clean, open_store, set_meta};
use crate::readers::Readers;
use crate::salvage::{is_damage, salvage};

/// Most commits that become durable together.
const GROUP: usize = 256;

/// After so long without a commit the log is moved into the database.
const IDLE: Duration = Duration::from_secs(2);

/// Most times that a running store replaces its database.
const HEALINGS: u64 = 3;

/// Groups between two looks at the size of the log.
const LOG_CHECK: u64 = 256;
/// Bytes of log that are too many.
const LARGE_LOG: u64 = 32 * 1024 * 1024;

/// Who waits for a commit.
pub(crate) type Reply = oneshot::Sender<StoreResult<Committed>>;

/// What the writer is asked to do.
pub(crate) enum Job {
    /// Commit.
    Commit(Box<Commit>, Reply),
    /// Note sessions with rows that could not be read.
    Degrade(Vec<SessionId>),
    /// Set the database aside and save what can be read, unless that was done since this
    /// generation; then say so.
    Heal(u64, String, Option<oneshot::Sender<()>>),
    /// Finish and stop.
    Close,
}

/// The writer's state, on its thread.
pub(crate) struct Writer {
    pub(crate) conn: Conn,
    pub(crate) path: PathBuf,
    pub(crate) options: SqliteOptions,
    pub(crate) readers: Arc<Readers>,
    pub(crate) incidents: Arc<Incidents>,
    /// How often the database was replaced.
    pub(crate) generation: Arc<AtomicU64>,
    /// Whether the last write went through.
    pub(crate) writable: Arc<AtomicBool>,
    /// Groups committed so far.
    pub(crate) groups: u64,
}

impl Writer {
    /// Works until it is told to stop or nobody is left who could ask.
    pub(crate) fn run(mut self, jobs: &Receiver<Job>) {
        let mut settled = true;
        loop {
            let job = if settled {
                jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                jobs.recv_timeout(IDLE)
            };
            let job = match job {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => {
                    settled = self.settle();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            settled = false;
            let mut group = Vec::new();
            let mut degraded = Vec::new();
            let mut close = false;
            let mut next = Some(job);
            while let Some(job) = next {
                match job {
                    Job::Commit(commit, reply) => group.push((commit, reply)),
                    Job::Degrade(sessions) => degraded.extend(sessions),
                    Job::Heal(seen, why, done) => {
                        self.commit(std::mem::take(&mut group));
                        self.heal(seen, &why);
                        // Who asked may be gone.
                        let _ = done.map(|done| done.send(()));
                    }
                    Job::Close => {
                        close = true;
                        break;
                    }
                }
                next = (group.len() < GROUP)
                    .then(|| jobs.try_recv().ok())
                    .flatten();
            }
            self.commit(group);
            self.trim_log();
            degraded.append(&mut self.conn.damaged);
            for session in degraded {
                if let Err(error) = self.conn.run(MarkDegraded(&session)) {
                    tracing::warn!(%session, %error, "could not mark the session as degraded");
                }
            }
            if close {
                break;
            }
        }
        if let Err(error) = mark_clean(&self.conn.db) {
            tracing::warn!(%error, "could not note that the store was closed");
        }
        self.checkpoint(2_000);
    }

    /// What is to be done when nobody asks for anything. Gives whether that was all.
    fn settle(&mut self) -> bool {
        self.checkpoint(50);
        if !self.writable.load(Ordering::Relaxed) {
            // Small, and of no meaning: whether the disk takes writes again.
            let probe = set_meta(&self.conn.db, META_CLEAN, "0");
            self.writable.store(probe.is_ok(), Ordering::Relaxed);
        }
        self.writable.load(Ordering::Relaxed)
    }

    /// Empties a log that has grown large because there was always some reader in it.
    fn trim_log(&mut self) {
        self.groups += 1;
        if !self.groups.is_multiple_of(LOG_CHECK) {
            return;
        }
        let log = std::fs::metadata(self.path.with_extension("db-wal"));
        if log.is_ok_and(|log| log.len() > LARGE_LOG) {
            let readers = self.readers.clone();
            let _alone = readers.shut_out();
            self.checkpoint(50);
        }
    }

    /// Replaces a damaged database by a fresh one with every row that can be read.
    fn heal(&mut self, seen: u64, why: &str) {
        let generation = self.generation.load(Ordering::Acquire);
        if generation != seen || generation >= HEALINGS {
            return;
        }
        let readers = self.readers.clone();
        let _alone = readers.shut_out();
        let healed = Conn::nowhere(self.incidents.clone()).and_then(|nowhere| {
            drop(std::mem::replace(&mut self.conn, nowhere));
            let now = self.options.clock.now();
            let salvaged = salvage(&self.path, why, now);
            let opened = open_store(&self.path, &self.options, &self.incidents, true);
            self.conn = opened?.conn;
            salvaged
        });
        self.incidents.note(healed.unwrap_or_else(|error| {
            format!(
                "The database is damaged ({why}) and could not be saved: {error}. Stop sessiond, \
                 keep a copy of its data directory, and start it again."
            )
        }));
        self.generation.store(generation + 1, Ordering::Release);
    }

    /// Moves the log into the database and empties it, unless readers need it still.
    fn checkpoint(&self, patience_ms: u32) {
        let sql = format!(
            "PRAGMA busy_timeout = {patience_ms}; PRAGMA wal_checkpoint(TRUNCATE); \
             PRAGMA busy_timeout = 2000;"
        );
        if let Err(error) = self.conn.db.execute_batch(&sql) {
            tracing::debug!(%error, "could not move the log into the database");
        }
    }

    /// Makes a group of commits durable, tells subscribers, then the committers.
    fn commit(&mut self, group: Vec<(Box<Commit>, Reply)>) {
        if group.is_empty() {
            return;
        }
        let (commits, replies): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let results = self.transact(&commits);
        let purges = commits.iter().zip(&results).any(|(commit, result)| {
            result.is_ok() && commit.changes.contains(&Change::PurgeSession)
        });
        if purges {
            // What was purged is still in the log.
            let readers = self.readers.clone();
            let _alone = readers.shut_out();
            self.checkpoint(2_000);
        }
        for committed in results.iter().flatten() {
            if committed.events.is_empty() {
                continue;
            }
            // A fault of whoever listens must not end the writer; the events are in the log.
            let feed = AssertUnwindSafe(|| self.options.feed.publish(&committed.events));
            if std::panic::catch_unwind(feed).is_err() {
                tracing::error!("a listener of the store panicked");
            }
        }
        failpoint::hit(failpoint::BEFORE_REPLY);
        for (reply, result) in replies.into_iter().zip(results) {
            // Whoever asked may be gone; the commit stands all the same.
            let _ = reply.send(result);
        }
    }

    /// One result for each commit. Where the whole group fails, so does each of them.
    fn transact(&mut self, commits: &[Box<Commit>]) -> Vec<StoreResult<Committed>> {
        // Savepoints cost more than most commits, and most groups have nothing to take back.
        let mut done = self.apply_all(commits, false);
        if let Err(error) = &done
            && is_damage(error)
        {
            let why = cause(error);
            self.heal(self.generation.load(Ordering::Acquire), &why);
            done = self.apply_all(commits, false);
        }
        if let Ok(None) = done {
            done = self.apply_all(commits, true);
        }
        match &done {
            Err(StoreError::Unavailable { .. }) => self.writable.store(false, Ordering::Relaxed),
            _ => self.writable.store(true, Ordering::Relaxed),
        }
        match done {
            Ok(results) => results.unwrap_or_default(),
            Err(error) => commits.iter().map(|_| Err(again(&error))).collect(),
        }
    }

    /// Commits a group in one transaction. Without savepoints nothing is done and `None` is
    /// given when one of several commits is refused.
    fn apply_all(
        &mut self,
        commits: &[Box<Commit>],
        savepoints: bool,
    ) -> StoreResult<Option<Vec<StoreResult<Committed>>>> {
        failpoint::hit(failpoint::BEFORE_BEGIN);
        self.conn.control("BEGIN IMMEDIATE")?;
        let done = self.apply_in_transaction(commits, savepoints);
        if !matches!(done, Ok(Some(_)))
            && !self.conn.db.is_autocommit()
            && let Err(error) = self.conn.control("ROLLBACK")
        {
            tracing::error!(%error, "could not roll back");
        }
        done
    }

    fn apply_in_transaction(
        &mut self,
        commits: &[Box<Commit>],
        savepoints: bool,
    ) -> StoreResult<Option<Vec<StoreResult<Committed>>>> {
        let mut results = Vec::with_capacity(commits.len());
        for commit in commits {
            if savepoints {
                self.conn.control("SAVEPOINT job")?;
            }
            let result = self.conn.run(CommitOp(commit));
            match &result {
                Ok(_) => {}
                // A full disk and the like end the transaction, and with it the group.
                Err(error) if is_outage(error) || self.conn.db.is_autocommit() => {
                    result?;
                    return Ok(None);
                }
                Err(_) if !savepoints => return Ok(None),
                Err(_) => self.conn.control("ROLLBACK TO job")?,
            }
            if savepoints {
                self.conn.control("RELEASE job")?;
            }
            results.push(result);
        }
        failpoint::hit(failpoint::AFTER_APPLY);
        failpoint::hit(failpoint::BEFORE_COMMIT);
        self.conn.control("COMMIT")?;
        failpoint::hit(failpoint::AFTER_COMMIT);
        Ok(Some(results))
    }
}

fn is_outage(error: &StoreError) -> bool {
    matches!(error, StoreError::Unavailable { .. }) || is_damage(error)
}

/// The same failure for another commit of the group.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Unavailable { reason } => StoreError::Unavailable { reason: *reason },
        other => StoreError::Internal {
            operation: "commit a group",
            source: other.to_string().into(),
        },
    }
}
