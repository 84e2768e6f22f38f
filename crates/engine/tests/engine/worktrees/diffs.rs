use sessiond_model::{Coverage, DiffStatus, FileChange, MessageInfo, PartBody};

use super::Site;

fn names(changes: &[FileChange], site: &Site) -> Vec<(String, DiffStatus)> {
    let root = format!("{}/", site.w.project().display());
    changes
        .iter()
        .map(|c| {
            let name = c.diff.file.strip_prefix(&root).unwrap_or(&c.diff.file);
            (name.to_owned(), c.diff.status)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turns_changes_are_those_of_its_files() {
    let site = Site::in_git(&[("a.txt", "one\n"), ("gone.txt", "x\n")]).await;
    let turn = site
        .ask("/write a.txt two\\n\n/run echo new > b.txt && rm gone.txt")
        .await;
    let worktree = turn.worktree.clone().unwrap();
    assert_eq!(worktree.coverage, Coverage::Full, "{worktree:?}");
    let changes = site.w.engine.file_changes(&turn.id).await.unwrap();
    assert_eq!(
        names(&changes, &site),
        [
            ("a.txt".into(), DiffStatus::Modified),
            ("b.txt".into(), DiffStatus::Added),
            ("gone.txt".into(), DiffStatus::Deleted)
        ]
    );
    assert!(changes.iter().all(|c| c.captured), "{changes:?}");
    let patch = changes[0].diff.patch.clone().unwrap();
    assert!(patch.contains("-one\n+two\n"), "{patch}");

    // The same on the prompt, in a part of the answer, and in the session's totals.
    let user = site
        .w
        .engine
        .message(&site.s.id, &turn.user_message_id)
        .await
        .unwrap();
    let Some(MessageInfo::User(info)) = user.message().map(|m| m.info) else {
        panic!("no prompt");
    };
    let shown = info.summary.unwrap().diffs;
    assert_eq!(shown[0].file, "a.txt");
    let parts = site.w.answer(&turn).await;
    let patched = parts.iter().find_map(|p| match &p.body {
        PartBody::Patch { hash, files } => Some((hash.clone(), files.len())),
        _ => None,
    });
    assert_eq!(patched, Some((worktree.before.unwrap(), 3)));
    let summary = site.w.engine.session(&site.s.id).await.unwrap().summary;
    let summary = summary.unwrap();
    assert_eq!(
        (summary.files, summary.additions, summary.deletions),
        (3, 2, 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_shows_each_file_once() {
    let site = Site::new().await;
    site.ask("/write a.txt one\\n\n/write b.txt x").await;
    site.ask("/write a.txt one\\ntwo\\n\n/run rm b.txt").await;
    let changes = site.w.engine.diff(&site.s.id, None).await.unwrap();
    assert_eq!(
        names(&changes, &site),
        [("a.txt".into(), DiffStatus::Added)]
    );
    assert_eq!(changes[0].diff.additions, 2);
    let patch = changes[0].diff.patch.as_ref().unwrap();
    assert!(patch.contains("+one\n+two\n"), "{patch}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_writes_meanwhile_is_not_the_sessions() {
    let site = Site::new().await;
    site.write("mine.txt", "a person's\n");
    let input = sessiond_engine::PromptInput {
        agent: Some("auto".into()),
        ..super::prompt("/slow 20 50\n/write a.txt x")
    };
    let turn = site.w.engine.prompt(&site.s.id, input).await.unwrap();
    let turn = turn.turn.unwrap();
    // It talks, and nothing runs that could write.
    super::super::support::until("the first words", || async {
        let parts = site.w.parts(&site.s.id).await;
        let says = parts.iter().any(|p| {
            p.message_id != turn.user_message_id
                && matches!(&p.body, PartBody::Text { text, .. } if !text.is_empty())
        });
        says.then_some(())
    })
    .await;
    site.write("mine.txt", "a person's, again\n");
    site.write("also-mine.txt", "new\n");
    let turn = site.w.end(&turn).await;
    let changes = site.w.engine.file_changes(&turn.id).await.unwrap();
    assert_eq!(
        names(&changes, &site),
        [("a.txt".into(), DiffStatus::Added)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_session_writes_meanwhile_is_not_ours() {
    let site = Site::new().await;
    let other = site.w.session().await;
    // A command of ours runs all the while, so that the time of a change tells nothing.
    let input = sessiond_engine::PromptInput {
        agent: Some("auto".into()),
        ..super::prompt("/run touch begun; while [ ! -e go ]; do sleep 0.02; done; rm go begun")
    };
    let turn = site.w.engine.prompt(&site.s.id, input).await.unwrap();
    super::super::support::until("the command", || async { site.read("begun").map(drop) }).await;
    let theirs = site.ask_in(&other.id, "/write b.txt x").await;
    site.write("go", "");
    let turn = site.w.end(&turn.turn.unwrap()).await;
    let changes = site.w.engine.file_changes(&turn.id).await.unwrap();
    assert_eq!(names(&changes, &site), []);
    let changes = site.w.engine.file_changes(&theirs.id).await.unwrap();
    let named: Vec<_> = names(&changes, &site).into_iter().map(|n| n.0).collect();
    assert!(named.contains(&"b.txt".to_owned()), "{named:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ignored_file_that_the_agent_names_is_captured() {
    let site = Site::in_git(&[(".gitignore", "*.env\n")]).await;
    site.write("secret.env", "old");
    let first = site.ask("/write secret.env new").await;
    let second = site.ask("/write secret.env newer").await;
    for turn in [&first, &second] {
        let changes = site.w.engine.file_changes(&turn.id).await.unwrap();
        let expected = [("secret.env".into(), DiffStatus::Modified)];
        assert_eq!(names(&changes, &site), expected);
    }
    // Known by its name, it is part of every capture.
    let changes = site.w.engine.file_changes(&second.id).await.unwrap();
    assert!(changes[0].captured, "{changes:?}");
    let options = super::to(&second.user_message_id);
    site.w.engine.revert(&site.s.id, options).await.unwrap();
    assert_eq!(site.read("secret.env").as_deref(), Some("new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_captures_the_agents_word_is_all_there_is() {
    let w = super::World::with(|config| config.snapshots.directory = None).await;
    let s = w.session().await;
    let site = Site { w, s };
    let turn = site.ask("/write a.txt x").await;
    assert_eq!(turn.worktree.as_ref().unwrap().coverage, Coverage::None);
    assert!(turn.worktree.unwrap().reason.is_some());
    let changes = site.w.engine.file_changes(&turn.id).await.unwrap();
    assert_eq!(
        names(&changes, &site),
        [("a.txt".into(), DiffStatus::Added)]
    );
    assert!(!changes[0].captured);
}
