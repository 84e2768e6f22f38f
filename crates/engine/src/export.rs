//! Sessions that go elsewhere: transcripts read forward, page by page.

use std::fmt;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use sessiond_model::{MessageDoc, Session, SessionId, Todo};
use sessiond_store::{MessageCursor, MessageQuery};

use crate::engine::{Engine, Inner, Result};

/// Positions of a transcript that are read at once.
const STRIDE: u64 = 32;

/// A session to take elsewhere.
pub struct Exported {
    /// The session.
    pub session: Session,
    /// Its todo list.
    pub todos: Vec<Todo>,
    /// Its messages, the oldest first.
    pub pages: BoxStream<'static, Result<Vec<MessageDoc>>>,
}

impl fmt::Debug for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut exported = f.debug_struct("Exported");
        exported
            .field("session", &self.session.id)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// A session to take elsewhere, with its transcript as far as it goes now. Open parts carry
    /// their live content.
    ///
    /// # Errors
    /// `NotFound`, also from the pages when it is deleted meanwhile.
    pub async fn export(&self, id: &SessionId) -> Result<Exported> {
        let session = self.session(id).await?;
        let todos = self.todos(id).await?;
        let (engine, of) = (self.clone(), id.clone());
        let pages = self.0.pages(of.clone()).await?;
        let pages = pages.and_then(move |mut page| {
            let (engine, id) = (engine.clone(), of.clone());
            async move {
                // One that was deleted must not look like one that ends here.
                engine.session(&id).await?;
                for doc in &mut page {
                    crate::messages::overlay(&engine.0.hub, doc);
                }
                Ok(page)
            }
        });
        Ok(Exported {
            session,
            todos,
            pages: pages.boxed(),
        })
    }
}

impl Inner {
    /// The stored transcript, the oldest first, page by page.
    pub(crate) async fn pages(
        &self,
        id: SessionId,
    ) -> Result<impl Stream<Item = Result<Vec<MessageDoc>>> + Send + use<>> {
        let newest = MessageQuery {
            before: None,
            limit: Some(1),
        };
        let store = self.store.clone();
        let newest = store.messages(&id, &newest).await?.messages;
        let end = newest.last().map_or(0, |doc| doc.position);
        Ok(stream::try_unfold(0u64, move |after| {
            let (store, id) = (store.clone(), id.clone());
            async move {
                if after >= end {
                    return Ok(None);
                }
                let upto = end.min(after + STRIDE);
                let query = MessageQuery {
                    before: Some(MessageCursor(upto + 1)),
                    limit: Some(STRIDE as u32),
                };
                let mut page = store.messages(&id, &query).await?.messages;
                page.retain(|doc| doc.position > after);
                Ok(Some((page, upto)))
            }
        }))
    }
}
