//! A connection: statements, values and errors between PostgreSQL and the rest.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use deadpool_postgres::ClientWrapper;
use futures::future::{BoxFuture, FutureExt as _};
use futures::{TryStreamExt as _, pin_mut, poll};
use parking_lot::RwLock;
use sessiond_model::SessionId;
use sessiond_store::{StoreError, StoreResult, UnavailableReason};
use sessiond_store_sql::{Arg, Row, Tx, Value};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{AsyncMessage, Error, Notification, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::incidents::Incidents;
use crate::{Address, PostgresOptions};

/// Most statements that are on their way without having been asked for how they went.
const IN_FLIGHT: usize = 512;

/// What a failure means for the transaction it happened in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The connection is gone, or of no more use; how a COMMIT went is not known.
    Lost,
    /// Everything was rolled back for the sake of another; it may go through the next time.
    Collided,
}

/// Settings of every connection of a store.
pub(crate) fn configured(options: &PostgresOptions, role: &str) -> tokio_postgres::Config {
    let mut config = options.address.config.clone();
    let given = config.get_options().unwrap_or_default().to_owned();
    config.options(format!(
        "{given} -c search_path={} -c statement_timeout={} -c lock_timeout={} \
         -c idle_in_transaction_session_timeout={} -c client_min_messages=warning",
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
struct Spelled {
    text: Cow<'static, str>,
    /// Told rather than inferred, because 64-bit integers are compared with small constants. What
    /// was NULL at first use is left to the server.
    types: Vec<Type>,
}

/// All statements that were used in this process: as many as there are in the source.
static SPELLED: LazyLock<RwLock<HashMap<&'static str, Arc<Spelled>>>> =
    LazyLock::new(RwLock::default);

/// The statement in the server's spelling; one that inserts gives the key of its row.
fn spelled(sql: &'static str, key: Option<&'static str>, args: &[Arg<'_>]) -> Arc<Spelled> {
    if let Some(known) = SPELLED.read().get(sql) {
        return known.clone();
    }
    let spelled = Arc::new(Spelled {
        text: key.map_or(sql.into(), |key| format!("{sql} RETURNING {key}").into()),
        types: args.iter().map(kind).collect(),
    });
    SPELLED.write().entry(sql).or_insert(spelled).clone()
}

async fn prepared(client: &ClientWrapper, spelled: &Spelled) -> Result<Statement, Error> {
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

async fn rows(
    client: &ClientWrapper,
    spelled: &Spelled,
    args: &[Arg<'_>],
) -> Result<Vec<Row>, Error> {
    let statement = prepared(client, spelled).await?;
    let args = args.iter().map(|arg| Bound(*arg));
    let stream = client.query_raw(&statement, args).await?;
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

fn note_damage(
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

type Underway = BoxFuture<'static, Result<(), Error>>;

/// The connection that writes. Statements whose rows nobody wants are sent without waiting.
pub(crate) struct Writing {
    client: Arc<ClientWrapper>,
    incidents: Arc<Incidents>,
    underway: VecDeque<Underway>,
    /// Longest wait for an answer.
    limit: Duration,
    pub(crate) trouble: Option<Trouble>,
    /// Statements sent so far that change something.
    pub(crate) writes: u64,
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
            trouble: None,
            writes: 0,
            damaged: Vec::new(),
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
            let Ok(done) = timeout(self.limit, statement).await else {
                return Err(self.no_answer());
            };
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
            Poll::Pending => match timeout(self.limit, rows).await {
                Ok(rows) => rows,
                Err(_) => return Err(self.no_answer()),
            },
        };
        rows.map_err(|e| self.failed(e))
    }

    /// Forgets what was sent in a transaction that has been given up.
    pub(crate) async fn roll_back(&mut self) -> StoreResult<()> {
        // What failed before is known.
        let _ = self.settled().await;
        self.control("ROLLBACK").await
    }
}

impl Tx for Writing {
    async fn query(&mut self, sql: &'static str, args: &[Arg<'_>]) -> StoreResult<Vec<Row>> {
        self.ask(&spelled(sql, None, args), args).await
    }

    async fn execute(&mut self, sql: &'static str, args: &[Arg<'_>]) -> StoreResult<()> {
        self.writes += 1;
        let statement = match prepared(&self.client, &spelled(sql, None, args)).await {
            Ok(statement) => statement,
            Err(error) => {
                // In a transaction that has failed nothing can be prepared.
                self.settled().await?;
                return Err(self.failed(error));
            }
        };
        let client = self.client.clone();
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
        let rows = self.ask(&spelled(sql, Some(key), args), args).await?;
        Ok(rows.into_iter().next().map_or(0, |mut row| row.int()))
    }

    fn damaged(&mut self, session: &SessionId, what: &str) {
        note_damage(&self.incidents, &mut self.damaged, session, what);
    }
}

/// An argument on its way.
enum Owned {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
}

impl From<&Arg<'_>> for Owned {
    fn from(arg: &Arg<'_>) -> Self {
        match arg {
            Arg::Null => Self::Null,
            Arg::Int(value) => Self::Int(*value),
            Arg::Real(value) => Self::Real(*value),
            Arg::Text(value) => Self::Text((*value).to_owned()),
        }
    }
}

impl Owned {
    fn arg(&self) -> Arg<'_> {
        match self {
            Self::Null => Arg::Null,
            Self::Int(value) => Arg::Int(*value),
            Self::Real(value) => Arg::Real(*value),
            Self::Text(value) => Arg::Text(value),
        }
    }
}

/// An argument as the server gets it.
#[derive(Debug)]
struct Bound<'a>(Arg<'a>);

impl ToSql for Bound<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxedError> {
        match self.0 {
            Arg::Null => return Ok(IsNull::Yes),
            Arg::Int(value) if *ty == Type::INT4 => return i32::try_from(value)?.to_sql(ty, out),
            Arg::Int(value) => return value.to_sql(&Type::INT8, out),
            Arg::Real(value) => return value.to_sql(&Type::FLOAT8, out),
            // PostgreSQL has no NUL in a text; in JSON it is escaped anyway.
            Arg::Text(value) if value.contains('\0') => {
                out.extend_from_slice(value.replace('\0', "\u{fffd}").as_bytes());
            }
            Arg::Text(value) => out.extend_from_slice(value.as_bytes()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

type BoxedError = Box<dyn std::error::Error + Sync + Send>;

/// A column, whatever it is.
struct Read(Value);

impl<'a> FromSql<'a> for Read {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, BoxedError> {
        Ok(Self(match *ty {
            Type::INT8 => Value::Int(i64::from_sql(ty, raw)?),
            Type::INT4 => Value::Int(i32::from_sql(ty, raw)?.into()),
            Type::BOOL => Value::Int(bool::from_sql(ty, raw)?.into()),
            Type::FLOAT8 => Value::Real(f64::from_sql(ty, raw)?),
            _ => match std::str::from_utf8(raw) {
                Ok(text) => Value::Text(text.to_owned()),
                Err(_) => Value::Bytes(raw.to_vec()),
            },
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, BoxedError> {
        Ok(Self(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
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
