//! The schema: made and brought up to date under a lock that all nodes know.

use std::path::PathBuf;

use sessiond_model::Timestamp;
use sessiond_store::{StoreError, StoreResult};
use sessiond_store_sql::{
    Dialect, META_MIN_READER, META_MIN_WRITER, META_WRITTEN_BY, MIGRATIONS, Migration,
};
use tokio_postgres::{Client, Error};

use crate::PostgresOptions;
use crate::conn::fault;

/// What only a store of many nodes has.
const CLUSTER: Migration = Migration {
    version: 2_026_112_301,
    name: "nodes and leases",
    sql: include_str!("migrations/2026112301_nodes_and_leases.sql"),
    min_reader: 2_026_112_201,
    min_writer: 2_026_112_301,
};

/// The oldest server that is known to work.
const SERVER: i32 = 140_000;

/// All steps, in order.
fn history() -> Vec<&'static Migration> {
    let mut steps: Vec<&Migration> = MIGRATIONS.iter().chain([&CLUSTER]).collect();
    steps.sort_by_key(|step| step.version);
    steps
}

/// The newest step.
pub(crate) fn supported() -> i64 {
    history().last().map_or(0, |step| step.version)
}

/// The newest step that a database has taken; `None` when it has no schema of ours.
pub(crate) async fn found(client: &Client, schema: &str) -> StoreResult<Option<i64>> {
    let read = failed("read the schema version");
    let sql = "SELECT to_regclass($1) IS NOT NULL";
    let table = format!("{schema}.migration");
    let row = client.query_one(sql, &[&table]).await.map_err(&read)?;
    if !row.get::<_, bool>(0) {
        return Ok(None);
    }
    let sql = "SELECT coalesce(max(version), 0) FROM migration";
    let row = client.query_one(sql, &[]).await.map_err(&read)?;
    Ok(Some(row.get(0)))
}

fn failed(operation: &'static str) -> impl Fn(Error) -> StoreError {
    move |error| fault(operation, error).0
}

fn unfit(why: String) -> StoreError {
    StoreError::Internal {
        operation: "open the database",
        source: why.into(),
    }
}

/// Makes the schema or brings it up to date; refuses a newer one.
pub(crate) async fn prepare(client: &mut Client, options: &PostgresOptions) -> StoreResult<()> {
    fit(client).await?;
    let schema = options.address.schema();
    // Other nodes that start wait here as long as it takes.
    let lock = "SET statement_timeout = 0; SET lock_timeout = 0; \
                SET idle_in_transaction_session_timeout = 0;";
    let locked = async {
        client.batch_execute(lock).await?;
        let sql = "SELECT pg_advisory_lock(hashtext('sessiond'), hashtext($1))";
        client.execute(sql, &[&schema]).await
    };
    locked.await.map_err(failed("wait for migrations"))?;
    migrate(client, options, schema).await
    // The lock goes with the connection.
}

async fn fit(client: &Client) -> StoreResult<()> {
    let sql = "SELECT CAST(current_setting('server_version_num') AS INT), \
               current_setting('server_encoding')";
    let row = client.query_one(sql, &[]).await;
    let row = row.map_err(failed("ask for the server's version"))?;
    let (version, encoding): (i32, String) = (row.get(0), row.get(1));
    if version < SERVER {
        let version = version / 10_000;
        return Err(unfit(format!(
            "it is of PostgreSQL {version}; 14 or newer is needed"
        )));
    }
    if encoding != "UTF8" {
        return Err(unfit(format!(
            "its encoding is {encoding}; make one with ENCODING 'UTF8'"
        )));
    }
    Ok(())
}

async fn migrate(client: &mut Client, options: &PostgresOptions, schema: &str) -> StoreResult<()> {
    let read = failed("read the schema version");
    let found = found(client, schema).await?;
    let (has_schema, current) = (found.is_some(), found.unwrap_or(0));
    let (history, supported) = (history(), supported());
    if current > supported {
        return newer(client, options, current, supported).await;
    }
    let pending: Vec<&Migration> = if has_schema {
        let sql = "SELECT version FROM migration";
        let rows = client.query(sql, &[]).await.map_err(&read)?;
        let taken: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
        let left = |step: &&Migration| !taken.contains(&step.version);
        history.into_iter().filter(left).collect()
    } else {
        history
    };
    if pending.is_empty() {
        return Ok(());
    }
    tracing::info!(from = current, to = supported, database = %options.address, "migrating");
    let now = options.clock.now();
    let done = take(client, schema, &pending, &options.version, now).await;
    done.map_err(failed("migrate"))
}

async fn newer(
    client: &Client,
    options: &PostgresOptions,
    found: i64,
    supported: i64,
) -> StoreResult<()> {
    let meta = async |name: &str| {
        let sql = "SELECT value FROM meta WHERE name = $1";
        let row = client.query_opt(sql, &[&name]).await;
        let row = row.map_err(failed("read the schema version"))?;
        Ok::<_, StoreError>(row.map(|row| row.get::<_, String>(0)))
    };
    let needed = meta(META_MIN_WRITER).await?.and_then(|v| v.parse().ok());
    if needed.unwrap_or(found) <= supported {
        return Ok(());
    }
    Err(StoreError::TooNew {
        path: PathBuf::from(options.address.to_string()),
        found,
        supported,
        needed: meta(META_WRITTEN_BY).await?.unwrap_or_default(),
    })
}

/// Takes steps, all or none.
async fn take(
    client: &mut Client,
    schema: &str,
    steps: &[&Migration],
    version: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let tx = client.transaction().await?;
    // To ask for one that is there needs a right that the owner of a schema may not have.
    let sql = "SELECT count(*) FROM pg_namespace WHERE nspname = $1";
    let there: i64 = tx.query_one(sql, &[&schema]).await?.get(0);
    if there == 0 {
        tx.batch_execute(&format!("CREATE SCHEMA {schema}")).await?;
    }
    for step in steps {
        tx.batch_execute(&Dialect::POSTGRES.render(step.sql))
            .await?;
        let sql = "INSERT INTO migration (version, name, checksum, applied_at) \
                   VALUES ($1, $2, $3, $4)";
        let checksum = step.checksum();
        tx.execute(sql, &[&step.version, &step.name, &checksum, &now.millis()])
            .await?;
    }
    let (reader, writer) = needed(&history());
    let facts = [
        (META_MIN_READER, reader.to_string()),
        (META_MIN_WRITER, writer.to_string()),
        (META_WRITTEN_BY, version.to_owned()),
    ];
    for (name, value) in facts {
        let sql = "INSERT INTO meta (name, value) VALUES ($1, $2) \
                   ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        tx.execute(sql, &[&name, &value]).await?;
    }
    tx.commit().await
}

/// The oldest schemas a program must know to read and to write after all of these steps. A step
/// that both kinds of store take knows nothing of what only this one needs.
fn needed(steps: &[&Migration]) -> (i64, i64) {
    let most = |of: fn(&Migration) -> i64| steps.iter().map(|step| of(step)).max();
    let reader = most(|step| step.min_reader);
    let writer = most(|step| step.min_writer);
    (reader.unwrap_or(0), writer.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_numbers_of_their_own() {
        let history = history();
        assert!(
            history
                .windows(2)
                .all(|pair| pair[0].version < pair[1].version)
        );
    }

    #[test]
    fn a_later_step_takes_no_need_back() {
        assert_eq!(needed(&history()).1, CLUSTER.min_writer);
    }

    /// A step is never changed.
    #[test]
    fn history_is_never_changed() {
        let known = "a292f6945aff1ae6391c2bb243ba1dac6f4c3d8e13291b40bc463179af6240f5";
        assert_eq!(CLUSTER.checksum(), known);
    }
}
