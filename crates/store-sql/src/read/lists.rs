//! Reads of many things.

use serde::de::DeserializeOwned;
use sessiond_model::{
    AgentBinding, AgentProfile, FileChange, ForkOrigin, Permission, Project, Question, SessionId,
    StatusKind, Timestamp, Todo, Turn, TurnId, Usage,
};
use sessiond_store::{AskQuery, SessionOrder, SessionPage, SessionQuery, StoreResult, TurnQuery};

use crate::commit::{ASK_PERMISSION, ASK_QUESTION};
use crate::op::{Arg, Op, Tx};
use crate::row;
use crate::sql;

/// The JSON in the first column of every row. A row that can't be read is left out, so that
/// it does not hide the others.
async fn documents<T: Tx, D: DeserializeOwned>(
    tx: &mut T,
    sql: &'static str,
    args: &[Arg<'_>],
) -> StoreResult<Vec<D>> {
    let rows = tx.query(sql, args).await?;
    Ok(rows.into_iter().filter_map(|mut row| row.json()).collect())
}

fn limit(limit: Option<u32>) -> i64 {
    limit.map_or(i64::MAX, i64::from)
}

/// Sessions, in the order asked for.
#[derive(Clone, Copy, Debug)]
pub struct Sessions<'a>(pub &'a SessionQuery);

impl Op for Sessions<'_> {
    type Out = SessionPage;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<SessionPage> {
        let query = self.0;
        let texts = if query.trashed {
            &sql::SESSIONS_TRASHED
        } else if query.status.as_deref() == Some(&[StatusKind::Busy]) {
            &sql::SESSIONS_BUSY
        } else if query.parent_id.is_some() {
            &sql::SESSIONS_OF_PARENT
        } else if query.fork_of.is_some() {
            &sql::SESSIONS_OF_ORIGIN
        } else if query.directory.is_some() {
            &sql::SESSIONS_OF_DIRECTORY
        } else if query.project_id.is_some() {
            &sql::SESSIONS_OF_PROJECT
        } else {
            &sql::SESSIONS_ALL
        };
        let (sql, start) = match query.order {
            SessionOrder::Changed => (texts.changed, i64::MAX),
            SessionOrder::Newest => (texts.newest, i64::MAX),
            SessionOrder::Oldest => (texts.oldest, i64::MIN),
        };
        let after = query.after.as_ref();
        let search = query.search.as_ref().filter(|text| !text.is_empty());
        let search = search.map(|text| text.to_ascii_lowercase());
        let states = query.status.as_ref();
        let state = |kind: StatusKind| match states {
            None => Arg::Null,
            Some(kinds) if kinds.contains(&kind) => kind.as_str().into(),
            // No state has an empty name.
            Some(_) => "".into(),
        };
        // One more than asked for tells whether there is a next page.
        let args: [Arg<'_>; 15] = [
            after.map_or(start, |c| c.at.millis()).into(),
            after.map_or("", |c| c.id.as_str()).into(),
            query
                .updated_since
                .map_or(i64::MIN, Timestamp::millis)
                .into(),
            query.project_id.as_ref().map(|p| p.as_str()).into(),
            query.directory.as_ref().into(),
            query.parent_id.as_ref().map(|p| p.as_str()).into(),
            query.path_prefix.as_ref().into(),
            i64::from(query.roots).into(),
            search.as_ref().into(),
            query.archived.map_or(-1, i64::from).into(),
            state(StatusKind::Idle),
            state(StatusKind::Busy),
            state(StatusKind::Error),
            limit(query.limit).saturating_add(1).into(),
            query.fork_of.as_ref().map(|o| o.as_str()).into(),
        ];
        let rows = tx.query(sql, &args).await?;
        let wanted = query.limit.map_or(usize::MAX, |l| l as usize);
        let more = rows.len() > wanted;
        let sessions: Vec<_> = (rows.into_iter().take(wanted))
            .map(|mut row| row::session(&mut row))
            .collect();
        Ok(SessionPage {
            next: (sessions.last().filter(|_| more)).map(|s| query.order.place(s)),
            sessions,
        })
    }
}

/// The highest number in a family of forks.
#[derive(Clone, Copy, Debug)]
pub struct LastFork<'a>(pub &'a SessionId);

impl Op for LastFork<'_> {
    type Out = u32;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<u32> {
        let forks: Vec<ForkOrigin> =
            documents(tx, sql::FORKS_OF, &[self.0.as_str().into()]).await?;
        Ok(forks.iter().map(|fork| fork.number).max().unwrap_or(0))
    }
}

/// Sessions that went to the trash at or before a time, the oldest first.
#[derive(Clone, Copy, Debug)]
pub struct TrashedUntil(pub Timestamp, pub u32);

impl Op for TrashedUntil {
    type Out = Vec<SessionId>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Vec<SessionId>> {
        let args = [self.0.millis().into(), limit(Some(self.1)).into()];
        let rows = tx.query(sql::TRASHED_UNTIL, &args).await?;
        Ok(rows
            .into_iter()
            .map(|mut row| SessionId::trusted(&row.text()))
            .collect())
    }
}

/// The todo list as each turn of a session left it, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct TodoVersionsOf<'a>(pub &'a SessionId);

impl Op for TodoVersionsOf<'_> {
    type Out = Vec<(TurnId, Vec<Todo>)>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Self::Out> {
        by_turn(tx, sql::TODO_VERSIONS_OF, self.0).await
    }
}

/// The file changes of the turns of a session, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct SessionChanges<'a>(pub &'a SessionId);

impl Op for SessionChanges<'_> {
    type Out = Vec<(TurnId, Vec<FileChange>)>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Self::Out> {
        by_turn(tx, sql::FILES_OF_SESSION, self.0).await
    }
}

/// What the turns of a session have one of; one that can't be read is left out.
async fn by_turn<T: Tx, D: DeserializeOwned>(
    tx: &mut T,
    sql: &'static str,
    session: &SessionId,
) -> StoreResult<Vec<(TurnId, D)>> {
    let rows = tx.query(sql, &[session.as_str().into()]).await?;
    Ok(rows
        .into_iter()
        .filter_map(|mut row| Some((TurnId::trusted(&row.text()), row.json()?)))
        .collect())
}

/// Sessions that a crash may have left unfinished.
#[derive(Clone, Copy, Debug)]
pub struct Unfinished;

impl Op for Unfinished {
    type Out = Vec<SessionId>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Vec<SessionId>> {
        let rows = tx.query(sql::UNFINISHED, &[]).await?;
        let id = |mut row: crate::Row| SessionId::trusted(&row.text());
        Ok(rows.into_iter().map(id).collect())
    }
}

/// Sessions with a restore that is not done.
#[derive(Clone, Copy, Debug)]
pub struct PendingRestores;

impl Op for PendingRestores {
    type Out = Vec<SessionId>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Vec<SessionId>> {
        let rows = tx.query(sql::RESTORES_PENDING, &[]).await?;
        let id = |mut row: crate::Row| SessionId::trusted(&row.text());
        Ok(rows.into_iter().map(id).collect())
    }
}

/// Turns of a session, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct TurnsOf<'a>(pub &'a SessionId, pub &'a TurnQuery);

impl Op for TurnsOf<'_> {
    type Out = Vec<Turn>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Vec<Turn>> {
        let sql = if self.1.open_only {
            sql::TURNS_OPEN
        } else {
            sql::TURNS_OF
        };
        let args = [
            self.0.as_str().into(),
            limit(self.1.limit).into(),
            self.1.before.as_ref().map(|t| t.as_str()).into(),
        ];
        let mut turns: Vec<Turn> = documents(tx, sql, &args).await?;
        turns.reverse();
        Ok(turns)
    }
}

async fn pending<T: Tx, D: DeserializeOwned>(
    tx: &mut T,
    kind: i64,
    query: &AskQuery,
) -> StoreResult<Vec<D>> {
    let directory = query.directory.as_ref().into();
    match &query.session_id {
        Some(id) => {
            let args = [kind.into(), directory, id.as_str().into()];
            documents(tx, sql::ASKS_PENDING_OF, &args).await
        }
        None => documents(tx, sql::ASKS_PENDING, &[kind.into(), directory]).await,
    }
}

/// Pending permission requests, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct PendingPermissions<'a>(pub &'a AskQuery);

impl Op for PendingPermissions<'_> {
    type Out = Vec<Permission>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Vec<Permission>> {
        pending(tx, ASK_PERMISSION, self.0).await
    }
}

/// Pending questions, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct PendingQuestions<'a>(pub &'a AskQuery);

impl Op for PendingQuestions<'_> {
    type Out = Vec<Question>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Vec<Question>> {
        pending(tx, ASK_QUESTION, self.0).await
    }
}

async fn ended<T: Tx, D: DeserializeOwned>(
    tx: &mut T,
    kind: i64,
    session: &SessionId,
    most: u32,
) -> StoreResult<Vec<D>> {
    let args = [kind.into(), session.as_str().into(), i64::from(most).into()];
    documents(tx, sql::ASKS_ENDED_OF, &args).await
}

/// Permission requests of a session that have ended, the newest first, so many.
#[derive(Clone, Copy, Debug)]
pub struct EndedPermissions<'a>(pub &'a SessionId, pub u32);

impl Op for EndedPermissions<'_> {
    type Out = Vec<Permission>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Vec<Permission>> {
        ended(tx, ASK_PERMISSION, self.0, self.1).await
    }
}

/// Questions of a session that have ended, the newest first, so many.
#[derive(Clone, Copy, Debug)]
pub struct EndedQuestions<'a>(pub &'a SessionId, pub u32);

impl Op for EndedQuestions<'_> {
    type Out = Vec<Question>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Vec<Question>> {
        ended(tx, ASK_QUESTION, self.0, self.1).await
    }
}

/// The usage ledger of a session, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct UsageOf<'a>(pub &'a SessionId);

impl Op for UsageOf<'_> {
    type Out = Vec<Usage>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Vec<Usage>> {
        documents(tx, sql::USAGE_OF, &[self.0.as_str().into()]).await
    }
}

macro_rules! list_op {
    ($(#[$doc:meta])* $name:ident, $item:ty, $sql:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        impl Op for $name {
            type Out = Vec<$item>;

            async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Vec<$item>> {
                documents(tx, $sql, &[]).await
            }
        }
    };
}

list_op!(
    /// Bindings that name a process.
    LiveBindings, AgentBinding, sql::BINDINGS_LIVE
);
list_op!(
    /// What is known of agents, by name.
    Profiles, AgentProfile, sql::PROFILES
);
list_op!(
    /// All projects, by id.
    Projects, Project, sql::PROJECTS
);
