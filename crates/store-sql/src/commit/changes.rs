//! Every change, by its kind.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sessiond_model::{
    AgentBinding, Change, EventBody, Permission, PermissionOutcome, Project, Question,
    QuestionOutcome, RestorePhase, Turn, TurnId,
};
use sessiond_store::{EntityKind, StoreResult, rules};

use super::{Dirty, Work};
use crate::op::{Tx, first};
use crate::row::to_json;
use crate::sql;

/// `ask.kind` of a permission request.
pub(crate) const ASK_PERMISSION: i64 = 1;
/// `ask.kind` of a question.
pub(crate) const ASK_QUESTION: i64 = 2;

impl<T: Tx> Work<'_, T> {
    pub(super) async fn apply(&mut self, change: &Change) -> StoreResult<()> {
        match change {
            Change::CreateSession {
                session,
                idempotency,
            } => {
                self.create(session, idempotency.as_ref()).await?;
                self.emit_session(EventBody::SessionCreated);
            }
            Change::UpdateSession(patch) => {
                self.patch(patch);
                self.emit_session(EventBody::SessionUpdated);
            }
            Change::SetStatus(status) => {
                self.head.session.status = status.clone();
                self.head.status_seq = self.next_seq();
                self.mark(Dirty::Row);
                self.emit(0, EventBody::StatusChanged(status.clone()));
            }
            Change::TrashSession => {
                rules::trash(&mut self.head.session, self.commit.at);
                self.mark(Dirty::Row);
                self.emit_session(EventBody::SessionDeleted);
            }
            Change::RestoreSession => {
                self.head.session.deleted_at = None;
                self.mark(Dirty::Row);
                self.emit_session(EventBody::SessionCreated);
            }
            // Alone in its commit, and done before.
            Change::PurgeSession => {}
            Change::PutMessage(message) => self.put_message(message).await?,
            Change::RemoveMessage(id) => self.remove_message(id).await?,
            Change::PutPart(part) => {
                let pid = self.put_part(part, Some(self.next_seq())).await?;
                self.emit(pid, EventBody::PartUpdated(Arc::new(part.clone())));
            }
            Change::CheckpointPart(part) => {
                self.put_part(part, None).await?;
            }
            Change::RemovePart {
                message_id,
                part_id,
            } => self.remove_part(message_id, part_id).await?,
            Change::SetTodos { todos, turn_id } => {
                let doc = to_json(todos)?;
                let args = [
                    self.head.sid.into(),
                    turn_id.as_ref().map(|t| t.as_str()).into(),
                    self.next_seq().into(),
                    (&doc).into(),
                ];
                self.tx.execute(sql::TODO_PUT, &args).await?;
                if let Some(turn) = turn_id
                    && let Some(tid) = self.own_turn(turn).await?
                {
                    let args = [tid.into(), self.head.sid.into(), (&doc).into()];
                    self.tx.execute(sql::TODO_VERSION_PUT, &args).await?;
                }
                self.emit(0, EventBody::TodosUpdated(Arc::new(todos.clone())));
            }
            Change::AskPermission(ask) => {
                let (id, pending) = (ask.id.as_str(), ask.outcome.is_none());
                let kind = (ASK_PERMISSION, EntityKind::Permission);
                let aid = self.insert_ask(kind, id, pending, ask).await?;
                self.emit(aid, EventBody::PermissionAsked(Arc::new(ask.clone())));
            }
            Change::ResolvePermission { id, outcome } => {
                self.resolve_permission(id.as_str(), outcome).await?;
            }
            Change::AskQuestion(ask) => {
                let (id, pending) = (ask.id.as_str(), ask.outcome.is_none());
                let kind = (ASK_QUESTION, EntityKind::Question);
                let aid = self.insert_ask(kind, id, pending, ask).await?;
                self.emit(aid, EventBody::QuestionAsked(Arc::new(ask.clone())));
            }
            Change::ResolveQuestion { id, outcome } => {
                self.resolve_question(id.as_str(), outcome).await?;
            }
            Change::PutTurn(turn) => self.put_turn(turn).await?,
            Change::RemoveTurn(id) => self.remove_turn(id).await?,
            Change::BindAgent(binding) => self.bind(binding).await?,
            Change::PutProfile(profile) => {
                let doc = to_json(profile)?;
                let args = [(&profile.name).into(), (&doc).into()];
                self.tx.execute(sql::PROFILE_PUT, &args).await?;
            }
            Change::PutProject(project) => self.put_project(project).await?,
            Change::RecordUsage(usage) => {
                let doc = to_json(usage)?;
                let args = [self.head.sid.into(), (&doc).into()];
                self.tx.execute(sql::USAGE_INSERT, &args).await?;
            }
            Change::SetFileChanges { turn_id, files } => {
                let Some(tid) = self.own_turn(turn_id).await? else {
                    return Err(rules::missing(EntityKind::Turn, turn_id.as_str()));
                };
                let doc = to_json(files)?;
                let args = [tid.into(), (&doc).into()];
                self.tx.execute(sql::FILES_PUT, &args).await?;
            }
            Change::SetRestore(None) => {
                let args = [self.head.sid.into()];
                self.tx.execute(sql::RESTORE_DELETE, &args).await?;
            }
            Change::SetRestore(Some(restore)) => {
                let doc = to_json(restore)?;
                let pending = i64::from(restore.phase == RestorePhase::Pending);
                let args = [self.head.sid.into(), pending.into(), (&doc).into()];
                self.tx.execute(sql::RESTORE_PUT, &args).await?;
            }
            Change::SetShare(None) => {
                let args = [self.head.sid.into()];
                self.tx.execute(sql::SHARE_DELETE, &args).await?;
            }
            Change::SetShare(Some(share)) => {
                let doc = to_json(share)?;
                let args = [
                    self.head.sid.into(),
                    (&share.token_hash).into(),
                    share.accessed_at.map(|t| t.millis()).into(),
                    (&doc).into(),
                ];
                self.tx.execute(sql::SHARE_PUT, &args).await?;
            }
            Change::NoteShareAccess(at) => {
                let args = [self.head.sid.into(), at.millis().into()];
                self.tx.execute(sql::SHARE_NOTE, &args).await?;
            }
            Change::ReportError(error) => {
                self.emit_fact(error, EventBody::SessionError(error.clone()))?;
            }
            Change::RaiseIdFloor(stamp) => {
                self.head.id_floor = rules::raise(self.head.id_floor, *stamp);
            }
        }
        Ok(())
    }

    /// The key of a turn of this session.
    async fn own_turn(&mut self, id: &TurnId) -> StoreResult<Option<i64>> {
        let row = first(self.tx, sql::TURN_KEY, &[id.as_str().into()]).await?;
        let key = row.map(|mut row| (row.int(), row.int()));
        Ok(key.and_then(|(tid, sid)| (sid == self.head.sid).then_some(tid)))
    }

    async fn insert_ask<A: Serialize + Sync>(
        &mut self,
        (kind, entity): (i64, EntityKind),
        id: &str,
        pending: bool,
        ask: &A,
    ) -> StoreResult<i64> {
        if first(self.tx, sql::ASK_KEY, &[id.into()]).await?.is_some() {
            return Err(rules::exists(entity, id));
        }
        let doc = to_json(ask)?;
        let args = [
            self.head.sid.into(),
            kind.into(),
            id.into(),
            i64::from(pending).into(),
            self.next_seq().into(),
            (&doc).into(),
        ];
        self.tx.insert(sql::ASK_INSERT, "aid", &args).await
    }

    /// A request of this session and its key.
    async fn own_ask<A: DeserializeOwned>(
        &mut self,
        entity: EntityKind,
        id: &str,
    ) -> StoreResult<(i64, A)> {
        let row = first(self.tx, sql::ASK_KEY, &[id.into()]).await?;
        let found = row.and_then(|mut row| {
            let (aid, sid, ask) = (row.int(), row.int(), row.json::<A>()?);
            (sid == self.head.sid).then_some((aid, ask))
        });
        found.ok_or_else(|| rules::missing(entity, id))
    }

    async fn update_ask<A: Serialize + Sync>(&mut self, aid: i64, ask: &A) -> StoreResult<()> {
        let doc = to_json(ask)?;
        let args = [aid.into(), self.next_seq().into(), (&doc).into()];
        self.tx.execute(sql::ASK_UPDATE, &args).await
    }

    async fn resolve_permission(
        &mut self,
        id: &str,
        outcome: &PermissionOutcome,
    ) -> StoreResult<()> {
        let (aid, mut ask): (_, Permission) = self.own_ask(EntityKind::Permission, id).await?;
        rules::resolve_permission(&mut ask, outcome)?;
        self.update_ask(aid, &ask).await?;
        self.emit(aid, EventBody::PermissionResolved(Arc::new(ask)));
        Ok(())
    }

    async fn resolve_question(&mut self, id: &str, outcome: &QuestionOutcome) -> StoreResult<()> {
        let (aid, mut ask): (_, Question) = self.own_ask(EntityKind::Question, id).await?;
        rules::resolve_question(&mut ask, outcome)?;
        self.update_ask(aid, &ask).await?;
        self.emit(aid, EventBody::QuestionResolved(Arc::new(ask)));
        Ok(())
    }

    async fn remove_turn(&mut self, id: &TurnId) -> StoreResult<()> {
        let Some(mut row) = first(self.tx, sql::TURN_KEY, &[id.as_str().into()]).await? else {
            return Ok(());
        };
        let (tid, sid) = (row.int(), row.int());
        if sid != self.head.sid {
            return Ok(());
        }
        if let Some(turn) = row.json::<Turn>() {
            rules::check_removable(&turn)?;
        }
        for delete in sql::TURN_DELETE {
            self.tx.execute(delete, &[tid.into()]).await?;
        }
        Ok(())
    }

    async fn put_turn(&mut self, turn: &Turn) -> StoreResult<()> {
        let id = turn.id.as_str();
        let mut stored = None;
        if let Some(mut row) = first(self.tx, sql::TURN_KEY, &[id.into()]).await? {
            let (tid, sid) = (row.int(), row.int());
            if sid != self.head.sid {
                let owner = self.session_id(sid).await?;
                return Err(rules::owned(EntityKind::Turn, id, &owner));
            }
            stored = Some((tid, row.json::<Turn>()));
        }
        if let Some(key) = &turn.idempotency_key {
            let args = [self.head.sid.into(), key.into()];
            let holder = first(self.tx, sql::TURN_KEY_HOLDER, &args).await?;
            if holder.is_some_and(|mut row| row.text() != id) {
                return Err(rules::key_used(key, &self.commit.session_id));
            }
        }
        let doc = to_json(turn)?;
        let open = i64::from(!turn.state.is_terminal());
        let tid = match stored {
            Some((tid, old)) => {
                if let Some(old) = old {
                    rules::replace_turn(&old, turn)?;
                }
                let args = [
                    tid.into(),
                    turn.user_message_id.as_str().into(),
                    turn.idempotency_key.as_ref().into(),
                    open.into(),
                    self.next_seq().into(),
                    (&doc).into(),
                ];
                self.tx.execute(sql::TURN_UPDATE, &args).await?;
                tid
            }
            None => {
                let args = [
                    self.head.sid.into(),
                    id.into(),
                    turn.user_message_id.as_str().into(),
                    turn.idempotency_key.as_ref().into(),
                    open.into(),
                    self.next_seq().into(),
                    (&doc).into(),
                ];
                self.tx.insert(sql::TURN_INSERT, "tid", &args).await?
            }
        };
        self.emit(tid, EventBody::TurnUpdated(Arc::new(turn.clone())));
        Ok(())
    }

    async fn bind(&mut self, binding: &AgentBinding) -> StoreResult<()> {
        let doc = to_json(binding)?;
        let args = [
            self.head.sid.into(),
            i64::from(binding.may_be_alive()).into(),
            self.next_seq().into(),
            (&doc).into(),
        ];
        self.tx.execute(sql::BINDING_PUT, &args).await?;
        self.emit(0, EventBody::AgentBound(Arc::new(binding.clone())));
        Ok(())
    }

    async fn put_project(&mut self, project: &Project) -> StoreResult<()> {
        let id = project.id.as_str();
        let stored = first(self.tx, sql::PROJECT_KEY, &[id.into()]).await?;
        let stored = stored.and_then(|mut row| {
            let _key = row.int();
            row.json::<Project>()
        });
        if stored.as_ref() == Some(project) {
            return Ok(());
        }
        let doc = to_json(project)?;
        let args = [id.into(), self.next_seq().into(), (&doc).into()];
        let row = first(self.tx, sql::PROJECT_PUT, &args).await?;
        let prid = row.map_or(0, |mut row| row.int());
        self.emit(prid, EventBody::ProjectUpdated(Arc::new(project.clone())));
        Ok(())
    }
}
