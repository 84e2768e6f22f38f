//! The connection that writes: statements are sent without waiting for those before them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use futures::future::{BoxFuture, FutureExt as _, join_all};
use futures::{join, pin_mut, poll};
use sessiond_model::SessionId;
use sessiond_store::{StoreError, StoreResult};
use sessiond_store_sql::ahead::{self, Lookup};
use sessiond_store_sql::{Arg, Row, Tx, Value};
use tokio::time::timeout;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Error, Statement};

use crate::cluster::Standing;
use crate::conn::{Spelled, Trouble, fault, note_damage, prepared, rows, spelled, unreachable_now};
use crate::incidents::Incidents;
use crate::values::{Bound, Owned, Read};
use crate::wave::{Column, Wave};

/// Most statements that are on their way without having been asked for how they went.
const IN_FLIGHT: usize = 512;

/// Keys for rows that are inserted later, so many; given under the lock of the clock, later ones
/// are higher.
const MESSAGE_KEYS: &str =
    "SELECT nextval('message_mid_seq') FROM generate_series(CAST(1 AS BIGINT), $1)";
const PART_KEYS: &str =
    "SELECT nextval('part_pid_seq') FROM generate_series(CAST(1 AS BIGINT), $1)";

/// What a wave asks first.
#[derive(Debug, Default)]
pub(crate) struct Plan<'a> {
    pub(crate) lookups: Vec<(Lookup, Vec<&'a str>)>,
    /// Rows that it may insert.
    pub(crate) messages: usize,
    pub(crate) parts: usize,
}

fn values(rows: &[tokio_postgres::Row]) -> Result<Vec<Vec<Value>>, Error> {
    let read = |row: &tokio_postgres::Row| {
        let read = |column| row.try_get::<_, Read>(column).map(|read| read.0);
        (0..row.len()).map(read).collect()
    };
    rows.iter().map(read).collect()
}

type Underway = BoxFuture<'static, Result<(), Error>>;

/// The connection that writes. Statements whose rows nobody wants are sent without waiting.
pub(crate) struct Writing {
    client: Arc<ClientWrapper>,
    incidents: Arc<Incidents>,
    underway: VecDeque<Underway>,
    /// Longest wait for an answer.
    limit: Duration,
    /// Tells when the database has been away for so long that no answer is waited for.
    standing: Option<Arc<Standing>>,
    /// Whether a statement failed before it was sent, so that the server knows nothing of it.
    unsent: bool,
    pub(crate) trouble: Option<Trouble>,
    /// Statements so far that change something.
    pub(crate) writes: u64,
    /// What is known ahead, and not sent yet; only within a transaction.
    pub(crate) wave: Option<Wave>,
    /// Sessions with rows that could not be read, since last asked.
    pub(crate) damaged: Vec<SessionId>,
}

impl Writing {
    pub(crate) fn new(client: ClientWrapper, incidents: Arc<Incidents>, limit: Duration) -> Self {
        Self {
            client: Arc::new(client),
            incidents,
            underway: VecDeque::new(),
            limit,
            standing: None,
            unsent: false,
            trouble: None,
            writes: 0,
            wave: None,
            damaged: Vec::new(),
        }
    }

    /// Waits for answers only as long as there is hope for them.
    pub(crate) fn hopes(mut self, standing: Arc<Standing>) -> Self {
        self.standing = Some(standing);
        self
    }

    /// Waits for an answer; without one the connection is of no more use.
    async fn within<T>(&mut self, answer: impl Future<Output = T>) -> StoreResult<T> {
        let hopeless = async {
            match &self.standing {
                Some(standing) => standing.given_up().await,
                None => std::future::pending().await,
            }
        };
        let done = tokio::select! {
            biased;
            done = timeout(self.limit, answer) => done.ok(),
            () = hopeless => None,
        };
        done.ok_or_else(|| self.no_answer())
    }

    /// A statement that can be sent.
    async fn ready(
        &mut self,
        preparing: impl Future<Output = Result<Statement, Error>>,
    ) -> StoreResult<Statement> {
        match self.within(preparing).await? {
            Ok(statement) => Ok(statement),
            Err(error) => {
                // In a transaction that has failed nothing can be prepared; why it failed tells
                // more.
                self.settled().await?;
                Err(self.failed(error))
            }
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    fn failed(&mut self, error: Error) -> StoreError {
        let (error, trouble) = fault("write", error);
        self.trouble = trouble.or(self.trouble);
        error
    }

    /// Runs statements without values.
    pub(crate) async fn control(&mut self, sql: &'static str) -> StoreResult<()> {
        let client = self.client.clone();
        self.start(async move { client.batch_execute(sql).await }.boxed())
            .await;
        self.settled().await
    }

    /// Commits what was sent; not when something could not be sent, since the server would commit
    /// what is left.
    pub(crate) async fn commit(&mut self) -> StoreResult<()> {
        if std::mem::take(&mut self.unsent) {
            self.settled().await?;
        }
        self.control("COMMIT").await
    }

    /// Runs statements that are made up.
    pub(crate) async fn command(&mut self, sql: String) -> StoreResult<()> {
        let client = self.client.clone();
        self.start(async move { client.batch_execute(&sql).await }.boxed())
            .await;
        self.settled().await
    }

    /// Sends statements without values, and does not wait.
    pub(crate) async fn send(&mut self, sql: &'static str) -> StoreResult<()> {
        let client = self.client.clone();
        self.start(async move { client.batch_execute(sql).await }.boxed())
            .await;
        Ok(())
    }

    /// Sends what is to be sent; how it went is asked later.
    async fn start(&mut self, mut statement: Underway) {
        match poll!(&mut statement) {
            Poll::Ready(done) => {
                self.unsent |= done.is_err();
                self.underway.push_back(std::future::ready(done).boxed());
            }
            Poll::Pending => self.underway.push_back(statement),
        }
    }

    /// Waits until everything that was sent is done; the first failure says more than those
    /// that follow from it.
    pub(crate) async fn settled(&mut self) -> StoreResult<()> {
        let mut first = Ok(());
        while let Some(statement) = self.underway.pop_front() {
            let done = self.within(statement).await?;
            if first.is_ok() {
                first = done;
            }
        }
        first.map_err(|e| self.failed(e))
    }

    fn no_answer(&mut self) -> StoreError {
        self.underway.clear();
        self.trouble = Some(Trouble::Lost);
        unreachable_now()
    }

    /// Sends a statement and waits for its rows.
    async fn ask(&mut self, spelled: &Spelled, args: &[Arg<'_>]) -> StoreResult<Vec<Row>> {
        // Some that give rows write.
        self.writes += u64::from(!spelled.text.starts_with("SELECT"));
        let client = self.client.clone();
        let rows = rows(&client, spelled, args);
        pin_mut!(rows);
        // It is sent before those that went ahead of it are asked how they went.
        let sent = poll!(&mut rows);
        self.settled().await?;
        let rows = match sent {
            Poll::Ready(rows) => rows,
            Poll::Pending => self.within(rows).await?,
        };
        rows.map_err(|e| self.failed(e))
    }

    /// Sends what the wave has held back.
    pub(crate) async fn flush(&mut self) -> StoreResult<()> {
        let Some(held) = self.wave.as_mut().map(Wave::release) else {
            return Ok(());
        };
        let client = self.client.clone();
        for (sql, columns) in held.batches {
            let statement = self.ready(client.prepare_cached(sql)).await?;
            let client = client.clone();
            let done = async move {
                let columns = columns.iter().map(Column::as_sql);
                client.execute_raw(&statement, columns).await.map(drop)
            };
            self.start(done.boxed()).await;
        }
        if let Some((clock, came)) = held.clock {
            let statement = self.ready(client.prepare_cached(ahead::CLOCK_SET)).await?;
            let done = async move {
                let args: [&(dyn ToSql + Sync); 2] = [&clock, &came];
                client.execute_raw(&statement, args).await.map(drop)
            };
            self.start(done.boxed()).await;
        }
        Ok(())
    }

    /// Begins a wave: asks, in one round trip, some statements and then what a wave asks first.
    /// Gives the rows of the former.
    pub(crate) async fn open_wave(
        &mut self,
        before: &[(&'static str, &[Arg<'_>])],
        plan: &Plan<'_>,
    ) -> StoreResult<Vec<Vec<Row>>> {
        self.flush().await?;
        // All are prepared first: what is sent then is sent in this order.
        let client = self.client.clone();
        let mut first = Vec::new();
        for (sql, args) in before {
            let spelled = spelled(sql, None, args);
            self.ready(prepared(&client, &spelled)).await?;
            first.push((spelled, *args));
        }
        let mut asked = Vec::new();
        for (lookup, ids) in &plan.lookups {
            let many = lookup.many();
            let preparing = client.prepare_typed_cached(&many, &[Type::TEXT_ARRAY]);
            asked.push((self.ready(preparing).await?, ids));
        }
        let mut keys = Vec::new();
        for (sql, count) in [(MESSAGE_KEYS, plan.messages), (PART_KEYS, plan.parts)] {
            let preparing = client.prepare_typed_cached(sql, &[Type::INT8]);
            keys.push((self.ready(preparing).await?, count as i64));
        }
        let first = first
            .iter()
            .map(|(spelled, args)| rows(&client, spelled, args));
        let asked = asked.iter().map(|(statement, ids)| {
            let client = client.clone();
            async move { values(&client.query(statement, &[*ids]).await?) }
        });
        let keys = keys.iter().map(|(statement, count)| {
            let client = client.clone();
            async move { values(&client.query(statement, &[count]).await?) }
        });
        let all = async { join!(join_all(first), join_all(asked), join_all(keys)) };
        pin_mut!(all);
        let sent = poll!(&mut all);
        self.settled().await?;
        let done = match sent {
            Poll::Ready(done) => done,
            Poll::Pending => self.within(all).await?,
        };
        let (first, asked, keys) = done;
        let first: Result<Vec<_>, _> = first.into_iter().collect();
        let first = first.map_err(|e| self.failed(e))?;
        let clock = self.wave.as_ref().map_or(0, |wave| wave.clock);
        let mut wave = Wave::new(clock);
        for ((lookup, ids), rows) in plan.lookups.iter().zip(asked) {
            wave.note(*lookup, ids, rows.map_err(|e| self.failed(e))?);
        }
        for (rows, queue) in keys.into_iter().zip([&mut wave.messages, &mut wave.parts]) {
            let rows = rows.map_err(|e| self.failed(e))?;
            queue.extend(rows.iter().filter_map(|row| match row.first() {
                Some(Value::Int(key)) => Some(*key),
                _ => None,
            }));
        }
        self.wave = Some(wave);
        Ok(first)
    }

    /// Forgets what was sent in a transaction that has been given up.
    pub(crate) async fn roll_back(&mut self) -> StoreResult<()> {
        (self.wave, self.unsent) = (None, false);
        // What failed before is known.
        let _ = self.settled().await;
        self.control("ROLLBACK").await
    }
}

impl Tx for Writing {
    async fn query(&mut self, sql: &'static str, args: &[Arg<'_>]) -> StoreResult<Vec<Row>> {
        if let Some(rows) = self.wave.as_mut().and_then(|wave| wave.answer(sql, args)) {
            return Ok(rows);
        }
        self.flush().await?;
        self.ask(&spelled(sql, None, args), args).await
    }

    async fn execute(&mut self, sql: &'static str, args: &[Arg<'_>]) -> StoreResult<()> {
        self.writes += 1;
        if self.wave.as_mut().is_some_and(|wave| wave.hold(sql, args)) {
            return Ok(());
        }
        self.flush().await?;
        let client = self.client.clone();
        let spelled = spelled(sql, None, args);
        let statement = self.ready(prepared(&client, &spelled)).await?;
        let args: Vec<Owned> = args.iter().map(Owned::from).collect();
        let done = async move {
            let args = args.iter().map(|arg| Bound(arg.arg()));
            client.execute_raw(&statement, args).await.map(drop)
        };
        self.start(done.boxed()).await;
        if self.underway.len() >= IN_FLIGHT {
            self.settled().await?;
        }
        Ok(())
    }

    async fn insert(
        &mut self,
        sql: &'static str,
        key: &'static str,
        args: &[Arg<'_>],
    ) -> StoreResult<i64> {
        if let Some(key) = self.wave.as_mut().and_then(|wave| wave.insert(sql, args)) {
            self.writes += 1;
            return Ok(key);
        }
        self.flush().await?;
        let rows = self.ask(&spelled(sql, Some(key), args), args).await?;
        Ok(rows.into_iter().next().map_or(0, |mut row| row.int()))
    }

    fn damaged(&mut self, session: &SessionId, what: &str) {
        note_damage(&self.incidents, &mut self.damaged, session, what);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use sessiond_model::{ManualClock, Timestamp};
    use sessiond_store::contract::Recorder;
    use sessiond_store_sql::{Arg, Tx as _};
    use sessiond_testkit::postgres::database;

    use super::Writing;
    use crate::conn::connect;
    use crate::{PostgresOptions, PostgresStore, tls};

    const PUT: &str = "INSERT INTO meta (name, value) VALUES ('half', $1)";
    /// Takes numbers of four bytes only.
    const SMALL: &str = "SELECT CAST($1 AS INT4)";

    #[tokio::test]
    async fn what_could_not_be_sent_is_not_left_out_of_a_commit() {
        let database = database();
        let clock = Arc::new(ManualClock::at(Timestamp(1)));
        let feed = Arc::<Recorder>::default();
        let address = database.url().parse().unwrap();
        let options = PostgresOptions::new(address, feed, clock, "0");
        let store = PostgresStore::open(&options).await.unwrap();
        let tls = tls::connector(&options.address).unwrap();
        let link = connect(&options, &tls, "test", None).await.unwrap();
        let mut conn = Writing::new(link.client, Arc::default(), Duration::from_secs(5));
        conn.execute(SMALL, &[Arg::Null]).await.unwrap();
        conn.send("BEGIN").await.unwrap();
        conn.execute(PUT, &["of it".into()]).await.unwrap();
        let large = [Arg::Int(i64::MAX)];
        conn.execute(SMALL, &large).await.unwrap();
        conn.commit().await.unwrap_err();
        conn.roll_back().await.unwrap();
        let count = "SELECT count(*) FROM sessiond.meta WHERE name = 'half'";
        assert_eq!(database.psql(count).unwrap(), "0");
        drop(store);
    }
}
