//! The real binary as a child process.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sessiond_testkit::http::Client;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// No step of a test takes longer unless something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A home of its own for one test: nothing of the machine's is found or touched.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.path().join("data")
    }

    pub(crate) fn token(&self) -> String {
        std::fs::read_to_string(self.data_dir().join("token"))
            .unwrap()
            .trim()
            .to_owned()
    }

    /// `sessiond`, with this home.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessiond"));
        command
            .args(args)
            .args(["--data-dir".as_ref(), self.data_dir().as_os_str()])
            .env_clear()
            .env("HOME", self.path())
            .env("PATH", "/usr/bin:/bin")
            .env("SESSIOND_DEMO_HOME", self.path().join("demo"))
            .current_dir(self.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Output {
        within(self.command(args).output()).await.unwrap()
    }

    /// `sessiond serve` on a free port, when it answers.
    pub(crate) async fn serve(&self, args: &[&str]) -> Served {
        let args = [&["serve", "--listen", "127.0.0.1:0"], args].concat();
        let mut child = self
            .command(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = child.stderr.take().unwrap();
        let first = within(lines.next_line())
            .await
            .unwrap()
            .expect("the server ended at once");
        let url = first
            .split(" at ")
            .nth(1)
            .unwrap_or_else(|| panic!("{first}"))
            .to_owned();
        let address = url.strip_prefix("http://").unwrap().parse().unwrap();
        let token = self.data_dir().join("token").exists().then(|| self.token());
        let client = match &token {
            Some(token) => Client::new(address).with_token(token),
            None => Client::new(address),
        };
        Served {
            child,
            url,
            client,
            lines,
            stderr,
        }
    }
}

pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) url: String,
    pub(crate) client: Client,
    lines: Lines<BufReader<ChildStdout>>,
    stderr: ChildStderr,
}

impl Served {
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).unwrap()))
            .unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub(crate) async fn exit(&mut self) -> ExitStatus {
        within(self.child.wait()).await.unwrap()
    }

    /// What the ended process had printed after its first line, and logged.
    pub(crate) async fn said(mut self) -> (String, String) {
        let mut out = String::new();
        while let Some(line) = within(self.lines.next_line()).await.unwrap() {
            out.push_str(&line);
            out.push('\n');
        }
        let mut log = String::new();
        within(self.stderr.read_to_string(&mut log)).await.unwrap();
        (out, log)
    }

    pub(crate) async fn new_session(&self) -> String {
        let reply = self.client.post("/v1/sessions", &json!({})).await.unwrap();
        assert!(reply.ok(), "{reply:?}");
        reply.json().unwrap()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let reply = self.client.get(path).await.unwrap();
        assert!(reply.ok(), "{path}: {reply:?}");
        reply.json().unwrap()
    }

    /// Asks again and again until the answer is as wanted.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        within(async {
            loop {
                let value = self.get(path).await;
                if wanted(&value) {
                    return value;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("this hangs")
}
