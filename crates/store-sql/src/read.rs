//! The reads.

mod events;
mod lists;
mod messages;
mod shares;
mod single;

pub use events::EventsAfter;
pub use lists::{
    EndedPermissions, EndedQuestions, LastFork, LiveBindings, PendingPermissions, PendingQuestions,
    PendingRestores, Profiles, Projects, SessionChanges, Sessions, TodoVersionsOf, TrashedUntil,
    TurnsOf, Unfinished, UsageOf,
};
pub use messages::{MessageById, MessagesOf};
pub use shares::{ShareByToken, ShareOf, Shares};
pub use single::{
    BindingOf, Counters, FileChangesOf, MessageOwner, PermissionById, ProjectById, QuestionById,
    RestoreOf, SessionById, SessionByKey, SessionHeadById, TodosOf, TurnById, TurnByKey,
    TurnOfMessage,
};
