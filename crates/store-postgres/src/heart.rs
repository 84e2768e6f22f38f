//! The heart: renews the lease of this node, and passes hints between nodes, on a connection of
//! its own.

use std::sync::Arc;
use std::time::Duration;

use sessiond_store::{StoreError, StoreResult};
use sessiond_store_sql::{Op as _, Tx as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_postgres::Notification;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::PostgresOptions;
use crate::cluster::{Leave, Register, Renew, Standing};
use crate::conn::{connect, unreachable_now};
use crate::hints::Hint;
use crate::incidents::Incidents;
use crate::writing::Writing;

/// At most one notification in this time.
const HINTS: Duration = Duration::from_millis(20);
/// Notifications that may wait to be read; one tells as much as all.
const NOTES: usize = 64;
/// Between two tries to reach the database.
const RETRY: Duration = Duration::from_millis(250);

/// What the heart works with.
pub(crate) struct Heart {
    pub(crate) options: PostgresOptions,
    pub(crate) tls: MakeRustlsConnect,
    pub(crate) standing: Arc<Standing>,
    pub(crate) incidents: Arc<Incidents>,
    /// Hints for others; closed when the writer has ended.
    pub(crate) outgoing: mpsc::Receiver<Hint>,
    /// Hints of others.
    pub(crate) incoming: mpsc::Sender<Hint>,
}

/// Why a connection is given up.
enum End {
    Lost(StoreError),
    Leave,
}

impl Heart {
    /// Beats until the writer has ended.
    pub(crate) async fn run(mut self) {
        loop {
            let (sender, mut notes) = mpsc::channel(NOTES);
            let error: StoreError =
                match connect(&self.options, &self.tls, "heart", Some(sender)).await {
                    Ok(link) => {
                        let limit = self.standing.lease();
                        let mut conn = Writing::new(link.client, self.incidents.clone(), limit);
                        match self.beat(&mut conn, &mut notes).await {
                            End::Leave => return self.go(&mut conn).await,
                            End::Lost(error) => error,
                        }
                    }
                    Err(refusal) => refusal.into(),
                };
            if self.standing.failed() {
                tracing::warn!(%error, "the lease of this node can't be renewed");
            }
            // Hints are for now; and without a connection the lease can only run out.
            if self.outgoing.is_closed() {
                return;
            }
            while self.outgoing.try_recv().is_ok() {}
            sleep(RETRY).await;
        }
    }

    /// Works on one connection until it is lost.
    async fn beat(&mut self, conn: &mut Writing, notes: &mut mpsc::Receiver<Notification>) -> End {
        let third = self.standing.lease() / 3;
        if let Err(error) = self.listen(conn).await {
            return End::Lost(error);
        }
        let mut next = Instant::now();
        let mut hint = Hint::default();
        let mut hint_at = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = sleep_until(next) => {
                    match timeout(third, self.renew(conn)).await {
                        Ok(Ok(())) => next = Instant::now() + third,
                        Ok(Err(error)) => return End::Lost(error),
                        Err(_) => return End::Lost(unreachable_now()),
                    }
                }
                () = self.standing.renew.notified() => next = Instant::now(),
                note = notes.recv() => match note {
                    None => return End::Lost(unreachable_now()),
                    Some(note) => self.pass_on(&note),
                },
                () = sleep_until(hint_at), if !hint.is_empty() => {
                    let node = self.standing.registered().node.number;
                    let payload = std::mem::take(&mut hint).payload(node);
                    hint_at = Instant::now() + HINTS;
                    let args = [self.options.address.schema().into(), (&payload).into()];
                    // With a pipeline of others behind it; a failure shows at the next renewal.
                    if let Err(error) = conn.execute("SELECT pg_notify($1, $2)", &args).await {
                        return End::Lost(error);
                    }
                }
                more = self.outgoing.recv() => match more {
                    None => return End::Leave,
                    Some(more) => hint.add(more),
                },
            }
        }
    }

    async fn listen(&self, conn: &mut Writing) -> StoreResult<()> {
        // The name of a schema needs no quotes.
        let sql = format!("LISTEN {}", self.options.address.schema());
        conn.command(sql).await
    }

    /// Hands a hint of another node to the writer, which reads.
    fn pass_on(&self, note: &Notification) {
        let node = self.standing.registered().node.number;
        if let Some(hint) = Hint::read(note.payload(), node) {
            // When many wait the writer reads anyway.
            let _ = self.incoming.try_send(hint);
        }
    }

    async fn renew(&self, conn: &mut Writing) -> StoreResult<()> {
        let number = self.standing.registered().node.number;
        if let Some(expires_at) = Renew(number, self.options.lease_ms()).run(conn).await? {
            self.standing.renewed(expires_at);
            return Ok(());
        }
        let registration = Register(&self.options).run(conn).await?;
        tracing::warn!(
            was = number,
            is = registration.node.number,
            "the lease of this node had ended: it has registered anew"
        );
        self.standing.replaced(registration);
        Ok(())
    }

    /// Leaves the cluster, so that others take over at once.
    async fn go(&self, conn: &mut Writing) {
        let number = self.standing.registered().node.number;
        let left = timeout(self.options.patience, Leave(number).run(conn)).await;
        if !matches!(left, Ok(Ok(()))) {
            tracing::warn!("could not give back the lease of this node; it runs out");
        }
    }
}
