//! What concerns a directory as a whole: news for those who look at it, and dropping what is
//! known of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use sessiond_model::ProjectId;

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
        self.0.notify(Some(Inner::place(&workspace)), body);
        Ok(())
    }

    /// Drops what is only remembered of a directory: what git said of it, and the agents that
    /// are without work there. Sessions stay, and so do agents that work. Whoever listens is
    /// told to look anew.
    ///
    /// # Errors
    /// When the directory can't be a path.
    pub async fn drop_directory(&self, directory: Option<&str>) -> Result<()> {
        let workspace = self.workspace(directory).await?;
        self.0.drop_place(Inner::place(&workspace));
        Ok(())
    }

    /// The same for all directories. Those that someone may look at are told one by one, too.
    pub fn drop_directories(&self) {
        for place in self.0.known_places() {
            self.0.drop_place(place);
        }
        self.0.notify(None, NoticeBody::AllDropped);
    }
}

impl Inner {
    /// The directories that someone may look at: those that were asked for lately, and those of
    /// the sessions in memory.
    pub(crate) fn known_places(&self) -> BTreeMap<Arc<str>, ProjectId> {
        let asked_for = self.workspaces.remembered();
        let live = self.live.all();
        asked_for
            .iter()
            .map(|workspace| Self::place(workspace))
            .chain(live.iter().filter_map(|live| live.known_place()))
            .collect()
    }

    /// Tells whoever listens there; without a place everyone.
    pub(crate) fn notify(&self, place: Option<(Arc<str>, ProjectId)>, body: NoticeBody) {
        self.hub.notice(None, place, self.clock.now(), body);
    }

    fn drop_place(&self, place: (Arc<str>, ProjectId)) {
        self.workspaces.forget(&place.0);
        self.release_agents(&place.0);
        self.notify(Some(place), NoticeBody::DirectoryDropped);
    }

    /// Ends the agents that are without work in a directory.
    fn release_agents(&self, directory: &str) {
        for live in self.live.all() {
            let is_here = live
                .known_place()
                .is_some_and(|(here, _)| *here == *directory);
            if is_here && let Some(mailbox) = live.mailbox() {
                // One whose mailbox is full is at work.
                let _ = mailbox.try_send(Command::Release);
            }
        }
    }
}
