//! A PostgreSQL database as one side of a move.

use std::sync::Arc;
use std::time::Duration;

use futures::future::try_join_all;
use sessiond_model::Clock;
use sessiond_store::{NoFeed, StoreError, StoreResult};
use sessiond_store_sql::moving::{MOVED, MoveError, Site, Table, same_schema};
use sessiond_store_sql::{Arg, META_MOVING, Row, Value};
use tokio::time::{Instant, sleep};
use tokio_postgres::Error;

use crate::cluster::LIVING;
use crate::conn::{Link, connect, fault, read_rows};
use crate::values::Bound;
use crate::{Address, PostgresOptions, schema, tls};

/// Two moves into one schema would be in each other's way.
const LOCK: &str =
    "SELECT pg_try_advisory_lock(hashtext('sessiond migrate'), hashtext(current_schema()))";
/// How long the connection of a move that was killed may still be there.
const GONE: Duration = Duration::from_secs(3);
/// Whoever writes registers first, and so moves this.
const STAMP: &str = "SELECT 'event ' || c.seq || ', node ' || \
     (SELECT coalesce(max(number), 0) FROM node) FROM clock c WHERE c.id = 1";
const EPOCH: &str = "SELECT greatest((SELECT last_value FROM epoch), \
     (SELECT coalesce(max(epoch), 0) FROM session))";

/// A database that no node works with while this is held.
pub struct PostgresSite {
    link: Link,
    /// For what is to be read from the newest state.
    side: Link,
    name: String,
    opened: String,
}

impl std::fmt::Debug for PostgresSite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PostgresSite").field(&self.name).finish()
    }
}

fn at(place: &str) -> impl Fn(StoreError) -> MoveError + use<> {
    let place = place.to_owned();
    move |source| MoveError::Store {
        place: place.clone(),
        source,
    }
}

fn failed(operation: &'static str) -> impl Fn(Error) -> StoreError {
    move |error| fault(operation, error).0
}

impl PostgresSite {
    /// Opens a database to read it, as it is now.
    ///
    /// # Errors
    /// `Absent`, `InUse`, `Schema`, `Store`.
    pub async fn source(address: &Address, clock: Arc<dyn Clock>) -> Result<Self, MoveError> {
        let options = options(address, clock, "");
        let mut site = Self::open(&options).await?;
        let fail = at(&site.name);
        let found = schema::found(&site.link.client, address.schema()).await;
        match found.map_err(&fail)? {
            None => return Err(MoveError::Absent { place: site.name }),
            Some(found) => same_schema(&site.name, found, schema::supported())?,
        }
        site.nobody_works().await?;
        // Before the snapshot: who came between is told apart at the end.
        site.opened = site.stamp().await.map_err(&fail)?;
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        site.control(begin).await.map_err(&fail)?;
        let sql = "SELECT 1 FROM meta WHERE name = $1";
        let half = site.query(sql, &[META_MOVING.into()]).await;
        if !half.map_err(&fail)?.is_empty() {
            let path = site.name.into();
            return Err(fail(StoreError::HalfMoved { path }));
        }
        Ok(site)
    }

    /// Opens a database to fill it; its schema is made when it is not there. `program` is the
    /// version that the schema is said to be of.
    ///
    /// # Errors
    /// `InUse`, `Schema`, `Store`.
    pub async fn target(
        address: &Address,
        clock: Arc<dyn Clock>,
        program: &str,
    ) -> Result<Self, MoveError> {
        let options = options(address, clock, program);
        let mut site = Self::open(&options).await?;
        let fail = at(&site.name);
        let found = schema::found(&site.link.client, address.schema()).await;
        match found.map_err(&fail)? {
            None => {
                let made = schema::prepare(&mut site.side.client, &options).await;
                made.map_err(&fail)?;
                // The lock of migrations goes with the connection, as does what it has set.
                site.side = linked(&options).await?;
            }
            Some(found) => same_schema(&site.name, found, schema::supported())?,
        }
        if !site.lock().await.map_err(&fail)? {
            let by = "another `sessiond migrate`".into();
            let place = site.name;
            return Err(MoveError::InUse { place, by });
        }
        Ok(site)
    }

    async fn open(options: &PostgresOptions) -> Result<Self, MoveError> {
        Ok(Self {
            link: linked(options).await?,
            side: linked(options).await?,
            name: options.address.to_string(),
            opened: String::new(),
        })
    }

    /// Locks the schema against other moves; gives whether it could.
    async fn lock(&self) -> StoreResult<bool> {
        let deadline = Instant::now() + GONE;
        loop {
            let locked = self.link.client.query_one(LOCK, &[]).await;
            let locked = locked.map_err(failed("lock the schema"))?;
            if locked.get(0) || Instant::now() > deadline {
                return Ok(locked.get(0));
            }
            sleep(GONE / 20).await;
        }
    }

    async fn control(&self, sql: &str) -> StoreResult<()> {
        let done = self.link.client.batch_execute(sql).await;
        done.map_err(failed("control a transaction"))
    }

    /// Refuses a database with living nodes.
    async fn nobody_works(&mut self) -> Result<(), MoveError> {
        let fail = at(&self.name);
        let nodes = self.query(LIVING, &[]).await.map_err(fail)?;
        let names: Vec<String> = nodes.into_iter().map(|mut row| row.text()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let (place, by) = (self.name.clone(), names.join(", "));
        Err(MoveError::InUse { place, by })
    }
}

/// No statement of a move is too long.
fn options(address: &Address, clock: Arc<dyn Clock>, program: &str) -> PostgresOptions {
    PostgresOptions {
        statement_timeout: Duration::ZERO,
        idle_timeout: Duration::ZERO,
        ..PostgresOptions::new(address.clone(), Arc::new(NoFeed), clock, program)
    }
}

async fn linked(options: &PostgresOptions) -> Result<Link, MoveError> {
    let fail = at(&options.address.to_string());
    let tls = tls::connector(&options.address).map_err(&fail)?;
    let link = connect(options, &tls, "migrate", None).await;
    link.map_err(|refusal| fail(refusal.told(&options.address)))
}

impl Site for PostgresSite {
    fn name(&self) -> &str {
        &self.name
    }

    async fn query(&mut self, sql: &str, args: &[Arg<'_>]) -> StoreResult<Vec<Row>> {
        let client = &self.link.client;
        let rows = async {
            let statement = client.prepare_cached(sql).await?;
            read_rows(client, &statement, args).await
        };
        rows.await.map_err(failed("run a statement"))
    }

    async fn insert(&mut self, table: &Table, rows: &[Vec<Value>]) -> StoreResult<()> {
        let (name, names, values) = (table.name, table.names(), table.placeholders());
        let own = if table.numbered {
            "OVERRIDING SYSTEM VALUE "
        } else {
            ""
        };
        let sql = format!("INSERT INTO {name} ({names}) {own}VALUES ({values})");
        let client = &self.link.client;
        let inserted = async {
            let statement = client.prepare_cached(&sql).await?;
            // Sent one after the other, without waiting for answers between.
            let sent = rows.iter().map(|row| {
                let args = row.iter().map(|value| Bound(value.arg()));
                client.execute_raw(&statement, args)
            });
            try_join_all(sent).await.map(drop)
        };
        inserted.await.map_err(failed("insert rows"))
    }

    async fn begin(&mut self) -> StoreResult<()> {
        self.control("BEGIN").await
    }

    async fn commit(&mut self) -> StoreResult<()> {
        self.control("COMMIT").await
    }

    fn opened(&self) -> &str {
        &self.opened
    }

    async fn stamp(&mut self) -> StoreResult<String> {
        let stamp = self.side.client.query_one(STAMP, &[]).await;
        stamp
            .and_then(|row| row.try_get(0))
            .map_err(failed("read the clock"))
    }

    async fn epoch(&mut self) -> StoreResult<u64> {
        let rows = self.query(EPOCH, &[]).await?;
        Ok(rows.into_iter().next().map_or(0, |mut row| row.unsigned()))
    }

    async fn settle(&mut self, epoch: u64) -> StoreResult<()> {
        let epoch = epoch.max(self.epoch().await?);
        let sql = "SELECT setval('epoch', $1)";
        self.query(sql, &[epoch.into()]).await?;
        for table in MOVED.iter().filter(|table| table.numbered) {
            let (name, key) = (table.name, table.key());
            let sql = format!(
                "SELECT setval(pg_get_serial_sequence('{name}', '{key}'), coalesce(max({key}), 1), \
                 max({key}) IS NOT NULL) FROM {name}"
            );
            self.query(&sql, &[]).await?;
        }
        self.control("ANALYZE").await
    }

    async fn mark(&mut self, mark: &str) -> Result<(), MoveError> {
        let fail = at(&self.name);
        // Who registers now waits, and sees the mark; who has registered is seen here.
        let begin = "BEGIN; LOCK TABLE node IN SHARE ROW EXCLUSIVE MODE";
        self.control(begin).await.map_err(&fail)?;
        if let Err(error) = self.nobody_works().await {
            self.control("ROLLBACK").await.map_err(&fail)?;
            return Err(error);
        }
        let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        let marked = self.query(sql, &[META_MOVING.into(), mark.into()]).await;
        marked.map_err(&fail)?;
        self.control("COMMIT").await.map_err(&fail)
    }
}
