//! One actor per session with open turns: it takes turns from the durable queue, one at a
//! time, and keeps the agent's process between them.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sessiond_agent::{Effect, Incoming, ProfileUpdate, QuestionAnswer, Translator};
use sessiond_model::{
    Change, IdStamp, PermissionId, PermissionReply, QuestionId, SessionPatch, Turn, TurnState,
};
use sessiond_store::{StoreError, TurnQuery};
use tokio::sync::{mpsc, oneshot};

use crate::QueuePolicy;
use crate::bind::Slot;
use crate::engine::Inner;
use crate::live::Live;

/// Commands that may wait for an actor.
const MAILBOX: usize = 64;
/// Wait between two looks at a store that does not answer.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// What an actor is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// There may be work in the queue.
    Wake,
    /// Stop the running turn.
    Abort {
        queue: QueuePolicy,
        /// Turns that were accepted after this stamp are not meant.
        upto: IdStamp,
        /// Answered when the work has stopped.
        done: oneshot::Sender<()>,
    },
    /// A permission request was answered.
    Answered {
        id: PermissionId,
        reply: PermissionReply,
        message: Option<String>,
    },
    /// A question was answered or declined.
    QuestionEnded {
        id: QuestionId,
        answer: QuestionAnswer,
    },
    /// The agent is to be ended, unless it works.
    Release,
    /// sessiond shuts down.
    Stop,
    /// The session went to the trash.
    Retire,
}

/// Makes sure that the session has an actor and that it looks at the queue.
pub(crate) fn wake(inner: &Arc<Inner>, live: &Arc<Live>) {
    // The lock also orders this against the end of an actor, which looks at its mailbox
    // under the same lock before it leaves.
    let mut slot = live.actor.lock();
    if let Some(mailbox) = &*slot {
        match mailbox.try_send(Command::Wake) {
            // A full mailbox wakes as well as one more message.
            Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => return,
            Err(mpsc::error::TrySendError::Closed(_)) => {}
        }
    }
    let (mailbox, commands) = mpsc::channel(MAILBOX);
    let _ = mailbox.try_send(Command::Wake);
    *slot = Some(mailbox);
    let actor = Actor {
        inner: inner.clone(),
        live: live.clone(),
        slot: None,
        last: None,
        followed: BTreeSet::new(),
        changed: None,
    };
    inner.actors.spawn(actor.run(commands));
}

/// See the module.
pub(crate) struct Actor {
    pub(crate) inner: Arc<Inner>,
    pub(crate) live: Arc<Live>,
    /// The agent, while it runs.
    pub(crate) slot: Option<Slot>,
    /// The last turn: some agents report on a tool, or give a title, after its end.
    pub(crate) last: Option<Ended>,
    /// Ignored files that the agent has named: captured from then on.
    pub(crate) followed: BTreeSet<PathBuf>,
    /// Files that the session is known to have changed; read from the store when first needed.
    pub(crate) changed: Option<HashSet<String>>,
}

/// What is kept of a turn after its end.
pub(crate) struct Ended {
    pub(crate) translator: Translator,
    /// The title that may give way to a better one.
    pub(crate) auto_title: Option<String>,
}

enum Idle {
    Work,
    End,
}

impl Actor {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            if self.is_over() {
                break;
            }
            match self.next_turn().await {
                Ok(Some(turn)) => self.turn(turn, &mut commands).await,
                Ok(None) => {
                    if matches!(self.idle(&mut commands).await, Idle::End) {
                        break;
                    }
                }
                Err(e) => {
                    tracing::error!(session = %self.live.id, error = %e, "the queue can't be read");
                    tokio::time::sleep(STORE_RETRY).await;
                }
            }
        }
        commands.close();
        self.end_agent().await;
        // Only our own mailbox: after `leave` a next actor may have put up another.
        self.live
            .actor
            .lock()
            .take_if(|mailbox| mailbox.is_closed());
        self.live.turn_changed();
    }

    /// The next turn of the queue.
    async fn next_turn(&self) -> Result<Option<Turn>, StoreError> {
        if self.live.head().open_turns == 0 {
            return Ok(None);
        }
        let query = TurnQuery {
            open_only: true,
            ..TurnQuery::default()
        };
        let turns = self.inner.store.turns(&self.live.id, &query).await?;
        Ok(turns.into_iter().find(|t| t.state == TurnState::Queued))
    }

    /// Waits for work. Without an agent there is nothing to wait with.
    async fn idle(&mut self, commands: &mut mpsc::Receiver<Command>) -> Idle {
        let end = tokio::time::Instant::now() + self.inner.config.agent_idle;
        loop {
            self.inner.tell_offers();
            let Some(slot) = &mut self.slot else {
                return self.leave(commands);
            };
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Wake) => return Idle::Work,
                    Some(Command::Abort { done, .. }) => drop(done.send(())),
                    Some(Command::Answered { .. } | Command::QuestionEnded { .. }) => {}
                    Some(Command::Release) => self.end_agent().await,
                    Some(Command::Stop | Command::Retire) | None => return Idle::End,
                },
                incoming = slot.incoming.recv() => match incoming {
                    Some(Incoming::Update { update, replay: false, .. }) => self.late(&update).await,
                    Some(Incoming::Permission { request, .. }) => {
                        // No turn, nobody to ask.
                        let cancelled = sessiond_agent::PermissionAnswer::Cancelled;
                        let _ = slot.agent.answer_permission(&request, cancelled).await;
                    }
                    Some(Incoming::Question { request, .. }) => {
                        let cancelled = &QuestionAnswer::Cancelled;
                        let _ = slot.agent.answer_question(&request, cancelled).await;
                    }
                    Some(Incoming::Exited { .. }) | None => self.end_agent().await,
                    Some(_) => {}
                },
                () = tokio::time::sleep_until(end) => {
                    self.end_agent().await;
                }
            }
        }
    }

    /// Ends the actor unless something has come meanwhile.
    fn leave(&self, commands: &mut mpsc::Receiver<Command>) -> Idle {
        let mut mailbox = self.live.actor.lock();
        match commands.try_recv() {
            Err(_) => {
                *mailbox = None;
                commands.close();
                Idle::End
            }
            Ok(Command::Wake) => Idle::Work,
            Ok(Command::Abort { done, .. }) => {
                let _ = done.send(());
                Idle::Work
            }
            Ok(Command::Answered { .. } | Command::QuestionEnded { .. } | Command::Release) => {
                Idle::Work
            }
            Ok(Command::Stop | Command::Retire) => Idle::End,
        }
    }

    /// An update after the end of the turn it belongs to.
    async fn late(&mut self, update: &serde_json::Value) {
        let Some(last) = &mut self.last else {
            return;
        };
        let effects = {
            let mut head = self.live.head();
            let mut env = sessiond_agent::Env {
                ids: &*self.inner.ids,
                floor: &mut head.floor,
                now: self.inner.clock.now(),
            };
            last.translator.late(update, &mut env)
        };
        let mut changes = Vec::new();
        for effect in effects {
            match effect {
                Effect::Part(part) => changes.push(Change::PutPart(part)),
                Effect::Title(title) => changes.extend(give_title(&mut last.auto_title, title)),
                _ => {}
            }
        }
        // Not part of the loop: the profile is the actor's, and `last` is borrowed from it.
        if let Some(news) = ProfileUpdate::from_update(update) {
            changes.extend(self.profile_news(&news));
        }
        if !changes.is_empty()
            && let Err(e) = self
                .inner
                .submit(self.live.hold(), Vec::new(), changes)
                .await
        {
            tracing::warn!(session = %self.live.id, error = %e, "a late update could not be stored");
        }
    }
}

/// The agent's title, while the present one is not a person's. Remembers it as the one that
/// may give way to the next.
pub(crate) fn give_title(auto_title: &mut Option<String>, title: String) -> Option<Change> {
    let old = auto_title.take_if(|old| *old != title)?;
    *auto_title = Some(title.clone());
    Some(Change::UpdateSession(SessionPatch {
        title_if: Some((old, title)),
        ..SessionPatch::default()
    }))
}
