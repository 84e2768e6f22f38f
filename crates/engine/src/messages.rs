//! Reading and editing transcripts.

use sessiond_model::{
    Change, MessageDoc, MessageId, Part, PartId, Require, SessionId, SessionPatch,
};
use sessiond_store::{EntityKind, MessagePage, MessageQuery, StoreError, TurnQuery};

use crate::engine::{Engine, Result};
use crate::{EngineError, Hub};

impl Engine {
    /// A page of the transcript. Open parts carry their live content.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn messages(&self, id: &SessionId, query: &MessageQuery) -> Result<MessagePage> {
        self.session(id).await?;
        let mut page = self.0.store.messages(id, query).await?;
        if self.0.hub.has_open_parts(id) {
            for doc in &mut page.messages {
                overlay(&self.0.hub, doc);
            }
        }
        Ok(page)
    }

    /// One message.
    ///
    /// # Errors
    /// `NotFound`, also for a message of another session.
    pub async fn message(&self, id: &SessionId, message: &MessageId) -> Result<MessageDoc> {
        self.session(id).await?;
        let mut doc = self
            .0
            .store
            .message(id, message)
            .await?
            .ok_or_else(|| EngineError::not_found(EntityKind::Message, message))?;
        overlay(&self.0.hub, &mut doc);
        Ok(doc)
    }

    /// Removes a message (idempotent); busy sessions refuse. The record of its turn goes with
    /// it, since that would refer to nothing; files stay as they are.
    ///
    /// # Errors
    /// `NotFound` for the session, `Busy`.
    pub async fn delete_message(&self, id: &SessionId, message: &MessageId) -> Result<()> {
        let live = self.0.live(id).await?;
        let _undo = live.undo.lock().await;
        self.0.settle_restore(&live).await?;
        let turns = self.0.store.turns(id, &TurnQuery::default()).await?;
        let of_it = turns.into_iter().filter(|t| {
            t.user_message_id == *message || t.assistant_message_id.as_ref() == Some(message)
        });
        let commit = {
            let head = live.head();
            if head.open_turns > 0 {
                return Err(EngineError::Busy(id.clone()));
            }
            let mut changes = vec![Change::RemoveMessage(message.clone())];
            changes.extend(of_it.map(|turn| Change::RemoveTurn(turn.id)));
            changes.push(Change::UpdateSession(SessionPatch::touch()));
            self.0
                .submit(live.hold(), vec![Require::NotDeleted], changes)
        };
        commit.await?;
        Ok(())
    }

    /// Inserts or replaces a part of an existing message.
    ///
    /// # Errors
    /// `NotFound` for the session or message, `Conflict` when the part's id belongs elsewhere,
    /// `Busy` when an agent is writing the part.
    pub async fn put_part(&self, part: Part) -> Result<Part> {
        let live = self.0.live(&part.session_id).await?;
        if self.0.hub.open_part_of(&part.id).is_some() {
            return Err(EngineError::Busy(part.session_id));
        }
        let commit = {
            let mut head = live.head();
            if let Some(stamp) = part.id.stamp() {
                head.floor = head.floor.max(stamp);
            }
            self.0.submit(
                live.hold(),
                vec![Require::NotDeleted],
                vec![Change::PutPart(part.clone())],
            )
        };
        match commit.await {
            Err(StoreError::NotFound {
                kind: EntityKind::Session,
                id,
            }) => Err(EngineError::NotFound {
                kind: EntityKind::Session,
                id,
            }),
            other => {
                other?;
                Ok(part)
            }
        }
    }

    /// Removes a part (idempotent).
    ///
    /// # Errors
    /// `NotFound` for the session, `Busy` when an agent is writing the part.
    pub async fn delete_part(
        &self,
        id: &SessionId,
        message: &MessageId,
        part: &PartId,
    ) -> Result<()> {
        let live = self.0.live(id).await?;
        if self.0.hub.open_part_of(part).is_some() {
            return Err(EngineError::Busy(id.clone()));
        }
        let change = Change::RemovePart {
            message_id: message.clone(),
            part_id: part.clone(),
        };
        self.0
            .submit(live.hold(), vec![Require::NotDeleted], vec![change])
            .await?;
        Ok(())
    }
}

/// Puts the live content of open parts over their stored rows, which may be a checkpoint
/// interval behind.
pub(crate) fn overlay(hub: &Hub, doc: &mut MessageDoc) {
    for stored in &mut doc.parts {
        if let Some(part) = hub.open_part_of(&stored.id)
            && let Ok(body) = serde_json::to_string(&part.body)
        {
            stored.body = body;
        }
    }
}
