//! The git program, cut off from everything that belongs to the user.

use std::{
    ffi::{OsStr, OsString},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Instant,
};

use crate::SnapshotError;

/// The most that is read from one run, in bytes: about a million paths.
const MAX_OUTPUT: u64 = 128 << 20;

/// Where git is.
pub(crate) fn find() -> Result<PathBuf, SnapshotError> {
    std::env::var_os("PATH")
        .iter()
        .flat_map(std::env::split_paths)
        .map(|dir| dir.join("git"))
        .find(|path| path.is_file())
        .ok_or(SnapshotError::GitMissing)
}

/// A git subcommand that sees our store and none of the user's configuration.
pub(crate) fn command(git: &Path, store: &Path, subcommand: &'static str) -> Git {
    let mut command = Command::new(git);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LC_ALL", "C")
        .env("HOME", store)
        .env("GIT_DIR", store)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_ATTR_NOSYSTEM", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_NO_REPLACE_OBJECTS", "1");
    for setting in [
        "core.fsmonitor=false",
        "core.untrackedCache=false",
        "core.hooksPath=/dev/null",
        "core.attributesFile=/dev/null",
        "core.excludesFile=/dev/null",
        "core.autocrlf=false",
        "core.ignoreCase=false",
        "core.precomposeUnicode=false",
        "gc.auto=0",
        "maintenance.auto=false",
        "protocol.allow=never",
    ] {
        command.arg("-c").arg(setting);
    }
    Git {
        command,
        subcommand,
        args: Vec::new(),
        input: Vec::new(),
    }
}

/// A run that has not started.
pub(crate) struct Git {
    command: Command,
    subcommand: &'static str,
    args: Vec<OsString>,
    input: Vec<u8>,
}

impl Git {
    /// One more setting.
    pub(crate) fn set(mut self, key: &str, value: &Path) -> Self {
        let mut setting = OsString::from(key);
        setting.push("=");
        setting.push(value);
        self.command.arg("-c").arg(setting);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    pub(crate) fn directory(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    pub(crate) fn input(mut self, input: Vec<u8>) -> Self {
        self.input = input;
        self
    }

    /// Starts it.
    pub(crate) fn start(mut self) -> Result<Running, SnapshotError> {
        let failed = |status: String| SnapshotError::Git {
            command: self.subcommand,
            status,
            stderr: String::new(),
        };
        let mut child = self
            .command
            .arg(self.subcommand)
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        if let Some(mut stdin) = child.stdin.take() {
            let input = self.input;
            if !input.is_empty() {
                // A git that ends early closes the pipe; its status tells why.
                std::thread::spawn(move || drop(stdin.write_all(&input)));
            }
        }
        Ok(Running {
            stdout: child.stdout.take().map(read),
            stderr: child.stderr.take().map(read),
            child,
            subcommand: self.subcommand,
        })
    }
}

/// Reads a pipe to its end, beside the caller.
fn read(pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe breaks only when git is killed, which its status shows.
        let _ = pipe.take(MAX_OUTPUT).read_to_end(&mut bytes);
        let _ = send.send(bytes);
    });
    receive
}

/// A run under way; killed when it is dropped.
pub(crate) struct Running {
    child: Child,
    subcommand: &'static str,
    stdout: Option<mpsc::Receiver<Vec<u8>>>,
    stderr: Option<mpsc::Receiver<Vec<u8>>>,
}

/// What a run said.
pub(crate) struct Output {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Running {
    /// Waits for the end; `None` when `deadline` came first.
    pub(crate) fn finish(mut self, deadline: Instant) -> Result<Option<Output>, SnapshotError> {
        let wait = |pipe: Option<mpsc::Receiver<Vec<u8>>>| {
            let left = deadline.saturating_duration_since(Instant::now());
            pipe.and_then(|pipe| pipe.recv_timeout(left).ok())
        };
        let stdout = wait(self.stdout.take());
        let stderr = wait(self.stderr.take());
        let (Some(stdout), Some(stderr)) = (stdout, stderr) else {
            return Ok(None);
        };
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        let failed = |status: String| SnapshotError::Git {
            command: self.subcommand,
            status,
            stderr: last_line(&stderr),
        };
        // Both pipes are closed: it is gone or about to be.
        let status = self.child.wait().map_err(|e| failed(e.to_string()))?;
        if !status.success() {
            return Err(failed(status.to_string()));
        }
        if stdout.len() as u64 >= MAX_OUTPUT {
            return Err(failed("more output than is read".to_owned()));
        }
        Ok(Some(Output { stdout, stderr }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last line that says something, shortened.
pub(crate) fn last_line(text: &str) -> String {
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .map(|line| line.chars().take(300).collect())
        .unwrap_or_default()
}
