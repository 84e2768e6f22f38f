//! The nodes of a store: their rows, and what this one knows of itself.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sessiond_model::{SessionId, Timestamp};
use sessiond_store::{Node, StoreError, StoreResult};
use sessiond_store_sql::{Arg, META_MOVING, Op, Row, Tx};
use tokio::sync::{Notify, watch};

use crate::PostgresOptions;

/// The database's time, in milliseconds.
macro_rules! now {
    () => {
        "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)"
    };
}
macro_rules! node_columns {
    () => {
        concat!(
            "n.number, n.name, n.url, n.host, n.version, n.started_at, n.expires_at, \
             n.ended_at IS NULL AND n.expires_at > ",
            now!()
        )
    };
}

pub(crate) const EPOCH: &str = "SELECT nextval('epoch')";
const REGISTER: &str = concat!(
    "INSERT INTO node (name, url, host, pid, version, epoch, last_group, started_at, expires_at) \
     SELECT $1, $2, $3, $4, $5, nextval('epoch'), 0, t.now, t.now + $6 FROM (SELECT ",
    now!(),
    " AS now) t RETURNING number, epoch, started_at, expires_at"
);
/// Names of the nodes that are alive.
pub(crate) const LIVING: &str = concat!(
    "SELECT name FROM node WHERE ended_at IS NULL AND expires_at > ",
    now!(),
    " ORDER BY name"
);
/// Asked after registering: a move marks the store first, and looks for nodes after that.
const HALF_MOVED: &str = "SELECT 1 FROM meta WHERE name = $1";
const RENEW: &str = concat!(
    "UPDATE node SET expires_at = ",
    now!(),
    " + $2 WHERE number = $1 AND ended_at IS NULL RETURNING expires_at"
);
/// A node that is not alive any more: what it holds is free.
pub(crate) const END: &str = concat!(
    "UPDATE node SET ended_at = ",
    now!(),
    " WHERE number = $1 AND ended_at IS NULL"
);
/// Nodes that are being written to are alive, or are looked at the next time.
const END_EXPIRED: &str = concat!(
    "UPDATE node SET ended_at = ",
    now!(),
    " WHERE number IN (SELECT number FROM node WHERE ended_at IS NULL AND expires_at <= ",
    now!(),
    " ORDER BY number FOR UPDATE SKIP LOCKED)"
);
const PREDECESSORS: &str =
    "SELECT number, pid FROM node WHERE ended_at IS NULL AND name = $1 AND host = $2";
pub(crate) const GIVE_BACK: &str = "DELETE FROM lease WHERE node = $1";
/// Nodes that nobody will ask for.
const FORGET: &str = concat!(
    "DELETE FROM node n WHERE n.ended_at < ",
    now!(),
    " - 604800000 AND NOT EXISTS (SELECT 1 FROM lease l WHERE l.node = n.number)"
);
const UNFINISHED_ORPHANS: &str = "SELECT s.id FROM session s LEFT JOIN lease l ON l.sid = s.sid \
     LEFT JOIN node n ON n.number = l.node \
     WHERE (n.number IS NULL OR n.ended_at IS NOT NULL) AND s.sid IN (\
     SELECT sid FROM session WHERE status = 'busy' AND deleted_at IS NULL \
     UNION SELECT t.sid FROM turn t JOIN session o ON o.sid = t.sid \
         WHERE t.open = 1 AND o.deleted_at IS NULL \
     UNION SELECT a.sid FROM ask a JOIN session o ON o.sid = a.sid \
         WHERE a.pending = 1 AND o.deleted_at IS NULL \
     UNION SELECT sid FROM restore WHERE pending = 1) ORDER BY s.id LIMIT $1";
const HOLDER: &str = concat!(
    "SELECT ",
    node_columns!(),
    " FROM session s JOIN lease l ON l.sid = s.sid JOIN node n ON n.number = l.node \
     WHERE s.id = $1"
);
const NOTE_PLACE: &str = concat!(
    "INSERT INTO place (name, directory, noted_at) VALUES ($1, $2, ",
    now!(),
    ") ON CONFLICT (name, directory) DO UPDATE SET noted_at = excluded.noted_at"
);
const NODES_WITH: &str = concat!(
    "SELECT ",
    node_columns!(),
    " FROM node n JOIN place p ON p.name = n.name WHERE p.directory = $1 \
     AND n.number = (SELECT max(o.number) FROM node o WHERE o.name = n.name) ORDER BY n.name"
);
const NODES: &str = concat!(
    "SELECT ",
    node_columns!(),
    " FROM node n WHERE (n.ended_at IS NULL AND n.expires_at > ",
    now!(),
    ") OR (n.number = (SELECT max(o.number) FROM node o WHERE o.name = n.name) \
     AND COALESCE(n.ended_at, n.expires_at) > ",
    now!(),
    " - 86400000) ORDER BY n.name, n.number"
);
/// Reads `number, name, url, host, version, started_at, expires_at, alive`.
pub(crate) fn node(row: &mut Row) -> Node {
    Node {
        number: row.unsigned(),
        name: row.text(),
        url: row.opt_text(),
        host: row.text(),
        version: row.text(),
        started_at: Timestamp(row.int()),
        expires_at: Timestamp(row.int()),
        alive: row.int() != 0,
    }
}

fn nodes(rows: Vec<Row>) -> Vec<Node> {
    rows.into_iter().map(|mut row| node(&mut row)).collect()
}

/// Who this process is.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) node: Node,
    /// The epoch of sessions that it creates.
    pub(crate) epoch: u64,
}

/// Between two looks at whether the database can be reached.
const LOOK: Duration = Duration::from_millis(250);

/// What this node knows of itself and of how it reaches the database.
#[derive(Debug)]
pub(crate) struct Standing {
    registered: Mutex<Registration>,
    /// How often it had to register anew.
    lost: watch::Sender<u64>,
    /// Asks for a renewal now.
    pub(crate) renew: Notify,
    reach: Mutex<Reach>,
    lease: Duration,
    /// How long anybody waits for a database that can't be reached.
    patience: Duration,
}

#[derive(Debug)]
struct Reach {
    /// The last renewal that went through.
    renewed: Instant,
    /// Until then nobody is ended.
    grace: Option<Instant>,
    /// Since when the database can't be reached.
    down: Option<Instant>,
}

impl Standing {
    pub(crate) fn new(registered: Registration, options: &PostgresOptions) -> Self {
        let lease = Duration::from_millis(options.lease_ms().cast_unsigned());
        Self {
            registered: Mutex::new(registered),
            lost: watch::Sender::new(0),
            renew: Notify::new(),
            reach: Mutex::new(Reach {
                renewed: Instant::now(),
                // Whoever comes does not know whether the others could reach the database.
                grace: Some(Instant::now() + lease),
                down: None,
            }),
            lease,
            patience: options.patience,
        }
    }

    pub(crate) fn registered(&self) -> Registration {
        self.registered.lock().clone()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.registered.lock().epoch
    }

    pub(crate) fn lost(&self) -> watch::Receiver<u64> {
        self.lost.subscribe()
    }

    /// How long a lease lasts.
    pub(crate) fn lease(&self) -> Duration {
        self.lease
    }

    /// Notes that the lease goes on.
    pub(crate) fn renewed(&self, expires_at: Timestamp) {
        self.registered.lock().node.expires_at = expires_at;
        self.reached();
    }

    /// Notes that this process is another node from now on.
    pub(crate) fn replaced(&self, registered: Registration) {
        *self.registered.lock() = registered;
        self.reached();
        self.lost.send_modify(|times| *times += 1);
    }

    /// Whoever could not renew for so long may see others as dead that could not either.
    fn reached(&self) {
        let now = Instant::now();
        let mut reach = self.reach.lock();
        if now.duration_since(reach.renewed) > self.lease * 2 / 3 {
            reach.grace = Some(now + self.lease);
        }
        reach.renewed = now;
        reach.down = None;
    }

    /// Notes that the database can't be reached; gives whether that is news.
    pub(crate) fn failed(&self) -> bool {
        let mut reach = self.reach.lock();
        let news = reach.down.is_none();
        reach.down.get_or_insert_with(Instant::now);
        news
    }

    /// How long the database has not been reached.
    pub(crate) fn down(&self) -> Option<Duration> {
        self.reach.lock().down.map(|since| since.elapsed())
    }

    /// Waits until the database was not reached for so long that nobody should wait for it.
    pub(crate) async fn given_up(&self) {
        while self.down().is_none_or(|down| down < self.patience) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Whether others are not to be ended now.
    pub(crate) fn in_grace(&self) -> bool {
        let reach = self.reach.lock();
        let now = Instant::now();
        // A node that has just woken does not know yet how long it was away.
        now.duration_since(reach.renewed) > self.lease * 2 / 3
            || reach.grace.is_some_and(|until| now < until)
    }
}

/// Registers this process; ends those of the same name on this host that are not there any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Register<'a>(pub(crate) &'a PostgresOptions);

impl Op for Register<'_> {
    type Out = Registration;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Registration> {
        let options = self.0;
        let (name, host) = (options.node.as_str(), options.host.as_str());
        if !host.is_empty() {
            let rows = tx.query(PREDECESSORS, &[name.into(), host.into()]).await?;
            for mut row in rows {
                let (number, pid) = (row.int(), row.int());
                if is_gone(pid) {
                    tx.query(END, &[number.into()]).await?;
                }
            }
        }
        tx.query(FORGET, &[]).await?;
        let args: [Arg<'_>; 6] = [
            name.into(),
            options.url.as_ref().into(),
            host.into(),
            i64::from(std::process::id()).into(),
            (&options.version).into(),
            options.lease_ms().into(),
        ];
        let mut row = first(tx, REGISTER, &args)
            .await?
            .unwrap_or(Row::new(Vec::new()));
        let (number, epoch) = (row.unsigned(), row.unsigned());
        let half = first(tx, HALF_MOVED, &[META_MOVING.into()]).await?;
        if half.is_some() {
            tx.query(END, &[number.into()]).await?;
            let path = options.address.to_string().into();
            return Err(StoreError::HalfMoved { path });
        }
        let node = Node {
            number,
            name: options.node.clone(),
            url: options.url.clone(),
            host: options.host.clone(),
            version: options.version.clone(),
            started_at: Timestamp(row.int()),
            expires_at: Timestamp(row.int()),
            alive: true,
        };
        Ok(Registration { node, epoch })
    }
}

/// Whether no process of this host has this id.
fn is_gone(pid: i64) -> bool {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

pub(crate) async fn first<T: Tx>(
    tx: &mut T,
    sql: &'static str,
    args: &[Arg<'_>],
) -> StoreResult<Option<Row>> {
    Ok(tx.query(sql, args).await?.into_iter().next())
}

/// Renews the lease of a node, unless it was ended; gives when it ends now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Renew(pub(crate) u64, pub(crate) i64);

impl Op for Renew {
    type Out = Option<Timestamp>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Option<Timestamp>> {
        let row = first(tx, RENEW, &[self.0.into(), self.1.into()]).await?;
        Ok(row.map(|mut row| Timestamp(row.int())))
    }
}

/// Ends a node that goes, and gives back what it held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leave(pub(crate) u64);

impl Op for Leave {
    type Out = ();

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<()> {
        tx.query(END, &[self.0.into()]).await?;
        tx.query(GIVE_BACK, &[self.0.into()]).await.map(drop)
    }
}

/// Unfinished sessions that nobody holds; first ends the nodes that did not renew, if `end`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orphans {
    pub(crate) end: bool,
    pub(crate) limit: u32,
}

impl Op for Orphans {
    type Out = Vec<SessionId>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Vec<SessionId>> {
        if self.end {
            tx.query(END_EXPIRED, &[]).await?;
        }
        let rows = tx
            .query(UNFINISHED_ORPHANS, &[i64::from(self.limit).into()])
            .await?;
        let id = |mut row: Row| SessionId::trusted(&row.text());
        Ok(rows.into_iter().map(id).collect())
    }
}

/// The living node that holds a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holder<'a>(pub(crate) &'a SessionId);

impl Op for Holder<'_> {
    type Out = Option<Node>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Option<Node>> {
        let row = first(tx, HOLDER, &[self.0.as_str().into()]).await?;
        let holder = row.map(|mut row| node(&mut row));
        Ok(holder.filter(|node| node.alive))
    }
}

/// Notes that the nodes of a name have a directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotePlace<'a>(pub(crate) &'a str, pub(crate) &'a str);

impl Op for NotePlace<'_> {
    type Out = ();

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<()> {
        tx.query(NOTE_PLACE, &[self.0.into(), self.1.into()])
            .await
            .map(drop)
    }
}

/// For each name that has a directory the newest node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodesWith<'a>(pub(crate) &'a str);

impl Op for NodesWith<'_> {
    type Out = Vec<Node>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Vec<Node>> {
        tx.query(NODES_WITH, &[self.0.into()]).await.map(nodes)
    }
}

/// All living nodes, and for each other name the newest of the last day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nodes;

impl Op for Nodes {
    type Out = Vec<Node>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Vec<Node>> {
        tx.query(NODES, &[]).await.map(nodes)
    }
}
