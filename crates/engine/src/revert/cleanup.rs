//! What a prompt does first in a reverted session: what was hidden goes.

use sessiond_model::{AgentBinding, Change, Session, SessionId, SessionPatch};

use crate::engine::{Inner, Result};

impl Inner {
    /// The changes that remove what a revert hides; none when the session is not reverted. The
    /// caller holds `live.undo` until they are committed.
    pub(crate) async fn cleanup(&self, session: &Session) -> Result<Vec<Change>> {
        if session.revert.is_none() {
            return Ok(Vec::new());
        }
        let mut changes = Vec::new();
        if let Some(target) = self.present_target(session).await? {
            let turns = self.turns_from(session, &target).await?;
            for doc in self.messages_from(session, &target).await? {
                match &target.part_id {
                    Some(part_id) if doc.id == target.message_id => {
                        let hidden = doc.parts.iter().filter(|p| p.id >= *part_id);
                        changes.extend(hidden.map(|p| Change::RemovePart {
                            message_id: doc.id.clone(),
                            part_id: p.id.clone(),
                        }));
                    }
                    _ => changes.push(Change::RemoveMessage(doc.id)),
                }
            }
            for turn in turns {
                if turn.assistant_message_id.as_ref() == Some(&target.message_id) {
                    // Its answer stays in part; what it did to files was undone.
                    changes.push(Change::SetFileChanges {
                        turn_id: turn.id,
                        files: Vec::new(),
                    });
                } else {
                    changes.push(Change::RemoveTurn(turn.id));
                }
            }
        }
        // The agent remembers what is gone: the next one is told the conversation as it is.
        changes.extend(self.let_go(&session.id).await?);
        changes.push(Change::SetRestore(None));
        changes.push(Change::UpdateSession(SessionPatch {
            revert: Some(None),
            ..SessionPatch::default()
        }));
        Ok(changes)
    }

    /// The binding without the agent's own session, so that the next prompt opens a new one.
    pub(crate) async fn let_go(&self, session: &SessionId) -> Result<Option<Change>> {
        let binding = self.store.binding(session).await?;
        Ok(binding.map(|binding| {
            Change::BindAgent(AgentBinding {
                agent_session_id: None,
                ..binding
            })
        }))
    }
}
