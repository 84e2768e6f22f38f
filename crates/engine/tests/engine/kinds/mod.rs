//! Turns that are no plain prompts: shell commands, slash commands, init, compactions.

mod commands;
mod reverted;
mod shell;
mod summaries;

use crate::support::{World, texts, tools};
use sessiond_engine::{CommandInput, ShellInput, TurnInput, WhenBusy};
use sessiond_model::{MessageId, SessionId, ToolState, Turn};

fn shell(command: &str) -> ShellInput {
    ShellInput {
        command: command.into(),
        busy: WhenBusy::Queue,
        turn: TurnInput::default(),
    }
}

fn command(name: &str, arguments: &str) -> CommandInput {
    CommandInput {
        name: name.into(),
        arguments: arguments.into(),
        parts: Vec::new(),
        turn: TurnInput::default(),
    }
}

fn with_id(id: &str) -> TurnInput {
    TurnInput {
        message_id: Some(MessageId::parse(id).unwrap()),
        ..TurnInput::default()
    }
}

impl World {
    async fn run(&self, id: &SessionId, command: &str) -> Turn {
        let accepted = self.engine.shell(id, shell(command)).await.unwrap();
        accepted.turn.unwrap()
    }

    async fn ran(&self, id: &SessionId, command: &str) -> Turn {
        let turn = self.run(id, command).await;
        self.end(&turn).await
    }

    async fn commanded(&self, id: &SessionId, name: &str, arguments: &str) -> Turn {
        let input = command(name, arguments);
        let accepted = self.engine.command(id, input).await.unwrap();
        self.end(&accepted.turn.unwrap()).await
    }

    async fn summarized(&self, id: &SessionId) -> Turn {
        let accepted = self.engine.summarize(id, TurnInput::default()).await;
        self.end(&accepted.unwrap().turn.unwrap()).await
    }

    async fn user_text(&self, turn: &Turn) -> String {
        let doc = self
            .engine
            .message(&turn.session_id, &turn.user_message_id)
            .await
            .unwrap();
        texts(&doc.typed_parts())
    }

    /// The state of the one tool of a turn that is running or has ended.
    async fn tool(&self, turn: &Turn) -> Option<ToolState> {
        let turn = self.engine.turn(&turn.session_id, &turn.id).await.unwrap();
        turn.assistant_message_id.as_ref()?;
        tools(&self.answer(&turn).await)
            .first()
            .map(|t| (*t).clone())
    }
}

fn output(state: &ToolState) -> &str {
    match state {
        ToolState::Completed { output, .. } => output,
        other => panic!("{other:?}"),
    }
}

/// The processes that a turn has marked.
fn processes(turn: &Turn) -> usize {
    let marker = format!("SESSIOND_SPAWN_ID={}", turn.id);
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.unwrap().path().join("environ")).ok())
        .filter(|env| env.split(|b| *b == 0).any(|v| v == marker.as_bytes()))
        .count()
}
