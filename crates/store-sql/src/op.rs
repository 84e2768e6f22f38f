//! The seam between SQL and its drivers.

use std::future::Future;
use std::vec;

use serde::de::DeserializeOwned;
use sessiond_model::SessionId;
use sessiond_store::StoreResult;

/// A text as every database keeps it: PostgreSQL has no NUL in one. In JSON it is escaped anyway.
#[must_use]
pub fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A value for a placeholder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arg<'a> {
    /// NULL.
    Null,
    /// An integer.
    Int(i64),
    /// A floating point number.
    Real(f64),
    /// A text.
    Text(&'a str),
}

impl From<i64> for Arg<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u64> for Arg<'_> {
    /// The bits as they are; [`Row::unsigned`] reads them back.
    fn from(value: u64) -> Self {
        Self::Int(value.cast_signed())
    }
}

impl From<f64> for Arg<'_> {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl<'a> From<&'a str> for Arg<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(value)
    }
}

impl<'a> From<&'a String> for Arg<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(value)
    }
}

impl<'a, T: Into<Arg<'a>>> From<Option<T>> for Arg<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A value of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// NULL.
    Null,
    /// An integer.
    Int(i64),
    /// A floating point number.
    Real(f64),
    /// A text.
    Text(String),
    /// Bytes that are no text: always a sign of damage.
    Bytes(Vec<u8>),
}

impl Value {
    /// This value for a placeholder; bytes that are no text are none.
    #[must_use]
    pub fn arg(&self) -> Arg<'_> {
        match self {
            Self::Int(value) => Arg::Int(*value),
            Self::Real(value) => Arg::Real(*value),
            Self::Text(value) => Arg::Text(value),
            Self::Null | Self::Bytes(_) => Arg::Null,
        }
    }
}

/// One row of an answer, read column by column. A column that can't be read gives an empty
/// value and marks the row as [bad](Row::is_bad), so that damage stays where it is.
#[derive(Debug)]
pub struct Row {
    values: vec::IntoIter<Value>,
    bad: bool,
}

impl Row {
    /// A row of these values.
    #[must_use]
    pub fn new(values: Vec<Value>) -> Self {
        Self {
            values: values.into_iter(),
            bad: false,
        }
    }

    pub(crate) fn into_values(self) -> Vec<Value> {
        self.values.collect()
    }

    /// Whether a column was not of the kind it was read as.
    #[must_use]
    pub fn is_bad(&self) -> bool {
        self.bad
    }

    fn spoil<T: Default>(&mut self) -> T {
        self.bad = true;
        T::default()
    }

    /// The next column as an integer.
    pub fn int(&mut self) -> i64 {
        match self.values.next() {
            Some(Value::Int(value)) => value,
            _ => self.spoil(),
        }
    }

    /// The next column as an integer or NULL.
    pub fn opt_int(&mut self) -> Option<i64> {
        match self.values.next() {
            Some(Value::Int(value)) => Some(value),
            Some(Value::Null) => None,
            _ => self.spoil(),
        }
    }

    /// The next column as an unsigned integer.
    pub fn unsigned(&mut self) -> u64 {
        self.int().cast_unsigned()
    }

    /// The next column as a floating point number.
    pub fn real(&mut self) -> f64 {
        match self.values.next() {
            Some(Value::Real(value)) => value,
            // Databases may keep a whole number as an integer.
            #[expect(
                clippy::cast_precision_loss,
                reason = "it was a float when it was stored"
            )]
            Some(Value::Int(value)) => value as f64,
            _ => self.spoil(),
        }
    }

    /// The next column as a text.
    pub fn text(&mut self) -> String {
        match self.values.next() {
            Some(Value::Text(value)) => value,
            Some(Value::Bytes(bytes)) => {
                self.bad = true;
                String::from_utf8_lossy(&bytes).into_owned()
            }
            _ => self.spoil(),
        }
    }

    /// The next column as a text or NULL.
    pub fn opt_text(&mut self) -> Option<String> {
        match self.values.next() {
            Some(Value::Text(value)) => Some(value),
            Some(Value::Null) => None,
            Some(Value::Bytes(bytes)) => {
                self.bad = true;
                Some(String::from_utf8_lossy(&bytes).into_owned())
            }
            _ => self.spoil(),
        }
    }

    /// The next column as JSON or NULL.
    pub fn json<T: DeserializeOwned>(&mut self) -> Option<T> {
        let text = self.opt_text()?;
        let value = serde_json::from_str(&text).ok();
        self.bad |= value.is_none();
        value
    }
}

/// A transaction, or a connection that only reads.
pub trait Tx: Send {
    /// Runs one statement and gives its rows.
    fn query(
        &mut self,
        sql: &'static str,
        args: &[Arg<'_>],
    ) -> impl Future<Output = StoreResult<Vec<Row>>> + Send;

    /// Runs one statement whose rows nobody wants. A driver may go on before it is done; what it
    /// fails with comes with a later statement then, or with the end of the transaction.
    fn execute(
        &mut self,
        sql: &'static str,
        args: &[Arg<'_>],
    ) -> impl Future<Output = StoreResult<()>> + Send {
        let done = self.query(sql, args);
        async move { done.await.map(drop) }
    }

    /// Runs one INSERT of one row into a table whose primary key `key` the database numbers, and
    /// gives that number.
    fn insert(
        &mut self,
        sql: &'static str,
        key: &'static str,
        args: &[Arg<'_>],
    ) -> impl Future<Output = StoreResult<i64>> + Send;

    /// Hears of a row that could not be read. The operation goes on without it.
    fn damaged(&mut self, session: &SessionId, what: &str);
}

/// One operation of a store.
pub trait Op {
    /// What it answers.
    type Out;

    /// Runs it.
    fn run<T: Tx>(self, tx: &mut T) -> impl Future<Output = StoreResult<Self::Out>> + Send;
}

/// The only row of an answer, if there is one.
pub(crate) async fn first<T: Tx>(
    tx: &mut T,
    sql: &'static str,
    args: &[Arg<'_>],
) -> StoreResult<Option<Row>> {
    Ok(tx.query(sql, args).await?.into_iter().next())
}
