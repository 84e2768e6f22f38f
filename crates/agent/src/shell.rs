//! Shell commands of a person: a process group of their own, with the marker that agents
//! have, and both outputs in one pipe, so that they stay in the order they were written.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::child::{check_directory, keep_private};
use crate::process::MARKER;
use crate::{AgentError, ProcessId};

/// How long output is read on after the shell has ended: a child of it may hold the pipe.
const DRAIN: Duration = Duration::from_millis(300);
/// Bytes taken from the pipe at once.
const CHUNK: usize = 64 << 10;
/// The shell of those who have none.
const FALLBACK: &str = "/bin/sh";

/// A running shell command. Dropping it kills it and what it started.
#[derive(Debug)]
pub struct Shell {
    process: ProcessId,
    child: Child,
    output: pipe::Receiver,
    open: bool,
    /// How it ended, and until when its output is read on.
    ended: Option<(ShellEnd, Instant)>,
}

/// What comes from a shell command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShellNews {
    /// Bytes of its standard output and standard error, as written.
    Output(Vec<u8>),
    /// It has ended. Nothing follows.
    Ended(ShellEnd),
}

/// How a shell command ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShellEnd {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Shell {
    /// Starts `command` in the user's shell, without input, with `SESSIOND_SPAWN_ID` in its
    /// environment and so in that of everything it starts.
    ///
    /// # Errors
    /// When the directory is not usable or the shell can't be started.
    pub fn start(command: &str, cwd: &Path, spawn_id: String) -> Result<Self, AgentError> {
        check_directory(cwd)?;
        let program = user_shell(std::env::var_os("SHELL").map(PathBuf::from));
        let failed = |source| AgentError::Spawn {
            command: program.display().to_string(),
            source,
        };
        let (reader, writer) = std::io::pipe().map_err(failed)?;
        let mut shell = Command::new(&program);
        keep_private(&mut shell);
        shell
            .arg("-c")
            .arg(command)
            .env("TERM", "dumb")
            .env(MARKER, &spawn_id)
            .current_dir(cwd)
            .stdin(Stdio::null())
            .stdout(writer.try_clone().map_err(failed)?)
            .stderr(writer)
            .process_group(0)
            .kill_on_drop(true);
        let child = shell.spawn().map_err(failed)?;
        // It holds our ends of the pipe, which would keep it open.
        drop(shell);
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(failed)?;
        let pid = child
            .id()
            .ok_or_else(|| failed(std::io::Error::other("it ended at once")))?;
        Ok(Self {
            process: ProcessId::of_child(pid, spawn_id),
            child,
            output,
            open: true,
            ended: None,
        })
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> &ProcessId {
        &self.process
    }

    /// Waits for the next news. Safe to be dropped and called again.
    pub async fn next(&mut self) -> ShellNews {
        loop {
            if let Some((end, until)) = self.ended
                && (!self.open || Instant::now() >= until)
            {
                return ShellNews::Ended(end);
            }
            let mut chunk = vec![0; CHUNK];
            let until = self.ended.map_or_else(Instant::now, |(_, until)| until);
            tokio::select! {
                read = self.output.read(&mut chunk), if self.open => match read {
                    Ok(size @ 1..) => {
                        chunk.truncate(size);
                        return ShellNews::Output(chunk);
                    }
                    Ok(0) | Err(_) => self.open = false,
                },
                status = self.child.wait(), if self.ended.is_none() => {
                    use std::os::unix::process::ExitStatusExt as _;
                    let status = status.unwrap_or_default();
                    let end = ShellEnd { code: status.code(), signal: status.signal() };
                    self.ended = Some((end, Instant::now() + DRAIN));
                }
                () = tokio::time::sleep_until(until), if self.ended.is_some() => {}
            }
        }
    }

    /// SIGTERM to the whole process group.
    pub fn terminate(&self) {
        self.process.signal_group(Signal::TERM);
    }

    /// SIGKILL to everything that it started; says how many processes there were.
    pub async fn kill(&self) -> usize {
        let process = self.process.clone();
        let killed = tokio::task::spawn_blocking(move || process.kill_all()).await;
        let (count, left) = killed.unwrap_or_default();
        if !left.is_empty() {
            tracing::warn!(pids = ?left, "processes of a shell command did not go");
        }
        count
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.process.kill_all();
    }
}

/// The user's shell, unless it is one that runs no commands.
fn user_shell(wanted: Option<PathBuf>) -> PathBuf {
    wanted
        .filter(|path| path.is_absolute() && path.is_file())
        .filter(|path| {
            !matches!(
                path.file_name().and_then(|name| name.to_str()),
                None | Some("false" | "true" | "nologin")
            )
        })
        .unwrap_or_else(|| FALLBACK.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(command: &str) -> (String, ShellEnd) {
        let mut shell = Shell::start(command, Path::new("/"), "spn_test".into()).unwrap();
        let mut output = Vec::new();
        loop {
            match shell.next().await {
                ShellNews::Output(bytes) => output.extend(bytes),
                ShellNews::Ended(end) => {
                    return (String::from_utf8_lossy(&output).into_owned(), end);
                }
            }
        }
    }

    #[tokio::test]
    async fn both_outputs_come_in_order_with_the_exit_code() {
        let (output, end) = run("echo a; echo b >&2; echo c; cat; exit 3").await;
        assert_eq!(output, "a\nb\nc\n");
        assert_eq!((end.code, end.signal), (Some(3), None));
        let (_, end) = run("kill -9 $$").await;
        assert_eq!((end.code, end.signal), (None, Some(9)));
    }

    #[tokio::test]
    async fn a_child_that_holds_the_pipe_does_not_hold_us() {
        let mut shell =
            Shell::start("sleep 60 & echo done", Path::new("/"), "spn_held".into()).unwrap();
        assert_eq!(shell.next().await, ShellNews::Output(b"done\n".to_vec()));
        assert!(matches!(shell.next().await, ShellNews::Ended(_)));
        assert_eq!(shell.kill().await, 1);
        assert_eq!(shell.kill().await, 0);
    }

    #[test]
    fn shells_that_run_nothing_are_no_shells() {
        for bad in [None, Some("/bin/false"), Some("sh"), Some("/no/such/shell")] {
            assert_eq!(user_shell(bad.map(Into::into)), Path::new(FALLBACK));
        }
        assert_eq!(user_shell(Some("/bin/sh".into())), Path::new("/bin/sh"));
    }

    #[test]
    fn a_directory_that_is_gone_is_named() {
        let missing = Shell::start("true", Path::new("/no/such/dir"), "spn_x".into());
        assert!(matches!(missing, Err(AgentError::Directory { .. })));
    }
}
