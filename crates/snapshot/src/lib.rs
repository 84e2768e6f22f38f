//! Captures of worktrees, kept outside the user's repository: take, compare, put back.
//!
//! [`Snapshots`] is a directory of bare object stores, one per project. [`Worktree`] is what a
//! session works in; [`Worktree::capture`] records it, [`Worktree::changes`] compares two captures,
//! [`Worktree::replace`] puts one file back, three-way. Everything here blocks.
//!
//! # What is read, what is run
//!
//! The user's repository is only ever read: its `index` (to know what need not be hashed anew),
//! its objects (as a fallback of ours) and its `info/exclude`. The one git program that looks at
//! the worktree is `git ls-files --others`, with our own git directory, index and configuration; it
//! opens directories and `.gitignore` files and nothing else. Bytes are read, hashed and stored in
//! this process, so that no attribute, filter, hook or line-ending rule has anything to act on:
//! what is captured is what is on disk, byte for byte. `git pack-objects` packs our own objects.
//!
//! # What survives what
//!
//! All trees, and the blobs of files that differ from what the user's repository has, are in our
//! store. Blobs of files that have not changed since the user's `git add` are only referred to: that
//! keeps the first capture of a large repository cheap. As soon as such a file differs between two
//! captures of a session, both contents are copied, so what a revert needs outlives the user's `git gc`
//! and even his repository. Objects are not synced one by one: a kill loses nothing, a power cut may
//! leave objects that are not whole; they are removed at the next start and what needs them then counts
//! as not captured.

mod capture;
mod changes;
mod collect;
mod describe;
mod error;
mod git;
mod index;
mod objects;
mod paths;
mod pins;
mod replace;
mod repository;
mod scan;
mod snapshots;
mod store;
mod tree;
mod worktree;

pub use capture::Capture;
pub use changes::{Captured, PathChange};
pub use collect::Collected;
pub use error::{Refusal, SnapshotError};
pub use replace::Replaced;
pub use snapshots::{Limits, Snapshots};
pub use worktree::Worktree;
