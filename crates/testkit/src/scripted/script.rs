//! The scripts.

use std::time::Duration;

use super::conversation::{Conversation, Item, Marker};
use super::tools::Call;

/// One thing that the model does.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// Says something (one delta).
    Text(String),
    /// Thinks something (one delta).
    Think(String),
    /// Calls a tool.
    Call(Call),
    /// Waits.
    Pause(Duration),
    /// Breaks the connection.
    Cut,
}

/// What the model does with a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Says and does these things.
    Play(Vec<Block>),
    /// Refuses with this HTTP status.
    Refuse(u16),
}

/// Content of every file that a script writes.
pub(crate) const FILE: &str = "line one\nline two\n";

/// Seconds that `SLOWBASH` runs.
const SLOW_COMMAND: usize = 20;
/// Deltas of `SLOW`, one each 100 ms.
const SLOW_DELTAS: usize = 200;

fn say(words: &[&str]) -> Vec<Block> {
    words.iter().map(|w| Block::Text((*w).to_owned())).collect()
}

/// The answer to a request; also the name of the script, for the log.
#[must_use]
pub fn answer(conversation: &Conversation) -> (Answer, String, usize) {
    let offer = &conversation.offer;
    if offer.is_empty() {
        return (Answer::Play(say(&["A scripted title"])), "SIDE".into(), 0);
    }
    if conversation
        .user_texts()
        .iter()
        .any(|t| t.contains("Planned action JSON"))
    {
        // Codex asks its model whether a command is safe.
        let verdict = r#"{"risk_level":"low","user_authorization":"high","outcome":"allow","rationale":"scripted"}"#;
        return (Answer::Play(say(&[verdict])), "REVIEW".into(), 0);
    }
    let Some((marker, step)) = conversation.current() else {
        let n = conversation.user_texts().len();
        let text = format!("No marker in {n} user message(s).");
        return (Answer::Play(say(&[&text])), "NONE".into(), 0);
    };
    let answer = match marker.name.strip_prefix("ERR").map(str::parse) {
        Some(Ok(status)) => Answer::Refuse(status),
        _ => Answer::Play(play(&marker, step, conversation)),
    };
    (answer, marker.name, step)
}

fn play(marker: &Marker, step: usize, conversation: &Conversation) -> Vec<Block> {
    let offer = &conversation.offer;
    let path = marker.arg.as_deref().unwrap_or("scripted.txt");
    // A script with tools is a list of rounds; after the last one it says its last words.
    let rounds = |calls: Vec<Vec<Block>>, last: &[&str]| {
        calls.into_iter().nth(step).unwrap_or_else(|| say(last))
    };
    let spoken = |text: &str, call: Call| vec![Block::Text(text.into()), Block::Call(call)];
    match marker.name.as_str() {
        "TEXT" => say(&["Hello ", "from ", "the ", "scripted ", "model."]),
        "THINK" => {
            let mut blocks = vec![
                Block::Think("Let me weigh the question. ".into()),
                Block::Think("Now I know.".into()),
            ];
            blocks.extend(say(&["The answer ", "is 42."]));
            blocks
        }
        "WRITE" => rounds(
            vec![spoken("I am going to write it.", offer.write(path, FILE))],
            &["The file ", "is written."],
        ),
        "READ" => rounds(
            vec![vec![Block::Call(offer.read(path))]],
            &["I have read it."],
        ),
        "EDIT" => rounds(
            vec![
                vec![Block::Call(offer.read(path))],
                spoken(
                    "Now I change it.",
                    offer.edit(path, "line two", "line 2 edited"),
                ),
            ],
            &["It is changed."],
        ),
        "BASH" => {
            let command = format!("printf 'out-%s\\n' 1 2 3; touch {path}");
            rounds(
                vec![spoken("I run a command.", offer.run(&command, true))],
                &["The command ", "is done."],
            )
        }
        "BASHFAIL" => rounds(
            vec![vec![Block::Call(offer.run("echo oops >&2; exit 3", true))]],
            &["It did not work."],
        ),
        "SLOWBASH" => {
            let command = format!(
                "for i in $(seq 1 {SLOW_COMMAND}); do echo tick-$i; sleep 1; done; touch {path}"
            );
            rounds(
                vec![spoken("I run a slow command.", offer.run(&command, true))],
                &["The slow command is done."],
            )
        }
        "PLAN" => {
            let states = [
                ["in_progress", "pending", "pending"],
                ["completed", "in_progress", "pending"],
                ["completed", "completed", "completed"],
            ];
            let calls = states.map(|s| vec![Block::Call(offer.plan(s))]);
            rounds(calls.into(), &["The plan is done."])
        }
        "ASK" => rounds(
            vec![vec![Block::Call(offer.ask())]],
            &["Thank you for the answer."],
        ),
        "SLOW" => (1..=SLOW_DELTAS)
            .flat_map(|i| {
                [
                    Block::Text(format!("tick-{i} ")),
                    Block::Pause(Duration::from_millis(100)),
                ]
            })
            .collect(),
        "DROP" => vec![
            Block::Text("Before the cut. ".into()),
            Block::Pause(Duration::from_millis(200)),
            Block::Cut,
        ],
        "HISTORY" => vec![Block::Text(history(conversation))],
        other => say(&["I do not know the marker ", other]),
    }
}

/// What the model remembers, for tests of restored context.
fn history(conversation: &Conversation) -> String {
    let count = |f: fn(&Item) -> bool| conversation.items.iter().filter(|i| f(i)).count();
    let markers: Vec<String> = conversation
        .user_texts()
        .iter()
        .flat_map(|t| Marker::all(t))
        .map(|m| m.name)
        .collect();
    format!(
        "History: users={} assistants={} tools={} markers={}",
        count(|i| matches!(i, Item::User(_))),
        count(|i| matches!(i, Item::Assistant(_))),
        count(|i| matches!(i, Item::ToolRound)),
        markers.join(",")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tools::Offer;
    use super::*;

    fn with_shell(items: Vec<Item>) -> Conversation {
        let mut offer = Offer::default();
        offer.function("bash", Some(&json!({"properties": {"command": {}}})), None);
        Conversation { items, offer }
    }

    #[test]
    fn the_step_follows_from_the_request() {
        let first = with_shell(vec![Item::User("@@BASH:/f".into())]);
        let (Answer::Play(blocks), ..) = answer(&first) else {
            panic!()
        };
        assert!(matches!(blocks.last(), Some(Block::Call(_))));
        let second = with_shell(vec![Item::User("@@BASH:/f".into()), Item::ToolRound]);
        let (Answer::Play(blocks), ..) = answer(&second) else {
            panic!()
        };
        assert!(blocks.iter().all(|b| matches!(b, Block::Text(_))));
    }

    #[test]
    fn errors_side_jobs_and_history() {
        let err = with_shell(vec![Item::User("@@ERR429".into())]);
        assert_eq!(answer(&err).0, Answer::Refuse(429));
        let title = Conversation {
            items: vec![Item::User("@@ERR500".into())],
            offer: Offer::default(),
        };
        assert_eq!(answer(&title).1, "SIDE");
        let past = with_shell(vec![
            Item::User("@@TEXT".into()),
            Item::Assistant("Hello".into()),
            Item::User("@@HISTORY".into()),
        ]);
        assert_eq!(
            history(&past),
            "History: users=2 assistants=1 tools=0 markers=TEXT,HISTORY"
        );
    }
}
