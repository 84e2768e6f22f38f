//! Reads of one thing.

use serde::de::DeserializeOwned;
use sessiond_model::{
    AgentBinding, FileChange, MessageId, Permission, PermissionId, Project, ProjectId, Question,
    QuestionId, Restore, Seq, Session, SessionId, Todo, Turn, TurnId,
};
use sessiond_store::{SessionHead, StoreResult};

use crate::commit::{ASK_PERMISSION, ASK_QUESTION};
use crate::op::{Arg, Op, Tx, first};
use crate::row::{self, Head};
use crate::sql;

/// The JSON in the first column of the first row.
async fn document<T: Tx, D: DeserializeOwned>(
    tx: &mut T,
    sql: &'static str,
    args: &[Arg<'_>],
) -> StoreResult<Option<D>> {
    let row = first(tx, sql, args).await?;
    Ok(row.and_then(|mut row| row.json()))
}

macro_rules! document_op {
    ($(#[$doc:meta])* $name:ident ( $($field:ty),+ ), $out:ty, $sql:expr, |$this:ident| $args:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<'a>($(pub &'a $field),+);

        impl Op for $name<'_> {
            type Out = $out;

            async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<$out> {
                let $this = &self;
                Ok(document(tx, $sql, &$args).await?.unwrap_or_default())
            }
        }
    };
}

document_op!(
    /// A turn.
    TurnById(TurnId), Option<Turn>, sql::TURN_BY_ID, |op| [op.0.as_str().into()]
);
document_op!(
    /// The turn of a session that carries an idempotency key.
    TurnByKey(SessionId, str), Option<Turn>, sql::TURN_BY_KEY,
    |op| [op.0.as_str().into(), op.1.into()]
);
document_op!(
    /// The newest turn that a user message started.
    TurnOfMessage(SessionId, MessageId), Option<Turn>, sql::TURN_OF_MESSAGE,
    |op| [op.0.as_str().into(), op.1.as_str().into()]
);
document_op!(
    /// The todo list of a session.
    TodosOf(SessionId), Vec<Todo>, sql::TODO_OF, |op| [op.0.as_str().into()]
);
document_op!(
    /// A permission request.
    PermissionById(PermissionId), Option<Permission>, sql::ASK_BY_ID,
    |op| [op.0.as_str().into(), ASK_PERMISSION.into()]
);
document_op!(
    /// A question.
    QuestionById(QuestionId), Option<Question>, sql::ASK_BY_ID,
    |op| [op.0.as_str().into(), ASK_QUESTION.into()]
);
document_op!(
    /// The agent binding of a session.
    BindingOf(SessionId), Option<AgentBinding>, sql::BINDING_OF, |op| [op.0.as_str().into()]
);
document_op!(
    /// A project.
    ProjectById(ProjectId), Option<Project>, sql::PROJECT_BY_ID, |op| [op.0.as_str().into()]
);
document_op!(
    /// The file changes of a turn.
    FileChangesOf(TurnId), Vec<FileChange>, sql::FILES_OF, |op| [op.0.as_str().into()]
);
document_op!(
    /// What a revert did to the worktree of a session.
    RestoreOf(SessionId), Option<Restore>, sql::RESTORE_OF, |op| [op.0.as_str().into()]
);

/// A session.
#[derive(Clone, Copy, Debug)]
pub struct SessionById<'a>(pub &'a SessionId);

impl Op for SessionById<'_> {
    type Out = Option<Session>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Option<Session>> {
        let row = first(tx, sql::SESSION_BY_ID, &[self.0.as_str().into()]).await?;
        Ok(row.map(|mut row| row::session(&mut row)))
    }
}

/// A session with what its writer needs.
#[derive(Clone, Copy, Debug)]
pub struct SessionHeadById<'a>(pub &'a SessionId);

impl Op for SessionHeadById<'_> {
    type Out = Option<SessionHead>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Option<SessionHead>> {
        let row = first(tx, sql::SESSION_HEAD, &[self.0.as_str().into()]).await?;
        Ok(row.map(|row| Head::read(row).into()))
    }
}

/// The session that an idempotency key created, and the digest of its request.
#[derive(Clone, Copy, Debug)]
pub struct SessionByKey<'a>(pub &'a str);

impl Op for SessionByKey<'_> {
    type Out = Option<(SessionId, String)>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Self::Out> {
        let row = first(tx, sql::SESSION_BY_KEY, &[self.0.into()]).await?;
        Ok(row.map(|mut row| (SessionId::trusted(&row.text()), row.text())))
    }
}

/// The session of a message.
#[derive(Clone, Copy, Debug)]
pub struct MessageOwner<'a>(pub &'a MessageId);

impl Op for MessageOwner<'_> {
    type Out = Option<SessionId>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Option<SessionId>> {
        let row = first(tx, sql::MESSAGE_OWNER, &[self.0.as_str().into()]).await?;
        Ok(row.map(|mut row| SessionId::trusted(&row.text())))
    }
}

/// The newest event and the number of sessions.
#[derive(Clone, Copy, Debug)]
pub struct Counters;

impl Op for Counters {
    type Out = (Seq, u64);

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<(Seq, u64)> {
        let row = first(tx, sql::CLOCK, &[]).await?;
        Ok(row.map_or((Seq(0), 0), |mut row| (Seq(row.unsigned()), row.unsigned())))
    }
}
