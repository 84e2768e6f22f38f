//! Rendered answers, kept while nothing they show has changed.
//!
//! Clients poll: the same list and the same page are asked for again and again. The hub counts
//! what was published, over the whole store and by session; an answer is served again exactly
//! as long as its count stands. A commit is published before its committer is answered, so
//! nobody reads back less than they were told was done.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use sessiond_model::SessionId;
use sessiond_store::MessageCursor;

use crate::Hub;

const SHARDS: usize = 16;
/// Bytes kept by each shard; a full one is emptied.
const SHARD_BYTES: usize = 1 << 20;
/// Larger answers are not kept.
const LARGEST: usize = 256 * 1024;

/// One rendered answer.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The body.
    pub body: Bytes,
    /// Of a page of messages: where the next older one ends.
    pub older: Option<MessageCursor>,
}

impl From<Vec<u8>> for Rendered {
    fn from(body: Vec<u8>) -> Self {
        Self {
            body: body.into(),
            older: None,
        }
    }
}

#[derive(Debug, Default)]
struct Shard {
    kept: HashMap<String, (u64, Rendered)>,
    bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Replies {
    hub: Arc<Hub>,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    /// Whether the hub hears of every commit before its committer does.
    keeps: bool,
}

impl Replies {
    /// Keeps nothing unless `keeps`.
    pub(crate) fn new(hub: Arc<Hub>, keeps: bool) -> Self {
        Self {
            keeps,
            hub,
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// The answer of that key, rendered anew when something of `session` (of any session,
    /// without one) was published since. The key must name everything else that the answer
    /// depends on. An answer that shows parts which an agent is writing is not kept.
    ///
    /// # Errors
    /// Those of `render`.
    pub async fn get<E>(
        &self,
        session: Option<&SessionId>,
        key: String,
        render: impl Future<Output = Result<Rendered, E>>,
    ) -> Result<Rendered, E> {
        if !self.keeps || session.is_some_and(|id| self.hub.has_open_parts(id)) {
            return render.await;
        }
        // Read before the store is: what is published meanwhile makes the answer stale.
        let generation = self.hub.generation(session);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "any bits of the hash will do"
        )]
        let shard = &self.shards[self.hasher.hash_one(&key) as usize % SHARDS];
        if let Some((at, rendered)) = shard.lock().kept.get(&key)
            && *at == generation
        {
            return Ok(rendered.clone());
        }
        let rendered = render.await?;
        if rendered.body.len() <= LARGEST {
            shard.lock().keep(key, generation, rendered.clone());
        }
        Ok(rendered)
    }
}

impl Shard {
    fn keep(&mut self, key: String, generation: u64, rendered: Rendered) {
        let size = key.len() + rendered.body.len();
        if self.bytes + size > SHARD_BYTES {
            self.kept.clear();
            self.bytes = 0;
        }
        self.bytes += size;
        let length = key.len();
        if let Some((_, old)) = self.kept.insert(key, (generation, rendered)) {
            self.bytes -= length + old.body.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(replies: &Replies, session: Option<&SessionId>, text: &str) -> String {
        let render = async { Ok::<_, ()>(Rendered::from(text.as_bytes().to_vec())) };
        let rendered = replies.get(session, "key".into(), render).await.unwrap();
        String::from_utf8(rendered.body.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn an_answer_stands_until_something_of_its_session_is_published() {
        let hub = Arc::new(Hub::new());
        let replies = Replies::new(hub.clone(), true);
        let (mine, other) = (
            SessionId::trusted("ses_mine"),
            SessionId::trusted("ses_other"),
        );
        assert_eq!(ask(&replies, Some(&mine), "first").await, "first");
        assert_eq!(ask(&replies, Some(&mine), "second").await, "first");
        hub.touch(&other);
        assert_eq!(ask(&replies, Some(&mine), "third").await, "first");
        hub.touch(&mine);
        assert_eq!(ask(&replies, Some(&mine), "fourth").await, "fourth");
    }

    #[tokio::test]
    async fn an_answer_over_all_sessions_falls_with_any_event() {
        let hub = Arc::new(Hub::new());
        let replies = Replies::new(hub.clone(), true);
        assert_eq!(ask(&replies, None, "first").await, "first");
        hub.touch(&SessionId::trusted("ses_any"));
        assert_eq!(ask(&replies, None, "second").await, "second");
    }

    #[test]
    fn a_shard_is_bounded() {
        let mut shard = Shard::default();
        for i in 0..1000 {
            shard.keep(format!("{i}"), 1, vec![0; 10_000].into());
            assert!(shard.bytes <= SHARD_BYTES);
        }
        shard.keep("999".into(), 2, vec![0; 5].into());
        let sum: usize = shard
            .kept
            .iter()
            .map(|(k, (_, r))| k.len() + r.body.len())
            .sum();
        assert_eq!(shard.bytes, sum);
    }
}
