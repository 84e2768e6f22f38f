//! What a prompt tells the demo agent to do.

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A text that is no command: answered with a friendly word.
    Talk(String),
    Help,
    Think(String),
    Write {
        path: String,
        text: String,
    },
    Edit {
        path: String,
        old: String,
        new: String,
    },
    Run(String),
    /// Goes as far as so many done steps.
    Plan(usize),
    Fail(String),
    FailAuth,
    Hang,
    Stubborn(String),
    Crash,
    Slow {
        count: u64,
        millis: u64,
    },
    Big(usize),
    History,
    Late,
    SilentTool,
    ErrorText(String),
    Nothing,
    Title(String),
    /// What the next prompt does, whatever it says.
    Next(String),
    Summarise,
    Noise,
    Request(String),
    /// A command with something missing; how it is used.
    Usage(&'static str),
    /// Asks for permission in any mode.
    Ask(Box<Step>),
    /// Asks a question; without options in the person's own words.
    Question {
        text: String,
        options: Vec<String>,
        several: bool,
    },
}

/// The commands: name, arguments, description.
pub(super) const COMMANDS: [(&str, &str, &str); 25] = [
    ("help", "", "list the commands"),
    ("think", "[TEXT]", "think before answering"),
    ("write", "PATH TEXT", "write a file (\\n starts a new line)"),
    (
        "edit",
        "PATH OLD NEW",
        "replace a text in a file (quote texts with spaces)",
    ),
    ("run", "COMMAND", "run a shell command"),
    (
        "ask",
        "write|edit|run …",
        "the same, asking for permission in every mode",
    ),
    (
        "question",
        "TEXT [| A | B …]",
        "ask you something, with answers to choose from",
    ),
    (
        "questions",
        "TEXT | A | B …",
        "the same, with several answers to choose",
    ),
    (
        "plan",
        "[DONE]",
        "make a plan of three steps and go through it, or as far as DONE",
    ),
    (
        "slow",
        "COUNT MILLISECONDS",
        "write COUNT words with pauses",
    ),
    ("big", "BYTES", "give so much output"),
    ("history", "", "tell what I remember of this session"),
    ("title", "TEXT", "name the session"),
    (
        "next",
        "COMMAND",
        "do that at the next prompt, whatever it says",
    ),
    ("fail", "[MESSAGE]", "fail as if the model had failed"),
    ("fail-auth", "", "fail as if a log-in were missing"),
    (
        "error-text",
        "[MESSAGE]",
        "fail, but end the turn as if all were well",
    ),
    ("nothing", "", "end the turn without a word"),
    ("silent-tool", "", "start a tool and never say how it ended"),
    (
        "late",
        "",
        "report the end of a tool after the end of the turn",
    ),
    ("noise", "", "send things that no client knows"),
    (
        "request",
        "METHOD",
        "ask the client for something it does not offer",
    ),
    ("hang", "", "never answer, not even to a cancel"),
    (
        "stubborn",
        "[COMMAND]",
        "the same, with a command that ignores signals",
    ),
    ("crash", "", "end the process in the middle of the turn"),
];

/// The plan that it makes.
pub(super) const PLAN: [&str; 3] = ["Read the code", "Write the fix", "Run the tests"];

/// How sessiond's requests begin that a model would understand without being told.
const SUMMARISE: &str = "Summarise this conversation.";
const INIT: &str = "Write AGENTS.md in this directory";
/// What the demo agent knows of any project.
const AGENTS_MD: &str = "# AGENTS.md\n\nWritten by the demo agent, which has read nothing.\n";

/// Reads a prompt: every line that starts with a command is a step, the lines between are
/// one text each.
pub(super) fn read(prompt: &str) -> Vec<Step> {
    if prompt.starts_with(SUMMARISE) {
        return vec![Step::Summarise];
    }
    if prompt.starts_with(INIT) {
        let path = "AGENTS.md".to_owned();
        let text = AGENTS_MD.to_owned();
        return vec![Step::Write { path, text }];
    }
    let mut steps = Vec::new();
    let mut talk = String::new();
    let end_talk = |talk: &mut String, steps: &mut Vec<Step>| {
        if !talk.trim().is_empty() {
            steps.push(Step::Talk(talk.trim().to_owned()));
        }
        talk.clear();
    };
    for line in prompt.lines() {
        match line.trim().strip_prefix('/').and_then(command) {
            Some(step) => {
                end_talk(&mut talk, &mut steps);
                steps.push(step);
            }
            None => {
                talk.push_str(line);
                talk.push('\n');
            }
        }
    }
    end_talk(&mut talk, &mut steps);
    steps
}

/// Reads a command without its slash; `None` when there is none of that name.
fn command(line: &str) -> Option<Step> {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let or = |default: &str| {
        if rest.is_empty() {
            default.to_owned()
        } else {
            rest.to_owned()
        }
    };
    let usage = |usage: &'static str| Step::Usage(usage);
    Some(match name {
        "help" => Step::Help,
        "think" => Step::Think(or("First I consider the question. Then I answer it.")),
        "write" => match word(rest) {
            Some((path, text)) => Step::Write {
                path,
                text: text.trim_start().replace("\\n", "\n"),
            },
            None => usage("/write PATH TEXT"),
        },
        "edit" => match words(rest).as_slice() {
            [path, old, new] => Step::Edit {
                path: path.clone(),
                old: old.clone(),
                new: new.clone(),
            },
            _ => usage("/edit PATH OLD NEW"),
        },
        "run" if rest.is_empty() => usage("/run COMMAND"),
        "run" => Step::Run(rest.to_owned()),
        "ask" => match command(rest) {
            Some(step @ (Step::Write { .. } | Step::Edit { .. } | Step::Run(_))) => {
                Step::Ask(Box::new(step))
            }
            _ => usage("/ask write|edit|run …"),
        },
        "question" | "questions" => {
            let mut words = rest.split('|').map(|words| words.trim().to_owned());
            let text = words.next().unwrap_or_default();
            let options: Vec<String> = words.filter(|words| !words.is_empty()).collect();
            let several = name == "questions";
            if text.is_empty() || several && options.is_empty() {
                usage("/question TEXT [| A | B …]")
            } else {
                Step::Question {
                    text,
                    options,
                    several,
                }
            }
        }
        "plan" => Step::Plan(rest.parse().unwrap_or(PLAN.len())),
        "slow" => match numbers(rest).as_slice() {
            [count, millis] => Step::Slow {
                count: *count,
                millis: *millis,
            },
            _ => usage("/slow COUNT MILLISECONDS"),
        },
        "big" => match rest.parse() {
            Ok(bytes) => Step::Big(bytes),
            Err(_) => usage("/big BYTES"),
        },
        "history" => Step::History,
        "title" if rest.is_empty() => usage("/title TEXT"),
        "title" => Step::Title(rest.to_owned()),
        "next" if rest.is_empty() => usage("/next COMMAND"),
        "next" => Step::Next(rest.to_owned()),
        "fail" => Step::Fail(or("the demo model failed on request")),
        "fail-auth" => Step::FailAuth,
        "error-text" => Step::ErrorText(or("the demo model is overloaded")),
        "nothing" => Step::Nothing,
        "silent-tool" => Step::SilentTool,
        "late" => Step::Late,
        "noise" => Step::Noise,
        "request" => Step::Request(or("fs/read_text_file")),
        "hang" => Step::Hang,
        "stubborn" => Step::Stubborn(or("sleep 600")),
        "crash" => Step::Crash,
        _ => return None,
    })
}

/// The first word, which may be quoted, and the rest.
fn word(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    match text.chars().next()? {
        quote @ ('"' | '\'') => {
            let (inside, rest) = text[1..].split_once(quote)?;
            Some((inside.to_owned(), rest))
        }
        _ => {
            let end = text.find(char::is_whitespace).unwrap_or(text.len());
            Some((text[..end].to_owned(), &text[end..]))
        }
    }
}

fn words(mut text: &str) -> Vec<String> {
    let mut all = Vec::new();
    while let Some((first, rest)) = word(text) {
        all.push(first);
        text = rest;
    }
    all
}

fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace()
        .filter_map(|n| n.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_read_line_by_line() {
        let steps = read("hello\nthere\n/write a.txt one\\ntwo\n/etc/passwd is a path\n/run ls -l");
        assert_eq!(
            steps,
            [
                Step::Talk("hello\nthere".into()),
                Step::Write {
                    path: "a.txt".into(),
                    text: "one\ntwo".into()
                },
                Step::Talk("/etc/passwd is a path".into()),
                Step::Run("ls -l".into()),
            ]
        );
    }

    #[test]
    fn words_may_be_quoted() {
        assert_eq!(
            read(r#"/edit "my file" 'line two' new"#),
            [Step::Edit {
                path: "my file".into(),
                old: "line two".into(),
                new: "new".into()
            }]
        );
        assert_eq!(read("/edit a b"), [Step::Usage("/edit PATH OLD NEW")]);
        assert_eq!(
            read("/ask run true"),
            [Step::Ask(Box::new(Step::Run("true".into())))]
        );
        assert_eq!(read("/plan\n/plan 1"), [Step::Plan(3), Step::Plan(1)]);
        assert_eq!(read("/ask plan"), [Step::Usage("/ask write|edit|run …")]);
    }

    #[test]
    fn every_listed_command_exists() {
        for (name, _, _) in COMMANDS {
            assert!(command(name).is_some(), "/{name}");
        }
    }
}
