//! Sessions moved from one store to another, while nobody serves either.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use sessiond_model::{Clock, SystemClock};
use sessiond_store_postgres::{Address, AddressError, PostgresSite};
use sessiond_store_sql::moving;
use sessiond_store_sqlite::SqliteSite;
use thiserror::Error;

pub use sessiond_store_sql::moving::{MoveError, Moved, Phase, Progress, Report as MoveReport};

use crate::rooms::VERSION;

/// Where sessions are kept.
#[derive(Clone, Debug)]
pub enum StorePlace {
    /// A data directory, or the database file in it; none is the configured data directory.
    Sqlite(Option<PathBuf>),
    /// A database server.
    Postgres(Box<Address>),
}

/// Why a text is not the place of a store. Never holds what was written: that may be a password.
#[derive(Clone, Debug, Error)]
pub enum StorePlaceError {
    /// It begins with nothing that is known.
    #[error("must be `sqlite:PATH` or `postgres://user@host:port/database`")]
    Form,
    /// An address that can't be used.
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl FromStr for StorePlace {
    type Err = StorePlaceError;

    fn from_str(text: &str) -> Result<Self, StorePlaceError> {
        if Address::is_one(text) {
            return Ok(Self::Postgres(Box::new(text.parse()?)));
        }
        let path = match text.strip_prefix("sqlite:") {
            Some(path) => path.strip_prefix("//").unwrap_or(path),
            None if text == "sqlite" => "",
            None => return Err(StorePlaceError::Form),
        };
        Ok(Self::Sqlite((!path.is_empty()).then(|| path.into())))
    }
}

impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => {
                let path = path.as_deref().unwrap_or(std::path::Path::new(""));
                write!(f, "sqlite:{}", path.display())
            }
            Self::Postgres(address) => address.fmt(f),
        }
    }
}

/// Copies all sessions of a store into an empty one, or goes on with a copy that was cut off, and
/// compares both. What both stores have beside sessions is made by whoever serves them.
///
/// # Errors
/// See [`MoveError`]; the source is as it was in any case.
pub async fn migrate(
    from: &StorePlace,
    to: &StorePlace,
    data_dir: &std::path::Path,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<MoveReport, MoveError> {
    use StorePlace::{Postgres, Sqlite};
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let now = clock.now();
    let path = |given: &Option<PathBuf>| given.clone().unwrap_or_else(|| data_dir.to_owned());
    match (from, to) {
        (Sqlite(from), Sqlite(to)) => {
            let mut from = SqliteSite::source(&path(from))?;
            let mut to = SqliteSite::target(&path(to), VERSION, now)?;
            moving::run(&mut from, &mut to, progress).await
        }
        (Sqlite(from), Postgres(to)) => {
            let mut from = SqliteSite::source(&path(from))?;
            let mut to = PostgresSite::target(to, clock, VERSION).await?;
            moving::run(&mut from, &mut to, progress).await
        }
        (Postgres(from), Sqlite(to)) => {
            let mut from = PostgresSite::source(from, clock).await?;
            let mut to = SqliteSite::target(&path(to), VERSION, now)?;
            moving::run(&mut from, &mut to, progress).await
        }
        (Postgres(from), Postgres(to)) => {
            let mut from = PostgresSite::source(from, clock.clone()).await?;
            let mut to = PostgresSite::target(to, clock, VERSION).await?;
            moving::run(&mut from, &mut to, progress).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_and_shown_without_secrets() {
        let shown = |text: &str| text.parse::<StorePlace>().map(|place| place.to_string());
        assert_eq!(shown("sqlite:/a/b").unwrap(), "sqlite:/a/b");
        assert_eq!(shown("sqlite:///a/b").unwrap(), "sqlite:/a/b");
        assert_eq!(shown("sqlite:").unwrap(), "sqlite:");
        assert_eq!(shown("sqlite").unwrap(), "sqlite:");
        let address = shown("postgres://me:secret@db/x").unwrap();
        assert_eq!(address, "postgres://me@db:5432/x");
        for wrong in ["", "/a/b", "mysql://me:secret@db/x", "postgres://"] {
            let error = shown(wrong).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
