//! Changes: the typed mutations that the engine asks a store to commit. The only way to write.

use crate::{
    AgentBinding, AgentProfile, FileChange, IdStamp, Message, MessageError, MessageId, Part,
    PartId, Permission, PermissionId, PermissionOutcome, Project, Question, QuestionId,
    QuestionOutcome, Restore, Session, SessionId, SessionPatch, Share, Status, Timestamp, Todo,
    Turn, TurnId, Usage,
};

/// One atomic batch of changes to one session.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// The session.
    pub session_id: SessionId,
    /// The writer's epoch: a store refuses it once the session was written under a higher one.
    pub fence: u64,
    /// The commit's time.
    pub at: Timestamp,
    /// What must hold, checked in the same transaction before anything is written.
    pub require: Vec<Require>,
    /// The changes, applied in order. Each that is visible gives one event, in this order.
    pub changes: Vec<Change>,
}

/// A precondition of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Require {
    /// The session's revision is this one (`If-Match`).
    Revision(u64),
    /// No message of this id exists anywhere in the store.
    MessageAbsent(MessageId),
    /// The message exists in this session.
    MessagePresent(MessageId),
    /// The session is not in the trash.
    NotDeleted,
}

/// A typed mutation. Where it says "event", the store appends one event row.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Inserts a session (first change of its first commit). The optional key makes the
    /// creation idempotent: unique in the store. Event `session.created`.
    CreateSession {
        /// The row.
        session: Box<Session>,
        /// The client's key and the digest of its request.
        idempotency: Option<(String, String)>,
    },
    /// Patches the session's own fields and raises its revision. Event `session.updated`.
    UpdateSession(SessionPatch),
    /// Sets the status. Event `session.status`.
    SetStatus(Status),
    /// Moves the session to the trash. Event `session.deleted`.
    TrashSession,
    /// Takes the session out of the trash. Event `session.created`.
    RestoreSession,
    /// Removes everything that is stored of a session in the trash, its events too, so that
    /// no byte of it is left; a conflict when it is not in the trash. The only change of its
    /// commit. No event.
    PurgeSession,
    /// Inserts or replaces a message; a new one gets the next position. Its id must not
    /// belong to another session. Event `message.updated`.
    PutMessage(Message),
    /// Removes a message with its parts, when it is there; removes its cost and tokens from
    /// the session's totals. Event `message.removed`, also when it was not there.
    RemoveMessage(MessageId),
    /// Inserts or replaces a part of an existing message. A `step-finish` part moves the
    /// session's cost and tokens by its difference to what it replaces. Event `part.updated`.
    PutPart(Part),
    /// As `PutPart`, for a part that is still open: only its row, no event.
    CheckpointPart(Part),
    /// Removes a part, when it is there; a `step-finish` part takes its cost along.
    /// Event `part.removed`, also when it was not there.
    RemovePart {
        /// Its message.
        message_id: MessageId,
        /// Which.
        part_id: PartId,
    },
    /// Replaces the todo list, and the version of it that the turn left, when that is a turn
    /// of the session. Event `todo.updated`.
    SetTodos {
        /// The list.
        todos: Vec<Todo>,
        /// The turn that wrote it.
        turn_id: Option<TurnId>,
    },
    /// Inserts a pending permission request. Event `permission.asked`.
    AskPermission(Permission),
    /// Ends a pending permission request; a conflict when it has ended before.
    /// Event `permission.resolved`.
    ResolvePermission {
        /// Which.
        id: PermissionId,
        /// How.
        outcome: PermissionOutcome,
    },
    /// Inserts a pending question. Event `question.asked`.
    AskQuestion(Question),
    /// Ends a pending question; a conflict when it has ended before.
    /// Event `question.resolved`.
    ResolveQuestion {
        /// Which.
        id: QuestionId,
        /// How.
        outcome: QuestionOutcome,
    },
    /// Inserts or replaces a turn; a conflict when an ended turn would change.
    /// Event `turn.updated`.
    PutTurn(Turn),
    /// Removes an ended turn with its file changes and its todo list, when it is there; a
    /// conflict while it is open. No event: its messages tell.
    RemoveTurn(TurnId),
    /// Replaces the session's agent binding. Event `agent.bound`.
    BindAgent(AgentBinding),
    /// Replaces what is known of an agent. No event.
    PutProfile(AgentProfile),
    /// Inserts or updates a project. Event `project.updated`, only when something changed.
    PutProject(Project),
    /// Books a line in the usage ledger (the session's totals come from `step-finish`
    /// parts). No event.
    RecordUsage(Usage),
    /// Replaces the file changes of a turn. No event.
    SetFileChanges {
        /// The turn.
        turn_id: TurnId,
        /// Its changes.
        files: Vec<FileChange>,
    },
    /// Replaces, or removes, what a revert does to the worktree. No event.
    SetRestore(Option<Box<Restore>>),
    /// Replaces, or removes, the session's share. No event of its own (the session's row
    /// carries the address).
    SetShare(Option<Box<Share>>),
    /// Moves the last access of the session's share forward; nothing where there is none.
    /// No event.
    NoteShareAccess(Timestamp),
    /// Reports a failure of a turn. Event `session.error` with the error as payload.
    ReportError(MessageError),
    /// Raises the floor for ids minted in this session. No event.
    RaiseIdFloor(IdStamp),
}
