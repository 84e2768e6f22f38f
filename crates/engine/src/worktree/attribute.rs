//! Who wrote a file: this session, or a person or another session at the same time.

use sessiond_model::{DiffStatus, FileState, Timestamp};

use super::watch::{Touch, Watch};

/// A changed file, with all that is known of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    /// As it was before the turn; `None` when it was not there.
    pub(crate) before: Option<FileState>,
    /// Whether `before` is known: an ignored file is captured only once it was named.
    pub(crate) before_known: bool,
    /// As it was after the turn.
    pub(crate) after: Option<FileState>,
    /// When it last changed.
    pub(crate) changed_at: Option<Timestamp>,
    /// What the agent said of it.
    pub(crate) touch: Option<Touch>,
    /// How the agent said that it changed it.
    pub(crate) said: Option<DiffStatus>,
    /// Whether another session said that it writes it.
    pub(crate) of_others: bool,
}

/// What this session made of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ours {
    pub(crate) before: Option<FileState>,
    pub(crate) after: Option<FileState>,
    /// Whether both are sure.
    pub(crate) captured: bool,
}

/// What this session made of the file; `None` when it was not this session, or nothing.
///
/// A file that the agent named is its own. Any other one is, when it last changed while a
/// command or another call that may write ran; a file that vanished has no time, so any such
/// call counts. What a person writes into a file in between stays theirs: it is the `before`
/// of the agent's next write, and never the `after` of its last one.
pub(crate) fn attribute(seen: &Observed, watch: &Watch) -> Option<Ours> {
    let Some(touch) = &seen.touch else {
        let ran = match seen.changed_at.filter(|_| seen.after.is_some()) {
            Some(at) => watch.covers(at),
            None => seen.after.is_none() && watch.may_have_written(),
        };
        return (ran && !seen.of_others && seen.before != seen.after).then(|| Ours {
            before: seen.before.clone(),
            after: seen.after.clone(),
            captured: seen.before_known,
        });
    };
    let after = match &touch.last {
        // Changed once more when nothing of ours ran: by somebody else.
        Some(last)
            if last.state != seen.after && !seen.changed_at.is_some_and(|at| watch.covers(at)) =>
        {
            last.state.clone()
        }
        _ => seen.after.clone(),
    };
    let first = touch.first.as_ref();
    // What was there when the agent first named the file, unless it is the agent's own text
    // already: the word of it and the write race each other.
    let by_a_person = first.filter(|first| {
        first.state != after
            && first
                .changed_at
                .is_some_and(|at| !watch.covers(at) && at < touch.named_at)
    });
    let (before, captured) = match by_a_person {
        Some(first) => (first.state.clone(), true),
        None if seen.before_known => (seen.before.clone(), true),
        // An ignored file: only a look before the write helps.
        None => match first {
            Some(first) if first.state != after => (first.state.clone(), true),
            _ => (None, seen.said == Some(DiffStatus::Added)),
        },
    };
    (before != after).then_some(Ours {
        before,
        after,
        captured,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use sessiond_agent::Call;

    use super::super::watch::{Look, Seen};
    use super::*;

    fn state(oid: &str) -> Option<FileState> {
        Some(FileState {
            mode: "100644".into(),
            oid: oid.into(),
        })
    }

    fn seen(oid: &str, at: i64) -> Seen {
        Seen {
            state: state(oid),
            changed_at: Some(Timestamp(at)),
        }
    }

    /// A call that ran from 10,000 to 20,000.
    fn watch(files: &[&str]) -> Watch {
        let mut watch = Watch::default();
        let call = |ended| Call {
            id: "c",
            may_write: true,
            files: files.iter().map(PathBuf::from).collect(),
            ended,
        };
        watch.observe([call(false)].into_iter(), Timestamp(10_000));
        watch.observe([call(true)].into_iter(), Timestamp(20_000));
        watch
    }

    fn changed(at: i64) -> Observed {
        Observed {
            before: state("0"),
            before_known: true,
            after: state("1"),
            changed_at: Some(Timestamp(at)),
            ..Observed::default()
        }
    }

    #[test]
    fn what_changed_while_nothing_ran_is_a_persons() {
        assert_eq!(attribute(&changed(5_000), &watch(&[])), None);
        assert_eq!(attribute(&changed(25_000), &watch(&[])), None);
        assert_eq!(attribute(&changed(15_000), &Watch::default()), None);
        assert!(attribute(&changed(15_000), &watch(&[])).is_some());
    }

    #[test]
    fn what_another_session_names_is_not_ours() {
        let of_others = Observed {
            of_others: true,
            ..changed(15_000)
        };
        assert_eq!(attribute(&of_others, &watch(&[])), None);
    }

    #[test]
    fn a_file_that_vanished_went_with_a_command() {
        let gone = Observed {
            after: None,
            changed_at: None,
            ..changed(0)
        };
        assert!(attribute(&gone, &watch(&[])).is_some());
        assert_eq!(attribute(&gone, &Watch::default()), None);
    }

    #[test]
    fn a_persons_text_before_and_after_the_agents_stays_theirs() {
        let mut watch = watch(&["/a"]);
        let look = |ended| Look {
            path: "/a".into(),
            ended,
        };
        watch.saw(&look(false), seen("person", 9_000));
        watch.saw(&look(true), seen("agent", 15_000));
        let observed = Observed {
            after: state("person again"),
            changed_at: Some(Timestamp(30_000)),
            touch: watch.touched().get(&PathBuf::from("/a")).cloned(),
            ..changed(0)
        };
        let ours = attribute(&observed, &watch).unwrap();
        assert_eq!(ours.before, state("person"));
        assert_eq!(ours.after, state("agent"));
        assert!(ours.captured);
    }

    #[test]
    fn a_look_that_came_too_late_is_no_before() {
        let mut watch = watch(&["/a"]);
        let look = Look {
            path: "/a".into(),
            ended: false,
        };
        watch.saw(&look, seen("1", 10_010));
        let observed = Observed {
            touch: watch.touched().get(&PathBuf::from("/a")).cloned(),
            ..changed(10_010)
        };
        assert_eq!(attribute(&observed, &watch).unwrap().before, state("0"));
        // Half a write is none either.
        watch.saw(&look, seen("half", 10_010));
        let observed = Observed {
            touch: watch.touched().get(&PathBuf::from("/a")).cloned(),
            ..changed(10_010)
        };
        assert_eq!(attribute(&observed, &watch).unwrap().before, state("0"));
    }

    #[test]
    fn an_ignored_file_is_sure_only_when_it_was_seen_before_the_write() {
        let mut watch = watch(&["/a"]);
        let look = Look {
            path: "/a".into(),
            ended: false,
        };
        let ignored = |watch: &Watch| Observed {
            before: None,
            before_known: false,
            touch: watch.touched().get(&PathBuf::from("/a")).cloned(),
            said: Some(DiffStatus::Modified),
            ..changed(15_000)
        };
        watch.saw(&look, seen("0", 1));
        let ours = attribute(&ignored(&watch), &watch).unwrap();
        assert_eq!((ours.before, ours.captured), (state("0"), true));
        watch.saw(&look, seen("1", 10_010));
        let ours = attribute(&ignored(&watch), &watch).unwrap();
        assert!(!ours.captured);
    }
}
