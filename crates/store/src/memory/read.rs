//! Reads of the store in memory.

use std::cmp::Reverse;
use std::sync::Arc;

use sessiond_model::{
    Event, EventBody, MessageDoc, MessageId, PartDoc, Permission, Question, Seq, Session,
    SessionId, Share, StatusKind, Turn,
};

use super::record::{MessageRecord, Record, Row, State};
use crate::rules::{self, RowMark};
use crate::{
    AskQuery, EventPage, EventQuery, MessageCursor, MessagePage, MessageQuery, Scope, SessionPage,
    SessionQuery, ShareQuery, StoreError, StoreResult, TurnQuery,
};

impl State {
    pub(super) fn by_key(&self, key: &str) -> Option<(SessionId, String)> {
        self.sessions.values().find_map(|r| {
            let (stored, digest) = r.key.as_ref()?;
            (stored == key).then(|| (r.session.id.clone(), digest.clone()))
        })
    }

    pub(super) fn list(&self, query: &SessionQuery) -> SessionPage {
        let mut found: Vec<&Session> = (self.sessions.values())
            .map(|r| &r.session)
            .filter(|s| matches(s, query))
            .collect();
        let place = |s: &Session| query.order.place(s);
        found.sort_by(|a, b| query.order.compare(&place(a), &place(b)));
        let limit = query.limit.map_or(usize::MAX, |l| l as usize);
        let more = found.len() > limit;
        found.truncate(limit);
        SessionPage {
            next: found.last().filter(|_| more).map(|s| place(s)),
            sessions: found.into_iter().cloned().collect(),
        }
    }

    pub(super) fn share_by_token(&self, hash: &str) -> Option<(SessionId, Share)> {
        self.sessions.values().find_map(|r| {
            let share = r.share.as_ref().filter(|s| s.token_hash == hash)?;
            Some((r.session.id.clone(), share.clone()))
        })
    }

    pub(super) fn shares(&self, query: &ShareQuery) -> Vec<(Session, Share)> {
        let end = match &query.after {
            None => Seq(u64::MAX),
            Some(id) => (self.sessions.get(id)).map_or(Seq(0), |r| r.mark.created),
        };
        let mut found: Vec<_> = (self.listed())
            .filter(|r| r.mark.created < end)
            .filter_map(|r| Some((r.mark.created, r, r.share.as_ref()?)))
            .collect();
        found.sort_by_key(|(created, ..)| Reverse(*created));
        found.truncate(query.limit.map_or(usize::MAX, |l| l as usize));
        let row = |(_, r, share): (Seq, &Record, &Share)| (r.session.clone(), share.clone());
        found.into_iter().map(row).collect()
    }

    /// Sessions outside of the trash.
    fn listed(&self) -> impl Iterator<Item = &Record> {
        let all = self.sessions.values();
        all.filter(|r| r.session.deleted_at.is_none())
    }

    pub(super) fn unfinished(&self) -> Vec<SessionId> {
        let open = |r: &&Record| {
            r.session.status.kind == StatusKind::Busy
                || r.turns.iter().any(|t| !t.row.state.is_terminal())
                || r.permissions.iter().any(|p| p.row.outcome.is_none())
                || r.questions.iter().any(|q| q.row.outcome.is_none())
        };
        let open = self.listed().filter(open);
        open.map(|r| r.session.id.clone()).collect()
    }

    fn asked<'a>(&'a self, query: &'a AskQuery) -> impl Iterator<Item = &'a Record> {
        self.listed().filter(|r| {
            query.session_id.as_ref().is_none_or(|s| *s == r.session.id)
                && (query.directory.as_ref()).is_none_or(|d| *d == r.session.directory)
        })
    }

    pub(super) fn pending_permissions(&self, query: &AskQuery) -> Vec<Permission> {
        let mut rows: Vec<_> = self
            .asked(query)
            .flat_map(|r| &r.permissions)
            .filter(|p| p.row.outcome.is_none())
            .collect();
        rows.sort_by_key(|p| p.mark.created);
        rows.into_iter().map(|p| p.row.clone()).collect()
    }

    pub(super) fn ended_permissions(&self, session: &SessionId, limit: u32) -> Vec<Permission> {
        let rows = self.of(session).flat_map(|r| &r.permissions);
        newest(rows.filter(|p| p.row.outcome.is_some()), limit)
    }

    pub(super) fn ended_questions(&self, session: &SessionId, limit: u32) -> Vec<Question> {
        let rows = self.of(session).flat_map(|r| &r.questions);
        newest(rows.filter(|q| q.row.outcome.is_some()), limit)
    }

    fn of(&self, session: &SessionId) -> impl Iterator<Item = &Record> {
        self.listed().filter(|r| r.session.id == *session)
    }

    pub(super) fn pending_questions(&self, query: &AskQuery) -> Vec<Question> {
        let mut rows: Vec<_> = self
            .asked(query)
            .flat_map(|r| &r.questions)
            .filter(|q| q.row.outcome.is_none())
            .collect();
        rows.sort_by_key(|q| q.mark.created);
        rows.into_iter().map(|q| q.row.clone()).collect()
    }

    pub(super) fn page(
        &self,
        session: &SessionId,
        query: &MessageQuery,
    ) -> StoreResult<MessagePage> {
        let Some(record) = self.sessions.get(session) else {
            return Ok(MessagePage::default());
        };
        let before = query.before.map_or(u64::MAX, |c| c.0);
        let mut found: Vec<&MessageRecord> = (record.messages.values())
            .map(Arc::as_ref)
            .filter(|m| m.position < before)
            .collect();
        found.sort_by_key(|m| m.position);
        let limit = query.limit.map_or(usize::MAX, |l| l as usize);
        let skip = found.len().saturating_sub(limit);
        let page = &found[skip..];
        Ok(MessagePage {
            older: page
                .first()
                .filter(|_| skip > 0)
                .map(|m| MessageCursor(m.position)),
            messages: page.iter().map(|m| doc(m)).collect::<StoreResult<_>>()?,
        })
    }

    pub(super) fn message_doc(
        &self,
        session: &SessionId,
        id: &MessageId,
    ) -> StoreResult<Option<MessageDoc>> {
        let record = self.sessions.get(session);
        let message = record.and_then(|r| r.messages.get(id));
        message.map(|m| doc(m)).transpose()
    }

    pub(super) fn turns(&self, session: &SessionId, query: &TurnQuery) -> Vec<Turn> {
        let record = self.sessions.get(session);
        let mut turns: Vec<Turn> = record
            .into_iter()
            .flat_map(|r| &r.turns)
            .map(|t| &t.row)
            .cloned()
            .collect();
        if let Some(before) = &query.before {
            turns.truncate(turns.iter().position(|t| t.id == *before).unwrap_or(0));
        }
        turns.retain(|t| !query.open_only || !t.state.is_terminal());
        let limit = query.limit.map_or(usize::MAX, |l| l as usize);
        turns.drain(..turns.len().saturating_sub(limit));
        turns
    }

    pub(super) fn last_turn(
        &self,
        session: &SessionId,
        wanted: impl Fn(&Turn) -> bool,
    ) -> Option<Turn> {
        let turns = &self.sessions.get(session)?.turns;
        let mut newest_first = turns.iter().rev().map(|t| &t.row);
        newest_first.find(|t| wanted(t)).cloned()
    }

    pub(super) fn replay(&self, query: &EventQuery) -> EventPage {
        let until = query.until.unwrap_or(Seq(u64::MAX));
        let mut wanted = self.log.iter().filter(|e| {
            e.seq > query.after
                && e.seq <= until
                && match &query.scope {
                    Scope::All => true,
                    Scope::Directory(directory) => *e.directory == **directory,
                    Scope::Session(session) => e.session_id == *session,
                }
        });
        let events: Vec<Event> = (wanted.by_ref())
            .take(query.limit as usize)
            .map(|e| Event {
                body: self.render(e),
                ..e.as_ref().clone()
            })
            .collect();
        EventPage {
            next: events.last().map_or(query.after, |e| e.seq),
            more: wanted.next().is_some(),
            events,
        }
    }

    /// The body of an event as of now.
    fn render(&self, event: &Event) -> EventBody {
        let kind = event.body.kind();
        self.current(event)
            .filter(|(mark, _)| rules::carries_content(kind, event.seq, *mark))
            .map_or(EventBody::Superseded(kind), |(_, body)| body)
    }

    /// The current content of what an event is about, if it is still there.
    fn current(&self, event: &Event) -> Option<(RowMark, EventBody)> {
        let record = self.sessions.get(&event.session_id)?;
        let session = || Arc::new(record.session.clone());
        Some(match &event.body {
            EventBody::SessionCreated(_) => (record.mark, EventBody::SessionCreated(session())),
            EventBody::SessionUpdated(_) => (record.mark, EventBody::SessionUpdated(session())),
            EventBody::SessionDeleted(_) => (record.mark, EventBody::SessionDeleted(session())),
            EventBody::StatusChanged(_) => (
                record.status_mark,
                EventBody::StatusChanged(record.session.status.clone()),
            ),
            EventBody::MessageUpdated(m) => {
                let row = record.messages.get(&m.id)?;
                let message = Arc::new(row.message.clone());
                (row.mark, EventBody::MessageUpdated(message))
            }
            EventBody::PartUpdated(p) => {
                let row = record.messages.get(&p.message_id)?.parts.get(&p.id)?;
                (row.mark, EventBody::PartUpdated(Arc::new(row.row.clone())))
            }
            EventBody::TodosUpdated(_) => (
                record.todos_mark,
                EventBody::TodosUpdated(Arc::new(record.todos.clone())),
            ),
            EventBody::PermissionAsked(p) | EventBody::PermissionResolved(p) => {
                let row = record.permissions.iter().find(|r| r.row.id == p.id)?;
                let content = Arc::new(row.row.clone());
                let body = match event.body {
                    EventBody::PermissionAsked(_) => EventBody::PermissionAsked(content),
                    _ => EventBody::PermissionResolved(content),
                };
                (row.mark, body)
            }
            EventBody::QuestionAsked(q) | EventBody::QuestionResolved(q) => {
                let row = record.questions.iter().find(|r| r.row.id == q.id)?;
                let content = Arc::new(row.row.clone());
                let body = match event.body {
                    EventBody::QuestionAsked(_) => EventBody::QuestionAsked(content),
                    _ => EventBody::QuestionResolved(content),
                };
                (row.mark, body)
            }
            EventBody::TurnUpdated(t) => {
                let row = record.turns.iter().find(|r| r.row.id == t.id)?;
                (row.mark, EventBody::TurnUpdated(Arc::new(row.row.clone())))
            }
            EventBody::AgentBound(_) => {
                let binding = Arc::new(record.binding.clone()?);
                (record.binding_mark, EventBody::AgentBound(binding))
            }
            EventBody::ProjectUpdated(p) => {
                let row = self.projects.get(&p.id)?;
                let project = Arc::new(row.row.clone());
                (row.mark, EventBody::ProjectUpdated(project))
            }
            // Facts without a row carry their payload for ever.
            EventBody::MessageRemoved { .. }
            | EventBody::PartRemoved { .. }
            | EventBody::SessionError(_)
            | EventBody::Superseded(_) => (
                RowMark {
                    created: event.seq,
                    newest: event.seq,
                },
                event.body.clone(),
            ),
        })
    }
}

/// The newest rows, so many.
fn newest<'a, T: Clone + 'a>(rows: impl Iterator<Item = &'a Row<T>>, limit: u32) -> Vec<T> {
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|r| Reverse(r.mark.created));
    rows.into_iter()
        .take(limit as usize)
        .map(|r| r.row.clone())
        .collect()
}

fn matches(session: &Session, query: &SessionQuery) -> bool {
    let after = (query.after.as_ref())
        .is_none_or(|c| query.order.compare(&query.order.place(session), c).is_gt());
    let below = |prefix: &String| {
        session.path.as_ref().is_some_and(|path| {
            path.strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    after
        && session.deleted_at.is_some() == query.trashed
        && (query.project_id.as_ref()).is_none_or(|p| *p == session.project_id)
        && (query.directory.as_ref()).is_none_or(|d| *d == session.directory)
        && query.path_prefix.as_ref().is_none_or(below)
        && (query.parent_id.as_ref()).is_none_or(|p| session.parent_id.as_ref() == Some(p))
        && (query.fork_of.as_ref())
            .is_none_or(|o| session.fork.as_ref().is_some_and(|f| f.session_id == *o))
        && !(query.roots && session.parent_id.is_some())
        && query.updated_since.is_none_or(|t| session.updated_at >= t)
        && (query.search.as_ref()).is_none_or(|text| {
            let title = session.title.to_ascii_lowercase();
            title.contains(&text.to_ascii_lowercase())
        })
        && (query.archived).is_none_or(|yes| session.archived_at.is_some() == yes)
        && (query.status.as_ref()).is_none_or(|kinds| kinds.contains(&session.status.kind))
}

fn doc(record: &MessageRecord) -> StoreResult<MessageDoc> {
    let fault = |source: serde_json::Error| StoreError::Internal {
        operation: "render a message",
        source: source.into(),
    };
    Ok(MessageDoc {
        id: record.message.id.clone(),
        session_id: record.message.session_id.clone(),
        position: record.position,
        created: record.mark.created,
        changed: record.mark.newest,
        info: serde_json::to_string(&record.message.info).map_err(fault)?,
        parts: (record.parts.values())
            .map(|p| {
                Ok(PartDoc {
                    id: p.row.id.clone(),
                    body: serde_json::to_string(&p.row.body).map_err(fault)?,
                })
            })
            .collect::<StoreResult<_>>()?,
    })
}
