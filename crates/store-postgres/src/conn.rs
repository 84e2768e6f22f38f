//! A connection: statements, values and errors between PostgreSQL and the rest.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use futures::{TryStreamExt as _, pin_mut, poll};
use parking_lot::RwLock;
use sessiond_model::SessionId;
use sessiond_store::{StoreError, StoreResult, UnavailableReason};
use sessiond_store_sql::{Arg, Row, Tx, Value};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Error, Notification, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::incidents::Incidents;
use crate::values::{Bound, BoxedError, Read};
use crate::{Address, PostgresOptions};

/// What a failure means for the transaction it happened in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The connection is gone, or of no more use; how a COMMIT went is not known.
    Lost,
    /// Everything was rolled back for the sake of another; it may go through the next time.
    Collided,
}

/// The connection that commits.
pub(crate) const WRITER: &str = "writer";

/// Settings of a connection of a store.
pub(crate) fn configured(options: &PostgresOptions, role: &str) -> tokio_postgres::Config {
    let mut config = options.address.config.clone();
    let given = config.get_options().unwrap_or_default().to_owned();
    // All that the writer asks is found by a key. Plans are made when a statement is new, maybe in
    // an empty store, and are kept while it grows: until statistics are gathered, a scan of all that
    // was the best for nothing would be done for thousands of rows.
    let plans = if role == WRITER {
        "-c enable_seqscan=off"
    } else {
        ""
    };
    // To compile a plan takes longer than any of ours runs.
    config.options(format!(
        "{given} -c search_path={} -c statement_timeout={} -c lock_timeout={} \
         -c idle_in_transaction_session_timeout={} -c client_min_messages=warning -c jit=off {plans}",
        options.address.schema,
        options.statement_timeout.as_millis(),
        // Less than a statement may take, so that it is told apart.
        options.statement_timeout.as_millis() * 3 / 4,
        options.idle_timeout.as_millis(),
    ));
    if config.get_application_name().is_none() {
        config.application_name(format!("sessiond {role}"));
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(options.patience);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(options.patience);
    }
    config
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(3))
        .keepalives_retries(3);
    config
}

/// A connection with what identifies it.
pub(crate) struct Link {
    pub(crate) client: ClientWrapper,
    pub(crate) backend: Backend,
}

/// A connection as the server knows it.
#[derive(Clone, Debug)]
pub(crate) struct Backend {
    pub(crate) pid: i32,
    /// Told apart from any other connection by this.
    pub(crate) name: String,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct Refusal {
    error: StoreError,
    cause: String,
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        tracing::debug!(cause = refusal.cause, "no connection to the database");
        refusal.error
    }
}

impl Refusal {
    /// With the cause, for who starts a server: what is wrong may be in the configuration.
    pub(crate) fn told(self, address: &Address) -> StoreError {
        StoreError::Internal {
            operation: "connect to the database",
            source: format!("{address}: {}", self.cause).into(),
        }
    }
}

/// An error with what caused it.
fn causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let said = inner.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = inner.source();
    }
    text
}

/// Connections made by this process.
static CONNECTED: AtomicU64 = AtomicU64::new(0);

/// Connects; what the server notifies of goes to `notes`.
pub(crate) async fn connect(
    options: &PostgresOptions,
    tls: &MakeRustlsConnect,
    role: &str,
    notes: Option<mpsc::Sender<Notification>>,
) -> Result<Link, Refusal> {
    let count = CONNECTED.fetch_add(1, Ordering::Relaxed);
    let now = options.clock.now().millis();
    let name = format!("sessiond {role} {}-{now:x}-{count}", std::process::id());
    let mut config = configured(options, role);
    config.application_name(&name);
    let linked = async {
        let (client, mut connection) = config.connect(tls.clone()).await?;
        let task = tokio::spawn(async move {
            let mut messages = poll_fn(|cx| connection.poll_message(cx));
            while let Some(Ok(message)) = (&mut messages).await {
                if let (AsyncMessage::Notification(note), Some(notes)) = (message, &notes) {
                    // They are hints; when too many wait, one of those tells as much.
                    let _ = notes.try_send(note);
                }
            }
        });
        let client = ClientWrapper::new(client, task);
        let pid = client.query_one("SELECT pg_backend_pid()", &[]).await?;
        let pid = pid.try_get(0)?;
        Ok(Link {
            client,
            backend: Backend { pid, name },
        })
    };
    match timeout(options.patience, linked).await {
        Ok(linked) => linked.map_err(|e: Error| Refusal {
            cause: causes(&e),
            error: fault("connect to the database", e).0,
        }),
        Err(_) => Err(Refusal {
            cause: "it does not answer".into(),
            error: unreachable_now(),
        }),
    }
}

/// A statement as the server gets it.
pub(crate) struct Spelled {
    pub(crate) text: Cow<'static, str>,
    /// Told rather than inferred, because 64-bit integers are compared with small constants. What
    /// was NULL at first use is left to the server.
    types: Vec<Type>,
}

/// All statements that were used in this process: as many as there are in the source.
static SPELLED: LazyLock<RwLock<HashMap<&'static str, Arc<Spelled>>>> =
    LazyLock::new(RwLock::default);

/// The statement in the server's spelling; one that inserts gives the key of its row.
pub(crate) fn spelled(
    sql: &'static str,
    key: Option<&'static str>,
    args: &[Arg<'_>],
) -> Arc<Spelled> {
    if let Some(known) = SPELLED.read().get(sql) {
        return known.clone();
    }
    let spelled = Arc::new(Spelled {
        text: key.map_or(sql.into(), |key| format!("{sql} RETURNING {key}").into()),
        types: args.iter().map(kind).collect(),
    });
    SPELLED.write().entry(sql).or_insert(spelled).clone()
}

pub(crate) async fn prepared(
    client: &ClientWrapper,
    spelled: &Spelled,
) -> Result<Statement, Error> {
    let Spelled { text, types } = spelled;
    client.prepare_typed_cached(text, types).await
}

fn kind(arg: &Arg<'_>) -> Type {
    match arg {
        Arg::Null => Type::UNKNOWN,
        Arg::Int(_) => Type::INT8,
        Arg::Real(_) => Type::FLOAT8,
        Arg::Text(_) => Type::TEXT,
    }
}

pub(crate) async fn rows(
    client: &ClientWrapper,
    spelled: &Spelled,
    args: &[Arg<'_>],
) -> Result<Vec<Row>, Error> {
    let statement = prepared(client, spelled).await?;
    read_rows(client, &statement, args).await
}

pub(crate) async fn read_rows(
    client: &ClientWrapper,
    statement: &Statement,
    args: &[Arg<'_>],
) -> Result<Vec<Row>, Error> {
    let args = args.iter().map(|arg| Bound(*arg));
    let stream = client.query_raw(statement, args).await?;
    pin_mut!(stream);
    let mut found = Vec::new();
    while let Some(row) = stream.try_next().await? {
        let read = |column| row.try_get::<_, Read>(column).map(|read| read.0);
        let values: Result<Vec<Value>, Error> = (0..row.len()).map(read).collect();
        found.push(Row::new(values?));
    }
    Ok(found)
}

/// A connection of the pool, which reads.
pub(crate) struct Reader<'a> {
    pub(crate) client: &'a ClientWrapper,
    pub(crate) incidents: &'a Incidents,
    pub(crate) trouble: Option<Trouble>,
    /// Sessions with rows that could not be read.
    pub(crate) damaged: Vec<SessionId>,
}

impl Reader<'_> {
    /// Sends a statement without values; nobody asks how it went.
    pub(crate) async fn send(&mut self, sql: &'static str) {
        let sent = self.client.batch_execute(sql);
        pin_mut!(sent);
        let _ = poll!(sent);
    }
}

impl Tx for Reader<'_> {
    async fn query(&mut self, sql: &'static str, args: &[Arg<'_>]) -> StoreResult<Vec<Row>> {
        let rows = rows(self.client, &spelled(sql, None, args), args).await;
        rows.map_err(|e| {
            let (error, trouble) = fault("read", e);
            self.trouble = trouble.or(self.trouble);
            error
        })
    }

    async fn insert(
        &mut self,
        sql: &'static str,
        _key: &'static str,
        args: &[Arg<'_>],
    ) -> StoreResult<i64> {
        self.query(sql, args).await.map(|_| 0)
    }

    fn damaged(&mut self, session: &SessionId, what: &str) {
        note_damage(self.incidents, &mut self.damaged, session, what);
    }
}

pub(crate) fn note_damage(
    incidents: &Incidents,
    damaged: &mut Vec<SessionId>,
    session: &SessionId,
    what: &str,
) {
    incidents.note(format!(
        "{what} of session {session} is not what was written; what is left of it is kept."
    ));
    if !damaged.contains(session) {
        damaged.push(session.clone());
    }
}

/// That the database does not answer.
pub(crate) fn unreachable_now() -> StoreError {
    StoreError::Unavailable {
        reason: UnavailableReason::Unreachable,
    }
}

/// What an error of PostgreSQL means to the caller, and to the transaction.
pub(crate) fn fault(operation: &'static str, error: Error) -> (StoreError, Option<Trouble>) {
    use UnavailableReason::{Busy, DiskFull, Io, ReadOnly, Unreachable};
    let (reason, trouble) = match error.code() {
        // Without a code it did not come from the server.
        None if error.as_db_error().is_none() && !is_ours(&error) => (Unreachable, Trouble::Lost),
        Some(code) => match code.code() {
            "40001" | "40P01" => (Busy, Trouble::Collided),
            "55P03" | "57014" => (Busy, Trouble::Collided),
            "53100" => (DiskFull, Trouble::Lost),
            "25006" => (ReadOnly, Trouble::Lost),
            "58030" => (Io, Trouble::Lost),
            "53300" | "53200" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => {
                (Unreachable, Trouble::Lost)
            }
            // Another sessiond has changed the schema; a fresh connection reads it anew.
            "0A000" if error.to_string().contains("cached plan") => (Unreachable, Trouble::Lost),
            class if class.starts_with("08") => (Unreachable, Trouble::Lost),
            _ => return (internal(operation, error), None),
        },
        None => return (internal(operation, error), None),
    };
    tracing::debug!(operation, %error, "the database is in trouble");
    (StoreError::Unavailable { reason }, Some(trouble))
}

/// Whether an error was made on this side, by something other than the connection.
fn is_ours(error: &Error) -> bool {
    let text = error.to_string();
    text.starts_with("error serializing") || text.starts_with("error deserializing")
}

fn internal(operation: &'static str, error: Error) -> StoreError {
    let source: BoxedError = match error.as_db_error() {
        Some(db) => format!("{} ({})", db.message(), db.code().code()).into(),
        None => error.into(),
    };
    StoreError::Internal { operation, source }
}
