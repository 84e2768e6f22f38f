//! Reads of shares.

use sessiond_model::{Session, SessionId, Share, Timestamp};
use sessiond_store::{ShareQuery, StoreResult};

use crate::op::{Op, Row, Tx, first};
use crate::row;
use crate::sql;

/// Reads `id, accessed_at, doc`. A share that can't be read does not open.
fn owned(mut row: Row) -> Option<(SessionId, Share)> {
    let id = SessionId::trusted(&row.text());
    Some((id, share(&mut row)?))
}

/// Reads `accessed_at, doc`.
fn share(row: &mut Row) -> Option<Share> {
    let accessed_at = row.opt_int().map(Timestamp);
    let share: Share = row.json()?;
    Some(Share {
        accessed_at,
        ..share
    })
}

/// The share of a session.
#[derive(Clone, Copy, Debug)]
pub struct ShareOf<'a>(pub &'a SessionId);

impl Op for ShareOf<'_> {
    type Out = Option<Share>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Option<Share>> {
        let row = first(tx, sql::SHARE_OF, &[self.0.as_str().into()]).await?;
        Ok(row.and_then(owned).map(|(_, share)| share))
    }
}

/// The share whose token has this hash, and its session.
#[derive(Clone, Copy, Debug)]
pub struct ShareByToken<'a>(pub &'a str);

impl Op for ShareByToken<'_> {
    type Out = Option<(SessionId, Share)>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Self::Out> {
        let row = first(tx, sql::SHARE_BY_TOKEN, &[self.0.into()]).await?;
        Ok(row.and_then(owned))
    }
}

/// Shared sessions with their shares, the newest session first.
#[derive(Clone, Copy, Debug)]
pub struct Shares<'a>(pub &'a ShareQuery);

impl Op for Shares<'_> {
    type Out = Vec<(Session, Share)>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Self::Out> {
        let after = self.0.after.as_ref().map(SessionId::as_str);
        let limit = self.0.limit.map_or(i64::MAX, i64::from);
        let rows = tx.query(sql::SHARES, &[after.into(), limit.into()]).await?;
        let read = |mut row: Row| {
            let share = share(&mut row)?;
            Some((row::session(&mut row), share))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }
}
