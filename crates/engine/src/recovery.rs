//! What a start does about the end of the run before: every turn that ran is ended as
//! interrupted, agents that outlived us are reaped, and the queue goes on.

use std::sync::Arc;

use sessiond_agent::{Reaped, reap_orphan};
use sessiond_model::{
    AgentBinding, Change, Part, SessionPatch, Status, StatusKind, Turn, TurnEnd, TurnFailure,
    TurnKind, TurnState, rules,
};
use sessiond_store::{AskQuery, TurnQuery};

use crate::EngineError;
use crate::engine::Inner;
use crate::hold::Hold;

/// Which of the turns that have not ended are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Those that ran.
    Running,
    /// Those that waited, too.
    All,
}

pub(crate) async fn recover(inner: &Arc<Inner>) -> Result<(), EngineError> {
    if inner.store.leases().is_some() {
        return inner.adopt().await;
    }
    for binding in inner.store.live_bindings().await? {
        let hold = inner.hold(&binding.session_id).await?;
        unbind(inner, &hold, binding, true).await?;
    }
    for id in inner.store.unfinished_sessions().await? {
        let hold = inner.hold(&id).await?;
        if recover_session(inner, &hold, Cut::Running, true).await? {
            let live = inner.live(&id).await?;
            crate::actor::wake(inner, &live);
        }
    }
    inner.finish_restores().await?;
    Ok(())
}

/// Notes that an agent is gone; first ends what is left of it, where it is on this host.
async fn unbind(
    inner: &Inner,
    hold: &Hold,
    binding: AgentBinding,
    is_here: bool,
) -> Result<(), EngineError> {
    if is_here {
        let (pid, started) = (binding.pid.unwrap_or(0), binding.pid_started.unwrap_or(0));
        let spawn_id = binding.spawn_id.clone().unwrap_or_default();
        let reaped =
            tokio::task::spawn_blocking(move || reap_orphan(pid, started, &spawn_id)).await;
        if let Ok(Reaped::Killed { processes }) = reaped {
            tracing::warn!(session = %binding.session_id, agent = binding.agent, processes, "ended an agent that an earlier run had left");
        }
    }
    let gone = AgentBinding {
        pid: None,
        pid_started: None,
        spawn_id: None,
        ..binding
    };
    inner
        .submit(hold, Vec::new(), vec![Change::BindAgent(gone)])
        .await?;
    Ok(())
}

/// Ends what a shell command of an earlier run has left: the id of its turn marks it.
async fn reap_shell(turn: &Turn, parts: &mut [Part]) {
    if !matches!(turn.kind, TurnKind::Shell { .. } | TurnKind::Command { .. }) {
        return;
    }
    let recorded = parts.iter().find_map(crate::turn::recorded_process);
    let (pid, started) = recorded.unwrap_or_default();
    parts.iter_mut().for_each(crate::turn::forget_process);
    let marker = turn.id.to_string();
    let reaped = tokio::task::spawn_blocking(move || reap_orphan(pid, started, &marker)).await;
    if let Ok(Reaped::Killed { processes }) = reaped {
        tracing::warn!(session = %turn.session_id, turn = %turn.id, processes, "ended a shell command that an earlier run had left");
    }
}

/// Ends what was cut off in a session; `is_here`: what ran, ran on this host. Answers whether turns
/// wait in a session that is not in the trash.
pub(crate) async fn recover_session(
    inner: &Inner,
    hold: &Hold,
    cut: Cut,
    is_here: bool,
) -> Result<bool, EngineError> {
    let store = &inner.store;
    let id = &hold.session;
    let Some(session) = store.session(id).await? else {
        return Ok(false);
    };
    if store.leases().is_some()
        && let Some(binding) = store.binding(id).await?.filter(AgentBinding::may_be_alive)
    {
        unbind(inner, hold, binding, is_here).await?;
    }
    let turns = store
        .turns(
            id,
            &TurnQuery {
                open_only: true,
                ..TurnQuery::default()
            },
        )
        .await?;
    let asks = AskQuery {
        session_id: Some(id.clone()),
        directory: None,
    };
    let permissions = store.pending_permissions(&asks).await?;
    let questions = store.pending_questions(&asks).await?;
    let now = inner.clock.now();
    let end = TurnEnd::Interrupted(TurnFailure {
        code: "restart".into(),
        message: match cut {
            Cut::Running => "interrupted by a restart of sessiond".into(),
            Cut::All => "no node that has the directory is running".into(),
        },
    });
    let (running, queued): (Vec<Turn>, Vec<Turn>) = turns
        .into_iter()
        .partition(|t| cut == Cut::All || t.state == TurnState::Running);
    let mut changes = Vec::new();
    for turn in &running {
        let doc = match &turn.assistant_message_id {
            Some(message) => store.message(id, message).await?,
            None => None,
        };
        let assistant = doc.as_ref().and_then(sessiond_model::MessageDoc::message);
        let mut parts: Vec<Part> = doc.map(|d| d.typed_parts()).unwrap_or_default();
        if is_here {
            reap_shell(turn, &mut parts).await;
        }
        let of_turn = |turn_id| turn_id == &turn.id;
        let permissions: Vec<_> = permissions
            .iter()
            .filter(|p| of_turn(&p.turn_id))
            .cloned()
            .collect();
        let questions: Vec<_> = questions
            .iter()
            .filter(|q| of_turn(&q.turn_id))
            .cloned()
            .collect();
        changes.extend(rules::close_turn(
            turn,
            assistant.as_ref(),
            &parts,
            &permissions,
            &questions,
            &end,
            now,
        ));
    }
    if !running.is_empty() {
        changes.push(Change::UpdateSession(SessionPatch::touch()));
    }
    if queued.is_empty() && session.status.kind == StatusKind::Busy {
        changes.push(Change::SetStatus(Status::idle(now)));
    }
    if !changes.is_empty() {
        tracing::info!(session = %id, turns = running.len(), "ended what a restart had cut off");
        inner.submit(hold, Vec::new(), changes).await?;
    }
    Ok(!queued.is_empty() && session.deleted_at.is_none())
}
