//! Reads of transcripts. Rows come out as the text they were stored as.

use std::collections::HashMap;

use sessiond_model::{MessageDoc, MessageId, SessionId};
use sessiond_store::{MessageCursor, MessagePage, MessageQuery, StoreResult};

use crate::op::{Op, Row, Tx, first};
use crate::row::{MessageRow, PartRow};
use crate::sql;

/// A page of a transcript.
#[derive(Clone, Copy, Debug)]
pub struct MessagesOf<'a>(pub &'a SessionId, pub &'a MessageQuery);

impl Op for MessagesOf<'_> {
    type Out = MessagePage;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<MessagePage> {
        let Self(session, query) = self;
        let Some(mut key) = first(tx, sql::SESSION_SID, &[session.as_str().into()]).await? else {
            return Ok(MessagePage::default());
        };
        let sid = key.int();
        let before = query
            .before
            .map_or(i64::MAX, |c| i64::try_from(c.0).unwrap_or(i64::MAX));
        let limit = query.limit.map_or(i64::MAX, |l| i64::from(l) + 1);
        let args = [sid.into(), before.into(), limit.into()];
        let mut rows = tx.query(sql::MESSAGES_BEFORE, &args).await?;
        let wanted = query.limit.map_or(usize::MAX, |l| l as usize);
        let more = rows.len() > wanted;
        rows.truncate(wanted);
        let messages: Vec<_> = (rows.into_iter().rev())
            .map(|row| MessageRow::read(row, session))
            .collect();
        let (Some(oldest), Some(newest)) = (messages.first(), messages.last()) else {
            return Ok(MessagePage::default());
        };
        let (from, to) = (oldest.doc.position, newest.doc.position);
        let args = [sid.into(), from.into(), to.into()];
        let parts = tx.query(sql::PARTS_BETWEEN, &args).await?;
        Ok(MessagePage {
            messages: assemble(tx, session, messages, parts),
            older: more.then_some(MessageCursor(from)),
        })
    }
}

/// One message of a session.
#[derive(Clone, Copy, Debug)]
pub struct MessageById<'a>(pub &'a SessionId, pub &'a MessageId);

impl Op for MessageById<'_> {
    type Out = Option<MessageDoc>;

    async fn run<T: Tx>(self, tx: &mut T) -> StoreResult<Option<MessageDoc>> {
        let args = [self.0.as_str().into(), self.1.as_str().into()];
        let Some(row) = first(tx, sql::MESSAGE_BY_ID, &args).await? else {
            return Ok(None);
        };
        let message = MessageRow::read(row, self.0);
        let parts = tx.query(sql::PARTS_OF, &[message.mid.into()]).await?;
        Ok(assemble(tx, self.0, vec![message], parts).pop())
    }
}

/// Puts parts into their messages, by id.
fn assemble<T: Tx>(
    tx: &mut T,
    session: &SessionId,
    rows: Vec<MessageRow>,
    parts: Vec<Row>,
) -> Vec<MessageDoc> {
    let places: HashMap<i64, usize> = rows.iter().enumerate().map(|(i, r)| (r.mid, i)).collect();
    let mut messages = Vec::with_capacity(rows.len());
    for row in rows {
        if row.damaged {
            tx.damaged(session, &format!("message {}", row.doc.id));
        }
        messages.push(row.doc);
    }
    for part in parts.into_iter().map(PartRow::read) {
        if part.damaged {
            tx.damaged(session, &format!("part {}", part.doc.id));
        }
        if let Some(place) = places.get(&part.mid) {
            messages[*place].parts.push(part.doc);
        }
    }
    for message in &mut messages {
        message.parts.sort_by(|a, b| a.id.cmp(&b.id));
    }
    messages
}
