//! Rules that every store follows, as pure functions: what a commit may contain, how the
//! totals of a session move, when a row may change, which events a replay renders.

use sessiond_model::{
    Change, Commit, EventKind, IdStamp, Message, Part, PartBody, Permission, PermissionOutcome,
    Question, QuestionOutcome, Seq, Session, SessionId, Timestamp, Turn,
};

use crate::{EntityKind, StoreError, StoreResult};

/// Part bodies of more bytes than this (as JSON) are kept once, by hash.
pub const LARGE_BODY: usize = 64 * 1024;

fn conflict(
    kind: EntityKind,
    id: &str,
    owner: Option<&SessionId>,
    why: &'static str,
) -> StoreError {
    StoreError::Conflict {
        kind,
        id: id.to_owned(),
        owner: owner.cloned(),
        reason: why,
    }
}

/// Says that something is not there.
#[must_use]
pub fn missing(kind: EntityKind, id: &str) -> StoreError {
    StoreError::NotFound {
        kind,
        id: id.to_owned(),
    }
}

/// Says that an id is taken.
#[must_use]
pub fn exists(kind: EntityKind, id: &str) -> StoreError {
    conflict(kind, id, None, "exists")
}

/// Says that an id is taken in a session.
#[must_use]
pub fn owned(kind: EntityKind, id: &str, owner: &SessionId) -> StoreError {
    conflict(kind, id, Some(owner), "belongs to another session")
}

/// Says that an idempotency key was used for a session (or in it) before.
#[must_use]
pub fn key_used(key: &str, owner: &SessionId) -> StoreError {
    conflict(
        EntityKind::IdempotencyKey,
        key,
        Some(owner),
        "was used before",
    )
}

/// Says that a part id is taken; `owner` is the session it is in, `this` the committed one.
#[must_use]
pub fn part_taken(id: &str, owner: &SessionId, this: &SessionId) -> StoreError {
    if owner == this {
        conflict(EntityKind::Part, id, None, "belongs to another message")
    } else {
        owned(EntityKind::Part, id, owner)
    }
}

/// Checks a commit by itself: every change is about its session, and a session is created
/// only by the first change of a commit.
///
/// # Errors
/// `Conflict` that names the change that does not belong here.
pub fn check(commit: &Commit) -> StoreResult<()> {
    if commit.changes.len() > 1 && commit.changes.contains(&Change::PurgeSession) {
        let id = commit.session_id.as_str();
        let why = "is purged in a commit of its own";
        return Err(conflict(EntityKind::Session, id, None, why));
    }
    for (index, change) in commit.changes.iter().enumerate() {
        let (kind, id, session) = match change {
            Change::CreateSession { session, .. } if index > 0 => {
                return Err(exists(EntityKind::Session, session.id.as_str()));
            }
            Change::CreateSession { session, .. } => {
                (EntityKind::Session, session.id.as_str(), &session.id)
            }
            Change::PutMessage(m) => (EntityKind::Message, m.id.as_str(), &m.session_id),
            Change::PutPart(p) | Change::CheckpointPart(p) => {
                (EntityKind::Part, p.id.as_str(), &p.session_id)
            }
            Change::AskPermission(p) => (EntityKind::Permission, p.id.as_str(), &p.session_id),
            Change::AskQuestion(q) => (EntityKind::Question, q.id.as_str(), &q.session_id),
            Change::PutTurn(t) => (EntityKind::Turn, t.id.as_str(), &t.session_id),
            Change::BindAgent(b) => (EntityKind::Session, b.session_id.as_str(), &b.session_id),
            Change::UpdateSession(_)
            | Change::SetStatus(_)
            | Change::TrashSession
            | Change::RestoreSession
            | Change::PurgeSession
            | Change::RemoveMessage(_)
            | Change::RemovePart { .. }
            | Change::SetTodos { .. }
            | Change::ResolvePermission { .. }
            | Change::ResolveQuestion { .. }
            | Change::PutProfile(_)
            | Change::PutProject(_)
            | Change::RecordUsage(_)
            | Change::SetFileChanges { .. }
            | Change::SetRestore(_)
            | Change::RemoveTurn(_)
            | Change::SetShare(_)
            | Change::NoteShareAccess(_)
            | Change::ReportError(_)
            | Change::RaiseIdFloor(_) => continue,
        };
        if *session != commit.session_id {
            return Err(owned(kind, id, session));
        }
    }
    Ok(())
}

/// Refuses to remove a turn that has not ended.
///
/// # Errors
/// `Conflict`.
pub fn check_removable(turn: &Turn) -> StoreResult<()> {
    if turn.state.is_terminal() {
        return Ok(());
    }
    Err(StoreError::Conflict {
        kind: EntityKind::Turn,
        id: turn.id.to_string(),
        owner: None,
        reason: "the turn has not ended",
    })
}

/// Refuses a writer whose epoch is older than the one the session was last written under.
///
/// # Errors
/// `Fenced`.
pub fn check_fence(held: u64, offered: u64) -> StoreResult<()> {
    if offered < held {
        return Err(StoreError::Fenced { held, offered });
    }
    Ok(())
}

/// Moves a session's cost and tokens when the part `old` becomes `new`: only `step-finish`
/// parts count, and totals never fall below zero. Returns whether anything moved.
pub fn move_totals(session: &mut Session, old: Option<&PartBody>, new: Option<&PartBody>) -> bool {
    let before = (session.cost, session.tokens);
    if let Some(PartBody::StepFinish { cost, tokens, .. }) = old {
        session.cost = (session.cost - cost).max(0.0);
        session.tokens = session.tokens.minus(*tokens);
    }
    if let Some(PartBody::StepFinish { cost, tokens, .. }) = new {
        session.cost = (session.cost + cost).max(0.0);
        session.tokens = session.tokens.plus(*tokens);
    }
    before != (session.cost, session.tokens)
}

/// The floor for minted ids after a message was seen.
#[must_use]
pub fn floor_after_message(floor: IdStamp, message: &Message) -> IdStamp {
    message.id.stamp().map_or(floor, |s| raise(floor, s))
}

/// The floor for minted ids after a part was seen.
#[must_use]
pub fn floor_after_part(floor: IdStamp, part: &Part) -> IdStamp {
    part.id.stamp().map_or(floor, |s| raise(floor, s))
}

/// The higher of two floors. Zero means "none yet", so that the first id counts wherever it
/// lies on the circle of stamps.
#[must_use]
pub fn raise(floor: IdStamp, stamp: IdStamp) -> IdStamp {
    if floor == IdStamp::default() {
        stamp
    } else {
        floor.max(stamp)
    }
}

/// Moves a session to the trash; one that is there keeps its time.
pub fn trash(session: &mut Session, at: Timestamp) {
    session.deleted_at.get_or_insert(at);
}

/// Refuses to purge a session that is not in the trash.
///
/// # Errors
/// `Conflict`.
pub fn check_purge(session: &Session) -> StoreResult<()> {
    match session.deleted_at {
        Some(_) => Ok(()),
        None => Err(conflict(
            EntityKind::Session,
            session.id.as_str(),
            None,
            "is not in the trash",
        )),
    }
}

/// Ends a permission request.
///
/// # Errors
/// `Conflict` when it has ended before.
pub fn resolve_permission(row: &mut Permission, outcome: &PermissionOutcome) -> StoreResult<()> {
    if row.outcome.is_some() {
        return Err(ended(EntityKind::Permission, row.id.as_str()));
    }
    row.outcome = Some(outcome.clone());
    Ok(())
}

/// Ends a question.
///
/// # Errors
/// `Conflict` when it has ended before.
pub fn resolve_question(row: &mut Question, outcome: &QuestionOutcome) -> StoreResult<()> {
    if row.outcome.is_some() {
        return Err(ended(EntityKind::Question, row.id.as_str()));
    }
    row.outcome = Some(outcome.clone());
    Ok(())
}

/// Refuses to change a turn that has ended.
///
/// # Errors
/// `Conflict`.
pub fn replace_turn(old: &Turn, new: &Turn) -> StoreResult<()> {
    if old.state.is_terminal() && old != new {
        return Err(ended(EntityKind::Turn, old.id.as_str()));
    }
    Ok(())
}

fn ended(kind: EntityKind, id: &str) -> StoreError {
    conflict(kind, id, None, "has ended before")
}

/// The events by which a replay shows a row: the one that created it and its newest one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowMark {
    /// The event of its creation.
    pub created: Seq,
    /// Its newest event.
    pub newest: Seq,
}

/// Whether a replay renders the content of a row at this event: at its newest one, and for
/// sessions and messages also at their creation, so that they come before what they hold.
#[must_use]
pub fn carries_content(kind: EventKind, event: Seq, mark: RowMark) -> bool {
    match kind {
        EventKind::SessionCreated => true,
        EventKind::MessageUpdated => event == mark.newest || event == mark.created,
        _ => event == mark.newest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_below_the_held_epoch_is_refused() {
        assert!(check_fence(3, 3).is_ok());
        assert!(check_fence(3, 4).is_ok());
        assert!(matches!(
            check_fence(3, 2),
            Err(StoreError::Fenced {
                held: 3,
                offered: 2
            })
        ));
    }

    #[test]
    fn the_first_stamp_is_the_floor_wherever_it_lies_on_the_circle() {
        let far = IdStamp::from_bits((1 << 47) + 5);
        assert_eq!(raise(IdStamp::default(), far), far);
        assert_eq!(raise(far, IdStamp::from_bits((1 << 47) + 4)), far);
    }

    #[test]
    fn only_messages_and_sessions_show_at_their_creation() {
        let mark = RowMark {
            created: Seq(1),
            newest: Seq(3),
        };
        assert!(carries_content(EventKind::MessageUpdated, Seq(1), mark));
        assert!(!carries_content(EventKind::MessageUpdated, Seq(2), mark));
        assert!(!carries_content(EventKind::PartUpdated, Seq(1), mark));
        assert!(carries_content(EventKind::PartUpdated, Seq(3), mark));
    }
}
