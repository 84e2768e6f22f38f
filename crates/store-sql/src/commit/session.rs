//! The session's own row.

use std::sync::Arc;

use sessiond_model::{Session, SessionPatch};
use sessiond_store::{Committed, EntityKind, StoreResult, rules};

use super::{Dirty, Work};
use crate::op::{Arg, Tx, first};
use crate::row::{opt_json, to_json};
use crate::sql;

impl<T: Tx> Work<'_, T> {
    pub(super) async fn create(
        &mut self,
        session: &Session,
        key: Option<&(String, String)>,
    ) -> StoreResult<()> {
        if let Some((key, _)) = key
            && let Some(mut row) = first(self.tx, sql::SESSION_BY_KEY, &[key.into()]).await?
        {
            let owner = sessiond_model::SessionId::trusted(&row.text());
            return Err(rules::key_used(key, &owner));
        }
        if let Some(parent) = &session.parent_id {
            let found = first(self.tx, sql::SESSION_SID, &[parent.as_str().into()]).await?;
            if found.is_none() {
                return Err(rules::missing(EntityKind::Session, parent.as_str()));
            }
        }
        self.insert_session(session).await?;
        if let Some((key, digest)) = key {
            let args = [key.into(), self.head.sid.into(), digest.into()];
            self.tx.execute(sql::KEY_INSERT, &args).await?;
        }
        Ok(())
    }

    async fn insert_session(&mut self, s: &Session) -> StoreResult<()> {
        let json = Columns::of(s)?;
        let fork = opt_json(s.fork.as_ref())?;
        let health = match s.health {
            sessiond_model::Health::Ok => "ok",
            sessiond_model::Health::Degraded => "degraded",
        };
        let args: [Arg<'_>; 28] = [
            s.id.as_str().into(),
            (&s.slug).into(),
            s.project_id.as_str().into(),
            (&s.directory).into(),
            s.path.as_ref().into(),
            s.parent_id.as_ref().map(|p| p.as_str()).into(),
            fork.as_ref().into(),
            (&s.title).into(),
            (&s.version).into(),
            s.agent.as_ref().into(),
            json.model.as_ref().into(),
            json.metadata.as_ref().into(),
            json.permission.as_ref().into(),
            json.revert.as_ref().into(),
            json.summary.as_ref().into(),
            s.share_url.as_ref().into(),
            s.created_at.millis().into(),
            s.updated_at.millis().into(),
            s.archived_at.map(|t| t.millis()).into(),
            s.deleted_at.map(|t| t.millis()).into(),
            s.status.kind.as_str().into(),
            s.status.since.millis().into(),
            s.status.message.as_ref().into(),
            s.cost.into(),
            (&json.tokens).into(),
            health.into(),
            s.revision.into(),
            s.fork.as_ref().map(|f| f.family().as_str()).into(),
        ];
        self.head.sid = self.tx.insert(sql::SESSION_INSERT, "sid", &args).await?;
        Ok(())
    }

    /// Removes everything of the session.
    pub(super) async fn purge(mut self) -> StoreResult<Committed> {
        rules::check_purge(&self.head.session)?;
        let sid = [self.head.sid.into()];
        let blobs = self.tx.query(sql::BLOBS_OF, &sid).await?;
        for statement in sql::PURGE {
            self.tx.execute(statement, &sid).await?;
        }
        for mut row in blobs {
            self.release(row.int()).await?;
        }
        Ok(Committed {
            events: Arc::new([]),
            session: Some(Arc::new(self.head.session)),
        })
    }

    pub(super) fn patch(&mut self, patch: &SessionPatch) {
        patch.apply(&mut self.head.session, self.commit.at);
        let dirty = if *patch == SessionPatch::touch() {
            Dirty::Touched
        } else {
            Dirty::Row
        };
        self.mark(dirty);
    }

    /// Notes that the session's row changed, and how much of it.
    pub(super) fn mark(&mut self, dirty: Dirty) {
        self.row_changed = true;
        self.dirty = self.dirty.max(dirty);
    }

    pub(super) async fn update_session(&mut self) -> StoreResult<()> {
        let head = &self.head;
        let s = &head.session;
        let tokens = to_json(&s.tokens)?;
        let moved: [Arg<'_>; 12] = [
            head.sid.into(),
            head.epoch.into(),
            head.last_seq.into(),
            head.last_position.into(),
            head.id_floor.bits().into(),
            head.last_message_at.millis().into(),
            head.row_seq.into(),
            head.status_seq.into(),
            s.cost.into(),
            (&tokens).into(),
            s.revision.into(),
            s.updated_at.millis().into(),
        ];
        match self.dirty {
            Dirty::Head => {
                self.tx
                    .execute(sql::SESSION_UPDATE_HEAD, &moved[..11])
                    .await?;
            }
            Dirty::Touched => self.tx.execute(sql::SESSION_UPDATE_TOUCH, &moved).await?,
            Dirty::Row => {
                let json = Columns::of(s)?;
                let mut args = [Arg::Null; 25];
                args[..12].copy_from_slice(&moved);
                args[12..].copy_from_slice(&[
                    (&s.title).into(),
                    s.agent.as_ref().into(),
                    json.model.as_ref().into(),
                    json.metadata.as_ref().into(),
                    json.permission.as_ref().into(),
                    json.revert.as_ref().into(),
                    json.summary.as_ref().into(),
                    s.share_url.as_ref().into(),
                    s.archived_at.map(|t| t.millis()).into(),
                    s.deleted_at.map(|t| t.millis()).into(),
                    s.status.kind.as_str().into(),
                    s.status.since.millis().into(),
                    s.status.message.as_ref().into(),
                ]);
                self.tx.execute(sql::SESSION_UPDATE, &args).await?;
            }
        }
        Ok(())
    }
}

/// The columns of a session that are JSON.
struct Columns {
    model: Option<String>,
    metadata: Option<String>,
    permission: Option<String>,
    revert: Option<String>,
    summary: Option<String>,
    tokens: String,
}

impl Columns {
    fn of(session: &Session) -> StoreResult<Self> {
        Ok(Self {
            model: opt_json(session.model.as_ref())?,
            metadata: opt_json(session.metadata.as_ref())?,
            permission: opt_json(session.permission.as_ref())?,
            revert: opt_json(session.revert.as_ref())?,
            summary: opt_json(session.summary.as_ref())?,
            tokens: to_json(&session.tokens)?,
        })
    }
}
