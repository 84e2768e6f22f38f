//! Projects: what is known of them, and what people say of them.

use std::sync::Arc;

use sessiond_model::{Change, Project, ProjectCommands, ProjectIcon, ProjectId};
use sessiond_store::{EntityKind, SessionQuery};

use crate::engine::{Engine, Inner, Result};
use crate::{EngineError, ProjectUpdate, Workspace};

/// Longest name, colour and start command, in bytes.
const MAX_TEXT: usize = 16 * 1024;
/// Longest address of an icon, in bytes: it may be the image itself.
const MAX_ICON: usize = 256 * 1024;

impl Engine {
    /// Known projects (those with sessions) by id.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn projects(&self) -> Result<Vec<Project>> {
        Ok(self.0.store.projects().await?)
    }

    /// One project.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn project(&self, id: &ProjectId) -> Result<Project> {
        self.0
            .store
            .project(id)
            .await?
            .ok_or_else(|| EngineError::not_found(EntityKind::Project, id))
    }

    /// The project of a directory: as it is stored, or as it would be with a first session.
    ///
    /// # Errors
    /// When the directory can't be a path, or the store can't be read.
    pub async fn project_of(&self, directory: Option<&str>) -> Result<Project> {
        let seen = &self.workspace(directory).await?.project;
        let stored = self.0.store.project(&seen.id).await?;
        Ok(stored.unwrap_or_else(|| seen.clone()))
    }

    /// Updates a project.
    ///
    /// # Errors
    /// `NotFound` for a project without sessions; `Invalid` for a value out of bounds.
    pub async fn update_project(&self, id: &ProjectId, update: ProjectUpdate) -> Result<Project> {
        check_bounds(&update)?;
        let inner = &self.0;
        let _editing = inner.project_edits.lock().await;
        let before = self.project(id).await?;
        let mut project = before.clone();
        apply(&mut project, update);
        if project == before {
            return Ok(before);
        }
        project.updated_at = inner.clock.now();
        // Every commit is one of a session: the newest of the project carries it.
        let mut query = SessionQuery {
            project_id: Some(id.clone()),
            limit: Some(1),
            ..SessionQuery::default()
        };
        let mut newest = inner.store.sessions(&query).await?.sessions.pop();
        if newest.is_none() {
            query.trashed = true;
            newest = inner.store.sessions(&query).await?.sessions.pop();
        }
        let carrier = newest.ok_or_else(|| EngineError::not_found(EntityKind::Project, id))?;
        let change = Change::PutProject(project.clone());
        let hold = inner.hold(&carrier.id).await?;
        inner.submit(&hold, Vec::new(), vec![change]).await?;
        inner.projects.lock().insert(id.clone(), project.clone());
        Ok(project)
    }

    /// Makes a directory a git repository, unless it is in one; answers its project then.
    ///
    /// # Errors
    /// `Invalid` when the directory does not exist or git refuses.
    pub async fn init_git(&self, directory: Option<&str>) -> Result<Project> {
        self.0.refuse_when_stopping()?;
        let workspace = self.workspace(directory).await?;
        if workspace.project.vcs.is_none() {
            crate::workspace::init_git(&workspace.directory).await?;
            self.drop_directory(Some(&workspace.directory)).await?;
        }
        self.project_of(Some(&workspace.directory)).await
    }
}

impl Inner {
    /// The project of a workspace as it must be stored; `None` when the store has it so.
    pub(crate) async fn project_news(&self, workspace: &Workspace) -> Result<Option<Project>> {
        let seen = &workspace.project;
        // Other nodes write projects, too.
        let is_alone = self.store.leases().is_none();
        let known = (is_alone)
            .then(|| self.projects.lock().get(&seen.id).cloned())
            .flatten();
        let known = match known {
            Some(known) => known,
            None => match self.store.project(&seen.id).await? {
                Some(known) => {
                    self.projects.lock().insert(known.id.clone(), known.clone());
                    known
                }
                None => return Ok(Some(seen.clone())),
            },
        };
        if known.worktree == seen.worktree || known.sandboxes.contains(&seen.worktree) {
            return Ok(None);
        }
        let mut news = known;
        news.sandboxes.push(seen.worktree.clone());
        news.updated_at = seen.updated_at;
        Ok(Some(news))
    }

    /// Where the project of a directory is told.
    pub(crate) fn place(workspace: &Workspace) -> (Arc<str>, ProjectId) {
        (
            workspace.directory.as_str().into(),
            workspace.project.id.clone(),
        )
    }
}

fn apply(project: &mut Project, update: ProjectUpdate) {
    if let Some(name) = update.name {
        project.name = Some(name);
    }
    if let Some(icon) = update.icon {
        let known = project.icon.get_or_insert_default();
        known.url = icon.url.or(known.url.take());
        known.replacement = icon.replacement.or(known.replacement.take());
        known.color = icon.color.or(known.color.take());
        project.icon.take_if(|icon| *icon == ProjectIcon::default());
    }
    if let Some(commands) = update.commands {
        project.commands = Some(commands).filter(|c| *c != ProjectCommands::default());
    }
}

fn check_bounds(update: &ProjectUpdate) -> Result<()> {
    let icon = update.icon.as_ref();
    let texts = [
        ("name", update.name.as_ref(), MAX_TEXT),
        ("icon.url", icon.and_then(|i| i.url.as_ref()), MAX_ICON),
        (
            "icon.override",
            icon.and_then(|i| i.replacement.as_ref()),
            MAX_ICON,
        ),
        ("icon.color", icon.and_then(|i| i.color.as_ref()), MAX_TEXT),
        (
            "commands.start",
            update.commands.as_ref().and_then(|c| c.start.as_ref()),
            MAX_TEXT,
        ),
    ];
    for (field, text, most) in texts {
        if text.is_some_and(|t| t.len() > most) {
            let reason = format!("Expected at most {most} bytes");
            return Err(EngineError::invalid(field, reason));
        }
    }
    Ok(())
}
