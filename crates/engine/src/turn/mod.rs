//! The life of one turn, from the queue to its end.

mod apply;
mod compaction;
mod drive;
mod files;
mod finish;
mod output;
mod question;
mod shell;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use sessiond_agent::{Effect, Env, Outcome, RequestId, Translator, TurnContext};
use sessiond_model::{
    AssistantInfo, Change, IdStamp, Message, MessageDoc, MessageError, MessageId, MessageInfo,
    MessagePath, MessageTime, ModelRef, Part, PartBody, PartId, PermissionId, PermissionOption,
    QuestionId, RestoreRung, Session, SessionPatch, Timestamp, Tokens, Turn, TurnFailure, TurnId,
    TurnKind, TurnState, rules,
};
use sessiond_store::{MessageCursor, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::QueuePolicy;
use crate::actor::{Actor, Command};
use crate::bind::NotReady;
use crate::engine::is_outage;
use files::Files;
pub(crate) use files::relative;

pub(crate) use compaction::PROMPT as COMPACTION_PROMPT;
pub(crate) use shell::{forget_process, recorded_process};

/// Wait between two attempts at a store that is not available.
const RETRY: Duration = Duration::from_secs(1);

/// Why a turn is stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Abort(QueuePolicy),
    Shutdown,
    Timeout,
}

/// How far the stopping has got.
#[derive(Debug)]
struct Stopping {
    cause: Cause,
    /// When the agent's group is ended, whatever it does.
    until: Instant,
    /// Who waits for the end.
    done: Vec<oneshot::Sender<()>>,
}

impl Stopping {
    /// Another reason to stop, while it is stopping.
    fn again(&mut self, cause: Cause, done: Option<oneshot::Sender<()>>) {
        // Turns that one abort would keep and another one drop, are dropped.
        if let (Cause::Abort(QueuePolicy::Keep), Cause::Abort(_)) = (self.cause, cause) {
            self.cause = cause;
        }
        self.done.extend(done);
    }
}

struct Waiting {
    request: RequestId,
    options: Vec<PermissionOption>,
    call_id: Option<String>,
}

/// A running turn.
struct Run {
    turn: Turn,
    session: Session,
    user: Message,
    position: MessageCursor,
    assistant: Message,
    translator: Translator,
    waiting: HashMap<PermissionId, Waiting>,
    /// Questions that people have not answered yet.
    asking: HashMap<QuestionId, RequestId>,
    /// Open texts whose rows are behind.
    behind: BTreeSet<PartId>,
    /// Running tools whose output grew since their last event.
    grown: HashMap<PartId, Part>,
    /// Parts told to the hub as open.
    open: BTreeSet<PartId>,
    /// The title that may give way to a better one.
    auto_title: Option<String>,
    cost_total: Option<f64>,
    stopping: Option<Stopping>,
    files: Files,
    /// No agent is asked.
    agentless: bool,
    /// Changes to be committed with the end of the turn.
    ending: Vec<Change>,
}

impl Run {
    fn is_shell(&self) -> bool {
        matches!(self.turn.kind, TurnKind::Shell { .. })
    }

    fn is_compaction(&self) -> bool {
        self.turn.kind == TurnKind::Compaction
    }
}

impl Actor {
    pub(crate) async fn turn(&mut self, turn: Turn, commands: &mut mpsc::Receiver<Command>) {
        let mut run = match self.begin(turn.clone()).await {
            Ok(Some(run)) => run,
            Ok(None) => return self.drop_turn(turn).await,
            Err(StoreError::Fenced { .. }) => return self.inner.lose(&self.live),
            Err(e) => {
                tracing::error!(session = %self.live.id, turn = %turn.id, error = %e, "the turn could not begin");
                tokio::time::sleep(RETRY).await;
                return;
            }
        };
        let outcome = match run.turn.kind.clone() {
            TurnKind::Shell { command } => {
                let captured = tokio::select! {
                    files = self.capture_before() => Ok(files),
                    stopping = stopped(&run.turn.id, commands) => Err(stopping),
                };
                match captured {
                    Ok(files) => {
                        run.files = files;
                        run.files.watch.open(self.inner.clock.now());
                        self.shell(&mut run, &command, commands).await
                    }
                    Err(stopping) => {
                        run.stopping = Some(stopping);
                        Ok(Outcome::Cancelled)
                    }
                }
            }
            TurnKind::Compaction => self.compact(&mut run, commands).await,
            TurnKind::Prompt | TurnKind::Command { .. } => self.converse(&mut run, commands).await,
        };
        self.finish(run, outcome).await;
    }

    /// Has the agent answer the turn's message.
    async fn converse(
        &mut self,
        run: &mut Run,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<Outcome, NotReady> {
        let turn_id = run.turn.id.clone();
        let ready = {
            // The worktree is captured while the agent is made ready.
            let capture = self.capture_before();
            let prepare = async {
                let prepare = self.prepare(&run.turn.options, run.position);
                let (files, rung) = tokio::join!(capture, prepare);
                run.files = files;
                // What a template's commands write is the turn's.
                self.fill_template(run).await?;
                rung
            };
            tokio::select! {
                ready = prepare => Ok(ready),
                stopping = stopped(&turn_id, commands) => Err(stopping),
            }
        };
        let outcome = match ready {
            Ok(Ok(rung)) => match self.send(run, rung).await {
                Ok(()) => self.drive(run, commands).await,
                Err(not_ready) => Err(not_ready),
            },
            Ok(Err(not_ready)) => Err(not_ready),
            Err(stopping) => {
                run.stopping = Some(stopping);
                Ok(Outcome::Cancelled)
            }
        };
        let is_open = self.slot.as_ref().is_some_and(|s| s.session_id.is_some());
        if outcome.is_err() || !is_open || matches!(outcome, Ok(Outcome::Died(_))) {
            self.end_agent().await;
        }
        outcome
    }

    /// Puts the turn into `running` with an assistant message to fill. `None` when its prompt
    /// is gone.
    async fn begin(&mut self, mut turn: Turn) -> Result<Option<Run>, StoreError> {
        let store = &self.inner.store;
        let Some(doc) = store.message(&self.live.id, &turn.user_message_id).await? else {
            return Ok(None);
        };
        let (Some(user), Some(session)) = (doc.message(), store.session(&self.live.id).await?)
        else {
            return Ok(None);
        };
        let auto_title = self.auto_title(&session, &doc).await?;
        let worktree = store
            .project(&session.project_id)
            .await?
            .map_or_else(|| "/".to_owned(), |p| p.worktree);
        let now = self.inner.clock.now();
        turn.state = TurnState::Running;
        turn.started_at = Some(now);
        let (commit, changes, assistant) = {
            let mut head = self.live.head();
            let id = MessageId::mint(&*self.inner.ids, &mut head.floor);
            let created = head.message_time(now);
            let assistant = blank_answer(id, &turn, &user, &session, worktree, created);
            turn.assistant_message_id = Some(assistant.id.clone());
            let mut changes = vec![
                Change::PutTurn(turn.clone()),
                Change::PutMessage(assistant.clone()),
            ];
            if let Some((old, new)) = auto_title.clone().filter(|(old, new)| old != new) {
                changes.push(Change::UpdateSession(SessionPatch {
                    title_if: Some((old, new)),
                    ..SessionPatch::default()
                }));
            }
            let commit = (self.inner).submit(self.live.hold(), Vec::new(), changes.clone());
            (commit, changes, assistant)
        };
        // The same again after an outage, as often as it takes: it may have been done, and a
        // turn that runs is not in the queue any more.
        let mut begun = commit.await.map(drop);
        while let Err(e) = &begun
            && is_outage(e)
            && !self.is_over()
        {
            begun = self.persist(changes.clone()).await;
        }
        begun?;
        self.live.turn_changed();
        let translator = Translator::new(TurnContext {
            session_id: self.live.id.clone(),
            message_id: assistant.id.clone(),
            agent: turn.options.agent.clone(),
            directory: session.directory.clone(),
        });
        Ok(Some(Run {
            user,
            position: MessageCursor(doc.position),
            assistant,
            translator,
            waiting: HashMap::new(),
            asking: HashMap::new(),
            behind: BTreeSet::new(),
            grown: HashMap::new(),
            open: BTreeSet::new(),
            // An agent's title for a summary says nothing of the conversation.
            auto_title: auto_title
                .map(|(_, new)| new)
                .filter(|_| turn.kind != TurnKind::Compaction),
            cost_total: None,
            stopping: None,
            files: Files::none(),
            agentless: matches!(turn.kind, TurnKind::Shell { .. }),
            ending: Vec::new(),
            session,
            turn,
        }))
    }

    /// The present title and the one to show instead, when the present one was not given by
    /// a person: the default one, or the one we had made from the first prompt.
    async fn auto_title(
        &self,
        session: &Session,
        doc: &MessageDoc,
    ) -> Result<Option<(String, String)>, StoreError> {
        if rules::is_default_title(&session.title) {
            let title = rules::title_from_prompt(&prompt_text(doc));
            return Ok(title.map(|t| (session.title.clone(), t)));
        }
        let query = sessiond_store::MessageQuery {
            before: Some(MessageCursor(2)),
            limit: Some(1),
        };
        let page = self.inner.store.messages(&session.id, &query).await?;
        let ours = page
            .messages
            .first()
            .and_then(|d| rules::title_from_prompt(&prompt_text(d)));
        Ok(ours
            .filter(|title| *title == session.title)
            .map(|title| (title.clone(), title)))
    }

    /// Sends the prompt.
    async fn send(&mut self, run: &mut Run, rung: RestoreRung) -> Result<(), NotReady> {
        run.turn.restore = Some(rung);
        // What a crash would leave to say of its files.
        run.turn.worktree = Some(run.files.unfinished());
        let blocks = self.blocks(&run.user, run.position, rung).await?;
        let mut effects = self.with_env(|env| run.translator.begin(env));
        for effect in &mut effects {
            if let Effect::Part(part) = effect
                && let PartBody::StepStart { snapshot } = &mut part.body
            {
                *snapshot = run.files.before().cloned();
            }
        }
        self.apply(run, effects, vec![Change::PutTurn(run.turn.clone())])
            .await?;
        let Some(slot) = &self.slot else {
            return Err(gone());
        };
        let id = slot.session_id.clone().unwrap_or_default();
        slot.agent.prompt(&id, blocks).await.map_err(|_| gone())
    }

    fn with_env<T>(&self, f: impl FnOnce(&mut Env<'_>) -> T) -> T {
        let mut head = self.live.head();
        let mut env = Env {
            ids: &*self.inner.ids,
            floor: &mut head.floor,
            now: self.inner.clock.now(),
        };
        f(&mut env)
    }
}

/// An assistant message without content.
fn blank_answer(
    id: MessageId,
    turn: &Turn,
    user: &Message,
    session: &Session,
    root: String,
    created: Timestamp,
) -> Message {
    let ModelRef {
        provider_id,
        id: model_id,
        variant,
    } = turn.options.model.clone();
    let is_summary = turn.kind == TurnKind::Compaction;
    let agent = match &user.info {
        _ if is_summary => compaction::AGENT.to_owned(),
        MessageInfo::User(info) => info.agent.clone(),
        MessageInfo::Assistant(info) => info.agent.clone(),
    };
    Message {
        id,
        session_id: session.id.clone(),
        info: MessageInfo::Assistant(Box::new(AssistantInfo {
            time: MessageTime {
                created,
                completed: None,
            },
            parent_id: user.id.clone(),
            model_id,
            provider_id,
            mode: agent.clone(),
            agent,
            path: MessagePath {
                cwd: session.directory.clone(),
                root,
            },
            summary: is_summary.then_some(true),
            cost: 0.0,
            tokens: Tokens::default(),
            variant,
            finish: None,
            error: None,
            structured: None,
        })),
    }
}

/// What a person typed in a prompt.
fn prompt_text(doc: &MessageDoc) -> String {
    doc.typed_parts()
        .into_iter()
        .filter_map(|p| match p.body {
            PartBody::Text {
                text,
                synthetic,
                ignored,
                ..
            } if synthetic != Some(true) && ignored != Some(true) => Some(text),
            _ => None,
        })
        .collect::<Vec<_>>()
        .join("\n")
}

/// Waits for a command that stops a turn whose agent is not ready yet.
async fn stopped(turn: &TurnId, commands: &mut mpsc::Receiver<Command>) -> Stopping {
    let (cause, done) = loop {
        match commands.recv().await {
            Some(
                Command::Wake
                | Command::Answered { .. }
                | Command::QuestionEnded { .. }
                | Command::Release,
            ) => {}
            Some(Command::Abort { upto, done, .. }) if is_newer(turn, upto) => {
                let _ = done.send(());
            }
            Some(Command::Abort { queue, done, .. }) => break (Cause::Abort(queue), vec![done]),
            Some(Command::Retire) => break (Cause::Abort(QueuePolicy::Drop), Vec::new()),
            Some(Command::Stop) | None => break (Cause::Shutdown, Vec::new()),
        }
    };
    Stopping {
        cause,
        until: Instant::now(),
        done,
    }
}

/// Whether a turn was accepted after an abort was asked for: then it is not meant.
fn is_newer(turn: &TurnId, upto: IdStamp) -> bool {
    turn.stamp().is_some_and(|stamp| stamp.is_after(upto))
}

fn gone() -> NotReady {
    NotReady {
        failure: TurnFailure {
            code: "agent_exited".into(),
            message: "the agent is gone".into(),
        },
        error: MessageError::Unknown {
            message: "the agent is gone".into(),
            reference: None,
        },
    }
}
