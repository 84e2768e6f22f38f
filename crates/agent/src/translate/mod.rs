//! ACP updates to parts: a pure function of what came before, the clock and the id source.

mod permission;
mod verdict;

use serde_json::Value;
use sessiond_model::{
    FileDiff, IdGen, IdStamp, MessageId, Part, PartId, SessionId, Timestamp, Todo,
};

use crate::{ProfileUpdate, PromptResult, RpcError};

pub use permission::{PermissionAsk, choose_option};
pub use verdict::{Verdict, verdict};

/// Where a turn's parts go.
#[derive(Clone, Debug)]
pub struct TurnContext {
    /// Our session.
    pub session_id: SessionId,
    /// The assistant message.
    pub message_id: MessageId,
    /// The agent, by its name in the catalogue.
    pub agent: String,
    /// The session's directory.
    pub directory: String,
}

/// The outside world of one step: ids and time.
#[derive(Debug)]
pub struct Env<'a> {
    /// Where ids come from.
    pub ids: &'a dyn IdGen,
    /// The latest id of the session; new ones come after it.
    pub floor: &'a mut IdStamp,
    /// The time.
    pub now: Timestamp,
}

/// What an update means.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// A part was created, changed its state or was closed: durable.
    Part(Part),
    /// An open text grew.
    Delta {
        /// The part.
        part_id: PartId,
        /// Its message.
        message_id: MessageId,
        /// The field that grew.
        field: &'static str,
        /// What was added.
        delta: String,
        /// Length of the field in bytes before it.
        offset: u64,
    },
    /// A running tool's output grew; many of these may become one.
    PartGrew(Part),
    /// The plan, all of it.
    Todos(Vec<Todo>),
    /// The agent's title for the session.
    Title(String),
    /// News on modes, models, commands.
    Profile(ProfileUpdate),
    /// What it cost so far.
    Usage {
        /// US dollars of the whole agent session.
        cost_total: Option<f64>,
        /// Tokens in the context.
        context_used: Option<u64>,
        /// Size of the context.
        context_size: Option<u64>,
    },
    /// A file was written.
    FileEdited(String),
}

/// How a prompt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The agent answered it.
    Done(PromptResult),
    /// The agent answered with an error.
    Failed(RpcError),
    /// A person stopped it, and the agent was ended because it did not.
    Cancelled,
    /// The agent is gone; why.
    Died(String),
}

/// Turns the updates of one turn into parts of one assistant message.
#[derive(Debug)]
pub struct Translator {
    ctx: TurnContext,
}

impl Translator {
    /// A translator for one turn.
    #[must_use]
    pub fn new(ctx: TurnContext) -> Self {
        Self { ctx }
    }

    /// The prompt was sent.
    pub fn begin(&mut self, env: &mut Env<'_>) -> Vec<Effect> {
        let _ = (env, &self.ctx);
        Vec::new()
    }

    /// An update of the running turn.
    pub fn update(&mut self, update: &Value, env: &mut Env<'_>) -> Vec<Effect> {
        let _ = (update, env);
        Vec::new()
    }

    /// The agent asks for permission.
    pub fn permission(
        &mut self,
        params: &Value,
        env: &mut Env<'_>,
    ) -> (Vec<Effect>, PermissionAsk) {
        let _ = (params, env);
        (Vec::new(), PermissionAsk::default())
    }

    /// The permission for a call was given or refused.
    pub fn permission_answered(
        &mut self,
        call_id: &str,
        allowed: bool,
        env: &mut Env<'_>,
    ) -> Vec<Effect> {
        let _ = (call_id, allowed, env);
        Vec::new()
    }

    /// The turn is over: closes what is still open.
    pub fn finish(&mut self, outcome: &Outcome, env: &mut Env<'_>) -> Vec<Effect> {
        let _ = (outcome, env);
        Vec::new()
    }

    /// An update after the end: only tools of this turn may still change.
    pub fn late(&mut self, update: &Value, env: &mut Env<'_>) -> Vec<Effect> {
        let _ = (update, env);
        Vec::new()
    }

    /// The parts that may still change, as they are now.
    #[must_use]
    pub fn open_parts(&self) -> Vec<Part> {
        Vec::new()
    }

    /// The files that the turn changed, as far as the agent said.
    #[must_use]
    pub fn touched_files(&self) -> Vec<FileDiff> {
        Vec::new()
    }

    /// The agent's text so far.
    #[must_use]
    pub fn text(&self) -> String {
        String::new()
    }
}
