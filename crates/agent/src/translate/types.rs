//! What goes into a translation and what comes out.

use sessiond_model::{IdGen, IdStamp, MessageId, Part, PartId, SessionId, Timestamp, Todo};

use crate::{ProfileUpdate, PromptResult, RpcError};

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

/// A tool call, as far as files are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// The agent's id of it.
    pub id: &'a str,
    /// Whether it may write any file at all.
    pub may_write: bool,
    /// The files that the agent says it writes, absolute.
    pub files: Vec<std::path::PathBuf>,
    /// Whether it has ended.
    pub ended: bool,
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
