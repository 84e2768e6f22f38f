//! What the store in memory keeps.

use std::collections::BTreeMap;
use std::sync::Arc;

use sessiond_model::{
    AgentBinding, AgentProfile, Event, FileChange, IdStamp, Message, MessageId, Part, PartId,
    Permission, Project, ProjectId, Question, Restore, Seq, Session, SessionId, SessionSeq, Share,
    Timestamp, Todo, Turn, TurnId, Usage,
};

use crate::SessionHead;
use crate::rules::RowMark;

/// Everything.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) sessions: BTreeMap<SessionId, Record>,
    pub(super) projects: BTreeMap<ProjectId, Row<Project>>,
    pub(super) profiles: BTreeMap<String, AgentProfile>,
    /// All events as they were committed; a replay renders them anew.
    pub(super) log: Vec<Arc<Event>>,
    /// The position of the newest event, also when that one was purged.
    pub(super) clock: Seq,
    pub(super) closed: bool,
}

/// A row with the events that a replay shows it at.
#[derive(Clone, Debug)]
pub(super) struct Row<T> {
    pub(super) row: T,
    pub(super) mark: RowMark,
}

/// One session and all that belongs to it. A commit works on a clone, which replaces the
/// original when every change went through.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) session: Session,
    pub(super) mark: RowMark,
    pub(super) key: Option<(String, String)>,
    pub(super) epoch: u64,
    pub(super) last_seq: SessionSeq,
    pub(super) id_floor: IdStamp,
    pub(super) last_message_at: Timestamp,
    pub(super) last_position: u64,
    pub(super) status_mark: RowMark,
    pub(super) messages: BTreeMap<MessageId, Arc<MessageRecord>>,
    pub(super) todos: Vec<Todo>,
    pub(super) todos_mark: RowMark,
    /// By turn.
    pub(super) todo_versions: BTreeMap<TurnId, Vec<Todo>>,
    pub(super) turns: Vec<Row<Turn>>,
    pub(super) permissions: Vec<Row<Permission>>,
    pub(super) questions: Vec<Row<Question>>,
    pub(super) binding: Option<AgentBinding>,
    pub(super) binding_mark: RowMark,
    pub(super) usage: Vec<Usage>,
    pub(super) files: BTreeMap<TurnId, Vec<FileChange>>,
    pub(super) restore: Option<Restore>,
    pub(super) share: Option<Share>,
}

/// A message and its parts.
#[derive(Clone, Debug)]
pub(super) struct MessageRecord {
    pub(super) message: Message,
    pub(super) position: u64,
    pub(super) mark: RowMark,
    pub(super) parts: BTreeMap<PartId, Row<Part>>,
}

impl Record {
    pub(super) fn new(session: Session, key: Option<(String, String)>) -> Self {
        Self {
            session,
            key,
            mark: RowMark::default(),
            epoch: 0,
            last_seq: SessionSeq(0),
            id_floor: IdStamp::default(),
            last_message_at: Timestamp(0),
            last_position: 0,
            status_mark: RowMark::default(),
            messages: BTreeMap::new(),
            todos: Vec::new(),
            todos_mark: RowMark::default(),
            todo_versions: BTreeMap::new(),
            turns: Vec::new(),
            permissions: Vec::new(),
            questions: Vec::new(),
            binding: None,
            binding_mark: RowMark::default(),
            usage: Vec::new(),
            files: BTreeMap::new(),
            restore: None,
            share: None,
        }
    }

    pub(super) fn head(&self) -> SessionHead {
        SessionHead {
            session: self.session.clone(),
            last_seq: self.last_seq,
            id_floor: self.id_floor,
            last_message_at: self.last_message_at,
        }
    }
}

impl State {
    pub(super) fn last_seq(&self) -> Seq {
        self.clock
    }

    pub(super) fn message_owner(&self, id: &MessageId) -> Option<&SessionId> {
        let mut all = self.sessions.iter();
        all.find_map(|(owner, r)| r.messages.contains_key(id).then_some(owner))
    }

    pub(super) fn part_owner(&self, id: &PartId) -> Option<&SessionId> {
        let holds = |r: &Record| r.messages.values().any(|m| m.parts.contains_key(id));
        let mut all = self.sessions.iter();
        all.find_map(|(owner, r)| holds(r).then_some(owner))
    }

    pub(super) fn find_turn(&self, id: &TurnId) -> Option<&Turn> {
        let mut all = self.sessions.values().flat_map(|r| &r.turns);
        all.find_map(|t| (t.row.id == *id).then_some(&t.row))
    }

    pub(super) fn find_permission(&self, id: &sessiond_model::PermissionId) -> Option<&Permission> {
        let mut all = self.sessions.values().flat_map(|r| &r.permissions);
        all.find_map(|p| (p.row.id == *id).then_some(&p.row))
    }

    pub(super) fn find_question(&self, id: &sessiond_model::QuestionId) -> Option<&Question> {
        let mut all = self.sessions.values().flat_map(|r| &r.questions);
        all.find_map(|q| (q.row.id == *id).then_some(&q.row))
    }
}
