//! Slash commands and init.

use super::{command, processes, shell, with_id};
use crate::support::{World, demo_model, until};
use sessiond_engine::{
    AbortOptions, CommandInput, CommandSource, CommandTemplate, EngineError, ShellInput, TurnInput,
};
use sessiond_model::{SessionId, TurnKind, TurnState};
use sessiond_store::TurnQuery;

#[tokio::test(flavor = "multi_thread")]
async fn unknown_agents_and_models_are_refused_for_every_kind() {
    let w = World::new().await;
    let s = w.session().await;
    w.ask(&s.id, "hello").await;
    let before = w.engine.turns(&s.id, &TurnQuery::default()).await.unwrap();
    let bad = TurnInput {
        model: Some(demo_model("no-such-model")),
        ..TurnInput::default()
    };
    let answers = [
        w.engine
            .shell(
                &s.id,
                ShellInput {
                    turn: bad.clone(),
                    ..shell("true")
                },
            )
            .await,
        w.engine
            .command(
                &s.id,
                CommandInput {
                    turn: bad.clone(),
                    ..command("plan", "")
                },
            )
            .await,
        w.engine.init(&s.id, bad.clone()).await,
        w.engine.summarize(&s.id, bad).await,
    ];
    for refused in answers {
        assert!(
            matches!(&refused, Err(EngineError::Invalid { field, .. }) if field == "model.modelID"),
            "{refused:?}"
        );
    }
    let after = w.engine.turns(&s.id, &TurnQuery::default()).await.unwrap();
    assert_eq!(before, after);
}

fn configured(template: &str) -> CommandTemplate {
    CommandTemplate {
        description: "a test".into(),
        template: template.into(),
        ..CommandTemplate::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_come_from_us_the_configuration_and_the_agent() {
    let w = World::with(|c| {
        c.commands
            .insert("greet".into(), configured("hi $1, you are $2"));
        c.commands.insert(
            "look".into(),
            configured("see !`echo in $1; pwd` and @src/main.rs"),
        );
    })
    .await;
    let s = w.session().await;
    let offered = |commands: Vec<sessiond_engine::OfferedCommand>| -> Vec<_> {
        commands.into_iter().map(|c| (c.name, c.source)).collect()
    };
    let names = offered(w.engine.commands().await.unwrap());
    assert_eq!(
        names,
        [
            ("init".to_owned(), CommandSource::BuiltIn),
            ("greet".to_owned(), CommandSource::Config),
            ("look".to_owned(), CommandSource::Config),
        ]
    );
    allow_everything(&w, &s.id).await;
    // The agent has not told its own yet.
    let refused = w.engine.command(&s.id, command("plan", "")).await;
    let Err(EngineError::Invalid { field, reason }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(field, "command");
    assert!(reason.contains("init, greet, look"), "{reason}");

    let turn = w.commanded(&s.id, "greet", "bob 'very kind' indeed").await;
    assert_eq!(w.user_text(&turn).await, "hi bob, you are very kind indeed");
    assert_eq!(
        turn.kind,
        TurnKind::Command {
            name: "greet".into(),
            arguments: "bob 'very kind' indeed".into()
        }
    );
    let told = w.answer_text(&turn).await;
    assert!(
        told.contains("You said: hi bob, you are very kind indeed"),
        "{told}"
    );

    let turn = w.commanded(&s.id, "look", "here").await;
    let filled = format!("see in here\n{} and @src/main.rs", w.project().display());
    assert_eq!(w.user_text(&turn).await, filled);
    assert!(w.answer_text(&turn).await.contains("in here"));

    let names = offered(w.engine.commands().await.unwrap());
    assert!(names.contains(&("plan".to_owned(), CommandSource::Agent("demo".into()))));
    let turn = w
        .commanded(&s.id, "write", "by-command.txt words and more")
        .await;
    assert_eq!(
        w.user_text(&turn).await,
        "/write by-command.txt words and more"
    );
    let plan = w.commanded(&s.id, "plan", "").await;
    assert_eq!(w.user_text(&plan).await, "/plan");
    assert_eq!(w.engine.todos(&s.id).await.unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_command_that_hangs_is_ended_by_an_abort() {
    let w = World::with(|c| {
        c.commands
            .insert("stuck".into(), configured("see !`sleep 600`"));
    })
    .await;
    let s = w.session().await;
    let accepted = w.engine.command(&s.id, command("stuck", "")).await.unwrap();
    let turn = accepted.turn.unwrap();
    until("the command", || async {
        (processes(&turn) > 0).then_some(())
    })
    .await;
    assert!(
        w.engine
            .abort(&s.id, AbortOptions::default())
            .await
            .unwrap()
    );
    assert_eq!(processes(&turn), 0);
    assert_eq!(w.end(&turn).await.state, TurnState::Aborted);
}

async fn allow_everything(w: &World, id: &SessionId) {
    let rule = sessiond_model::PermissionRule {
        permission: "*".into(),
        pattern: "*".into(),
        action: sessiond_model::PermissionAction::Allow,
    };
    let update = sessiond_engine::SessionUpdate {
        permission: Some(vec![rule]),
        ..sessiond_engine::SessionUpdate::default()
    };
    w.engine.update_session(id, update).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn init_writes_agents_md() {
    let w = World::new().await;
    let s = w.session().await;
    allow_everything(&w, &s.id).await;
    let accepted = w
        .engine
        .init(&s.id, with_id("msg_204163init"))
        .await
        .unwrap();
    let again = w
        .engine
        .init(&s.id, with_id("msg_204163init"))
        .await
        .unwrap();
    assert!(again.replayed);
    let turn = w.end(&accepted.turn.unwrap()).await;
    assert_eq!(turn.state, TurnState::Completed, "{turn:?}");
    assert_eq!(turn.user_message_id.as_str(), "msg_204163init");
    assert!(w.project().join("AGENTS.md").is_file());
}
