//! What the tool calls of a running turn do to files, as far as it can be seen from outside.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use sessiond_agent::Call;
use sessiond_model::{FileState, Timestamp};

/// Clock ticks of file systems are coarse, and an agent's word takes its time through a pipe.
const SLACK_MILLIS: i64 = 100;

/// A file at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What it was; `None` when there was none.
    pub(crate) state: Option<FileState>,
    /// When it had last changed.
    pub(crate) changed_at: Option<Timestamp>,
}

/// A file that the agent says it writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touch {
    /// When it was first named.
    pub(crate) named_at: Timestamp,
    /// As it was then.
    pub(crate) first: Option<Seen>,
    /// As it was when the last call that writes it had ended.
    pub(crate) last: Option<Seen>,
}

/// A time in which files may have been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    from: Timestamp,
    to: Option<Timestamp>,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watch {
    calls: HashMap<String, (Window, BTreeSet<PathBuf>)>,
    others: Vec<Window>,
    touched: BTreeMap<PathBuf, Touch>,
}

/// A file to look at now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) path: PathBuf,
    /// Whether a call that writes it has ended (else one begins).
    pub(crate) ended: bool,
}

impl Watch {
    /// Takes the calls as they are now; answers the files to look at.
    pub(crate) fn observe<'a>(
        &mut self,
        calls: impl Iterator<Item = Call<'a>>,
        now: Timestamp,
    ) -> Vec<Look> {
        let mut looks = Vec::new();
        for call in calls.filter(|c| c.may_write) {
            if !self.calls.contains_key(call.id) {
                let window = Window {
                    from: now,
                    to: None,
                };
                self.calls
                    .insert(call.id.to_owned(), (window, BTreeSet::new()));
            }
            let Some((window, named)) = self.calls.get_mut(call.id) else {
                continue;
            };
            let has_ended = window.to.is_none() && call.ended;
            if has_ended {
                window.to = Some(now);
            }
            for path in call.files {
                if named.insert(path.clone()) && !self.touched.contains_key(&path) {
                    let touch = Touch {
                        named_at: now,
                        ..Touch::default()
                    };
                    self.touched.insert(path.clone(), touch);
                    looks.push(Look { path, ended: false });
                }
            }
            if has_ended {
                looks.extend(named.iter().map(|path| Look {
                    path: path.clone(),
                    ended: true,
                }));
            }
        }
        looks
    }

    /// Takes what was seen.
    pub(crate) fn saw(&mut self, look: &Look, seen: Seen) {
        if let Some(touch) = self.touched.get_mut(&look.path) {
            if look.ended {
                touch.last = Some(seen);
            } else {
                touch.first = Some(seen);
            }
        }
    }

    /// From now on anything may be written, until the end of the turn.
    pub(crate) fn open(&mut self, now: Timestamp) {
        self.others.push(Window {
            from: now,
            to: None,
        });
    }

    /// Whether anything ran that may have written files.
    pub(crate) fn may_have_written(&self) -> bool {
        !self.calls.is_empty() || !self.others.is_empty()
    }

    /// Whether something that may write files ran at this time.
    pub(crate) fn covers(&self, at: Timestamp) -> bool {
        let windows = self.calls.values().map(|(w, _)| w).chain(&self.others);
        windows.into_iter().any(|w| {
            at >= w.from.plus_millis(-SLACK_MILLIS)
                && w.to.is_none_or(|to| at <= to.plus_millis(SLACK_MILLIS))
        })
    }

    /// The files that the agent named.
    pub(crate) fn touched(&self) -> &BTreeMap<PathBuf, Touch> {
        &self.touched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call<'a>(id: &'a str, files: &[&str], ended: bool) -> Call<'a> {
        Call {
            id,
            may_write: true,
            files: files.iter().map(PathBuf::from).collect(),
            ended,
        }
    }

    #[test]
    fn a_file_is_looked_at_when_it_is_named_and_when_its_call_has_ended() {
        let mut watch = Watch::default();
        let now = Timestamp(1_000);
        let begun = watch.observe([call("c", &["/a"], false)].into_iter(), now);
        assert_eq!(
            begun,
            [Look {
                path: "/a".into(),
                ended: false
            }]
        );
        assert!(
            watch
                .observe([call("c", &["/a"], false)].into_iter(), now)
                .is_empty()
        );
        let ended = watch.observe([call("c", &["/a"], true)].into_iter(), now);
        assert_eq!(
            ended,
            [Look {
                path: "/a".into(),
                ended: true
            }]
        );
        assert!(
            watch
                .observe([call("c", &["/a"], true)].into_iter(), now)
                .is_empty()
        );
    }

    #[test]
    fn a_call_covers_the_time_it_ran() {
        let mut watch = Watch::default();
        watch.observe([call("c", &[], false)].into_iter(), Timestamp(10_000));
        assert!(!watch.covers(Timestamp(9_000)));
        assert!(watch.covers(Timestamp(99_000)));
        watch.observe([call("c", &[], true)].into_iter(), Timestamp(20_000));
        assert!(watch.covers(Timestamp(15_000)) && watch.covers(Timestamp(20_050)));
        assert!(!watch.covers(Timestamp(21_000)));
    }

    #[test]
    fn reading_is_not_writing() {
        let mut watch = Watch::default();
        let read = Call {
            may_write: false,
            ..call("c", &[], false)
        };
        watch.observe([read].into_iter(), Timestamp(1));
        assert!(!watch.may_have_written() && !watch.covers(Timestamp(1)));
    }
}
