use sessiond_engine::{EngineError, RevertOptions};
use sessiond_model::{Conflict, MessageInfo, RestoreRung};
use sessiond_store::MessageQuery;

use super::{Site, to};

#[tokio::test(flavor = "multi_thread")]
async fn files_go_back_and_forth_with_the_messages() {
    let site = Site::in_git(&[("a.txt", "zero\n"), ("gone.txt", "here\n")]).await;
    let one = site.ask("/write a.txt one\\n").await;
    let two = site
        .ask("/write a.txt two\\n\n/write new/b.txt b\n/run rm gone.txt && chmod +x a.txt")
        .await;

    let reverted = site
        .w
        .engine
        .revert(&site.s.id, to(&two.user_message_id))
        .await;
    let reverted = reverted.unwrap();
    assert!(reverted.files.iter().all(|f| f.applied), "{reverted:?}");
    assert_eq!(site.read("a.txt").as_deref(), Some("one\n"));
    assert_eq!(site.read("gone.txt").as_deref(), Some("here\n"));
    assert_eq!(site.read("new/b.txt"), None);
    let marker = reverted.session.revert.clone().unwrap();
    assert_eq!(marker.message_id, two.user_message_id);
    assert!(marker.diff.unwrap().contains("-two\n+one\n"));
    // What is hidden is not part of the session's changes.
    let changes = site.w.engine.diff(&site.s.id, None).await.unwrap();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(reverted.session.summary.as_ref().unwrap().files, 1);

    // Further back, then forward again, then whole.
    let further = site
        .w
        .engine
        .revert(&site.s.id, to(&one.user_message_id))
        .await;
    assert!(further.unwrap().files.iter().all(|f| f.conflict.is_none()));
    assert_eq!(site.read("a.txt").as_deref(), Some("zero\n"));
    site.w
        .engine
        .revert(&site.s.id, to(&two.user_message_id))
        .await
        .unwrap();
    assert_eq!(site.read("a.txt").as_deref(), Some("one\n"));
    let whole = site.w.engine.unrevert(&site.s.id).await.unwrap();
    assert_eq!(whole.session.revert, None);
    assert_eq!(site.read("a.txt").as_deref(), Some("two\n"));
    assert_eq!(site.read("new/b.txt").as_deref(), Some("b"));
    assert_eq!(site.read("gone.txt"), None);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(site.path("a.txt"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o111, 0o111);
    }
    assert_eq!(whole.session.summary.as_ref().unwrap().files, 3);
    // Once more changes nothing.
    let again = site.w.engine.unrevert(&site.s.id).await.unwrap();
    assert_eq!(again.session.revision, whole.session.revision);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_wrote_stays_and_is_reported() {
    let site = Site::new().await;
    site.write("a.txt", "zero");
    let turn = site.ask("/write a.txt agent\n/write b.txt agent").await;
    site.write("a.txt", "person");
    let reverted = site
        .w
        .engine
        .revert(&site.s.id, to(&turn.user_message_id))
        .await;
    let reverted = reverted.unwrap();
    assert_eq!(site.read("a.txt").as_deref(), Some("person"));
    assert_eq!(site.read("b.txt"), None);
    let conflicts: Vec<_> = reverted.files.iter().filter_map(|f| f.conflict).collect();
    assert_eq!(conflicts, [Conflict::Changed]);
    // A file that a person writes while the session is reverted survives the way back.
    site.write("b.txt", "person too");
    let whole = site.w.engine.unrevert(&site.s.id).await.unwrap();
    assert_eq!(site.read("a.txt").as_deref(), Some("person"));
    assert_eq!(site.read("b.txt").as_deref(), Some("person too"));
    assert_eq!(
        whole.files.iter().filter(|f| f.conflict.is_some()).count(),
        1
    );

    // By force, and back from what was kept.
    let force = RevertOptions {
        force: true,
        ..to(&turn.user_message_id)
    };
    site.w.engine.revert(&site.s.id, force).await.unwrap();
    assert_eq!(site.read("a.txt").as_deref(), Some("zero"));
    site.w.engine.unrevert(&site.s.id).await.unwrap();
    assert_eq!(site.read("a.txt").as_deref(), Some("person"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_prompt_removes_what_was_reverted_and_the_agent_forgets_it() {
    let site = Site::new().await;
    site.ask("remember the word walrus").await;
    let two = site.ask("remember the word penguin").await;
    site.w
        .engine
        .revert(&site.s.id, to(&two.user_message_id))
        .await
        .unwrap();
    let all = MessageQuery::default();
    let count = site.w.engine.messages(&site.s.id, &all).await.unwrap();
    assert_eq!(count.messages.len(), 4, "they stay until then");
    let next = site.ask("/history").await;
    assert_eq!(next.restore, Some(RestoreRung::Rebuilt));
    let page = site.w.engine.messages(&site.s.id, &all).await.unwrap();
    assert_eq!(page.messages.len(), 4);
    assert!(page.messages.iter().all(|m| m.id != two.user_message_id));
    assert_eq!(
        site.w.engine.session(&site.s.id).await.unwrap().revert,
        None
    );
    let said = site.w.answer_text(&next).await;
    assert!(
        said.contains("walrus") && !said.contains("penguin"),
        "{said}"
    );
    // Nothing refers to what is gone.
    for turn in site
        .w
        .engine
        .turns(&site.s.id, &Default::default())
        .await
        .unwrap()
    {
        site.w
            .engine
            .message(&site.s.id, &turn.user_message_id)
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revert_can_be_made_final_without_a_prompt() {
    let site = Site::new().await;
    site.ask("remember the word walrus").await;
    let two = site.ask("/write a.txt one").await;
    let engine = &site.w.engine;
    let untouched = engine.session(&site.s.id).await.unwrap();
    let same = engine.commit_revert(&site.s.id).await.unwrap();
    assert_eq!(*same, untouched, "there is nothing to do");
    let to_two = to(&two.user_message_id);
    engine.revert(&site.s.id, to_two).await.unwrap();
    let session = engine.commit_revert(&site.s.id).await.unwrap();
    assert_eq!(session.revert, None);
    assert_eq!(site.read("a.txt"), None);
    let all = MessageQuery::default();
    let left = engine.messages(&site.s.id, &all).await.unwrap();
    assert_eq!(left.messages.len(), 2);
    let turns = engine.turns(&site.s.id, &Default::default()).await;
    assert!(turns.unwrap().iter().all(|t| t.id != two.id));
    // It can't be taken back any more, and the agent forgets it.
    engine.unrevert(&site.s.id).await.unwrap();
    assert_eq!(site.read("a.txt"), None);
    let next = site.ask("/history").await;
    assert_eq!(next.restore, Some(RestoreRung::Rebuilt));
    let said = site.w.answer_text(&next).await;
    assert!(said.contains("walrus"), "{said}");
    assert!(!said.contains("a.txt"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn to_an_answer_means_to_its_prompt_and_to_a_part_means_to_that() {
    let site = Site::new().await;
    let turn = site.ask("/write a.txt x").await;
    let answer = turn.assistant_message_id.clone().unwrap();
    let reverted = site.w.engine.revert(&site.s.id, to(&answer)).await.unwrap();
    let marker = reverted.session.revert.clone().unwrap();
    assert_eq!(
        (marker.message_id, marker.part_id),
        (turn.user_message_id.clone(), None)
    );
    site.w.engine.unrevert(&site.s.id).await.unwrap();
    let parts = site.w.answer(&turn).await;
    let last = parts.last().unwrap().id.clone();
    let options = RevertOptions {
        part_id: Some(last.clone()),
        ..to(&answer)
    };
    let reverted = site.w.engine.revert(&site.s.id, options).await.unwrap();
    let marker = reverted.session.revert.clone().unwrap();
    assert_eq!(
        (marker.message_id, marker.part_id),
        (answer.clone(), Some(last.clone()))
    );
    assert_eq!(site.read("a.txt"), None);
    site.ask("go on").await;
    let doc = site.w.engine.message(&site.s.id, &answer).await.unwrap();
    assert_eq!(doc.parts.len(), parts.len() - 1);
    assert!(matches!(
        doc.message().unwrap().info,
        MessageInfo::Assistant(_)
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_and_a_directory_change_places() {
    let site = Site::in_git(&[("a", "file\n"), ("b/c", "in b\n")]).await;
    let run = "/run rm a && mkdir a && echo x > a/y && rm -r b && echo b > b";
    let turn = site.ask(run).await;
    let back = site
        .w
        .engine
        .revert(&site.s.id, to(&turn.user_message_id))
        .await;
    assert!(back.unwrap().files.iter().all(|f| f.applied));
    assert_eq!(site.read("a").as_deref(), Some("file\n"));
    assert_eq!(site.read("b/c").as_deref(), Some("in b\n"));
    site.w.engine.unrevert(&site.s.id).await.unwrap();
    assert_eq!(site.read("a/y").as_deref(), Some("x\n"));
    assert_eq!(site.read("b").as_deref(), Some("b\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_one_directory_are_purged_together() {
    let site = Site::new().await;
    let mut ids = Vec::new();
    for n in 0..6 {
        let s = site.w.session().await;
        site.ask_in(&s.id, &format!("/write f{n}.txt canary {n}"))
            .await;
        site.w.engine.delete_session(&s.id).await.unwrap();
        ids.push(s.id);
    }
    let purged = site.w.engine.empty_trash().await.unwrap();
    assert_eq!(purged, ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_session_and_unknown_messages_are_refused() {
    let site = Site::new().await;
    let turn = site.w.say(&site.s.id, "/hang").await;
    let busy = site
        .w
        .engine
        .revert(&site.s.id, to(&turn.user_message_id))
        .await;
    assert!(matches!(busy, Err(EngineError::Busy(_))), "{busy:?}");
    assert!(matches!(
        site.w.engine.unrevert(&site.s.id).await,
        Err(EngineError::Busy(_))
    ));
    site.w
        .engine
        .abort(&site.s.id, Default::default())
        .await
        .unwrap();
    let unknown = sessiond_model::MessageId::parse("msg_nope").unwrap();
    let refused = site.w.engine.revert(&site.s.id, to(&unknown)).await;
    assert!(
        matches!(refused, Err(EngineError::NotFound { .. })),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_captured_is_said_before_anything_is_done() {
    let w = super::World::with(|config| config.snapshots.directory = None).await;
    let s = w.session().await;
    let site = Site { w, s };
    let turn = site.ask("/write a.txt x").await;
    let refused = site
        .w
        .engine
        .revert(&site.s.id, to(&turn.user_message_id))
        .await;
    assert!(
        matches!(refused, Err(EngineError::NotCaptured { .. })),
        "{refused:?}"
    );
    assert_eq!(
        site.w.engine.session(&site.s.id).await.unwrap().revert,
        None
    );
    let lenient = RevertOptions {
        lenient: true,
        ..to(&turn.user_message_id)
    };
    let reverted = site.w.engine.revert(&site.s.id, lenient).await.unwrap();
    assert_eq!(reverted.warnings.len(), 1);
    assert_eq!(site.read("a.txt").as_deref(), Some("x"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revert_that_a_crash_cut_off_is_finished_at_the_start() {
    let mut site = Site::new().await;
    site.write("a.txt", "zero");
    let turn = site.ask("/write a.txt agent\n/write b.txt agent").await;
    let reverted = site
        .w
        .engine
        .revert(&site.s.id, to(&turn.user_message_id))
        .await;
    reverted.unwrap();
    // As if it had been cut off after the first file: written down, not done.
    let mut cut_off = site.w.store.restore(&site.s.id).await.unwrap().unwrap();
    cut_off.phase = sessiond_model::RestorePhase::Pending;
    site.write("b.txt", "agent");
    let commit = sessiond_model::Commit {
        session_id: site.s.id.clone(),
        fence: site.w.store.epoch(),
        at: site.w.engine.clock().now(),
        require: Vec::new(),
        changes: vec![
            sessiond_model::Change::SetRestore(Some(Box::new(cut_off))),
            sessiond_model::Change::UpdateSession(sessiond_model::SessionPatch {
                revert: Some(None),
                ..Default::default()
            }),
        ],
    };
    site.w.store.commit(commit).await.unwrap();
    site.w.restart().await;
    assert_eq!(site.read("a.txt").as_deref(), Some("zero"));
    assert_eq!(site.read("b.txt"), None);
    assert!(
        site.w
            .engine
            .session(&site.s.id)
            .await
            .unwrap()
            .revert
            .is_some()
    );
    site.w.engine.unrevert(&site.s.id).await.unwrap();
    assert_eq!(site.read("a.txt").as_deref(), Some("agent"));
    assert_eq!(site.read("b.txt").as_deref(), Some("agent"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revert_that_was_cut_off_is_finished_before_the_next_prompt() {
    let site = Site::new().await;
    site.write("a.txt", "zero");
    let turn = site.ask("/write a.txt agent").await;
    let s = &site.s.id;
    site.w
        .engine
        .revert(s, to(&turn.user_message_id))
        .await
        .unwrap();
    let mut pending = site.w.store.restore(s).await.unwrap().unwrap();
    site.w.engine.unrevert(s).await.unwrap();
    // Written down while the session was in the trash, so to say: nobody has it in mind.
    pending.phase = sessiond_model::RestorePhase::Pending;
    let commit = sessiond_model::Commit {
        session_id: s.clone(),
        fence: site.w.store.epoch(),
        at: site.w.engine.clock().now(),
        require: Vec::new(),
        changes: vec![sessiond_model::Change::SetRestore(Some(Box::new(pending)))],
    };
    site.w.engine.delete_session(s).await.unwrap();
    site.w.store.commit(commit).await.unwrap();
    site.w.engine.restore_session(s).await.unwrap();
    site.ask("go on").await;
    assert_eq!(site.read("a.txt").as_deref(), Some("zero"));
    let page = site
        .w
        .engine
        .messages(s, &MessageQuery::default())
        .await
        .unwrap();
    assert!(page.messages.iter().all(|m| m.id != turn.user_message_id));
    assert_eq!(site.w.store.restore(s).await.unwrap(), None);
}
