//! What agents said of themselves when they last ran: the models, modes and commands on offer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sessiond_agent::ProfileUpdate;
use sessiond_model::{AgentProfile, Change};

use crate::actor::Actor;
use crate::engine::Inner;
use crate::notice::NoticeBody;

/// Time between two looks at what agents told other nodes: one row for each agent.
const LOOK: Duration = Duration::from_secs(3);

impl Actor {
    /// What an agent tells anew of itself; `None` when it is no news.
    pub(crate) fn profile_news(&self, news: &ProfileUpdate) -> Option<Change> {
        let slot = self.slot.as_ref()?;
        let known = self.inner.profiles.lock().get(&slot.name).cloned();
        let mut profile = known.unwrap_or_default();
        profile.name.clone_from(&slot.name);
        // The mode and model of one session say nothing of the agent's start values.
        let lasting = ProfileUpdate {
            current_mode: None,
            current_model: None,
            ..news.clone()
        };
        lasting.merge_into(&mut profile);
        self.inner.keep_profile(profile)
    }
}

impl Inner {
    /// Remembers what an agent says of itself; `None` when it is no news.
    pub(crate) fn keep_profile(&self, profile: AgentProfile) -> Option<Change> {
        self.learn(&profile).then_some(Change::PutProfile(profile))
    }

    fn learn(&self, profile: &AgentProfile) -> bool {
        let mut profiles = self.profiles.lock();
        if profiles.get(&profile.name) == Some(profile) {
            return false;
        }
        profiles.insert(profile.name.clone(), profile.clone());
        self.offers_changed.lock().insert(profile.name.clone());
        true
    }

    /// Has clients that listen ask anew what they can choose from, when that has changed. Not for
    /// the time of a turn: what they fetch would replace what they are told of it meanwhile.
    pub(crate) fn tell_offers(&self) {
        let changed = std::mem::take(&mut *self.offers_changed.lock());
        for agent in changed {
            let body = NoticeBody::OffersChanged { agent };
            for place in self.known_places() {
                self.notify(Some(place), body.clone());
            }
            self.notify(None, body);
        }
    }

    /// Where several nodes share the store: takes in what agents told the others.
    pub(crate) fn follow_profiles(self: &Arc<Self>) {
        let (inner, stop) = (Arc::downgrade(self), self.stop.clone());
        // What was read last, not what is known here: that may not be stored yet.
        let mut seen = self.profiles.lock().clone();
        self.actors.spawn(async move {
            loop {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(LOOK) => {}
                }
                let Some(engine) = inner.upgrade() else {
                    return;
                };
                seen = engine.look_at_profiles(seen).await;
            }
        });
    }

    async fn look_at_profiles(
        &self,
        seen: BTreeMap<String, AgentProfile>,
    ) -> BTreeMap<String, AgentProfile> {
        // The next look may see more; `/readyz` tells of a store that can't be read.
        let Ok(stored) = self.store.profiles().await else {
            return seen;
        };
        let told = stored.iter().filter(|p| seen.get(&p.name) != Some(*p));
        let news = told.filter(|profile| self.learn(profile)).count();
        if news > 0 {
            self.tell_offers();
        }
        stored.into_iter().map(|p| (p.name.clone(), p)).collect()
    }
}
