//! What of a session can be seen: while it is reverted, only what lies before the marker.

use std::collections::HashSet;

use sessiond_model::{MessageDoc, PartId, Session, Todo, TurnId};

use crate::engine::{Inner, Result};

/// Where the visible part of a reverted session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Horizon {
    /// Position of the marked message.
    position: u64,
    /// The first part of it that is hidden, when not all of it is.
    part_id: Option<PartId>,
}

/// How much of a message can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sight {
    /// All of it.
    Whole,
    /// Only its first parts.
    Cut,
    /// Nothing.
    Hidden,
}

impl Horizon {
    /// How much of a message at this position can be seen.
    pub(crate) fn sight(&self, position: u64) -> Sight {
        if position < self.position {
            Sight::Whole
        } else if position == self.position && self.part_id.is_some() {
            Sight::Cut
        } else {
            Sight::Hidden
        }
    }

    /// Position of the first message of which nothing can be seen.
    pub(crate) fn end(&self) -> u64 {
        self.position + u64::from(self.part_id.is_some())
    }

    /// Takes away what can't be seen of a message; answers how much is left.
    pub(crate) fn cut(&self, doc: &mut MessageDoc) -> Sight {
        let sight = self.sight(doc.position);
        match (&self.part_id, sight) {
            (_, Sight::Whole) => {}
            (Some(first_hidden), Sight::Cut) => doc.parts.retain(|p| p.id < *first_hidden),
            _ => doc.parts.clear(),
        }
        sight
    }
}

/// The list that the newest turn in sight left; empty when none wrote one. `versions` are the
/// oldest first.
pub(crate) fn visible_todos(
    versions: &[(TurnId, Vec<Todo>)],
    in_sight: impl Fn(&TurnId) -> bool,
) -> &[Todo] {
    let newest = versions.iter().rev().find(|(turn, _)| in_sight(turn));
    newest.map_or(&[], |(_, todos)| todos)
}

impl Inner {
    /// Where the visible part of a session ends; `None` when all of it can be seen, also when
    /// the marked message is gone.
    pub(crate) async fn horizon(&self, session: &Session) -> Result<Option<Horizon>> {
        let Some(revert) = &session.revert else {
            return Ok(None);
        };
        let marked = self.store.message(&session.id, &revert.message_id).await?;
        Ok(marked.map(|doc| Horizon {
            position: doc.position,
            part_id: revert.part_id.clone(),
        }))
    }

    /// The todo list as it was at what can be seen of a session.
    pub(crate) async fn todos_in_sight(&self, session: &Session) -> Result<Vec<Todo>> {
        let Some(horizon) = self.horizon(session).await? else {
            return Ok(self.store.todos(&session.id).await?);
        };
        let versions = self.store.todo_versions(&session.id).await?;
        if versions.is_empty() {
            // An imported list: which turn wrote it is not known.
            return Ok(self.store.todos(&session.id).await?);
        }
        let mut hidden = HashSet::new();
        // From the newest on, until the first one in sight.
        for (id, _) in versions.iter().rev() {
            if self.is_in_sight(&horizon, id).await? {
                break;
            }
            hidden.insert(id);
        }
        Ok(visible_todos(&versions, |turn| !hidden.contains(turn)).to_vec())
    }

    /// Whether the prompt of a turn can be seen.
    async fn is_in_sight(&self, horizon: &Horizon, turn: &TurnId) -> Result<bool> {
        let Some(turn) = self.store.turn(turn).await? else {
            return Ok(false);
        };
        let user = self
            .store
            .message(&turn.session_id, &turn.user_message_id)
            .await?;
        Ok(user.is_some_and(|doc| horizon.sight(doc.position) != Sight::Hidden))
    }
}

#[cfg(test)]
mod tests {
    use sessiond_model::{MessageId, PartDoc, SessionId};

    use super::*;

    fn doc(position: u64) -> MessageDoc {
        let part = |name: &str| PartDoc {
            id: PartId::trusted(name),
            body: "{}".into(),
        };
        MessageDoc {
            id: MessageId::trusted("msg_1"),
            session_id: SessionId::trusted("ses_1"),
            position,
            created: sessiond_model::Seq(1),
            changed: sessiond_model::Seq(1),
            info: "{}".into(),
            parts: vec![part("prt_1"), part("prt_2"), part("prt_3")],
        }
    }

    #[test]
    fn a_message_is_whole_cut_or_hidden() {
        let at = |part: Option<&str>| Horizon {
            position: 4,
            part_id: part.map(PartId::trusted),
        };
        let look = |horizon: &Horizon, position| {
            let mut doc = doc(position);
            (horizon.cut(&mut doc), doc.parts.len())
        };
        assert_eq!(look(&at(None), 3), (Sight::Whole, 3));
        assert_eq!(look(&at(None), 4), (Sight::Hidden, 0));
        assert_eq!(look(&at(Some("prt_2")), 3), (Sight::Whole, 3));
        assert_eq!(look(&at(Some("prt_2")), 4), (Sight::Cut, 1));
        assert_eq!(look(&at(Some("prt_2")), 5), (Sight::Hidden, 0));
    }

    #[test]
    fn the_newest_list_in_sight_counts() {
        let list = |text: &str| {
            vec![Todo {
                content: text.into(),
                status: "pending".into(),
                priority: "medium".into(),
            }]
        };
        let versions = ["1", "2", "3"].map(|n| (TurnId::trusted(n), list(n)));
        assert_eq!(visible_todos(&versions, |_| true), list("3"));
        assert_eq!(visible_todos(&versions, |t| t.as_str() < "3"), list("2"));
        assert!(visible_todos(&versions, |_| false).is_empty());
        assert!(visible_todos(&[], |_| true).is_empty());
    }
}
