//! Creating, changing and deleting sessions.

use std::collections::BTreeMap;
use std::sync::Arc;

use sessiond_model::{
    Change, Health, IdStamp, Require, Session, SessionId, SessionPatch, Status, StatusKind,
    Timestamp, Tokens, rules,
};
use sessiond_store::{EntityKind, SessionHead, SessionPage, SessionQuery, StoreError};

use crate::engine::{Engine, Inner, Result};
use crate::{Created, EngineError, NewSession, NoticeBody, PromptInput, SessionUpdate, Workspace};

/// Longest title, in bytes.
const MAX_TITLE: usize = 16 * 1024;
/// Largest metadata map, in bytes of JSON.
const MAX_METADATA: usize = 256 * 1024;
/// Most permission rules of a session.
const MAX_RULES: usize = 1000;
/// Deepest tree of sessions.
const MAX_DEPTH: usize = 64;

impl Engine {
    /// Creates a session.
    ///
    /// # Errors
    /// `NotFound` for an unknown parent, `Conflict` for a taken id or a key that was used for
    /// another request, `Invalid` for a value out of bounds.
    pub async fn create_session(&self, new: NewSession) -> Result<Created> {
        let inner = &self.0;
        check_bounds(
            new.title.as_deref(),
            new.metadata.as_ref(),
            new.permission.as_deref(),
        )?;
        if let Some(replayed) = self.replayed(new.idempotency.as_ref()).await? {
            return Ok(replayed);
        }
        if let Some(parent) = &new.parent_id {
            self.check_parent(parent).await?;
        }
        let workspace = self.workspace(new.directory.as_deref()).await?;
        let mut floor = IdStamp::default();
        let id = match &new.id {
            Some(id) => id.clone(),
            None => SessionId::mint(&*inner.ids, &mut floor),
        };
        let now = inner.clock.now();
        let session = fresh(inner, &new, id.clone(), &workspace, now);
        // Rare: only the first session of a project, or of another worktree of it, has news.
        let mut editing = None;
        let mut project = inner.project_news(&workspace).await?;
        if project.is_some() {
            editing = Some(inner.project_edits.lock().await);
            project = inner.project_news(&workspace).await?;
        }
        let idempotency = new.idempotency.clone();
        let create = Change::CreateSession {
            session: Box::new(session),
            idempotency,
        };
        let changes: Vec<_> = std::iter::once(create)
            .chain(project.clone().map(Change::PutProject))
            .collect();
        let hold = inner.hold_new(&id);
        let committed = inner.submit(&hold, Vec::new(), changes).await;
        if let (Ok(_), Some(project)) = (&committed, project) {
            inner.projects.lock().insert(project.id.clone(), project);
        }
        drop(editing);
        match committed {
            Ok(committed) => {
                let session = committed
                    .session
                    .ok_or_else(|| EngineError::Internal("a creation without a session".into()))?;
                inner.live.insert(
                    &SessionHead {
                        session: Session::clone(&session),
                        last_seq: sessiond_model::SessionSeq(1),
                        id_floor: IdStamp::default(),
                        last_message_at: Timestamp(0),
                    },
                    hold,
                );
                inner.note_directory(&session.directory).await;
                Ok(Created {
                    session,
                    replayed: false,
                })
            }
            // Two requests with one key at the same time: the other one was first.
            Err(StoreError::Conflict {
                kind: EntityKind::IdempotencyKey,
                ..
            }) => {
                let replayed = self.replayed(new.idempotency.as_ref()).await?;
                replayed
                    .ok_or_else(|| EngineError::Internal("a key that is taken by nobody".into()))
            }
            Err(e) => Err(e.into()),
        }
    }

    /// The session that an earlier request with this key (and digest) made.
    pub(crate) async fn replayed(&self, key: Option<&(String, String)>) -> Result<Option<Created>> {
        let Some((key, digest)) = key else {
            return Ok(None);
        };
        let Some((id, first)) = self.0.store.session_by_key(key).await? else {
            return Ok(None);
        };
        if first != *digest {
            return Err(key_misused(key));
        }
        Ok(Some(Created {
            session: Arc::new(self.session(&id).await?),
            replayed: true,
        }))
    }

    async fn check_parent(&self, parent: &SessionId) -> Result<()> {
        let mut at = self.session(parent).await?;
        for _ in 0..MAX_DEPTH {
            let Some(next) = &at.parent_id else {
                return Ok(());
            };
            match self.0.store.session(next).await? {
                Some(session) => at = session,
                None => return Ok(()),
            }
        }
        Err(EngineError::invalid(
            "parent_id",
            format!("Expected a tree of at most {MAX_DEPTH} levels"),
        ))
    }

    /// A session that is not in the trash.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn session(&self, id: &SessionId) -> Result<Session> {
        self.0
            .store
            .session(id)
            .await?
            .filter(|s| s.deleted_at.is_none())
            .ok_or_else(|| EngineError::not_found(EntityKind::Session, id))
    }

    /// Sessions by filter.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn sessions(&self, query: &SessionQuery) -> Result<SessionPage> {
        Ok(self.0.store.sessions(query).await?)
    }

    /// Status of all sessions that are not idle (busy or error), of one directory or all.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn statuses(&self, directory: Option<&str>) -> Result<BTreeMap<SessionId, Status>> {
        let query = SessionQuery {
            directory: directory.map(str::to_owned),
            status: Some(vec![StatusKind::Busy, StatusKind::Error]),
            ..SessionQuery::default()
        };
        let page = self.0.store.sessions(&query).await?;
        Ok(page
            .sessions
            .into_iter()
            .map(|s| (s.id, s.status))
            .collect())
    }

    /// Updates a session.
    ///
    /// # Errors
    /// `NotFound`, `Changed` when `if_revision` does not hold, `Invalid` for a value out of
    /// bounds, an agent or a model that is not known.
    pub async fn update_session(
        &self,
        id: &SessionId,
        update: SessionUpdate,
    ) -> Result<Arc<Session>> {
        let rules = update
            .permission
            .as_deref()
            .or(update.permission_append.as_deref());
        check_bounds(update.title.as_deref(), update.metadata.as_ref(), rules)?;
        let is_switch = update.agent.is_some() || update.model.is_some();
        if is_switch {
            let asked = PromptInput {
                agent: update.agent.clone(),
                model: update.model.clone(),
                ..PromptInput::default()
            };
            self.0.options(&self.session(id).await?, &asked, false)?;
        }
        let archived_at = match update.archived_at {
            // Taken out of an archive that it is not in: no change.
            Some(None) if self.session(id).await?.archived_at.is_none() => None,
            other => other,
        };
        // Clients show sessions by their last activity; a new title is none.
        let touch = update.metadata.is_some()
            || update.permission.is_some()
            || update.permission_append.is_some()
            || is_switch;
        let switched = NoticeBody::Switched {
            agent: update.agent.clone(),
            model: update.model.clone(),
        };
        let patch = SessionPatch {
            title: update.title,
            metadata: update.metadata,
            permission_append: update.permission_append,
            permission: update.permission,
            agent: update.agent,
            model: update.model,
            archived_at,
            touch,
            ..SessionPatch::default()
        };
        let mut require = vec![Require::NotDeleted];
        require.extend(update.if_revision.map(Require::Revision));
        let is_nothing = patch == SessionPatch::default();
        if is_nothing {
            let session = self.session(id).await?;
            if let Some(expected) = update.if_revision.filter(|r| *r != session.revision) {
                return Err(EngineError::Changed { expected });
            }
            return Ok(Arc::new(session));
        }
        let hold = self.0.hold(id).await?;
        let committed = match self
            .0
            .submit(&hold, require, vec![Change::UpdateSession(patch)])
            .await
        {
            Err(StoreError::Precondition(Require::NotDeleted)) => {
                return Err(EngineError::not_found(EntityKind::Session, id));
            }
            other => other?,
        };
        let Some(session) = committed.session else {
            return Err(EngineError::Internal("an update without a session".into()));
        };
        if is_switch {
            self.0.notice(&session, switched);
        }
        Ok(session)
    }

    /// Child sessions, oldest first.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn children(&self, id: &SessionId) -> Result<Vec<Session>> {
        self.session(id).await?;
        let query = SessionQuery {
            parent_id: Some(id.clone()),
            ..SessionQuery::default()
        };
        let mut children = self.0.store.sessions(&query).await?.sessions;
        children.sort_by(|a, b| (a.created_at, &b.id).cmp(&(b.created_at, &a.id)));
        Ok(children)
    }
}

fn fresh(
    inner: &Inner,
    new: &NewSession,
    id: SessionId,
    workspace: &Workspace,
    now: Timestamp,
) -> Session {
    Session {
        slug: fresh_slug(inner),
        id,
        project_id: workspace.project.id.clone(),
        directory: workspace.directory.clone(),
        path: Some(workspace.path.clone()),
        parent_id: new.parent_id.clone(),
        fork: None,
        title: new
            .title
            .clone()
            .unwrap_or_else(|| rules::default_title(new.parent_id.is_some(), now)),
        version: inner.config.version.clone(),
        agent: new.agent.clone(),
        model: new.model.clone(),
        metadata: new.metadata.clone(),
        permission: new.permission.clone(),
        revert: None,
        summary: None,
        share_url: None,
        created_at: now,
        updated_at: now,
        archived_at: None,
        deleted_at: None,
        status: Status::idle(now),
        cost: 0.0,
        tokens: Tokens::default(),
        health: Health::Ok,
        revision: 1,
    }
}

pub(crate) fn fresh_slug(inner: &Inner) -> String {
    let stamp = inner.ids.stamp(IdStamp::default()).bits();
    rules::slug(stamp.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20)
}

pub(crate) fn check_bounds(
    title: Option<&str>,
    metadata: Option<&serde_json::Map<String, serde_json::Value>>,
    rules: Option<&[sessiond_model::PermissionRule]>,
) -> Result<()> {
    if title.is_some_and(|t| t.len() > MAX_TITLE) {
        return Err(EngineError::invalid(
            "title",
            format!("Expected at most {MAX_TITLE} bytes"),
        ));
    }
    if let Some(metadata) = metadata {
        let size = serde_json::to_string(metadata).map_or(0, |s| s.len());
        if size > MAX_METADATA {
            let reason = format!("Expected at most {MAX_METADATA} bytes of JSON, got {size}");
            return Err(EngineError::invalid("metadata", reason));
        }
    }
    if rules.is_some_and(|r| r.len() > MAX_RULES) {
        return Err(EngineError::invalid(
            "permission",
            format!("Expected at most {MAX_RULES} rules"),
        ));
    }
    Ok(())
}

pub(crate) fn key_misused(key: &str) -> EngineError {
    EngineError::Conflict {
        kind: EntityKind::IdempotencyKey,
        id: key.to_owned(),
        owner: None,
        reason: "this key was used before for another request".into(),
    }
}
