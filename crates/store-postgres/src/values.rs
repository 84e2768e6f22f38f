//! Values between PostgreSQL and the rest.

use bytes::BytesMut;
use sessiond_store_sql::{Arg, Value, without_nul};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

/// An argument on its way.
pub(crate) enum Owned {
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
    pub(crate) fn arg(&self) -> Arg<'_> {
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
pub(crate) struct Bound<'a>(pub(crate) Arg<'a>);

impl ToSql for Bound<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, BoxedError> {
        match self.0 {
            Arg::Null => return Ok(IsNull::Yes),
            Arg::Int(value) if *ty == Type::INT4 => return i32::try_from(value)?.to_sql(ty, out),
            Arg::Int(value) => return value.to_sql(&Type::INT8, out),
            Arg::Real(value) => return value.to_sql(&Type::FLOAT8, out),
            Arg::Text(value) if value.contains('\0') => {
                out.extend_from_slice(without_nul(value).as_bytes());
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

pub(crate) type BoxedError = Box<dyn std::error::Error + Sync + Send>;

/// A column, whatever it is.
pub(crate) struct Read(pub(crate) Value);

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
