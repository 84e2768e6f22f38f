//! The contract suite: what every store must do, one behaviour per function.
//!
//! A backend implements [`Backend`] and calls `contract_tests!` in a
//! test; every function of the suite becomes one `#[tokio::test]`.

#![expect(
    clippy::unwrap_used,
    clippy::cloned_ref_to_slice_refs,
    reason = "this is test code, though other crates call it"
)]

mod asks;
mod commits;
mod concurrency;
pub mod fixtures;
mod leases;
mod lists;
#[cfg(feature = "model")]
pub mod model;
mod purge;
mod records;
mod replay;
mod sessions;
mod shares;
mod transcript;

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use sessiond_model::{Change, Commit, Event, MessageDoc, Require, Session, SessionId, Timestamp};

use crate::{Committed, Feed, SessionHead, Store, StoreError, StoreResult};

/// A kind of store under test, with one place where it keeps its data.
#[async_trait]
pub trait Backend: Send {
    /// Opens the store: empty at first, later with all that was committed before.
    async fn open(&mut self, feed: Arc<dyn Feed>) -> Arc<dyn Store>;

    /// Whether what was committed is there after the store was closed.
    fn is_durable(&self) -> bool;

    /// Whether the store is to be closed and opened again between the steps of each test.
    fn reopens(&self) -> bool {
        false
    }

    /// Opens the store of another node, on the same data; `None` when several nodes can't share
    /// this store. A lease lasts two seconds at least.
    async fn join(&mut self, name: &str, feed: Arc<dyn Feed>) -> Option<Arc<dyn Store>> {
        let _ = (name, feed);
        None
    }

    /// Ends the lease of a node that has joined, as another does when it did not renew in time.
    async fn end(&mut self, name: &str) {
        let _ = name;
    }
}

/// A feed that remembers.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Vec<Arc<Event>>>);

impl Recorder {
    /// All events heard so far.
    #[must_use]
    pub fn heard(&self) -> Vec<Arc<Event>> {
        self.0.lock().clone()
    }
}

impl Feed for Recorder {
    fn publish(&self, events: &Arc<[Arc<Event>]>) {
        self.0.lock().extend(events.iter().cloned());
    }
}

/// A store under test.
#[expect(missing_debug_implementations, reason = "backends are not")]
pub struct Bench {
    pub(crate) backend: Box<dyn Backend>,
    /// What the store has published.
    pub recorder: Arc<Recorder>,
    store: Arc<dyn Store>,
}

impl Bench {
    /// Opens the store of a backend.
    pub async fn new(mut backend: Box<dyn Backend>) -> Self {
        let recorder = Arc::<Recorder>::default();
        let store = backend.open(recorder.clone()).await;
        Self {
            backend,
            recorder,
            store,
        }
    }

    /// The store as it is now.
    #[must_use]
    pub fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// Whether data outlives the store.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.backend.is_durable()
    }

    /// Closes the store and opens it again.
    pub async fn reopen(&mut self) {
        self.store.close().await.unwrap();
        self.store = self.backend.open(self.recorder.clone()).await;
    }

    /// A place between two steps of a test, where some backends are closed and opened again.
    pub async fn step(&mut self) {
        if self.backend.reopens() {
            self.reopen().await;
        }
    }

    /// Commits changes to a session under the store's own epoch.
    pub async fn try_commit(
        &self,
        session: &SessionId,
        at: i64,
        changes: Vec<Change>,
    ) -> StoreResult<Committed> {
        self.try_commit_if(session, at, Vec::new(), changes).await
    }

    /// The same with preconditions.
    pub async fn try_commit_if(
        &self,
        session: &SessionId,
        at: i64,
        require: Vec<Require>,
        changes: Vec<Change>,
    ) -> StoreResult<Committed> {
        self.store
            .commit(Commit {
                session_id: session.clone(),
                fence: self.store.epoch(),
                at: Timestamp(at),
                require,
                changes,
            })
            .await
    }

    /// Commits changes that must go through.
    pub async fn commit(
        &mut self,
        session: &SessionId,
        at: i64,
        changes: Vec<Change>,
    ) -> Committed {
        let committed = self.try_commit(session, at, changes).await;
        self.step().await;
        committed.unwrap()
    }

    /// Creates a session and gives its id.
    pub async fn session(&mut self, name: &str) -> SessionId {
        let session = fixtures::session(name);
        let id = session.id.clone();
        self.commit(&id, 1_000, vec![fixtures::create(session)])
            .await;
        id
    }

    /// A session that must be there.
    pub async fn read(&self, session: &SessionId) -> Session {
        self.store.session(session).await.unwrap().unwrap()
    }

    /// The head of a session that must be there.
    pub async fn head(&self, session: &SessionId) -> SessionHead {
        self.store.session_head(session).await.unwrap().unwrap()
    }

    /// A message that must be there.
    pub async fn message(&self, session: &SessionId, name: &str) -> MessageDoc {
        let found = self.store.message(session, &fixtures::mid(name)).await;
        found.unwrap().unwrap()
    }

    /// Checks that a commit is refused and that it left nothing: no event, no number used.
    pub async fn refused(
        &self,
        session: &SessionId,
        changes: Vec<Change>,
        expected: impl Fn(&StoreError) -> bool,
    ) {
        let before = self.store.last_seq().await.unwrap();
        let heard = self.recorder.heard().len();
        let error = self.try_commit(session, 9_999, changes).await.unwrap_err();
        assert!(expected(&error), "unexpected: {error:?}");
        assert_eq!(self.store.last_seq().await.unwrap(), before);
        assert_eq!(self.recorder.heard().len(), heard);
    }
}

macro_rules! suite {
    (($d:tt) $($module:ident: $($name:ident),+ $(,)?;)+) => {
        $($(pub use $module::$name;)+)+

        /// The name of every function of the suite.
        pub const NAMES: &[&str] = &[$($(stringify!($name)),+),+];

        /// Makes one test of each function of the suite for a backend: an expression that
        /// gives a fresh `impl Backend`.
        #[macro_export]
        macro_rules! contract_tests {
            ($d backend:expr) => {
                $($(
                    #[tokio::test]
                    async fn $name() {
                        let backend = Box::new($d backend);
                        let mut bench = $crate::contract::Bench::new(backend).await;
                        $crate::contract::$name(&mut bench).await;
                    }
                )+)+
            };
        }
    };
}

suite! {
    ($)
    sessions:
        a_created_session_is_read_back_whole,
        a_session_is_created_once,
        an_idempotency_key_creates_one_session,
        a_parent_must_exist,
        a_patch_raises_the_revision_and_answers_the_session,
        a_derived_title_gives_way,
        status_is_kept_with_its_time,
        trash_hides_and_restore_brings_back,
        trash_keeps_its_first_time,
        a_session_can_begin_in_the_trash,
        the_trash_is_found_by_its_time,
        forks_are_numbered_by_family,
        totals_follow_step_finish_parts,
        the_head_holds_what_a_writer_needs;
    commits:
        an_unknown_session_is_not_found,
        changes_must_belong_to_the_session,
        a_commit_is_all_or_nothing,
        a_revision_is_required,
        absent_and_present_messages_are_required,
        a_session_outside_of_the_trash_is_required,
        requirements_of_a_creation,
        an_older_epoch_is_fenced_off,
        every_change_gives_its_event,
        silent_changes_give_no_event,
        an_empty_commit_is_answered,
        a_closed_store_says_so;
    concurrency:
        session_seq_has_no_gaps_under_load,
        commits_keep_the_order_of_their_calls,
        a_dropped_future_commits_all_the_same,
        the_feed_hears_each_event_once_in_order_before_the_answer,
        a_read_sees_what_was_acknowledged;
    transcript:
        messages_keep_their_order_and_text,
        pages_go_back_to_the_start,
        a_page_of_an_unknown_session_is_empty,
        a_message_id_belongs_to_one_session,
        a_part_id_belongs_to_one_message,
        a_part_needs_its_message,
        parts_are_listed_by_id,
        a_replaced_message_keeps_its_place,
        a_removed_message_takes_its_parts_along,
        a_removed_part_is_gone,
        removal_of_nothing_is_told_all_the_same,
        positions_are_never_given_twice,
        checkpoints_are_kept_without_events,
        large_bodies_come_back,
        equal_large_bodies_are_independent,
        any_text_comes_back,
        ids_seen_raise_the_floor;
    lists:
        sessions_are_listed_newest_first,
        sessions_are_listed_by_creation,
        session_pages_join_without_gaps,
        session_filters_hold,
        session_filters_combine,
        search_has_no_wildcards,
        path_prefix_ends_at_a_slash,
        trashed_sessions_have_a_list_of_their_own,
        unfinished_sessions_are_found;
    asks:
        a_permission_is_answered_once,
        a_question_is_answered_once,
        an_ask_of_another_session_is_not_found,
        an_ask_exists_once,
        pending_asks_are_listed_oldest_first,
        ended_asks_are_listed_newest_first,
        pending_asks_of_the_trash_are_hidden;
    records:
        turns_are_kept_in_order,
        an_ended_turn_does_not_change,
        a_turn_belongs_to_one_session,
        a_turn_key_is_unique_in_its_session,
        a_turn_is_found_by_its_message,
        todos_are_replaced,
        todos_are_kept_by_turn,
        bindings_are_replaced,
        profiles_and_projects_are_kept,
        an_unchanged_project_gives_no_event,
        usage_is_booked_in_order,
        file_changes_need_their_turn,
        all_file_changes_of_a_session,
        a_restore_is_pending_until_it_is_done,
        an_ended_turn_is_removed_with_its_changes,
        health_counts_sessions,
        all_is_there_after_a_restart;
    shares:
        a_share_is_replaced_and_removed,
        a_share_is_found_by_its_token,
        the_last_access_of_a_share_moves_forward,
        shares_are_listed_newest_session_first;
    leases:
        a_session_is_held_by_its_creator,
        a_session_that_was_given_back_can_be_taken,
        every_node_hears_all_events_in_order,
        a_node_whose_lease_ended_writes_nothing,
        what_a_dead_node_left_is_found,
        a_node_that_closes_gives_all_back,
        a_purged_session_is_held_by_nobody,
        nodes_know_each_other_and_their_directories;
    purge:
        only_the_trash_is_purged,
        a_purge_is_alone_in_its_commit,
        a_purge_leaves_nothing,
        a_purge_touches_no_other_session;
    replay:
        replay_shows_each_row_at_its_newest_event,
        replay_shows_messages_at_their_creation_too,
        replay_of_removed_rows,
        replay_of_a_message_put_again,
        replay_shows_checkpointed_content,
        replay_of_status_todos_binding_and_project,
        replay_of_trash_and_restore,
        replay_by_session_and_directory,
        replay_pages_join_without_gaps,
        replay_is_bounded;
}

/// The sources of the suite, to find functions that were forgotten in the list above.
const SOURCES: &[&str] = &[
    include_str!("asks.rs"),
    include_str!("commits.rs"),
    include_str!("concurrency.rs"),
    include_str!("leases.rs"),
    include_str!("lists.rs"),
    include_str!("purge.rs"),
    include_str!("records.rs"),
    include_str!("replay.rs"),
    include_str!("sessions.rs"),
    include_str!("shares.rs"),
    include_str!("transcript.rs"),
];

/// Functions of the suite that no backend runs, because they are not listed.
#[must_use]
pub fn forgotten() -> Vec<String> {
    let written = SOURCES.iter().flat_map(|source| source.lines());
    written
        .filter_map(|line| line.strip_prefix("pub async fn "))
        .filter_map(|rest| rest.split('(').next())
        .filter(|name| !NAMES.contains(name))
        .map(str::to_owned)
        .collect()
}
