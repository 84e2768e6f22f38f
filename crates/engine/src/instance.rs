//! What concerns a directory as a whole: news for those who look at it, and dropping what is
//! known of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::NoticeBody;
use crate::actor::Command;
use crate::engine::{Engine, Inner, Result};

impl Engine {
    /// Tells whoever listens to the events of a directory.
    ///
    /// # Errors
    /// When the directory can't be a path.
    pub async fn announce(&self, directory: Option<&str>, body: NoticeBody) -> Result<()> {
        let workspace = self.workspace(directory).await?;
        let now = self.0.clock.now();
        let place = Some(Inner::place(&workspace));
        self.0.hub.notice(None, place, now, body);
        Ok(())
    }

    /// Drops what is only remembered of a directory: what git said of it, and the agents that
    /// are without work there. Sessions stay, and so do agents that work. Whoever listens is
    /// told to look anew.
    ///
    /// # Errors
    /// When the directory can't be a path.
    pub async fn drop_directory(&self, directory: Option<&str>) -> Result<()> {
        let known = self.workspace(directory).await?;
        self.0.workspaces.forget(Some(&known.directory));
        self.0.release_agents(Some(&known.directory));
        self.announce(Some(&known.directory), NoticeBody::DirectoryDropped)
            .await
    }

    /// The same for all directories. Those that someone may look at are told one by one, too.
    ///
    /// # Errors
    /// As [`Engine::drop_directory`].
    pub async fn drop_directories(&self) -> Result<()> {
        for directory in self.0.known_directories() {
            self.drop_directory(Some(&directory)).await?;
        }
        let now = self.0.clock.now();
        self.0.hub.notice(None, None, now, NoticeBody::AllDropped);
        Ok(())
    }
}

impl Inner {
    /// The directories that someone may look at: those that were asked for lately, and those of
    /// the sessions in memory.
    pub(crate) fn known_directories(&self) -> BTreeSet<Arc<str>> {
        let live = self.live.all();
        let of_sessions = live.iter().filter_map(|l| l.known_directory());
        let asked_for = self.workspaces.remembered();
        of_sessions
            .chain(asked_for.into_iter().map(Arc::from))
            .collect()
    }

    /// Ends the agents that are without work.
    fn release_agents(&self, directory: Option<&str>) {
        for live in self.live.all() {
            let here = live.known_directory();
            if directory.is_none_or(|d| here.is_some_and(|h| *h == *d))
                && let Some(mailbox) = live.mailbox()
            {
                // One whose mailbox is full is at work.
                let _ = mailbox.try_send(Command::Release);
            }
        }
    }
}
