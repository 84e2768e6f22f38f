//! Where a revert goes to.

use sessiond_model::{MessageDoc, MessageId, MessageInfo, PartBody, PartId, Session, Turn};
use sessiond_store::{EntityKind, MessageCursor, MessageQuery, TurnQuery};

use crate::engine::{Inner, Result};
use crate::{EngineError, RevertOptions};

/// The first message, or part of it, that is hidden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) message_id: MessageId,
    pub(crate) part_id: Option<PartId>,
    /// Position of the message.
    pub(crate) position: u64,
}

impl Inner {
    /// As OpenCode has it: an answer is reverted with its prompt, unless the revert is to a
    /// part of it that is not its first word.
    pub(super) async fn revert_target(
        &self,
        session: &Session,
        options: &RevertOptions,
    ) -> Result<Target> {
        let missing = || EngineError::not_found(EntityKind::Message, &options.message_id);
        let doc = self
            .store
            .message(&session.id, &options.message_id)
            .await?
            .ok_or_else(missing)?;
        if let Some(part_id) = &options.part_id {
            if !doc.parts.iter().any(|p| p.id == *part_id) {
                return Err(EngineError::not_found(EntityKind::Part, part_id));
            }
            if says_something_before(&doc, part_id) {
                return Ok(Target {
                    message_id: doc.id,
                    part_id: Some(part_id.clone()),
                    position: doc.position,
                });
            }
        }
        let prompt = match doc.message().map(|m| m.info) {
            Some(MessageInfo::Assistant(info)) => {
                self.store.message(&session.id, &info.parent_id).await?
            }
            _ => None,
        };
        let doc = prompt.unwrap_or(doc);
        Ok(Target {
            message_id: doc.id,
            part_id: None,
            position: doc.position,
        })
    }

    /// The turns that a revert to this target undoes, oldest first.
    pub(super) async fn turns_from(&self, session: &Session, target: &Target) -> Result<Vec<Turn>> {
        let mut turns = self.store.turns(&session.id, &TurnQuery::default()).await?;
        let mut first = turns.len();
        while first > 0 && self.is_undone(&turns[first - 1], target).await? {
            first -= 1;
        }
        Ok(turns.split_off(first))
    }

    async fn is_undone(&self, turn: &Turn, target: &Target) -> Result<bool> {
        // A part of its answer: its files are captured as a whole, so all of them go.
        if turn.assistant_message_id.as_ref() == Some(&target.message_id) {
            return Ok(true);
        }
        let user = self
            .store
            .message(&turn.session_id, &turn.user_message_id)
            .await?;
        // Of a turn without its prompt, the next older one tells.
        Ok(user.is_none_or(|doc| doc.position >= target.position))
    }

    /// The target of a session that is reverted now.
    pub(super) async fn present_target(&self, session: &Session) -> Result<Option<Target>> {
        let Some(revert) = &session.revert else {
            return Ok(None);
        };
        let doc = self.store.message(&session.id, &revert.message_id).await?;
        Ok(doc.map(|doc| Target {
            message_id: doc.id,
            part_id: revert.part_id.clone(),
            position: doc.position,
        }))
    }

    /// The messages from a target on, oldest first.
    pub(super) async fn messages_from(
        &self,
        session: &Session,
        target: &Target,
    ) -> Result<Vec<MessageDoc>> {
        let mut found: Vec<MessageDoc> = Vec::new();
        let mut before: Option<MessageCursor> = None;
        loop {
            let query = MessageQuery {
                before,
                limit: Some(100),
            };
            let page = self.store.messages(&session.id, &query).await?;
            let reaches_back = (page.messages.first()).is_none_or(|m| m.position < target.position);
            let newer = page.messages.into_iter();
            let mut newer: Vec<_> = newer.filter(|m| m.position >= target.position).collect();
            newer.append(&mut found);
            found = newer;
            match page.older {
                Some(older) if !reaches_back => before = Some(older),
                _ => return Ok(found),
            }
        }
    }
}

/// Whether the message has a text or a tool call before this part.
fn says_something_before(doc: &MessageDoc, part_id: &PartId) -> bool {
    let earlier = doc.typed_parts().into_iter();
    earlier
        .filter(|p| p.id < *part_id)
        .any(|p| matches!(p.body, PartBody::Text { .. } | PartBody::Tool(_)))
}
