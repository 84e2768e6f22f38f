//! Turns without an agent: a shell command of a person. And the shell commands of templates,
//! whose output a slash command sends along.

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value, json};
use sessiond_agent::{AgentError, Outcome, ProcessId, PromptResult, Shell, ShellEnd, ShellNews};
use sessiond_model::{
    Change, Message, MessageError, MessageInfo, Part, PartBody, PartId, Timestamp, ToolPart,
    ToolState, ToolTime, TurnEnd, TurnFailure, TurnKind, rules,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::drive::{CHECKPOINT, SHUTDOWN_GRACE};
use super::output::Output;
use super::{Cause, Run, Stopping, gone, is_newer};
use crate::QueuePolicy;
use crate::actor::{Actor, Command};
use crate::bind::NotReady;
use crate::template::{self, Piece};

/// Bytes kept of a command's output.
const OUTPUT: usize = 128 << 10;
/// The same for a command of a template, which goes into a prompt.
const TEMPLATE_OUTPUT: usize = 32 << 10;
/// How long a command of a template may take.
const TEMPLATE_TIME: Duration = Duration::from_secs(30);
/// Where a part says which process runs it, as long as it runs.
const PROCESS: &str = "process";
/// What OpenCode puts behind the output of a command that a person stopped.
const ABORTED: &str = "User aborted the command";

impl Actor {
    /// Runs a shell command to its end, whatever ends it.
    pub(super) async fn shell(
        &mut self,
        run: &mut Run,
        command: &str,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<Outcome, NotReady> {
        let mut call = Call {
            part_id: self.with_env(|env| PartId::mint(env.ids, env.floor)),
            call_id: self.inner.ids.tail(),
            input: Map::from_iter([("command".to_owned(), command.into())]),
            start: self.inner.clock.now(),
            process: None,
            output: Output::new(OUTPUT),
        };
        self.flush(run, &mut vec![call.running(run)]).await?;
        // The id of the turn, which is durable, marks the process before it exists.
        let directory = self.live.directory();
        let started = Shell::start(command, Path::new(&*directory), run.turn.id.to_string());
        let mut shell = match started {
            Ok(shell) => shell,
            Err(e) => {
                let why = not_started(&e);
                let now = self.inner.clock.now();
                run.ending
                    .extend(call.broken(run, &why.failure.message, now));
                return Err(why);
            }
        };
        call.process = Some(shell.process().clone());
        let record = match call.running(run) {
            Change::PutPart(part) => Change::CheckpointPart(part),
            other => other,
        };
        self.flush(run, &mut vec![record]).await?;
        let end = self.watch(run, &mut call, &mut shell, commands).await?;
        let left = shell.kill().await;
        if left > 0 {
            let note = format!("\n[sessiond: {left} processes that it left running were ended]\n");
            call.output.push(note.as_bytes());
        }
        let last = call.ended(run, end, self.inner.clock.now());
        run.ending.extend(last);
        Ok(Outcome::Done(PromptResult::default()))
    }

    /// Shows the output as it grows until the command has ended.
    async fn watch(
        &mut self,
        run: &mut Run,
        call: &mut Call,
        shell: &mut Shell,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Result<ShellEnd, NotReady> {
        let limit = Instant::now() + self.inner.config.turn_timeout;
        let mut checkpoint = tokio::time::interval(CHECKPOINT);
        checkpoint.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut grew = false;
        loop {
            let until = run.stopping.as_ref().map_or(limit, |s| s.until);
            tokio::select! {
                command = commands.recv() => match command {
                    Some(
                        Command::Wake
                        | Command::Answered { .. }
                        | Command::QuestionEnded { .. }
                        | Command::Release,
                    ) => {}
                    Some(Command::Abort { upto, done, .. }) if is_newer(&run.turn.id, upto) => {
                        let _ = done.send(());
                    }
                    Some(Command::Abort { queue, done, .. }) => {
                        self.stop_shell(run, shell, Cause::Abort(queue), Some(done));
                    }
                    Some(Command::Retire) => {
                        self.stop_shell(run, shell, Cause::Abort(QueuePolicy::Drop), None);
                    }
                    Some(Command::Stop) | None if self.is_lost() => return Err(gone()),
                    Some(Command::Stop) | None => self.stop_shell(run, shell, Cause::Shutdown, None),
                },
                news = shell.next() => match news {
                    ShellNews::Output(bytes) => {
                        call.output.push(&bytes);
                        grew = true;
                    }
                    ShellNews::Ended(end) => return Ok(end),
                },
                _ = checkpoint.tick(), if grew => {
                    grew = false;
                    self.flush(run, &mut vec![call.running(run)]).await?;
                }
                () = tokio::time::sleep_until(until) => {
                    if run.stopping.is_none() {
                        self.stop_shell(run, shell, Cause::Timeout, None);
                    } else {
                        // It had its time to obey.
                        shell.kill().await;
                        if let Some(stopping) = &mut run.stopping {
                            stopping.until = Instant::now() + self.inner.config.term_grace;
                        }
                    }
                }
            }
        }
    }

    fn stop_shell(
        &self,
        run: &mut Run,
        shell: &Shell,
        cause: Cause,
        done: Option<oneshot::Sender<()>>,
    ) {
        let grace = match cause {
            Cause::Shutdown => SHUTDOWN_GRACE,
            Cause::Abort(_) | Cause::Timeout => self.inner.config.term_grace,
        };
        let until = Instant::now() + grace;
        if let Some(stopping) = &mut run.stopping {
            stopping.until = stopping.until.min(until);
            stopping.again(cause, done);
            return;
        }
        shell.terminate();
        run.stopping = Some(Stopping {
            cause,
            until,
            done: done.into_iter().collect(),
        });
    }

    /// Runs the shell commands of a slash command's template and puts what they say into the
    /// stored prompt.
    pub(super) async fn fill_template(&self, run: &Run) -> Result<(), NotReady> {
        let TurnKind::Command { name, arguments } = &run.turn.kind else {
            return Ok(());
        };
        let Some(template) = self.inner.template(name) else {
            return Ok(());
        };
        let pieces = template::expand(&template.template, arguments);
        if !pieces.iter().any(|p| matches!(p, Piece::Shell(_))) {
            return Ok(());
        }
        let mut filled = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => filled.push_str(&text),
                Piece::Shell(command) => filled.push_str(&self.said_by(run, &command).await),
            }
        }
        let doc = self
            .inner
            .store
            .message(&self.live.id, &run.user.id)
            .await?;
        let parts = doc.map(|d| d.typed_parts()).unwrap_or_default();
        let Some(mut part) = parts
            .into_iter()
            .find(|p| matches!(p.body, PartBody::Text { .. }))
        else {
            return Ok(());
        };
        if let PartBody::Text { text, .. } = &mut part.body {
            *text = filled;
        }
        let put = vec![Change::PutPart(part)];
        self.inner.submit(self.live.hold(), Vec::new(), put).await?;
        Ok(())
    }

    /// The output of a template's command, with a word on what went wrong.
    async fn said_by(&self, run: &Run, command: &str) -> String {
        let directory = self.live.directory();
        let started = Shell::start(command, Path::new(&*directory), run.turn.id.to_string());
        let mut shell = match started {
            Ok(shell) => shell,
            Err(e) => return format!("[{}]", not_started(&e).failure.message),
        };
        let mut output = Output::new(TEMPLATE_OUTPUT);
        let watch = async {
            loop {
                match shell.next().await {
                    ShellNews::Output(bytes) => output.push(&bytes),
                    ShellNews::Ended(_) => return,
                }
            }
        };
        let in_time = tokio::time::timeout(TEMPLATE_TIME, watch).await;
        shell.kill().await;
        let mut said = output.text();
        said.truncate(said.trim_end().len());
        if in_time.is_err() {
            let seconds = TEMPLATE_TIME.as_secs();
            said.push_str(&format!("\n[ended after {seconds} s: it took too long]"));
        }
        said
    }
}

/// The one tool call of a shell turn.
struct Call {
    part_id: PartId,
    call_id: String,
    input: Map<String, Value>,
    start: Timestamp,
    process: Option<ProcessId>,
    output: Output,
}

impl Call {
    fn part(&self, run: &Run, state: ToolState) -> Part {
        let running = matches!(state, ToolState::Running { .. });
        let process = self.process.as_ref().filter(|_| running).map(|process| {
            let process = json!({"pid": process.pid, "started": process.started});
            Map::from_iter([(PROCESS.to_owned(), process)])
        });
        Part {
            id: self.part_id.clone(),
            session_id: run.turn.session_id.clone(),
            message_id: run.assistant.id.clone(),
            body: PartBody::Tool(Box::new(ToolPart {
                call_id: self.call_id.clone(),
                tool: "bash".into(),
                state,
                metadata: process,
            })),
        }
    }

    fn time(&self, end: Option<Timestamp>) -> ToolTime {
        ToolTime {
            start: self.start,
            end: end.map(|end| end.max(self.start)),
            compacted: None,
        }
    }

    fn running(&self, run: &Run) -> Change {
        let text = self.output.text();
        let metadata =
            (!text.is_empty()).then(|| Map::from_iter([("output".to_owned(), text.into())]));
        Change::PutPart(self.part(
            run,
            ToolState::Running {
                input: self.input.clone(),
                title: None,
                metadata,
                time: self.time(None),
            },
        ))
    }

    /// It ended by itself or was stopped: a shutdown interrupts it, everything else completes it,
    /// whatever its exit code.
    fn ended(&self, run: &Run, end: ShellEnd, now: Timestamp) -> Option<Change> {
        let mut output = self.output.text();
        let note = match run.stopping.as_ref().map(|s| s.cause) {
            Some(Cause::Shutdown) => {
                return self.broken(run, "interrupted: sessiond was shut down", now);
            }
            Some(Cause::Abort(_)) => Some(ABORTED),
            Some(Cause::Timeout) => Some("The command ran too long and was ended"),
            None => None,
        };
        if let Some(note) = note {
            output.push_str(&format!("\n\n<metadata>\n{note}\n</metadata>"));
        }
        let exit = end.code.filter(|_| note.is_none());
        let mut metadata = Map::from_iter([
            ("output".to_owned(), output.clone().into()),
            ("exit".to_owned(), exit.into()),
        ]);
        if let Some(signal) = end.signal.filter(|_| note.is_none()) {
            metadata.insert("signal".into(), signal.into());
        }
        Some(Change::PutPart(self.part(
            run,
            ToolState::Completed {
                input: self.input.clone(),
                output,
                title: String::new(),
                metadata,
                time: self.time(Some(now)),
                attachments: None,
            },
        )))
    }

    fn broken(&self, run: &Run, why: &str, now: Timestamp) -> Option<Change> {
        let Change::PutPart(mut part) = self.running(run) else {
            return None;
        };
        forget_process(&mut part);
        let why = format!("Tool execution aborted: {why}");
        rules::close_part(&part, &why, now).map(Change::PutPart)
    }
}

/// The process that a stored part says it is run by.
pub(crate) fn recorded_process(part: &Part) -> Option<(u32, u64)> {
    let PartBody::Tool(tool) = &part.body else {
        return None;
    };
    let process = tool.metadata.as_ref()?.get(PROCESS)?;
    let pid = process.get("pid")?.as_u64()?.try_into().ok()?;
    Some((pid, process.get("started")?.as_u64()?))
}

/// Takes it out: it runs no more.
pub(crate) fn forget_process(part: &mut Part) {
    if let PartBody::Tool(tool) = &mut part.body
        && let Some(metadata) = &mut tool.metadata
        && metadata.remove(PROCESS).is_some()
        && metadata.is_empty()
    {
        tool.metadata = None;
    }
}

/// The message of a shell turn that came to its end, as OpenCode shows it: without a reason to
/// stop, and without an error when a person stopped it.
pub(super) fn ended_message(message: &Message, end: &TurnEnd, now: Timestamp) -> Option<Message> {
    let mut message = message.clone();
    match (&mut message.info, end) {
        (MessageInfo::Assistant(info), TurnEnd::Completed { .. } | TurnEnd::Aborted) => {
            info.time.completed = Some(now.max(info.time.created));
        }
        _ => return None,
    }
    Some(message)
}

fn not_started(e: &AgentError) -> NotReady {
    let message = format!("the shell could not be started: {e}");
    NotReady {
        failure: TurnFailure {
            code: "shell_start".into(),
            message: message.clone(),
        },
        error: MessageError::Unknown {
            message,
            reference: None,
        },
    }
}
