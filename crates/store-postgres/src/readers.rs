//! The pool of connections that read.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use sessiond_model::SessionId;
use sessiond_store::{StoreError, StoreResult};
use sessiond_store_sql::Op;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::PostgresOptions;
use crate::cluster::Standing;
use crate::conn::{Reader, Trouble, configured, fault, unreachable_now};
use crate::incidents::Incidents;

/// Whether an operation needs one state of the store for several statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// Each statement sees what is there when it begins.
    Moving,
    /// All statements see the same.
    Still,
}

/// Connections that only read, and write what needs no order.
#[derive(Debug)]
pub(crate) struct Readers {
    pool: Pool,
    standing: Arc<Standing>,
    incidents: Arc<Incidents>,
    limit: Duration,
}

/// A connection of the pool that goes back to it when what it was taken for is done, and else is
/// closed: left in the middle of a transaction it would show its next user what was there then.
struct Taken(Option<Object>);

impl Taken {
    fn give_back(mut self) {
        self.0.take();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.take().map(Object::take);
    }
}

impl Readers {
    pub(crate) fn new(
        options: &PostgresOptions,
        size: usize,
        tls: MakeRustlsConnect,
        standing: Arc<Standing>,
        incidents: Arc<Incidents>,
    ) -> StoreResult<Self> {
        let config = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        let manager = Manager::from_config(configured(options, "reader"), tls, config);
        let pool = Pool::builder(manager)
            .max_size(size.max(1))
            .wait_timeout(Some(options.patience))
            .create_timeout(Some(options.patience))
            .recycle_timeout(Some(options.patience))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| StoreError::Internal {
                operation: "make the pool of readers",
                source: error.into(),
            })?;
        Ok(Self {
            pool,
            standing,
            incidents,
            limit: options.statement_timeout + Duration::from_secs(1),
        })
    }

    /// Reads, a second time on a fresh connection when the first was lost. Also gives the sessions
    /// whose rows could not be read.
    pub(crate) async fn read<O: Op + Copy>(
        &self,
        view: View,
        op: O,
    ) -> (StoreResult<O::Out>, Vec<SessionId>) {
        tokio::select! {
            biased;
            done = self.patiently(view, op) => done,
            // A connection into a black hole says nothing for long.
            () = self.standing.given_up() => (Err(unreachable_now()), Vec::new()),
        }
    }

    async fn patiently<O: Op + Copy>(
        &self,
        view: View,
        op: O,
    ) -> (StoreResult<O::Out>, Vec<SessionId>) {
        let mut fresh = false;
        loop {
            let (result, trouble, damaged) = self.attempt(view, op).await;
            if trouble != Some(Trouble::Lost) || fresh {
                return (result, damaged);
            }
            // The others that are idle were lost with it, most likely.
            self.pool.retain(|_, _| false);
            fresh = true;
        }
    }

    async fn attempt<O: Op>(
        &self,
        view: View,
        op: O,
    ) -> (StoreResult<O::Out>, Option<Trouble>, Vec<SessionId>) {
        let taken = match self.pool.get().await {
            Ok(object) => Taken(Some(object)),
            Err(deadpool_postgres::PoolError::Backend(error)) => {
                let (error, trouble) = fault("connect", error);
                return (Err(error), trouble, Vec::new());
            }
            Err(error) => {
                tracing::debug!(%error, "no connection to read with");
                return (Err(unreachable_now()), None, Vec::new());
            }
        };
        let Some(client) = taken.0.as_deref() else {
            return (Err(unreachable_now()), None, Vec::new());
        };
        let mut reader = Reader {
            client,
            incidents: &self.incidents,
            trouble: None,
            damaged: Vec::new(),
        };
        let work = async {
            // What these fail with, the statements between and after them fail with too.
            if view == View::Still {
                reader
                    .send("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    .await;
            }
            let result = op.run(&mut reader).await;
            if view == View::Still {
                reader.send("COMMIT").await;
            }
            result
        };
        let done = tokio::time::timeout(self.limit, work).await;
        let result = done.unwrap_or_else(|_| Err(unreachable_now()));
        let (trouble, damaged) = (reader.trouble, reader.damaged);
        if result.is_ok() {
            taken.give_back();
        }
        (result, trouble, damaged)
    }

    /// Closes all; nothing is read any more.
    pub(crate) fn close(&self) {
        self.pool.close();
    }
}
