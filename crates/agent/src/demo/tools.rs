//! The demo agent's tools. They really write, edit and run.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::script::Step;
use super::turn::{End, Turn};
use crate::wire::RpcError;

/// How often the output of a running command is told.
const TICK: Duration = Duration::from_millis(50);
/// How much of a command's output is kept.
const MAX_OUTPUT: usize = 1 << 20;

/// The process group of a running command; ended with the turn.
struct Group(Option<rustix::process::Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        Self(pid.and_then(rustix::process::Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It may have ended by itself.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

/// What a tool is about to do.
struct Job {
    name: &'static str,
    kind: &'static str,
    title: String,
    input: Value,
    content: Value,
    path: Option<PathBuf>,
    work: Work,
}

enum Work {
    /// Put this text into the file.
    Put(String),
    /// It can't be done.
    Impossible(String),
    Run(String),
}

impl Turn {
    fn path(&self, path: &str) -> PathBuf {
        self.session.lock().cwd.join(path)
    }

    fn job(&self, step: Step) -> Option<Job> {
        Some(match step {
            Step::Write { path, text } => {
                let file = self.path(&path);
                let old = std::fs::read_to_string(&file).ok();
                Job {
                    name: "write",
                    kind: "edit",
                    title: path,
                    input: json!({"filePath": file, "content": text}),
                    content: json!([{"type": "diff", "path": file, "oldText": old, "newText": text}]),
                    path: Some(file),
                    work: Work::Put(text),
                }
            }
            Step::Edit { path, old, new } => {
                let file = self.path(&path);
                let before = std::fs::read_to_string(&file);
                let (work, content) = match before {
                    Err(error) => (Work::Impossible(format!("{path}: {error}")), json!([])),
                    Ok(text) if !text.contains(&old) => (
                        Work::Impossible(format!("{path} does not contain {old:?}")),
                        json!([]),
                    ),
                    Ok(text) => {
                        let after = text.replacen(&old, &new, 1);
                        let diff = json!([{"type": "diff", "path": file, "oldText": text, "newText": after}]);
                        (Work::Put(after), diff)
                    }
                };
                Job {
                    name: "edit",
                    kind: "edit",
                    title: path,
                    input: json!({"filePath": file, "oldString": old, "newString": new}),
                    content,
                    path: Some(file),
                    work,
                }
            }
            Step::Run(command) => Job {
                name: "bash",
                kind: "execute",
                title: command.clone(),
                input: json!({"command": command}),
                content: json!([]),
                path: None,
                work: Work::Run(command),
            },
            _ => return None,
        })
    }

    /// Writes, edits or runs, with permission where the mode wants it.
    pub(super) async fn use_tool(&mut self, step: Step) -> Result<(), End> {
        let (step, forced) = match step {
            Step::Ask(step) => (*step, true),
            step => (step, false),
        };
        let Some(job) = self.job(step) else {
            return Ok(());
        };
        let (mode, always) = {
            let session = self.session.lock();
            (session.mode.clone(), session.always.contains(job.kind))
        };
        if mode == "plan" && !forced {
            self.say(&format!(
                "In plan mode I only say it: I would {} {}.",
                job.name, job.title
            ))
            .await;
            return Ok(());
        }
        self.say(&format!("I will {} now.", job.name)).await;
        let call = self
            .start_call(job.name, job.kind, &job.title, json!({}))
            .await;
        let locations = job
            .path
            .iter()
            .map(|p| json!({"path": p}))
            .collect::<Vec<_>>();
        let details =
            json!({"rawInput": job.input, "content": job.content, "locations": locations});
        self.call_update(&call, details.clone()).await;
        let asks = forced || (mode == "default" && !always);
        if asks && !self.permitted(&call, &job, details).await? {
            self.end_call(&call, "failed", "The permission was refused.", json!({}))
                .await;
            self.say("All right, I leave it.").await;
            return Ok(());
        }
        self.call_update(&call, json!({"status": "in_progress"}))
            .await;
        match job.work {
            Work::Impossible(why) => {
                self.end_call(&call, "failed", &why, json!({"error": why}))
                    .await;
                self.say("That did not work.").await;
            }
            Work::Put(text) => self.put(&call, job.path.unwrap_or_default(), &text).await,
            Work::Run(command) => self.run_command(&call, &command).await,
        }
        Ok(())
    }

    /// Asks a person something and says what the answer was.
    pub(super) async fn question(
        &mut self,
        text: &str,
        options: &[String],
        several: bool,
    ) -> Result<(), End> {
        let choices: Vec<Value> = options
            .iter()
            .map(|label| json!({"const": label, "title": label}))
            .collect();
        let other = json!({"type": "string", "title": "Other"});
        let properties = match (several, options) {
            (true, _) => json!({
                "answer": {"type": "array", "title": "Demo", "items": {"anyOf": choices}},
                "answer_custom": other,
            }),
            (false, []) => json!({"answer": {"type": "string", "title": "Demo"}}),
            (false, _) => json!({
                "answer": {"type": "string", "title": "Demo", "oneOf": choices},
                "answer_custom": other,
            }),
        };
        let params = json!({
            "mode": "form", "sessionId": self.session_id, "message": text,
            "requestedSchema": {"type": "object", "properties": properties},
        });
        let answer = self.demo.ask("elicitation/create", &params).await;
        let answer = answer.map_err(End::Error)?;
        match answer["action"].as_str() {
            Some("accept") => {
                let said = answer["content"].to_string();
                self.say(&format!("You answered {said}.")).await;
            }
            Some("decline") => self.say("You did not want to answer.").await,
            _ => return Err(End::Stop("cancelled")),
        }
        Ok(())
    }

    async fn permitted(
        &mut self,
        call: &str,
        job: &Job,
        mut tool_call: Value,
    ) -> Result<bool, End> {
        tool_call["toolCallId"] = call.into();
        tool_call["title"] = job.title.as_str().into();
        tool_call["kind"] = job.kind.into();
        tool_call["status"] = "pending".into();
        let params = json!({
            "sessionId": self.session_id,
            "toolCall": tool_call,
            "options": [
                {"optionId": "once", "kind": "allow_once", "name": "Allow once"},
                {"optionId": "always", "kind": "allow_always", "name": "Allow for this session"},
                {"optionId": "no", "kind": "reject_once", "name": "Reject"},
            ],
        });
        let answer = self
            .demo
            .ask("session/request_permission", &params)
            .await
            .map_err(End::Error)?;
        let outcome = &answer["outcome"];
        if outcome["outcome"] == "cancelled" {
            return Err(End::Stop("cancelled"));
        }
        if outcome["optionId"] == "always" {
            self.session.lock().always.insert(job.kind.to_owned());
        }
        Ok(outcome["optionId"] != "no")
    }

    async fn put(&mut self, call: &str, path: PathBuf, text: &str) {
        let written = async {
            if let Some(dir) = path.parent() {
                tokio::fs::create_dir_all(dir).await?;
            }
            tokio::fs::write(&path, text).await
        };
        match written.await {
            Ok(()) => {
                let output = format!("Wrote {} bytes to {}", text.len(), path.display());
                // No content: the diff that was told stays.
                self.end_call_with(call, json!({"status": "completed", "rawOutput": output}))
                    .await;
                self.say("Done.").await;
            }
            Err(error) => {
                let why = format!("{}: {error}", path.display());
                self.end_call(call, "failed", &why, json!({"error": why}))
                    .await;
                self.say("That did not work.").await;
            }
        }
    }

    fn shell(&self, command: &str) -> std::io::Result<Child> {
        Command::new("sh")
            .arg("-c")
            .arg(format!("exec 2>&1\n{command}"))
            .current_dir(&self.session.lock().cwd)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
    }

    async fn run_command(&mut self, call: &str, command: &str) {
        let mut child = match self.shell(command) {
            Ok(child) => child,
            Err(error) => {
                let why = error.to_string();
                self.end_call(call, "failed", &why, json!({"error": why}))
                    .await;
                return;
            }
        };
        let mut group = Group::of(&child);
        let mut output = Vec::new();
        if let Some(mut stdout) = child.stdout.take() {
            self.stream(call, &mut stdout, &mut output).await;
        }
        let status = child.wait().await;
        group.0 = None;
        let code = status.ok().and_then(|s| s.code());
        let output = String::from_utf8_lossy(&output).into_owned();
        let raw = json!({"output": output, "metadata": {"exit": code}});
        self.end_call(call, "completed", &output, raw).await;
        self.say(&match code {
            Some(0) => "The command succeeded.".to_owned(),
            Some(code) => format!("The command failed with exit code {code}."),
            None => "The command was killed.".to_owned(),
        })
        .await;
    }

    /// Reads a command's output to its end and tells it as it grows.
    async fn stream(
        &self,
        call: &str,
        stdout: &mut tokio::process::ChildStdout,
        output: &mut Vec<u8>,
    ) {
        let mut chunk = vec![0; 16 << 10];
        let mut told = 0;
        let mut next_tell = Instant::now();
        loop {
            tokio::select! {
                read = stdout.read(&mut chunk) => match read {
                    Ok(read @ 1..) => {
                        let room = MAX_OUTPUT.saturating_sub(output.len());
                        output.extend_from_slice(&chunk[..read.min(room)]);
                    }
                    Ok(0) | Err(_) => return,
                },
                () = tokio::time::sleep_until(next_tell), if told < output.len() => {
                    told = output.len();
                    next_tell = Instant::now() + TICK;
                    let text = String::from_utf8_lossy(output);
                    let content = json!([{"type": "content", "content": {"type": "text", "text": text}}]);
                    self.call_update(call, json!({"status": "in_progress", "content": content}))
                        .await;
                }
            }
        }
    }

    /// Runs a command that ignores SIGTERM, ignores it too, and listens to nobody.
    pub(super) async fn be_stubborn(&mut self, command: &str) -> Result<(), End> {
        use tokio::signal::unix::{SignalKind, signal};
        let deaf = signal(SignalKind::terminate());
        let call = self
            .start_call("bash", "execute", command, json!({"command": command}))
            .await;
        // No guard here: the command is to outlive every cancel.
        let child = self.shell(&format!("trap '' TERM\n{command}"));
        let mut child = child.map_err(|error| {
            End::Error(RpcError {
                code: -32603,
                message: format!("Internal error: {error}"),
                data: None,
            })
        })?;
        self.call_update(&call, json!({"status": "in_progress"}))
            .await;
        self.say("I started it, and nothing will stop me.").await;
        // It ends with the command, or with us.
        let _ = child.wait().await;
        drop(deaf);
        std::future::pending().await
    }

    pub(super) async fn start_call(
        &mut self,
        name: &str,
        kind: &str,
        title: &str,
        input: Value,
    ) -> String {
        let call = self.demo.fresh_id("call");
        self.open_call = Some(call.clone());
        self.tell(json!({
            "sessionUpdate": "tool_call", "toolCallId": call, "name": name, "kind": kind,
            "title": title, "status": "pending", "rawInput": input, "content": [],
        }))
        .await;
        call
    }

    pub(super) async fn end_call(&mut self, call: &str, status: &str, output: &str, raw: Value) {
        let content = json!([{"type": "content", "content": {"type": "text", "text": output}}]);
        self.end_call_with(
            call,
            json!({"status": status, "content": content, "rawOutput": raw}),
        )
        .await;
    }

    async fn end_call_with(&mut self, call: &str, update: Value) {
        self.open_call = None;
        self.call_update(call, update).await;
        self.next_message();
    }
}
