//! What a session did to files, as far as it can be seen.

use std::collections::HashSet;
use std::sync::Arc;

use sessiond_model::{
    DiffSummary, FileChange, FileDiff, MessageId, Session, SessionId, Todo, Turn, TurnId,
};

use super::plan;
use crate::engine::{Inner, Result};
use crate::turn::relative;
use crate::{Engine, NoticeBody};

impl Engine {
    /// The file changes of a session, each file once, from before its first turn to after its
    /// last; of one prompt only, when one is named. What a revert hides is left out, and so is
    /// what other people wrote.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn diff(
        &self,
        id: &SessionId,
        message: Option<&MessageId>,
    ) -> Result<Vec<FileChange>> {
        let session = self.session(id).await?;
        let Some(message) = message else {
            return self.0.visible_changes(&session).await;
        };
        match self.0.store.turn_of_message(id, message).await? {
            Some(turn) => Ok(self.0.store.file_changes(&turn.id).await?),
            None => Ok(Vec::new()),
        }
    }

    /// What [`NoticeBody::DiffChanged`] would tell of a session now: for those who were not
    /// there when it was told.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn changes_now(&self, session: &Session) -> Result<Arc<[FileDiff]>> {
        self.0.shown_changes(session).await
    }
}

impl Inner {
    /// The changes of these turns, turn by turn, oldest first.
    pub(super) async fn changes_of(
        &self,
        session: &Session,
        turns: &[Turn],
    ) -> Result<Vec<Vec<FileChange>>> {
        let wanted: HashSet<&TurnId> = turns.iter().map(|t| &t.id).collect();
        let all = self.store.session_changes(&session.id).await?;
        let all = all.into_iter();
        Ok(all
            .filter(|(turn, _)| wanted.contains(turn))
            .map(|(_, files)| files)
            .collect())
    }

    async fn visible_turns(&self, session: &Session) -> Result<Vec<Vec<FileChange>>> {
        let hidden: HashSet<TurnId> = match self.present_target(session).await? {
            Some(target) => {
                let turns = self.turns_from(session, &target).await?;
                turns.into_iter().map(|t| t.id).collect()
            }
            None => HashSet::new(),
        };
        let all = self.store.session_changes(&session.id).await?.into_iter();
        Ok(all
            .filter(|(turn, _)| !hidden.contains(turn))
            .map(|(_, files)| files)
            .collect())
    }

    /// See [`Engine::diff`].
    pub(super) async fn visible_changes(&self, session: &Session) -> Result<Vec<FileChange>> {
        let merged = plan::merge(self.visible_turns(session).await?);
        Ok(self.captures.describe(&session.directory, merged).await)
    }

    /// Tells those who watch what the session changed, all in all.
    pub(crate) async fn tell_changes(&self, session: &Session) {
        match self.shown_changes(session).await {
            Ok(shown) => self.notice(session, NoticeBody::DiffChanged(shown)),
            Err(e) => {
                tracing::warn!(session = %session.id, error = %e, "the changes can't be read");
            }
        }
    }

    async fn shown_changes(&self, session: &Session) -> Result<Arc<[FileDiff]>> {
        let changes = self.visible_changes(session).await?;
        let resolving = self
            .workspaces
            .resolve(session.directory.clone(), self.clock.now());
        let root = &resolving.await.worktree;
        let shown = changes.into_iter().map(|c| FileDiff {
            file: relative(&c.diff.file, root),
            ..c.diff
        });
        Ok(shown.collect())
    }

    /// The size of what can be seen: lines of all turns, each file once.
    pub(super) async fn summary_of(&self, session: &Session) -> Result<DiffSummary> {
        let mut files = HashSet::new();
        let mut summary = DiffSummary::default();
        for change in self.visible_turns(session).await?.into_iter().flatten() {
            summary.additions += change.diff.additions;
            summary.deletions += change.diff.deletions;
            files.insert(change.diff.file);
        }
        summary.files = files.len() as u64;
        Ok(summary)
    }

    /// The todo list of a session with this marker.
    pub(super) async fn todos_seen_as(&self, session: &Session) -> Result<Vec<Todo>> {
        if session.revert.is_some() {
            return self.todos_in_sight(session).await;
        }
        match self.store.todo_versions(&session.id).await?.pop() {
            Some((_, todos)) => Ok(todos),
            None => Ok(self.store.todos(&session.id).await?),
        }
    }
}
