//! The domain of sessiond: ids, sessions, messages, turns, events, the changes that
//! produce them, and the pure rules between them.
//!
//! Nothing here does I/O, reads a clock or draws a random number: time comes in through
//! [`Clock`], new ids through [`IdGen`].

mod agent;
mod change;
mod event;
mod files;
mod ids;
mod interact;
mod message;
mod part;
mod project;
mod session;
mod time;
mod turn;

pub mod rules;

pub use agent::{AgentBinding, AgentCommand, AgentMode, AgentModel, AgentProfile, RestoreRung};
pub use change::{Change, Commit, Require};
pub use event::{Event, EventBody, EventKind, Seq, SessionSeq};
pub use files::{
    Conflict, DiffStatus, DiffSummary, FileChange, FileDiff, FileState, PatchOmitted, Restore,
    RestoreFile, RestorePhase, Revert,
};
pub use ids::{
    HybridIds, IdError, IdGen, IdStamp, MAX_ID_LEN, MessageId, PartId, PermissionId, ProjectId,
    QuestionId, SessionId, TurnId,
};
pub use interact::{
    Permission, PermissionAction, PermissionOption, PermissionOutcome, PermissionReply,
    PermissionRule, Question, QuestionInfo, QuestionOption, QuestionOutcome, Todo, ToolRef,
};
pub use message::{
    AssistantInfo, Message, MessageDoc, MessageError, MessageInfo, MessageModel, MessagePath,
    MessageTime, PartDoc, UserInfo, UserSummary,
};
pub use part::{Part, PartBody, PartTime, ToolPart, ToolState, ToolTime};
pub use project::{Project, ProjectCommands, ProjectIcon};
pub use session::{
    ForkOrigin, Health, ModelRef, Session, SessionPatch, Share, ShareMode, Status, StatusKind,
    TokenCache, Tokens, Usage,
};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
pub use turn::{
    Coverage, Turn, TurnEnd, TurnFailure, TurnKind, TurnOptions, TurnState, TurnWorktree,
};
