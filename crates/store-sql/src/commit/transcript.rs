//! Messages and parts.

use std::sync::Arc;

use sessiond_model::{Change, EventBody, Message, MessageId, Part, PartBody, PartId, SessionId};
use sessiond_store::{EntityKind, StoreResult, rules};

use super::{Removed, Work};
use crate::op::{Arg, Tx, first};
use crate::row::{checksum, sha256_hex, to_json};
use crate::sql;

/// Ids as the arguments of a statement that takes [`sql::MANY`]: the last one fills up.
fn padded<'a>(ids: &[&'a str]) -> Vec<Arg<'a>> {
    let mut args: Vec<Arg<'a>> = ids.iter().map(|id| (*id).into()).collect();
    args.resize(sql::MANY, args.last().copied().unwrap_or(Arg::Null));
    args
}

/// Where a part's body lies.
struct Stored {
    inline: Option<String>,
    blob: Option<i64>,
    sum: i64,
}

impl<T: Tx> Work<'_, T> {
    /// The key of a message and of its session, whichever that is.
    pub(super) async fn message_key(&mut self, id: &MessageId) -> StoreResult<Option<(i64, i64)>> {
        if let Some(key) = self.known.get(id) {
            return Ok(*key);
        }
        let row = first(self.tx, sql::MESSAGE_KEY, &[id.as_str().into()]).await?;
        let key = row.map(|mut row| (row.int(), row.int()));
        self.known.insert(id.clone(), key);
        Ok(key)
    }

    fn note_message(&mut self, id: &MessageId, key: Option<(i64, i64)>) {
        self.known.insert(id.clone(), key);
    }

    /// Looks up at once what a large commit puts.
    pub(super) async fn look_up(&mut self) -> StoreResult<()> {
        let commit = self.commit;
        let messages: Vec<&str> = (commit.changes.iter())
            .filter_map(|change| match change {
                Change::PutMessage(message) => Some(message.id.as_str()),
                _ => None,
            })
            .collect();
        let parts: Vec<&str> = (commit.changes.iter())
            .filter_map(|change| match change {
                Change::PutPart(part) => Some(part.id.as_str()),
                _ => None,
            })
            .collect();
        for ids in messages.chunks(sql::MANY) {
            self.known
                .extend(ids.iter().map(|id| (MessageId::trusted(id), None)));
            let rows = self.tx.query(&sql::MESSAGE_KEYS, &padded(ids)).await?;
            for mut row in rows {
                let id = MessageId::trusted(&row.text());
                self.known.insert(id, Some((row.int(), row.int())));
            }
        }
        self.absent
            .extend(parts.iter().map(|id| PartId::trusted(id)));
        for ids in parts.chunks(sql::MANY) {
            let rows = self.tx.query(&sql::PART_IDS, &padded(ids)).await?;
            for mut row in rows {
                self.absent.remove(&PartId::trusted(&row.text()));
            }
        }
        Ok(())
    }

    /// The key of a message of this session.
    async fn own_message(&mut self, id: &MessageId) -> StoreResult<Option<i64>> {
        let key = self.message_key(id).await?;
        Ok(key.and_then(|(mid, sid)| (sid == self.head.sid).then_some(mid)))
    }

    pub(super) async fn session_id(&mut self, sid: i64) -> StoreResult<SessionId> {
        let row = first(self.tx, sql::SESSION_ID, &[sid.into()]).await?;
        Ok(SessionId::trusted(
            &row.map_or_else(String::new, |mut r| r.text()),
        ))
    }

    pub(super) async fn put_message(&mut self, message: &Message) -> StoreResult<()> {
        let id = message.id.as_str();
        let seq = self.next_seq();
        let info = to_json(&message.info)?;
        let sum = checksum(&info);
        let mid = match self.message_key(&message.id).await? {
            Some((_, sid)) if sid != self.head.sid => {
                let owner = self.session_id(sid).await?;
                return Err(rules::owned(EntityKind::Message, id, &owner));
            }
            Some((mid, _)) => {
                let args = [mid.into(), seq.into(), sum.into(), (&info).into()];
                self.tx.execute(sql::MESSAGE_UPDATE, &args).await?;
                mid
            }
            None => {
                self.head.last_position += 1;
                let args = [
                    self.head.sid.into(),
                    self.head.last_position.into(),
                    id.into(),
                    seq.into(),
                    sum.into(),
                    (&info).into(),
                ];
                let mid = self.tx.insert(sql::MESSAGE_INSERT, "mid", &args).await?;
                self.note_message(&message.id, Some((mid, self.head.sid)));
                mid
            }
        };
        let head = &mut self.head;
        head.id_floor = rules::floor_after_message(head.id_floor, message);
        head.last_message_at = head.last_message_at.max(message.info.created());
        self.emit(mid, EventBody::MessageUpdated(Arc::new(message.clone())));
        Ok(())
    }

    pub(super) async fn remove_message(&mut self, id: &MessageId) -> StoreResult<()> {
        if let Some(mid) = self.own_message(id).await? {
            let parts = self.tx.query(sql::PART_KEYS_OF, &[mid.into()]).await?;
            self.tx.execute(sql::PARTS_DELETE, &[mid.into()]).await?;
            for mut row in parts {
                let blob = row.opt_int();
                let counted = row.opt_text().map(|body| PartBody::from_stored(&body));
                self.move_totals(counted.as_ref(), None);
                if let Some(blob) = blob {
                    self.release(blob).await?;
                }
            }
            self.tx.execute(sql::MESSAGE_DELETE, &[mid.into()]).await?;
            self.note_message(id, None);
        }
        let removed = Removed {
            message_id: id.clone(),
            part_id: None,
        };
        let body = EventBody::MessageRemoved {
            message_id: id.clone(),
        };
        self.emit_fact(&removed, body)
    }

    fn move_totals(&mut self, old: Option<&PartBody>, new: Option<&PartBody>) {
        self.row_changed |= rules::move_totals(&mut self.head.session, old, new);
    }

    /// Inserts or replaces a part; `seq` is its event, if this change gives one.
    pub(super) async fn put_part(&mut self, part: &Part, seq: Option<i64>) -> StoreResult<i64> {
        let Some(mid) = self.own_message(&part.message_id).await? else {
            let id = part.message_id.as_str();
            return Err(rules::missing(EntityKind::Message, id));
        };
        let id = part.id.as_str();
        let stored = if self.absent.remove(&part.id) {
            None
        } else {
            first(self.tx, sql::PART_KEY, &[id.into()]).await?
        };
        let pid = match stored {
            Some(mut row) => {
                let (pid, old_mid, sid) = (row.int(), row.int(), row.int());
                let (old_seq, old_blob) = (row.int(), row.opt_int());
                if old_mid != mid {
                    let owner = self.session_id(sid).await?;
                    return Err(rules::part_taken(id, &owner, &self.commit.session_id));
                }
                let counted = row.opt_text().map(|body| PartBody::from_stored(&body));
                self.move_totals(counted.as_ref(), Some(&part.body));
                let stored = self.store_body(&part.body, seq.is_some()).await?;
                let args = [
                    pid.into(),
                    seq.unwrap_or(old_seq).into(),
                    stored.sum.into(),
                    stored.inline.as_ref().into(),
                    stored.blob.into(),
                ];
                self.tx.execute(sql::PART_UPDATE, &args).await?;
                if let Some(blob) = old_blob {
                    self.release(blob).await?;
                }
                pid
            }
            None => {
                self.move_totals(None, Some(&part.body));
                let stored = self.store_body(&part.body, seq.is_some()).await?;
                let args: [Arg<'_>; 6] = [
                    mid.into(),
                    id.into(),
                    seq.unwrap_or(0).into(),
                    stored.sum.into(),
                    stored.inline.as_ref().into(),
                    stored.blob.into(),
                ];
                self.tx.insert(sql::PART_INSERT, "pid", &args).await?
            }
        };
        self.head.id_floor = rules::floor_after_part(self.head.id_floor, part);
        Ok(pid)
    }

    /// Large bodies go to the blob table once they are final; a checkpoint stays inline,
    /// because the next one replaces it.
    async fn store_body(&mut self, body: &PartBody, is_final: bool) -> StoreResult<Stored> {
        let text = to_json(body)?;
        let sum = checksum(&text);
        if !is_final || text.len() <= rules::LARGE_BODY {
            return Ok(Stored {
                inline: Some(text),
                blob: None,
                sum,
            });
        }
        let hash = sha256_hex(&text);
        let row = first(self.tx, sql::BLOB_PUT, &[(&hash).into(), (&text).into()]).await?;
        Ok(Stored {
            inline: None,
            blob: row.map(|mut row| row.int()),
            sum,
        })
    }

    pub(super) async fn release(&mut self, blob: i64) -> StoreResult<()> {
        self.tx.execute(sql::BLOB_RELEASE, &[blob.into()]).await?;
        self.tx.execute(sql::BLOB_SWEEP, &[blob.into()]).await?;
        Ok(())
    }

    pub(super) async fn remove_part(
        &mut self,
        message_id: &MessageId,
        part_id: &PartId,
    ) -> StoreResult<()> {
        if let Some(mid) = self.own_message(message_id).await?
            && let Some(mut row) = first(self.tx, sql::PART_KEY, &[part_id.as_str().into()]).await?
        {
            let (pid, of, _, _, blob) = (row.int(), row.int(), row.int(), row.int(), row.opt_int());
            if of == mid {
                let counted = row.opt_text().map(|body| PartBody::from_stored(&body));
                self.move_totals(counted.as_ref(), None);
                self.tx.execute(sql::PART_DELETE, &[pid.into()]).await?;
                if let Some(blob) = blob {
                    self.release(blob).await?;
                }
            }
        }
        let removed = Removed {
            message_id: message_id.clone(),
            part_id: Some(part_id.clone()),
        };
        let body = EventBody::PartRemoved {
            message_id: message_id.clone(),
            part_id: part_id.clone(),
        };
        self.emit_fact(&removed, body)
    }
}
