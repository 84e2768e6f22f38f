//! `/api/session/{id}/message`, `context` and `history`.

use axum::extract::State;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sessiond_model::{MessageDoc, MessageId, MessageInfo, Session, SessionId};
use sessiond_store::{EntityKind, MessageCursor, MessageQuery};

use super::session::{Direction, Order, number, order};
use crate::state::App;
use crate::v2::error::Error;
use crate::v2::events;
use crate::v2::extract::{self, InMessage, InSession, Query, Reply};
use crate::v2::wire;

/// Messages, and events of a history, when the client gives no limit.
const DEFAULT_LIMIT: u64 = 50;
/// Messages read at once.
const CHUNK: u32 = 64;

#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    id: MessageId,
    order: Order,
    direction: Direction,
}

impl Cursor {
    fn encode(&self) -> String {
        URL_SAFE_NO_PAD.encode(json!(self).to_string())
    }

    fn decode(text: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

pub(crate) async fn list(
    State(app): State<App>,
    InSession(id): InSession,
    Query(query): Query,
) -> Reply {
    let limit = number(&query, "limit", 1, "greater than or equal to 1")?;
    let limit = usize::try_from(limit.unwrap_or(DEFAULT_LIMIT)).unwrap_or(usize::MAX);
    let asked = order(&query)?;
    let (order, direction, from) = match query.filled("cursor") {
        Some(_) if asked.is_some() => {
            return Err(Error::Cursor("Cursor cannot be combined with order"));
        }
        Some(text) => {
            let cursor = Cursor::decode(text).ok_or(Error::Cursor("Invalid cursor"))?;
            let anchor = app.engine.message(&id, &cursor.id).await;
            let anchor = anchor.map_err(|e| match e {
                sessiond_engine::EngineError::NotFound {
                    kind: EntityKind::Message,
                    ..
                } => Error::Cursor("Invalid cursor"),
                e => e.into(),
            })?;
            (cursor.order, cursor.direction, Some(anchor.position))
        }
        None => (asked.unwrap_or(Order::Desc), Direction::Next, None),
    };
    // The way through the transcript; what is found against the order is turned round.
    let is_older = (order == Order::Desc) == (direction == Direction::Next);
    let mut found = if is_older {
        older(&app, &id, from, limit).await?
    } else {
        newer(&app, &id, from.unwrap_or(0), limit).await?
    };
    if direction == Direction::Previous {
        found.reverse();
    }
    let cursor = |message: Option<&(MessageId, Value)>, direction| {
        message.map(|(id, _)| {
            let id = id.clone();
            Cursor {
                id,
                order,
                direction,
            }
            .encode()
        })
    };
    let cursors = json!({"previous": cursor(found.first(), Direction::Previous),
        "next": cursor(found.last(), Direction::Next)});
    let data: Vec<_> = found.into_iter().map(|(_, shown)| shown).collect();
    extract::json(&json!({"data": data, "cursor": cursors}))
}

fn shown(doc: &MessageDoc) -> Option<(MessageId, Value)> {
    Some((doc.id.clone(), wire::message(doc)?))
}

/// Messages before a position, the newest first.
async fn older(
    app: &App,
    id: &SessionId,
    from: Option<u64>,
    limit: usize,
) -> Result<Vec<(MessageId, Value)>, Error> {
    let mut before = from.map(MessageCursor);
    let mut found = Vec::new();
    loop {
        let wanted = u32::try_from(limit - found.len())
            .unwrap_or(CHUNK)
            .min(CHUNK);
        let query = MessageQuery {
            before,
            limit: Some(wanted),
        };
        let page = app.engine.messages(id, &query).await?;
        found.extend(page.messages.iter().rev().filter_map(shown));
        before = page.older;
        if before.is_none() || found.len() >= limit {
            found.truncate(limit);
            return Ok(found);
        }
    }
}

/// Messages after a position, the oldest first.
async fn newer(
    app: &App,
    id: &SessionId,
    from: u64,
    limit: usize,
) -> Result<Vec<(MessageId, Value)>, Error> {
    let newest = MessageQuery {
        before: None,
        limit: Some(1),
    };
    let newest = app.engine.messages(id, &newest).await?;
    let last = newest.messages.last().map_or(0, |m| m.position);
    let mut found = Vec::new();
    let mut from = from;
    while from < last && found.len() < limit {
        // Positions have gaps where messages went, so a chunk may hold fewer.
        let end = from.saturating_add(u64::from(CHUNK) + 1);
        let query = MessageQuery {
            before: Some(MessageCursor(end)),
            limit: Some(CHUNK),
        };
        let page = app.engine.messages(id, &query).await?;
        let later = page.messages.iter().filter(|m| m.position > from);
        found.extend(later.filter_map(shown));
        from = end - 1;
    }
    found.truncate(limit);
    Ok(found)
}

pub(crate) async fn get(State(app): State<App>, InMessage(id, message): InMessage) -> Reply {
    let doc = app.engine.message(&id, &message).await;
    let doc = doc.map_err(Error::within(&id))?;
    let shown = wire::message(&doc).ok_or_else(|| {
        let kind = EntityKind::Message;
        let id = message.to_string();
        sessiond_engine::EngineError::NotFound { kind, id }
    });
    extract::json(&json!({"data": shown.map_err(Error::within(&id))?}))
}

/// What an agent without memory would be told: what can be seen, from the last summary on.
pub(crate) async fn context(State(app): State<App>, InSession(id): InSession) -> Reply {
    let session = app.engine.session(&id).await?;
    let mut before = horizon(&app, &session).await?.map(MessageCursor);
    let mut found = Vec::new();
    'pages: loop {
        let query = MessageQuery {
            before,
            limit: Some(CHUNK),
        };
        let page = app.engine.messages(&id, &query).await?;
        for doc in page.messages.iter().rev() {
            let Some((_, shown)) = shown(doc) else {
                continue;
            };
            let is_summary = shown["type"] == "compaction";
            found.push(shown);
            if is_summary {
                break 'pages;
            }
        }
        before = page.older;
        if before.is_none() {
            break;
        }
    }
    found.reverse();
    extract::json(&json!({"data": found}))
}

/// The position that the visible part of a reverted session ends before.
async fn horizon(app: &App, session: &Session) -> Result<Option<u64>, Error> {
    let Some(revert) = &session.revert else {
        return Ok(None);
    };
    let marked = app.engine.message(&session.id, &revert.message_id).await;
    Ok(marked.ok().map(|doc| {
        // A message that is hidden in part is told.
        let is_cut = revert.part_id.is_some()
            && matches!(
                doc.message().map(|m| m.info),
                Some(MessageInfo::Assistant(_))
            );
        doc.position + u64::from(is_cut)
    }))
}

pub(crate) async fn history(
    State(app): State<App>,
    InSession(id): InSession,
    Query(query): Query,
) -> Reply {
    let limit = number(&query, "limit", 1, "greater than 0")?.unwrap_or(DEFAULT_LIMIT);
    let after = after(&query)?.unwrap_or(0);
    app.engine.session(&id).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let (found, more) = events::history(&app, &id, after, limit).await?;
    extract::json(&json!({"data": found, "hasMore": more}))
}

/// `after`: the number of an event.
pub(super) fn after(query: &crate::extract::Pairs) -> Result<Option<u64>, Error> {
    Ok(number(query, "after", 0, "greater than or equal to 0")?)
}
