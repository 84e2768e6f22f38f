//! One group of work in one transaction.

use std::collections::HashSet;

use sessiond_model::{Change, Commit, Seq, SessionId};
use sessiond_store::{
    Committed, EntityKind, Lease, Node, StoreError, StoreResult, UnavailableReason, rules,
};
use sessiond_store_sql::ahead::{self, Lookup};
use sessiond_store_sql::{CommitOp, MarkDegraded, Op as _, Tx as _};
use tokio::sync::oneshot;

use crate::cluster::{END, EPOCH, first, node};
use crate::conn::{Backend, Trouble};
use crate::wave;
use crate::writing::{Plan, Writing};

const LOCK: &str = "SELECT seq FROM clock WHERE id = 1 FOR UPDATE";
const STANDING: &str = "SELECT ended_at IS NULL AND expires_at > \
     CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT), last_group \
     FROM node WHERE number = $1";
const LAST_GROUP: &str = "SELECT last_group FROM node WHERE number = $1";
const SET_GROUP: &str = "UPDATE node SET last_group = $2 WHERE number = $1";
/// Only of ours: after a restart of the server the number may be another's.
const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
     WHERE pid = $1 AND application_name = $2 AND pid <> pg_backend_pid()";
const HELD: &str = "SELECT s.sid, s.epoch, l.epoch, n.ended_at IS NOT NULL, n.number, n.name, \
     n.url, n.host, n.version, n.started_at, n.expires_at, n.ended_at IS NULL AND n.expires_at > \
     CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT) \
     FROM session s LEFT JOIN lease l ON l.sid = s.sid LEFT JOIN node n ON n.number = l.node \
     WHERE s.id = $1";
const LEASE: Lookup = Lookup {
    one: HELD,
    id: "s.id",
};
const TAKE: &str = "INSERT INTO lease (sid, node, epoch) SELECT sid, $2, $3 FROM session \
     WHERE id = $1 ON CONFLICT (sid) DO UPDATE SET node = excluded.node, epoch = excluded.epoch";
const SET_EPOCH: &str = "UPDATE session SET epoch = $2 WHERE sid = $1";
const RELEASE: &str = "DELETE FROM lease WHERE node = $2 AND epoch <= $3 \
     AND sid = (SELECT sid FROM session WHERE id = $1)";

/// Who waits for an answer.
pub(crate) type Reply<T> = oneshot::Sender<StoreResult<T>>;

/// What the writer is asked to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// Commit.
    Commit(Box<Commit>, Reply<Committed>),
    /// Take a session.
    Acquire(SessionId, Reply<Lease>),
    /// Give a session back that is held under this epoch.
    Release(SessionId, u64, Reply<()>),
    /// Note sessions with rows that could not be read.
    Degrade(Vec<SessionId>),
    /// Finish and stop.
    Close,
}

/// How one job went.
#[derive(Debug)]
pub(crate) enum Done {
    Committed(Committed),
    Lease(Lease),
    Nothing,
}

/// A group that was made durable.
#[derive(Debug)]
pub(crate) struct Group {
    /// The newest event before it.
    pub(crate) before: Seq,
    /// One result for each job.
    pub(crate) results: Vec<StoreResult<Done>>,
}

/// Why a group has no results.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was rolled back and may be tried again, on this connection or another.
    Again(StoreError),
    /// It is not known whether it was committed; if it was, this is what it did.
    Undecided(Group),
    /// It was rolled back, and so would be the next.
    Refused(StoreError),
}

/// The node that a group is written by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Author {
    pub(crate) node: u64,
    /// Whether nodes that did not renew in time still count as alive.
    pub(crate) in_grace: bool,
}

/// Where a group was applied for certain or not at all, when that could not be seen.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) node: u64,
    pub(crate) group: u64,
    /// The connection that its COMMIT was sent on.
    pub(crate) backend: Backend,
}

/// Applies a group and commits it.
pub(crate) async fn apply(
    conn: &mut Writing,
    author: Author,
    group: u64,
    jobs: &[Job],
) -> Result<Group, Failure> {
    // Savepoints cost more than most commits, and most groups have nothing to take back.
    let mut savepoints = false;
    loop {
        match attempt(conn, author, group, jobs, savepoints).await {
            Ok(Some(done)) => {
                // Past this point only the server knows.
                let Err(error) = conn.commit().await else {
                    return Ok(done);
                };
                match conn.trouble {
                    Some(Trouble::Lost) => return Err(Failure::Undecided(done)),
                    // One of the last statements has failed; whose it was is not known.
                    None if !savepoints => roll_back(conn).await?,
                    _ => {
                        roll_back(conn).await?;
                        return Err(failure(error));
                    }
                }
            }
            Ok(None) if !savepoints => roll_back(conn).await?,
            Ok(None) => {
                return Err(Failure::Refused(StoreError::Internal {
                    operation: "commit a group",
                    source: "a savepoint was not enough".into(),
                }));
            }
            Err(error) => {
                if conn.trouble != Some(Trouble::Lost) {
                    roll_back(conn).await?;
                }
                return Err(failure(error));
            }
        }
        savepoints = true;
    }
}

/// Takes everything back, for another try on this connection.
async fn roll_back(conn: &mut Writing) -> Result<(), Failure> {
    if let Err(error) = conn.roll_back().await {
        conn.trouble = Some(Trouble::Lost);
        return Err(failure(error));
    }
    // It was over with what was rolled back.
    conn.trouble = None;
    Ok(())
}

fn failure(error: StoreError) -> Failure {
    match &error {
        StoreError::Unavailable { reason } if is_passing(*reason) => Failure::Again(error),
        _ => Failure::Refused(error),
    }
}

fn is_passing(reason: UnavailableReason) -> bool {
    matches!(
        reason,
        UnavailableReason::Busy
            | UnavailableReason::Unreachable
            | UnavailableReason::ReadOnly
            | UnavailableReason::LeaseEnded
    )
}

/// Applies a group, all but its COMMIT. Without savepoints `None` is given when one of several
/// jobs is refused that has written something.
async fn attempt(
    conn: &mut Writing,
    author: Author,
    group: u64,
    jobs: &[Job],
    savepoints: bool,
) -> StoreResult<Option<Group>> {
    conn.wave = None;
    conn.send("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    // With savepoints it is to be exact which job fails: each asks for itself then.
    let mut wave = if savepoints {
        jobs.len()
    } else {
        wave_of(jobs)
    };
    let plan = if savepoints {
        Plan::default()
    } else {
        plan_of(&jobs[..wave])
    };
    let node = [author.node.into()];
    let opening = [(LOCK, &[][..]), (STANDING, &node[..])];
    let mut opening = conn.open_wave(&opening, &plan).await?.into_iter();
    let mut integer = || {
        let row = opening.next().and_then(|rows| rows.into_iter().next());
        row.map_or(0, |mut row| row.int())
    };
    let (before, is_alive) = (integer(), integer() != 0);
    if !is_alive {
        return Err(StoreError::Unavailable {
            reason: UnavailableReason::LeaseEnded,
        });
    }
    match &mut conn.wave {
        Some(wave) if !savepoints => wave.clock = before,
        wave => *wave = None,
    }
    let mut results = Vec::with_capacity(jobs.len());
    for (place, job) in jobs.iter().enumerate() {
        if place == wave {
            wave += wave_of(&jobs[place..]);
            let opened = conn
                .open_wave(&[], &plan_of(&jobs[place..wave]))
                .await
                .map(drop);
            if let Err(error) = opened {
                return undone(conn, savepoints, error);
            }
        }
        if savepoints {
            conn.send("SAVEPOINT job").await?;
        }
        let written = conn.writes;
        let mut result = run(conn, author, job).await;
        if savepoints && let Err(error) = conn.settled().await {
            result = result.and(Err(error));
        }
        match &result {
            Ok(_) => {}
            Err(_) if conn.trouble.is_some() => return result.map(|_| None),
            Err(_) if savepoints => conn.send("ROLLBACK TO SAVEPOINT job").await?,
            // A refusal by the rules, before anything was written.
            Err(error) if conn.writes == written && !is_fault(error) => {}
            Err(_) => return Ok(None),
        }
        if savepoints {
            conn.send("RELEASE SAVEPOINT job").await?;
        }
        results.push(result);
    }
    let args = [author.node.into(), group.into()];
    if let Err(error) = conn.execute(SET_GROUP, &args).await {
        return undone(conn, savepoints, error);
    }
    conn.wave = None;
    Ok(Some(Group {
        before: Seq(before.cast_unsigned()),
        results,
    }))
}

/// Where a statement failed that may be that of a job before: without savepoints it is not known
/// whose.
fn undone(conn: &Writing, savepoints: bool, error: StoreError) -> StoreResult<Option<Group>> {
    if savepoints || conn.trouble.is_some() {
        return Err(error);
    }
    Ok(None)
}

/// How many of the jobs make the next wave.
fn wave_of(jobs: &[Job]) -> usize {
    wave::length(jobs.iter().map(|job| match job {
        Job::Commit(commit, _) => Some(commit.as_ref()),
        _ => None,
    }))
}

/// What the jobs of a wave ask first.
fn plan_of(jobs: &[Job]) -> Plan<'_> {
    let mut plan = Plan::default();
    let mut asked: Vec<(Lookup, HashSet<&str>)> = Vec::new();
    let mut ask = |lookup: Lookup, id| match asked.iter_mut().find(|(known, _)| *known == lookup) {
        Some((_, ids)) => _ = ids.insert(id),
        None => asked.push((lookup, HashSet::from([id]))),
    };
    for job in jobs {
        if let Job::Commit(commit, _) = job {
            ask(LEASE, commit.session_id.as_str());
            for (lookup, id) in ahead::lookups(commit) {
                ask(lookup, id);
            }
            let (messages, parts) = ahead::inserts(commit);
            plan.messages += messages;
            plan.parts += parts;
        }
    }
    let list = |(lookup, ids): (Lookup, HashSet<_>)| (lookup, ids.into_iter().collect());
    plan.lookups = asked.into_iter().map(list).collect();
    plan
}

/// Whether the transaction has failed with it.
fn is_fault(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Internal { .. } | StoreError::Unavailable { .. }
    )
}

async fn run(conn: &mut Writing, author: Author, job: &Job) -> StoreResult<Done> {
    match job {
        Job::Commit(commit, _) => commit_fenced(conn, author, commit)
            .await
            .map(Done::Committed),
        Job::Acquire(session, _) => acquire(conn, author, session).await.map(Done::Lease),
        Job::Release(session, epoch, _) => {
            let args = [session.as_str().into(), author.node.into(), (*epoch).into()];
            conn.execute(RELEASE, &args).await?;
            Ok(Done::Nothing)
        }
        Job::Degrade(sessions) => {
            for session in sessions {
                MarkDegraded(session).run(conn).await?;
            }
            Ok(Done::Nothing)
        }
        Job::Close => Ok(Done::Nothing),
    }
}

/// A session's row, and its lease.
struct Held {
    sid: i64,
    /// The newest epoch it was written or taken under.
    epoch: u64,
    holder: Option<Holding>,
}

struct Holding {
    node: Node,
    ended: bool,
}

async fn held(conn: &mut Writing, session: &SessionId) -> StoreResult<Option<Held>> {
    let row = first(conn, HELD, &[session.as_str().into()]).await?;
    Ok(row.map(|mut row| {
        let (sid, written) = (row.int(), row.unsigned());
        let taken = row.opt_int();
        let ended = row.opt_int().unwrap_or(0) != 0;
        Held {
            sid,
            epoch: written.max(taken.unwrap_or(0).cast_unsigned()),
            holder: taken.map(|_| Holding {
                node: node(&mut row),
                ended,
            }),
        }
    }))
}

async fn commit_fenced(
    conn: &mut Writing,
    author: Author,
    commit: &Commit,
) -> StoreResult<Committed> {
    rules::check(commit)?;
    let id = &commit.session_id;
    let held = held(conn, id).await?;
    let holder = held.as_ref().and_then(|held| held.holder.as_ref());
    if let (Some(held), Some(holder)) = (&held, holder)
        && holder.node.number != author.node
    {
        // Also a holder that is dead: who was to take over would have taken it.
        return Err(StoreError::Fenced {
            held: held.epoch,
            offered: commit.fence,
        });
    }
    let free = holder.is_none();
    let committed = CommitOp(commit).run(conn).await?;
    if free && commit.changes != [Change::PurgeSession] {
        take(conn, author, id, commit.fence).await?;
    }
    Ok(committed)
}

async fn take(
    conn: &mut Writing,
    author: Author,
    session: &SessionId,
    epoch: u64,
) -> StoreResult<()> {
    let args = [session.as_str().into(), author.node.into(), epoch.into()];
    conn.execute(TAKE, &args).await
}

async fn acquire(conn: &mut Writing, author: Author, session: &SessionId) -> StoreResult<Lease> {
    let Some(held) = held(conn, session).await? else {
        return Err(rules::missing(EntityKind::Session, session.as_str()));
    };
    let from = match held.holder {
        Some(holder) if holder.node.number == author.node => {
            return Ok(Lease::Held {
                epoch: held.epoch,
                from: None,
            });
        }
        Some(holder) if !holder.ended && (holder.node.alive || author.in_grace) => {
            return Ok(Lease::Elsewhere(holder.node));
        }
        Some(holder) => {
            if !holder.ended {
                conn.execute(END, &[holder.node.number.into()]).await?;
            }
            Some(holder.node)
        }
        None => None,
    };
    let next = first(conn, EPOCH, &[])
        .await?
        .map_or(0, |mut row| row.unsigned());
    let epoch = next.max(held.epoch + 1);
    take(conn, author, session, epoch).await?;
    conn.execute(SET_EPOCH, &[held.sid.into(), epoch.into()])
        .await?;
    Ok(Lease::Held { epoch, from })
}

/// Finds out whether a group was committed whose COMMIT was not answered, on a fresh connection:
/// ends the connection it was sent on, and waits until that has let go of the clock.
pub(crate) async fn decide(conn: &mut Writing, open: &Open) -> StoreResult<bool> {
    let Backend { pid, name } = &open.backend;
    let args = [i64::from(*pid).into(), name.into()];
    conn.query(TERMINATE, &args).await?;
    conn.send("BEGIN").await?;
    conn.query(LOCK, &[]).await?;
    let last = first(conn, LAST_GROUP, &[open.node.into()]).await?;
    conn.control("ROLLBACK").await?;
    Ok(last.is_some_and(|mut row| row.unsigned() == open.group))
}
