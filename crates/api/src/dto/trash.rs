use std::time::Duration;

use serde::Serialize;
use sessiond_model::Session;
use utoipa::ToSchema;

use super::session::SessionDto;

/// A page of the trash, newest change first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TrashPage {
    /// The sessions in it.
    pub(crate) sessions: Vec<Trashed>,
    /// Pass as `cursor` for the next page; `null` at the end.
    pub(crate) next_cursor: Option<String>,
}

/// A session in the trash.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Trashed {
    /// The session.
    session: SessionDto,
    /// When it is purged, within the hour. Integer milliseconds since the Unix epoch, UTC.
    purge_at: Option<i64>,
}

impl Trashed {
    /// A session that is kept for `term`.
    pub(crate) fn new(session: Session, term: Duration) -> Self {
        let term = i64::try_from(term.as_millis()).unwrap_or(i64::MAX);
        let deleted_at = session.deleted_at;
        Self {
            purge_at: deleted_at.map(|at| at.millis().saturating_add(term)),
            session: session.into(),
        }
    }
}

/// What was purged.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"purged": ["ses_0123456789abExampleSession"]}))]
pub(crate) struct PurgeReply {
    /// Ids of the session and its descendants that were in the trash, children first.
    pub(crate) purged: Vec<String>,
}

/// What emptying the trash did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmptiedReply {
    /// How many sessions were purged.
    pub(crate) purged: usize,
}
