//! The core session manager.
//!
//! [`Engine`] is the one thing the HTTP rooms talk to. It owns the life of every session:
//! one actor per session with open turns, a durable queue, the event hub, and the recovery
//! after a crash. It knows neither HTTP nor SQL.

mod abort;
mod actor;
mod adopt;
mod asks;
mod bind;
mod blocks;
mod branch;
mod commands;
mod context;
mod doubt;
mod echo;
mod engine;
mod error;
mod export;
mod follow;
mod fork;
mod hold;
mod hub;
mod import;
mod instance;
mod live;
mod messages;
mod notice;
mod peers;
mod profile;
mod project;
mod prompt;
mod recovery;
mod replay;
mod replies;
mod revert;
mod sessions;
mod settings;
mod share;
mod subscription;
mod template;
mod trash;
mod turn;
mod types;
mod visible;
mod wait;
mod workspace;
mod worktree;

pub use commands::SHELL_TEXT;
pub use engine::Engine;
pub use error::{Elsewhere, EngineError};
pub use export::Exported;
pub use follow::{Followed, ShareFollower};
pub use hub::{Delta, Hub, Item, Signal, View};
pub use import::{ImportBatch, ImportPlan, Imported, ImportedMessage};
pub use notice::{Notice, NoticeBody, ToastVariant};
pub use peers::{Errand, Peers};
pub use replay::{Replay, Told};
pub use replies::{Rendered, Replies};
pub use sessiond_share::{Finding, Findings, Part, Sample, Transcript};
pub use settings::Settings;
pub use share::{ShareConfig, ShareOptions, SharePreview, SharedSession, Shows};
pub use subscription::{Frame, SubscribeOptions, Subscription};
pub use types::{
    AbortOptions, Accepted, AgentStatus, CommandInput, CommandSource, CommandTemplate, Created,
    EngineConfig, EngineHealth, ForkOptions, NewSession, OfferedCommand, ProjectUpdate,
    PromptInput, PromptPart, QueuePolicy, Related, Relation, RevertOptions, Reverted, SessionTree,
    SessionUpdate, ShellInput, TurnInput, WhenBusy, Workspace,
};
pub use worktree::SnapshotConfig;
