//! What a driver may know of commits before it runs them, where each question costs a round trip:
//! look-ups that can be asked for many commits at once, and statements that can wait for others.

use sessiond_model::{Change, Commit, Require};

use crate::commit::LARGE_COMMIT;
use crate::sql;

/// A statement that looks a row up by its id, `$1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lookup {
    /// As an operation asks it.
    pub one: &'static str,
    /// The column of the id.
    pub id: &'static str,
}

impl Lookup {
    /// The same for any number of ids, `$1` being an array: the first column is the id, the others
    /// follow.
    #[must_use]
    pub fn many(&self) -> String {
        let id = format!("SELECT {}, ", self.id);
        let sql = self.one.replacen("SELECT ", &id, 1);
        sql.replace("= $1", "= ANY($1)")
    }
}

/// A session with what its writer needs; the first column is the store's newest event.
pub const HEAD: Lookup = Lookup {
    one: sql::SESSION_HEAD,
    id: "s.id",
};
const MESSAGE: Lookup = Lookup {
    one: sql::MESSAGE_KEY,
    id: "id",
};
const PART: Lookup = Lookup {
    one: sql::PART_KEY,
    id: "p.id",
};
const TURN: Lookup = Lookup {
    one: sql::TURN_KEY,
    id: "t.id",
};
const ASK: Lookup = Lookup {
    one: sql::ASK_KEY,
    id: "id",
};

/// All of them.
pub const LOOKUPS: [Lookup; 5] = [HEAD, MESSAGE, PART, TURN, ASK];

/// What a commit asks first: each answer holds until the commit has written to that row, or to a
/// row it belongs to.
#[must_use]
pub fn lookups(commit: &Commit) -> Vec<(Lookup, &str)> {
    let mut found = vec![(HEAD, commit.session_id.as_str())];
    // A large one asks for all at once by itself.
    if commit.changes.len() >= LARGE_COMMIT || removes(commit) {
        return found;
    }
    for require in &commit.require {
        if let Require::MessageAbsent(id) | Require::MessagePresent(id) = require {
            found.push((MESSAGE, id.as_str()));
        }
    }
    for change in &commit.changes {
        match change {
            Change::PutMessage(message) => found.push((MESSAGE, message.id.as_str())),
            Change::PutPart(part) | Change::CheckpointPart(part) => {
                found.push((MESSAGE, part.message_id.as_str()));
                found.push((PART, part.id.as_str()));
            }
            Change::PutTurn(turn) => found.push((TURN, turn.id.as_str())),
            Change::AskPermission(ask) => found.push((ASK, ask.id.as_str())),
            Change::AskQuestion(ask) => found.push((ASK, ask.id.as_str())),
            Change::ResolvePermission { id, .. } => found.push((ASK, id.as_str())),
            Change::ResolveQuestion { id, .. } => found.push((ASK, id.as_str())),
            _ => {}
        }
    }
    found
}

/// Whether a commit takes rows away, so that what was asked before it does not hold after it.
#[must_use]
pub fn removes(commit: &Commit) -> bool {
    commit.changes.iter().any(|change| {
        matches!(
            change,
            Change::PurgeSession
                | Change::RemoveMessage(_)
                | Change::RemovePart { .. }
                | Change::RemoveTurn(_)
        )
    })
}

/// Messages and parts that a commit may insert.
#[must_use]
pub fn inserts(commit: &Commit) -> (usize, usize) {
    let count = |wanted: fn(&Change) -> bool| commit.changes.iter().filter(|c| wanted(c)).count();
    (
        count(|change| matches!(change, Change::PutMessage(_))),
        count(|change| matches!(change, Change::PutPart(_) | Change::CheckpointPart(_))),
    )
}

/// `seq, sessions` of the clock.
pub const CLOCK: &str = sql::CLOCK;
/// Moves the clock: `$1` the newest event, `$2` the sessions that came.
pub const CLOCK_SET: &str = sql::CLOCK_SET;
/// Inserts a message: `sid, position, id, seq, sum, info`, where `seq` also stands for
/// `created_seq`.
pub const MESSAGE_INSERT: &str = sql::MESSAGE_INSERT;
/// Inserts a part: `mid, id, seq, sum, body, bid`.
pub const PART_INSERT: &str = sql::PART_INSERT;
/// Moves what every commit moves of the session `$1`: `epoch, last_seq, last_position, id_floor,
/// last_message_at, row_seq, status_seq, cost, tokens, revision`.
pub const SESSION_UPDATE_HEAD: &str = sql::SESSION_UPDATE_HEAD;
/// The same, and `updated_at`.
pub const SESSION_UPDATE_TOUCH: &str = sql::SESSION_UPDATE_TOUCH;

/// Whether a statement inserts events, each of seven values: `seq, sid, session_seq, kind, entity,
/// at, payload`.
#[must_use]
pub fn inserts_events(sql: &str) -> bool {
    sql.starts_with("INSERT INTO event ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_is_asked_for_many() {
        assert_eq!(
            MESSAGE.many(),
            "SELECT id, mid, sid FROM message WHERE id = ANY($1)"
        );
        assert!(
            HEAD.many()
                .starts_with("SELECT s.id, (SELECT seq FROM clock WHERE id = 1), s.sid")
        );
        for lookup in LOOKUPS {
            assert!(lookup.many().ends_with(" = ANY($1)"), "{lookup:?}");
        }
    }

    #[test]
    fn statements_for_events_are_known() {
        for sql in sql::EVENT_INSERT {
            assert!(inserts_events(sql));
        }
        assert!(inserts_events(&sql::EVENTS_INSERT));
    }
}
