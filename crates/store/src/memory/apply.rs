//! How a commit changes the store in memory.

use std::sync::Arc;

use sessiond_model::{
    Change, Commit, Event, EventBody, Message, MessageId, Part, PartId, Project, ProjectId,
    Require, Seq, Session, SessionSeq, Turn,
};

use super::record::{MessageRecord, Record, Row, State};
use crate::rules::{self, RowMark};
use crate::{Committed, EntityKind, StoreError, StoreResult};

/// A commit in the works: everything it will change, beside the untouched state.
struct Work<'a> {
    state: &'a State,
    commit: &'a Commit,
    record: Record,
    created: bool,
    row_changed: bool,
    bodies: Vec<Body>,
    projects: Vec<Row<Project>>,
    profiles: Vec<sessiond_model::AgentProfile>,
}

/// The body of an event to be; the session's own are filled in when its row is final.
enum Body {
    Ready(EventBody),
    Session(fn(Arc<Session>) -> EventBody),
}

impl State {
    pub(super) fn commit(&mut self, commit: Commit) -> StoreResult<Committed> {
        let mut work = Work::begin(self, &commit)?;
        work.check_requirements()?;
        if commit.changes == [Change::PurgeSession] {
            let session = work.record.session;
            return self.purge(session);
        }
        for change in &commit.changes {
            work.apply(change)?;
        }
        let Work {
            mut record,
            created,
            row_changed,
            bodies,
            projects,
            profiles,
            ..
        } = work;
        if row_changed && !created {
            record.session.revision += 1;
        }
        record.epoch = commit.fence;
        let session = Arc::new(record.session.clone());
        let directory: Arc<str> = session.directory.as_str().into();
        let mut seq = self.last_seq();
        let events: Arc<[Arc<Event>]> = bodies
            .into_iter()
            .map(|body| {
                seq = Seq(seq.0 + 1);
                record.last_seq = SessionSeq(record.last_seq.0 + 1);
                Arc::new(Event {
                    seq,
                    session_id: commit.session_id.clone(),
                    session_seq: record.last_seq,
                    at: commit.at,
                    project_id: session.project_id.clone(),
                    directory: directory.clone(),
                    body: match body {
                        Body::Ready(body) => body,
                        Body::Session(make) => make(session.clone()),
                    },
                })
            })
            .collect();
        self.clock = seq;
        self.log.extend(events.iter().cloned());
        self.sessions.insert(commit.session_id, record);
        for project in projects {
            self.projects.insert(project.row.id.clone(), project);
        }
        for profile in profiles {
            self.profiles.insert(profile.name.clone(), profile);
        }
        Ok(Committed {
            events,
            session: Some(session),
        })
    }
}

impl State {
    fn purge(&mut self, session: Session) -> StoreResult<Committed> {
        rules::check_purge(&session)?;
        self.log.retain(|event| event.session_id != session.id);
        self.sessions.remove(&session.id);
        Ok(Committed {
            events: Arc::new([]),
            session: Some(Arc::new(session)),
        })
    }
}

impl<'a> Work<'a> {
    fn begin(state: &'a State, commit: &'a Commit) -> StoreResult<Self> {
        rules::check(commit)?;
        let stored = state.sessions.get(&commit.session_id);
        let (record, created) = match (stored, commit.changes.first()) {
            (Some(record), Some(Change::CreateSession { session, .. })) => {
                rules::check_fence(record.epoch, commit.fence)?;
                return Err(rules::exists(EntityKind::Session, session.id.as_str()));
            }
            (Some(record), _) => {
                rules::check_fence(record.epoch, commit.fence)?;
                (record.clone(), false)
            }
            (
                None,
                Some(Change::CreateSession {
                    session,
                    idempotency,
                }),
            ) => (
                Record::new(session.as_ref().clone(), idempotency.clone()),
                true,
            ),
            (None, _) => {
                return Err(rules::missing(
                    EntityKind::Session,
                    commit.session_id.as_str(),
                ));
            }
        };
        Ok(Self {
            state,
            commit,
            record,
            created,
            row_changed: false,
            bodies: Vec::new(),
            projects: Vec::new(),
            profiles: Vec::new(),
        })
    }

    fn check_requirements(&self) -> StoreResult<()> {
        let session = &self.record.session;
        for require in &self.commit.require {
            let holds = match require {
                Require::Revision(revision) => !self.created && session.revision == *revision,
                Require::MessageAbsent(id) => self.state.message_owner(id).is_none(),
                Require::MessagePresent(id) => self.record.messages.contains_key(id),
                Require::NotDeleted => self.created || session.deleted_at.is_none(),
            };
            if !holds {
                return Err(StoreError::Precondition(require.clone()));
            }
        }
        Ok(())
    }

    /// The event that the change being applied will give.
    fn next_seq(&self) -> Seq {
        Seq(self.state.last_seq().0 + self.bodies.len() as u64 + 1)
    }

    fn emit(&mut self, body: EventBody) {
        self.bodies.push(Body::Ready(body));
    }

    fn emit_session(&mut self, make: fn(Arc<Session>) -> EventBody) {
        self.record.mark.newest = self.next_seq();
        self.bodies.push(Body::Session(make));
    }

    fn apply(&mut self, change: &Change) -> StoreResult<()> {
        let at = self.commit.at;
        match change {
            Change::CreateSession {
                session,
                idempotency,
            } => {
                self.create(session, idempotency.as_ref())?;
            }
            Change::UpdateSession(patch) => {
                patch.apply(&mut self.record.session, at);
                self.row_changed = true;
                self.emit_session(EventBody::SessionUpdated);
            }
            Change::SetStatus(status) => {
                self.record.session.status = status.clone();
                self.record.status_mark.newest = self.next_seq();
                self.row_changed = true;
                self.emit(EventBody::StatusChanged(status.clone()));
            }
            Change::TrashSession => {
                rules::trash(&mut self.record.session, at);
                self.row_changed = true;
                self.emit_session(EventBody::SessionDeleted);
            }
            Change::RestoreSession => {
                self.record.session.deleted_at = None;
                self.row_changed = true;
                self.emit_session(EventBody::SessionCreated);
            }
            Change::PutMessage(message) => self.put_message(message)?,
            Change::RemoveMessage(id) => self.remove_message(id),
            Change::PutPart(part) => {
                let seq = self.next_seq();
                self.put_part(part, Some(seq))?;
                self.emit(EventBody::PartUpdated(Arc::new(part.clone())));
            }
            Change::CheckpointPart(part) => self.put_part(part, None)?,
            Change::RemovePart {
                message_id,
                part_id,
            } => self.remove_part(message_id, part_id),
            // Alone in its commit, and done before.
            Change::PurgeSession => {}
            Change::SetTodos { todos, turn_id } => {
                self.record.todos.clone_from(todos);
                if let Some(turn) = turn_id
                    && self.record.turns.iter().any(|t| t.row.id == *turn)
                {
                    let versions = &mut self.record.todo_versions;
                    versions.insert(turn.clone(), todos.clone());
                }
                self.record.todos_mark.newest = self.next_seq();
                self.emit(EventBody::TodosUpdated(Arc::new(todos.clone())));
            }
            Change::AskPermission(permission) => {
                if self.state.find_permission(&permission.id).is_some()
                    || self
                        .record
                        .permissions
                        .iter()
                        .any(|p| p.row.id == permission.id)
                {
                    return Err(rules::exists(
                        EntityKind::Permission,
                        permission.id.as_str(),
                    ));
                }
                let row = self.new_row(permission.clone());
                self.record.permissions.push(row);
                self.emit(EventBody::PermissionAsked(Arc::new(permission.clone())));
            }
            Change::ResolvePermission { id, outcome } => {
                let seq = self.next_seq();
                let mut rows = self.record.permissions.iter_mut();
                let row = rows
                    .find(|p| p.row.id == *id)
                    .ok_or_else(|| rules::missing(EntityKind::Permission, id.as_str()))?;
                rules::resolve_permission(&mut row.row, outcome)?;
                row.mark.newest = seq;
                let ended = Arc::new(row.row.clone());
                self.emit(EventBody::PermissionResolved(ended));
            }
            Change::AskQuestion(question) => {
                if self.state.find_question(&question.id).is_some()
                    || self
                        .record
                        .questions
                        .iter()
                        .any(|q| q.row.id == question.id)
                {
                    return Err(rules::exists(EntityKind::Question, question.id.as_str()));
                }
                let row = self.new_row(question.clone());
                self.record.questions.push(row);
                self.emit(EventBody::QuestionAsked(Arc::new(question.clone())));
            }
            Change::ResolveQuestion { id, outcome } => {
                let seq = self.next_seq();
                let mut rows = self.record.questions.iter_mut();
                let row = rows
                    .find(|q| q.row.id == *id)
                    .ok_or_else(|| rules::missing(EntityKind::Question, id.as_str()))?;
                rules::resolve_question(&mut row.row, outcome)?;
                row.mark.newest = seq;
                let ended = Arc::new(row.row.clone());
                self.emit(EventBody::QuestionResolved(ended));
            }
            Change::PutTurn(turn) => self.put_turn(turn)?,
            Change::RemoveTurn(id) => {
                let turns = &mut self.record.turns;
                if let Some(at) = turns.iter().position(|t| t.row.id == *id) {
                    rules::check_removable(&turns[at].row)?;
                    turns.remove(at);
                    self.record.files.remove(id);
                    self.record.todo_versions.remove(id);
                }
            }
            Change::BindAgent(binding) => {
                self.record.binding = Some(binding.clone());
                self.record.binding_mark.newest = self.next_seq();
                self.emit(EventBody::AgentBound(Arc::new(binding.clone())));
            }
            Change::PutProfile(profile) => self.profiles.push(profile.clone()),
            Change::PutProject(project) => self.put_project(project),
            Change::RecordUsage(usage) => self.record.usage.push(usage.clone()),
            Change::SetFileChanges { turn_id, files } => {
                if !self.record.turns.iter().any(|t| t.row.id == *turn_id) {
                    return Err(rules::missing(EntityKind::Turn, turn_id.as_str()));
                }
                self.record.files.insert(turn_id.clone(), files.clone());
            }
            Change::SetRestore(restore) => self.record.restore = restore.as_deref().cloned(),
            Change::SetShare(share) => self.record.share = share.as_deref().cloned(),
            Change::NoteShareAccess(at) => {
                if let Some(share) = &mut self.record.share {
                    share.accessed_at = share.accessed_at.max(Some(*at));
                }
            }
            Change::ReportError(error) => self.emit(EventBody::SessionError(error.clone())),
            Change::RaiseIdFloor(stamp) => {
                self.record.id_floor = rules::raise(self.record.id_floor, *stamp);
            }
        }
        Ok(())
    }

    fn new_row<T>(&self, row: T) -> Row<T> {
        let seq = self.next_seq();
        Row {
            row,
            mark: RowMark {
                created: seq,
                newest: seq,
            },
        }
    }

    fn create(&mut self, session: &Session, key: Option<&(String, String)>) -> StoreResult<()> {
        if let Some((key, _)) = key
            && let Some((owner, _)) = self.state.by_key(key)
        {
            return Err(rules::key_used(key, &owner));
        }
        if let Some(parent) = &session.parent_id
            && !self.state.sessions.contains_key(parent)
        {
            return Err(rules::missing(EntityKind::Session, parent.as_str()));
        }
        self.record.mark.created = self.next_seq();
        self.emit_session(EventBody::SessionCreated);
        Ok(())
    }

    fn put_message(&mut self, message: &Message) -> StoreResult<()> {
        let seq = self.next_seq();
        if let Some(stored) = self.record.messages.get_mut(&message.id) {
            let stored = Arc::make_mut(stored);
            stored.message = message.clone();
            stored.mark.newest = seq;
        } else {
            match self.state.message_owner(&message.id) {
                Some(owner) if *owner != self.commit.session_id => {
                    return Err(rules::owned(
                        EntityKind::Message,
                        message.id.as_str(),
                        owner,
                    ));
                }
                _ => {}
            }
            self.record.last_position += 1;
            let record = MessageRecord {
                message: message.clone(),
                position: self.record.last_position,
                mark: RowMark {
                    created: seq,
                    newest: seq,
                },
                parts: Default::default(),
            };
            let id = message.id.clone();
            self.record.messages.insert(id, Arc::new(record));
        }
        self.record.id_floor = rules::floor_after_message(self.record.id_floor, message);
        self.record.last_message_at = self.record.last_message_at.max(message.info.created());
        self.emit(EventBody::MessageUpdated(Arc::new(message.clone())));
        Ok(())
    }

    fn remove_message(&mut self, id: &MessageId) {
        if let Some(removed) = self.record.messages.remove(id) {
            for part in removed.parts.values() {
                self.row_changed |=
                    rules::move_totals(&mut self.record.session, Some(&part.row.body), None);
            }
        }
        self.emit(EventBody::MessageRemoved {
            message_id: id.clone(),
        });
    }

    fn put_part(&mut self, part: &Part, event: Option<Seq>) -> StoreResult<()> {
        if !self.record.messages.contains_key(&part.message_id) {
            return Err(rules::missing(
                EntityKind::Message,
                part.message_id.as_str(),
            ));
        }
        let this = &self.commit.session_id;
        let elsewhere = (self.record.messages.values())
            .any(|m| m.message.id != part.message_id && m.parts.contains_key(&part.id));
        if elsewhere {
            return Err(rules::part_taken(part.id.as_str(), this, this));
        }
        match self.state.part_owner(&part.id) {
            Some(owner) if owner != this => {
                return Err(rules::part_taken(part.id.as_str(), owner, this));
            }
            _ => {}
        }
        let Some(message) = self.record.messages.get_mut(&part.message_id) else {
            return Ok(());
        };
        let parts = &mut Arc::make_mut(message).parts;
        let old = parts.get(&part.id);
        self.row_changed |= rules::move_totals(
            &mut self.record.session,
            old.map(|p| &p.row.body),
            Some(&part.body),
        );
        let newest = event.or(old.map(|p| p.mark.newest)).unwrap_or_default();
        let row = Row {
            row: part.clone(),
            mark: RowMark {
                created: newest,
                newest,
            },
        };
        parts.insert(part.id.clone(), row);
        self.record.id_floor = rules::floor_after_part(self.record.id_floor, part);
        Ok(())
    }

    fn remove_part(&mut self, message_id: &MessageId, part_id: &PartId) {
        if let Some(message) = self.record.messages.get_mut(message_id)
            && let Some(removed) = Arc::make_mut(message).parts.remove(part_id)
        {
            self.row_changed |=
                rules::move_totals(&mut self.record.session, Some(&removed.row.body), None);
        }
        self.emit(EventBody::PartRemoved {
            message_id: message_id.clone(),
            part_id: part_id.clone(),
        });
    }

    fn put_turn(&mut self, turn: &Turn) -> StoreResult<()> {
        match self.state.find_turn(&turn.id) {
            Some(stored) if stored.session_id != turn.session_id => {
                return Err(rules::owned(
                    EntityKind::Turn,
                    turn.id.as_str(),
                    &stored.session_id,
                ));
            }
            _ => {}
        }
        if let Some(key) = &turn.idempotency_key
            && (self.record.turns.iter())
                .any(|t| t.row.id != turn.id && t.row.idempotency_key.as_ref() == Some(key))
        {
            return Err(rules::key_used(key, &self.commit.session_id));
        }
        let seq = self.next_seq();
        if let Some(stored) = self.record.turns.iter_mut().find(|t| t.row.id == turn.id) {
            rules::replace_turn(&stored.row, turn)?;
            stored.row = turn.clone();
            stored.mark.newest = seq;
        } else {
            let row = self.new_row(turn.clone());
            self.record.turns.push(row);
        }
        self.emit(EventBody::TurnUpdated(Arc::new(turn.clone())));
        Ok(())
    }

    fn current_project(&self, id: &ProjectId) -> Option<&Project> {
        let mut pending = self.projects.iter().rev().map(|r| &r.row);
        pending
            .find(|p| p.id == *id)
            .or_else(|| self.state.projects.get(id).map(|r| &r.row))
    }

    fn put_project(&mut self, project: &Project) {
        if self.current_project(&project.id) == Some(project) {
            return;
        }
        let row = self.new_row(project.clone());
        self.projects.push(row);
        self.emit(EventBody::ProjectUpdated(Arc::new(project.clone())));
    }
}
