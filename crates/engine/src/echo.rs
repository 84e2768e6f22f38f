//! What listeners here are told about sessions that other nodes write. Notices are not stored:
//! each node finds out from the events what is to be said.

use std::collections::HashMap;
use std::sync::Arc;

use sessiond_model::{
    DiffSummary, Event, EventBody, MessageId, Revert, Session, SessionId, Turn, TurnKind, TurnState,
};
use tokio::sync::mpsc;

use crate::engine::Inner;
use crate::notice::NoticeBody;

/// Events that wait to be thought about; more are not: a notice is no promise.
const WAITING: usize = 1024;
/// Sessions whose changes are remembered; then all are forgotten, and told once too often.
const REMEMBERED: usize = 4096;

/// What the visible changes of a session depend on.
type Seen = (Option<DiffSummary>, Option<Revert>);

/// Whether something may have to be said about an event.
pub(crate) fn is_telling(event: &Event) -> bool {
    match &event.body {
        EventBody::SessionUpdated(_) => true,
        EventBody::TurnUpdated(turn) => said_by(turn).is_some(),
        _ => false,
    }
}

fn said_by(turn: &Turn) -> Option<NoticeBody> {
    let answer = turn.assistant_message_id.as_ref()?;
    let is_over = turn.state.is_terminal();
    said_of(&turn.kind, answer, turn.state == TurnState::Completed).filter(|_| is_over)
}

/// What OpenCode tells of a turn that is over, beside its messages.
pub(crate) fn said_of(
    kind: &TurnKind,
    answer: &MessageId,
    is_compacted: bool,
) -> Option<NoticeBody> {
    match kind {
        TurnKind::Command { name, arguments } => Some(NoticeBody::CommandExecuted {
            name: name.clone(),
            arguments: arguments.clone(),
            message_id: answer.clone(),
        }),
        TurnKind::Compaction if is_compacted => Some(NoticeBody::Compacted),
        _ => None,
    }
}

impl Inner {
    /// Tells listeners here what they would be told where the session is written.
    pub(crate) fn echo(self: &Arc<Self>) {
        let (sender, mut telling) = mpsc::channel::<Arc<Event>>(WAITING);
        self.hub.echo_to(sender);
        let (inner, stop) = (Arc::downgrade(self), self.stop.clone());
        self.actors.spawn(async move {
            let mut seen: HashMap<SessionId, Seen> = HashMap::new();
            loop {
                let event = tokio::select! {
                    () = stop.cancelled() => return,
                    event = telling.recv() => event,
                };
                let (Some(event), Some(engine)) = (event, inner.upgrade()) else {
                    return;
                };
                if engine.live.peek(&event.session_id).is_some() {
                    seen.remove(&event.session_id);
                    continue;
                }
                match &event.body {
                    EventBody::SessionUpdated(session) => {
                        if seen.len() >= REMEMBERED {
                            seen.clear();
                        }
                        if is_news(&mut seen, session) {
                            engine.tell_changes(session).await;
                        }
                    }
                    EventBody::TurnUpdated(turn) => {
                        let session = engine.store.session(&turn.session_id).await;
                        if let (Ok(Some(session)), Some(said)) = (session, said_by(turn)) {
                            engine.notice(&session, said);
                        }
                    }
                    _ => {}
                }
            }
        });
    }
}

/// Whether the changes of a session are others than those told last.
fn is_news(seen: &mut HashMap<SessionId, Seen>, session: &Session) -> bool {
    let now = (session.summary.clone(), session.revert.clone());
    let is_nothing = now == (None, None);
    match seen.insert(session.id.clone(), now.clone()) {
        Some(before) => before != now,
        None => !is_nothing,
    }
}
