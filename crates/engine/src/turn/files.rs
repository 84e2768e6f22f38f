//! The files of a turn: captured before and after it, and sorted out by who wrote them.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sessiond_model::{
    Change, Coverage, DiffSummary, FileChange, FileDiff, MessageInfo, Part, PartBody, PartId,
    PatchOmitted, SessionId, Timestamp, TurnWorktree, UserSummary,
};
use sessiond_snapshot::{Capture, Captured, PathChange, Worktree};

use super::Run;
use crate::actor::Actor;
use crate::worktree::{self, Observed, Ours, Seen, Watch, attribute};

/// How long a turn that was stopped waits for its last capture.
const STOPPED_PATIENCE: Duration = Duration::from_secs(2);
/// Longest look at single files while a turn runs.
const LOOK_PATIENCE: Duration = Duration::from_secs(2);
/// Most files of a turn that are listed.
const MAX_FILES: usize = 10_000;
/// Patches of a turn in all, in bytes; files beyond it are listed without.
const MAX_PATCHES: usize = 1 << 20;
/// Files shown on the prompt itself.
const MAX_SHOWN: usize = 200;

/// The worktree of a running turn.
pub(super) struct Files {
    worktree: Option<Worktree>,
    before: Capture,
    pub(super) watch: Watch,
    began: Timestamp,
}

/// What a turn made of its worktree.
#[derive(Debug, Default)]
pub(super) struct Booked {
    pub(super) changes: Vec<FileChange>,
    pub(super) worktree: TurnWorktree,
}

impl Files {
    /// Of a turn that has not come to its first capture.
    pub(super) fn none() -> Self {
        Self {
            worktree: None,
            before: worktree::nothing("the turn ended before its first capture".to_owned()),
            watch: Watch::default(),
            began: Timestamp(0),
        }
    }

    /// What is to be said of a turn that a crash cuts off.
    pub(super) fn unfinished(&self) -> TurnWorktree {
        TurnWorktree {
            before: self.before.tree.clone(),
            after: None,
            coverage: Coverage::None,
            reason: Some("sessiond ended before the turn did".to_owned()),
            may_have_written: true,
        }
    }

    /// The capture before the turn.
    pub(super) fn before(&self) -> Option<&String> {
        self.before.tree.as_ref()
    }
}

impl Actor {
    /// Captures the worktree before a turn. Borrows nothing, so that the agent can be made
    /// ready meanwhile.
    pub(super) fn capture_before(&self) -> impl Future<Output = Files> + Send + use<> {
        let (inner, live) = (self.inner.clone(), self.live.clone());
        let extra: Vec<PathBuf> = self.followed.iter().cloned().collect();
        async move {
            let began = inner.clock.now();
            let (worktree, before) = match inner.captures.worktree(&live.directory()).await {
                Ok(worktree) => {
                    let patience = inner.captures.patience();
                    let before = worktree::capture(&worktree, &live.id, extra, patience).await;
                    (Some(worktree), before)
                }
                Err(reason) => (None, worktree::nothing(reason)),
            };
            Files {
                worktree,
                before,
                watch: Watch::default(),
                began,
            }
        }
    }

    /// Looks at the files that the agent has just named or written.
    pub(super) async fn watch_files(&self, run: &mut Run) {
        let now = self.inner.clock.now();
        let looks = run.files.watch.observe(run.translator.calls(), now);
        let Some(worktree) = run.files.worktree.clone().filter(|_| !looks.is_empty()) else {
            return;
        };
        {
            let mut claims = self.inner.claims.lock();
            for look in &looks {
                claims.claim(&look.path, &self.live.id, now);
            }
        }
        let session = self.live.id.clone();
        let seen = worktree::blocking(LOOK_PATIENCE, move || {
            let see = |path: &Path| {
                // What can't be kept (too large, unreadable) can't be put back either.
                let state = worktree.keep(&session, path).ok()?;
                let changed_at = worktree::changed_at(path);
                Some(Seen { state, changed_at })
            };
            let seen = looks.into_iter().map(|look| {
                let seen = see(&look.path);
                (look, seen)
            });
            seen.collect::<Vec<_>>()
        });
        for (look, seen) in seen.await.unwrap_or_default() {
            if let Some(seen) = seen {
                run.files.watch.saw(&look, seen);
            }
        }
    }

    /// Captures the worktree after the turn and finds what the turn changed.
    pub(super) async fn book_files(&mut self, run: &mut Run) -> Booked {
        // An agent that died may have been writing; its calls were closed by nobody.
        let reported = run.translator.touched_files();
        let may_have_written = run.files.watch.may_have_written();
        let Some(worktree) = run.files.worktree.clone() else {
            return Booked {
                changes: reported.into_iter().map(FileChange::reported).collect(),
                worktree: TurnWorktree {
                    reason: run.files.before.reason.clone(),
                    may_have_written,
                    ..TurnWorktree::default()
                },
            };
        };
        let patience = if run.stopping.is_some() {
            STOPPED_PATIENCE
        } else {
            self.inner.captures.patience()
        };
        let others = self
            .inner
            .claims
            .lock()
            .of_others(&self.live.id, run.files.began);
        let work = Work {
            session: self.live.id.clone(),
            before: run.files.before.clone(),
            watch: run.files.watch.clone(),
            followed: self.followed.iter().cloned().collect(),
            reported: reported.clone(),
            others,
            worktree,
        };
        match worktree::blocking(patience, move || work.run()).await {
            Ok((booked, followed)) => {
                self.followed.extend(followed);
                booked
            }
            Err(reason) => Booked {
                changes: reported.into_iter().map(FileChange::reported).collect(),
                worktree: TurnWorktree {
                    before: run.files.before.tree.clone(),
                    reason: Some(reason),
                    may_have_written,
                    ..TurnWorktree::default()
                },
            },
        }
    }

    /// The changes that tell clients what a turn did to files; answers the new totals.
    pub(super) async fn tell_files(
        &mut self,
        run: &mut Run,
        booked: Booked,
        changes: &mut Vec<Change>,
    ) -> Option<DiffSummary> {
        let hash = booked.worktree.before.clone();
        run.turn.worktree = Some(booked.worktree);
        let files = booked.changes;
        if files.is_empty() {
            return None;
        }
        if let Some(hash) = hash {
            let id = self.with_env(|env| PartId::mint(env.ids, env.floor));
            changes.push(Change::PutPart(Part {
                id,
                session_id: self.live.id.clone(),
                message_id: run.assistant.id.clone(),
                body: PartBody::Patch {
                    hash,
                    files: files.iter().map(|f| f.diff.file.clone()).collect(),
                },
            }));
        }
        let root = match &run.assistant.info {
            MessageInfo::Assistant(info) => info.path.root.clone(),
            MessageInfo::User(_) => String::new(),
        };
        let shown: Vec<FileDiff> = files
            .iter()
            .take(MAX_SHOWN)
            .map(|f| FileDiff {
                file: relative(&f.diff.file, &root),
                ..f.diff.clone()
            })
            .collect();
        if let MessageInfo::User(info) = &mut run.user.info {
            info.summary = Some(UserSummary {
                title: None,
                body: None,
                diffs: shown,
            });
            changes.push(Change::PutMessage(run.user.clone()));
        }
        let known = self.changed_files().await;
        let mut summary = run.session.summary.clone().unwrap_or_default();
        for file in &files {
            summary.additions += file.diff.additions;
            summary.deletions += file.diff.deletions;
            summary.files += u64::from(known.insert(file.diff.file.clone()));
        }
        changes.push(Change::SetFileChanges {
            turn_id: run.turn.id.clone(),
            files,
        });
        Some(summary)
    }
}

impl Actor {
    /// The files that earlier turns changed.
    async fn changed_files(&mut self) -> &mut HashSet<String> {
        if self.changed.is_none() {
            let earlier = self.inner.store.session_changes(&self.live.id).await;
            let earlier = earlier.unwrap_or_else(|e| {
                // Only the number of files in the summary suffers.
                tracing::warn!(session = %self.live.id, error = %e, "earlier changes can't be read");
                Vec::new()
            });
            let files = earlier.into_iter().flat_map(|(_, files)| files);
            self.changed = Some(files.map(|f| f.diff.file).collect());
        }
        self.changed.get_or_insert_default()
    }
}

/// A path as clients show it: relative to the worktree when it is inside.
pub(crate) fn relative(file: &str, root: &str) -> String {
    file.strip_prefix(root)
        .filter(|_| root != "/" && !root.is_empty())
        .and_then(|rest| rest.strip_prefix('/'))
        .unwrap_or(file)
        .to_owned()
}

/// The blocking part of [`Actor::book_files`].
struct Work {
    session: SessionId,
    worktree: Worktree,
    before: Capture,
    watch: Watch,
    followed: Vec<PathBuf>,
    reported: Vec<FileDiff>,
    others: Vec<PathBuf>,
}

impl Work {
    /// The turn's changes, and the ignored files to follow from now on.
    fn run(self) -> (Booked, Vec<PathBuf>) {
        let named: Vec<PathBuf> = self.watch.touched().keys().cloned().collect();
        let extra: Vec<PathBuf> = self.followed.iter().chain(&named).cloned().collect();
        let after = self.worktree.capture(&self.session, &extra);
        let (listed, trouble) = match (&self.before.tree, &after.tree) {
            (Some(before), Some(after)) => match self.worktree.changes(before, after) {
                Ok(changes) => (changes, None),
                Err(e) => (Vec::new(), Some(e.to_string())),
            },
            _ => (Vec::new(), None),
        };
        let mut listed: HashMap<PathBuf, PathChange> =
            listed.into_iter().map(|c| (c.path.clone(), c)).collect();
        let mut changes = Vec::new();
        let mut followed = Vec::new();
        for path in &named {
            let change = listed.remove(path);
            let known = self.known_before(path);
            if known == Captured::Unknown && self.before.tree.is_some() {
                followed.push(path.clone());
            }
            changes.extend(self.named(path, change, known));
        }
        let mut rest: Vec<PathChange> = listed.into_values().collect();
        rest.sort_by(|a, b| a.path.cmp(&b.path));
        let more = (rest.len() + changes.len()).saturating_sub(MAX_FILES);
        rest.truncate(MAX_FILES.saturating_sub(changes.len()));
        changes.extend(rest.into_iter().filter_map(|change| self.unnamed(change)));
        let coverage = if trouble.is_some() {
            Coverage::None
        } else {
            self.before.coverage.min(after.coverage)
        };
        let too_many =
            (more > 0).then(|| format!("{more} changed files beyond the first {MAX_FILES}"));
        let reason = self.before.reason.clone().or(after.reason).or(trouble);
        let booked = Booked {
            worktree: TurnWorktree {
                before: self.before.tree.clone(),
                after: after.tree,
                coverage: if too_many.is_some() {
                    coverage.min(Coverage::Partial)
                } else {
                    coverage
                },
                reason: reason.or(too_many),
                may_have_written: self.watch.may_have_written(),
            },
            changes: bounded(self.with_reported(changes)),
        };
        (booked, followed)
    }

    fn known_before(&self, path: &Path) -> Captured {
        let tree = self.before.tree.as_deref();
        tree.and_then(|tree| self.worktree.captured(tree, path).ok())
            .unwrap_or(Captured::Unknown)
    }

    /// A file that the agent named.
    fn named(
        &self,
        path: &Path,
        change: Option<PathChange>,
        known: Captured,
    ) -> Option<FileChange> {
        let after = match change {
            Some(change) => change.after,
            None => self.worktree.keep(&self.session, path).ok()?,
        };
        let (before, before_known) = match known {
            Captured::File(state) => (Some(state), true),
            Captured::Absent => (None, true),
            Captured::Unknown => (None, false),
        };
        let name = path.to_string_lossy();
        let reported = self.reported.iter().find(|r| r.file == name);
        let ours = self.ours(
            path,
            &Observed {
                before,
                before_known,
                after,
                changed_at: worktree::changed_at(path),
                touch: self.watch.touched().get(path).cloned(),
                said: reported.map(|r| r.status),
                of_others: false,
            },
        )?;
        match reported {
            // What it was before is not known: then the agent's word is better.
            Some(reported) if !ours.captured => Some(FileChange::reported(reported.clone())),
            _ => Some(ours),
        }
    }

    /// A file that changed without the agent's word.
    fn unnamed(&self, change: PathChange) -> Option<FileChange> {
        self.ours(
            &change.path,
            &Observed {
                before_known: true,
                changed_at: worktree::changed_at(&change.path),
                of_others: self.others.contains(&change.path),
                before: change.before,
                after: change.after,
                ..Observed::default()
            },
        )
    }

    fn ours(&self, path: &Path, observed: &Observed) -> Option<FileChange> {
        let Ours {
            before,
            after,
            captured,
        } = attribute(observed, &self.watch)?;
        let change = PathChange {
            path: path.to_owned(),
            before,
            after,
        };
        let mut described = self.worktree.describe(&change);
        described.captured &= captured;
        Some(described)
    }

    /// With the files that only the agent knows of: outside the worktree, or not readable.
    fn with_reported(&self, mut changes: Vec<FileChange>) -> Vec<FileChange> {
        for diff in &self.reported {
            let path = Path::new(&diff.file);
            let is_inside =
                path.starts_with(self.worktree.directory()) && self.worktree.state(path).is_ok();
            if !is_inside && !changes.iter().any(|c| c.diff.file == diff.file) {
                changes.push(FileChange::reported(diff.clone()));
            }
        }
        changes.sort_by(|a, b| a.diff.file.cmp(&b.diff.file));
        changes
    }
}

/// Leaves out patches beyond what a turn may show.
fn bounded(mut changes: Vec<FileChange>) -> Vec<FileChange> {
    let mut left = MAX_PATCHES;
    for change in &mut changes {
        let size = change.diff.patch.as_ref().map_or(0, String::len);
        if size > left {
            change.diff.patch = None;
            change.omitted = Some(PatchOmitted::TooLarge);
        } else {
            left -= size;
        }
    }
    changes
}
