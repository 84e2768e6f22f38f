//! Compaction: the agent, with its memory, writes a summary. Once that is whole and durable, the
//! agent's session is let go, so that the next prompt opens a new one which is told the summary
//! and what came after it. One that failed or was stopped changes nothing.

use sessiond_agent::{Outcome, PromptResult, verdict};
use sessiond_model::{Change, MessageError, TurnEnd, TurnFailure};
use sessiond_store::MessageQuery;
use tokio::sync::mpsc;

use super::Run;
use crate::actor::{Actor, Command};
use crate::bind::NotReady;

/// Agent and mode of summaries, as OpenCode names them.
pub(super) const AGENT: &str = "compaction";

/// What the agent is asked.
pub(crate) const PROMPT: &str = "\
Summarise this conversation. Your summary will stand in its place: whoever goes on with the work \
knows nothing of it but what you write now, so that it must be complete in itself.

Write, in this order and only where there is something to say:
- what the person wants, in their own terms, and every rule or preference they gave;
- what was done and what came of it, with the names of files, functions, commands and versions;
- what was decided and why, and what was tried and dropped;
- what is being worked on at this moment, as exactly as you can;
- what is still to be done.

Use no tools and change nothing. Answer with the summary alone.";

impl Actor {
    /// Has the agent write the summary. Of a session without a word there is none to write.
    pub(super) async fn compact(
        &mut self,
        run: &mut Run,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<Outcome, NotReady> {
        let before = MessageQuery {
            before: Some(run.position),
            limit: Some(1),
        };
        let said = self.inner.store.messages(&self.live.id, &before).await?;
        if said.messages.is_empty() {
            run.agentless = true;
            return Ok(Outcome::Done(PromptResult::default()));
        }
        self.converse(run, commands).await
    }

    /// The binding without the agent's session, whose memory the summary replaces.
    pub(super) async fn let_go(&self) -> Option<Change> {
        match self.inner.let_go(&self.live.id).await {
            Ok(change) => change,
            Err(e) => {
                // The agent goes on with its whole memory, which is no harm.
                tracing::warn!(session = %self.live.id, error = %e, "the binding can't be read");
                None
            }
        }
    }
}

/// A summary counts only when it is whole.
pub(super) fn judge(run: &Run, outcome: Outcome) -> (TurnEnd, Option<MessageError>, Outcome) {
    let verdict = verdict(&outcome, &run.translator);
    let whole = match &verdict.end {
        TurnEnd::Completed { finish } => finish == "stop" && run.translator.has_text(),
        _ => true,
    };
    if whole {
        return (verdict.end, verdict.error, outcome);
    }
    let message = "the agent wrote no whole summary; the conversation stays as it is".to_owned();
    let failure = TurnFailure {
        code: "no_summary".into(),
        message: message.clone(),
    };
    let error = MessageError::Unknown {
        message,
        reference: None,
    };
    (TurnEnd::Failed(failure), Some(error), outcome)
}
