//! Sessions that come from elsewhere.
//!
//! An import never overwrites: what is here stays as it is, and only messages that are newer than
//! all that is here are added. A session that comes in several batches is in the trash until its
//! last one is there, with a status that says why; so a crash in between leaves nothing half done
//! in sight, and the next import goes on where it stopped.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use futures::TryStreamExt as _;
use sessiond_model::{
    Change, Message, MessageDoc, MessageError, MessageId, MessageInfo, Part, Project, ProjectId,
    Require, Session, SessionId, SessionPatch, Status, StatusKind, Timestamp, Todo, TurnEnd,
    TurnFailure, rules,
};
use sessiond_store::EntityKind;

use crate::EngineError;
use crate::engine::{Engine, Inner, Result};

/// What a message says that was not finished where it came from.
const CUT_OFF: &str = "not finished when it was imported";
/// What a session in the trash says while its import is not finished.
const UNFINISHED: &str = "The import of this session was cut off; import it again to finish it";

/// A message with its parts.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportedMessage {
    /// The message.
    pub message: Message,
    /// Its parts.
    pub parts: Vec<Part>,
}

/// Some of a session that comes from elsewhere.
#[derive(Clone, Debug)]
pub struct ImportBatch {
    /// The session. Cost and tokens are added up from the steps of its messages.
    pub session: Session,
    /// Its project where it came from: taken when its directory is not here.
    pub project: Option<Project>,
    /// Messages, the oldest first, after those of earlier batches.
    pub messages: Vec<ImportedMessage>,
    /// Its todo list; taken with the last batch.
    pub todos: Option<Vec<Todo>>,
    /// Whether more batches follow.
    pub more: bool,
}

/// What an import would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportPlan {
    /// The session is not here: send all of it.
    Create,
    /// An import of it was cut off: send the messages from this one on.
    Resume {
        /// Index of the first message to send.
        first: usize,
    },
    /// It has grown where it comes from: send the messages from this one on.
    Append {
        /// Index of the first message to send.
        first: usize,
        /// How many of those are not here.
        new: usize,
    },
    /// There is nothing to do.
    Present,
    /// It can't be imported.
    Refused {
        /// Why, in a clause.
        reason: String,
    },
}

/// What a batch did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Whether the session is new here.
    pub created: bool,
    /// Messages added.
    pub added: usize,
    /// Messages that were unfinished at an earlier import and have their end now.
    pub finished: usize,
    /// What is not as it was, in sentences.
    pub notes: Vec<String>,
}

impl Engine {
    /// Says what importing a session would do. `outline` has the ids and times of creation of its
    /// messages, the oldest first.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn import_plan(
        &self,
        id: &SessionId,
        outline: &[(MessageId, Timestamp)],
    ) -> Result<ImportPlan> {
        let store = &self.0.store;
        let Some(head) = store.session_head(id).await? else {
            return Ok(ImportPlan::Create);
        };
        let unfinished = is_unfinished(&head.session);
        if head.session.deleted_at.is_some() && !unfinished {
            return Ok(refused("it is in the trash here"));
        }
        let there: HashMap<&MessageId, usize> = outline
            .iter()
            .enumerate()
            .map(|(i, (id, _))| (id, i))
            .collect();
        let (mut last, mut own, mut cut) = (None, false, None);
        let mut here = HashSet::new();
        let mut pages = std::pin::pin!(self.0.pages(id.clone()).await?);
        while let Some(page) = pages.try_next().await? {
            for doc in page {
                let at = there.get(&doc.id).copied();
                own |= at.is_none();
                last = last.max(at);
                // Only the newest can be one that is being written.
                cut = at.filter(|_| is_cut(&doc));
                here.insert(doc.id);
            }
        }
        let after = last.map_or(0, |i| i + 1);
        // What was here and was removed is not new: times and ids tell, which never go back.
        let newest = head.last_message_at;
        let is_new = |(id, created): &&(MessageId, Timestamp)| {
            let after = || id.stamp().is_some_and(|s| s.is_after(head.id_floor));
            let later = || *created > newest || (*created == newest && after());
            // Once it went on here, they don't tell any more.
            !here.contains(id) && (own || later())
        };
        let new = outline[after..].iter().filter(is_new).count();
        if unfinished {
            return Ok(ImportPlan::Resume { first: after });
        }
        Ok(match (new, cut) {
            (0, None) => ImportPlan::Present,
            (0, Some(_)) if own => ImportPlan::Present,
            _ if own => ImportPlan::Refused {
                reason: format!(
                    "it went on here, and {new} of its messages there are not here; neither is changed"
                ),
            },
            _ if head.session.revert.is_some() => refused("it is reverted here"),
            _ => ImportPlan::Append {
                first: cut.unwrap_or(after).min(after),
                new,
            },
        })
    }

    /// Imports one batch; see [`ImportPlan`] for which. Messages that are here already are left
    /// as they are, unless an earlier import found them unfinished.
    ///
    /// # Errors
    /// `Conflict` when an id belongs to another session, the session is in the trash or went on
    /// here; `Busy` while it works; `Invalid` for a value out of bounds. Nothing of the batch
    /// was written then.
    pub async fn import(&self, batch: ImportBatch) -> Result<Imported> {
        let inner = &self.0;
        inner.refuse_when_stopping()?;
        let s = &batch.session;
        crate::sessions::check_bounds(
            Some(&s.title),
            s.metadata.as_ref(),
            s.permission.as_deref(),
        )?;
        // One at a time, so that two imports of one session don't mix.
        let _alone = inner.imports.lock().await;
        let stored = inner.store.session(&s.id).await?;
        match stored {
            None => self.create_imported(batch).await,
            Some(stored) if is_unfinished(&stored) => inner.fill_imported(batch).await,
            Some(stored) if stored.deleted_at.is_some() => {
                Err(conflict(&stored.id, "it is in the trash here"))
            }
            Some(stored) if stored.revert.is_some() => {
                Err(conflict(&stored.id, "it is reverted here"))
            }
            Some(_) => inner.append_imported(batch).await,
        }
    }

    async fn create_imported(&self, batch: ImportBatch) -> Result<Imported> {
        let inner = &self.0;
        let mut notes = Vec::new();
        let mut session = batch.session;
        let at = session.updated_at;
        if let Some(parent) = &session.parent_id
            && inner.store.session(parent).await?.is_none()
        {
            notes.push(format!("{}: its parent {parent} is not here", session.id));
            session.parent_id = None;
        }
        let project = self.place(&mut session, batch.project, &mut notes).await?;
        if batch.more {
            session.deleted_at = Some(inner.clock.now());
            session.status = Status::error(at, UNFINISHED.into());
        }
        let id = session.id.clone();
        let mut changes = vec![Change::CreateSession {
            session: Box::new(session),
            idempotency: None,
        }];
        changes.extend(project.clone().map(Change::PutProject));
        let mut done = Imported {
            created: true,
            notes,
            ..Imported::default()
        };
        for message in batch.messages {
            done.added += 1;
            changes.extend(puts(closed(message, at)));
        }
        if !batch.more {
            changes.extend(todos(batch.todos));
        }
        let hold = inner.hold_new(&id);
        inner.submit(&hold, Vec::new(), changes).await?;
        if let Some(project) = project {
            inner.projects.lock().insert(project.id.clone(), project);
        }
        Ok(done)
    }

    /// Gives a session its place here; answers its project when that is news. A directory that is
    /// not here stays as it is called.
    async fn place(
        &self,
        session: &mut Session,
        project: Option<Project>,
        notes: &mut Vec<String>,
    ) -> Result<Option<Project>> {
        if Path::new(&session.directory).is_dir() {
            let workspace = self.workspace(Some(&session.directory)).await?;
            session.directory.clone_from(&workspace.directory);
            session.project_id = workspace.project.id.clone();
            session.path = Some(workspace.path.clone());
            return self.0.project_news(&workspace).await;
        }
        notes.push(format!(
            "{}: its directory {} is not here",
            session.id, session.directory
        ));
        if self.0.store.project(&session.project_id).await?.is_some() {
            return Ok(None);
        }
        let is_global = session.project_id == ProjectId::global();
        let now = self.0.clock.now();
        Ok(Some(project.unwrap_or_else(|| Project {
            id: session.project_id.clone(),
            worktree: if is_global {
                "/".into()
            } else {
                session.directory.clone()
            },
            vcs: (!is_global).then(|| "git".into()),
            name: None,
            icon: None,
            commands: None,
            sandboxes: Vec::new(),
            created_at: now,
            updated_at: now,
        })))
    }
}

impl Inner {
    /// Goes on with an import that was cut off.
    async fn fill_imported(&self, batch: ImportBatch) -> Result<Imported> {
        let (id, at) = (batch.session.id, batch.session.updated_at);
        let (mut changes, done, _) = self.news(&id, batch.messages, at).await?;
        if !batch.more {
            changes.extend(todos(batch.todos));
            changes.push(Change::SetStatus(Status::idle(at)));
            changes.push(Change::RestoreSession);
        }
        let hold = self.hold(&id).await?;
        self.submit(&hold, Vec::new(), changes).await?;
        Ok(Imported {
            created: true,
            ..done
        })
    }

    /// Adds what a session got where it comes from.
    async fn append_imported(&self, batch: ImportBatch) -> Result<Imported> {
        let (id, at) = (batch.session.id, batch.session.updated_at);
        let live = self.live(&id).await?;
        let _undo = live.undo.lock().await;
        let (mut changes, done, added) = self.news(&id, batch.messages, at).await?;
        if let Some(list) = batch.todos.filter(|_| !batch.more)
            && list != self.store.todos(&id).await?
        {
            changes.extend(todos(Some(list)));
        }
        if changes.is_empty() {
            return Ok(done);
        }
        changes.push(Change::UpdateSession(SessionPatch::touch()));
        let commit = {
            let mut head = live.head();
            if head.open_turns > 0 {
                return Err(EngineError::Busy(id));
            }
            if added
                .iter()
                .any(|(_, created)| *created < head.last_message_at)
            {
                return Err(conflict(&id, "it went on here"));
            }
            for change in &changes {
                let stamp = match change {
                    Change::PutMessage(message) => message.id.stamp(),
                    Change::PutPart(part) => part.id.stamp(),
                    _ => None,
                };
                head.floor = stamp.map_or(head.floor, |s| head.floor.max(s));
            }
            let newest = added.iter().map(|(_, created)| *created).max();
            head.last_message_at = head.last_message_at.max(newest.unwrap_or_default());
            // At the time of the source: clients list sessions by their last activity.
            self.submit_at(live.hold(), at, vec![Require::NotDeleted], changes)
        };
        commit.await?;
        Ok(done)
    }

    /// What of these messages is not here yet, or was unfinished when it came; and the new ones
    /// with their times.
    async fn news(
        &self,
        id: &SessionId,
        messages: Vec<ImportedMessage>,
        at: Timestamp,
    ) -> Result<(Vec<Change>, Imported, Vec<(MessageId, Timestamp)>)> {
        let (mut changes, mut done, mut added) = (Vec::new(), Imported::default(), Vec::new());
        for given in messages {
            let given = closed(given, at);
            match self.store.message(id, &given.message.id).await? {
                None => {
                    done.added += 1;
                    added.push((given.message.id.clone(), given.message.info.created()));
                    changes.extend(puts(given));
                }
                Some(stored) if is_cut(&stored) => {
                    let differing = differing(given, &stored);
                    done.finished += usize::from(!differing.is_empty());
                    changes.extend(differing);
                }
                Some(_) => {}
            }
        }
        Ok((changes, done, added))
    }
}

fn refused(reason: &str) -> ImportPlan {
    ImportPlan::Refused {
        reason: reason.into(),
    }
}

fn conflict(id: &SessionId, reason: &str) -> EngineError {
    EngineError::Conflict {
        kind: EntityKind::Session,
        id: id.to_string(),
        owner: None,
        reason: reason.into(),
    }
}

/// Whether more batches of this session were announced and have not come.
fn is_unfinished(session: &Session) -> bool {
    session.deleted_at.is_some()
        && session.status.kind == StatusKind::Error
        && session.status.message.as_deref() == Some(UNFINISHED)
}

/// Whether a message was unfinished when it was imported.
fn is_cut(doc: &MessageDoc) -> bool {
    let message = doc.message();
    message.is_some_and(|m| match m.info {
        MessageInfo::Assistant(info) => {
            matches!(info.error, Some(MessageError::Aborted { message }) if message == CUT_OFF)
        }
        MessageInfo::User(_) => false,
    })
}

/// Closes what was left open, as the recovery after a crash would. `at` stands for the time, so
/// that the same source gives the same again.
fn closed(mut given: ImportedMessage, at: Timestamp) -> ImportedMessage {
    for part in &mut given.parts {
        let why = format!("Tool execution aborted: {CUT_OFF}");
        if let Some(closed) = rules::close_part(part, &why, at) {
            *part = closed;
        }
    }
    if let MessageInfo::Assistant(info) = &given.message.info
        && info.time.completed.is_none()
    {
        let end = TurnEnd::Interrupted(TurnFailure {
            code: "import".into(),
            message: CUT_OFF.into(),
        });
        given.message = rules::ended_message(&given.message, &end, at);
    }
    given
}

fn puts(given: ImportedMessage) -> impl Iterator<Item = Change> {
    let parts = given.parts.into_iter().map(Change::PutPart);
    std::iter::once(Change::PutMessage(given.message)).chain(parts)
}

/// What must be written so that a stored message becomes this one.
fn differing(given: ImportedMessage, stored: &MessageDoc) -> Vec<Change> {
    let before: HashMap<_, _> = stored
        .typed_parts()
        .into_iter()
        .map(|part| (part.id.clone(), part))
        .collect();
    let same = stored.message().as_ref() == Some(&given.message);
    let message = (!same).then_some(Change::PutMessage(given.message));
    let parts = given.parts.into_iter();
    let parts = parts.filter(|part| before.get(&part.id) != Some(part));
    message
        .into_iter()
        .chain(parts.map(Change::PutPart))
        .collect()
}

fn todos(list: Option<Vec<Todo>>) -> Option<Change> {
    list.filter(|list| !list.is_empty())
        .map(|todos| Change::SetTodos {
            todos,
            turn_id: None,
        })
}
