//! Shell commands of a person.

use std::time::Duration;

use super::{output, processes, shell, with_id};
use crate::support::{World, tools, until};
use sessiond_engine::{AbortOptions, EngineError, ShellInput, WhenBusy};
use sessiond_model::{MessageInfo, RestoreRung, StatusKind, ToolState, TurnState, rules};

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_command_runs_in_the_directory_and_is_kept() {
    let w = World::new().await;
    let s = w.session().await;
    let turn = w.ran(&s.id, "pwd; echo err >&2; exit 3").await;
    assert_eq!(turn.state, TurnState::Completed, "{turn:?}");
    assert_eq!(turn.restore, None);
    assert_eq!(
        w.user_text(&turn).await,
        "The following tool was executed by the user"
    );
    let expected = format!("{}\nerr\n", w.project().display());
    let parts = w.answer(&turn).await;
    let [
        ToolState::Completed {
            input,
            output,
            metadata,
            title,
            ..
        },
    ] = tools(&parts)[..]
    else {
        panic!("{parts:?}")
    };
    assert_eq!(*output, expected);
    assert_eq!(input["command"], "pwd; echo err >&2; exit 3");
    assert_eq!(metadata["output"], expected);
    assert_eq!(metadata["exit"], 3);
    assert_eq!(title, "");
    assert_eq!(parts.len(), 1);
    let doc = w
        .engine
        .message(&s.id, &turn.assistant_message_id.clone().unwrap())
        .await
        .unwrap();
    let MessageInfo::Assistant(info) = doc.message().unwrap().info else {
        panic!()
    };
    assert!(info.time.completed.is_some());
    assert_eq!((info.finish, info.error), (None, None));
    let after = w.engine.session(&s.id).await.unwrap();
    assert_eq!(after.status.kind, StatusKind::Idle);
    assert!(rules::is_default_title(&after.title));
    // No agent was started for it.
    assert_eq!(w.engine.health().await.unwrap().agents, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_grows_while_the_command_runs_and_an_abort_ends_it_all() {
    let w = World::with(|c| c.term_grace = Duration::from_millis(200)).await;
    let s = w.session().await;
    let turn = w
        .run(
            &s.id,
            "trap '' TERM; (trap '' TERM; sleep 600) & echo first; wait; sleep 600",
        )
        .await;
    let seen = until("output", || async {
        match w.tool(&turn).await? {
            ToolState::Running { metadata, .. } => metadata,
            other => panic!("{other:?}"),
        }
    })
    .await;
    assert_eq!(seen["output"], "first\n");
    assert!(processes(&turn) >= 2);
    assert!(
        w.engine
            .abort(&s.id, AbortOptions::default())
            .await
            .unwrap()
    );
    assert_eq!(processes(&turn), 0);
    let turn = w.end(&turn).await;
    assert_eq!(turn.state, TurnState::Aborted);
    let state = w.tool(&turn).await.unwrap();
    assert!(
        output(&state).ends_with("\n\n<metadata>\nUser aborted the command\n</metadata>"),
        "{state:?}"
    );
    let doc = w
        .engine
        .message(&s.id, &turn.assistant_message_id.clone().unwrap())
        .await
        .unwrap();
    let MessageInfo::Assistant(info) = doc.message().unwrap().info else {
        panic!()
    };
    assert_eq!(info.error, None);
    assert!(info.time.completed.is_some());
    // And the session works on.
    assert_eq!(w.ask(&s.id, "hello").await.state, TurnState::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_leaves_behind_neither_holds_the_turn_nor_lives_on() {
    let w = World::new().await;
    let s = w.session().await;
    let turn = w
        .ran(&s.id, "sleep 600 & setsid sleep 600 & echo started")
        .await;
    assert_eq!(turn.state, TurnState::Completed);
    let state = w.tool(&turn).await.unwrap();
    assert!(output(&state).starts_with("started\n"), "{state:?}");
    assert!(output(&state).contains("2 processes"), "{state:?}");
    assert_eq!(processes(&turn), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_cut_and_odd_bytes_do_no_harm() {
    let w = World::new().await;
    let s = w.session().await;
    let turn = w
        .ran(
            &s.id,
            "printf 'begin \\377\\n'; head -c 3000000 /dev/zero | tr '\\0' 'x'; echo; echo end",
        )
        .await;
    let state = w.tool(&turn).await.unwrap();
    let text = output(&state);
    assert!(text.starts_with("begin \u{fffd}\n"));
    assert!(text.ends_with("x\nend\n"));
    assert!(text.contains("bytes left out"));
    assert!(text.len() < 140_000, "{}", text.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_has_a_time_limit_and_no_settings_of_ours() {
    let w = World::with(|c| {
        c.turn_timeout = Duration::from_millis(300);
        c.term_grace = Duration::from_millis(200);
    })
    .await;
    let s = w.session().await;
    let turn = w.ran(&s.id, "env; sleep 600").await;
    assert_eq!(turn.state, TurnState::Failed);
    assert_eq!(turn.failure.as_ref().unwrap().code, "timeout");
    let state = w.tool(&turn).await.unwrap();
    let ours: Vec<_> = output(&state)
        .lines()
        .filter(|l| l.starts_with("SESSIOND_") && !l.starts_with("SESSIOND_DEMO_HOME"))
        .collect();
    assert_eq!(ours, [format!("SESSIOND_SPAWN_ID={}", turn.id)]);
    assert!(output(&state).contains("ran too long"));
    assert_eq!(processes(&turn), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_gone_fails_the_command_with_a_reason() {
    let w = World::new().await;
    let s = w.session().await;
    std::fs::remove_dir_all(w.project()).unwrap();
    let turn = w.ran(&s.id, "true").await;
    assert_eq!(turn.failure.as_ref().unwrap().code, "shell_start");
    let state = w.tool(&turn).await.unwrap();
    assert!(
        matches!(&state, ToolState::Error { error, .. } if error.contains("is not a directory")),
        "{state:?}"
    );
    for bad in ["", "  ", "a\0b"] {
        let refused = w.engine.shell(&s.id, shell(bad)).await;
        assert!(
            matches!(&refused, Err(EngineError::Invalid { field, .. }) if field == "command"),
            "{refused:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shell_commands_queue_or_are_refused_and_a_prompt_waits_behind_them() {
    let w = World::new().await;
    let s = w.session().await;
    let go = w.project().join("go");
    let first = w
        .run(&s.id, "while ! [ -e go ]; do sleep 0.02; done; echo gone")
        .await;
    let refused = w
        .engine
        .shell(
            &s.id,
            ShellInput {
                busy: WhenBusy::Refuse,
                ..shell("true")
            },
        )
        .await;
    assert!(matches!(refused, Err(EngineError::Busy(_))), "{refused:?}");
    let second = w.run(&s.id, "echo second").await;
    let prompt = w.say(&s.id, "/history").await;
    std::fs::write(&go, "").unwrap();
    for turn in [&first, &second] {
        assert_eq!(w.end(turn).await.state, TurnState::Completed);
    }
    let prompt = w.end(&prompt).await;
    assert!(prompt.started_at >= w.end(&second).await.ended_at);
    // A new agent is told of them as of all that was said before.
    let told = w.answer_text(&prompt).await;
    assert!(
        told.contains("gone") && told.contains("echo second"),
        "{told}"
    );
    let session = w.engine.session(&s.id).await.unwrap();
    assert_eq!(session.status.kind, StatusKind::Idle);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_agent_hears_what_the_person_ran_meanwhile() {
    let w = World::new().await;
    let s = w.session().await;
    w.ask(&s.id, "hello").await;
    w.ran(
        &s.id,
        "echo fourty-two; head -c 100000 /dev/zero | tr '\\0' x",
    )
    .await;
    let turn = w.ask(&s.id, "/history").await;
    assert_eq!(turn.restore, Some(RestoreRung::Live));
    let told = w.answer_text(&turn).await;
    assert!(told.contains("<run-by-the-person>"), "{told}");
    assert!(
        told.contains("echo fourty-two") && told.contains("\nfourty-two\n"),
        "{told}"
    );
    assert!(told.len() < 20_000, "{}", told.len());
    // Once.
    let again = w.ask(&s.id, "/history").await;
    assert_eq!(
        w.answer_text(&again)
            .await
            .matches("<run-by-the-person>")
            .count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_id_is_the_same_shell_command_and_no_other() {
    let w = World::new().await;
    let s = w.session().await;
    let input = |command: &str| ShellInput {
        turn: with_id("msg_204163shell"),
        ..shell(command)
    };
    let one = w.engine.shell(&s.id, input("echo x >> log")).await.unwrap();
    let two = w.engine.shell(&s.id, input("echo x >> log")).await.unwrap();
    assert!(two.replayed);
    assert_eq!(one.turn.as_ref().unwrap().id, two.turn.unwrap().id);
    w.end(&one.turn.unwrap()).await;
    let log = std::fs::read_to_string(w.project().join("log")).unwrap();
    assert_eq!(log, "x\n");
    let other = w.engine.shell(&s.id, input("echo y >> log")).await;
    assert!(
        matches!(other, Err(EngineError::Conflict { .. })),
        "{other:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_interrupts_a_shell_command_and_keeps_the_queue() {
    let mut w = World::new().await;
    let s = w.session().await;
    let turn = w.run(&s.id, "trap '' TERM; echo before; sleep 600").await;
    let waiting = w.run(&s.id, "echo after").await;
    until("output", || async {
        match w.tool(&turn).await? {
            ToolState::Running { metadata, .. } => metadata.map(drop),
            other => panic!("{other:?}"),
        }
    })
    .await;
    w.engine.shutdown(Duration::from_secs(10)).await;
    assert_eq!(processes(&turn), 0);
    let stopped = w.engine.turn(&s.id, &turn.id).await.unwrap();
    assert_eq!(stopped.state, TurnState::Interrupted, "{stopped:?}");
    let parts = w.answer(&stopped).await;
    let [
        ToolState::Error {
            error, metadata, ..
        },
    ] = tools(&parts)[..]
    else {
        panic!("{parts:?}")
    };
    assert!(error.contains("shut down"), "{error}");
    assert_eq!(metadata.as_ref().unwrap()["output"], "before\n");
    w.restart().await;
    assert_eq!(w.end(&waiting).await.state, TurnState::Completed);
}
