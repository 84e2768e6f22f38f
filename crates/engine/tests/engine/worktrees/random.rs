//! Random programs of people and agents on one worktree. Whatever they do in whatever order:
//! a revert taken back is no change at all, nothing that a person wrote is lost, and nothing
//! that a session refers to is missing.

use std::collections::BTreeMap;
use std::path::Path;

use sessiond_engine::{AbortOptions, EngineError, ForkOptions, TurnInput};
use sessiond_model::{MessageId, MessageInfo, SessionId};
use sessiond_store::{MessageQuery, TurnQuery};

use super::{Site, to};

const FILES: [&str; 4] = ["a.txt", "b/c.txt", "b/d e.txt", "ünï.txt"];
const STEPS: usize = 30;

/// A small generator of our own, so that a seed says all.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % sides as u64).unwrap()
    }
}

/// Every file with its bytes and mode.
type Tree = BTreeMap<String, (Vec<u8>, u32)>;

fn tree(root: &Path) -> Tree {
    fn walk(root: &Path, dir: &Path, out: &mut Tree) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.ends_with(".git") {
                continue;
            }
            if path.is_dir() {
                walk(root, &path, out);
                continue;
            }
            #[cfg(unix)]
            let mode = {
                use std::os::unix::fs::PermissionsExt as _;
                std::fs::metadata(&path).unwrap().permissions().mode()
            };
            #[cfg(not(unix))]
            let mode = 0;
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_string_lossy()
                .into_owned();
            out.insert(name, (std::fs::read(&path).unwrap(), mode));
        }
    }
    let mut out = Tree::new();
    walk(root, root, &mut out);
    out
}

struct Program {
    site: Site,
    dice: Dice,
    session: SessionId,
    /// What people wrote last, of files that no agent has written since.
    theirs: BTreeMap<String, Vec<u8>>,
    written: usize,
    /// Messages that were deleted: their answers stay, as with OpenCode.
    deleted: Vec<MessageId>,
    log: Vec<String>,
}

impl Program {
    async fn new(seed: u64, git: bool) -> Self {
        let site = if git {
            Site::in_git(&[("a.txt", "committed\n")]).await
        } else {
            Site::new().await
        };
        let session = site.s.id.clone();
        Self {
            site,
            dice: Dice(seed),
            session,
            theirs: BTreeMap::new(),
            written: 0,
            deleted: Vec::new(),
            log: Vec::new(),
        }
    }

    fn note(&mut self, what: impl Into<String>) {
        self.log.push(what.into());
    }

    async fn messages(&self) -> Vec<sessiond_model::MessageDoc> {
        let engine = &self.site.w.engine;
        let page = engine
            .messages(&self.session, &MessageQuery::default())
            .await;
        page.unwrap().messages
    }

    async fn a_message(&mut self) -> Option<MessageId> {
        let all = self.messages().await;
        (!all.is_empty()).then(|| all[self.dice.roll(all.len())].id.clone())
    }

    async fn step(&mut self) {
        match self.dice.roll(12) {
            0..=3 => self.prompt().await,
            4 | 5 => self.edit(),
            6 | 7 => self.revert().await,
            8 => {
                self.note("unrevert");
                self.site.w.engine.unrevert(&self.session).await.unwrap();
            }
            9 => self.other().await,
            10 => {
                self.note("restart");
                self.site.w.restart().await;
            }
            _ => self.revert_and_back().await,
        }
        self.check().await;
    }

    /// An agent writes, moves and removes files.
    async fn prompt(&mut self) {
        let mut lines = Vec::new();
        for _ in 0..=self.dice.roll(3) {
            let file = FILES[self.dice.roll(FILES.len())];
            self.written += 1;
            lines.push(match self.dice.roll(4) {
                0 => format!("/run rm -f '{file}'"),
                1 => format!(
                    "/run mkdir -p b; echo agent {} > '{file}'; chmod +x '{file}'",
                    self.written
                ),
                _ if file.contains(' ') => {
                    format!("/run mkdir -p b; echo agent {} > '{file}'", self.written)
                }
                _ => format!("/write {file} agent {}", self.written),
            });
            self.theirs.remove(file);
        }
        let text = lines.join("\n");
        self.note(text.clone());
        let session = self.session.clone();
        self.site.ask_in(&session, &text).await;
    }

    /// A person writes or removes a file.
    fn edit(&mut self) {
        let file = FILES[self.dice.roll(FILES.len())];
        self.written += 1;
        let text = format!("person {}", self.written);
        self.note(format!("{text} into {file}"));
        self.site.write(file, &text);
        self.theirs.insert(file.into(), text.into_bytes());
    }

    async fn revert(&mut self) {
        let Some(message) = self.a_message().await else {
            return;
        };
        self.note(format!("revert to {message}"));
        let engine = &self.site.w.engine;
        engine.revert(&self.session, to(&message)).await.unwrap();
    }

    /// A revert that is taken back at once changes nothing at all.
    async fn revert_and_back(&mut self) {
        let engine = &self.site.w.engine;
        if engine
            .session(&self.session)
            .await
            .unwrap()
            .revert
            .is_some()
        {
            return;
        }
        let Some(message) = self.a_message().await else {
            return;
        };
        self.note(format!("revert to {message} and back"));
        let before = tree(&self.site.w.project());
        let engine = &self.site.w.engine;
        engine.revert(&self.session, to(&message)).await.unwrap();
        if self.dice.roll(2) == 0
            && let Some(other) = self.a_message().await
        {
            let engine = &self.site.w.engine;
            engine.revert(&self.session, to(&other)).await.unwrap();
        }
        let engine = &self.site.w.engine;
        engine.unrevert(&self.session).await.unwrap();
        assert_eq!(tree(&self.site.w.project()), before, "{:#?}", self.log);
    }

    async fn other(&mut self) {
        match self.dice.roll(4) {
            0 => {
                let before = if self.dice.roll(2) == 0 {
                    self.a_message().await
                } else {
                    None
                };
                self.note(format!("fork before {before:?}"));
                let options = ForkOptions {
                    before,
                    ..ForkOptions::default()
                };
                let engine = &self.site.w.engine;
                match engine.fork_session(&self.session, options).await {
                    Ok(fork) => self.session = fork.session.id.clone(),
                    // Hidden by a revert.
                    Err(EngineError::NotFound { .. }) => {}
                    Err(e) => panic!("{e}: {:#?}", self.log),
                }
            }
            1 => {
                self.note("abort");
                let turn = self.site.w.say(&self.session, "/hang").await;
                let engine = &self.site.w.engine;
                engine
                    .abort(&self.session, AbortOptions::default())
                    .await
                    .unwrap();
                self.site.w.end(&turn).await;
            }
            2 => {
                self.note("summarize");
                let engine = &self.site.w.engine;
                let turn = engine.summarize(&self.session, TurnInput::default()).await;
                let turn = turn.unwrap().turn.unwrap();
                self.site.w.end(&turn).await;
            }
            _ => {
                let engine = &self.site.w.engine;
                if engine
                    .session(&self.session)
                    .await
                    .unwrap()
                    .revert
                    .is_none()
                    && let Some(message) = self.a_message().await
                {
                    self.note(format!("delete {message}"));
                    let engine = &self.site.w.engine;
                    engine
                        .delete_message(&self.session, &message)
                        .await
                        .unwrap();
                    self.deleted.push(message);
                }
            }
        }
    }

    async fn check(&self) {
        let now = tree(&self.site.w.project());
        for (file, text) in &self.theirs {
            let kept = now.get(file).map(|(bytes, _)| bytes);
            assert_eq!(kept, Some(text), "{file} of a person: {:#?}", self.log);
        }
        let engine = &self.site.w.engine;
        let messages = self.messages().await;
        let known = |id: &MessageId| messages.iter().any(|m| m.id == *id);
        let turns = engine
            .turns(&self.session, &TurnQuery::default())
            .await
            .unwrap();
        for turn in &turns {
            assert!(turn.state.is_terminal());
            assert!(known(&turn.user_message_id), "{turn:?}: {:#?}", self.log);
            if let Some(answer) = &turn.assistant_message_id {
                assert!(known(answer), "{turn:?}: {:#?}", self.log);
            }
        }
        for doc in &messages {
            if let Some(MessageInfo::Assistant(info)) = doc.message().map(|m| m.info) {
                let kept = known(&info.parent_id) || self.deleted.contains(&info.parent_id);
                assert!(kept, "{info:?}: {:#?}", self.log);
            }
        }
        engine.diff(&self.session, None).await.unwrap();
        engine.todos(&self.session).await.unwrap();
    }
}

async fn run(seed: u64, git: bool) {
    let mut program = Program::new(seed, git).await;
    program.note(format!("seed {seed}, git {git}"));
    for _ in 0..STEPS {
        program.step().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_in_a_repository() {
    for seed in 1..=3 {
        run(seed, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_without_git() {
    for seed in 11..=13 {
        run(seed, false).await;
    }
}
